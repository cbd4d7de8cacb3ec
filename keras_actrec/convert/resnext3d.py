"""3D ResNeXt-101 weights that its authors published: state_dicts of their PyTorch code → `resnext101_3d`.

Source: github.com/kenshohara/3D-ResNets-PyTorch, branch CVPR2018 (resnext-101-kinetics.pth, resnext-101-64f-… and the models
fine-tuned on UCF-101 and HMDB-51). Every name and every shape of a file is checked, in both directions, before anything is
assigned.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import keras
import numpy as np

from keras_actrec.backbones.dtypes import weighted_layers
from keras_actrec.backbones.resnext3d import resnext101_3d
from keras_actrec.convert.tensor_checks import check_tensors, write_weights_file
from keras_actrec.convert.torch_files import read_state_dict

_COUNTER = ".num_batches_tracked"  # since PyTorch 0.4; of no use here
_CLASSIFIER = "fc"
_NORM = ("weight", "bias", "running_mean", "running_var")  # in the order of Keras's gamma, beta, moving mean and variance
# Axes (filters, channels, frames, rows, columns) → (frames, rows, columns, channels, filters), or (classes, features) turned.
_AXES = {5: (2, 3, 4, 1, 0), 2: (1, 0), 1: (0,)}
_OTHER_NETWORK = "build the network with the classes, blocks and cardinality that the file was made with"


def state_dict_tensors(model: keras.Model) -> dict[str, tuple[int, ...]]:
    """Tensors of PyTorch's state_dict that fill a model of `resnext101_3d`: name → shape there, in the model's order.

    All 522 for the whole network, counters of batches, which old files lack, left out.
    """
    return {name: shape for names in _layer_tensors(model).values() for name, shape in names.items()}


def load_resnext3d_weights(model: keras.Model, path: str | Path) -> None:
    """Fills a 3D ResNeXt with the values of a published .pth file. Nothing in the file is run.

    Args:
        model: of `resnext101_3d`, any endpoint; what the file has beyond it is passed over.
        path: the file, see `torch_files.read_state_dict`.

    Raises:
        WeightsError: the file is absent, damaged or refused, or a tensor is missing, unexpected, of another shape or not
            finite.
    """
    assign_state_dict(model, read_state_dict(path), file=path)


def convert_resnext3d(source: str | Path, out: str | Path, *, classes: int = 400) -> keras.Model:
    """Writes the Keras weights file of a published network, with its classifier.

    Args:
        source: .pth file.
        out: file to write, ending in .weights.h5.
        classes: of the classifier.

    Returns:
        The model with these weights, endpoint "Logits".

    Raises:
        ConfigError: no class.
        WeightsError: see `load_resnext3d_weights`.
        DiskFullError: no space left.
    """
    model = resnext101_3d(endpoint="Logits", classes=classes)
    load_resnext3d_weights(model, source)
    write_weights_file(model, out)
    return model


def assign_state_dict(model: keras.Model, tensors: Mapping[str, np.ndarray], *, file: str | Path | None = None) -> None:
    """`load_resnext3d_weights` for arrays: tensor name → values. `file` is for messages."""
    tensors = {name: value for name, value in tensors.items() if not name.endswith(_COUNTER)}
    layers = _layer_tensors(model)
    check_tensors(
        tensors, state_dict_tensors(model), network="3D ResNeXt", fix=_OTHER_NETWORK, beyond=_beyond(model), file=file
    )  # fmt: skip
    for layer in weighted_layers(model):
        layer.set_weights([tensors[name].transpose(_AXES[tensors[name].ndim]) for name in layers[layer.name]])


def _layer_tensors(model: keras.Model) -> dict[str, dict[str, tuple[int, ...]]]:
    """Layer name → its tensors, name → shape, in the order of Keras's weights."""
    layers = {}
    for layer in weighted_layers(model):
        name = _torch_name(layer)
        parts = _NORM if isinstance(layer, keras.layers.BatchNormalization) else ("weight", "bias")
        shapes = {}
        for part, weight in zip(parts, layer.weights, strict=False):  # convolutions have no bias
            axes = np.argsort(_AXES[len(weight.shape)])
            shapes[f"{name}.{part}"] = tuple(weight.shape[axis] for axis in axes)
        layers[layer.name] = shapes
    return layers


def _torch_name(layer: keras.layers.Layer) -> str:
    return _CLASSIFIER if isinstance(layer, keras.layers.Dense) else layer.name.replace("_", ".")


def _beyond(model: keras.Model) -> tuple[str, ...]:
    """Beginnings of the names that a file may have beyond a model that ends early."""
    own = {_torch_name(layer).partition(".")[0] for layer in weighted_layers(model)}
    return tuple(f"{part}." for part in ("layer1", "layer2", "layer3", "layer4", _CLASSIFIER) if part not in own)
