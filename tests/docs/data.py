"""Small data in the formats and under the names of the documentation: /data/ntu, /data/sbu, clips.csv, weights files …

Each function gets the folder that it fills. Values are drawn; only formats, names and splits are those of the data sets.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np

from keras_actrec.datasets.ntu_skeleton import read_ntu_skeleton
from keras_actrec.synthetic.dataset import SyntheticConfig, write_synthetic_ntu
from keras_actrec.video.write import write_video
from tests.datasets import test_jhmdb, test_nucla, test_nucla_images, test_penn_action, test_smarthome
from tests.recipes import small_data

FRAMES = 9
SIZE = (48, 64)
"""Height and width of made videos."""

SYNTHETIC = SyntheticConfig(subjects=(1, 3), cameras=(1, 2), frames=(12, 14), width=256, height=144)
"""Cross-subject tests on subject 3, cross-view on camera 1."""


def ntu(root: Path) -> None:
    """36 clips of nine classes."""
    write_synthetic_ntu(root, SYNTHETIC, workers=1, progress=False)


def ntu120(root: Path) -> None:
    """Set-ups 1 and 2, so that both sides of cross-setup have clips."""
    config = SyntheticConfig(subjects=(1, 2, 3, 4), cameras=(1,), frames=(9, 10), width=128, height=72)
    write_synthetic_ntu(root, config, workers=1, progress=False)


def jhmdb(root: Path) -> None:
    """12 clips of two classes that JHMDB and Sub-JHMDB have; each split tests two of each class."""
    rng = np.random.default_rng(0)
    for action in ("catch", "jump"):
        clips = [f"{action}{k}" for k in range(6)]
        splits = [" ".join(f"{clip}{2 if k // 2 == split else 1}" for k, clip in enumerate(clips)) for split in range(3)]
        test_jhmdb.write_lists(root, action, *splits)
        test_jhmdb.write_lists(root, action, *splits, folder="sub_splits", mark="_")
        for clip in clips:
            joints = root / "joint_positions" / action / clip / "joint_positions.mat"
            test_jhmdb.write_joints(joints, rng.uniform(0, SIZE[0], (2, 15, FRAMES)))
            video(root / "ReCompress_Videos" / action / f"{clip}.avi", rng)


def penn(root: Path) -> None:
    """8 clips of two classes, half of them for the test."""
    rng = np.random.default_rng(0)
    for number in range(1, 9):
        name = f"{number:04}"
        values = test_penn_action.annotation(FRAMES) | {
            "action": ("squat", "bowl")[number % 2],
            "train": 1 if number <= 4 else -1,
            "dimensions": np.array([[*SIZE, FRAMES]], np.uint16),
            "x": rng.uniform(3, SIZE[1], (FRAMES, 13)),
            "y": rng.uniform(3, SIZE[0], (FRAMES, 13)),
        }
        test_penn_action.write(root, name, **values)
        images = root / "frames" / name
        images.mkdir(parents=True)
        for frame, image in enumerate(pictures(rng), start=1):
            cv2.imwrite(str(images / f"{frame:06}.jpg"), image)


def nucla(root: Path) -> None:
    """24 clips of two classes before three cameras in the data set's own form, with images."""
    rng = np.random.default_rng(0)
    for view in (1, 2, 3):
        for action in (1, 2):
            for subject in (1, 2, 3, 4):
                frames = {n: test_nucla_images.standing(0.1 * n + 0.02 * subject) for n in range(1, FRAMES + 1)}
                folder = test_nucla.write_frames(root, frames, f"view_{view}/a{action:02}_s{subject:02}_e00")
                for number in frames:
                    image = cv2.resize(rng.integers(0, 255, (*SIZE, 3), np.uint8), (640, 480))
                    cv2.imwrite(str(folder / f"frame_{number}_tc_{900 + number}_rgb.jpg"), image)


def sbu(root: Path) -> None:
    """42 clips of two classes and five folds."""
    small_data.write_sbu(root)


def smarthome(root: Path) -> None:
    """8 clips of two activities; people 2 and 10 are for the test."""
    rng = np.random.default_rng(0)
    for activity in ("Walk", "Enter"):
        for subject in (2, 3, 4, 10):
            movie, skeletons = test_smarthome.pair(f"{activity}_p{subject:02}_r00_v02_c06")
            test_smarthome.touch(root, movie, skeletons)
            frames = []
            for _ in range(FRAMES):
                pixels = [*rng.uniform(5, 60, 13), *rng.uniform(5, 45, 13)]
                frames.append([test_smarthome.person(pose2d=pixels, pose3d=rng.uniform(100, 900, 39).tolist())])
            test_smarthome.write(root / skeletons, frames)
            video(root / movie, rng)


def own(root: Path) -> None:
    """clips.csv with 12 clips of two classes, their videos and poses of COCO's 17 joints; anna_01 to ben_06."""
    rng = np.random.default_rng(0)
    rows = ["clip,label,video,skeleton,split,split_camera,subject,camera,frame_rate"]
    for number in range(12):
        name = f"{('anna', 'ben')[number % 2]}_{number // 2 + 1:02}"
        video(root / "videos" / f"{name}.mp4", rng)
        people = [{"people": [{"id": 0, "keypoints": coco(rng)}]} for _ in range(FRAMES)]
        save_json(root / "poses" / f"{name}.json", {"layout": "coco_17", "frames": people})
        sides = [("train", "test")[number >= 8], ("train", "test")[number % 3 == 0]]
        label = ("pour", "stir")[number // 2 % 2]
        rows.append(f"{name},{label},videos/{name}.mp4,poses/{name}.json,{','.join(sides)},{number % 2},{number % 3},30")
    (root / "clips.csv").write_text("\n".join(rows) + "\n")


def clip(root: Path) -> None:
    """clip.mp4, its poses clip.json, and a clip of the NTU data as CLIP_rgb.avi and CLIP.skeleton."""
    made = root / "made_ntu"
    config = SyntheticConfig(subjects=(3,), cameras=(1,), frames=(12, 14), width=256, height=144, faults=False)
    write_synthetic_ntu(made, config, workers=1, progress=False)
    skeleton = sorted(made.rglob("*A001.skeleton"))[0]
    assert read_ntu_skeleton(skeleton).length >= 12
    shutil.copy(skeleton, root / "CLIP.skeleton")
    movie = sorted(made.rglob("*A001_rgb.avi"))[0]
    shutil.copy(movie, root / "CLIP_rgb.avi")
    shutil.copy(skeleton, root / "clip.skeleton")
    capture = cv2.VideoCapture(str(movie))
    images = []
    while (read := capture.read())[0]:
        images.append(cv2.cvtColor(read[1], cv2.COLOR_BGR2RGB))
    write_video(root / "clip.mp4", images, 30)
    shutil.rmtree(made)


def video(path: Path, rng: np.random.Generator) -> None:
    """A video of drawn pictures."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_video(path, pictures(rng), 30)


def pictures(rng: np.random.Generator) -> np.ndarray:
    """(9, 48, 64, 3), a coarse pattern that moves."""
    still = np.kron(rng.integers(0, 255, (6, 8, 3)), np.ones((8, 8, 1))).astype(np.uint8)
    return np.stack([np.roll(still, 2 * k, axis=1) for k in range(FRAMES)])


def coco(rng: np.random.Generator) -> list[float]:
    """Flat x, y, confidence of 17 joints."""
    values = np.concatenate([rng.uniform((5, 5), (60, 45), (17, 2)), np.full((17, 1), 0.9)], axis=1)
    return values.round(2).ravel().tolist()


def save_json(path: Path, content: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))


ROOTS: dict[str, Callable[[Path], None]] = {
    "ntu": ntu,
    "ntu120": ntu120,
    "jhmdb": jhmdb,
    "Penn_Action": penn,
    "nucla": nucla,
    "sbu": sbu,
    "smarthome": smarthome,
}
"""Name of the folder in /data → what fills it."""
