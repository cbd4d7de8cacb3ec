"""A small data root with a clip for every fault, a CNN of two convolutions, and experiments with RPAN that take seconds."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from unittest.mock import patch

import keras
import numpy as np

from keras_actrec.backbones.frame_networks import FrameBackboneConfig
from keras_actrec.datasets.ntu_skeleton import read_ntu_skeleton, write_ntu_skeleton
from keras_actrec.errors import WeightsError
from keras_actrec.models.rpan_config import RPANConfig, preset
from keras_actrec.recipes.rpan.experiment import PAPER_STAGE, RPANExperiment
from keras_actrec.synthetic.dataset import SyntheticConfig, synthetic_clips, write_synthetic_ntu
from keras_actrec.video.decode import VideoReader
from keras_actrec.video.frame_clips import FrameClipConfig
from keras_actrec.video.optical_flow import FlowConfig
from keras_actrec.video.write import write_video
from tests.datasets.test_jhmdb import write_joints, write_lists
from tests.recipes.tiny import skeleton_file, video_file

# Cross-subject trains on subjects 1 and 2 and tests on 3.
SYNTHETIC = SyntheticConfig(subjects=(1, 2, 3), cameras=(1,), frames=(9, 12), width=128, height=72)
PICTURE, FRAMES, VIEWS = (32, 48), 2, 2
CUBE, POOLED = (4, 6, 5), 7
LAYOUT = "jhmdb_15"

_NAMES = {(clip.subject, clip.action): clip.name for clip in synthetic_clips(SYNTHETIC)}
CUT_SKELETON, JUNK_VIDEO, SHORT_VIDEO, NO_VIDEO = _NAMES[1, 2], _NAMES[2, 3], _NAMES[3, 6], _NAMES[3, 4]
# clip → stage that notices, where there is optical flow; file, what the reason says
FAULTS = {
    CUT_SKELETON: ("poses", skeleton_file, "the file ends too early"),
    JUNK_VIDEO: ("flow", video_file, "the video does not open"),
    SHORT_VIDEO: ("flow", video_file, "the video ends before the last frame of its skeleton"),
    NO_VIDEO: ("index", skeleton_file, "no video file"),
}
UNPLACED = (_NAMES[2, 5], _NAMES[3, 5])
"""A training clip and a test clip whose skeletons do not say where the joints are in the video."""
TRAINED, TESTED = (
    tuple(name for (subject, _), name in _NAMES.items() if (subject == 3) == test and name not in FAULTS)
    for test in (False, True)
)
HELD_OUT = 2
"""Clips of the training side: 15 % of 16."""
NETWORK = FrameBackboneConfig(picture_size=PICTURE, weights="random")
STAGE = replace(PAPER_STAGE, learning_rate=0.01, batch_size=6, epochs=2, step_epochs=1)
ONE_STEP = replace(STAGE, epochs=1, batch_size=len(TRAINED) - HELD_OUT)


def tiny_network(config: FrameBackboneConfig) -> keras.Model:
    """(H, W, C) → cube (H / 8, W / 8, 5), and a pooled feature of 7 values."""
    picture = keras.Input((*config.picture_size, config.channels), name="picture")
    kernels = [keras.initializers.HeNormal(config.seed + k) for k in range(2)]
    x = keras.layers.Conv2D(CUBE[2], 8, 8, kernel_initializer=kernels[0], name="first")(picture)
    cube = keras.layers.ReLU(name="cube")(keras.layers.BatchNormalization(name="norm")(x))
    last = keras.layers.Conv2D(POOLED, 2, 2, kernel_initializer=kernels[1], name="second")(cube)
    return keras.Model(picture, {"cube": cube, "pooled": keras.layers.GlobalAveragePooling2D()(last)}, name="backbone")


def build_tiny(config: FrameBackboneConfig, weights: Sequence[np.ndarray] | None = None) -> keras.Model:
    """In place of `build_frame_backbone`: ImageNet's weights cannot be had."""
    model = tiny_network(config)
    if weights is not None:
        model.set_weights(list(weights))
    elif config.weights == "imagenet":
        raise WeightsError("the ImageNet weights of resnet50 cannot be had: no network")
    elif config.weights != "random":
        if not Path(config.weights).is_file():
            raise WeightsError("there is no such weights file", file=config.weights)
        model.load_weights(config.weights)
    model.trainable = False
    return model


def small_preset(name: str, classes: int) -> RPANConfig:
    """In place of `preset`: a network of few units."""
    return replace(preset(name, classes), units=6, attention_units=4)


@contextmanager
def small() -> Iterator[None]:
    """Small networks in place of those of the package, wherever the recipe asks for them."""
    with (
        patch("keras_actrec.recipes.rpan.run.build_frame_backbone", build_tiny),
        patch("keras_actrec.extraction.frame_cubes.build_frame_backbone", build_tiny),
        patch("keras_actrec.recipes.rpan.experiment.preset", small_preset),
    ):
        yield


def write_root(root: Path) -> None:
    """27 clips of 9 classes, of which those of FAULTS cannot be used and those of UNPLACED have joints in metres alone."""
    write_synthetic_ntu(root, SYNTHETIC, workers=1, progress=False)
    cut = skeleton_file(root, CUT_SKELETON)
    cut.write_bytes(b"".join(cut.read_bytes().splitlines(keepends=True)[:40]))
    video_file(root, JUNK_VIDEO).write_bytes(np.random.default_rng(0).bytes(5000))
    short = video_file(root, SHORT_VIDEO)
    with VideoReader(short) as video:
        frames = list(video.frames())
    write_video(short, frames[:-1], 30)
    video_file(root, NO_VIDEO).unlink()
    for clip in UNPLACED:
        file = skeleton_file(root, clip)
        write_ntu_skeleton(file, replace(read_ntu_skeleton(file), pixels=None))


def write_jhmdb(root: Path, *, joints: bool = False) -> Path:
    """12 clips of "catch" and "wave" in JHMDB's formats, of 9 frames; each split tests two of each class."""
    rng = np.random.default_rng(0)
    for action in ("catch", "wave"):
        clips = [f"{action}{k}" for k in range(6)]
        splits = (" ".join(f"{clip}{2 if k // 2 == split else 1}" for k, clip in enumerate(clips)) for split in range(3))
        write_lists(root, action, *splits)
        for clip in clips:
            video = root / "ReCompress_Videos" / action / f"{clip}.avi"
            video.parent.mkdir(parents=True, exist_ok=True)
            write_video(video, rng.integers(0, 255, (9, 48, 64, 3), np.uint8), 30)
            if joints:
                write_joints(root / "joint_positions" / action / clip / "joint_positions.mat", rng.uniform(0, 48, (2, 15, 9)))
    return root


def tiny_rpan(workdir: Path, **changes) -> RPANExperiment:
    """Both streams end to end, unless the changes say otherwise. The batch does not divide the clips that train."""
    fields = {
        "layout": LAYOUT,
        "backbone": NETWORK,
        "clips": FrameClipConfig(frames=FRAMES, picture_size=PICTURE, views=VIEWS),
        "flow": FlowConfig(picture_size=PICTURE, preset="ultrafast"),
        "stage": STAGE,
        "holdout": 0.15,
    }
    return RPANExperiment(workdir, **{**fields, **changes})
