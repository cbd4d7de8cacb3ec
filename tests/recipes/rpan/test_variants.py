"""RPAN as an experiment: one stream, clips without joints, every preset, mended clips, and what cannot begin."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import keras
import numpy as np
import pandas as pd
import pytest

from keras_actrec.cache.frame_cubes import FrameCubeCache
from keras_actrec.datasets.nucla import NorthwesternUCLA
from keras_actrec.errors import DatasetError, WeightsError
from keras_actrec.models.rpan import RPANConfig
from keras_actrec.models.rpan_config import PRESETS
from keras_actrec.recipes.rpan.experiment import open_clips
from keras_actrec.recipes.rpan.run import run_rpan_experiment
from tests.recipes import runs
from tests.recipes.tiny import video_file
from tests.recipes.tiny_rpan import (
    CUBE,
    FAULTS,
    FRAMES,
    JUNK_VIDEO,
    NETWORK,
    ONE_STEP,
    PICTURE,
    POOLED,
    SHORT_VIDEO,
    TESTED,
    TRAINED,
    build_tiny,
    small_preset,
    tiny_rpan,
    write_jhmdb,
)

pytestmark = [
    pytest.mark.usefixtures("small_rpan"),
    pytest.mark.filterwarnings("ignore:Even though the `tf.config"),  # see `quickly`
]


# One stream -------------------------------------------------------------------------------------------------------------------


def terms_of(workdir: Path, stream: str) -> set[str]:
    """Names of the terms of the loss that a stream's history has; all numbers in it are finite."""
    log = pd.read_csv(workdir / stream / "log.csv")
    assert np.isfinite(log).all(axis=None)
    return {name.removesuffix("_loss") for name in log.columns if name.endswith("_loss") and not name.startswith("val_")}


def test_rgb_alone_reads_the_videos_and_computes_no_flow(rpan_on_maps, tmp_path, quickly, rpan_exports):
    """Bad videos are found before the training, which would end at the first of them."""
    shutil.copytree(rpan_on_maps.experiment.caches / "poses", tmp_path / "cache" / "poses")
    experiment = tiny_rpan(tmp_path, streams=("rgb",), stage=ONE_STEP, strategy="none")
    result = run_rpan_experiment(rpan_on_maps.dataset, experiment)
    metrics = result.metrics
    assert set(metrics["accuracy"]) == set(metrics["weights"]) == set(metrics["pose_estimation"]) == {"rgb"}
    assert set(metrics["configuration"]["model"]) == {"rgb"} and metrics["configuration"]["flow"] is None
    assert set(result.evaluation.scores) == {"rgb"} and set(result.evaluation.clip_ids) == set(TESTED)
    assert {path.name for path in experiment.caches.iterdir()} == {"poses"}
    reasons = {entry.clip_id: (entry.stage, entry.file, entry.reason) for entry in result.left_out}
    assert set(reasons) == set(FAULTS) and metrics["clips"]["left_out"] == len(FAULTS)
    for clip in (JUNK_VIDEO, SHORT_VIDEO):
        stage, file, reason = reasons[clip]
        assert (stage, file) == ("pictures", str(video_file(rpan_on_maps.dataset.root, clip))) and FAULTS[clip][2] in reason
    (exported,) = rpan_exports.values()
    assert set(rpan_exports) == {"export"} and result.export == tmp_path / "export"
    assert (exported["stream"], exported["flow"], exported["guided"]) == ("rgb", None, True)
    assert exported["inputs"] == {"clip"} and exported["backbone"]["channels"] == 3


def test_flow_alone_shares_the_caches_of_both(rpan_on_maps, tmp_path, quickly, rpan_exports):
    experiment = replace(rpan_on_maps.experiment, workdir=tmp_path, streams=("flow",), stage=ONE_STEP, strategy="none")
    before = runs.modified(experiment.caches)
    result = run_rpan_experiment(rpan_on_maps.dataset, experiment)
    metrics = result.metrics
    assert set(metrics["accuracy"]) == set(metrics["weights"]) == set(metrics["pose_estimation"]) == {"flow"}
    assert metrics["configuration"]["flow"]["preset"] == "ultrafast"
    assert [stage["name"] for stage in metrics["stages"]] == ["flow"] and not (tmp_path / "rgb").exists()
    assert set(rpan_exports) == {"export"} and result.export == tmp_path / "export", "the only stream is in export/"
    (exported,) = rpan_exports.values()
    assert (exported["stream"], exported["flow"]["bound"], exported["backbone"]["channels"]) == ("flow", 20.0, 10)
    assert runs.modified(experiment.caches) == before


def test_a_stream_finished_beside_the_other_is_the_same_alone(rpan_on_maps, tmp_path, quickly, rpan_exports, monkeypatch):
    alone = runs.copied(rpan_on_maps, tmp_path, "rgb", streams=("rgb",))
    monkeypatch.setattr(keras.Model, "fit", lambda *_, **__: pytest.fail("the stream was trained again"))
    result = run_rpan_experiment(rpan_on_maps.dataset, alone)
    expected = rpan_on_maps.result.evaluation.scores["rgb"]
    np.testing.assert_allclose(result.evaluation.scores["rgb"], expected, atol=1e-5)


# Clips without joints ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("train", ["end_to_end", "on_maps"])
def test_jhmdb_without_joint_positions(tmp_path, quickly, rpan_exports, train):
    """The attention learns from the actions alone, and no joints are scored."""
    root = write_jhmdb(tmp_path / "jhmdb")
    junk = root / "ReCompress_Videos" / "wave" / "wave1.avi"
    junk.write_bytes(junk.read_bytes()[:300])
    experiment = tiny_rpan(
        tmp_path / "run", protocol="split2", layout=None, streams=("rgb",), train=train, strategy="none",
        stage=replace(ONE_STEP, batch_size=3), data_root=root,
    )  # fmt: skip
    dataset = open_clips("jhmdb", root)
    result = run_rpan_experiment(dataset, experiment)
    network = RPANConfig(**result.metrics["configuration"]["model"]["rgb"])
    assert (network.pose_weight, network.has_pose_loss, network.layout) == (0, False, "jhmdb_15")
    assert terms_of(experiment.workdir, "rgb") == {"logits", "step_logits"}
    assert "pose_estimation" not in result.metrics and rpan_exports["export"]["guided"] is False
    assert rpan_exports["export"]["outputs"] == {"logits", "step_logits", "attention"}
    stage = "pictures" if train == "end_to_end" else "frame_cubes"
    assert [(entry.clip_id, entry.stage, entry.file) for entry in result.left_out] == [("wave1", stage, str(junk))]
    assert result.evaluation.clip_ids == ("catch2", "catch3", "wave2", "wave3")
    if train == "on_maps":
        assert {path.name for path in experiment.caches.iterdir()} == {"cubes_rgb"}
        cubes = FrameCubeCache(experiment.caches / "cubes_rgb")
        assert np.isnan(cubes.joints(["catch0", "wave5"], np.zeros(2, int))).all()
    else:
        assert not experiment.caches.exists()


def test_both_streams_without_joints(tmp_path, quickly, rpan_exports):
    root = write_jhmdb(tmp_path / "jhmdb")
    experiment = tiny_rpan(
        tmp_path / "run", protocol="split1", layout=None, strategy="none", stage=replace(ONE_STEP, batch_size=3), data_root=root
    )
    result = run_rpan_experiment(open_clips("jhmdb", root), experiment)
    assert set(result.metrics["accuracy"]) == {"rgb", "flow", "rgb+flow"} and not result.left_out
    assert {path.name for path in experiment.caches.iterdir()} == {"flow"}
    assert {terms for stream in ("rgb", "flow") for terms in terms_of(experiment.workdir, stream)} == {"logits", "step_logits"}


def test_joints_that_are_all_out_of_the_picture(rpan_on_maps, tmp_path, quickly, rpan_exports):
    """JSON has no number for a share of nothing."""
    shutil.copytree(rpan_on_maps.experiment.caches / "poses", tmp_path / "cache" / "poses")
    experiment = tiny_rpan(tmp_path, streams=("rgb",), stage=ONE_STEP, strategy="none", pixel_size=(1, 1))
    found = run_rpan_experiment(rpan_on_maps.dataset, experiment).metrics["pose_estimation"]["rgb"]
    assert (found["pck"], set(found["by_joint"].values()), found["joints_counted"]) == (None, {None}, 0)
    assert "NaN" not in (tmp_path / "metrics.json").read_text()
    assert pd.read_csv(tmp_path / "rgb" / "log.csv")["attention_loss"].tolist() == [0.0]


# Variants ---------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [name for name in PRESETS if name.startswith("rpan_sub_jhmdb")])
def test_every_variant_trains_on_the_same_cubes(rpan_on_maps, tmp_path, quickly, rpan_exports, name):
    changes = {"workdir": tmp_path, "preset": name, "stage": ONE_STEP, "streams": ("rgb",), "strategy": "none"}
    experiment = replace(rpan_on_maps.experiment, **changes)
    before = runs.modified(experiment.caches)
    metrics = run_rpan_experiment(rpan_on_maps.dataset, experiment).metrics
    sizes = {"frames": FRAMES, "picture_size": PICTURE, "cube_shape": CUBE, "pooled_size": POOLED}
    network = replace(small_preset(name, 9), **sizes)
    assert metrics["preset"] == name and RPANConfig(**metrics["configuration"]["model"]["rgb"]) == network
    wanted = {"attention"} if network.has_pose_loss else set()
    assert terms_of(tmp_path, "rgb") == {"logits", "step_logits"} | wanted
    assert ("pose_estimation" in metrics) == network.has_joint_maps
    exported = rpan_exports["export"]
    maps = {"attention"} if network.has_attention else set()
    assert (exported["inputs"], exported["outputs"]) == ({"clip"}, {"logits", "step_logits"} | maps)
    assert (exported["attention"], exported["guided"]) == (network.attention, network.has_pose_loss)
    assert runs.modified(experiment.caches) == before


def test_joints_without_weight_are_scored_and_not_learned(rpan_on_maps, tmp_path, quickly, rpan_exports):
    changes = {"workdir": tmp_path, "pose_weight": 0.0, "stage": ONE_STEP, "streams": ("rgb",), "strategy": "none"}
    metrics = run_rpan_experiment(rpan_on_maps.dataset, replace(rpan_on_maps.experiment, **changes)).metrics
    assert terms_of(tmp_path, "rgb") == {"logits", "step_logits"} and not rpan_exports["export"]["guided"]
    assert metrics["pose_estimation"]["rgb"]["joints_counted"] > 100


# What cannot begin ------------------------------------------------------------------------------------------------------------


def test_an_unknown_protocol_names_those_that_exist(rpan_data, tmp_path):
    runs.assert_unknown_protocol(run_rpan_experiment, rpan_data, tiny_rpan(tmp_path / "run", protocol="view3"))


@pytest.mark.parametrize("train", ["end_to_end", "on_maps"])
@pytest.mark.parametrize(
    ("changes", "root", "words"),
    [
        ({"backbone": replace(NETWORK, weights="gone.weights.h5")}, None, "there is no such weights file"),
        ({"flow_weights": "gone.weights.h5"}, None, "there is no such weights file"),
        ({"backbone": replace(NETWORK, weights="imagenet")}, "root", "the ImageNet weights .* cannot be had"),
    ],
    ids=["rgb", "flow", "imagenet"],
)
def test_weights_that_are_not_there_end_the_run_before_anything_long(rpan_data, tmp_path, train, changes, root, words):
    experiment = tiny_rpan(tmp_path / "run", train=train, **changes)
    with pytest.raises(WeightsError, match=words):
        run_rpan_experiment(rpan_data, replace(experiment, data_root=root and rpan_data.root))
    assert not (tmp_path / "run").exists()


def test_the_synthetic_data_alone_go_on_with_random_weights(rpan_on_maps, tmp_path, quickly, rpan_exports):
    changes = {"workdir": tmp_path, "backbone": replace(NETWORK, weights="imagenet"), "stage": ONE_STEP, "strategy": "none"}
    with pytest.warns(UserWarning, match="RANDOM backbone weights, which say nothing about real data: the ImageNet weights"):
        metrics = run_rpan_experiment(rpan_on_maps.dataset, replace(rpan_on_maps.experiment, **changes)).metrics
    for stream, export in (("rgb", "export"), ("flow", "export_flow")):
        assert metrics["weights"][stream]["weights"] == "random" == rpan_exports[export]["backbone"]["weights"]


def test_weights_that_change_while_cubes_are_made_of_them_are_refused(rpan_on_maps, tmp_path, monkeypatch):
    monkeypatch.setattr(keras.Model, "fit", lambda *_, **__: pytest.fail("the head was trained"))
    other = replace(NETWORK, seed=1)
    monkeypatch.setattr("keras_actrec.recipes.rpan.run.build_frame_backbone", lambda *_, **__: build_tiny(other))
    with pytest.raises(WeightsError, match="cubes_rgb: the backbone's weights changed while the cubes were made of them"):
        run_rpan_experiment(rpan_on_maps.dataset, replace(rpan_on_maps.experiment, workdir=tmp_path))


@pytest.mark.parametrize("streams", [("rgb",), ("rgb", "flow")], ids="+".join)
def test_a_data_set_without_videos(tmp_path, monkeypatch, streams):
    experiment = tiny_rpan(tmp_path / "run", protocol="view3", layout=None, streams=streams)
    runs.assert_without_videos(run_rpan_experiment, experiment, tmp_path / "nucla", monkeypatch)


def test_there_are_no_cubes_without_videos(nucla_root, tmp_path):
    experiment = tiny_rpan(tmp_path / "run", protocol="view3", layout=None, streams=("rgb",), train="on_maps")
    with pytest.raises(DatasetError, match=r"no clip has a video \(found 24 clips\)"):
        run_rpan_experiment(NorthwesternUCLA(nucla_root), experiment)


# Mended clips -----------------------------------------------------------------------------------------------------------------


def test_a_mended_video_is_tried_again_when_asked(rpan_on_maps, tmp_path, quickly, rpan_exports):
    data = rpan_on_maps.dataset
    root = shutil.copytree(data.root, tmp_path / "ntu")
    shutil.copy(video_file(root, TRAINED[-1]), video_file(root, JUNK_VIDEO))
    caches = shutil.copytree(rpan_on_maps.experiment.caches, tmp_path / "cache")
    experiment = tiny_rpan(
        tmp_path / "run", cache_dir=caches, retry_left_out=True, stage=ONE_STEP, streams=("flow",), strategy="none"
    )
    result = run_rpan_experiment(type(data)(root), experiment)
    assert {entry.clip_id for entry in result.left_out} == FAULTS.keys() - {JUNK_VIDEO}
    assert result.metrics["clips"]["train"] + result.metrics["clips"]["validation"] == len(TRAINED) + 1
