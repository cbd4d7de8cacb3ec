"""The LSTM with spatial attention: Keras behaviour, and equations 3 to 5 of the paper against a plain loop."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_actrec.errors import ConfigError
from keras_actrec.layers.spatial_attention_lstm import SpatialAttentionLSTM
from tests.harness import make_nonzero, random_array, run_layer_test

B, T, N, D, S, H, A = 3, 5, 4, 6, 7, 8, 9  # batch, frames, hands, features, pose features, units, attention units


def inputs(conditioned=True):
    arrays = {"hands": random_array((B, T, N, D), 1)}
    return arrays | ({"pose_features": random_array((B, S), 2)} if conditioned else {})


@pytest.mark.parametrize("conditioned", [True, False])
def test_layer_contract(conditioned, tmp_path):
    run_layer_test(
        SpatialAttentionLSTM,
        init_kwargs={"units": H, "attention_units": A, "mask_absent_hands": False, "name": "attend"},
        inputs=inputs(conditioned),
        expected_output_shapes=((B, T, H), (B, T, N)),
        expected_weights={
            "hidden_kernel": (H + S if conditioned else H, A),
            "hidden_bias": (A,),
            "scores/kernel": (A, N),
            "scores/bias": (N,),
            "cell/kernel": (D, 4 * H),
            "cell/recurrent_kernel": (H, 4 * H),
            "cell/bias": (4 * H,),
        },
        tmp_path=tmp_path,
    )


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def equations_3_to_5(weights, hands, s):
    """Sample by sample and step by step, as the paper writes it; LSTM gates in Keras's order i, f, c, o."""
    states, attention = np.zeros((B, T, H)), np.zeros((B, T, N))
    for b in range(B):
        h, c = np.zeros(H), np.zeros(H)
        for t in range(T):
            # eq. 4: p_t = f_p(h_{t-1}, s), one sigmoid hidden layer, softmax
            seen = h if s is None else np.concatenate([h, s[b]])
            hidden = sigmoid(seen @ weights["hidden_kernel"] + weights["hidden_bias"])
            scores = hidden @ weights["scores/kernel"] + weights["scores/bias"]
            p = np.exp(scores) / np.exp(scores).sum()
            # eq. 5: ṽ_t = V_t p_t, the columns of V_t being the hands
            v = hands[b, t].T @ p
            # eq. 3: h_t = f_h(h_{t-1}, ṽ_t)
            gates = v @ weights["cell/kernel"] + h @ weights["cell/recurrent_kernel"] + weights["cell/bias"]
            i, f, g, o = np.split(gates, 4)
            c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
            h = sigmoid(o) * np.tanh(c)
            states[b, t], attention[b, t] = h, p
    return states, attention


@pytest.mark.parametrize("conditioned", [True, False])
@pytest.mark.parametrize("few", [0, B])
def test_equals_the_equations_of_the_paper(conditioned, few, monkeypatch):
    """Both ways to compute them: hands through the LSTM's kernel step by step, or all at once where there are few rows."""
    monkeypatch.setattr("keras_actrec.layers.spatial_attention_lstm._FEW", few)
    layer = SpatialAttentionLSTM(H, attention_units=A)
    arrays = inputs(conditioned)
    layer(**arrays)
    make_nonzero(layer.weights)
    states, attention = layer(**arrays)

    weights = {w.path.removeprefix(f"{layer.name}/"): np.array(w, "float64") for w in layer.weights}
    expected_states, expected_attention = equations_3_to_5(weights, arrays["hands"], arrays.get("pose_features"))
    np.testing.assert_allclose(states, expected_states, atol=1e-5)
    np.testing.assert_allclose(attention, expected_attention, atol=1e-5)
    assert np.ptp(expected_attention) > 0.1  # the weights differ, so that a mix-up of hands would show


def test_absent_hands_get_no_attention():
    """The softmax over the hands that exist, by hand: weights of all four, absent ones struck out, the rest scaled to 1."""
    arrays = inputs()
    hands = arrays["hands"].copy()
    hands[:, :, 2:] = 0  # one person
    hands[0, 1] = 0  # nobody: nothing is struck out
    layer, unmasked = (SpatialAttentionLSTM(H, attention_units=A, mask_absent_hands=mask) for mask in (True, False))
    for each in (layer, unmasked):
        each(**arrays)
    make_nonzero(layer.weights)
    unmasked.set_weights(layer.get_weights())
    _, attention = (np.array(output) for output in layer(hands, arrays["pose_features"]))
    _, everything = (np.array(output) for output in unmasked(hands, arrays["pose_features"]))
    np.testing.assert_array_equal(attention[1:, :, 2:], 0)
    first = everything[1:, 0, :2]  # p_1 depends on the pose alone, later steps on what was attended to
    np.testing.assert_allclose(attention[1:, 0, :2], first / first.sum(axis=1, keepdims=True), atol=1e-6)
    assert (attention[0, 1] > 0).all()
    np.testing.assert_allclose(attention.sum(axis=-1), 1, atol=1e-6)


@pytest.mark.parametrize("mask", [True, False])
@pytest.mark.parametrize("hands_there", [1, 2, 3, 4])
def test_few_rows_and_many_have_one_answer(mask, hands_there, monkeypatch):
    """Whoever is absent, all the time or at times, and with a number of hands that has no half."""
    for count in (N, 3, 1):
        hands = random_array((B, T, count, D), 1)
        hands[:, :, hands_there:] = 0
        hands[1, 2] = 0
        layer = SpatialAttentionLSTM(H, attention_units=A, mask_absent_hands=mask)
        arrays = {"hands": hands, "pose_features": random_array((B, S), 2)}
        layer(**arrays)
        make_nonzero(layer.weights)
        found = {}
        for few in (0, B):
            monkeypatch.setattr("keras_actrec.layers.spatial_attention_lstm._FEW", few)
            found[few] = layer(**arrays)
        for one, other in zip(found[0], found[B], strict=True):
            np.testing.assert_allclose(one, other, atol=1e-6)


def test_one_graph_serves_few_rows_and_many():
    """An exported graph does not know the number of rows when it is traced."""
    layer = SpatialAttentionLSTM(H, attention_units=A)
    hands, pose = random_array((9, T, N, D), 1), random_array((9, S), 2)
    whole = layer(hands, pose)
    specs = [tf.TensorSpec((None, *array.shape[1:])) for array in (hands, pose)]
    graph = tf.function(lambda hands, pose: layer(hands, pose), input_signature=specs)
    for rows in (1, 4, 5, 9):
        for one, other in zip(graph(hands[:rows], pose[:rows]), whole, strict=True):
            np.testing.assert_allclose(one, other[:rows], atol=1e-6)


def test_first_attention_depends_on_pose_alone():
    """h_0 = 0: the hands seen at step 1 cannot change p_1."""
    layer = SpatialAttentionLSTM(H, attention_units=A)
    arrays = inputs()
    _, attention = layer(**arrays)
    _, other_hands = layer(**(arrays | {"hands": -arrays["hands"]}))
    _, other_pose = layer(**(arrays | {"pose_features": -arrays["pose_features"]}))
    np.testing.assert_array_equal(attention[:, 0], other_hands[:, 0])
    assert np.all(np.abs(np.array(attention[:, 1]) - np.array(other_hands[:, 1])).max(axis=1) > 1e-6)
    assert np.all(np.abs(np.array(attention[:, 0]) - np.array(other_pose[:, 0])).max(axis=1) > 1e-6)


def test_attention_adds_up_to_one_under_bfloat16():
    """float32 inside: weights kept in bfloat16 would miss 1 by up to 2^-9 each."""
    _, attention = SpatialAttentionLSTM(H, attention_units=A, dtype="mixed_bfloat16")(**inputs())
    assert keras.backend.standardize_dtype(attention.dtype) == "float32"
    np.testing.assert_allclose(np.array(attention).sum(axis=-1), 1, atol=1e-6)


@pytest.mark.parametrize("arguments", [{"units": 0}, {"units": 4, "attention_units": 0}])
def test_sizes_have_to_be_positive(arguments):
    with pytest.raises(ConfigError, match=r"has to be positive.*Give at least 1"):
        SpatialAttentionLSTM(**arguments)


@pytest.mark.parametrize("shape", [(None, N, D), (T, None, D), (T, N, None), (T, N)])
def test_unknown_shape_is_refused(shape):
    with pytest.raises(ConfigError, match=r"shape of `hands` has to be known.*\(batch, frames, hands, features\)"):
        SpatialAttentionLSTM(H)(keras.Input(shape))
