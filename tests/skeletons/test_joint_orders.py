from __future__ import annotations

from collections import Counter
from itertools import pairwise

import pytest

from keras_actrec.errors import ConfigError
from keras_actrec.skeletons.joint_orders import joint_order, topological_walk
from keras_actrec.skeletons.layout import KINECT_V2, SkeletonLayout

# Written by hand from the drawing of the body: up to the head and back, down the left arm and back, down the right arm and
# back, then the legs. Kinect v2 draws the hand tip behind the hand, and the thumb on the wrist.
UPPER_BODY = """
spine_mid spine_shoulder neck head neck spine_shoulder
shoulder_left elbow_left wrist_left hand_left hand_tip_left hand_left wrist_left thumb_left wrist_left elbow_left shoulder_left
spine_shoulder
shoulder_right elbow_right wrist_right hand_right hand_tip_right hand_right wrist_right thumb_right wrist_right elbow_right
shoulder_right spine_shoulder spine_mid
"""
LOWER_BODY = """
spine_mid spine_base hip_left knee_left ankle_left foot_left ankle_left knee_left hip_left spine_base
hip_right knee_right ankle_right foot_right ankle_right knee_right hip_right spine_base spine_mid
"""

# 0 is the root; branches 0-1 (one joint), 0-2-3 and 0-4-5 (two joints each).
SMALL = SkeletonLayout("small", tuple("abcdef"), (-1, 0, 0, 2, 0, 4), (3, 5), (), (("all", (0, 1, 2, 3, 4, 5)),))


def test_walk_of_kinect_v2_joint_by_joint():
    assert (len(UPPER_BODY.split()), len(LOWER_BODY.split())) == (31, 19)
    assert [KINECT_V2.joints[joint] for joint in topological_walk(KINECT_V2)] == UPPER_BODY.split() + LOWER_BODY.split()


def test_neighbours_of_the_walk_are_neighbours_in_the_body_or_the_same_joint():
    walk = topological_walk(KINECT_V2)
    for a, b in pairwise(walk):
        assert a == b or KINECT_V2.parents[a] == b or KINECT_V2.parents[b] == a


def test_larger_branches_come_first_and_equal_ones_in_joint_order():
    assert topological_walk(SMALL) == (0, 2, 3, 2, 0, 0, 4, 5, 4, 0, 0, 1, 0)


def test_a_single_joint_is_visited_once():
    assert topological_walk(SkeletonLayout("point", ("a",), (-1,), (0, 0), (), (("all", (0,)),))) == (0,)


def test_no_repeats_keeps_first_visits():
    names = [KINECT_V2.joints[joint] for joint in joint_order(KINECT_V2, "no_repeats")]
    assert len(names) == 25 and set(names) == set(KINECT_V2.joints)
    assert names[:8] == [
        "spine_mid",
        "spine_shoulder",
        "neck",
        "head",
        "shoulder_left",
        "elbow_left",
        "wrist_left",
        "hand_left",
    ]
    assert names[16] == "spine_base"


def test_random_order_is_a_seeded_permutation_of_the_visits():
    walk, random = topological_walk(KINECT_V2), joint_order(KINECT_V2, "random", seed=1)
    assert Counter(random) == Counter(walk) and random != walk
    assert random == joint_order(KINECT_V2, "random", seed=1) != joint_order(KINECT_V2, "random", seed=2)
    assert all(type(joint) is int for joint in random)


def test_unknown_order():
    with pytest.raises(ConfigError, match=r"'sorted'.*topological, no_repeats, random"):
        joint_order(KINECT_V2, "sorted")
