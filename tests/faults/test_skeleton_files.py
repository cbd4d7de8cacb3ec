"""Mutated pose files of every data set: a sequence without infinite values, or the documented error; no hang, no warning."""

from __future__ import annotations

import json
import re
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from scipy.io import savemat

from keras_actrec.datasets import pose_files
from keras_actrec.datasets.jhmdb import read_jhmdb_skeleton
from keras_actrec.datasets.msr_daily import read_msr_daily_skeleton
from keras_actrec.datasets.ntu_skeleton import read_ntu_skeleton, write_ntu_skeleton
from keras_actrec.datasets.nucla import read_nucla_frames, read_nucla_json
from keras_actrec.datasets.penn_action import read_penn_skeleton
from keras_actrec.datasets.pose_files import read_pose_file
from keras_actrec.datasets.sbu import read_sbu_skeleton
from keras_actrec.datasets.smarthome import read_smarthome_skeleton
from keras_actrec.errors import SkeletonFormatError
from keras_actrec.skeletons.layouts import KINECT_V2
from keras_actrec.skeletons.sequence import SkeletonSequence
from tests.faults.mutations import bounded, outcomes

FRAMES = 4


def _rng() -> np.random.Generator:
    return np.random.default_rng(7)


def _ntu(path: Path) -> None:
    rng = _rng()
    shape = (FRAMES, 2, 25)
    joints, pixels = rng.normal(0, 1, (*shape, 3)), rng.uniform(0, 1920, (*shape, 2))
    joints[1, 1] = np.nan  # a body that goes and comes back
    write_ntu_skeleton(path, SkeletonSequence(joints.astype(np.float32), KINECT_V2, pixels.astype(np.float32)))


def _sbu(path: Path) -> None:
    rows = _rng().uniform(0, 1, (FRAMES, 90)).round(5)
    lines = [",".join([str(frame), *map(str, row)]) for frame, row in enumerate(rows, start=1)]
    path.write_text("\r\n".join([*lines, ""]))


def _nucla_json(path: Path) -> None:
    path.write_text(json.dumps({"file_name": path.stem, "skeletons": _rng().normal(0, 1, (FRAMES, 20, 3)).round(5).tolist()}))


def _nucla_frame(path: Path) -> None:
    lines = ["1", *(",".join([*map(str, row), "2"]) for row in _rng().normal(0, 1, (20, 3)).round(5))]
    path.write_text("\n".join([*lines, ""]))


def _smarthome(path: Path) -> None:
    rng = _rng()
    people = [{"pose3d": rng.normal(0, 1, 39).round(5).tolist(), "pose2d": rng.uniform(0, 640, 26).round(3).tolist()}] * 2
    path.write_text(json.dumps({"njts": 13, "frames": [people, [], people[:1], people]}))


def _msr_daily(path: Path) -> None:
    rows = _rng().uniform(0, 1, (FRAMES, 40, 4)).round(5)
    frames = ["\n".join(["40", *(" ".join(map(str, row)) for row in frame)]) for frame in rows]
    path.write_text("\n".join([f"{FRAMES} 20", *frames, ""]))


def _jhmdb(path: Path, *, compressed: bool = True) -> None:
    values = _rng().uniform(0, 320, (2, 15, FRAMES))
    _savemat(path, {"pos_img": values, "pos_world": values, "viewpoint": "S"}, compressed)


def _penn(path: Path, *, compressed: bool = True) -> None:
    x, y = _rng().uniform(1, 320, (2, FRAMES, 13))
    fields = {"x": x, "y": y, "visibility": np.ones((FRAMES, 13), np.uint8), "nframes": FRAMES, "action": "bowl", "train": 1}
    _savemat(path, fields, compressed)


def _savemat(path: Path, fields: dict, compressed: bool) -> None:
    savemat(path, fields, do_compression=compressed)
    data = path.read_bytes()
    path.write_bytes(b"MATLAB 5.0 MAT-file".ljust(116) + data[116:])  # without the date, so that mutations are the same


def _coco(path: Path) -> None:
    points = _rng().uniform(0, 640, (FRAMES, 2, 17, 3)).round(3)
    entries = [
        {"image_id": frame, "category_id": 1, "keypoints": body.ravel().tolist(), "score": 0.9, "track_id": number}
        for frame, bodies in enumerate(points)
        for number, body in enumerate(bodies)
    ]
    path.write_text(json.dumps(entries))


def _alphapose(path: Path) -> None:
    points = _rng().uniform(0, 640, (FRAMES, 17, 3)).round(3)
    entries = [{"image_id": f"{n}.jpg", "keypoints": body.ravel().tolist(), "idx": [0.0]} for n, body in enumerate(points)]
    path.write_text(json.dumps(entries))


def _mediapipe(path: Path) -> None:
    points = _rng().uniform(0, 1, (FRAMES, 33, 4)).round(4)
    poses = [[[dict(zip(("x", "y", "z", "visibility"), point, strict=True)) for point in body.tolist()]] for body in points]
    frames = [{"pose_landmarks": pose, "pose_world_landmarks": pose} for pose in poses]
    path.write_text(json.dumps({"width": 640, "height": 480, "frames": frames}))


def _mmpose(path: Path) -> None:
    points = _rng().uniform(0, 640, (FRAMES, 17, 2)).round(3).tolist()
    people = [{"keypoints": body, "keypoint_scores": [0.9] * 17} for body in points]
    frames = [{"frame_id": n, "instances": [person]} for n, person in enumerate(people)]
    path.write_text(json.dumps({"instance_info": frames}))


def _own(path: Path) -> None:
    points = _rng().uniform(0, 640, (FRAMES, 51)).round(3).tolist()
    frames = [{"people": [{"id": 3, "keypoints": body}]} for body in points]
    path.write_text(json.dumps({"layout": "coco_17", "frames": frames}))


def _openpose(path: Path) -> None:
    people = [{"person_id": [-1], "pose_keypoints_2d": _rng().uniform(2, 640, 75).round(3).tolist()}] * 2
    path.write_text(json.dumps({"version": 1.3, "people": people}))


def _npz(path: Path, *, save: Callable = np.savez) -> None:
    joints = _rng().normal(0, 1, (FRAMES, 1, 25, 3)).astype(np.float32)
    save(path, joints=joints, pixels=joints[..., :2], layout="kinect_v2")


def _folder(read: Callable) -> Callable:
    """A reader of a folder, called with one of its files."""
    return lambda path: read(path.parent)


@dataclass(frozen=True)
class Form:
    """A form of pose files: writes a sound one, reads one, and its file name."""

    write: Callable[[Path], None]
    read: Callable[[Path], SkeletonSequence]
    name: str
    text: bool = True


FORMS = {
    "ntu": Form(_ntu, read_ntu_skeleton, "S001C001P001R001A001.skeleton"),
    "sbu": Form(_sbu, read_sbu_skeleton, "skeleton_pos.txt"),
    "nucla_json": Form(_nucla_json, read_nucla_json, "a01_s02_e03_v01.json"),
    "nucla_frames": Form(_nucla_frame, _folder(read_nucla_frames), "frame_1_tc_2_skeletons.txt"),
    "smarthome": Form(_smarthome, read_smarthome_skeleton, "Walk_p02_r00_v01_c01_pose3d.json"),
    "msr_daily": Form(_msr_daily, read_msr_daily_skeleton, "a01_s01_e01_skeleton.txt"),
    "jhmdb": Form(_jhmdb, read_jhmdb_skeleton, "joint_positions.mat", text=False),
    "jhmdb_plain": Form(partial(_jhmdb, compressed=False), read_jhmdb_skeleton, "joint_positions.mat", text=False),
    "penn": Form(_penn, read_penn_skeleton, "0001.mat", text=False),
    "penn_plain": Form(partial(_penn, compressed=False), read_penn_skeleton, "0001.mat", text=False),
    "coco": Form(_coco, read_pose_file, "coco.json"),
    "alphapose": Form(_alphapose, read_pose_file, "alphapose.json"),
    "mediapipe": Form(_mediapipe, read_pose_file, "mediapipe.json"),
    "mmpose": Form(_mmpose, read_pose_file, "mmpose.json"),
    "own": Form(_own, read_pose_file, "own.json"),
    "openpose": Form(_openpose, _folder(read_pose_file), "clip_000000000000_keypoints.json"),
    "npz": Form(_npz, read_pose_file, "clip.npz", text=False),
    "npz_compressed": Form(partial(_npz, save=np.savez_compressed), read_pose_file, "clip.npz", text=False),
}


def check(form: Form, folder: Path, *, count: int, seed: int) -> tuple[int, int]:
    path = folder / form.name
    form.write(path)
    form.read(path)
    whole = path.read_bytes()

    def read(data: bytes) -> None:
        path.write_bytes(data)
        sequence = form.read(path)
        frames, people, joints, axes = sequence.joints.shape
        assert frames >= 1 and joints == len(sequence.layout) and axes == 3
        assert sequence.joints.dtype == np.float32 and not np.isinf(sequence.joints).any()
        if sequence.pixels is not None:
            assert sequence.pixels.shape == (frames, people, joints, 2) and not np.isinf(sequence.pixels).any()

    return outcomes(whole, read, count=count, seed=seed, allowed=SkeletonFormatError, text=form.text)


@pytest.mark.parametrize("form", FORMS)
def test_mutated_files(form, tmp_path):
    sound, refused = check(FORMS[form], tmp_path, count=300 if form == "ntu" else 60, seed=1)
    assert refused > sound / 4  # most faults are seen; some change a digit


BODY_INFO = "0 1 1 1 1 0 0 0 2"
JOINT = "0.1 0.2 3 0 0 100 200 0 0 0 0 2"


def _body_in_each_of(path: Path) -> None:
    """NTU: in each of many frames six bodies that are in no other."""
    frames = [["6", *(f"{6 * n + i} {BODY_INFO}\n25\n" + "\n".join([JOINT] * 25) for i in range(6))] for n in range(700)]
    path.write_text("\n".join(["700", *("\n".join(frame) for frame in frames)]))


def _people_far_apart(path: Path) -> None:
    """COCO results: 100 people in the first frame and one in frame 199,999."""
    entry = {"category_id": 1, "keypoints": [1.0] * 51, "score": 0.9}
    path.write_text(json.dumps([*({"image_id": 0, **entry} for _ in range(100)), {"image_id": 199_999, **entry}]))


def _crowd(path: Path) -> None:
    """Frames of thousands of people, whom nobody can tell apart in a reasonable time."""
    people = [{"keypoints": [float(n % 97)] * 51} for n in range(5000)]
    path.write_text(json.dumps({"layout": "coco_17", "frames": [{"people": people}] * 2}))


def _no_people_but_places(path: Path) -> None:
    """Smarthome: many frames, and one with a list of hundreds of thousands of things that are no people."""
    path.write_text(json.dumps({"njts": 13, "frames": [[], *[[]] * 50_000, [0] * 300_000]}))


def _shape_without_values(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive, archive.open("joints.npy", "w") as file:
        np.lib.format.write_array_header_1_0(file, {"descr": "<f4", "fortran_order": False, "shape": (1 << 40, 25, 3)})


@pytest.mark.parametrize(
    ("write", "read", "name", "words"),
    [
        (_body_in_each_of, read_ntu_skeleton, "a.skeleton", "700 frames, 4200 bodies"),
        (_people_far_apart, read_pose_file, "a.json", "200000 frames, 100 bodies"),
        (_crowd, read_pose_file, "a.json", "too many people in a frame (found 5000"),
        (_no_people_but_places, read_smarthome_skeleton, "a.json", "50002 frames, 300000 bodies"),
        (_shape_without_values, partial(read_pose_file, layout=KINECT_V2), "a.npz", "the archive cannot be read"),
    ],
    ids=["ntu", "coco", "crowd", "smarthome", "npz_shape"],
)
def test_small_files_that_ask_for_all_memory_or_time(write, read, name, words, tmp_path):
    path = tmp_path / name
    write(path)
    with bounded(), pytest.raises(SkeletonFormatError, match=re.escape(words)):
        read(path)


def test_an_archive_of_more_zeros_than_fit(tmp_path, monkeypatch):
    monkeypatch.setattr(pose_files, "LARGEST_ARRAY", 1 << 20)
    joints = np.zeros((8000, 25, 3), np.float32)
    path = tmp_path / "a.npz"
    np.savez_compressed(path, joints=joints)
    assert path.stat().st_size < 10_000
    with pytest.raises(SkeletonFormatError, match=r"joints\.npy: an array is too large \(found 2400128, expected 1048576\)"):
        read_pose_file(path, layout=KINECT_V2)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(10, 20))
def test_five_thousand_skeleton_files(seed, tmp_path):
    sound, refused = check(FORMS["ntu"], tmp_path, count=500, seed=seed)
    assert sound and refused > 250


@pytest.mark.slow
@pytest.mark.parametrize("form", sorted(set(FORMS) - {"ntu"}))
def test_hundreds_of_files_of_every_other_form(form, tmp_path):
    sound, refused = check(FORMS[form], tmp_path, count=400, seed=2)
    assert sound or refused
