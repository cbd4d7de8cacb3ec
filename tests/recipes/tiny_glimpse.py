"""A small data root with a clip for every fault, a backbone of two convolutions, and experiments that take seconds."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from unittest.mock import patch

import keras
import numpy as np

from keras_actrec.backbones.inflated_resnet import InflatedResNetConfig
from keras_actrec.datasets.ntu_skeleton import read_ntu_skeleton, write_ntu_skeleton
from keras_actrec.errors import WeightsError
from keras_actrec.extraction.person_clips import PersonCropConfig
from keras_actrec.models.glimpse_clouds_config import GlimpseCloudsConfig, preset
from keras_actrec.recipes.glimpse_clouds.experiment import GlimpseExperiment
from keras_actrec.synthetic.dataset import SyntheticConfig, synthetic_clips, write_synthetic_ntu
from keras_actrec.training.config import StageConfig
from keras_actrec.video.rgb_clips import RGBClipConfig
from tests.recipes.tiny import skeleton_file, video_file

# Cross-subject trains on subjects 1 and 2 and tests on 3.
SYNTHETIC = SyntheticConfig(subjects=(1, 2, 3), cameras=(1,), frames=(9, 12), width=128, height=72)
SIZE, STORED, FRAMES, VIEWS = 32, 40, 2, 2
MAP, CONTEXT = (4, 4, 6), 5

_NAMES = {(clip.subject, clip.action): clip.name for clip in synthetic_clips(SYNTHETIC)}
CUT_SKELETON, JUNK_VIDEO, NO_VIDEO = _NAMES[1, 2], _NAMES[2, 3], _NAMES[3, 4]
# clip → stage that notices, file, what the reason says
FAULTS = {
    CUT_SKELETON: ("poses", skeleton_file, "the file ends too early"),
    JUNK_VIDEO: ("person_clips", video_file, "the video does not open"),
    NO_VIDEO: ("index", skeleton_file, "no video file"),
}
UNPLACED = (_NAMES[2, 5], _NAMES[3, 5])
"""A training clip and a test clip whose skeletons do not say where the joints are in the video."""
TRAINED, TESTED = (
    tuple(name for (subject, _), name in _NAMES.items() if (subject == 3) == test and name not in FAULTS)
    for test in (False, True)
)
NETWORK = InflatedResNetConfig(weights="random", frames=FRAMES, image_size=SIZE)
STAGE = StageConfig("global", learning_rate=1e-3, batch_size=6, epochs=2)
HELD_OUT = 2
"""Clips of the training side: 15 % of 16."""
ONE_EPOCH = {
    f"{name}_stage": replace(STAGE, name=name, epochs=1, batch_size=len(TRAINED) - HELD_OUT) for name in ("global", "clouds")
}
"""Both stages, of one step each."""


def tiny_network(frames: int, image_size: int, *, seed: int = 0) -> keras.Model:
    """(T, S, S, 3) → map (T, S / 8, S / 8, 6) and penultimate map (T, S / 4, S / 4, 5)."""
    clip = keras.Input((frames, image_size, image_size, 3), name="clip")
    kernels = [keras.initializers.HeNormal(seed + k) for k in range(2)]
    x = keras.layers.Conv3D(CONTEXT, (1, 4, 4), (1, 4, 4), kernel_initializer=kernels[0], name="first")(clip)
    x = keras.layers.ReLU()(keras.layers.BatchNormalization(name="norm")(x))
    y = keras.layers.Conv3D(MAP[2], (3, 2, 2), (1, 2, 2), "same", kernel_initializer=kernels[1], name="second")(x)
    return keras.Model(clip, {"map": keras.layers.ReLU()(y), "pose_map": x}, name="tiny")


def build_tiny(config: InflatedResNetConfig, *, weights: Sequence[np.ndarray] | None = None) -> keras.Model:
    """In place of `build_inflated_resnet`: ImageNet's weights cannot be had."""
    model = tiny_network(config.frames, config.image_size, seed=config.seed)
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


def small_preset(name: str, classes: int) -> GlimpseCloudsConfig:
    """In place of `preset`: a network of few units."""
    return replace(preset(name, classes), glimpse_units=7, worker_units=5, location_units=4)


@contextmanager
def small() -> Iterator[None]:
    """Small networks in place of those of the package, wherever the recipe asks for them."""

    def architecture(*, frames: int, image_size: int, structure: str) -> keras.Model:
        return tiny_network(frames, image_size)

    with (
        patch("keras_actrec.recipes.glimpse_clouds.run.build_inflated_resnet", build_tiny),
        patch("keras_actrec.extraction.glimpse_maps.build_inflated_resnet", build_tiny),
        patch("keras_actrec.recipes.glimpse_clouds.initial.inflated_resnet50", architecture),
        patch("keras_actrec.recipes.glimpse_clouds.experiment.preset", small_preset),
    ):
        yield


def write_root(root: Path) -> None:
    """27 clips of 9 classes, of which those of FAULTS cannot be used and those of UNPLACED have joints in metres alone."""
    write_synthetic_ntu(root, SYNTHETIC, workers=1, progress=False)
    cut = skeleton_file(root, CUT_SKELETON)
    cut.write_bytes(b"".join(cut.read_bytes().splitlines(keepends=True)[:40]))
    video_file(root, JUNK_VIDEO).write_bytes(np.random.default_rng(0).bytes(5000))
    video_file(root, NO_VIDEO).unlink()
    for clip in UNPLACED:
        file = skeleton_file(root, clip)
        write_ntu_skeleton(file, replace(read_ntu_skeleton(file), pixels=None))


def tiny_glimpse(workdir: Path, **changes) -> GlimpseExperiment:
    """End to end in both stages, unless the changes say otherwise. The batch does not divide the clips that train."""
    fields = {
        "backbone": NETWORK,
        "clips": RGBClipConfig(frames=FRAMES, image_size=SIZE, views=VIEWS),
        "crop": PersonCropConfig(size=STORED, box="whole"),
        "training_views": 2,
        "global_stage": STAGE,
        "clouds_stage": replace(STAGE, name="clouds"),
        "holdout": 0.15,
    }
    return GlimpseExperiment(workdir, **{**fields, **changes})
