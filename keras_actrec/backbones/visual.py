"""Visual backbones: video networks that turn a clip into a map (t, h, w, c); I3D, 3D ResNeXt-101 or any other 3D ConvNet.

Source: Das et al., "VPN: Learning Video-Pose Embedding for Activities of Daily Living", ECCV 2020, section 3.1 and table 5.
See docs/backbones.md for networks of one's own.
"""

from __future__ import annotations

import importlib
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import keras
import numpy as np

from keras_actrec.backbones.dtypes import POLICIES, with_dtype
from keras_actrec.backbones.i3d import i3d, load_i3d_weights
from keras_actrec.backbones.random_weights import calibration_clips, randomise
from keras_actrec.backbones.resnext3d import resnext101_3d
from keras_actrec.errors import ConfigError, WeightsError

CLIP = "clip"
# Random weights are calibrated on clips no larger than this: a whole one would take minutes in float64.
_CALIBRATION_FRAMES, _CALIBRATION_SIZE = 16, 112
_COPYING = (
    "return a functional model (keras.Model(inputs, outputs)) whose layers have get_config, or take dtype float32 with the "
    'weights "own" or a file'
)


@dataclass(frozen=True)
class BackboneConfig:
    """A video network.

    Attributes:
        name: "i3d" (up to Mixed_5c), "resnext101_3d" (up to layer4), or "package.module:function" for a function
            (BackboneConfig) -> keras.Model from RGB clips (B, frames, image_size, image_size, 3) in [-1, 1] to maps
            (B, t, h, w, c).
        weights: "random" (seeded, for trials and tests), the path of a `.weights.h5` file, or, for a function, "own": what the
            model has when the function returns it.
        frames: F, of a clip.
        image_size: S, side of the frames in pixels.
        dtype: "float32" or "bfloat16": type of the computation; the weights stay float32, and so does the map.
        seed: of "random" weights.

    Raises:
        ConfigError: an unknown name or dtype, or a number out of its range.
    """

    name: str = "i3d"
    weights: str = "random"
    frames: int = 64
    image_size: int = 224
    dtype: str = "float32"
    seed: int = 0

    def __post_init__(self):
        module, _, function = self.name.partition(":")
        if self.name not in _NETWORKS and not (function and all(module.split("."))):
            raise ConfigError(
                "unknown backbone", found=self.name, expected=f"{', '.join(_NETWORKS)} or package.module:function"
            )
        if self.name in _NETWORKS and self.weights == "own":
            raise ConfigError(f"{self.name} has no weights of its own", found=self.weights, expected="random or a weights file")
        if self.dtype not in POLICIES:
            raise ConfigError("unknown dtype of the backbone", found=self.dtype, expected=f"one of {', '.join(POLICIES)}")
        for field in ("frames", "image_size"):
            if getattr(self, field) < 1:
                raise ConfigError(f"{field} of the backbone must be positive", found=getattr(self, field))
        if self.seed < 0:
            raise ConfigError("a seed must not be negative", found=self.seed)


@dataclass(frozen=True)
class _Network:
    build: Callable[[BackboneConfig], keras.Model]
    load: Callable[[keras.Model, Path], None]
    ways_out: str


def build_backbone(config: BackboneConfig, *, weights: Sequence[np.ndarray] | None = None) -> keras.Model:
    """Builds a backbone with its weights, frozen.

    Args:
        config: what to build.
        weights: arrays of `get_weights()` of such a backbone to take instead of `config.weights` (worker processes).

    Returns:
        A model from "clip", RGB (B, frames, image_size, image_size, 3) in [-1, 1], to a map (B, t, h, w, c); see `map_shape`.

    Raises:
        ConfigError: the name's module or function cannot be had, or what the function returns is no such model.
        WeightsError: the weights cannot be had, or a file's weights do not fit.
    """
    own = _NETWORKS[config.name].build(config) if config.name in _NETWORKS else _call(config)
    model = _from_clip(own, config)
    map_shape(model)
    if weights is None and config.weights == "random":
        model.trainable = True  # a function may return a frozen model: all of its kernels are drawn
        _randomise(model, config)
    elif weights is None and config.weights != "own":
        _load(own, config)
    if config.dtype != "float32":
        model = _copied(config, lambda: with_dtype(model, POLICIES[config.dtype]))
    if keras.backend.standardize_dtype(model.output.dtype) != "float32":
        whole = keras.layers.Identity(name="map_float32", dtype="float32")(model.output)
        model = keras.Model(model.input, whole, name=model.name)
    if weights is not None:
        _set(model, weights, config)
    model.trainable = False
    return model


def map_shape(model: keras.Model) -> tuple[int, int, int, int]:
    """(t, h, w, c) of a backbone's map.

    Raises:
        ConfigError: the model's output is no such map, or a size of it is free.
    """
    output = model.output
    shape = getattr(output, "shape", None)
    if shape is None or len(shape) != 5 or None in shape[1:] or "float" not in keras.backend.standardize_dtype(output.dtype):
        what = f"{len(output)} outputs" if shape is None else f"shape {tuple(shape)}, {output.dtype}"
        raise ConfigError(
            f"the backbone {model.name} gives no map",
            found=what,
            expected="one floating-point output (B, t, h, w, c) with t, h, w and c fixed",
            fix="cut the network before its pooling and its classifier, and build it for clips of a fixed size",
        )
    return tuple(shape[1:])


# Networks.


def _i3d(config: BackboneConfig) -> keras.Model:
    return i3d(frames=config.frames, image_size=config.image_size)


def _resnext101_3d(config: BackboneConfig) -> keras.Model:
    return resnext101_3d(frames=config.frames, image_size=config.image_size)


def _call(config: BackboneConfig) -> keras.Model:
    """The model that the function "package.module:function" returns, checked."""
    module_name, _, function_name = config.name.partition(":")
    try:
        module = importlib.import_module(module_name)
    except ImportError as error:
        raise ConfigError(
            f"the backbone's module cannot be imported: {error}",
            found=config.name,
            expected="package.module:function",
            fix="start where the module lies, or put its folder on PYTHONPATH",
        ) from error
    function = getattr(module, function_name, None)
    if not callable(function):
        raise ConfigError(
            "the backbone's module has no such function",
            found=config.name,
            expected=f"a function of {module_name}, which lies at {getattr(module, '__file__', None)}",
        )
    model = function(config)
    if not isinstance(model, keras.Model):
        raise ConfigError(
            "the backbone's function returns no model", found=f"{config.name} → {type(model).__name__}", expected="keras.Model"
        )
    return model


def _from_clip(model: keras.Model, config: BackboneConfig) -> keras.Model:
    """The model as one of clips of fixed size, and with the input's name; itself where it is that already."""
    clip_shape = (config.frames, config.image_size, config.image_size, 3)
    inputs = getattr(model, "inputs", None) or [keras.KerasTensor((None, *clip_shape))]
    fits = len(inputs) == 1 and len(inputs[0].shape) == 5
    if not fits or any(found not in (None, size) for found, size in zip(inputs[0].shape[1:], clip_shape, strict=True)):
        raise ConfigError(
            f"the backbone {config.name} takes other clips",
            found=", ".join(str(tuple(one.shape)) for one in inputs),
            expected=f"one input {(None, *clip_shape)}",
            fix="set frames and image_size of the configuration, or build the network with those it is given",
        )
    given = getattr(model, "input", inputs[0])  # a tensor, or a dictionary or list around one
    if given is not inputs[0] or given.name != CLIP or tuple(given.shape[1:]) != clip_shape:
        clip = keras.Input(clip_shape, name=CLIP)
        model = keras.Model(clip, model(keras.tree.map_structure(lambda _: clip, given)), name=model.name)
    return model


def _copied(config: BackboneConfig, copy: Callable[[], object]) -> object:
    """What `copy` gives, which makes a network anew layer by layer; a function's may be of a kind that does not allow it."""
    try:
        return copy()
    except (ValueError, TypeError, NotImplementedError) as error:
        if config.name in _NETWORKS:
            raise
        raise ConfigError(
            f"the backbone's layers cannot be copied, which random weights and bfloat16 need: {_first_line(error)}",
            found=config.name,
            fix=_COPYING,
        ) from error


# Weights.


def _randomise(model: keras.Model, config: BackboneConfig) -> None:
    small = config
    if config.name in _NETWORKS:  # a function's network may depend on the size in any way
        frames, size = min(config.frames, _CALIBRATION_FRAMES), min(config.image_size, _CALIBRATION_SIZE)
        small = replace(config, frames=frames, image_size=size)
    measured = model if small == config else _NETWORKS[config.name].build(small)
    clips = calibration_clips(small.frames, small.image_size, config.seed)
    _copied(config, lambda: randomise(model, config.seed, clips, measured=measured))


def _set(model: keras.Model, weights: Sequence[np.ndarray], config: BackboneConfig) -> None:
    found, expected = [np.shape(array) for array in weights], [tuple(weight.shape) for weight in model.weights]
    if found != expected:
        raise WeightsError(
            f"the weights do not fit {config.name}", found=f"{len(found)} arrays", expected=f"{len(expected)} of its own shapes"
        )
    model.set_weights(list(weights))


def _load(model: keras.Model, config: BackboneConfig) -> None:
    path = Path(config.weights)
    ways_out = _NETWORKS[config.name].ways_out if config.name in _NETWORKS else _OWN_WAYS_OUT
    if not path.is_file():
        raise WeightsError("there is no such weights file", file=path, fix=ways_out)
    if not path.name.endswith(".weights.h5"):
        raise WeightsError("the file is no Keras weights file by its name", file=path, expected=".weights.h5", fix=ways_out)
    if config.name in _NETWORKS:
        _NETWORKS[config.name].load(model, path)
    else:
        _load_keras(model, path, _OWN_WAYS_OUT)


def _load_resnext3d(model: keras.Model, path: Path) -> None:
    _load_keras(model, path, _NETWORKS["resnext101_3d"].ways_out)


def _load_keras(model: keras.Model, path: Path, ways_out: str) -> None:
    """What `save_weights` of the same network wrote; layers that the file has behind the last one are passed over."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # one line per layer; the error below says it once
            model.load_weights(path)
    except (ValueError, KeyError, OSError) as error:
        raise WeightsError(f"the weights do not fit {model.name}: {_first_line(error)}", file=path, fix=ways_out) from error


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0] if str(error) else type(error).__name__


_TRIALS = "or take the weights random for trials"
_OWN_WAYS_OUT = (
    "write it with save_weights of the model that the function returns, or load the weights in the function "
    f'and take the weights "own", {_TRIALS}'
)
_NETWORKS = {
    "i3d": _Network(
        _i3d, load_i3d_weights, f"preprocessing/convert_i3d_checkpoint.py makes it of the published weights, {_TRIALS}"
    ),
    "resnext101_3d": _Network(
        _resnext101_3d,
        _load_resnext3d,
        f"preprocessing/convert_resnext3d_checkpoint.py makes it of the published weights, {_TRIALS}",
    ),
}
BACKBONES = tuple(_NETWORKS)
