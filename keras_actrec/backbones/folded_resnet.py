"""The inflated ResNet for inference on a CPU: the same maps about 1.4 times as fast.

Three things differ from `inflated_resnet50`, and none of them changes what is computed but for rounding:

- Batch norms are folded into the convolutions before them, which get a bias.
- Frames lie in the batch axis, first in the order (frames · B, H, W, C), so that all convolutions are those of images, and what
  mixes frames mixes whole rows of a matrix.
- The 3×3×3 convolutions go along time by the algorithm of Toom and Cook, in Winograd's form F(4, 3): four frames of the
  result take 6 image convolutions instead of 12. Source: Lavin and Gray, "Fast Algorithms for Convolutional Neural Networks",
  CVPR 2016, section 4.
"""

from __future__ import annotations

import re

import keras
import numpy as np
from keras import ops

from keras_actrec.backbones.devices import has_gpu
from keras_actrec.backbones.folded_norms import folded_weights
from keras_actrec.backbones.inflated_resnet import (
    BLOCKS,
    STEM_FILTERS,
    ImageNetNormalisation,
    residual_stages,
)
from keras_actrec.backbones.inflated_weights import structure_of
from keras_actrec.errors import ConfigError

_TILE = 4  # frames of the result that are computed together
_POINTS = (0.0, 2 / 3, -2 / 3, 3 / 2, -3 / 2)  # and infinity; of small rational sets, the one with the smallest rounding error


@keras.saving.register_keras_serializable(package="keras_actrec")
class FramesFirst(keras.layers.Layer):
    """Clips (B, F, H, W, C) → images (F · B, H, W, C), all first frames in front."""

    def __init__(self, *, name: str | None = None, dtype: str | None = None):
        super().__init__(name=name, dtype=dtype, trainable=False)

    def call(self, clips):
        return ops.reshape(ops.transpose(clips, (1, 0, 2, 3, 4)), (-1, *clips.shape[2:]))

    def compute_output_spec(self, clips):
        return keras.KerasTensor((None, *clips.shape[2:]), self.compute_dtype)

    def get_config(self):
        return {"name": self.name, "dtype": keras.dtype_policies.serialize(self.dtype_policy)}


@keras.saving.register_keras_serializable(package="keras_actrec")
class ClipsFirst(keras.layers.Layer):
    """Images (F · B, H, W, C) in the order of `FramesFirst` → clips (B, F, H, W, C).

    Args:
        frames: F.
    """

    def __init__(self, frames: int, *, name: str | None = None, dtype: str | None = None):
        super().__init__(name=name, dtype=dtype, trainable=False)
        self.frames = frames

    def call(self, images):
        return ops.transpose(ops.reshape(images, (self.frames, -1, *images.shape[1:])), (1, 0, 2, 3, 4))

    def compute_output_spec(self, images):
        return keras.KerasTensor((None, self.frames, *images.shape[1:]), self.compute_dtype)

    def get_config(self):
        return {"name": self.name, "dtype": keras.dtype_policies.serialize(self.dtype_policy), "frames": self.frames}


@keras.saving.register_keras_serializable(package="keras_actrec")
class TemporalWinograd(keras.layers.Layer):
    """3×3×3 convolution with bias and ReLU of clips in the order of `FramesFirst`, padded by one at all ends.

    Args:
        frames: F.
        filters: C' of the result.
        strides: of rows and columns.

    Input (F · B, H, W, C), output (F · B, ⌈H / strides⌉, ⌈W / strides⌉, C'). Weights: kernel (6, 3, 3, C, C'), which
    `set_convolution` makes of one of (3, 3, 3, C, C'), and bias (C',).
    """

    def __init__(
        self, frames: int, filters: int, *, strides: int = 1, name: str | None = None, dtype: str | None = None
    ):  # fmt: skip
        super().__init__(name=name, dtype=dtype)
        self.frames, self.filters, self.strides = frames, filters, strides
        self.inwards, self.of_kernel, self.outwards = temporal_matrices(frames)

    def build(self, shape):
        points = len(self.of_kernel)
        self.kernel = self.add_weight(shape=(points, 3, 3, shape[-1], self.filters), name="kernel")
        self.bias = self.add_weight(shape=(self.filters,), initializer="zeros", name="bias")

    def set_convolution(self, kernel: np.ndarray, bias: np.ndarray) -> None:
        """Takes a kernel (3, 3, 3, C, C') and a bias (C',)."""
        self.kernel.assign(np.tensordot(self.of_kernel, np.asarray(kernel, "float64"), 1).astype("float32"))
        self.bias.assign(bias)

    def call(self, images):
        points = len(self.of_kernel)
        padding = "same"
        if self.strides > 1:  # "same" would pad an even size behind alone
            images, padding = ops.pad(images, ((0, 0), (1, 1), (1, 1), (0, 0))), "valid"
        tiles = self._times(self.inwards, ops.reshape(images, (self.frames, -1)))
        tiles = ops.reshape(tiles, (points, -1, *images.shape[1:]))
        maps = [
            ops.conv(tiles[point], self.kernel[point], self.strides, padding, data_format="channels_last")
            for point in range(points)
        ]
        rows = [ops.reshape(one, (self.outwards.shape[1] // points, -1)) for one in maps]
        result = self._times(self.outwards, ops.concatenate(rows, axis=0))
        return ops.relu(ops.reshape(result, (-1, *maps[0].shape[1:])) + self.bias)

    def _times(self, matrix: np.ndarray, rows):
        return ops.matmul(ops.convert_to_tensor(matrix, self.compute_dtype), rows)

    def compute_output_spec(self, images):
        _, height, width, _ = images.shape
        shape = (None, -(-height // self.strides), -(-width // self.strides), self.filters)
        return keras.KerasTensor(shape, self.compute_dtype)

    def get_config(self):
        return {
            "name": self.name,
            "dtype": keras.dtype_policies.serialize(self.dtype_policy),
            "frames": self.frames,
            "filters": self.filters,
            "strides": self.strides,
        }


def temporal_matrices(frames: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Matrices A, G and C of a convolution of `frames` values x with three taps k, zeros around: C · ((G · k) ⊙ (A · x)).

    Rows of A and columns of C: 6 points, of each all tiles of 4 results; each point meets the row of G with its number.

    Returns:
        A (6 · tiles, frames), G (6, 3), C (frames, 6 · tiles), float64.
    """
    size = _TILE + 2
    tiles = -(-frames // _TILE)
    of_tile = np.linalg.inv(_powers(size)).T
    inwards, outwards = np.zeros((size, tiles, tiles * _TILE + 2)), np.zeros((tiles, _TILE, size, tiles))
    for tile in range(tiles):
        inwards[:, tile, tile * _TILE : tile * _TILE + size] = of_tile
        outwards[tile, :, :, tile] = _powers(_TILE).T
    inwards = inwards[:, :, 1 : frames + 1]  # what lies around are zeros
    return inwards.reshape(size * tiles, frames), _powers(3), outwards.reshape(tiles * _TILE, size * tiles)[:frames]


def _powers(count: int) -> np.ndarray:
    """Powers 0 … count - 1 of the points, (6, count); at infinity the highest one counts alone."""
    return np.array([[point**power for power in range(count)] for point in _POINTS] + [[0.0] * (count - 1) + [1.0]])


def folded_for_inference(model: keras.Model) -> keras.Model:
    """A network with the maps of an inflated ResNet, made for inference on a CPU.

    Both are equally far from what float64 gives: with ImageNet weights about 1e-6 of the largest value; with random ones, which
    amplify rounding from layer to layer, about 2e-5 at full depth.

    Args:
        model: of `inflated_resnet50` or `build_inflated_resnet`, in float32; it stays as it is and may be dropped.

    Returns:
        A frozen model with the same input and outputs, "map" and "pose_map". Its weights take three quarters more memory.

    Raises:
        ConfigError: the model is no inflated ResNet, or computes in another type than float32.
    """
    structure = structure_of(model)
    if model.get_layer("conv1_conv").compute_dtype != "float32":
        raise ConfigError(
            "only networks that compute in float32 can be folded",
            found=model.get_layer("conv1_conv").compute_dtype,
            fix="build it with dtype float32, or use it as it is",
        )
    names = [layer.name for layer in model.layers]
    stages = range(2, 2 + len(BLOCKS))
    blocks = [sum(re.fullmatch(rf"conv{stage}_block\d+_add", name) is not None for name in names) for stage in stages]
    widths = [model.get_layer(f"conv{stage}_block1_1_conv").filters for stage in stages]
    clip = keras.Input(model.input_shape[1:], name="clip")
    folded = _folded(clip, structure, blocks, widths, name=model.name)
    for layer in folded.layers:
        if isinstance(layer, TemporalWinograd):
            layer.set_convolution(*_folded_weights(model, layer.name))
        elif isinstance(layer, keras.layers.Conv2D):
            kernel, bias = _folded_weights(model, layer.name)
            layer.set_weights([kernel[0], bias])
    folded.trainable = False
    return folded


def fastest_for_inference(model: keras.Model) -> keras.Model:
    """What computes a backbone's maps fastest here: its folded twin on a CPU, where it has one, else the model itself.

    Args:
        model: any backbone.
    """
    if has_gpu():
        return model
    try:
        return folded_for_inference(model)
    except ConfigError:  # another network, or another type than float32
        return model


def _folded(clip, structure: str, blocks: list[int], widths: list[int], *, name: str) -> keras.Model:
    frames = clip.shape[1]

    def unit(x, filters: int, kernel: int, strides: int, name: str, *, relu: bool):
        if kernel == 3:
            return TemporalWinograd(frames, filters, strides=strides, name=f"{name}_conv", dtype="float32")(x)
        activation = "relu" if relu else None
        return keras.layers.Conv2D(
            filters, kernel, strides=strides, activation=activation, name=f"{name}_conv", dtype="float32"
        )(x)  # fmt: skip

    x = ImageNetNormalisation(structure, name="preprocessing")(clip)
    x = FramesFirst(name="frames_first", dtype="float32")(x)
    x = keras.layers.ZeroPadding2D(3, name="conv1_pad", dtype="float32")(x)
    x = unit(x, STEM_FILTERS, 7, 2, "conv1", relu=True)
    x = keras.layers.ZeroPadding2D(1, name="pool1_pad", dtype="float32")(x)
    x = keras.layers.MaxPooling2D(3, 2, name="pool1_pool", dtype="float32")(x)
    pose_map, last = residual_stages(x, unit, structure=structure, blocks=blocks, widths=widths, dtype="float32")[-2:]
    maps = {"map": last, "pose_map": pose_map}
    maps = {key: ClipsFirst(frames, name=f"{key}_of_clips", dtype="float32")(value) for key, value in maps.items()}
    return keras.Model(clip, maps, name=name)


def _folded_weights(model: keras.Model, name: str) -> list[np.ndarray]:
    """Kernel and bias of a convolution together with the batch norm that is named after it."""
    return folded_weights(model.get_layer(name), model.get_layer(name.removesuffix("conv") + "bn"))
