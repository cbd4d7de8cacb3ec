from __future__ import annotations

import json
from itertools import pairwise

import numpy as np
import pytest
from scipy.io import loadmat

from keras_actrec.skeletons.layout import SkeletonLayout
from keras_actrec.skeletons.layouts import JHMDB_15, KINECT_V1, KINECT_V2, LAYOUTS, LCRNET_13, PENN_13, SBU_15

every_layout = pytest.mark.parametrize("layout", LAYOUTS.values(), ids=lambda layout: layout.name)

# Names as published, in the order of publication.
PUBLISHED = {
    # JointType of the Kinect for Windows SDK 2.0, the order of the NTU RGB+D files.
    "kinect_v2": """spine_base spine_mid neck head shoulder_left elbow_left wrist_left hand_left shoulder_right elbow_right
        wrist_right hand_right hip_left knee_left ankle_left foot_left hip_right knee_right ankle_right foot_right
        spine_shoulder hand_tip_left thumb_left hand_tip_right thumb_right""",
    # NUI_SKELETON_POSITION_INDEX of the Kinect for Windows SDK 1.x.
    "kinect_v1": """hip_center spine shoulder_center head shoulder_left elbow_left wrist_left hand_left shoulder_right
        elbow_right wrist_right hand_right hip_left knee_left ankle_left foot_left hip_right knee_right ankle_right
        foot_right""",
    # SBU Kinect Interaction (Yun et al., CVPR Workshops 2012), description of the skeleton files.
    "sbu_15": """head neck torso left_shoulder left_elbow left_hand right_shoulder right_elbow right_hand left_hip left_knee
        left_foot right_hip right_knee right_foot""",
    # Penn Action (Zhang et al., ICCV 2013), README.
    "penn_13": """head left_shoulder right_shoulder left_elbow right_elbow left_wrist right_wrist left_hip right_hip left_knee
        right_knee left_ankle right_ankle""",
    # JHMDB (Jhuang et al., ICCV 2013), README of the joint positions.
    "jhmdb_15": """neck belly face right_shoulder left_shoulder right_hip left_hip right_elbow left_elbow right_knee left_knee
        right_wrist left_wrist right_ankle left_ankle""",
    # COCO person key points (Lin et al., ECCV 2014).
    "coco_17": """nose left_eye right_eye left_ear right_ear left_shoulder right_shoulder left_elbow right_elbow left_wrist
        right_wrist left_hip right_hip left_knee right_knee left_ankle right_ankle""",
    # OpenPose (Cao et al., CVPR 2017), output of the COCO model.
    "openpose_18": """nose neck right_shoulder right_elbow right_wrist left_shoulder left_elbow left_wrist right_hip right_knee
        right_ankle left_hip left_knee left_ankle right_eye left_eye right_ear left_ear""",
    # MediaPipe PoseLandmark.
    "mediapipe_33": """nose left_eye_inner left_eye left_eye_outer right_eye_inner right_eye right_eye_outer left_ear right_ear
        mouth_left mouth_right left_shoulder right_shoulder left_elbow right_elbow left_wrist right_wrist left_pinky right_pinky
        left_index right_index left_thumb right_thumb left_hip right_hip left_knee right_knee left_ankle right_ankle left_heel
        right_heel left_foot_index right_foot_index""",
}
CALLED_HERE = {
    **{"hip_center": "spine_base", "spine": "spine_mid", "shoulder_center": "spine_shoulder"},
    **{"torso": "spine_mid", "belly": "spine_mid", "face": "head"},
    **{"foot_index_left": "foot_left", "foot_index_right": "foot_right"},
}


def name_here(published: str) -> str:
    side = published.split("_")[0]
    name = f"{published.removeprefix(side + '_')}_{side}" if side in ("left", "right") else published
    return CALLED_HERE.get(name, name)


def bone_names(layout: SkeletonLayout) -> set[frozenset[str]]:
    return {frozenset((layout.joints[a], layout.joints[b])) for a, b in layout.bones}


def other_side(joint: str) -> str:
    if joint.endswith("_left"):
        return joint.removesuffix("_left") + "_right"
    return joint.removesuffix("_right") + "_left" if joint.endswith("_right") else joint


@pytest.mark.parametrize("name", PUBLISHED)
def test_joints_are_in_the_published_order(name):
    assert list(LAYOUTS[name].joints) == [name_here(joint) for joint in PUBLISHED[name].split()]


def test_lcrnet_joints_are_those_of_its_own_drawing():
    # LCR-Net names no joints; its demo draws these pairs on the left, on the right and across the body, and 12 as the head.
    drawn = {
        **{"left": [(9, 11), (7, 9), (1, 3), (3, 5)], "right": [(8, 10), (6, 8), (0, 2), (2, 4)]},
        "across": [(4, 5), (10, 11)],
    }
    named = {side: [(LCRNET_13.joints[a], LCRNET_13.joints[b]) for a, b in bones] for side, bones in drawn.items()}
    for side in ("left", "right"):
        limbs = (("elbow", "shoulder"), ("wrist", "elbow"), ("ankle", "knee"), ("knee", "hip"))
        assert named[side] == [(f"{a}_{side}", f"{b}_{side}") for a, b in limbs]
    assert named["across"] == [("hip_right", "hip_left"), ("shoulder_right", "shoulder_left")]
    assert LCRNET_13.index("head") == 12 and len(LCRNET_13) == 13


def test_every_layout_is_found_by_its_name():
    assert list(LAYOUTS) == [layout.name for layout in LAYOUTS.values()]
    assert {*PUBLISHED, "lcrnet_13"} == set(LAYOUTS)
    assert LAYOUTS["kinect_v2"] is KINECT_V2


@every_layout
def test_limbs_are_chains(layout):
    bones = bone_names(layout)
    for chain in (("shoulder", "elbow", "wrist", "hand", "hand_tip"), ("hip", "knee", "ankle", "foot")):
        present = [joint for joint in chain if f"{joint}_left" in layout.joints]
        if "heel_left" in layout.joints and "foot" in present:  # MediaPipe's foot: ankle, heel, toe.
            present.insert(present.index("foot"), "heel")
        assert len(present) >= 3
        for side in ("left", "right"):
            for a, b in pairwise(present):
                assert frozenset((f"{a}_{side}", f"{b}_{side}")) in bones


@every_layout
def test_limbs_hang_on_the_trunk_and_the_head_on_the_neck(layout):
    parent = {joint: layout.joints[p] if p >= 0 else None for joint, p in zip(layout.joints, layout.parents, strict=True)}
    trunk = {"spine_base", "spine_mid", "spine_shoulder", "neck", "hip_left", "shoulder_left", None}
    assert {parent[f"{joint}_{side}"] for joint in ("shoulder", "hip") for side in ("left", "right")} <= trunk
    head = "head" if "head" in parent else "nose"
    assert parent[head] in ("neck", "spine_shoulder", "shoulder_left")
    ends = ("hand_tip", "thumb", "index", "pinky", "foot", "mouth", "ear")
    assert not [joint for joint in parent.values() if joint and joint.startswith(ends)]


def test_roots_are_the_joints_nearest_to_the_middle_of_the_spine():
    roots = {layout.name: layout.joints[layout.root] for layout in LAYOUTS.values()}
    assert roots == {
        **dict.fromkeys(("kinect_v2", "kinect_v1", "sbu_15", "jhmdb_15"), "spine_mid"),
        "openpose_18": "neck",
        **dict.fromkeys(("lcrnet_13", "penn_13", "coco_17", "mediapipe_33"), "hip_left"),
    }


@every_layout
def test_mirror_pairs_are_all_joints_with_a_side(layout):
    pairs = [(layout.joints[left], layout.joints[right]) for left, right in layout.mirror_pairs]
    assert all(left.endswith("_left") and other_side(left) == right for left, right in pairs)
    assert sorted(joint for pair in pairs for joint in pair) == sorted(j for j in layout.joints if other_side(j) != j)


@every_layout
def test_trees_are_symmetric_but_for_the_trunk_of_layouts_without_spine(layout):
    bones = bone_names(layout)
    lopsided = bones - {frozenset(map(other_side, bone)) for bone in bones}
    if layout.joints[layout.root] == "hip_left":
        head = "head" if "head" in layout.joints else "nose"
        assert lopsided == {frozenset(("hip_left", "shoulder_left")), frozenset(("shoulder_left", head))}
    else:
        assert not lopsided


# torso, each arm, each leg; counted by hand in the published lists.
SIZES = {
    **{"kinect_v2": (5, 6, 4), "kinect_v1": (4, 4, 4), "sbu_15": (3, 3, 3), "lcrnet_13": (1, 3, 3), "penn_13": (1, 3, 3)},
    **{"jhmdb_15": (3, 3, 3), "coco_17": (5, 3, 3), "openpose_18": (6, 3, 3), "mediapipe_33": (11, 6, 5)},
}
ARM = ("shoulder", "elbow", "wrist", "hand", "hand_tip", "thumb", "index", "pinky")
LEG = ("hip", "knee", "ankle", "foot", "heel")


@every_layout
def test_parts_are_torso_arms_and_legs(layout):
    torso, arm, leg = SIZES[layout.name]
    names = {part: [layout.joints[j] for j in members] for part, members in layout.parts}
    sizes = {"torso": torso, "left_arm": arm, "right_arm": arm, "left_leg": leg, "right_leg": leg}
    assert {part: len(members) for part, members in names.items()} == sizes
    for part, kinds in (("arm", ARM), ("leg", LEG)):
        for side in ("left", "right"):
            assert {joint.removesuffix(f"_{side}") for joint in names[f"{side}_{part}"]} <= set(kinds)


@every_layout
def test_hands_are_the_hands_or_else_the_wrists(layout):
    kind = "hand" if "hand_left" in layout.joints else "wrist"
    assert [layout.joints[j] for j in layout.hands] == [f"{kind}_left", f"{kind}_right"]


# Real bodies, (frames, J, 2 or 3) with y upwards: in a wrong order of joints bones differ between the sides, and a joint is
# nearer to the other side's limb than to its own.


def sbu_bodies(folder) -> np.ndarray:
    rows = [np.loadtxt(file, delimiter=",", ndmin=2)[:, 1:] for file in sorted(folder.rglob("skeleton_pos.txt"))[::10]]
    x, y, z = np.moveaxis(np.concatenate(rows).reshape(-1, 15, 3), -1, 0)
    return np.stack([1280 - 2560 * x, 960 - 1920 * y, 10000 * z / 7.8125], axis=-1)


def nwucla_bodies(folder) -> np.ndarray:
    files = sorted(folder.rglob("*_v01.json"))[::10]
    return np.concatenate([np.array(json.loads(file.read_text())["skeletons"]).reshape(-1, 20, 3) for file in files])


def penn_bodies(folder) -> np.ndarray:
    clips = []
    for file in sorted(folder.rglob("labels/*.mat"))[::20]:
        labels = loadmat(file)
        pixels = np.stack([labels["x"], -labels["y"].astype(float)], axis=-1)
        clips.append(np.where(labels["visibility"][..., None] > 0, pixels, np.nan))
    return np.concatenate(clips)


def jhmdb_bodies(folder) -> np.ndarray:
    files = sorted(folder.rglob("*joint_positions.mat"))
    return np.concatenate([np.transpose(loadmat(file)["pos_img"], (2, 1, 0)) * [1, -1] for file in files])


REAL = {
    "sbu_skeletons": (SBU_15, sbu_bodies),
    "nwucla_skeletons": (KINECT_V1, nwucla_bodies),
    "penn_action_labels": (PENN_13, penn_bodies),
    "jhmdb_splits": (JHMDB_15, jhmdb_bodies),
}


@pytest.mark.parametrize("archive", REAL)
def test_bones_of_real_bodies_have_their_sides_and_heights(archive, real_archive):
    layout, read = REAL[archive]
    bodies = read(real_archive(archive))

    def median_length(a: str, b: str) -> float:
        bones = bodies[:, layout.index(a)] - bodies[:, layout.index(b)]
        return float(np.nanmedian(np.linalg.norm(bones, axis=-1)))

    hand, foot = ("hand", "foot") if layout is SBU_15 else ("wrist", "ankle")
    for a, b in (("shoulder", "elbow"), ("elbow", hand), ("hip", "knee"), ("knee", foot)):
        left, right = (median_length(f"{a}_{side}", f"{b}_{side}") for side in ("left", "right"))
        crossed = [median_length(f"{a}_left", f"{b}_right"), median_length(f"{a}_right", f"{b}_left")]
        assert left == pytest.approx(right, rel=0.15)
        assert max(left, right) < min(crossed)
    heights = np.nanmedian(bodies[..., 1], axis=0)
    for side in ("left", "right"):
        falling = ("head", *(f"{joint}_{side}" for joint in ("shoulder", "hip", "knee", foot)))
        assert all(heights[layout.index(a)] > heights[layout.index(b)] for a, b in pairwise(falling))
