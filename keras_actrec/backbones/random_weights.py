"""Seeded random weights whose maps have a scale that float16 holds: He-normal kernels and calibrated batch norms."""

from __future__ import annotations

import keras
import numpy as np
from keras import ops

from keras_actrec.backbones.dtypes import layer_of_dtype, leaf_layers, weighted_layers

_SIGNIFICANT_DIGITS = 4
_CALIBRATION_PIXELS = 360_000
_CALIBRATION_STREAM = 1 << 20  # beyond the position of any layer
_SIZES_OF_CELLS = (2, 5, 12, 50)


def randomise(model: keras.Model, seed: int, samples: np.ndarray, *, measured: keras.Model | None = None) -> None:
    """He-normal kernels, then batch norms that divide by the root mean square over a few synthetic inputs.

    Without that the activations shrink from layer to layer, below what float16 holds. Means are not subtracted: in a deep
    random network that amplifies every difference between inputs until the features of real crops are ten times those of
    the calibration inputs. The values are computed in float64 and rounded, so that the order of a sum, which depends on threads
    and processor, does not change the checksum.

    Args:
        model: functional or sequential, of 2D or 3D convolutions and other layers, channels last; its weights are set. Every
            trainable weight with two or more axes counts as a kernel; biases, scales and all other weights keep their values.
        seed: of the kernels.
        samples: inputs to calibrate on, a batch; see `calibration_images` and `calibration_clips`.
        measured: the same network built for the samples' size, where that is not the model's own.

    Raises:
        ValueError: the model, or one inside it, is neither functional nor sequential.
    """
    precise = keras.models.clone_model(measured or model, clone_function=_measuring, recursive=True)
    for position, layer in enumerate(weighted_layers(model)):
        kernels = [weight for weight in layer.weights if weight.trainable and len(weight.shape) > 1]
        for number, kernel in enumerate(kernels):
            fan_in = np.prod(kernel.shape[:-2] if "depthwise" in kernel.name else kernel.shape[:-1])
            stream = [seed, position, number] if number else [seed, position]
            values = np.random.default_rng(stream).standard_normal(kernel.shape) * np.sqrt(2.0 / fan_in)
            kernel.assign(values.astype(np.float32))
    _calibrate(model, precise, samples)


def _calibrate(model: keras.Model, precise: keras.Model, samples: np.ndarray) -> None:
    """The mean squares that a copy in float64 measures are the model's variances."""
    pairs = list(zip(leaf_layers(model), leaf_layers(precise), strict=True))
    for layer, other in pairs:
        if layer.weights and not isinstance(other, _MeanSquare):
            other.set_weights(layer.get_weights())
    if any(isinstance(other, _MeanSquare) for _, other in pairs):
        precise(samples)
    for layer, other in pairs:
        if isinstance(other, _MeanSquare):
            values = rounded(ops.convert_to_numpy(other.mean_square.value))
            layer.moving_variance.assign(values.astype(np.float32))


class _MeanSquare(keras.layers.Layer):
    """Stands in for a batch norm: divides by the root mean square of each channel over the batch, and keeps the mean square."""

    def __init__(self, *, epsilon: float, name: str, dtype: str):
        super().__init__(name=name, dtype=dtype)
        self.epsilon = epsilon

    def build(self, shape):
        self.mean_square = self.add_weight(shape=(shape[-1],), initializer="ones", trainable=False, name="mean_square")

    def call(self, maps, training=None, mask=None):  # the arguments that a batch norm is called with
        self.mean_square.assign(ops.mean(ops.square(maps), axis=tuple(range(len(maps.shape) - 1))))
        return maps / ops.sqrt(self.mean_square + self.epsilon)


def _measuring(layer: keras.layers.Layer) -> keras.layers.Layer:
    if isinstance(layer, keras.layers.BatchNormalization):
        return _MeanSquare(epsilon=layer.epsilon, name=layer.name, dtype="float64")
    return layer_of_dtype(layer, "float64")


def rounded(values: np.ndarray) -> np.ndarray:
    """Values to a few significant digits."""
    exponents = np.floor(np.log10(np.maximum(np.abs(values), 1e-30)))
    scale = 10.0 ** (_SIGNIFICANT_DIGITS - 1 - exponents)
    return np.round(values * scale) / scale


def calibration_images(size: int, seed: int) -> np.ndarray:
    """Seeded images with structure at several scales, uint8 (n, size, size, 3); the smaller, the more."""
    count = int(np.clip(_CALIBRATION_PIXELS // size**2, 4, 64))
    rng = np.random.default_rng([seed, _CALIBRATION_STREAM])
    images = np.zeros((count, size, size, 3))
    for cells in _SIZES_OF_CELLS:
        noise = rng.uniform(-1.0, 1.0, (count, cells, cells, 3))
        index = np.arange(size) * cells // size
        images += noise[:, index][:, :, index] * 60.0
    return np.clip(images + rng.uniform(64, 192, (count, 1, 1, 3)), 0, 255).astype(np.uint8)


def calibration_clips(frames: int, size: int, seed: int, *, channels: int = 3) -> np.ndarray:
    """Seeded clips of such images, float32 (n, frames, size, size, channels) in [-1, 1]; the smaller, the more.

    Every scale moves over the frame, coarse structure as far as fine one.
    """
    count = int(np.clip(2 * _CALIBRATION_PIXELS // (frames * size**2), 3, 32))
    rng = np.random.default_rng([seed, _CALIBRATION_STREAM])
    clips = np.zeros((count, frames, size, size, channels))
    for cells in _SIZES_OF_CELLS:
        noise = rng.uniform(-1.0, 1.0, (count, cells, cells, channels))
        for clip in range(count):
            way = np.arange(frames)[:, None] * rng.uniform(-0.5, 0.5, 2) * size / frames  # rows and columns gone by
            rows, columns = ((np.arange(size) + np.floor(way[:, axis : axis + 1]).astype(int)) % size for axis in (0, 1))
            place = rows[:, :, None] * cells // size, columns[:, None, :] * cells // size
            clips[clip] += noise[clip][place] * 0.5
    return np.clip(clips + rng.uniform(-0.5, 0.5, (count, 1, 1, 1, channels)), -1.0, 1.0).astype(np.float32)
