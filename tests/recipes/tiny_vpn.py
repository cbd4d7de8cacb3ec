"""A small data root with a clip for every fault, a video network of two convolutions, and experiments that take seconds."""

from __future__ import annotations

from pathlib import Path

import keras
import numpy as np

from keras_actrec.backbones.visual import BackboneConfig
from keras_actrec.extraction.person_clips import PersonCropConfig
from keras_actrec.recipes.vpn.experiment import VPNExperiment
from keras_actrec.skeletons.clip_sampling import ClipSamplingConfig
from keras_actrec.synthetic.dataset import SyntheticConfig, synthetic_clips, write_synthetic_ntu
from keras_actrec.training.config import StageConfig
from tests.recipes.tiny import skeleton_file, video_file

# Cross-subject trains on subjects 1 and 2 and tests on 3.
SYNTHETIC = SyntheticConfig(subjects=(1, 2, 3), cameras=(1,), frames=(9, 12), width=128, height=72)
SIZE, LARGER, FRAMES, VIEWS = 16, 24, 4, 2
MAP = (2, 4, 4, 6)
NETWORK = "tests.recipes.tiny_vpn:tiny_network"

_NAMES = {(clip.subject, clip.action): clip.name for clip in synthetic_clips(SYNTHETIC)}
CUT_SKELETON, JUNK_VIDEO, NO_VIDEO = _NAMES[1, 2], _NAMES[2, 3], _NAMES[3, 4]
# clip → stage that notices, file, what the reason says
FAULTS = {
    CUT_SKELETON: ("poses", skeleton_file, "the file ends too early"),
    JUNK_VIDEO: ("person_clips", video_file, "the video does not open"),
    NO_VIDEO: ("index", skeleton_file, "no video file"),
}
TRAINED, TESTED = (
    tuple(name for (subject, _), name in _NAMES.items() if (subject == 3) == test and name not in FAULTS)
    for test in (False, True)
)


def tiny_network(config: BackboneConfig) -> keras.Model:
    """(F, S, S, 3) → (F / 2, S / 4, S / 4, 6). The norm is what random weights calibrate and what training moves."""
    clip = keras.Input((config.frames, config.image_size, config.image_size, 3), name="clip")
    seeds = (config.seed, config.seed + 1)
    kernels = [keras.initializers.HeNormal(seed) for seed in seeds]
    x = keras.layers.Conv3D(4, 3, (1, 2, 2), "same", use_bias=False, kernel_initializer=kernels[0], name="first")(clip)
    x = keras.layers.ReLU()(keras.layers.BatchNormalization(name="norm")(x))
    x = keras.layers.Conv3D(MAP[3], 3, 2, "same", kernel_initializer=kernels[1], name="second")(x)
    return keras.Model(clip, x, name="tiny")


def unseeded_network(config: BackboneConfig) -> keras.Model:
    """Other weights at every call."""
    clip = keras.Input((config.frames, config.image_size, config.image_size, 3), name="clip")
    return keras.Model(clip, keras.layers.Conv3D(MAP[3], 4, (2, 4, 4), "same")(clip), name="unseeded")


def other_network(config: BackboneConfig) -> keras.Model:
    """The map of `tiny_network`, from one layer."""
    clip = keras.Input((config.frames, config.image_size, config.image_size, 3), name="clip")
    kernel = keras.initializers.HeNormal(config.seed)
    return keras.Model(clip, keras.layers.Conv3D(MAP[3], 4, (2, 4, 4), "same", kernel_initializer=kernel)(clip), name="other")


def write_root(root: Path) -> None:
    """27 clips of 9 classes, of which those of FAULTS cannot be used."""
    write_synthetic_ntu(root, SYNTHETIC, workers=1, progress=False)
    cut = skeleton_file(root, CUT_SKELETON)
    cut.write_bytes(b"".join(cut.read_bytes().splitlines(keepends=True)[:40]))
    video_file(root, JUNK_VIDEO).write_bytes(np.random.default_rng(0).bytes(5000))
    video_file(root, NO_VIDEO).unlink()


def tiny_vpn(workdir: Path, **changes) -> VPNExperiment:
    """End to end on all 25 joints, unless the changes say otherwise. The batch does not divide the clips that train."""
    fields = {
        "backbone": BackboneConfig(NETWORK, frames=FRAMES, image_size=SIZE),
        "sampling": ClipSamplingConfig(frames=FRAMES, poses=4, views=VIEWS),
        "crop": PersonCropConfig(size=LARGER),
        "stage": StageConfig("vpn", learning_rate=1e-3, batch_size=6, epochs=2),
        "holdout": 0.15,
    }
    return VPNExperiment(workdir, **{**fields, **changes})
