from __future__ import annotations

from fractions import Fraction

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_actrec.errors import ConfigError
from keras_actrec.skeletons.sampling import (
    SAMPLINGS,
    SamplingConfig,
    interval_frames,
    subsequence_frames,
    test_subsequences,
    uniforms,
)  # fmt: skip


def test_segments_by_hand():
    # T = 10, F = 4: segments [0, 2), [2, 5), [5, 7), [7, 10); u = 0, 0.5, 0.99, 0.34 → 0 + 0, 2 + 1, 5 + 1, 7 + 1.
    assert subsequence_frames(10, np.array([[0, 0.5, 0.99, 0.34]])).tolist() == [[0, 3, 6, 8]]


def test_contiguous_by_hand():
    # T = 10, F = 4: starts 0 to 6; floor(0.5 · 7) = 3. Only the first number of a row counts.
    assert subsequence_frames(10, np.array([[0.5, 0.9, 0.1, 0.3]]), "contiguous").tolist() == [[3, 4, 5, 6]]


@pytest.mark.parametrize("sampling", SAMPLINGS)
def test_short_clips_repeat_frames_evenly(sampling):
    # floor(i · 3 / 7) for i = 0 … 6
    table = uniforms(0, 2, 7)
    assert subsequence_frames(3, table, sampling).tolist() == [[0, 0, 0, 1, 1, 2, 2]] * 2


def test_segments_use_every_frame_of_the_clip():
    frames = subsequence_frames(47, uniforms(3, 2000, 20))
    assert set(frames.ravel().tolist()) == set(range(47))
    bounds = np.arange(21) * 47 // 20
    assert (frames >= bounds[:-1]).all() and (frames < bounds[1:]).all()


def test_contiguous_reaches_both_ends_of_the_clip():
    frames = subsequence_frames(25, uniforms(3, 500, 20), "contiguous")
    assert (np.diff(frames, axis=1) == 1).all()
    assert set(frames[:, 0].tolist()) == set(range(6))


@pytest.mark.parametrize("sampling", SAMPLINGS)
def test_the_largest_random_number_stays_inside(sampling):
    table = np.full((1, 20), np.nextafter(1.0, 0.0))
    for length in range(1, 2000):
        frames = subsequence_frames(length, table, sampling)
        assert frames.max() == length - 1 and (np.diff(frames) >= 0).all()


@pytest.mark.parametrize("sampling", SAMPLINGS)
def test_graph_and_numpy_agree_to_the_frame(sampling):
    table = uniforms(7, 10, 20)
    in_graph = tf.function(
        lambda length: subsequence_frames(length, table, sampling, xp=keras.ops), input_signature=[tf.TensorSpec((), tf.int32)]
    )
    for length in range(1, 401):
        expected = subsequence_frames(length, table, sampling)
        found = in_graph(length).numpy()
        assert found.dtype == expected.dtype == np.int32
        np.testing.assert_array_equal(found, expected)


def test_test_subsequences_are_the_same_for_every_clip_of_a_length():
    config = SamplingConfig(frames=20, subsequences=10, seed=5)
    frames = test_subsequences(73, config)
    assert frames.shape == (10, 20) and frames.dtype == np.int32
    np.testing.assert_array_equal(frames, test_subsequences(73, config))
    np.testing.assert_array_equal(frames, subsequence_frames(73, uniforms(5, 10, 20)))
    assert (frames != test_subsequences(73, SamplingConfig(seed=6))).any()


def test_the_random_table_does_not_change():
    # First values of NumPy's default_rng(0): caches and exports made today have to keep their meaning.
    np.testing.assert_allclose(uniforms(0, 1, 3), [[0.63696169, 0.26978671, 0.04097352]], atol=1e-8)


def test_no_frames():
    with pytest.raises(ConfigError, match="found 0, expected at least one frame"):
        test_subsequences(0, SamplingConfig())


@pytest.mark.parametrize(
    "wrong", [{"frames": 0}, {"subsequences": -1}, {"seed": -1}, {"frames": 2.5}, {"sampling": "uniform"}], ids=str
)
def test_configuration_is_checked(wrong):
    with pytest.raises(ConfigError, match="expected"):
        SamplingConfig(**wrong)


BELOW_ONE = np.nextafter(1.0, 0.0)


def test_equal_intervals_by_hand():
    # n = 40, T = 8: intervals of 5. n = 10, T = 4: 2.5 · (i + u).
    assert interval_frames(40, np.array([0.0, 0.5, BELOW_ONE]), 8).tolist() == [
        [0, 5, 10, 15, 20, 25, 30, 35], [2, 7, 12, 17, 22, 27, 32, 37], [4, 9, 14, 19, 24, 29, 34, 39],
    ]  # fmt: skip
    assert interval_frames(10, np.array([0.0, 0.5]), 4).tolist() == [[0, 2, 5, 7], [1, 3, 6, 8]]
    assert interval_frames(10, np.array([0.5]), 1).tolist() == [[5]]


def test_short_clips_repeat_frames_at_equal_intervals():
    assert interval_frames(3, np.array([0.0, 0.5]), 8).tolist() == [[0, 0, 0, 1, 1, 1, 2, 2], [0, 0, 0, 1, 1, 2, 2, 2]]
    assert interval_frames(1, np.array([0.9]), 3).tolist() == [[0, 0, 0]]


def test_equal_intervals_are_the_floor_of_exact_fractions_in_numpy_and_in_a_graph():
    # Starts where a rounding of i + u or of the quotient would tell: on frames, just below them, and just below 1.
    starts = np.array([0.0, 0.25, np.nextafter(0.5, 0.0), 0.5, 0.7, BELOW_ONE])
    for frames in (1, 5, 8):
        in_graph = tf.function(
            lambda length, frames=frames: interval_frames(length, tf.constant(starts), frames, xp=keras.ops),
            input_signature=[tf.TensorSpec((), tf.int32)],
        )
        for length in range(1, 121):
            exact = [[int((i * length + Fraction(u * length)) / frames) for i in range(frames)] for u in starts.tolist()]
            expected, found = interval_frames(length, starts, frames), in_graph(length).numpy()
            assert found.dtype == expected.dtype == np.int32
            np.testing.assert_array_equal(expected, exact)
            np.testing.assert_array_equal(found, exact)
            assert expected.min() >= 0 and expected.max() < length


def test_intervals_that_cannot_be_taken_are_refused():
    with pytest.raises(ConfigError, match=r"none to sample \(found 0, expected at least one frame\)"):
        interval_frames(0, np.zeros(1), 8)
    with pytest.raises(ConfigError, match=r"each view has one start \(found shape \(1, 2\), expected \(views,\)\)"):
        interval_frames(10, np.zeros((1, 2)), 8)
    with pytest.raises(ConfigError, match=r"a view has no frames \(found 0"):
        interval_frames(10, np.zeros(1), 0)
