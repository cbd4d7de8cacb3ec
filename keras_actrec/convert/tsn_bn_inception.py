"""BN-Inception weights of Temporal Segment Networks: Caffe models and PyTorch files → `bn_inception`.

Sources: github.com/yjxiong/temporal-segment-networks, whose models are .caffemodel files of the fork github.com/yjxiong/caffe,
and github.com/yjxiong/tsn-pytorch, whose files hold a state_dict. Both name their layers alike, "inception_3a/1x1" and
"inception_3a_1x1". A batch norm of that fork (type BN) has the blobs slope, bias, mean and variance, each (1, C): the order of
PyTorch and of Keras. Every name and every shape of a file is checked, in both directions, before anything is assigned.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import keras
import numpy as np

from keras_actrec.backbones.bn_inception import bn_inception
from keras_actrec.backbones.dtypes import weighted_layers
from keras_actrec.convert.caffe_files import read_caffemodel
from keras_actrec.convert.safetensors_files import read_safetensors
from keras_actrec.convert.tensor_checks import check_tensors, write_weights_file
from keras_actrec.convert.torch_files import read_state_dict
from keras_actrec.errors import WeightsError

_FIRST_KERNEL = "conv1_7x7_s2.weight"
_CONVOLUTION = ("weight", "bias")
_NORM = ("weight", "bias", "running_mean", "running_var")  # in the order of Keras's gamma, beta, moving mean and variance
_VARIANCE = _NORM[3]
_CAFFE_NORM = "_bn"  # at the end of its name
_EPSILON = 1e-5  # of the fork's batch norms
_COUNTER = ".num_batches_tracked"  # since PyTorch 0.4; of no use here
_PREFIXES = ("module.", "base_model.")  # of torch.nn.DataParallel, and of tsn-pytorch's class TSN
_CLASSIFIERS = ("fc", "new_fc", "last_linear")  # what the names of classifiers begin with, which are passed over
_OTHER_NETWORK = "give a BN-Inception of Temporal Segment Networks, with the channels that it was made with"


def tsn_tensors(model: keras.Model) -> dict[str, tuple[int, ...]]:
    """Tensors that fill a model of `bn_inception`: name of PyTorch's state_dict → shape there, in the model's order.

    All 414 of them: kernel and bias of 69 convolutions, four of each batch norm.
    """
    return {name: shape for names in _layer_tensors(model).values() for name, shape in names.items()}


def read_tsn(path: str | Path, *, inverse_deviation: bool = False) -> dict[str, np.ndarray]:
    """Reads a published network. Nothing in the file is run.

    Args:
        path: a .caffemodel, a .pth of torch.save or a .safetensors file; told apart by content.
        inverse_deviation: a .caffemodel from before the fork's support of cuDNN v5, April 2016, whose batch norms hold
            1 / √(variance + 1e-5) in place of the variance. A file does not say which; the reference models, whose addresses
            end in ".v5", hold variances.

    Returns:
        Name → values, named as `tsn_tensors`, classifiers and all.

    Raises:
        WeightsError: the file is absent, damaged or refused, a layer has another number of arrays than it needs, two tensors
            have one name, or `inverse_deviation` of a file that is not Caffe's.
    """
    path = Path(path)
    if not path.is_file():
        raise WeightsError("there is no such weights file", file=path)
    with path.open("rb") as file:
        start = file.read(9)
    # The length of a .safetensors header, in front of it, may begin as the other formats do.
    is_safetensors = start.endswith(b"{") and len(start) == 9
    is_torch = not is_safetensors and (start.startswith(b"PK\x03\x04") or start[:1] == b"\x80")
    if inverse_deviation and (is_safetensors or is_torch):
        raise WeightsError("only Caffe's files ever held inverse deviations", file=path, fix="leave that out")
    if is_safetensors:
        return _named(read_safetensors(path), path)
    if is_torch:
        return _named(read_state_dict(path), path)
    return _named(_caffe_tensors(read_caffemodel(path), path, inverse_deviation=inverse_deviation), path)


def load_tsn_weights(model: keras.Model, path: str | Path, *, inverse_deviation: bool = False) -> None:
    """Fills a model of `bn_inception` with a published network.

    Args:
        model: with the channels of the file.
        path, inverse_deviation: see `read_tsn`.

    Raises:
        WeightsError: see `read_tsn`, or a tensor is missing, unexpected, of another shape, not finite, or a variance below 0.
    """
    assign_tsn(model, read_tsn(path, inverse_deviation=inverse_deviation), file=path)


def convert_tsn(
    source: str | Path, out: str | Path, *, channels: int | None = None, inverse_deviation: bool = False
) -> keras.Model:
    """Writes the Keras weights file of a published network.

    Args:
        source: see `read_tsn`.
        out: file to write, ending in .weights.h5.
        channels: of the pictures, 3 or 10; None: as many as the file's first kernel has.
        inverse_deviation: see `read_tsn`.

    Returns:
        The model with these weights.

    Raises:
        ConfigError: channels that `bn_inception` does not take.
        WeightsError: see `load_tsn_weights`.
        DiskFullError: no space left.
    """
    tensors = read_tsn(source, inverse_deviation=inverse_deviation)
    if channels is None:
        channels = _channels(tensors, source)
    model = bn_inception(channels=channels)
    assign_tsn(model, tensors, file=source)
    write_weights_file(model, out)
    return model


def assign_tsn(model: keras.Model, tensors: Mapping[str, np.ndarray], *, file: str | Path | None = None) -> None:
    """`load_tsn_weights` for arrays: tensor name → values. `file` is for messages."""
    layers, expected = _layer_tensors(model), tsn_tensors(model)
    tensors = {
        name: value if name not in expected else _without_ones(value, len(expected[name]))
        for name, value in tensors.items()
        if not name.endswith(_COUNTER)
    }
    check_tensors(tensors, expected, network="BN-Inception", beyond=_CLASSIFIERS, fix=_OTHER_NETWORK, file=file)
    for name in expected:
        if name.endswith(_VARIANCE) and tensors[name].min() < 0:
            raise WeightsError("a variance below 0", file=file, place=f"tensor {name}", fix="fetch the file again")
    for layer in weighted_layers(model):
        values = [tensors[name] for name in layers[layer.name]]
        # (filters, channels, rows, columns) → (rows, columns, channels, filters)
        layer.set_weights([value.transpose(2, 3, 1, 0) if value.ndim > 1 else value for value in values])


def _layer_tensors(model: keras.Model) -> dict[str, dict[str, tuple[int, ...]]]:
    """Layer name → its tensors, name → shape, in the order of Keras's weights."""
    layers = {}
    for layer in weighted_layers(model):
        parts = _NORM if isinstance(layer, keras.layers.BatchNormalization) else _CONVOLUTION
        shapes = [tuple(weight.shape) for weight in layer.weights]
        shapes = [(*shape[:1:-1], *shape[:2]) if len(shape) > 1 else shape for shape in shapes]
        layers[layer.name] = {f"{layer.name}.{part}": shape for part, shape in zip(parts, shapes, strict=True)}
    return layers


def _caffe_tensors(
    layers: Mapping[str, list[np.ndarray]], path: Path, *, inverse_deviation: bool
) -> dict[str, np.ndarray]:  # fmt: skip
    tensors = {}
    for layer, blobs in layers.items():
        parts = _NORM if layer.endswith(_CAFFE_NORM) else _CONVOLUTION
        if len(blobs) != len(parts):
            raise WeightsError(
                "a layer with another number of blobs",
                file=path,
                place=f"layer {layer}",
                found=len(blobs),
                expected=f"{len(parts)}: {', '.join(parts)}",
                fix=_OTHER_NETWORK,
            )
        name = layer.replace("/", "_").replace("-", "_")
        tensors |= {f"{name}.{part}": blob for part, blob in zip(parts, blobs, strict=True)}
        if inverse_deviation and parts == _NORM:
            with np.errstate(divide="ignore"):  # a zero gives infinity, which is refused later
                variance = blobs[3].astype(np.float64) ** -2 - _EPSILON
            tensors[f"{name}.{_VARIANCE}"] = np.maximum(variance, 0.0).astype(np.float32)
    return tensors


def _named(tensors: Mapping[str, np.ndarray], path: Path) -> dict[str, np.ndarray]:
    """Without what wrappers put in front of names."""
    named = {}
    for name, value in tensors.items():
        for prefix in _PREFIXES:
            name = name.removeprefix(prefix)
        if name in named:
            raise WeightsError("some tensors are there with and without a prefix", file=path, place=f"tensor {name}")
        named[name] = value
    return named


def _channels(tensors: Mapping[str, np.ndarray], path: str | Path) -> int:
    kernel = tensors.get(_FIRST_KERNEL)
    if kernel is None or kernel.ndim != 4:
        raise WeightsError(
            "the file is of another network than BN-Inception",
            file=path,
            found="no first convolution" if kernel is None else f"a first kernel of shape {kernel.shape}",
            expected=f"{_FIRST_KERNEL} of shape (64, channels, 7, 7)",
            fix=_OTHER_NETWORK,
        )
    return kernel.shape[1]


def _without_ones(value: np.ndarray, axes: int) -> np.ndarray:
    """Without leading axes of length 1: Caffe's batch norms have (1, C), old files (1, 1, 1, C) for a bias."""
    while value.ndim > axes and value.shape[0] == 1:
        value = value[0]
    return value
