"""A small data root in NTU's own formats with one clip for every fault, and an experiment small enough for a test."""

from __future__ import annotations

import itertools
import shutil
from pathlib import Path

import numpy as np

from keras_actrec.backbones.sensors import SensorConfig
from keras_actrec.recipes.sta_hands.two_stream import TwoStreamExperiment
from keras_actrec.synthetic.dataset import SKELETON_FOLDER, VIDEO_FOLDER, SyntheticConfig, synthetic_clips, write_synthetic_ntu
from keras_actrec.training.config import StageConfig
from keras_actrec.video.decode import VideoReader
from keras_actrec.video.write import write_video

# Cross-subject trains on subjects 1 and 2 and tests on 3.
SYNTHETIC = SyntheticConfig(subjects=(1, 2, 3), cameras=(1,), frames=(20, 22), width=480, height=270)
SENSOR = SensorConfig("resnet50", "random", image_size=32)
SHORT = 12
"""Frames of the video that was cut."""
CUT_LINES = 100
"""Lines of the skeleton that was cut."""

_NAMES = {(clip.subject, clip.action): clip.name for clip in synthetic_clips(SYNTHETIC)}
CUT_SKELETON, EMPTY_SKELETON, MALFORMED_SKELETON = _NAMES[1, 1], _NAMES[1, 2], _NAMES[2, 5]
SHORT_VIDEO, JUNK_VIDEO = _NAMES[2, 3], _NAMES[3, 4]
NO_VIDEO, NO_SKELETON = _NAMES[3, 5], _NAMES[3, 6]

# clip → stage that notices, ending of the file it names, what the reason says, the way out
FAULTS = {
    CUT_SKELETON: ("poses", ".skeleton", f"line {CUT_LINES + 1}: the file ends too early", "Get the file again"),
    EMPTY_SKELETON: ("poses", ".skeleton", "the file is empty", "Get the file again"),
    MALFORMED_SKELETON: ("poses", ".skeleton", "line 1: wrong frame count (found '20.5'", "Get the file again"),
    SHORT_VIDEO: (
        "hand_features",
        "_rgb.avi",
        f"frame {SHORT}: the video ends before the last frame",
        "belong to the same clip",
    ),
    JUNK_VIDEO: ("hand_features", "_rgb.avi", "the video does not open", "leave the clip out"),
    NO_VIDEO: ("index", ".skeleton", "no video file", "get it from the data set, or leave the clip out"),
    NO_SKELETON: ("index", "_rgb.avi", "no skeleton file", "get it from the data set, or leave the clip out"),
}
TRAINED = tuple(
    _NAMES[subject, action] for subject in (1, 2) for action in range(1, 10) if _NAMES[subject, action] not in FAULTS
)
TESTED = tuple(_NAMES[3, action] for action in range(1, 10) if _NAMES[3, action] not in FAULTS)


def skeleton_file(root: Path, clip_id: str) -> Path:
    return root / SKELETON_FOLDER / f"{clip_id}.skeleton"


def video_file(root: Path, clip_id: str) -> Path:
    return root / VIDEO_FOLDER / f"{clip_id}_rgb.avi"


def write_roots(whole: Path, root: Path) -> None:
    """27 clips; and the same in `root`, where those of FAULTS cannot be used."""
    write_synthetic_ntu(whole, SYNTHETIC, workers=2, progress=False)
    shutil.copytree(whole, root)
    cut = skeleton_file(root, CUT_SKELETON)
    cut.write_bytes(b"".join(cut.read_bytes().splitlines(keepends=True)[:CUT_LINES]))
    skeleton_file(root, EMPTY_SKELETON).write_bytes(b"")
    malformed = skeleton_file(root, MALFORMED_SKELETON)
    malformed.write_bytes(b"20.5\r\n" + malformed.read_bytes().split(b"\r\n", 1)[1])
    short = video_file(root, SHORT_VIDEO)
    with VideoReader(short) as video:
        frames = list(itertools.islice(video.frames(), SHORT))
    write_video(short, frames, 30)
    video_file(root, JUNK_VIDEO).write_bytes(np.random.default_rng(0).bytes(5000))
    video_file(root, NO_VIDEO).unlink()
    skeleton_file(root, NO_SKELETON).unlink()


def tiny_experiment(workdir: Path, data_root: Path | None) -> TwoStreamExperiment:
    """The real network, two epochs and one."""
    return TwoStreamExperiment(
        workdir=workdir,
        data_root=data_root,
        sensor=SENSOR,
        crop_size=25,
        pose_stage=StageConfig(name="pose", batch_size=8, epochs=2),
        rgb_stage=StageConfig(name="rgb", batch_size=8, epochs=1),
        holdout=0.1,
        strategy="mirrored",
        synthetic=SYNTHETIC,
    )
