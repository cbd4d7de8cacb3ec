"""Test views: what they change, that they undo themselves, and that the graph agrees with NumPy."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_actrec.errors import ConfigError
from keras_actrec.skeletons.layout import KINECT_V2
from keras_actrec.skeletons.views import VIEWS, check_views, view, view_hands

LEFT, RIGHT = KINECT_V2.index("hand_left"), KINECT_V2.index("hand_right")


def people(length: int = 7) -> np.ndarray:
    return np.random.default_rng(length).normal(size=(length, 2, 25, 3)).astype(np.float32)


def alone(length: int = 7) -> np.ndarray:
    joints = people(length)
    joints[:, 1] = np.nan
    return joints


def test_a_mirrored_clip_has_the_other_sign_of_x_and_left_for_right():
    joints = people()
    found = view(joints, KINECT_V2, "mirrored")
    np.testing.assert_array_equal(found[:, :, LEFT], joints[:, :, RIGHT] * [-1, 1, 1])
    np.testing.assert_array_equal(found[:, :, KINECT_V2.root], joints[:, :, KINECT_V2.root] * [-1, 1, 1])


def test_a_swapped_clip_has_its_people_the_other_way_round():
    joints = people()
    np.testing.assert_array_equal(view(joints, KINECT_V2, "swapped"), joints[:, ::-1])


@pytest.mark.parametrize("absent", [np.nan, 0.0])
def test_one_person_stays_the_first_one(absent):
    joints = people()
    joints[:, 1] = absent
    np.testing.assert_array_equal(view(joints, KINECT_V2, "swapped"), joints)


def test_a_second_person_in_one_frame_is_enough_for_a_swap():
    joints = alone()
    joints[3, 1] = 1
    np.testing.assert_array_equal(view(joints, KINECT_V2, "swapped"), joints[:, ::-1])


@pytest.mark.parametrize("name", VIEWS)
@pytest.mark.parametrize("clip", [people, alone])
def test_a_view_undoes_itself_and_leaves_its_argument_alone(clip, name):
    joints = clip()
    np.testing.assert_array_equal(view(view(joints, KINECT_V2, name), KINECT_V2, name), joints)
    np.testing.assert_array_equal(joints, clip())


@pytest.mark.parametrize("name", VIEWS)
@pytest.mark.parametrize("clip", [people, alone])
def test_graph_of_unknown_length_and_numpy_agree(clip, name):
    specification = tf.TensorSpec((None, 2, 25, 3), tf.float32)
    graph = tf.function(lambda joints: view(joints, KINECT_V2, name, xp=keras.ops), input_signature=[specification])
    np.testing.assert_array_equal(graph(clip()).numpy(), view(clip(), KINECT_V2, name))


@pytest.mark.parametrize(
    ("name", "pair", "expected"),
    [
        ("plain", True, (0, 1, 2, 3)),
        ("mirrored", True, (1, 0, 3, 2)),
        ("swapped", True, (2, 3, 0, 1)),
        ("mirrored_swapped", True, (3, 2, 1, 0)),
        ("swapped", False, (0, 1, 2, 3)),
        ("mirrored_swapped", False, (1, 0, 3, 2)),
    ],
)
def test_hands_stay_with_their_joints(name, pair, expected):
    assert view_hands(name, pair) == expected
    joints = people() if pair else alone()
    hands = joints[:, :, [LEFT, RIGHT]].reshape(len(joints), 4, 3)
    seen = view(joints, KINECT_V2, name)[:, :, [LEFT, RIGHT]].reshape(len(joints), 4, 3)
    np.testing.assert_array_equal(np.abs(seen), np.abs(hands[:, list(expected)]))


@pytest.mark.parametrize("views", [(), ("mirrored",), ("plain", "plain"), ("plain", "upside_down")])
def test_views_that_make_no_sense(views):
    with pytest.raises(ConfigError, match="test views make no sense"):
        check_views(views)


def test_every_view_makes_sense():
    check_views(VIEWS)
    check_views(("plain",))
