"""Glimpse Clouds as an experiment: what a run leaves behind, clips without joints, how it goes on, and what it refuses."""

from __future__ import annotations

import json
import shutil
import sys
from dataclasses import asdict, replace

import cv2
import keras
import numpy as np
import pandas as pd
import pytest
import tensorflow as tf

from keras_actrec.backbones.sensors import weights_checksum
from keras_actrec.cache.person_clips import open_person_clips
from keras_actrec.cache.reader import PoseCache
from keras_actrec.cache.schema import load_index
from keras_actrec.cache.verify import verify_cache
from keras_actrec.errors import CacheError, ConfigError, WeightsError
from keras_actrec.export import read_description
from keras_actrec.layers.soft_assignment import MahalanobisDistance
from keras_actrec.models.glimpse_clouds import GlimpseCloudsConfig
from keras_actrec.pipelines.glimpse_clips import GlimpseMapSource, RGBClipSource
from keras_actrec.recipes.glimpse_clouds.run import run_glimpse_experiment
from keras_actrec.training.evaluation import load_scores
from tests.recipes import runs
from tests.recipes.predicting import predict_clip
from tests.recipes.tiny import video_file
from tests.recipes.tiny_glimpse import (
    CONTEXT,
    FAULTS,
    FRAMES,
    HELD_OUT,
    JUNK_VIDEO,
    MAP,
    NETWORK,
    NO_VIDEO,
    ONE_EPOCH,
    SIZE,
    STORED,
    TESTED,
    TRAINED,
    UNPLACED,
    VIEWS,
    build_tiny,
    small_preset,
    tiny_glimpse,
)

pytestmark = [
    pytest.mark.usefixtures("small_networks"),
    pytest.mark.filterwarnings("ignore:Even though the `tf.config"),  # see `quickly`
]

STREAM = "glimpse_clouds"


@pytest.fixture(params=["end_to_end", "on_maps"])
def run(request):
    """Each of the two shared runs."""
    return request.getfixturevalue(f"glimpse_{request.param}")


def stages_of(run) -> tuple[str, ...]:
    return ("global", "clouds") if run.experiment.train == "end_to_end" else ("clouds",)


# What a run leaves behind -----------------------------------------------------------------------------------------------------


def test_files(run):
    found = {name for name in runs.files(run.workdir) if not name.startswith("cache/")}
    exported = {name for name in found if name.startswith("export/")}
    logs = {name for name in found if "/tensorboard/" in name}
    stages = {f"{stage}/{name}" for stage in stages_of(run) for name in ("log.csv", "model.weights.h5", "finished.json")}
    assert found - exported - logs == stages | {
        "metrics.json", "left_out.csv", "scores.npz", "confusion_glimpse_clouds.png", "curves.png", "attention.npz",
        "report.html",
    }  # fmt: skip
    assert {"export/saved_model.pb", "export/actrec.json"} <= exported and logs
    caches = {"poses", "rgb_clips"} | ({"glimpse_maps"} if run.experiment.train == "on_maps" else set())
    assert {path.name for path in run.experiment.caches.iterdir()} == caches
    assert all(verify_cache(run.experiment.caches / name).ok for name in caches)
    assert not [*run.workdir.rglob("*.part*"), *run.experiment.caches.rglob("*.part*")]
    for name in ("confusion_glimpse_clouds.png", "curves.png"):
        assert cv2.imread(str(run.workdir / name)).std() > 1


def test_metrics_say_what_was_tested_and_how(run):
    metrics = json.loads((run.workdir / "metrics.json").read_text())
    assert metrics == json.loads(json.dumps(run.result.metrics))
    expected = {
        "dataset": "synthetic_ntu", "protocol": "cross_subject", "fold": None, "model": "glimpse_clouds",
        "preset": "glimpse_clouds_paper", "seed": 0, "pooling": "mean", "subsequences_per_clip": VIEWS,
    }  # fmt: skip
    assert {name: metrics[name] for name in expected} == expected
    for metric in ("accuracy", "mean_class_accuracy", "macro_f1"):
        assert set(metrics[metric]) == {STREAM} and 0 <= metrics[metric][STREAM] <= 1
    clips = metrics["clips"]
    assert (clips["train"], clips["validation"], clips["test"]) == (len(TRAINED) - HELD_OUT, HELD_OUT, len(TESTED))
    assert clips["left_out"] == len(FAULTS) == sum(clips["left_out_reasons"].values())
    assert [(stage["name"], stage["epochs"]) for stage in metrics["stages"]] == [(name, 2) for name in stages_of(run)]
    assert metrics["seconds"] > 0 and {"tensorflow", "keras", "keras_actrec"} <= set(metrics["versions"])
    assert ("accuracy_by_kind" in metrics) == (run.experiment.train == "end_to_end")  # it was asked for there alone


def test_configuration_holds_every_option_that_decided_the_result(run):
    experiment, configuration = run.experiment, run.result.metrics["configuration"]
    assert set(configuration) == {
        "model", "clips", "crop", "pixel_size", "train", "training_views", "global_stage", "clouds_stage", "freeze_backbone",
        "holdout", "holdout_unit", "initial", "devices",
    }  # fmt: skip
    on_maps = experiment.train == "on_maps"
    assert GlimpseCloudsConfig(**configuration["model"]) == replace(
        small_preset("glimpse_clouds_paper", 9), layout="lcrnet_13" if on_maps else "kinect_v2", frames=FRAMES, map_shape=MAP,
        context_size=CONTEXT,
    )  # fmt: skip
    expected = {
        "clips": {"frames": FRAMES, "image_size": SIZE, "views": VIEWS, "seed": 0},
        "crop": {"size": STORED, "margin": 0.15, "box": "whole", "quality": 95},
        "global_stage": experiment.global_stage.as_json(), "clouds_stage": experiment.clouds_stage.as_json(),
        "train": experiment.train, "training_views": 2 if on_maps else None, "freeze_backbone": False, "holdout": 0.15,
        "holdout_unit": "clip", "initial": None, "pixel_size": None, "devices": 1,
    }  # fmt: skip
    assert {name: configuration[name] for name in expected} == expected


def test_weights_of_the_backbone_before_and_after(run):
    """metrics.json names those that the training began with, the export has those that it ended with."""
    start = weights_checksum(build_tiny(NETWORK))
    assert run.result.metrics["weights"] == {**asdict(NETWORK), "weights_checksum": start}
    exported = read_description(run.result.export).backbone["weights_checksum"]
    if run.experiment.train == "on_maps":
        assert exported == start == load_index(run.experiment.caches / "glimpse_maps").options.weights_checksum
    else:
        assert exported != start


def test_scores_are_mean_logits_of_all_test_clips(run):
    scores = load_scores(run.workdir / "scores.npz")
    assert set(scores.clip_ids) == set(TESTED) and (scores.pooling, scores.subsequences) == ("mean", VIEWS)
    assert scores.scores[STREAM].shape == (len(TESTED), 9) and scores.accuracy == run.result.metrics["accuracy"]
    np.testing.assert_array_equal(scores.scores[STREAM], run.result.evaluation.scores[STREAM])


def softmax(logits: np.ndarray) -> np.ndarray:
    powers = np.exp(logits - logits.max())
    return powers / powers.sum()


def test_the_export_classifies_a_cached_clip_like_the_test(run):
    served = tf.saved_model.load(str(run.result.export)).signatures["classify_clip"]
    assert set(served.structured_input_signature[1]) == {"images"}
    scores = load_scores(run.workdir / "scores.npz")
    # Cached maps are float16.
    tolerance = 1e-5 if run.experiment.train == "end_to_end" else 1e-3
    for row, clip in enumerate(scores.clip_ids[:3]):
        with open_person_clips(run.experiment.caches / "rgb_clips") as clips:
            images = clips.images(clip, np.arange(clips.lengths[clip]))
        found = served(images=tf.constant(images))
        np.testing.assert_allclose(found["probabilities"], softmax(scores.scores[STREAM][row]), atol=tolerance)
        np.testing.assert_allclose(np.mean(found["logits"], axis=0), scores.scores[STREAM][row], atol=tolerance)


@pytest.mark.parametrize("clip", [TESTED[0], UNPLACED[1]], ids=["with joints", "without"])
def test_the_export_classifies_a_video_by_itself(glimpse_end_to_end, clip):
    """From the video file to the scores of the test, through everything that lies between, without a skeleton."""
    scores = load_scores(glimpse_end_to_end.workdir / "scores.npz")
    prediction = predict_clip(glimpse_end_to_end.result.export, video_file(glimpse_end_to_end.dataset.root, clip))
    expected = softmax(scores.scores[STREAM][scores.clip_ids.index(clip)])
    np.testing.assert_allclose(prediction.probabilities, expected, atol=1e-5)


# Clips without joints in the video, and clips that cannot be used -------------------------------------------------------------


def test_clips_without_joints_train_and_are_tested(run):
    """Poses are targets of the training alone: where there are none nothing is regressed, and nothing is left out."""
    poses = PoseCache(run.experiment.caches / "poses")
    for clip in UNPLACED:
        assert np.isfinite(poses.joints(clip)).any() and np.isnan(poses.pixels(clip)).all()
    assert UNPLACED[0] in TRAINED and UNPLACED[1] in run.result.evaluation.clip_ids
    for stage in stages_of(run):
        log = pd.read_csv(run.workdir / stage / "log.csv")
        assert list(log["epoch"]) == [1, 2] and np.isfinite(log[["loss", "val_loss", "pose_loss"]]).all(axis=None)


def test_bad_clips_alone_are_left_out_and_listed(run):
    runs.assert_left_out(run, FAULTS)


# Again ------------------------------------------------------------------------------------------------------------------------


def test_a_resumed_run_repeats_no_work_and_finds_the_same(run, tmp_path, monkeypatch):
    """Nor does its test read a pose, or more rows at once than memory is bounded by."""

    def never(*_, **__):
        raise AssertionError("work was repeated")

    rows = []
    for source in (RGBClipSource, GlimpseMapSource):
        test_batch = source.test_batch
        monkeypatch.setattr(
            source, "test_batch", lambda self, ids, test=test_batch: rows.append(len(ids) * VIEWS) or test(self, ids)
        )
    monkeypatch.setitem(sys.modules["keras_actrec.recipes.glimpse_clouds.run"]._TEST_ROWS, run.experiment.train, 6)
    before = runs.modified(run.experiment.caches)
    monkeypatch.setattr(keras.Model, "fit", never)
    for name in ("poses.clean", "person_clips._PersonVideo", "glimpse_maps.glimpse_network"):
        monkeypatch.setattr(f"keras_actrec.extraction.{name}", never)
    monkeypatch.setattr(PoseCache, "pixels", never)
    monkeypatch.setattr(MahalanobisDistance, "set_inverse_covariance", never)
    again = run_glimpse_experiment(run.dataset, runs.copied(run, tmp_path / "run", *stages_of(run)))
    changing = {"seconds": 0, "accuracy_by_kind": 0}
    assert {**again.metrics, **changing} == {**run.result.metrics, **changing}
    np.testing.assert_allclose(again.evaluation.scores[STREAM], run.result.evaluation.scores[STREAM], atol=1e-5)
    assert again.left_out == run.result.left_out and runs.modified(run.experiment.caches) == before
    assert max(rows) == 6 and sum(rows) == len(TESTED) * VIEWS


@pytest.mark.parametrize(
    ("changes", "names"),
    [
        ({"preset": "distance_fixed"}, "model.distance"),  # the same shapes, the same terms of the loss
        ({"backbone": replace(NETWORK, seed=1)}, "backbone.seed, backbone.weights"),
        ({"seed": 1, "holdout": 0.2}, "experiment_seed, training_clips, validation_clips"),
        ({"freeze_backbone": True}, "backbone.trains"),
        ({"initial": "run"}, "initial, stages_before"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_a_resumed_run_of_other_settings_is_refused(glimpse_end_to_end, tmp_path, changes, names):
    changes = {**changes, **({"initial": glimpse_end_to_end.workdir} if "initial" in changes else {})}
    experiment = runs.copied(glimpse_end_to_end, tmp_path, "global", "clouds", **changes)
    with pytest.raises(ConfigError, match=f"the stage was started with other settings: .*{names}"):
        run_glimpse_experiment(glimpse_end_to_end.dataset, experiment)
    assert not (tmp_path / "metrics.json").exists()


def test_caches_made_with_other_options_are_refused_and_kept(glimpse_on_maps, tmp_path):
    experiment = replace(glimpse_on_maps.experiment, workdir=tmp_path / "run")
    before = runs.modified(experiment.caches)
    for changes, option in (
        ({"crop": replace(experiment.crop, quality=90)}, "quality: found 95, expected 90"),
        ({"backbone": replace(NETWORK, seed=1)}, "weights_checksum: found"),
        ({"clips": replace(experiment.clips, views=3)}, "views.views: found 2, expected 3"),
        ({"training_views": 3}, "views.training: found 2, expected 3"),
        ({"layout": None}, "layout: found 'lcrnet_13', expected 'kinect_v2'"),
    ):
        with pytest.raises(CacheError) as error:
            run_glimpse_experiment(glimpse_on_maps.dataset, replace(experiment, **changes))
        assert option in str(error.value) and "give another folder" in str(error.value)
    assert runs.modified(experiment.caches) == before and not (tmp_path / "run").exists()


# Devices ----------------------------------------------------------------------------------------------------------------------


def test_two_devices(glimpse_data, tmp_path):
    found = runs.on_two_devices("glimpse_mirrored_run", glimpse_data.root, tmp_path)
    for train, stages in (("end_to_end", ["global", "clouds"]), ("on_maps", ["clouds"])):
        assert (found[train]["devices"], found[train]["stages"]) == (2, stages)
        np.testing.assert_allclose(found[train]["again"], found[train]["tested"], atol=1e-3)


# What cannot begin ------------------------------------------------------------------------------------------------------------


def test_an_unknown_protocol_names_those_that_exist(glimpse_data, tmp_path):
    runs.assert_unknown_protocol(run_glimpse_experiment, glimpse_data, tiny_glimpse(tmp_path / "run", protocol="view3"))


@pytest.mark.parametrize("train", ["end_to_end", "on_maps"])
@pytest.mark.parametrize(
    ("weights", "root", "words"),
    [("gone.weights.h5", None, "there is no such weights file"), ("imagenet", "root", "the ImageNet weights .* cannot be had")],
)
def test_weights_that_are_not_there_end_the_run_before_anything_long(glimpse_data, tmp_path, train, weights, root, words):
    experiment = tiny_glimpse(tmp_path / "run", backbone=replace(NETWORK, weights=weights), train=train)
    experiment = replace(experiment, data_root=root and glimpse_data.root)
    with pytest.raises(WeightsError, match=words):
        run_glimpse_experiment(glimpse_data, experiment)
    assert not (tmp_path / "run").exists()


def test_the_synthetic_data_alone_go_on_with_random_weights(glimpse_end_to_end, tmp_path, quickly, glimpse_export):
    experiment = tiny_glimpse(
        tmp_path, cache_dir=glimpse_end_to_end.experiment.caches, backbone=replace(NETWORK, weights="imagenet"),
        preset="global", strategy="none", **ONE_EPOCH,
    )  # fmt: skip
    with pytest.warns(UserWarning, match="RANDOM backbone weights, which say nothing about real data: the ImageNet weights"):
        metrics = run_glimpse_experiment(glimpse_end_to_end.dataset, experiment).metrics
    assert metrics["weights"]["weights"] == "random" == glimpse_export["backbone"]["weights"]


def test_weights_that_change_while_maps_are_made_of_them_are_refused(glimpse_on_maps, tmp_path, monkeypatch):
    monkeypatch.setattr(keras.Model, "fit", lambda *_, **__: pytest.fail("the head was trained"))
    other = replace(NETWORK, seed=1)
    monkeypatch.setattr("keras_actrec.recipes.glimpse_clouds.run.build_inflated_resnet", lambda *_, **__: build_tiny(other))
    with pytest.raises(WeightsError, match="glimpse_maps: the backbone's weights changed while the maps were made"):
        run_glimpse_experiment(glimpse_on_maps.dataset, replace(glimpse_on_maps.experiment, workdir=tmp_path))


@pytest.mark.parametrize("train", ["end_to_end", "on_maps"])
def test_a_data_set_without_videos(tmp_path, monkeypatch, train):
    experiment = tiny_glimpse(tmp_path / "run", protocol="view3", train=train)
    runs.assert_without_videos(run_glimpse_experiment, experiment, tmp_path / "nucla", monkeypatch)


def test_a_mended_video_is_tried_again_when_asked(glimpse_end_to_end, tmp_path, quickly, glimpse_export):
    data = glimpse_end_to_end.dataset
    root = shutil.copytree(data.root, tmp_path / "ntu")
    shutil.copy(video_file(root, TRAINED[-1]), video_file(root, JUNK_VIDEO))
    caches = shutil.copytree(glimpse_end_to_end.experiment.caches, tmp_path / "cache")
    experiment = tiny_glimpse(
        tmp_path / "run", cache_dir=caches, retry_left_out=True, preset="global", strategy="none", **ONE_EPOCH
    )  # fmt: skip
    result = run_glimpse_experiment(type(data)(root), experiment)
    assert {entry.clip_id for entry in result.left_out} == FAULTS.keys() - {JUNK_VIDEO} and NO_VIDEO in FAULTS
    assert result.metrics["clips"]["train"] + result.metrics["clips"]["validation"] == len(TRAINED) + 1
