"""Joints read off maps, PCK: by hand, in batches, with joints missing."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_actrec.errors import ConfigError
from keras_actrec.skeletons.heat_maps import heat_maps
from keras_actrec.skeletons.pck import PCKCounter, attention_joints, pck

NAN = np.nan


def test_places_of_highest_attention_by_hand():
    # 2 rows, 4 columns: middles of columns -0.75, -0.25, 0.25, 0.75, of rows -0.5, 0.5.
    attention = np.zeros((1, 3, 2, 4), "float32")
    attention[0, 0, 1, 2], attention[0, 1, 0, 3] = 0.9, 1e-9  # the third is equal everywhere
    found = attention_joints(attention)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, [[[0.25, 0.5], [0.75, -0.5], [-0.75, -0.5]]])


def test_joints_come_back_from_their_heat_maps_to_half_a_place():
    joints = np.random.default_rng(0).uniform(-1, 1, (3, 4, 5, 2)).astype("float32")
    maps, _ = heat_maps(joints, picture_size=(90, 160), grid=(9, 16), std=2.0)
    error = np.abs(attention_joints(maps) - joints)
    assert (error <= np.array([1 / 16, 1 / 9]) + 1e-6).all()


def test_graph_and_numpy_agree():
    attention = np.random.default_rng(1).random((2, 3, 5, 4, 7)).astype("float32")
    in_graph = tf.function(
        lambda maps: attention_joints(maps, keras.ops), input_signature=[tf.TensorSpec((None, None, 5, 4, 7))]
    )
    found = in_graph(attention)
    assert found.dtype == tf.float32
    np.testing.assert_allclose(found, attention_joints(attention), atol=1e-6)


SIZE = (100, 200)  # a unit is 50 pixels high and 100 pixels wide


def body(*places) -> np.ndarray:
    """Joints in pixels → one frame (1, J, 2) in [-1, 1]."""
    return np.array([places], float) / [100, 50] - 1


def test_by_hand():
    # The box is 80 wide and 40 high: 16 pixels.
    joints = body([20, 10], [100, 50], [60, 30])
    predicted = body([20, 25.9], [116.1, 50], [60 + 11, 30 - 11])
    result = pck(predicted, joints, picture_size=SIZE)
    assert result.per_joint == (1.0, 0.0, 1.0) and result.counted == 3 and result.mean == pytest.approx(2 / 3)
    assert pck(predicted, joints, picture_size=SIZE, threshold=0.21).mean == 1
    # Half as wide a picture: 40 by 40 pixels, 8 of them.
    assert pck(predicted, joints, picture_size=(100, 100)).per_joint == (0.0, 0.0, 0.0)


def test_the_box_is_that_of_the_known_joints_of_its_own_frame():
    # Without the second joint the box is 40 by 20: 8 pixels.
    joints = np.concatenate([body([20, 10], [NAN, NAN], [60, 30]), body([20, 10], [100, NAN], [60, 90])])
    predicted = np.concatenate([body([20, 19], [0, 0], [67, 30]), body([20, 26.1], [0, 0], [60, 75])])
    result = pck(predicted, joints, picture_size=SIZE)
    assert result.counted == 4 and result.mean == 0.5
    assert result.per_joint[::2] == (0.0, 1.0) and np.isnan(result.per_joint[1])


@pytest.mark.parametrize("nowhere", [body([NAN, NAN], [NAN, NAN]), body([20, 10], [NAN, NAN]), body([20, 10], [20, 10])])
def test_frames_without_a_box_do_not_count(nowhere):
    result = pck(np.nan_to_num(nowhere), nowhere, picture_size=SIZE)
    assert result.counted == 0 and np.isnan(result.mean) and np.isnan(result.per_joint).all()
    there = body([20, 10], [60, 30])
    result = pck(np.concatenate([there, there]), np.concatenate([nowhere, there]), picture_size=SIZE)
    assert (result.mean, result.per_joint, result.counted) == (1.0, (1.0, 1.0), 2)


def test_a_prediction_that_is_no_number_is_wrong():
    joints = body([20, 10], [60, 30])
    assert pck(body([NAN, 10], [60, 30]), joints, picture_size=SIZE).per_joint == (0.0, 1.0)


def test_batches_add_up():
    rng = np.random.default_rng(2)
    joints, predicted = rng.uniform(-1, 1, (2, 6, 4, 5, 2))
    predicted = joints + 0.3 * predicted
    joints[2] = joints[:, 1, 3] = NAN
    counter = PCKCounter(5, picture_size=SIZE, threshold=0.2)
    for batch in (slice(0, 1), slice(1, 4), slice(4, 6)):
        counter.add(predicted[batch], joints[batch])
    assert counter.result() == pck(predicted, joints, picture_size=SIZE)
    right = counted = 0
    for index in np.ndindex(6, 4):
        known = [joint for joint in range(5) if np.isfinite(joints[index][joint]).all()]
        pixels, guesses = joints[index] * [100, 50], predicted[index] * [100, 50]
        if known:
            box = np.ptp(pixels[known], axis=0).max()
            right += sum(np.hypot(*(pixels[joint] - guesses[joint])) <= 0.2 * box for joint in known)
            counted += len(known)
    assert counter.result().counted == counted == 95
    assert counter.result().mean == pytest.approx(right / counted) and 0.1 < right / counted < 0.9


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: attention_joints(np.zeros((4, 5))), r"read off maps \(found shape \(4, 5\), expected \(..., J, K1, K2\)\)"),
        (lambda: PCKCounter(0, picture_size=SIZE), r"no joints to count \(found 0"),
        (lambda: PCKCounter(3, picture_size=(0, 10)), r"has no such size \(found \(0, 10\), expected \(height, width\)"),
        (lambda: PCKCounter(3, picture_size=SIZE, threshold=0.0), r"threshold of PCK .*found 0.0"),
        (lambda: PCKCounter(3, picture_size=SIZE, threshold=NAN), r"threshold of PCK .*found nan"),
        (lambda: pck(np.zeros((4, 3, 2)), np.zeros((4, 2, 2)), picture_size=SIZE), r"found \(4, 3, 2\) and \(4, 2, 2\)"),
        (lambda: pck(np.zeros((4, 3, 3)), np.zeros((4, 3, 3)), picture_size=SIZE), r"same shape, \(..., 3, 2\)"),
        (lambda: pck(np.zeros(2), np.zeros(2), picture_size=SIZE), r"places in a picture \(found shape \(2,\)"),
    ],
)
def test_what_cannot_be_counted_is_refused(make, words):
    with pytest.raises(ConfigError, match=words):
        make()
