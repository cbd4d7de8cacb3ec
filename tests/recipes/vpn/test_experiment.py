"""What a VPN experiment is: the paper's settings for each data set, those of the synthetic one, and values without sense."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from keras_actrec.backbones.visual import BackboneConfig
from keras_actrec.errors import ConfigError
from keras_actrec.extraction.person_clips import PersonCropConfig
from keras_actrec.models.vpn import VPNConfig
from keras_actrec.recipes.seeds import with_seed
from keras_actrec.recipes.vpn.experiment import TASKS, VPNExperiment, embedded_default, vpn_experiment
from keras_actrec.skeletons.clip_sampling import ClipSamplingConfig
from keras_actrec.skeletons.layouts import KINECT_V2
from keras_actrec.training.config import StageConfig

MAP = (8, 7, 7, 1024)


def dataset(classes: int):
    """As much of a data set as the configuration of the network asks for."""
    records = (SimpleNamespace(layout=KINECT_V2),)
    return SimpleNamespace(name="test", class_names=[f"class {k}" for k in range(classes)], records=records)


# The paper's settings, section 4.1 --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "protocol", "poses"),
    [
        ("ntu_rgbd", "cross_subject", 20), ("ntu_rgbd_120", "cross_subject", 20), ("smarthome", "cross_subject", 30),
        ("smarthome_cross_view", "cross_view2", 30), ("nucla", "view3", 5),
    ],
)  # fmt: skip
def test_each_data_set(name, protocol, poses):
    made = vpn_experiment(name, Path("w"))
    assert (made.workdir, made.protocol, made.preset, made.layout) == (Path("w"), protocol, "vpn_paper", None)
    assert made.sampling == ClipSamplingConfig(frames=64, stride=2, poses=poses, views=1)
    assert made.backbone == BackboneConfig("i3d", frames=64, image_size=224)
    assert made.crop == PersonCropConfig(size=224, margin=0.15, box="clip") and made.tested_size == 224
    assert (made.train, made.initial, made.strategy) == ("end_to_end", None, "mirrored")


def test_training():
    stage = vpn_experiment("ntu_rgbd", Path("w")).stage
    assert (stage.optimizer, stage.momentum, stage.learning_rate, stage.batch_size) == ("sgd", 0.9, 0.01, 16)
    assert (stage.schedule, stage.epochs, stage.step_epochs, stage.step_factor) == ("step", 30, 10, 0.1)
    assert not stage.stops_early and (stage.weight_decay, stage.label_smoothing) == (0, 0)


def test_network():
    network = vpn_experiment("ntu_rgbd", Path("w")).model(dataset(60), MAP)
    assert network == VPNConfig(classes=60, layout="kinect_v2", poses=20, map_shape=MAP)
    assert (network.dropout, network.classification_weight, network.attention_penalty) == (0.3, 0.8, 1e-5)
    assert (network.bone_weight, network.other_weight, network.graph_units) == (5, 2, 64)
    assert network.pose_filters == (64, 64, 128)
    smaller = replace(vpn_experiment("nucla", Path("w")), layout="kinect_v1", preset="table2_l6").model(
        dataset(10), (2, 3, 4, 5)
    )
    assert (smaller.classes, smaller.layout, smaller.poses, smaller.map_shape) == (10, "kinect_v1", 5, (2, 3, 4, 5))
    assert (smaller.pose_backbone, smaller.attention) == ("lstm", "coupled")


@pytest.mark.parametrize("name", TASKS)
def test_published_code(name):
    made = vpn_experiment(name, Path("w"), preset="vpn_official")
    assert (made.sampling.frames, made.sampling.stride, made.sampling.poses, made.backbone.frames) == (16, 2, 16, 16)
    network = made.model(dataset(60), (2, 7, 7, 1024))
    assert (network.code, network.poses, network.classification_weight) == ("official", 16, 99.9)


def test_other_data_sets_have_no_settings():
    assert set(TASKS) == {"ntu_rgbd", "ntu_rgbd_120", "smarthome", "smarthome_cross_view", "nucla"}
    with pytest.raises(ConfigError, match=r"no settings for this data set \(found 'sbu', expected ntu_rgbd, ntu_rgbd_120"):
        vpn_experiment("sbu", Path("w"))


# The synthetic data -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("preset", "poses"), [("vpn_paper", 20), ("vpn_official", 16)])
def test_embedded_default(preset, poses):
    made = embedded_default(Path("w"), preset=preset)
    assert made.data_root is None and made.preset == preset and made.train == "on_maps"
    assert made.backbone == BackboneConfig("i3d", weights="random", frames=16, image_size=112)
    assert made.sampling == ClipSamplingConfig(frames=16, poses=poses, views=3)
    assert made.crop.size == 112 == made.tested_size and made.caches == Path("w/cache")


def test_a_seed_is_of_the_training_and_not_of_the_data():
    base = embedded_default(Path("w"))
    made = with_seed(base, 7)
    assert made == replace(base, seed=7, stage=replace(base.stage, seed=7))
    assert (made.backbone.seed, made.synthetic.seed) == (0, 0)


def test_places_and_sizes():
    made = VPNExperiment(Path("w"), cache_dir=Path("c"), test_image_size=256)
    assert (made.caches, made.tested_size) == (Path("c"), 256)
    assert VPNExperiment(Path("w"), stage=StageConfig("vpn")).joint_layout(dataset(3)) is KINECT_V2
    assert VPNExperiment(Path("w"), layout="penn_13").joint_layout(dataset(3)).name == "penn_13"


# Values without sense ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"holdout": 0.0}, r"holdout is a share.*found 0.0, expected 0 < holdout < 1"),
        ({"holdout": 1.0}, "holdout is a share"),
        ({"holdout": float("nan")}, "holdout is a share"),
        ({"holdout_unit": "room"}, r"unknown holdout_unit \(found 'room', expected one of clip, subject, camera, setup\)"),
        ({"train": "head"}, r"unknown train \(found 'head', expected one of end_to_end, on_maps\)"),
        ({"layout": "kinect"}, r"unknown layout \(found 'kinect', expected one of None, kinect_v2"),
        ({"preset": "table1_l4"}, r"no such preset of VPN \(found 'table1_l4', expected vpn_paper, vpn_official"),
        ({"preset": "vpn_official", "sampling": ClipSamplingConfig(poses=3)}, "halves the poses twice.*found 3"),
        ({"test_image_size": 223}, r"test_image_size is smaller than the images .*found 223, expected at least 224\)"),
        ({"test_image_size": 0}, "found 0, expected at least 224"),
        ({"backbone": BackboneConfig(frames=16)}, r"another number of frames than are sampled \(found 16, expected 64\)"),
        ({"sampling": ClipSamplingConfig(frames=16)}, r"another number of frames than are sampled \(found 64, expected 16\)"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_values_that_make_no_sense(changes, message):
    with pytest.raises(ConfigError, match=message):
        VPNExperiment(Path("w"), **changes)
