"""What an experiment with Glimpse Clouds is: the paper's settings, those of the synthetic data, and values without sense."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import keras
import pytest

from keras_actrec.backbones.inflated_resnet import InflatedResNetConfig
from keras_actrec.errors import ConfigError
from keras_actrec.extraction.person_clips import PersonCropConfig
from keras_actrec.models.glimpse_clouds_config import PRESETS, GlimpseCloudsConfig
from keras_actrec.recipes.glimpse_clouds.experiment import (
    TASKS,
    GlimpseExperiment,
    embedded_default,
    glimpse_experiment,
)
from keras_actrec.recipes.seeds import with_seed
from keras_actrec.skeletons.layouts import KINECT_V2
from keras_actrec.training.config import StageConfig
from keras_actrec.video.rgb_clips import RGBClipConfig
from tests.recipes.tiny_glimpse import tiny_network

W = Path("w")


def dataset(classes: int):
    """As much of a data set as the configuration of the network asks for."""
    records = (SimpleNamespace(layout=KINECT_V2),)
    return SimpleNamespace(name="test", class_names=[f"class {k}" for k in range(classes)], records=records)


def maps_of(frames: int = 8, image_size: int = 224):
    """As much of the backbone."""
    side = image_size // 32
    shapes = {"map": (None, frames, side, side, 2048), "pose_map": (None, frames, 2 * side, 2 * side, 1024)}
    return SimpleNamespace(output={name: keras.KerasTensor(shape) for name, shape in shapes.items()})


# The paper's settings, sections 6 and 7 ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "protocol"), [("ntu_rgbd", "cross_subject"), ("nucla", "view3")])
def test_each_data_set(name, protocol):
    made = glimpse_experiment(name, W)
    assert (made.workdir, made.protocol, made.preset, made.layout) == (W, protocol, "glimpse_clouds_paper", None)
    assert made.clips == RGBClipConfig(frames=8, image_size=224, views=5)
    assert made.crop == PersonCropConfig(size=256, box="whole")
    assert made.backbone == InflatedResNetConfig(weights="imagenet", frames=8, image_size=224)
    assert (made.train, made.freeze_backbone, made.initial, made.strategy) == ("end_to_end", False, None, "mirrored")
    assert (made.holdout, made.holdout_unit, made.caches) == (0.05, "clip", W / "cache")


@pytest.mark.parametrize("name", ["global", "clouds"])
def test_training(name):
    stage = getattr(glimpse_experiment("ntu_rgbd", W), f"{name}_stage")
    assert (stage.name, stage.optimizer, stage.learning_rate, stage.batch_size) == (name, "adam", 1e-4, 40)
    assert stage.stops_early and (stage.weight_decay, stage.label_smoothing) == (0, 0)


def test_network():
    made = glimpse_experiment("ntu_rgbd", W)
    assert made.model(dataset(60), maps_of()) == GlimpseCloudsConfig(classes=60)
    changed = replace(made, layout="kinect_v1", preset="table4_tubes")
    small = changed.model(dataset(10), tiny_network(5, 32))
    assert (small.classes, small.layout, small.frames, small.attention) == (10, "kinect_v1", 8, "tubes")
    assert (small.map_shape, small.context_size) == ((4, 4, 6), 5)


@pytest.mark.parametrize("name", TASKS)
def test_published_code(name):
    made = glimpse_experiment(name, W, preset="glimpse_clouds_official")
    assert made.freeze_backbone and made.model(dataset(60), maps_of()).code == "official"


def test_other_data_sets_have_no_settings():
    with pytest.raises(ConfigError, match=r"no settings for this data set \(found 'sbu', expected ntu_rgbd, nucla\)"):
        glimpse_experiment("sbu", W)


# Stages -----------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", PRESETS)
def test_stages_of_every_preset(name):
    made = GlimpseExperiment(W, preset=name)
    network = made.model(dataset(60), maps_of())
    stages = made.stages(network)
    assert stages[-1][1] == network
    if name in ("global", "table3_global", "table3_global_pose"):
        assert [stage for stage, _ in stages] == [made.global_stage]
        return
    assert [stage for stage, _ in stages] == [made.global_stage, made.clouds_stage]
    first = stages[0][1]
    assert (first.model, first.glimpse_loss, first.pose_loss) == ("global", False, network.pose_loss)
    assert replace(first, model=network.model, glimpse_loss=network.glimpse_loss) == network


@pytest.mark.parametrize("changes", [{"train": "on_maps"}, {"initial": Path("run")}], ids=str)
def test_one_stage_on_maps_and_after_another_run(changes):
    made = GlimpseExperiment(W, **changes)
    network = made.model(dataset(60), maps_of())
    assert made.stages(network) == ((made.clouds_stage, network),)
    alone = replace(made, preset="global")
    assert [stage.name for stage, _ in alone.stages(alone.model(dataset(60), maps_of()))] == ["global"]


# The synthetic data -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("preset", ["glimpse_clouds_paper", "glimpse_clouds_official"])
def test_embedded_default(preset):
    made = embedded_default(W, preset=preset)
    assert (made.data_root, made.preset, made.train, made.backbone.weights) == (None, preset, "on_maps", "imagenet")
    assert (made.backbone.frames, made.backbone.image_size) == (made.clips.frames, made.clips.image_size)
    assert made.caches == Path("w/cache") and made.freeze_backbone == (preset == "glimpse_clouds_official")


def test_a_seed_is_of_the_training_and_not_of_the_data():
    base = embedded_default(W)
    stages = {f"{name}_stage": replace(getattr(base, f"{name}_stage"), seed=7) for name in ("global", "clouds")}
    made = with_seed(base, 7)
    assert made == replace(base, seed=7, **stages)
    assert (made.backbone.seed, made.synthetic.seed, made.clips.seed) == (0, 0, 0)


def test_places_and_layouts():
    assert GlimpseExperiment(W, cache_dir=Path("c")).caches == Path("c")
    assert GlimpseExperiment(W).joint_layout(dataset(3)) is KINECT_V2
    assert GlimpseExperiment(W, layout="penn_13").joint_layout(dataset(3)).name == "penn_13"


# Values without sense ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"holdout": 0.0}, r"holdout is a share.*found 0.0, expected 0 < holdout < 1"),
        ({"holdout": float("nan")}, "holdout is a share"),
        ({"holdout_unit": "room"}, r"unknown holdout_unit \(found 'room', expected one of clip, subject, camera, setup\)"),
        ({"train": "head"}, r"unknown train \(found 'head', expected one of end_to_end, on_maps\)"),
        ({"layout": "kinect"}, r"unknown layout \(found 'kinect', expected one of None, kinect_v2"),
        ({"preset": "table5"}, r"no such preset of Glimpse Clouds \(found 'table5', expected glimpse_clouds_paper"),
        ({"backbone": InflatedResNetConfig(frames=4)}, r"the backbone sees other clips: frames \(found 4, expected 8\)"),
        ({"clips": RGBClipConfig(image_size=192)}, r"sees other clips: image_size \(found 224, expected 192\)"),
        ({"crop": PersonCropConfig(size=223)}, r"pictures are smaller than their crops \(found 223, expected at least 224\)"),
        ({"training_views": 0}, r"training_views is out of range \(found 0, expected at least 1\)"),
        ({"training_views": 1.5}, r"training_views is out of range \(found 1.5"),
        ({"global_stage": StageConfig("clouds")}, r"both stages have one name, and so one folder \(found 'clouds'"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_values_that_make_no_sense(changes, message):
    with pytest.raises(ConfigError, match=message):
        GlimpseExperiment(W, **changes)
