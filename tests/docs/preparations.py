"""What documented commands need besides data sets: weights files, trained models, clips. Made when the first command asks."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

from tests.docs import data

if TYPE_CHECKING:
    from tests.docs.sandbox import Sandbox


def own_data(box: Sandbox) -> None:
    data.own(box.place)


def clip(box: Sandbox) -> None:
    data.clip(box.place)


def two_stream_run(box: Sandbox) -> None:
    """runs/ntu_pose_rgb, as the main job leaves it, of an epoch with a tiny image network; made once for all sandboxes."""
    here, made = box.path("runs/ntu_pose_rgb"), box.store / "two_stream_run"
    if here.exists():  # the main job itself was run before
        return
    if not made.is_dir():
        _train_two_stream(made)
    here.parent.mkdir(parents=True, exist_ok=True)
    shutil.copytree(made / "run", here)


def _train_two_stream(place: Path) -> None:
    from keras_actrec.recipes.sta_hands.two_stream import run_two_stream
    from tests.recipes.tiny import tiny_experiment

    root = place / "run" / "cache" / "synthetic_ntu"  # where the main job makes its own
    data.ntu(root)
    experiment = tiny_experiment(place / "run", root)
    run_two_stream(replace(experiment, strategy="none", pose_stage=replace(experiment.pose_stage, epochs=1)))


def own_run(box: Sandbox) -> None:
    """runs/mine with the export of a tiny two-stream network."""
    two_stream_run(box)
    if not box.path("runs/mine").exists():  # commands and Python blocks of a document share its folder
        shutil.copytree(box.path("runs/ntu_pose_rgb"), box.path("runs/mine"))


def i3d_weights(box: Sandbox) -> None:
    """i3d_rgb.weights.h5 of a random network."""
    from keras_actrec.backbones.i3d import i3d

    i3d(frames=16).save_weights(box.path("i3d_rgb.weights.h5"))


def resnet50_weights(box: Sandbox) -> None:
    """resnet50.weights.h5 of a random network, as keras.applications would save them."""
    import keras

    keras.applications.ResNet50(weights=None, include_top=False).save_weights(box.path("resnet50.weights.h5"))


def tsn_weights(box: Sandbox) -> None:
    """tsn_rgb.weights.h5, tsn_flow.weights.h5 and flow.weights.h5 of random networks."""
    from keras_actrec.backbones.frame_networks import FrameBackboneConfig, build_frame_backbone

    for name, channels in (("tsn_rgb", 3), ("tsn_flow", 10), ("flow", 10)):
        config = FrameBackboneConfig("bn_inception", channels=channels, weights="random", picture_size=(64, 64))
        build_frame_backbone(config).save_weights(box.path(f"{name}.weights.h5"))


PREPARATIONS: Mapping[str, Callable[[Sandbox], None]] = MappingProxyType({
    "clips.csv": own_data,
    "clip.mp4": clip,
    "runs/ntu_pose_rgb": two_stream_run,
    "runs/mine": own_run,
    "i3d_rgb.weights.h5": i3d_weights,
    "resnet50.weights.h5": resnet50_weights,
    "tsn.weights.h5": tsn_weights,
})  # fmt: skip
"""Name that entries use → what makes it."""
