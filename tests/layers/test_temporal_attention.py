"""Temporal attention: Keras behaviour, and equation 7 of the paper against a plain loop."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from keras_actrec.errors import ConfigError
from keras_actrec.layers.temporal_attention import TemporalAttentionPooling
from tests.harness import make_nonzero, random_array, run_layer_test

B, T, N, F, S, A = 3, 5, 4, 6, 7, 9  # batch, frames, hands, features u_t, pose features, attention units


def inputs(*context):
    p = np.exp(random_array((B, T, N), 3))
    arrays = {"spatial_attention": p / p.sum(axis=-1, keepdims=True), "pose_features": random_array((B, S), 2)}
    return {"features": random_array((B, T, F), 1)} | {name: arrays[name] for name in context}


CONTEXTS = [("spatial_attention", "pose_features"), ("spatial_attention",), ("pose_features",)]
CONTEXT_SIZE = {"spatial_attention": T * N, "pose_features": S}


@pytest.mark.parametrize("context", CONTEXTS)
def test_layer_contract(context, tmp_path):
    run_layer_test(
        TemporalAttentionPooling,
        init_kwargs={"attention_units": A},
        inputs=inputs(*context),
        expected_output_shapes=((B, F), (B, T)),
        expected_weights={
            "hidden/kernel": (sum(CONTEXT_SIZE[name] for name in context), A),
            "hidden/bias": (A,),
            "scores/kernel": (A, T),
            "scores/bias": (T,),
        },
        tmp_path=tmp_path,
    )


@pytest.mark.parametrize("context", CONTEXTS)
def test_equals_the_equations_of_the_paper(context):
    layer = TemporalAttentionPooling(attention_units=A)
    arrays = inputs(*context)
    layer(**arrays)
    make_nonzero(layer.weights)
    pooled, attention = layer(**arrays)

    weights = {w.path.removeprefix(f"{layer.name}/"): np.array(w, "float64") for w in layer.weights}
    for b in range(B):
        # eq. 7: p' = f'_p(P, s); P stacks p_1 … p_T into one vector
        seen = np.concatenate([arrays[name][b].ravel() for name in context])
        hidden = 1 / (1 + np.exp(-(seen @ weights["hidden/kernel"] + weights["hidden/bias"])))
        scores = hidden @ weights["scores/kernel"] + weights["scores/bias"]
        p = np.exp(scores) / np.exp(scores).sum()
        # ũ = U p', the columns of U being the instants
        u = sum(p[t] * arrays["features"][b, t] for t in range(T))
        np.testing.assert_allclose(attention[b], p, atol=1e-5)
        np.testing.assert_allclose(pooled[b], u, atol=1e-5)


def test_attention_adds_up_to_one_under_bfloat16():
    _, attention = TemporalAttentionPooling(attention_units=A, dtype="mixed_bfloat16")(**inputs("pose_features"))
    assert keras.backend.standardize_dtype(attention.dtype) == "float32"
    np.testing.assert_allclose(np.array(attention).sum(axis=-1), 1, atol=1e-6)


def test_size_has_to_be_positive():
    with pytest.raises(ConfigError, match="attention_units has to be positive"):
        TemporalAttentionPooling(attention_units=0)


def test_nothing_to_attend_with_is_refused():
    with pytest.raises(ConfigError, match=r"nothing to predict the weights from.*average over time instead"):
        TemporalAttentionPooling()(keras.Input((T, F)))


def test_unknown_number_of_steps_is_refused():
    with pytest.raises(ConfigError, match="number of steps has to be known"):
        TemporalAttentionPooling()(keras.Input((None, F)), None, keras.Input((S,)))
