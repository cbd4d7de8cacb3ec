"""Folders that OpenPose writes with --write_json."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from keras_actrec.datasets.pose_files import read_pose_file
from keras_actrec.skeletons.layouts import COCO_17, OPENPOSE_18
from tests.datasets.poses import assert_flat, keypoints, points, refused, save, starts


def openpose(folder: Path, *frames: list[dict], numbers=None, name: str = "clip") -> Path:
    for number, people in zip(numbers or range(len(frames)), frames, strict=True):
        save(folder / f"{name}_{number:012d}_keypoints.json", {"version": 1.3, "people": people})
    return folder


def openpose_person(x: float, joints: int, person_id: int = -1) -> dict:
    empty = {key: [] for key in ("face_keypoints_2d", "hand_left_keypoints_2d", "pose_keypoints_3d")}
    return {"person_id": [person_id], "pose_keypoints_2d": keypoints(x, joints)} | empty


def test_openpose_coco_model(tmp_path):
    person = openpose_person(30, 18)
    person["pose_keypoints_2d"][-3:] = [0, 0, 0]
    people = ([person], [], [openpose_person(33, 18), openpose_person(600, 18)], [openpose_person(601, 18)])
    sequence = read_pose_file(openpose(tmp_path / "a", *people))
    assert sequence.layout is OPENPOSE_18 and sequence.body_ids == ()
    assert starts(sequence) == [[30, None], [None, None], [33, 600], [None, 601]]
    assert_flat(sequence, 2, 0, points(33, 18))
    assert np.isnan(sequence.joints[0, 0, 17]).all()


def test_openpose_body_25(tmp_path):
    # Names of OpenPose's doc/02_output.md against those of the layout.
    body_25 = [
        "Nose", "Neck", "RShoulder", "RElbow", "RWrist", "LShoulder", "LElbow", "LWrist", "MidHip", "RHip", "RKnee", "RAnkle",
        "LHip", "LKnee", "LAnkle", "REye", "LEye", "REar", "LEar",
        "LBigToe", "LSmallToe", "LHeel", "RBigToe", "RSmallToe", "RHeel",
    ]  # fmt: skip
    sequence = read_pose_file(openpose(tmp_path / "a", [openpose_person(100, 25)]))
    for joint, x in zip(OPENPOSE_18.joints, sequence.pixels[0, 0, :, 0], strict=True):
        place, _, side = joint.partition("_")
        assert body_25[int(x) - 100] == side[:1].upper() + place.capitalize()


def test_openpose_with_tracking(tmp_path):
    people = ([openpose_person(10, 25, 4), openpose_person(90, 25, 2)], [openpose_person(91, 25, 4)])
    sequence = read_pose_file(openpose(tmp_path / "a", *people))
    assert starts(sequence) == [[10, 90], [91, None]] and sequence.body_ids == (4, 2)


def test_openpose_every_third_frame_and_images(tmp_path):
    people = [[openpose_person(float(x), 18)] for x in range(2, 5)]
    assert starts(read_pose_file(openpose(tmp_path / "a", *people, numbers=(0, 3, 6)))) == [[2], [3], [4]]
    for name, frame in zip("abc", people, strict=True):
        save(tmp_path / "b" / f"{name}_keypoints.json", {"people": frame})
    assert starts(read_pose_file(tmp_path / "b")) == [[2], [3], [4]]


def test_openpose_without_a_body(tmp_path):
    folder = openpose(tmp_path / "a", [{"pose_keypoints_2d": [], "face_keypoints_2d": [1.0, 2.0, 0.9]}])
    assert read_pose_file(folder).joints.shape == (1, 0, 18, 3)


def test_bad_openpose(tmp_path):
    (tmp_path / "empty").mkdir()
    refused(tmp_path / "empty", r"holds no poses.*\*_keypoints.json")
    person = openpose_person(5, 18)
    refused(openpose(tmp_path / "gap", [person], [person], [person], numbers=(0, 1, 3)), "missing.*none between 1 and 3")
    openpose(tmp_path / "two", [person])
    refused(openpose(tmp_path / "two", [person], name="other"), "more than one clip")
    mpi = openpose(tmp_path / "mpi", [openpose_person(5, 15)])
    assert refused(mpi, "45 values.*54.*75").file.endswith("clip_000000000000_keypoints.json")
    refused(openpose(tmp_path / "none", [{}]), "person 0, pose_keypoints_2d: not the body of a model.*None")
    refused(openpose(tmp_path / "words", [{"pose_keypoints_2d": ["a"] * 54}]), "pose_keypoints_2d: wrong coordinates")
    small = {"pose_keypoints_2d": [0.5, 0.2, 0.9] * 18}
    refused(openpose(tmp_path / "scaled", [small]), "no pixels.*keypoint_scale")
    folder = openpose(tmp_path / "cut", [person])
    (folder / "clip_000000000000_keypoints.json").write_text('{"version": 1.3, "peo')
    refused(folder, "not JSON, or cut short")
    (folder / "clip_000000000000_keypoints.json").write_text("[]")
    refused(folder, "wrong people")
    refused(openpose(tmp_path / "coco", [person]), "another layout.*openpose_18", layout=COCO_17)


def test_one_frame_of_openpose_is_no_clip(tmp_path):
    refused(save(tmp_path / "a.json", {"version": 1.3, "people": [openpose_person(5, 18)]}), "one frame of OpenPose.*folder")
