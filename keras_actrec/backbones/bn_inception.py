"""BN-Inception, the frame network of Temporal Segment Networks (TSN): one picture → a cube of features and its mean.

Sources: Ioffe and Szegedy, "Batch Normalization", ICML 2015, appendix (the network); Wang et al., "Temporal Segment Networks",
ECCV 2016 (RGB and stacked optical flow); Du, Wang and Qiao, "RPAN", ICCV 2017, section 4.1, which takes the cube at the end of
inception_5a. Numbers, names and geometry as in TSN's published Caffe model, so that its weights fit
(`keras_actrec.convert.tsn_bn_inception`).

    stem       7×7, 64, strides 2 → max-pooling → 1×1, 64 → 3×3, 192 → max-pooling
    3a-5b      1×1  |  1×1 → 3×3  |  1×1 → 3×3 → 3×3  |  3×3 pooling → 1×1, side by side
    3c, 4e     strides 2: without the first branch, and the pooling is joined as it is

Every convolution has a bias, and a batch norm and a ReLU behind it. Caffe rounds the size of a pooled map up, where a window
reaches beyond the right or lower border, and its means over 3×3 places count the zeros of the padding.

Names of layers: those of Caffe with "_" for "/": "inception_3a/double_3x3_1" is "inception_3a_double_3x3_1", its batch norm has
"_bn" behind it.
"""

from __future__ import annotations

import keras
import numpy as np
from keras import ops

from keras_actrec.errors import ConfigError

FEATURES = 1024
"""Channels of the cube, and values of the pooled features."""
BLOCKS = {
    "3a": (64, (64, 64), (64, 96, 96), 32),
    "3b": (64, (64, 96), (64, 96, 96), 64),
    "3c": (None, (128, 160), (64, 96, 96), None),
    "4a": (224, (64, 96), (96, 128, 128), 128),
    "4b": (192, (96, 128), (96, 128, 128), 128),
    "4c": (160, (128, 160), (128, 160, 160), 128),
    "4d": (96, (128, 192), (160, 192, 192), 128),
    "4e": (None, (128, 192), (192, 256, 256), None),
    "5a": (352, (192, 320), (160, 224, 224), 128),
    "5b": (352, (192, 320), (192, 224, 224), 128),
}
"""Filters of a block's convolutions, branch by branch; None: it has no such convolution, and strides of 2."""
_MAX_POOLED = ("3c", "4e", "5b")  # the other blocks take means
_EPSILON, _MOMENTUM = 1e-5, 0.9
_FIRST_BIAS = 0.2
_RGB_MEAN = (104.0, 117.0, 123.0)  # of B, G, R
_FLOW_MEAN = 128.0
_LEAST_SIDE = 32
_MOST_NARROWING = 32  # divides every number of filters above


@keras.saving.register_keras_serializable(package="keras_actrec")
class TSNNormalisation(keras.layers.Layer):
    """Pictures in [-1, 1] → what TSN's networks were trained with: 0..255 minus a mean, colours in the order B, G, R.

    Three channels are R, G and B, with the means 123, 117 and 104. Any other number are planes of optical flow, of which 128 is
    no motion; their order stays.

    Input (…, channels), output (…, channels) float32 under every dtype policy: bfloat16 would round a grey value to its
    neighbour.
    """

    keeps_dtype = True

    def __init__(self, *, name: str | None = None, dtype: str = "float32"):
        super().__init__(name=name, dtype="float32", trainable=False)

    def call(self, picture):
        if picture.shape[-1] != len(_RGB_MEAN):
            return picture * 127.5 + (127.5 - _FLOW_MEAN)
        return ops.flip(picture, axis=-1) * 127.5 + ops.convert_to_tensor(127.5 - np.array(_RGB_MEAN), "float32")

    def compute_output_spec(self, picture):
        return keras.KerasTensor(picture.shape, "float32")

    def get_config(self):
        return {"name": self.name, "dtype": "float32"}


def bn_inception(
    *,
    channels: int = 3,
    picture_size: tuple[int, int] = (224, 224),
    narrowing: int = 1,
    name: str = "bn_inception",
) -> keras.Model:
    """BN-Inception from a picture to features, with random weights.

    Args:
        channels: 3 for RGB; an even number for planes of optical flow (x_t, y_t, x_t+1, y_t+1, …), 10 in the published models.
        picture_size: (height, width) in pixels, at least 32 each; the published models were trained on 224×224.
        narrowing: divides every number of filters, for trials and tests: 1 is the published network, up to 32.
        name: of the model.

    Returns:
        A functional model from "picture" (B, H, W, channels) in [-1, 1] to a dictionary: "cube" (B, K1, K2, 1024), the end of
        inception_5a, and "pooled" (B, 1024), the mean over the places of inception_5b. A side of n pixels has about n / 32
        places: 224×224 has 7×7, 240×320 has 8×10, 270×480 has 9×15. TSN's own preprocessing is inside. Where 3c or 4e meets a
        side of odd length, which Caffe's network cannot, the pooling has one more window, cut off by the border, so that it is
        as long as the convolutions beside it.

    Raises:
        ConfigError: a number out of its range.
    """
    _check(channels, picture_size, narrowing)
    picture = keras.Input((*picture_size, channels), name="picture")
    x = TSNNormalisation(name="preprocessing")(picture)
    x = _convolution(x, 64 // narrowing, 7, "conv1_7x7_s2", "conv1_relu_7x7", strides=2)
    x = _halved(x, "pool1_3x3_s2")
    x = _convolution(x, 64 // narrowing, 1, "conv2_3x3_reduce", "conv2_relu_3x3_reduce")
    x = _convolution(x, 192 // narrowing, 3, "conv2_3x3", "conv2_relu_3x3")
    x = _halved(x, "pool2_3x3_s2")
    ends = {}
    for block in BLOCKS:
        ends[block] = x = _inception(x, block, narrowing)
    # The policy's own mean would be of few bits where that is bfloat16.
    pooled = keras.layers.GlobalAveragePooling2D(name="global_pool", dtype="float32")(x)
    return keras.Model(picture, {"cube": ends["5a"], "pooled": pooled}, name=name)


def _check(channels: int, picture_size: tuple[int, int], narrowing: int) -> None:
    if channels != 3 and (channels < 2 or channels % 2):
        raise ConfigError(
            "BN-Inception takes RGB or optical flow", found=f"{channels} channels", expected="3, or two per frame of flow"
        )
    if len(picture_size) != 2 or min(picture_size) < _LEAST_SIDE:
        raise ConfigError(
            "pictures are too small for BN-Inception",
            found=picture_size,
            expected=f"(height, width), at least {_LEAST_SIDE} pixels each",
        )
    if narrowing < 1 or _MOST_NARROWING % narrowing:
        raise ConfigError(
            "BN-Inception cannot be narrowed so", found=narrowing, expected=f"a number that divides {_MOST_NARROWING}"
        )


def _inception(x, block: str, narrowing: int):
    """One block: branches side by side in the order of the published model."""
    single, triple, double, projected = BLOCKS[block]
    prefix = f"inception_{block}"
    strides = 1 if single else 2

    def unit(x, filters: int, size: int, name: str, strides: int = 1):
        return _convolution(x, filters // narrowing, size, f"{prefix}_{name}", f"{prefix}_relu_{name}", strides=strides)

    branches = [unit(x, single, 1, "1x1")] if single else []
    branches.append(unit(unit(x, triple[0], 1, "3x3_reduce"), triple[1], 3, "3x3", strides))
    y = unit(x, double[0], 1, "double_3x3_reduce")
    y = unit(y, double[1], 3, "double_3x3_1")
    branches.append(unit(y, double[2], 3, "double_3x3_2", strides))
    if not projected:
        branches.append(_halved(x, f"{prefix}_pool", as_convolution=True))
    else:
        y = keras.layers.ZeroPadding2D(1, name=f"{prefix}_pool_padding")(x)  # zeros are below every value, after a ReLU
        pooling = keras.layers.MaxPooling2D if block in _MAX_POOLED else keras.layers.AveragePooling2D
        branches.append(unit(pooling(3, 1, name=f"{prefix}_pool")(y), projected, 1, "pool_proj"))
    return keras.layers.Concatenate(name=f"{prefix}_output")(branches)


def _convolution(x, filters: int, size: int, name: str, relu: str, *, strides: int = 1):
    if size > 1 and strides > 1:
        # "same" would pad an even side behind alone where strides are 2; Caffe pads both ends.
        x = keras.layers.ZeroPadding2D(size // 2, name=f"{name}_padding")(x)
    x = keras.layers.Conv2D(
        filters,
        size,
        strides=strides,
        padding="valid" if strides > 1 else "same",
        kernel_initializer=keras.initializers.VarianceScaling(1.0, "fan_in", "uniform"),  # Caffe's "xavier"
        bias_initializer=keras.initializers.Constant(_FIRST_BIAS),
        name=name,
    )(x)
    x = keras.layers.BatchNormalization(epsilon=_EPSILON, momentum=_MOMENTUM, name=f"{name}_bn")(x)
    return keras.layers.ReLU(name=relu)(x)


def _halved(x, name: str, *, as_convolution: bool = False):
    """Max-pooling over 3×3, strides 2, from the upper left corner: ⌈(n - 3) / 2⌉ + 1 places of a side of n.

    `as_convolution`: ⌈n / 2⌉ places, as a padded convolution of strides 2 has; one more than above where n is odd.
    """
    behind = [1 if side % 2 == 0 else (2 if as_convolution else 0) for side in x.shape[1:3]]
    if any(behind):
        # Zeros are below every value, after a ReLU.
        x = keras.layers.ZeroPadding2D(tuple((0, count) for count in behind), name=f"{name}_padding")(x)
    return keras.layers.MaxPooling2D(3, 2, name=name)(x)
