"""Random weights: kernels and batch norms against NumPy, other kinds of networks, the same numbers as ever for sensors."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from keras import layers

from keras_actrec.backbones.random_weights import calibration_clips, calibration_images, randomise, rounded
from keras_actrec.backbones.sensors import SensorConfig, build_sensor, weights_checksum
from tests.harness import random_array

SAMPLES = random_array((4, 3, 5, 5, 2), 1)


def drawn(shape: tuple[int, ...], fan_in: int, *stream: int) -> np.ndarray:
    """He-normal values of one kernel of the network with seed 9."""
    return (np.random.default_rng([9, *stream]).standard_normal(shape) * np.sqrt(2 / fan_in)).astype(np.float32)


def block(x):
    x = layers.Conv3D(6, (1, 2, 2), use_bias=False, name="conv")(x)
    x = layers.BatchNormalization(name="norm", epsilon=1e-3)(x)
    return layers.ReLU(name="relu")(x)


def flat() -> keras.Model:
    clip = keras.Input((3, 5, 5, 2))
    return keras.Model(clip, layers.Conv3D(4, 1, name="last")(block(clip)))


def nested() -> keras.Model:
    inner = keras.Input((3, 5, 5, 2))
    inner = keras.Model(inner, block(inner), name="inner")
    clip = keras.Input((3, 5, 5, 2))
    return keras.Model(clip, layers.Conv3D(4, 1, name="last")(inner(clip)))


def sequential() -> keras.Model:
    kinds = [layers.Conv3D(6, (1, 2, 2), use_bias=False), layers.BatchNormalization(epsilon=1e-3), layers.ReLU()]
    return keras.Sequential([keras.Input((3, 5, 5, 2)), *kinds, layers.Conv3D(4, 1)])


@pytest.mark.parametrize("build", [flat, nested, sequential])
def test_kernels_and_batch_norms(build):
    model = build()
    randomise(model, 9, SAMPLES)
    kernel, gamma, beta, mean, variance, last, bias = (
        model.get_weights() if build is not nested else [*model.get_layer("inner").get_weights(), *model.get_weights()[-2:]]
    )
    np.testing.assert_array_equal(kernel, drawn((1, 2, 2, 2, 6), 1 * 2 * 2 * 2, 0))
    np.testing.assert_array_equal(last, drawn((1, 1, 1, 6, 4), 6, 2))  # the batch norm is layer 1
    for found, expected in ((gamma, 1), (beta, 0), (mean, 0), (bias, 0)):
        np.testing.assert_array_equal(found, np.full(found.shape, expected))
    # The batch norm divides by the root mean square of what the convolution gives.
    patches = np.stack([SAMPLES[:, :, r : r + 4, c : c + 4] for r in (0, 1) for c in (0, 1)], axis=-2).astype(np.float64)
    maps = np.einsum("nthwpc,pcf->nthwf", patches, kernel.reshape(4, 2, 6).astype(np.float64))
    np.testing.assert_allclose(variance, rounded(np.square(maps).mean(axis=(0, 1, 2, 3))), rtol=1e-6)


def test_kernels_of_other_layers():
    images = keras.Input((6, 6, 3))
    x = layers.SeparableConv2D(5, 3, use_bias=False)(images)
    model = keras.Model(images, layers.Dense(4)(layers.LayerNormalization()(x)))
    randomise(model, 9, random_array((2, 6, 6, 3), 1))
    depthwise, pointwise, scale, _, dense, _ = model.get_weights()
    np.testing.assert_array_equal(depthwise, drawn((3, 3, 3, 1), 3 * 3, 0))  # each filter sees one channel
    np.testing.assert_array_equal(pointwise, drawn((1, 1, 3, 5), 3, 0, 1))
    np.testing.assert_array_equal(dense, drawn((5, 4), 5, 2))
    np.testing.assert_array_equal(scale, np.ones(5))


def test_calibration_on_a_smaller_clip():
    def build(size):
        clip = keras.Input((3, size, size, 2))
        return keras.Model(clip, block(clip))

    small, large = build(5), build(50)
    randomise(small, 9, SAMPLES)
    randomise(large, 9, SAMPLES, measured=build(5))
    for found, expected in zip(large.get_weights(), small.get_weights(), strict=True):
        np.testing.assert_array_equal(found, expected)


def test_weights_that_are_not_trained_stay():
    class Constant(layers.Layer):
        def build(self, shape):
            self.matrix = self.add_weight(shape=(2, 2), initializer="ones", trainable=False)

        def call(self, x):
            return x @ self.matrix

    clip = keras.Input((3, 5, 5, 2))
    model = keras.Model(clip, Constant()(clip))
    randomise(model, 9, SAMPLES)
    np.testing.assert_array_equal(model.get_weights()[0], np.ones((2, 2)))


def test_a_subclassed_model_is_refused():
    class Own(keras.Model):
        def __init__(self):
            super().__init__()
            self.norm = layers.BatchNormalization()

        def call(self, x):
            return self.norm(x)

    model = Own()
    model(SAMPLES)
    with pytest.raises(ValueError, match=r"Sequential models\s+or Functional models"):
        randomise(model, 9, SAMPLES)


def test_rounding_by_hand():
    np.testing.assert_allclose(rounded(np.array([123456, -0.000123449, 0.0, 99996])), [123500, -0.0001234, 0.0, 100000])


@pytest.mark.parametrize(
    ("config", "checksum"), [(("resnet50", 32), "8a01de2c7b4e9082"), (("inception_v3", 75), "817493bd653aec5b")]
)
def test_sensors_have_the_weights_that_they_had_before_3d_networks_came(config, checksum):
    """Caches of hand features name this checksum."""
    name, size = config
    assert weights_checksum(build_sensor(SensorConfig(name, "random", size))).startswith(checksum)


def test_clips_for_calibration():
    clips = calibration_clips(8, 24, seed=3)
    assert clips.dtype == np.float32
    assert clips.shape[1:] == (8, 24, 24, 3)
    assert -1 <= clips.min() < -0.5 < 0.5 < clips.max() <= 1
    np.testing.assert_array_equal(clips, calibration_clips(8, 24, seed=3))
    assert not np.array_equal(clips, calibration_clips(8, 24, seed=4))
    steps, places = np.abs(np.diff(clips, axis=1)).mean(), np.abs(np.diff(clips, axis=3)).mean()
    assert 0.05 < steps < 2 * places  # they move, and slowly
    assert len(calibration_clips(16, 112, seed=3)) < len(clips) <= 32
    assert calibration_clips(2, 8, seed=0, channels=2).shape == (32, 2, 8, 8, 2)


def test_images_for_calibration():
    images = calibration_images(40, seed=3)
    assert (images.shape, images.dtype) == ((64, 40, 40, 3), np.uint8)
    assert len(calibration_images(600, seed=3)) == 4
