"""Soft assignment: equation 10 against plain numpy, empty slots, degenerate distances; the distance's own tests are beside."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import ops

from keras_actrec.errors import ConfigError
from keras_actrec.layers.soft_assignment import MahalanobisDistance, normalised_distances, soft_assignment
from tests.harness import layer_model, numpy_outputs, outputs_on_jax, random_array, run_model_test

B, K, G, C = 3, 4, 2, 5
DISTANCES = np.abs(random_array((B, K, G), 3)) + 0.5
IMPORTANCE = np.abs(random_array((B, C, K), 4))
AGE = np.array([3.0, 2.0, 1.0, 0.5], "float32")
PRESENT = np.array([[True, True, False, True], [False, False, True, False], [True, True, True, True]])


def by_equation_10(distances, importance, decay, temperature, *, normalisation="batch", present=None, least=None):
    """(B, C, G), one number after the other; decay and present (K,) or (B, K)."""
    decay = np.broadcast_to(decay, (B, K))
    present = np.broadcast_to(True if present is None else present, (B, K))
    result = np.zeros((B, C, G))
    for b in range(B):
        counted = distances[present] if normalisation == "batch" else distances[b][present[b]]
        low = counted.min() if least is None else least
        scores = np.zeros((C, G))
        for c, k, g in np.ndindex(C, K, G):
            if present[b, k]:
                similarity = 1 - (distances[b, k, g] - low) / (counted.max() - low)
                scores[c, g] += decay[b, k] * importance[b, c, k] * similarity
        powers = np.exp(scores / temperature)
        result[b] = powers / powers.sum(axis=1, keepdims=True)
    return result


def assignment_model(**options) -> keras.Model:
    inputs = {
        "distances": keras.Input((K, G), name="distances"),
        "importance": keras.Input((C, K), name="importance"),
        "age": keras.Input((K,), name="age"),
        "held": keras.Input((K,), name="held"),
    }
    present = inputs["held"] > 0.5
    assignment = soft_assignment(
        inputs["distances"], inputs["importance"], inputs["age"], temperature=0.5, present=present, **options
    )
    return keras.Model(inputs, {"assignment": assignment})


ASSIGNMENT_INPUTS = {
    "distances": DISTANCES,
    "importance": IMPORTANCE,
    "age": np.tile(AGE, (B, 1)),
    "held": PRESENT.astype("float32"),
}


@pytest.mark.parametrize("normalisation", ["batch", "sample"])
@pytest.mark.parametrize("present", [None, PRESENT[0], PRESENT])
@pytest.mark.parametrize("least", [None, 0.0])
def test_assignment_is_equation_10(normalisation, present, least):
    options = {"normalisation": normalisation, "present": present, "least": least}
    found = np.array(soft_assignment(DISTANCES, IMPORTANCE, AGE, temperature=0.3, **options))
    expected = by_equation_10(DISTANCES, IMPORTANCE, np.exp(-AGE), 0.3, **options)
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    np.testing.assert_allclose(found.sum(axis=-1), 1, rtol=1e-6)


def test_decay_in_the_place_of_age_and_per_sample():
    decay = np.random.default_rng(0).random((B, K)).astype("float32")
    found = soft_assignment(DISTANCES, IMPORTANCE, decay=decay, temperature=2.0)
    np.testing.assert_allclose(found, by_equation_10(DISTANCES, IMPORTANCE, decay, 2.0), rtol=1e-5)
    np.testing.assert_allclose(soft_assignment(DISTANCES, IMPORTANCE, -np.log(decay), temperature=2.0), found, rtol=1e-5)


def test_a_worker_gets_the_glimpse_like_those_it_had():
    # Two slots, each important for one worker; glimpse 0 is like slot 1, glimpse 1 like slot 0.
    distances = np.array([[[5, 1], [1, 5]]], "float32")
    importance = np.array([[[1, 0], [0, 1]]], "float32")
    found = np.array(soft_assignment(distances, importance, np.zeros(2), temperature=0.1))
    assert found[0].argmax(axis=-1).tolist() == [1, 0]
    assert found.max(axis=-1).min() > 0.999  # softmax of 0 and 1 / 0.1
    sharper, softer = (soft_assignment(distances, importance, np.zeros(2), temperature=value) for value in (0.5, 5.0))
    assert float(sharper[0, 0, 1]) == pytest.approx(1 / (1 + np.exp(-2)), abs=1e-6)
    assert float(softer[0, 0, 1]) == pytest.approx(1 / (1 + np.exp(-0.2)), abs=1e-6)


def test_a_clip_hangs_on_its_batch_with_batch_normalisation_only():
    far = DISTANCES.copy()
    far[1] *= 10
    for normalisation, equal in (("batch", False), ("sample", True)):
        before, after = (
            np.array(soft_assignment(d, IMPORTANCE, AGE, temperature=0.3, normalisation=normalisation))
            for d in (DISTANCES, far)
        )
        assert np.allclose(before[0], after[0], atol=1e-6) == equal


@pytest.mark.parametrize("normalisation", ["batch", "sample"])
@pytest.mark.parametrize("case", ["equal", "empty", "unset"])
def test_degenerate_distances_give_numbers_and_gradients(normalisation, case):
    distances, present = DISTANCES.copy(), PRESENT.copy()
    if case == "equal":
        distances[:] = 2.5
    elif case == "empty":
        present[:] = False
    else:
        distances[~present] = np.nan
    distances, importance = tf.constant(distances), tf.constant(IMPORTANCE)
    with tf.GradientTape() as tape:
        tape.watch([distances, importance])
        found = soft_assignment(distances, importance, AGE, temperature=0.5, present=present, normalisation=normalisation)
        loss = tf.reduce_sum(found * random_array((B, C, G), 5))
    to_distances, to_importance = (np.array(gradient) for gradient in tape.gradient(loss, [distances, importance]))
    assert np.isfinite(to_distances).all()
    assert np.isfinite(to_importance).all()
    if case == "unset":
        assert np.isfinite(found).all()
        assert np.abs(to_distances[present]).max() > 1e-4
        assert not to_distances[~present].any()
    else:
        # All glimpses alike for all workers, as in φ̂ = 0.
        np.testing.assert_allclose(found, np.full((B, C, G), 1 / G), rtol=1e-6)
        assert not to_distances.any()


def test_normalised_distances():
    found = np.array(normalised_distances(np.array([[[2, 4]], [[3, 10]]], "float32")))
    np.testing.assert_allclose(found[:, 0], [[0, 0.25], [0.125, 1]])
    found = np.array(normalised_distances(np.array([[[2, 4]], [[3, 10]]], "float32"), normalisation="sample"))
    np.testing.assert_allclose(found[:, 0], [[0, 1], [0, 1]])
    found = np.array(normalised_distances(np.array([[[2, 4], [9, 0]]], "float32"), present=[True, False], least=0.0))
    np.testing.assert_allclose(found[0], [[0.5, 1], [0, 0]])


def test_assignment_is_float32_under_bfloat16():
    arrays = (ops.cast(array, "bfloat16") for array in (DISTANCES, IMPORTANCE, AGE))
    assert soft_assignment(*arrays, temperature=0.5).dtype == "float32"


def test_assignment_in_a_model(tmp_path):
    run_model_test(
        lambda: assignment_model(normalisation="sample"),
        ASSIGNMENT_INPUTS,
        expected_output_shapes={"assignment": (B, C, G)},
        tmp_path=tmp_path,
    )


def test_jax_gives_the_same_outputs(tmp_path):
    sets = {"x": random_array((B, K, 6), 1), "y": random_array((B, G, 6), 2)}
    cases = {
        "root": (layer_model(MahalanobisDistance(seed=1), sets), sets),
        "squared": (layer_model(MahalanobisDistance(squared=True, maximum=5.0, seed=1), sets), sets),
        "batch": (assignment_model(), ASSIGNMENT_INPUTS),
        "sample": (assignment_model(normalisation="sample", least=0.0), ASSIGNMENT_INPUTS),
    }
    found = outputs_on_jax(cases, tmp_path)
    for name, (model, inputs) in cases.items():
        for output, expected in numpy_outputs(model, inputs).items():
            np.testing.assert_allclose(found[name][output], expected, rtol=1e-4, atol=1e-5, err_msg=name)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"temperature": 0}, "temperature has to be positive .found 0"),
        ({"age": None}, "give either age or decay .found none"),
        ({"decay": AGE}, "give either age or decay .found both"),
        ({"normalisation": "clip"}, "unknown normalisation .found 'clip', expected one of batch, sample"),
        ({"importance": IMPORTANCE[:, :, 1:]}, "distances and importance do not fit .*slots, glimpses. and .batch, workers"),
        ({"distances": DISTANCES[0]}, "distances and importance do not fit"),
    ],
)
def test_bad_assignments_are_refused(change, message):
    arguments = {"distances": DISTANCES, "importance": IMPORTANCE, "age": AGE, "temperature": 1.0} | change
    with pytest.raises(ConfigError, match=message):
        soft_assignment(**arguments)
