"""The dense layer in parts: Keras behaviour, and Keras's own dense layer with the same weights."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_actrec.errors import ConfigError
from keras_actrec.layers.dense import Dense
from tests.harness import random_array, run_layer_test

UNITS = 5


@pytest.mark.parametrize("rows", [1, 3])
def test_layer_contract(rows, tmp_path):
    run_layer_test(
        Dense,
        init_kwargs={"units": UNITS, "activation": "tanh"},
        inputs={"inputs": random_array((rows, 96), 1)},
        expected_output_shapes=((rows, UNITS),),
        expected_weights={"kernel": (96, UNITS), "bias": (UNITS,)},
        tmp_path=tmp_path,
    )


@pytest.mark.parametrize("size", [96, 49, 7], ids=["parts", "few parts", "a prime number"])
@pytest.mark.parametrize("activation", [None, "relu"])
def test_equals_dense(size, activation):
    layer, plain = (kind(UNITS, activation=activation) for kind in (Dense, keras.layers.Dense))
    for one in (layer, plain):
        one.build((None, size))
        one.set_weights([random_array((size, UNITS), 5), np.ones(UNITS, "float32")])
    served = tf.function(lambda x: layer(x, training=False), input_signature=[tf.TensorSpec((None, size))])
    for rows in (1, 2):
        x = random_array((rows, size), rows)
        expected = plain(x)
        assert np.any(expected)
        for found in (layer(x, training=False), layer(x, training=True), served(x)):
            np.testing.assert_allclose(found, expected, atol=1e-5)


def test_one_row_is_summed_in_parts():
    layer = Dense(UNITS)
    layer.build((None, 96))
    shapes = []
    for rows in (1, 2):
        graph = tf.function(lambda x: layer(x, training=False)).get_concrete_function(tf.TensorSpec((rows, 96))).graph
        shapes.append({tuple(node.outputs[0].shape) for node in graph.get_operations() if "MatMul" in node.type})
    assert shapes == [{(48, 1, UNITS)}, {(2, UNITS)}]


def test_what_makes_no_sense_is_refused():
    with pytest.raises(ConfigError, match="units has to be positive"):
        Dense(0)
    with pytest.raises(ConfigError, match="size of a row has to be known"):
        Dense(UNITS).build((None, 4, 96))
