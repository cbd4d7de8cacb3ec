from __future__ import annotations

from itertools import product

import numpy as np
import pytest

from keras_actrec.errors import ConfigError
from keras_actrec.skeletons.layout import KINECT_V2, SkeletonLayout
from keras_actrec.skeletons.layouts import (
    COCO_17,
    JHMDB_15,
    KINECT_V1,
    LAYOUTS,
    LCRNET_13,
    MEDIAPIPE_33,
    OPENPOSE_18,
    PENN_13,
    SBU_15,
)
from keras_actrec.skeletons.retarget import RULES, retarget, retarget_map
from keras_actrec.skeletons.sequence import SkeletonSequence
from tests.skeletons.bodies import STANDING

every_pair = pytest.mark.parametrize(
    "source, target", list(product(LAYOUTS.values(), repeat=2)), ids=lambda layout: layout.name
)
nan = np.nan


def clip(layout: SkeletonLayout, frames: int = 3, people: int = 2, seed: int = 0) -> SkeletonSequence:
    draw = np.random.default_rng(seed)
    shape = (frames, people, len(layout))
    return SkeletonSequence(
        joints=draw.normal(size=(*shape, 3)).astype(np.float32),
        layout=layout,
        pixels=draw.uniform(0, 1000, (*shape, 2)).astype(np.float32),
        tracking=draw.integers(0, 3, shape, dtype=np.uint8),
        body_ids=tuple(range(10, 10 + people)),
    )


def plain(name: str, *joints: str) -> SkeletonLayout:
    """A layout of these joints, all children of the first."""
    parents = (-1, *[0] * (len(joints) - 1))
    return SkeletonLayout(name, joints, parents, (0, 0), (), (("all", tuple(range(len(joints)))),))


def weights(source: SkeletonLayout, target: SkeletonLayout, joint: str) -> dict[str, float]:
    """The weights of one joint by the source's names, without zeros."""
    row = retarget_map(source, target)[target.index(joint)]
    return {name: pytest.approx(float(value)) for name, value in zip(source.joints, row, strict=True) if value}


NOSE, HEAD, FACE = plain("nose", "nose"), plain("head", "head"), plain("face", "eye_left", "ear_left")
HIPS, SHOULDERS = ("hip_left", "hip_right"), ("shoulder_left", "shoulder_right")
# (source, target, joint of the target, joints of the source whose mean it is): every rule, and what chains of rules amount to.
BY_HAND = [
    (SBU_15, KINECT_V2, "spine_base", HIPS),
    (SBU_15, KINECT_V2, "spine_shoulder", SHOULDERS),
    (SBU_15, KINECT_V2, "spine_mid", ("spine_mid",)),
    (COCO_17, JHMDB_15, "spine_mid", HIPS + SHOULDERS),
    (OPENPOSE_18, JHMDB_15, "spine_mid", HIPS + SHOULDERS),
    (KINECT_V1, SBU_15, "neck", ("spine_shoulder",)),
    (PENN_13, SBU_15, "neck", SHOULDERS),
    (COCO_17, PENN_13, "head", ("ear_left", "ear_right")),
    (plain("eyes", "nose", "eye_left", "eye_right"), HEAD, "head", ("eye_left", "eye_right")),
    (NOSE, HEAD, "head", ("nose",)),
    (KINECT_V2, COCO_17, "nose", ("head",)),
    (KINECT_V2, COCO_17, "eye_left", ("head",)),
    (KINECT_V2, COCO_17, "ear_right", ("head",)),
    (NOSE, FACE, "eye_left", ("nose",)),
    (NOSE, FACE, "ear_left", ("nose",)),
    (COCO_17, MEDIAPIPE_33, "eye_inner_left", ("eye_left",)),
    (COCO_17, MEDIAPIPE_33, "eye_outer_right", ("eye_right",)),
    (COCO_17, MEDIAPIPE_33, "mouth_left", ("nose",)),
    (KINECT_V2, MEDIAPIPE_33, "mouth_right", ("head",)),
    (SBU_15, KINECT_V2, "wrist_left", ("hand_left",)),
    (COCO_17, KINECT_V2, "hand_right", ("wrist_right",)),
    (MEDIAPIPE_33, KINECT_V2, "hand_left", ("wrist_left", "index_left", "pinky_left")),
    (MEDIAPIPE_33, KINECT_V2, "hand_tip_right", ("index_right", "pinky_right")),
    (MEDIAPIPE_33, KINECT_V2, "thumb_right", ("thumb_right",)),
    (KINECT_V1, KINECT_V2, "hand_tip_left", ("hand_left",)),
    (COCO_17, KINECT_V2, "hand_tip_left", ("wrist_left",)),
    (KINECT_V1, KINECT_V2, "thumb_left", ("hand_left",)),
    (LCRNET_13, KINECT_V2, "thumb_right", ("wrist_right",)),
    (KINECT_V2, MEDIAPIPE_33, "index_left", ("hand_left",)),
    (KINECT_V2, MEDIAPIPE_33, "pinky_right", ("hand_right",)),
    (COCO_17, MEDIAPIPE_33, "index_right", ("wrist_right",)),
    (SBU_15, JHMDB_15, "ankle_left", ("foot_left",)),
    (JHMDB_15, SBU_15, "foot_right", ("ankle_right",)),
    (KINECT_V2, MEDIAPIPE_33, "heel_left", ("ankle_left",)),
    (SBU_15, MEDIAPIPE_33, "heel_right", ("foot_right",)),
]


@pytest.mark.parametrize("source, target, joint, behind", BY_HAND, ids=lambda value: value if isinstance(value, str) else "")
def test_rules_by_hand(source, target, joint, behind):
    assert weights(source, target, joint) == dict.fromkeys(behind, 1 / len(behind))


def test_the_cases_by_hand_use_every_rule():
    assert {joint.removesuffix("_left").removesuffix("_right") for joint in RULES} == {
        joint.removesuffix("_left").removesuffix("_right") for _, _, joint, _ in BY_HAND
    }


def test_a_body_by_hand():
    # A standing Kinect body without its spine: hips at (±0.09, -0.32, 0), shoulders at (±0.18, 0.25, 0), so that the middle
    # of the spine is at height (-0.32 + 0.25) / 2 = -0.035, the neck at 0.25.
    body = retarget(SkeletonSequence(STANDING[None, None], KINECT_V2), PENN_13)
    back = retarget(body, JHMDB_15).joints[0, 0]
    np.testing.assert_allclose(back[JHMDB_15.index("spine_mid")], (0, -0.035, 0), atol=1e-6)
    np.testing.assert_allclose(back[JHMDB_15.index("neck")], (0, 0.25, 0), atol=1e-6)
    np.testing.assert_array_equal(back[JHMDB_15.index("wrist_left")], STANDING[KINECT_V2.index("wrist_left")])


@every_pair
def test_every_layout_maps_to_every_other_by_means(source, target):
    matrix = retarget_map(source, target)
    assert matrix.shape == (len(target), len(source)) and matrix.dtype == np.float32
    assert (matrix >= 0).all()
    np.testing.assert_allclose(matrix.sum(axis=1), 1, rtol=1e-6)


@every_pair
def test_shared_joints_survive_a_round_trip_unchanged(source, target):
    there = retarget(clip(source), target)
    back = retarget(there, source)
    assert there.layout == target and there.body_ids == (10, 11)
    shared = [source.index(joint) for joint in source.joints if joint in target.joints]
    assert len(shared) >= 8, "at least shoulders, elbows, hips and knees"
    for name in ("joints", "pixels", "tracking"):
        np.testing.assert_array_equal(getattr(back, name)[:, :, shared], getattr(clip(source), name)[:, :, shared])
        assert getattr(there, name).dtype == getattr(clip(source), name).dtype


def mirror_image(layout: SkeletonLayout) -> list[int]:
    order = list(range(len(layout)))
    for left, right in layout.mirror_pairs:
        order[left], order[right] = right, left
    return order


@every_pair
def test_left_and_right_mirror_each_other(source, target):
    matrix = retarget_map(source, target)
    np.testing.assert_array_equal(matrix[mirror_image(target)][:, mirror_image(source)], matrix)


@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=lambda layout: layout.name)
def test_the_own_layout_is_the_identity(layout):
    sequence = clip(layout)
    assert retarget(sequence, layout) is sequence
    np.testing.assert_array_equal(retarget_map(layout, layout), np.eye(len(layout)))


def test_a_derived_joint_is_the_mean_of_the_known_ones_behind_it():
    """spine_mid of COCO is the mean of two hips and two shoulders: without the left hip that of the other three."""
    sequence = clip(COCO_17)
    joints = sequence.joints
    left, right, *shoulders = (COCO_17.index(f"{joint}_{side}") for joint in ("hip", "shoulder") for side in ("left", "right"))
    joints[1, 0, left] = nan
    joints[2, 1, [left, right]] = nan
    found = retarget(sequence, KINECT_V2).joints
    spine_base, spine_mid = KINECT_V2.index("spine_base"), KINECT_V2.index("spine_mid")
    np.testing.assert_array_equal(found[1, 0, spine_base], joints[1, 0, right])
    np.testing.assert_allclose(found[1, 0, spine_mid], joints[1, 0, [right, *shoulders]].mean(axis=0), rtol=1e-6)
    np.testing.assert_allclose(found[2, 1, spine_mid], joints[2, 1, shoulders].mean(axis=0), rtol=1e-6)
    unknown = np.zeros(found.shape[:3], bool)
    unknown[1, 0, KINECT_V2.index("hip_left")] = True
    unknown[2, 1, [KINECT_V2.index("hip_left"), KINECT_V2.index("hip_right"), spine_base]] = True
    np.testing.assert_array_equal(np.isnan(found), np.repeat(unknown[..., None], 3, axis=3))


@every_pair
def test_an_absent_body_stays_absent(source, target):
    sequence = clip(source)
    sequence.joints[0, 1] = sequence.pixels[0, 1] = nan
    sequence.joints[2, 0] = 0
    found = retarget(sequence, target)
    np.testing.assert_array_equal(found.present, [[True, False], [True, True], [True, True]])
    assert np.isnan(found.pixels[0, 1]).all() and not np.isnan(found.pixels[1:]).any()
    assert not found.joints[2, 0].any(), "zeros stand for an absent body in raw files, and stay zeros"


def test_pixels_take_the_same_means():
    sequence = clip(PENN_13, frames=1, people=1)
    sequence.pixels[:] = nan
    for joint, place in (
        ("hip_left", (10, 0)),
        ("hip_right", (20, 0)),
        ("shoulder_left", (6, 100)),
        ("shoulder_right", (8, 60)),
    ):
        sequence.pixels[0, 0, PENN_13.index(joint)] = place
    found = retarget(sequence, JHMDB_15).pixels[0, 0]
    np.testing.assert_array_equal(found[JHMDB_15.index("spine_mid")], (11, 40))
    np.testing.assert_array_equal(found[JHMDB_15.index("neck")], (7, 80))
    assert np.isnan(found[JHMDB_15.index("head")]).all()


def test_derived_joints_are_at_most_inferred_and_as_bad_as_their_worst_source():
    sequence = clip(SBU_15, frames=1, people=1)
    sequence.tracking[:] = 2
    sequence.tracking[0, 0, SBU_15.index("hip_left")] = 0
    found = retarget(sequence, KINECT_V2).tracking[0, 0]
    tracked = {joint: int(value) for joint, value in zip(KINECT_V2.joints, found, strict=True)}
    assert tracked["hip_left"] == 0 and tracked["hip_right"] == 2
    assert tracked["spine_base"] == 0, "one hip is not tracked"
    assert tracked["spine_shoulder"] == 1, "both shoulders are tracked, but nobody saw it"
    assert tracked["wrist_left"] == 1, "the hand's place under another name"
    assert tracked["neck"] == tracked["hand_left"] == tracked["spine_mid"] == 2


def test_what_the_source_does_not_have_stays_absent():
    sequence = SkeletonSequence(clip(SBU_15).joints, SBU_15)
    found = retarget(sequence, KINECT_V2)
    assert found.pixels is None and found.tracking is None and found.body_ids == ()


def test_the_source_is_not_changed():
    sequence, same = clip(COCO_17), clip(COCO_17)
    sequence.joints[0, 0, 0] = same.joints[0, 0, 0] = nan
    found = retarget(sequence, JHMDB_15)
    found.joints[:] = 0
    np.testing.assert_array_equal(sequence.joints, same.joints)


def test_a_clip_without_frames_or_bodies_passes():
    assert retarget(clip(COCO_17, frames=0), SBU_15).joints.shape == (0, 2, 15, 3)
    assert retarget(clip(COCO_17, people=0), SBU_15).tracking.shape == (3, 0, 15)


@pytest.mark.parametrize(
    "source, target, joint",
    [
        (COCO_17, plain("tail", "nose", "tail"), "tail"),
        (plain("upper", "head", "shoulder_left", "shoulder_right"), JHMDB_15, "spine_mid"),
        (plain("no_hands", "elbow_left"), plain("fingers", "index_left"), "index_left"),
        (plain("one_hip", "hip_left"), plain("pelvis", "spine_base"), "spine_base"),
    ],
    ids=["no rule", "half of the sources", "rules in a circle", "one side"],
)
def test_a_joint_that_no_rule_gives_is_named(source, target, joint):
    with pytest.raises(ConfigError, match=rf"layout {source.name} does not give the joint {joint} of layout {target.name}"):
        retarget_map(source, target)
    with pytest.raises(ConfigError, match=joint):
        retarget(clip(source), target)
