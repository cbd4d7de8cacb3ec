"""I3D: Inception-v1 with its filters inflated to three dimensions, cut at any of DeepMind's endpoints.

Source: Carreira and Zisserman, "Quo Vadis, Action Recognition? A New Model and the Kinetics Dataset", CVPR 2017, figure 3.
Names and numbers are those of DeepMind's published checkpoints, so that weights go by name (`keras_actrec.convert.i3d`).

Names of layers: DeepMind's scopes with "." for "/", which Keras keeps for itself. The unit "Mixed_3b/Branch_0/Conv3d_0a_1x1" is
the layers "Mixed_3b.Branch_0.Conv3d_0a_1x1.conv_3d", "….batch_norm" and, its ReLU, "Mixed_3b.Branch_0.Conv3d_0a_1x1". The layer
that gives an endpoint has the endpoint's name.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import h5py
import keras
import numpy as np

from keras_actrec.errors import ConfigError, WeightsError

CHANNELS = {"rgb": 3, "flow": 2}
# Sonnet's batch norm, the default of the published code: no scale, since a ReLU and a convolution follow.
_EPSILON, _MOMENTUM = 1e-3, 0.999
# Endpoint → (kernel, strides, filters): convolutions outside of the Inception blocks.
_CONVOLUTIONS = {
    "Conv3d_1a_7x7": ((7, 7, 7), 2, 64),
    "Conv3d_2b_1x1": ((1, 1, 1), 1, 64),
    "Conv3d_2c_3x3": ((3, 3, 3), 1, 192),
}
# Endpoint → (window, strides).
_POOLS = {
    "MaxPool3d_2a_3x3": ((1, 3, 3), (1, 2, 2)),
    "MaxPool3d_3a_3x3": ((1, 3, 3), (1, 2, 2)),
    "MaxPool3d_4a_3x3": ((3, 3, 3), (2, 2, 2)),
    "MaxPool3d_5a_2x2": ((2, 2, 2), (2, 2, 2)),
}
# Endpoint → filters of an Inception block: branch 0; branch 1, 1×1 and 3×3; branch 2, 1×1 and 3×3; branch 3.
_BLOCKS = {
    "Mixed_3b": (64, 96, 128, 16, 32, 32),
    "Mixed_3c": (128, 128, 192, 32, 96, 64),
    "Mixed_4b": (192, 96, 208, 16, 48, 64),
    "Mixed_4c": (160, 112, 224, 24, 64, 64),
    "Mixed_4d": (128, 128, 256, 24, 64, 64),
    "Mixed_4e": (112, 144, 288, 32, 64, 64),
    "Mixed_4f": (256, 160, 320, 32, 128, 128),
    "Mixed_5b": (256, 160, 320, 32, 128, 128),
    "Mixed_5c": (384, 192, 384, 48, 128, 128),
}
ENDPOINTS = (
    *("Conv3d_1a_7x7", "MaxPool3d_2a_3x3", "Conv3d_2b_1x1", "Conv3d_2c_3x3", "MaxPool3d_3a_3x3", "Mixed_3b", "Mixed_3c"),
    *(
        "MaxPool3d_4a_3x3",
        "Mixed_4b",
        "Mixed_4c",
        "Mixed_4d",
        "Mixed_4e",
        "Mixed_4f",
        "MaxPool3d_5a_2x2",
        "Mixed_5b",
        "Mixed_5c",
    ),
    *("Logits", "Predictions"),
)
"""DeepMind's 18 endpoints, in order."""
LOGIT_UNIT = "Logits/Conv3d_0c_1x1"
_LOGIT_WINDOW = (2, 7, 7)
_WAYS_OUT = (
    "make such a file of the published weights with preprocessing/convert_i3d_checkpoint.py, or take random weights for trials"
)


@dataclass(frozen=True)
class Unit:
    """One convolution of the network, with batch norm and ReLU except for the logits.

    Attributes:
        name: scope in DeepMind's checkpoint.
        kernel: frames, height, width.
        channels: of the input.
        filters: of the output.
    """

    name: str
    kernel: tuple[int, int, int]
    channels: int
    filters: int

    @property
    def layer(self) -> str:
        """Name of its layers, before ".conv_3d" and ".batch_norm"."""
        return self.name.replace("/", ".")

    @property
    def normalised(self) -> bool:
        return self.name != LOGIT_UNIT


def i3d_units(*, inputs: str = "rgb", classes: int = 400) -> tuple[Unit, ...]:
    """All 58 convolutions in the network's order; those of an Inception block in the order of its six filter numbers."""
    units, channels = [], CHANNELS[inputs]
    for endpoint in ENDPOINTS:
        if endpoint in _CONVOLUTIONS:
            kernel, _, filters = _CONVOLUTIONS[endpoint]
            units.append(Unit(endpoint, kernel, channels, filters))
            channels = filters
        elif endpoint in _BLOCKS:
            units += _block_units(endpoint, channels)
            filters = _BLOCKS[endpoint]
            channels = filters[0] + filters[2] + filters[4] + filters[5]
    return (*units, Unit(LOGIT_UNIT, (1, 1, 1), channels, classes))


def _block_units(endpoint: str, channels: int) -> list[Unit]:
    one, cube = (1, 1, 1), (3, 3, 3)
    filters = _BLOCKS[endpoint]
    # The published network calls this one unit 0a where all its siblings are 0b.
    cube_2 = "Conv3d_0a_3x3" if endpoint == "Mixed_5b" else "Conv3d_0b_3x3"
    return [
        Unit(f"{endpoint}/Branch_0/Conv3d_0a_1x1", one, channels, filters[0]),
        Unit(f"{endpoint}/Branch_1/Conv3d_0a_1x1", one, channels, filters[1]),
        Unit(f"{endpoint}/Branch_1/Conv3d_0b_3x3", cube, filters[1], filters[2]),
        Unit(f"{endpoint}/Branch_2/Conv3d_0a_1x1", one, channels, filters[3]),
        Unit(f"{endpoint}/Branch_2/{cube_2}", cube, filters[3], filters[4]),
        Unit(f"{endpoint}/Branch_3/Conv3d_0b_1x1", one, channels, filters[5]),
    ]


def i3d(
    *,
    inputs: str = "rgb",
    endpoint: str = "Mixed_5c",
    frames: int = 64,
    image_size: int | None = 224,
    classes: int = 400,
    dropout: float = 0.0,
) -> keras.Model:
    """I3D from a clip to one endpoint.

    Args:
        inputs: "rgb" (3 channels) or "flow" (2).
        endpoint: one of `ENDPOINTS`. With S the side of the frames and F their number, "Mixed_5c" is
            (B, ⌈F/8⌉, ⌈S/32⌉, ⌈S/32⌉, 1024): (8, 7, 7, 1024) for 64 frames of 224.
        frames: F.
        image_size: S; None leaves height and width free, for maps.
        classes: of "Logits" and "Predictions".
        dropout: share of the pooled features that is dropped before the classifier while training.

    Returns:
        A functional model from "clip" (B, F, S, S, channels), values in [-1, 1], to the endpoint's map, or to (B, classes):
        "Logits" are averaged over time, "Predictions" their softmax, both float32 under every dtype policy.

    Raises:
        ConfigError: an unknown name, a number out of its range, or a clip that is too small or too large for the classifier.
    """
    _check(inputs, endpoint, frames, image_size, classes, dropout)
    clip = keras.Input((frames, image_size, image_size, CHANNELS[inputs]), name="clip")
    units = {unit.name: unit for unit in i3d_units(inputs=inputs, classes=classes)}
    x = clip
    for name in ENDPOINTS[: ENDPOINTS.index(endpoint) + 1]:
        if name in _POOLS:
            window, strides = _POOLS[name]
            x = keras.layers.MaxPooling3D(window, strides, padding="same", name=name)(x)
        elif name in _CONVOLUTIONS:
            x = _convolution(x, units[name], strides=_CONVOLUTIONS[name][1])
        elif name in _BLOCKS:
            x = _block(x, name)
        elif name == "Logits":
            x = _logits(x, units[LOGIT_UNIT], dropout)
        else:
            x = keras.layers.Softmax(name=name, dtype="float32")(x)
    return keras.Model(clip, x, name="i3d")


def _check(inputs: str, endpoint: str, frames: int, image_size: int | None, classes: int, dropout: float) -> None:
    if inputs not in CHANNELS:
        raise ConfigError("unknown inputs of I3D", found=inputs, expected=" or ".join(CHANNELS))
    if endpoint not in ENDPOINTS:
        raise ConfigError("unknown endpoint of I3D", found=endpoint, expected=f"one of {', '.join(ENDPOINTS)}")
    if frames < 1 or (image_size is not None and image_size < 1):
        raise ConfigError("a clip of I3D has frames, and these have pixels", found=f"frames {frames}, side {image_size}")
    if endpoint not in ("Logits", "Predictions"):
        return
    if classes < 1:
        raise ConfigError("I3D needs at least one class", found=classes)
    if not 0 <= dropout < 1:
        raise ConfigError("dropout is a share of the features", found=dropout, expected="at least 0 and less than 1")
    # The classifier pools 2×7×7 places; what it leaves of height and width has to be one place.
    if image_size is None or -(-image_size // 32) != _LOGIT_WINDOW[1] or -(-frames // 8) < _LOGIT_WINDOW[0]:
        raise ConfigError(
            f"the classifier of I3D does not fit this clip: endpoint {endpoint}",
            found=f"{frames} frames, side {image_size}",
            expected="at least 9 frames, side 193 to 224",
            fix="take the endpoint Mixed_5c for other sizes",
        )


def _convolution(x, unit: Unit, *, strides: int = 1):
    """SAME padding is TensorFlow's: more zeros behind than in front where the number is odd."""
    # No bias: batch norm takes the mean off.
    x = keras.layers.Conv3D(
        unit.filters, unit.kernel, strides=strides, padding="same", use_bias=False, name=f"{unit.layer}.conv_3d"
    )(x)
    x = keras.layers.BatchNormalization(scale=False, epsilon=_EPSILON, momentum=_MOMENTUM, name=f"{unit.layer}.batch_norm")(x)
    return keras.layers.ReLU(name=unit.layer)(x)


def _block(x, endpoint: str):
    """Inception block: four branches side by side (the paper's figure 3, right)."""
    units = _block_units(endpoint, x.shape[-1])
    branch_0 = _convolution(x, units[0])
    branch_1 = _convolution(_convolution(x, units[1]), units[2])
    branch_2 = _convolution(_convolution(x, units[3]), units[4])
    pooled = keras.layers.MaxPooling3D(3, 1, padding="same", name=f"{endpoint}.Branch_3.MaxPool3d_0a_3x3")(x)
    branch_3 = _convolution(pooled, units[5])
    return keras.layers.Concatenate(name=endpoint)([branch_0, branch_1, branch_2, branch_3])


def _logits(x, unit: Unit, dropout: float):
    x = keras.layers.AveragePooling3D(_LOGIT_WINDOW, 1, padding="valid", name="Logits.AvgPool3d_0a_7x7")(x)
    x = keras.layers.Dropout(dropout, name="Logits.Dropout_0b")(x)
    x = keras.layers.Conv3D(unit.filters, unit.kernel, name=f"{unit.layer}.conv_3d")(x)
    x = keras.layers.Reshape((x.shape[1], unit.filters), name="Logits.SpatialSqueeze")(x)
    return keras.layers.GlobalAveragePooling1D(name="Logits", dtype="float32")(x)


def load_i3d_weights(model: keras.Model, path: str | Path) -> None:
    """Loads a `.weights.h5` file of an I3D into an `i3d` model of any endpoint, by the names of the layers.

    Args:
        model: of `i3d`; every layer of it with weights has to be in the file. Layers that only the file has are passed over.
        path: what `save_weights` of an `i3d` model wrote, as preprocessing/convert_i3d_checkpoint.py does.

    Raises:
        WeightsError: the file is absent, damaged or holds no weights, or a layer is missing or has other shapes.
    """
    path = Path(path)
    layers = [layer for layer in model.layers if layer.weights]
    if not path.is_file():
        raise WeightsError("there is no such weights file", file=path, fix=_WAYS_OUT)
    try:
        with h5py.File(path, "r") as file:
            saved = _saved_layers(file, {layer.name for layer in layers})
    except (OSError, KeyError, ValueError, RuntimeError) as error:  # h5py has all of them for damaged files
        raise WeightsError(f"the file is damaged or no HDF5 file: {error}", file=path, fix=_WAYS_OUT) from error
    missing = [layer.name for layer in layers if layer.name not in saved]
    if missing:
        raise WeightsError(
            f"the file lacks {len(missing)} of the {len(layers)} layers of {model.name} that have weights",
            file=path,
            found=f"no layer {missing[0]}",
            fix=_WAYS_OUT,
        )
    for layer in layers:
        found, expected = [value.shape for value in saved[layer.name]], [tuple(weight.shape) for weight in layer.weights]
        if found != expected:
            raise WeightsError(
                f"the weights do not fit {model.name}",
                file=path,
                place=f"layer {layer.name}",
                found=found,
                expected=expected,
                fix="give the inputs (rgb, flow) and the classes that the file was made with",
            )
    for layer in layers:
        layer.set_weights(saved[layer.name])


def _saved_layers(file: h5py.File, wanted: set[str]) -> dict[str, list[np.ndarray]]:
    """Layer name → its arrays in Keras's order. Keras numbers the groups by class and keeps the layer's name beside them."""
    saved = {}
    for group in file.get("layers", {}).values():
        values = group.get("vars", {})
        name = values.attrs.get("name") if values else None
        if name in wanted:
            saved[name] = [values[key][()] for key in sorted(values, key=int)]
    return saved
