"""Batch norms folded into convolutions: the same features, only where nothing else sees the convolution's result."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from keras import layers

from keras_actrec.backbones.dtypes import POLICIES, with_dtype
from keras_actrec.backbones.folded_norms import fold_batch_norms
from keras_actrec.backbones.sensors import SensorConfig, build_sensor, weights_checksum
from tests.harness import random_array

IMAGES = random_array((3, 8, 8, 3), 1)


def filled(model: keras.Model) -> keras.Model:
    """Every weight another value, variances positive."""
    draw = np.random.default_rng(2)
    model.set_weights([draw.uniform(0.2, 1.2, array.shape).astype(np.float32) for array in model.get_weights()])
    return model


def norms(model: keras.Model) -> list[str]:
    return [layer.name for layer in model.layers if isinstance(layer, layers.BatchNormalization)]


def two_branches() -> keras.Model:
    images = keras.Input((8, 8, 3))
    x = layers.Conv2D(4, 3, use_bias=False, name="plain")(images)
    x = layers.Activation("relu")(layers.BatchNormalization(name="folded")(x))
    y = layers.Conv2D(4, 1, strides=2, name="biased")(x)
    y = layers.BatchNormalization(scale=False, center=False, epsilon=0.1, name="folded_without_scale")(y)
    z = layers.Conv2D(4, 1, strides=2, name="shared")(x)
    z = layers.Add()([layers.BatchNormalization(name="of_shared")(z), z])
    z = layers.BatchNormalization(name="behind_sum")(layers.Add()([y, z]))
    z = layers.Conv2D(2, 1, activation="relu", name="with_relu")(z)
    z = layers.BatchNormalization(name="behind_relu")(z)
    z = layers.BatchNormalization(axis=1, name="over_rows")(layers.Conv2D(2, 1)(z))
    return filled(keras.Model(images, {"z": z, "y": layers.Dense(3)(y)}))


def test_what_is_folded_and_what_is_not():
    model = two_branches()
    weights = [array.copy() for array in model.get_weights()]
    folded = fold_batch_norms(model)
    assert norms(folded) == ["of_shared", "behind_sum", "behind_relu", "over_rows"]
    expected, found = model(IMAGES, training=False), folded(IMAGES, training=False)
    for name in ("y", "z"):
        assert np.ptp(np.asarray(expected[name])) > 0.1
        np.testing.assert_allclose(found[name], expected[name], rtol=1e-5, atol=1e-5)
    assert not folded.trainable_weights
    assert all(np.array_equal(a, b) for a, b in zip(model.get_weights(), weights, strict=True))


def test_by_hand():
    images = keras.Input((1, 1, 1))
    model = keras.Model(images, layers.BatchNormalization(epsilon=0.0)(layers.Conv2D(1, 1)(images)))
    # 2 x + 3, minus 5, over the root of 4, times 10, plus 7: 10 x - 3
    kernel, bias, gamma, beta, mean, variance = 2.0, 3.0, 10.0, 7.0, 5.0, 4.0
    model.set_weights([np.full((1, 1, 1, 1), kernel), *(np.array([v]) for v in (bias, gamma, beta, mean, variance))])
    kernel, bias = fold_batch_norms(model).get_weights()
    assert (kernel.item(), bias.item()) == (10.0, -3.0)


def test_a_result_that_is_an_output_stays():
    images = keras.Input((8, 8, 3))
    x = layers.Conv2D(4, 3)(images)
    model = filled(keras.Model(images, [x, layers.BatchNormalization()(x)]))
    assert fold_batch_norms(model) is model


def test_a_layer_that_is_called_twice_stays():
    images, others = keras.Input((8, 8, 3)), keras.Input((8, 8, 3))
    convolution, norm = layers.Conv2D(4, 3), layers.BatchNormalization()
    model = keras.Model([images, others], [norm(convolution(images)), norm(convolution(others))])
    assert fold_batch_norms(model) is model


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_weights_that_are_not_finite_stay_seen(value):
    model = two_branches()
    model.get_layer("biased").bias.assign(np.full(4, value))
    assert fold_batch_norms(model) is model


def test_other_models_come_back_as_they_are():
    class Own(keras.Model):
        def __init__(self, size):
            super().__init__()
            self.norm = layers.BatchNormalization()

        def call(self, x):
            return self.norm(x)

    images = keras.Input((8, 8, 3))
    inner = two_branches()
    for model in (
        Own(3),
        keras.Sequential([images, layers.Conv2D(2, 1), layers.BatchNormalization()]),
        keras.Model(images, inner(images)),
        keras.Model(images, layers.Conv2D(2, 1)(images)),
    ):
        assert fold_batch_norms(model) is model


@pytest.mark.parametrize(("name", "size"), [("resnet50", 32), ("inception_v3", 75)])
def test_sensors_lose_all_their_norms_and_keep_their_features(name, size):
    sensor = build_sensor(SensorConfig(name, "random", size))
    checksum = weights_checksum(sensor)
    folded = fold_batch_norms(sensor)
    assert not norms(folded)
    images = np.random.default_rng(3).integers(0, 256, (2, size, size, 3)).astype(np.uint8)
    expected = np.asarray(sensor(images))
    np.testing.assert_allclose(folded(images), expected, rtol=1e-3, atol=1e-4 * expected.max())
    assert weights_checksum(sensor) == checksum


def test_types_of_computation_stay():
    model = with_dtype(two_branches(), POLICIES["bfloat16"], exact={"plain", "folded"})
    folded = fold_batch_norms(model)
    assert {layer.name: layer.compute_dtype for layer in folded.layers} == {
        layer.name: layer.compute_dtype for layer in model.layers if layer.name not in ("folded", "folded_without_scale")
    }
    assert folded.get_layer("plain").compute_dtype == "float32"
