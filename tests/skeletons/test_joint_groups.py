from __future__ import annotations

import pytest

from keras_actrec.errors import ConfigError
from keras_actrec.skeletons.joint_groups import human_parts, joint_groups
from keras_actrec.skeletons.layout import SkeletonLayout
from keras_actrec.skeletons.layouts import JHMDB_15, KINECT_V2, LAYOUTS, MEDIAPIPE_33, OPENPOSE_18, PENN_13, SBU_15


def named(layout: SkeletonLayout) -> dict[str, set[str]]:
    return {part: {layout.joints[joint] for joint in joints} for part, joints in human_parts(layout)}


def both(*joints: str) -> set[str]:
    return {f"{joint}_{side}" for joint in joints for side in ("left", "right")}


def test_parts_of_the_two_data_sets_of_the_paper_by_hand():
    limbs = {part: both(part) for part in ("elbow", "wrist", "knee", "ankle")}
    assert named(JHMDB_15) == {"torso": {"neck", "spine_mid", "head"} | both("shoulder", "hip"), **limbs}
    assert named(PENN_13) == {"torso": {"head"} | both("shoulder", "hip"), **limbs}
    assert human_parts(PENN_13) == (
        ("torso", (0, 1, 2, 7, 8)), ("elbow", (3, 4)), ("wrist", (5, 6)), ("knee", (9, 10)), ("ankle", (11, 12)),
    )  # fmt: skip


def test_hands_fingers_and_feet_belong_to_wrists_and_ankles():
    kinect, mediapipe = named(KINECT_V2), named(MEDIAPIPE_33)
    assert kinect["wrist"] == both("wrist", "hand", "hand_tip", "thumb") and kinect["ankle"] == both("ankle", "foot")
    assert mediapipe["wrist"] == both("wrist", "pinky", "index", "thumb")
    assert mediapipe["ankle"] == both("ankle", "heel", "foot")
    assert named(SBU_15)["wrist"] == both("hand") and named(SBU_15)["ankle"] == both("foot")
    assert {"nose", "ear_left", "eye_right", "neck"} <= named(OPENPOSE_18)["torso"]


@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=lambda layout: layout.name)
def test_every_layout_has_the_five_parts_and_every_joint_once(layout):
    assert [part for part, _ in human_parts(layout)] == ["torso", "elbow", "wrist", "knee", "ankle"]
    for attention in ("human_part", "separate_joint"):
        groups = joint_groups(layout, attention)
        assert sorted(joint for _, joints in groups for joint in joints) == list(range(len(layout)))
        assert all(list(joints) == sorted(joints) for _, joints in groups)


def layout_of(*joints: str) -> SkeletonLayout:
    return SkeletonLayout(
        name="few", joints=joints, parents=(-1, *range(len(joints) - 1)), hands=(0, 0), mirror_pairs=(),
        parts=(("torso", tuple(range(len(joints)))),),
    )  # fmt: skip


def test_parts_without_joints_are_left_out():
    assert human_parts(layout_of("head", "wrist_left", "neck")) == (("torso", (0, 2)), ("wrist", (1,)))
    assert human_parts(layout_of("elbow_left", "elbow_right")) == (("elbow", (0, 1)),)


def test_groups_by_attention():
    assert joint_groups(PENN_13, "human_part") == human_parts(PENN_13)
    assert joint_groups(layout_of("head", "neck"), "separate_joint") == (("head", (0,)), ("neck", (1,)))


def test_what_has_no_groups_is_refused():
    with pytest.raises(ConfigError, match=r"few has no human parts: none .*found head, neck.*with elbow_, .*separate_joint"):
        human_parts(layout_of("head", "neck"))
    for attention in ("share_all", "none"):
        with pytest.raises(ConfigError, match=f"no groups of joints .found '{attention}', expected human_part or"):
            joint_groups(PENN_13, attention)
