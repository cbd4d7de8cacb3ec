"""ResNet-50 inflated to three dimensions without any temporal stride: F frames in, maps of F frames out.

Sources: Baradel, Wolf, Mille and Taylor, "Glimpse Clouds: Human Activity Recognition from Unstructured Feature Points", CVPR
2018 (the backbone); Carreira and Zisserman, "Quo Vadis, Action Recognition?", CVPR 2017 (inflation).

    stem       7×7 convolution and 3×3 max-pooling of every frame for itself, strides 2 each
    block      1×1×1, width → 3×3×3, width → 1×1×1, 4 · width → + shortcut
    conv2-5    3, 4, 6, 3 blocks of widths 64, 128, 256, 512; strides (1, 2, 2) in the first block of conv3, conv4 and conv5

Two structures. "keras" is that of keras.applications.ResNet50, whose ImageNet weights it takes: strides in the first 1×1×1
convolution of a block, epsilon of the batch norms 1.001e-5. "torchvision" is that of the published PyTorch code: strides in the
3×3×3 convolution, epsilon 1e-5. Each does to RGB what its ImageNet weights were trained with.

Names of layers: those of keras.applications.ResNet50. Convolutions have no bias. For inference on a CPU there is a faster twin,
`keras_actrec.backbones.folded_resnet`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import keras
import numpy as np
from keras import ops

from keras_actrec.backbones.dtypes import POLICIES, weighted_layers, with_dtype
from keras_actrec.backbones.inflated_weights import (
    INFLATIONS,
    imagenet_resnet50,
    inflate_imagenet_weights,
    load_inflated_weights,
    structure_of,
)
from keras_actrec.backbones.random_weights import calibration_clips, randomise
from keras_actrec.errors import ConfigError, WeightsError

STRUCTURES = ("keras", "torchvision")
BLOCKS = (3, 4, 6, 3)
"""Residual blocks of conv2 to conv5."""
WIDTHS = (64, 128, 256, 512)
STEM_FILTERS = 64
EXPANSION = 4
_EPSILON = {"keras": 1.001e-5, "torchvision": 1e-5}
_MOMENTUM = {"keras": 0.99, "torchvision": 0.9}  # PyTorch counts it from the other side
# Mean and deviation of R, G, B in 0..255.
_NORMALISATION = {
    "keras": ((123.68, 116.779, 103.939), (1.0, 1.0, 1.0)),
    "torchvision": ((255 * 0.485, 255 * 0.456, 255 * 0.406), (255 * 0.229, 255 * 0.224, 255 * 0.225)),
}
_LEAST_SIZE = 32
_CALIBRATION_FRAMES, _CALIBRATION_SIZE, _CALIBRATION_CLIPS = 4, 64, 8
_PREFIX = "cnn."
_COUNTER = ".num_batches_tracked"  # since PyTorch 0.4; of no use here


@keras.saving.register_keras_serializable(package="keras_actrec")
class ImageNetNormalisation(keras.layers.Layer):
    """RGB in [-1, 1] → what the ImageNet weights of a structure were trained with.

    Args:
        structure: "keras": 0..255 minus the mean of each channel. keras.applications takes BGR; here the first convolution
            keeps the order RGB. "torchvision": 0..255 minus the mean, divided by the deviation.

    Input (…, 3), output (…, 3) float32 under every dtype policy: bfloat16 would keep 8 bits of the mean, a whole grey value.

    Raises:
        ConfigError: an unknown structure.
    """

    keeps_dtype = True

    def __init__(self, structure: str, *, name: str | None = None, dtype: str = "float32"):
        super().__init__(name=name, dtype="float32", trainable=False)
        if structure not in STRUCTURES:
            raise ConfigError("unknown structure of the inflated ResNet", found=structure, expected=" or ".join(STRUCTURES))
        self.structure = structure

    def call(self, clip):
        mean, deviation = (np.array(values) for values in _NORMALISATION[self.structure])
        scale, shift = 127.5 / deviation, (127.5 - mean) / deviation
        return clip * ops.convert_to_tensor(scale, "float32") + ops.convert_to_tensor(shift, "float32")

    def compute_output_spec(self, clip):
        return keras.KerasTensor(clip.shape, "float32")

    def get_config(self):
        return {"name": self.name, "dtype": "float32", "structure": self.structure}


def inflated_resnet50(
    *,
    frames: int = 8,
    image_size: int = 224,
    structure: str = "keras",
    blocks: tuple[int, int, int, int] = BLOCKS,
    widths: tuple[int, int, int, int] = WIDTHS,
    name: str = "inflated_resnet50",
) -> keras.Model:
    """Inflated ResNet from a clip to its last two maps.

    Args:
        frames: F, of a clip.
        image_size: S, side of the frames, at least 32.
        structure: "keras" or "torchvision".
        blocks: residual blocks of conv2 to conv5.
        widths: filters inside of these blocks.
        name: of the model.

    Returns:
        A functional model from "clip" (B, F, S, S, 3), RGB in [-1, 1], to "map" (B, F, ⌈S/32⌉, ⌈S/32⌉, 2048), the end of
        conv5, and "pose_map" (B, F, ⌈S/16⌉, ⌈S/16⌉, 1024), the end of conv4: (8, 7, 7, 2048) and (8, 14, 14, 1024) for 8
        frames of 224.

    Raises:
        ConfigError: an unknown structure or a number out of its range.
    """
    _check(frames, image_size, blocks, widths)
    clip = keras.Input((frames, image_size, image_size, 3), name="clip")
    x = ImageNetNormalisation(structure, name="preprocessing")(clip)

    def unit(x, filters: int, kernel: int, strides: int, name: str, *, relu: bool):
        if kernel > 1 and strides > 1:
            # "same" would pad an even size behind alone where strides are 2; both structures pad both ends.
            x = keras.layers.ZeroPadding3D((kernel // 2 if kernel == 3 else 0, *2 * (kernel // 2,)), name=f"{name}_pad")(x)
        x = keras.layers.Conv3D(
            filters,
            (1 if kernel == 7 else kernel, kernel, kernel),
            strides=(1, strides, strides),
            padding="valid" if strides > 1 else "same",
            use_bias=False,
            kernel_initializer=keras.initializers.VarianceScaling(2.0, "fan_out", "untruncated_normal"),
            name=f"{name}_conv",
        )(x)
        norm = keras.layers.BatchNormalization(
            epsilon=_EPSILON[structure], momentum=_MOMENTUM[structure], name=f"{name}_bn"
        )  # fmt: skip
        x = norm(x)
        return keras.layers.ReLU(name=f"{name}_relu")(x) if relu else x

    x = unit(x, STEM_FILTERS, 7, 2, "conv1", relu=True)
    x = keras.layers.ZeroPadding3D((0, 1, 1), name="pool1_pad")(x)  # zeros are below every value, after a ReLU
    x = keras.layers.MaxPooling3D((1, 3, 3), (1, 2, 2), name="pool1_pool")(x)
    pose_map, last = residual_stages(x, unit, structure=structure, blocks=blocks, widths=widths)[-2:]
    return keras.Model(clip, {"map": last, "pose_map": pose_map}, name=name)


def residual_stages(
    x, unit: Callable, *, structure: str, blocks: Sequence[int], widths: Sequence[int], dtype: str | None = None
) -> list:
    """The ends of conv2 to conv5.

    Args:
        x: map of the stem.
        unit: (x, filters, kernel, strides, name, *, relu) → a convolution with its batch norm and, if asked for, ReLU. Kernel
            and strides are of rows and columns; 3 is 3×3×3, 1 is 1×1×1, and time has no strides.
        structure, blocks, widths: see `inflated_resnet50`.
        dtype: of the sums; None is that of the global policy.
    """
    ends = []
    for stage, (count, width) in enumerate(zip(blocks, widths, strict=True), start=2):
        for number in range(1, count + 1):
            name = f"conv{stage}_block{number}"
            strides = 2 if stage > 2 and number == 1 else 1
            in_point, in_cube = (strides, 1) if structure == "keras" else (1, strides)
            shortcut = unit(x, EXPANSION * width, 1, strides, f"{name}_0", relu=False) if number == 1 else x
            x = unit(x, width, 1, in_point, f"{name}_1", relu=True)
            x = unit(x, width, 3, in_cube, f"{name}_2", relu=True)
            x = unit(x, EXPANSION * width, 1, 1, f"{name}_3", relu=False)
            x = keras.layers.Add(name=f"{name}_add", dtype=dtype)([shortcut, x])
            x = keras.layers.ReLU(name=f"{name}_out", dtype=dtype)(x)
        ends.append(x)
    return ends


def _check(frames: int, image_size: int, blocks: Sequence[int], widths: Sequence[int]) -> None:
    if frames < 1:
        raise ConfigError("a clip of the inflated ResNet has frames", found=frames)
    if image_size < _LEAST_SIZE:
        raise ConfigError(
            "frames are too small for the inflated ResNet", found=f"side {image_size}", expected=f"at least {_LEAST_SIZE}"
        )
    for what, numbers in (("blocks", blocks), ("widths", widths)):
        if len(numbers) != len(BLOCKS) or min(numbers) < 1:
            raise ConfigError(f"the inflated ResNet needs {what} in each of its stages", found=numbers, expected="four numbers")


# Weights of the published code.


def torch_backbone_tensors(model: keras.Model) -> dict[str, tuple[int, ...]]:
    """Tensors of the published state_dict that fill a network of structure "torchvision": name → shape there, in its order."""
    return {name: shape for layer in weighted_layers(model) for name, shape in _layer_tensors(layer).items()}


def assign_torch_backbone(model: keras.Model, arrays: Mapping[str, np.ndarray]) -> None:
    """Fills a network of structure "torchvision" with the backbone of the published PyTorch code.

    Args:
        model: of `inflated_resnet50`.
        arrays: tensor name → values: "cnn.conv1.weight", "cnn.layer1.0.conv1.weight", "cnn.layer1.0.downsample.0.weight", …,
            or without "cnn.". PyTorch's counters of batches are passed over.

    Raises:
        ConfigError: the model is of structure "keras".
        WeightsError: a tensor is missing, unexpected, of another shape or not finite. Nothing has been assigned then.
    """
    if structure_of(model) != "torchvision":
        raise ConfigError("the published weights are for the structure torchvision", found=structure_of(model))
    arrays = {name if name.startswith(_PREFIX) else _PREFIX + name: value for name, value in arrays.items()}
    expected = torch_backbone_tensors(model)
    found = {name for name in arrays if not name.endswith(_COUNTER)}
    missing, unexpected = [name for name in expected if name not in found], sorted(found - expected.keys())
    if missing or unexpected:
        raise WeightsError(
            f"weights of another backbone: {len(missing)} tensors missing, {len(unexpected)} unexpected",
            found="unexpected " + ", ".join(unexpected[:3]) if unexpected else f"{len(found)} tensors",
            expected="also " + ", ".join(missing[:3]) if missing else f"{len(expected)} tensors",
        )
    for name, shape in expected.items():
        if arrays[name].shape != shape:
            raise WeightsError(
                "a tensor of another shape", place=f"tensor {name}", found=arrays[name].shape, expected=shape
            )  # fmt: skip
        if not np.isfinite(arrays[name]).all():
            raise WeightsError("values that are not finite", place=f"tensor {name}", fix="fetch the file again")
    for layer in weighted_layers(model):
        values = [np.asarray(arrays[name]) for name in _layer_tensors(layer)]
        # (filters, channels, [frames,] rows, columns) → (frames, rows, columns, channels, filters)
        values = [np.moveaxis(value, (0, 1), (-1, -2)) if value.ndim > 1 else value for value in values]
        layer.set_weights([value.reshape(weight.shape) for value, weight in zip(values, layer.weights, strict=True)])


def _layer_tensors(layer: keras.layers.Layer) -> dict[str, tuple[int, ...]]:
    """PyTorch's tensors of one layer, name → shape, in the order of Keras's weights."""
    inside = re.fullmatch(r"conv(\d)_block(\d+)_(\d)_(conv|bn)", layer.name)
    if inside is None:
        name = {"conv1_conv": "conv1", "conv1_bn": "bn1"}[layer.name]
    else:
        stage, block, number, kind = inside.groups()
        last = f"downsample.{'01'[kind == 'bn']}" if number == "0" else f"{kind}{number}"
        name = f"layer{int(stage) - 1}.{int(block) - 1}.{last}"
    if isinstance(layer, keras.layers.BatchNormalization):
        parts = ("weight", "bias", "running_mean", "running_var")
        return {f"{_PREFIX}{name}.{part}": tuple(w.shape) for part, w in zip(parts, layer.weights, strict=True)}
    *size, channels, filters = layer.kernel.shape
    return {f"{_PREFIX}{name}.weight": (filters, channels, *(size if inside else size[1:]))}  # the stem's is 2D there


# The network with its weights.


@dataclass(frozen=True)
class InflatedResNetConfig:
    """An inflated ResNet-50 and its weights.

    Attributes:
        frames: F, of a clip.
        image_size: S, side of the frames in pixels, at least 32.
        structure: "keras" or "torchvision".
        weights: "imagenet" (of keras.applications, which downloads them; structure "keras"), "random" (seeded, for trials and
            tests), or the path of an .h5 file: ImageNet weights as keras.applications distributes them (structure "keras"), or
            what `save_weights` of an inflated ResNet-50 wrote.
        inflation: of ImageNet weights, "center" or "mean".
        dtype: "float32" or "bfloat16": type of the computation; the weights stay float32, and so do the maps.
        seed: of "random" weights.

    Raises:
        ConfigError: an unknown name, a number out of its range, or ImageNet weights for the structure "torchvision".
    """

    frames: int = 8
    image_size: int = 224
    structure: str = "keras"
    weights: str = "imagenet"
    inflation: str = "center"
    dtype: str = "float32"
    seed: int = 0

    def __post_init__(self):
        _check(self.frames, self.image_size, BLOCKS, WIDTHS)
        for what, found, known in (
            ("structure of the inflated ResNet", self.structure, STRUCTURES),
            ("inflation", self.inflation, INFLATIONS),
            ("dtype of the inflated ResNet", self.dtype, tuple(POLICIES)),
        ):
            if found not in known:
                raise ConfigError(f"unknown {what}", found=found, expected=" or ".join(known))
        if self.seed < 0:
            raise ConfigError("a seed must not be negative", found=self.seed)
        if self.structure != "keras" and self.weights == "imagenet":
            raise ConfigError(
                "ImageNet weights are those of keras.applications, which fit the structure keras",
                found=self.structure,
                fix="take the structure keras, random weights, or a file",
            )


def build_inflated_resnet(config: InflatedResNetConfig, *, weights: Sequence[np.ndarray] | None = None) -> keras.Model:
    """Builds an inflated ResNet-50 with its weights, frozen.

    Args:
        config: what to build.
        weights: arrays of `get_weights()` of such a network to take instead of `config.weights` (worker processes).

    Returns:
        A model as of `inflated_resnet50`; maps are float32.

    Raises:
        WeightsError: the weights cannot be had, or a file's weights do not fit.
    """
    model = inflated_resnet50(frames=config.frames, image_size=config.image_size, structure=config.structure)
    if weights is not None:
        found, expected = [np.shape(array) for array in weights], [tuple(weight.shape) for weight in model.weights]
        if found != expected:
            raise WeightsError(
                "the weights do not fit the inflated ResNet",
                found=f"{len(found)} arrays",
                expected=f"{len(expected)} of its shapes",
            )
        model.set_weights(list(weights))
    elif config.weights == "random":
        _randomise(model, config)
    elif config.weights == "imagenet":
        inflate_imagenet_weights(model, imagenet_resnet50(), inflation=config.inflation)
    else:
        load_inflated_weights(model, config.weights, inflation=config.inflation)
    if config.dtype != "float32":
        model = with_dtype(model, POLICIES[config.dtype])
        whole = {
            name: keras.layers.Identity(name=f"{name}_float32", dtype="float32")(output)
            for name, output in model.output.items()
        }
        model = keras.Model(model.input, whole, name=model.name)
    model.trainable = False
    return model


def _randomise(model: keras.Model, config: InflatedResNetConfig) -> None:
    # Calibrated on clips no larger than this: a whole one would take minutes in float64.
    frames, size = min(config.frames, _CALIBRATION_FRAMES), min(config.image_size, _CALIBRATION_SIZE)
    small = inflated_resnet50(frames=frames, image_size=size, structure=config.structure)
    randomise(model, config.seed, calibration_clips(frames, size, config.seed)[:_CALIBRATION_CLIPS], measured=small)
