"""What an experiment with RPAN is: the paper's settings, those of the synthetic data, and values without sense."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import keras
import pytest

from keras_actrec.backbones.frame_networks import FrameBackboneConfig
from keras_actrec.errors import ConfigError, DatasetError
from keras_actrec.models.rpan_config import PRESETS, RPANConfig, preset
from keras_actrec.recipes.rpan.experiment import RPANExperiment, embedded_default, open_clips, rpan_experiment
from keras_actrec.recipes.seeds import with_seed
from keras_actrec.skeletons.layouts import JHMDB_15, PENN_13
from keras_actrec.video.frame_clips import FrameClipConfig
from keras_actrec.video.optical_flow import FlowConfig
from tests.recipes.tiny_rpan import write_jhmdb

W = Path("w")


def dataset(classes: int, layout=JHMDB_15):
    """As much of a data set as the configuration of the network asks for."""
    return SimpleNamespace(class_names=[f"class {k}" for k in range(classes)], records=(SimpleNamespace(layout=layout),))


def network(cube: tuple[int, int, int] = (8, 10, 1024), pooled: int = 1024):
    """As much of the CNN; by default TSN's."""
    return SimpleNamespace(output={"cube": keras.KerasTensor((None, *cube)), "pooled": keras.KerasTensor((None, pooled))})


# The paper's settings, section 4.1 --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "protocol", "model", "size"),
    [
        ("sub_jhmdb", "split1", "rpan_sub_jhmdb", (240, 320)),
        ("jhmdb", "split1", "rpan_sub_jhmdb", (240, 320)),
        ("penn_action", "official", "rpan_penn_action", (270, 480)),
    ],
)
def test_each_data_set(name, protocol, model, size):
    made = rpan_experiment(name, W)
    assert (made.workdir, made.protocol, made.preset, made.layout) == (W, protocol, model, None)
    assert made.clips == FrameClipConfig(frames=8, picture_size=size, views=1, mirror=True)
    assert made.flow == FlowConfig(picture_size=size)
    assert made.backbone == FrameBackboneConfig(name="resnet50", picture_size=size, weights="imagenet")
    assert (made.streams, made.fusion, made.flow_weights) == (("rgb", "flow"), (1.0, 2.0), "")
    assert (made.train, made.initial, made.pose_weight, made.strategy) == ("end_to_end", None, None, "mirrored")
    assert (made.holdout, made.holdout_unit, made.caches) == (0.05, "clip", W / "cache")


@pytest.mark.parametrize(("name", "falls_after"), [("sub_jhmdb", 40), ("jhmdb", 40), ("penn_action", 50)])
def test_training(name, falls_after):
    """Momentum 0.9, 16 videos, 0.1 and 0.01 after 40 or 50 of 100 epochs, weight decay 5e-4 in the loss (eq. 11)."""
    stage = rpan_experiment(name, W, backbone="bn_inception", weights="random").stage
    assert (stage.optimizer, stage.momentum, stage.learning_rate, stage.batch_size) == ("sgd", 0.9, 0.1, 16)
    assert (stage.schedule, stage.step_epochs, stage.step_factor, stage.falls) == ("step", falls_after, 0.1, 1)
    assert (stage.weight_decay, stage.decay) == (5e-4, "coupled")
    assert (stage.epochs, stage.keep, stage.stops_early, stage.label_smoothing) == (100, "last", False, 0)


@pytest.mark.parametrize("backbone", ["resnet50", "inception_v3", "vgg16"])
def test_other_networks_than_tsns_have_a_lower_rate_and_nothing_else(backbone):
    paper = rpan_experiment("jhmdb", W, backbone="bn_inception", weights="random").stage
    assert rpan_experiment("jhmdb", W, backbone=backbone).stage == replace(paper, learning_rate=0.003)


@pytest.mark.parametrize("stream", ["rgb", "flow"])
def test_each_stream_trains_alike_in_a_folder_of_its_own(stream):
    made = rpan_experiment("jhmdb", W)
    assert made.stage_of(stream) == replace(made.stage, name=stream)


@pytest.mark.parametrize(
    ("changes", "jit_compile", "expected"),
    [
        ({"train": "on_maps", "strategy": "none"}, "auto", True),
        ({"train": "on_maps", "strategy": "none"}, False, False),
        ({"train": "on_maps", "strategy": "mirrored"}, "auto", "auto"),
        ({"train": "end_to_end", "strategy": "none"}, "auto", "auto"),
    ],
)
def test_xla_compiles_what_trains_on_cubes_on_one_device(changes, jit_compile, expected):
    base = rpan_experiment("jhmdb", W)
    made = replace(base, stage=replace(base.stage, jit_compile=jit_compile), **changes)
    assert made.stage_of("rgb") == replace(base.stage, name="rgb", jit_compile=expected)


def test_network():
    made = rpan_experiment("sub_jhmdb", W)
    assert made.model(dataset(12), network(), joints=True) == RPANConfig(classes=12)
    penn = rpan_experiment("penn_action", W)
    assert penn.model(dataset(15, PENN_13), network((9, 15, 1024)), joints=True) == preset("rpan_penn_action", 15)
    changed = replace(made, layout="penn_13", clips=replace(made.clips, frames=5), preset="rpan_sub_jhmdb_mean")
    found = changed.model(dataset(21), network((4, 6, 7), 9), joints=True)
    assert (found.classes, found.layout, found.frames, found.pooling) == (21, "penn_13", 5, "mean")
    assert (found.cube_shape, found.pooled_size, found.units) == ((4, 6, 7), 9, 512)


@pytest.mark.parametrize(
    ("given", "joints", "weight"), [(None, True, 1.0), (None, False, 0.0), (0.5, True, 0.5), (0.5, False, 0.0), (0, True, 0)]
)
def test_joints_guide_the_attention_where_there_are_any(given, joints, weight):
    found = RPANExperiment(W, pose_weight=given).model(dataset(3), network(), joints=joints)
    assert (found.pose_weight, found.has_pose_loss) == (weight, weight > 0)


def test_the_network_of_flow_is_that_of_rgb_on_stacks_of_flow():
    made = RPANExperiment(W, backbone=FrameBackboneConfig("vgg16", weights="rgb.h5", dtype="bfloat16", seed=3))
    assert made.backbone_of("rgb") == made.backbone
    assert made.backbone_of("flow") == replace(made.backbone, channels=10)
    own = replace(made, flow_weights="flow.h5")
    assert own.backbone_of("rgb") == made.backbone
    assert own.backbone_of("flow") == replace(made.backbone, channels=10, weights="flow.h5")


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_has_an_experiment(name):
    made = rpan_experiment("sub_jhmdb", W, preset=name)
    assert made.preset == name and made.paper_model(12) == preset(name, 12)


def test_other_data_sets_have_no_settings():
    with pytest.raises(ConfigError, match=r"no settings for this data set \(found 'sbu', expected sub_jhmdb, jhmdb, penn_act"):
        rpan_experiment("sbu", W)


# The synthetic data -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["rpan_sub_jhmdb", "rpan_sub_jhmdb_max"])
def test_embedded_default(name):
    made = embedded_default(W, preset=name)
    assert (made.data_root, made.preset, made.train, made.layout) == (None, name, "on_maps", "jhmdb_15")
    assert (made.backbone.name, made.backbone.weights, made.streams) == ("resnet50", "imagenet", ("rgb", "flow"))
    assert made.backbone.picture_size == made.flow.picture_size == made.clips.picture_size
    assert made.caches == Path("w/cache") and made.stage.keep == "last" and made.stage.step_epochs < made.stage.epochs


def test_a_seed_is_of_the_training_and_not_of_the_data():
    base = embedded_default(W)
    made = with_seed(base, 7)
    assert made == replace(base, seed=7, stage=replace(base.stage, seed=7))
    assert (made.backbone.seed, made.synthetic.seed, made.clips.seed) == (0, 0, 0)


def test_places_and_layouts():
    assert RPANExperiment(W, cache_dir=Path("c")).caches == Path("c")
    assert RPANExperiment(W).joint_layout(dataset(3)) is JHMDB_15
    assert RPANExperiment(W, layout="penn_13").joint_layout(dataset(3)) is PENN_13


def test_streams_have_one_order():
    assert RPANExperiment(W, streams=["flow", "rgb"]).streams == ("rgb", "flow")
    assert RPANExperiment(W, streams=("flow",)).streams == ("flow",)


# Data sets with and without joints --------------------------------------------------------------------------------------------


def test_joints_are_found_where_they_lie_beside_the_videos(tmp_path, caplog):
    found = open_clips("jhmdb", write_jhmdb(tmp_path, joints=True))
    assert len(found.records) == 12 and all(record.skeleton and record.video for record in found.records)
    assert not caplog.records


def test_videos_alone_will_do(tmp_path, caplog):
    found = open_clips("jhmdb", write_jhmdb(tmp_path))
    assert len(found.records) == 12 and not found.left_out
    assert all(record.skeleton is None and record.video for record in found.records)
    assert "goes on without joints, which guide the attention in training: " in caplog.text
    assert "no joint_positions.mat" in caplog.text


def test_a_wrong_root_is_no_matter_of_joints(tmp_path, caplog):
    with pytest.raises(DatasetError, match="the data root is no folder"):
        open_clips("sub_jhmdb", tmp_path / "no")
    with pytest.raises(DatasetError, match="no split lists"):
        open_clips("jhmdb", tmp_path)
    with pytest.raises(DatasetError):
        open_clips("penn_action", tmp_path)
    assert "goes on without joints" not in caplog.text


# Values without sense ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"holdout": 0.0}, r"holdout is a share.*found 0.0, expected 0 < holdout < 1"),
        ({"holdout": float("nan")}, "holdout is a share"),
        ({"holdout_unit": "room"}, r"unknown holdout_unit \(found 'room', expected one of clip, subject, camera, setup\)"),
        ({"train": "head"}, r"unknown train \(found 'head', expected one of end_to_end, on_maps\)"),
        ({"layout": "jhmdb"}, r"unknown layout \(found 'jhmdb', expected one of None, kinect_v2"),
        ({"preset": "rpan"}, r"no such preset of RPAN \(found 'rpan', expected rpan_sub_jhmdb"),
        ({"pose_weight": -1.0}, r"pose_weight is out of range \(found -1.0, expected at least 0\)"),
        ({"pose_weight": float("nan")}, "pose_weight is out of range"),
        ({"streams": ()}, r"unknown streams \(found none, expected rgb, flow, or rgb flow\)"),
        ({"streams": ("rgb", "rgb")}, r"unknown streams \(found rgb rgb"),
        ({"streams": ("rgb", "depth")}, r"unknown streams \(found rgb depth"),
        ({"streams": "rgb"}, r"unknown streams \(found r g b"),
        ({"fusion": (1.0,)}, r"fusion is a weight of RGB and one of flow \(found \(1.0,\), expected two numbers above 0\)"),
        ({"fusion": (1.0, 0.0)}, r"fusion is a weight of RGB and one of flow \(found \(1.0, 0.0\)"),
        ({"fusion": (float("inf"), 1.0)}, "fusion is a weight"),
        ({"clips": FrameClipConfig(picture_size=(96, 128))}, r"the backbone sees other pictures \(found \(240, 320\), expec"),
        ({"flow": FlowConfig(picture_size=(96, 128))}, r"the flow sees other pictures \(found \(96, 128\), expected \(240, 3"),
        ({"backbone": FrameBackboneConfig(channels=10)}, r"the backbone is that of RGB \(found 10 channels, expected 3\)"),
        ({"training_views": 0}, r"training_views is out of range \(found 0, expected at least 1\)"),
        ({"training_views": 1.5}, r"training_views is out of range \(found 1.5"),
        ({"training_views": True}, r"training_views is out of range \(found True"),
        ({"initial": Path("run")}, r"RPAN does not start from another run \(found run\).*backbone, flow_weights"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_values_that_make_no_sense(changes, message):
    with pytest.raises(ConfigError, match=message):
        RPANExperiment(W, **changes)
