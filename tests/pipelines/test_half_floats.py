"""Float16 to float32: every finite number to the bit, in any shape, in TensorFlow's threads too."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from keras_actrec.pipelines import half_floats
from keras_actrec.pipelines.half_floats import to_float32


@pytest.fixture(scope="module")
def finite():
    every = np.arange(2**16, dtype=np.uint16).view(np.float16)
    return every[np.isfinite(every)]


def assert_same_bits(values, halves):
    assert values.dtype == np.float32
    np.testing.assert_array_equal(values.view(np.int32), halves.astype(np.float32).view(np.int32))


def test_every_finite_number(finite, monkeypatch):
    assert_same_bits(to_float32(finite), finite)
    monkeypatch.setattr(half_floats, "_AT_ONCE", 1000)  # positive and negative ones apart, the last part shorter
    assert_same_bits(to_float32(finite), finite)


@pytest.mark.parametrize("shape", [(), (0, 3), (2, 3, 4)])
def test_shapes(shape):
    halves = np.random.default_rng(0).normal(size=shape).astype(np.float16) if shape else np.array(-1.5, np.float16)
    values = to_float32(halves)
    assert values.shape == shape
    np.testing.assert_array_equal(values, halves)


def test_an_array_that_is_not_contiguous(finite):
    halves = finite[:6000].reshape(60, 100)[::2, ::-1]
    np.testing.assert_array_equal(to_float32(halves), halves)


def test_threads_that_flush_subnormal_numbers(finite):
    load = lambda _: tf.numpy_function(lambda: to_float32(finite), [], tf.float32)  # noqa: E731
    dataset = tf.data.Dataset.range(2).map(load, num_parallel_calls=2)
    for values in dataset:
        assert_same_bits(values.numpy(), finite)
