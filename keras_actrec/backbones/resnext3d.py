"""3D ResNeXt-101: residual blocks whose 3×3×3 convolution runs in 32 groups of channels.

Source: Hara, Kataoka and Satoh, "Can Spatiotemporal 3D CNNs Retrace the History of 2D CNNs and ImageNet?", CVPR 2018, section 3
and table 1; numbers as in the authors' published PyTorch code of that paper (branch CVPR2018), so that its weights fit
(`keras_actrec.convert.resnext3d`).

    block      1×1×1, planes · cardinality / 32  →  3×3×3 in groups, strides  →  1×1×1, 2 · planes  →  + shortcut
    layer1     planes 128, strides 1     after a 7×7×7 convolution, strides (1, 2, 2), and a 3×3×3 max-pooling, strides 2
    layer2-4   planes 256, 512, 1024, strides 2 in the first block of each

Names of layers: those of PyTorch with "_" for ".": "layer1.0.conv1" is "layer1_0_conv1". The layer that gives an endpoint has
the endpoint's name.
"""

from __future__ import annotations

import keras
from keras import ops

from keras_actrec.errors import ConfigError

ENDPOINTS = ("layer1", "layer2", "layer3", "layer4", "Logits")
BLOCKS = (3, 4, 23, 3)
"""Residual blocks of layer1 to layer4 at depth 101."""
PLANES = (128, 256, 512, 1024)
CARDINALITY = 32
_EXPANSION = 2
_STEM_FILTERS = 64
_EPSILON, _MOMENTUM = 1e-5, 0.9  # PyTorch's; it counts the momentum from the other side
# ActivityNet's mean of R, G, B in 0..255: what the published Kinetics models were trained with (mean.py, opts.py: norm_value 1,
# mean_dataset activitynet, no division by the deviation).
_MEAN = (114.7748, 107.7354, 99.4750)
_LEAST_WIDTH = 16


@keras.saving.register_keras_serializable(package="keras_actrec")
class SubtractMean(keras.layers.Layer):
    """RGB values in [-1, 1] → 0..255 minus the mean of each channel.

    Args:
        mean: of R, G, B, in 0..255.

    Input (…, 3), output (…, 3) float32 under every dtype policy: bfloat16 would keep 8 bits of the mean, a whole grey value.
    """

    keeps_dtype = True

    def __init__(self, mean: tuple[float, float, float] = _MEAN, *, name: str | None = None, dtype: str = "float32"):
        super().__init__(name=name, dtype="float32", trainable=False)
        self.mean = tuple(float(value) for value in mean)
        if len(self.mean) != 3:
            raise ConfigError("a mean has three channels", found=mean)

    def call(self, clip):
        return clip * 127.5 + ops.convert_to_tensor([127.5 - value for value in self.mean], "float32")

    def compute_output_spec(self, clip):
        return keras.KerasTensor(clip.shape, "float32")

    def get_config(self):
        return {"name": self.name, "dtype": "float32", "mean": list(self.mean)}


@keras.saving.register_keras_serializable(package="keras_actrec")
class GroupedConv3D(keras.layers.Conv3D):
    """`keras.layers.Conv3D(groups=…)` without bias and padding: the same kernel, the same sums, but fast on a CPU.

    Keras hands grouped convolutions of TensorFlow to XLA, which on a CPU takes several times as long forward and 10 to 80 times
    as long backward as one convolution per group. Groups of fewer than 16 channels are joined to blocks of 16, with zeros in
    the kernel between them: narrower convolutions are slower.

    Args:
        filters, kernel_size, strides: see Keras.
        groups: of channels; divides the channels of input and output.

    Input (B, T, H, W, C), output (B, T', H', W', filters); kernel (kT, kH, kW, C / groups, filters). Initialised as the
    published network: normal, with the deviation √(2 / (filters · kT · kH · kW)).
    """

    def __init__(
        self,
        filters: int,
        kernel_size: int | tuple[int, int, int],
        *,
        groups: int,
        strides: int | tuple[int, int, int] = 1,
        name: str | None = None,
        dtype: str | None = None,
    ):
        super().__init__(
            filters,
            kernel_size,
            strides=strides,
            groups=groups,
            use_bias=False,
            data_format="channels_last",
            kernel_initializer=_initializer(),
            name=name,
            dtype=dtype,
        )

    def convolution_op(self, inputs, kernel):
        blocks = self.groups
        while blocks % 2 == 0 and kernel.shape[-2] < _LEAST_WIDTH:
            blocks //= 2
            kernel = _joined(kernel, blocks)
        pieces = zip(ops.split(inputs, blocks, axis=-1), ops.split(kernel, blocks, axis=-1), strict=True)
        return ops.concatenate([super(GroupedConv3D, self).convolution_op(x, k) for x, k in pieces], axis=-1)

    def get_config(self):
        return {
            "name": self.name,
            "dtype": keras.dtype_policies.serialize(self.dtype_policy),
            "filters": self.filters,
            "kernel_size": list(self.kernel_size),
            "groups": self.groups,
            "strides": list(self.strides),
        }


def _joined(kernel, blocks: int):
    """A kernel of 2 · blocks groups, (…, c, filters) → the same map as one of `blocks` groups, (…, 2c, filters)."""
    *size, channels, filters = kernel.shape
    pairs = ops.reshape(kernel, (*size, 1, channels, blocks, 2, filters // (2 * blocks)))
    own = ops.reshape(ops.eye(2, dtype=kernel.dtype), (2, 1, 1, 2, 1))  # input of the first group → output of the first
    return ops.reshape(pairs * own, (*size, 2 * channels, filters))


def resnext101_3d(
    *,
    frames: int = 64,
    image_size: int | None = 112,
    endpoint: str = "layer4",
    classes: int = 400,
    blocks: tuple[int, int, int, int] = BLOCKS,
    cardinality: int = CARDINALITY,
) -> keras.Model:
    """3D ResNeXt-101 from a clip to one endpoint.

    Args:
        frames: F, of a clip; the published models have 16 or 64.
        image_size: S, side of the frames; the published models have 112. None leaves height and width free.
        endpoint: one of `ENDPOINTS`. "layer4" is (B, ⌈F/16⌉, ⌈S/32⌉, ⌈S/32⌉, 2048): (4, 7, 7, 2048) for 64 frames of 224,
            (4, 4, 4, 2048) for 64 of 112.
        classes: of "Logits".
        blocks: residual blocks of layer1 to layer4.
        cardinality: groups of the 3×3×3 convolutions.

    Returns:
        A functional model from "clip" (B, F, S, S, 3), RGB in [-1, 1], to the endpoint's map or to logits (B, classes). The
        network's own preprocessing, 0..255 minus ActivityNet's mean, is inside.

    Raises:
        ConfigError: an unknown endpoint or a number out of its range.
    """
    _check(frames, image_size, endpoint, classes, blocks, cardinality)
    clip = keras.Input((frames, image_size, image_size, 3), name="clip")
    x = SubtractMean(name="preprocessing")(clip)
    x = keras.layers.ZeroPadding3D(3, name="conv1_padding")(x)
    x = keras.layers.Conv3D(
        _STEM_FILTERS, 7, strides=(1, 2, 2), use_bias=False, kernel_initializer=_initializer(), name="conv1"
    )(x)
    x = _norm(x, "bn1")
    x = keras.layers.ReLU(name="relu")(x)
    x = keras.layers.ZeroPadding3D(1, name="maxpool_padding")(x)  # zeros are below every value, after a ReLU
    x = keras.layers.MaxPooling3D(3, 2, name="maxpool")(x)
    for stage, (count, planes) in enumerate(zip(blocks, PLANES, strict=True), start=1):
        if f"layer{stage}" in ENDPOINTS[: ENDPOINTS.index(endpoint) + 1]:
            for number in range(count):
                last = number == count - 1
                x = _block(
                    x,
                    planes,
                    cardinality,
                    strides=2 if stage > 1 and number == 0 else 1,
                    prefix=f"layer{stage}_{number}",
                    name=f"layer{stage}" if last else f"layer{stage}_{number}",
                )
    if endpoint == "Logits":
        x = keras.layers.GlobalAveragePooling3D(name="avgpool")(x)
        x = keras.layers.Dense(classes, name="Logits", dtype="float32")(x)
    return keras.Model(clip, x, name="resnext101_3d")


def _check(frames: int, image_size: int | None, endpoint: str, classes: int, blocks: tuple[int, ...], cardinality: int) -> None:
    if endpoint not in ENDPOINTS:
        raise ConfigError("unknown endpoint of 3D ResNeXt", found=endpoint, expected=f"one of {', '.join(ENDPOINTS)}")
    if frames < 1 or (image_size is not None and image_size < 1):
        raise ConfigError("a clip of 3D ResNeXt has frames, and these have pixels", found=f"frames {frames}, side {image_size}")
    if classes < 1:
        raise ConfigError("3D ResNeXt needs at least one class", found=classes)
    if len(blocks) != len(PLANES) or min(blocks) < 1:
        raise ConfigError("3D ResNeXt needs blocks in each of its layers", found=blocks, expected=f"four numbers, as {BLOCKS}")
    if cardinality < 1:
        raise ConfigError("3D ResNeXt needs at least one group", found=cardinality)


def _block(x, planes: int, cardinality: int, *, strides: int, prefix: str, name: str):
    """Figure 3 of the paper, ResNeXt. Shortcut B: a 1×1×1 convolution where the shape changes."""
    width, filters = cardinality * (planes // 32), planes * _EXPANSION
    shortcut = x
    if strides != 1 or x.shape[-1] != filters:
        shortcut = _norm(_point(x, filters, f"{prefix}_downsample_0", strides), f"{prefix}_downsample_1")
    x = _norm(_point(x, width, f"{prefix}_conv1"), f"{prefix}_bn1")
    x = keras.layers.ReLU(name=f"{prefix}_relu1")(x)
    # "same" would pad an even length behind alone where strides are 2; PyTorch pads both ends.
    x = keras.layers.ZeroPadding3D(1, name=f"{prefix}_padding")(x)
    x = GroupedConv3D(width, 3, groups=cardinality, strides=strides, name=f"{prefix}_conv2")(x)
    x = _norm(x, f"{prefix}_bn2")
    x = keras.layers.ReLU(name=f"{prefix}_relu2")(x)
    x = _norm(_point(x, filters, f"{prefix}_conv3"), f"{prefix}_bn3")
    x = keras.layers.Add(name=f"{prefix}_sum")([x, shortcut])
    return keras.layers.ReLU(name=name)(x)


def _point(x, filters: int, name: str, strides: int = 1):
    return keras.layers.Conv3D(
        filters, 1, strides=strides, use_bias=False, kernel_initializer=_initializer(), name=name
    )(x)  # fmt: skip


def _norm(x, name: str):
    return keras.layers.BatchNormalization(epsilon=_EPSILON, momentum=_MOMENTUM, name=name)(x)


def _initializer() -> keras.initializers.Initializer:
    return keras.initializers.VarianceScaling(2.0, "fan_out", "untruncated_normal")
