"""The joint layouts of the data sets and of common pose estimators.

A joint has the same name wherever it is the same place of the body, so that `retarget` can map any layout to any other by
names. Kinect v2, the layout of the paper, stands in `layout.py`.

Layouts without a joint on the spine (13 joints of Penn Action and LCR-Net, COCO) are rooted at the left hip, so that they
have a tree at all; retarget them to a layout with a spine, such as `JHMDB_15`, before their pose tensors are made.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from types import MappingProxyType

from keras_actrec.skeletons.layout import KINECT_V2, SkeletonLayout


def _layout(
    name: str, bones: Mapping[str, str], *, joints: tuple[str, ...], hands: tuple[str, str], torso: tuple[str, ...]
) -> SkeletonLayout:
    """Builds a layout from joint names: bones are child → parent; what ends in _left or _right is a pair."""
    index = {joint: i for i, joint in enumerate(joints)}
    pairs = tuple((index[j], index[j[:-4] + "right"]) for j in joints if j.endswith("left"))
    legs = ("hip", "knee", "ankle", "heel", "foot")
    parts: dict[str, list[int]] = {part: [] for part in ("torso", "left_arm", "right_arm", "left_leg", "right_leg")}
    for joint, i in index.items():
        side = "left" if joint.endswith("_left") else "right"
        parts["torso" if joint in torso else f"{side}_{'leg' if joint.startswith(legs) else 'arm'}"].append(i)
    return SkeletonLayout(
        name=name,
        joints=joints,
        parents=tuple(index[bones[j]] if j in bones else -1 for j in joints),
        hands=(index[hands[0]], index[hands[1]]),
        mirror_pairs=pairs,
        parts=tuple((part, tuple(members)) for part, members in parts.items()),
    )


def _limbs(arm: tuple[str, ...], leg: tuple[str, ...]) -> dict[str, str]:
    """Bones along both arms and both legs, e.g. ("shoulder", "elbow") → elbow_left: shoulder_left, …"""
    return {
        f"{child}_{side}": f"{parent}_{side}"
        for chain in (arm, leg)
        for parent, child in pairwise(chain)
        for side in ("left", "right")
    }


_HANDS, _WRISTS = ("hand_left", "hand_right"), ("wrist_left", "wrist_right")

KINECT_V1 = _layout(
    "kinect_v1",
    {
        **{"spine_base": "spine_mid", "spine_shoulder": "spine_mid", "head": "spine_shoulder"},
        **{"shoulder_left": "spine_shoulder", "shoulder_right": "spine_shoulder"},
        **{"hip_left": "spine_base", "hip_right": "spine_base"},
        **_limbs(("shoulder", "elbow", "wrist", "hand"), ("hip", "knee", "ankle", "foot")),
    },
    joints=(
        "spine_base", "spine_mid", "spine_shoulder", "head",
        "shoulder_left", "elbow_left", "wrist_left", "hand_left",
        "shoulder_right", "elbow_right", "wrist_right", "hand_right",
        "hip_left", "knee_left", "ankle_left", "foot_left",
        "hip_right", "knee_right", "ankle_right", "foot_right",
    ),
    hands=_HANDS,
    torso=("spine_base", "spine_mid", "spine_shoulder", "head"),
)  # fmt: skip
"""Kinect v1 (Kinect for Windows SDK 1.x): 20 joints, of MSR Daily Activity 3D and Northwestern-UCLA. HipCenter is called
spine_base, Spine spine_mid, ShoulderCenter spine_shoulder."""

SBU_15 = _layout(
    "sbu_15",
    {
        **{"neck": "spine_mid", "head": "neck", "shoulder_left": "neck", "shoulder_right": "neck"},
        **{"hip_left": "spine_mid", "hip_right": "spine_mid"},
        **_limbs(("shoulder", "elbow", "hand"), ("hip", "knee", "foot")),
    },
    joints=(
        "head", "neck", "spine_mid",
        "shoulder_left", "elbow_left", "hand_left", "shoulder_right", "elbow_right", "hand_right",
        "hip_left", "knee_left", "foot_left", "hip_right", "knee_right", "foot_right",
    ),
    hands=_HANDS,
    torso=("head", "neck", "spine_mid"),
)  # fmt: skip
"""OpenNI/NITE: the 15 joints of SBU Kinect Interaction."""

_TORSO_WITHOUT_SPINE = {"hip_right": "hip_left", "shoulder_left": "hip_left", "shoulder_right": "shoulder_left"}
_TO_ANKLES = _limbs(("shoulder", "elbow", "wrist"), ("hip", "knee", "ankle"))

LCRNET_13 = _layout(
    "lcrnet_13",
    {**_TORSO_WITHOUT_SPINE, "head": "shoulder_left", **_TO_ANKLES},
    joints=(
        "ankle_right", "ankle_left", "knee_right", "knee_left", "hip_right", "hip_left",
        "wrist_right", "wrist_left", "elbow_right", "elbow_left", "shoulder_right", "shoulder_left", "head",
    ),
    hands=_WRISTS,
    torso=("head",),
)  # fmt: skip
"""LCR-Net: the 13 joints of Toyota Smarthome."""

PENN_13 = _layout(
    "penn_13",
    {**_TORSO_WITHOUT_SPINE, "head": "shoulder_left", **_TO_ANKLES},
    joints=(
        "head", "shoulder_left", "shoulder_right", "elbow_left", "elbow_right", "wrist_left", "wrist_right",
        "hip_left", "hip_right", "knee_left", "knee_right", "ankle_left", "ankle_right",
    ),
    hands=_WRISTS,
    torso=("head",),
)  # fmt: skip
"""The 13 joints of Penn Action."""

JHMDB_15 = _layout(
    "jhmdb_15",
    {
        **{"neck": "spine_mid", "head": "neck", "shoulder_left": "neck", "shoulder_right": "neck"},
        **{"hip_left": "spine_mid", "hip_right": "spine_mid"},
        **_TO_ANKLES,
    },
    joints=(
        "neck", "spine_mid", "head", "shoulder_right", "shoulder_left", "hip_right", "hip_left",
        "elbow_right", "elbow_left", "knee_right", "knee_left", "wrist_right", "wrist_left", "ankle_right", "ankle_left",
    ),
    hands=_WRISTS,
    torso=("neck", "spine_mid", "head"),
)  # fmt: skip
"""The 15 joints of JHMDB: its belly is called spine_mid, its face head."""

_FACE = {"eye_left": "nose", "eye_right": "nose", "ear_left": "eye_left", "ear_right": "eye_right"}
_FACE_JOINTS = ("nose", *_FACE)

COCO_17 = _layout(
    "coco_17",
    {**_TORSO_WITHOUT_SPINE, "nose": "shoulder_left", **_FACE, **_TO_ANKLES},
    joints=(
        "nose", "eye_left", "eye_right", "ear_left", "ear_right",
        "shoulder_left", "shoulder_right", "elbow_left", "elbow_right", "wrist_left", "wrist_right",
        "hip_left", "hip_right", "knee_left", "knee_right", "ankle_left", "ankle_right",
    ),
    hands=_WRISTS,
    torso=_FACE_JOINTS,
)  # fmt: skip
"""COCO key points: the output of most 2-D pose estimators."""

OPENPOSE_18 = _layout(
    "openpose_18",
    {
        **{"nose": "neck", "shoulder_left": "neck", "shoulder_right": "neck", "hip_left": "neck", "hip_right": "neck"},
        **_FACE,
        **_TO_ANKLES,
    },
    joints=(
        "nose", "neck", "shoulder_right", "elbow_right", "wrist_right", "shoulder_left", "elbow_left", "wrist_left",
        "hip_right", "knee_right", "ankle_right", "hip_left", "knee_left", "ankle_left",
        "eye_right", "eye_left", "ear_right", "ear_left",
    ),
    hands=_WRISTS,
    torso=("neck", *_FACE_JOINTS),
)  # fmt: skip
"""OpenPose, COCO model with 18 key points."""

_MEDIAPIPE_FACE = {
    **{"eye_inner_left": "nose", "eye_left": "eye_inner_left", "eye_outer_left": "eye_left", "ear_left": "eye_outer_left"},
    **{"eye_inner_right": "nose", "eye_right": "eye_inner_right", "eye_outer_right": "eye_right"},
    **{"ear_right": "eye_outer_right", "mouth_left": "nose", "mouth_right": "nose"},
}
MEDIAPIPE_33 = _layout(
    "mediapipe_33",
    {
        **_TORSO_WITHOUT_SPINE,
        "nose": "shoulder_left",
        **_MEDIAPIPE_FACE,
        **_TO_ANKLES,
        **{f"{finger}_{side}": f"wrist_{side}" for finger in ("pinky", "index", "thumb") for side in ("left", "right")},
        **_limbs((), ("ankle", "heel", "foot")),
    },
    joints=(
        "nose", "eye_inner_left", "eye_left", "eye_outer_left", "eye_inner_right", "eye_right", "eye_outer_right",
        "ear_left", "ear_right", "mouth_left", "mouth_right",
        "shoulder_left", "shoulder_right", "elbow_left", "elbow_right", "wrist_left", "wrist_right",
        "pinky_left", "pinky_right", "index_left", "index_right", "thumb_left", "thumb_right",
        "hip_left", "hip_right", "knee_left", "knee_right", "ankle_left", "ankle_right",
        "heel_left", "heel_right", "foot_left", "foot_right",
    ),
    hands=_WRISTS,
    torso=("nose", *_MEDIAPIPE_FACE),
)  # fmt: skip
"""MediaPipe Pose (BlazePose GHUM): 33 landmarks; its foot index is called foot."""

LAYOUTS: Mapping[str, SkeletonLayout] = MappingProxyType({
    layout.name: layout
    for layout in (
        *(KINECT_V2, KINECT_V1, SBU_15, LCRNET_13, PENN_13, JHMDB_15),
        *(COCO_17, OPENPOSE_18, MEDIAPIPE_33),
    )
})  # fmt: skip
"""Every layout by name."""
