"""The main job on a few clips: what it leaves behind, what it leaves out, how it goes on, and what it refuses."""

from __future__ import annotations

import csv
import json
import shutil
from dataclasses import replace

import cv2
import keras
import numpy as np
import pandas as pd
import pytest
import tensorflow as tf

from keras_actrec.cache.reader import FeatureCache, PoseCache
from keras_actrec.cache.verify import verify_cache
from keras_actrec.errors import CacheError, ConfigError, DatasetError, WeightsError
from keras_actrec.export import read_description
from keras_actrec.recipes.sta_hands.run import prepare_source
from keras_actrec.recipes.sta_hands.two_stream import TwoStreamExperiment, _open_dataset, run_two_stream
from keras_actrec.skeletons.pose_tensor import PoseTensorConfig
from keras_actrec.training.evaluation import load_scores
from tests.recipes.predicting import predict_clip
from tests.recipes.tiny import (
    FAULTS,
    JUNK_VIDEO,
    NO_VIDEO,
    SENSOR,
    SHORT_VIDEO,
    TESTED,
    TRAINED,
    skeleton_file,
    tiny_experiment,
    video_file,
)

STREAMS = ("pose", "rgb", "fused")


@pytest.fixture
def offline(monkeypatch):
    """Every download of weights fails as it does without a network."""

    def get_file(*_, origin="", **__):
        raise Exception(f"URL fetch failure on {origin}: None -- [Errno -2] Name or service not known")

    monkeypatch.setattr("keras.src.utils.file_utils.get_file", get_file)


# What a run leaves behind -----------------------------------------------------------------------------------------------------


def test_metrics_hold_everything_that_the_results_of_a_run_are_compared_by(tiny_run):
    metrics = json.loads((tiny_run.workdir / "metrics.json").read_text())
    assert metrics == json.loads(json.dumps(tiny_run.result.metrics))
    assert set(metrics["accuracy"]) == set(STREAMS)
    assert all(0 <= value <= 1 for value in metrics["accuracy"].values())
    expected = {
        "dataset": "ntu_rgbd",
        "protocol": "cross_subject",
        "fold": None,
        "model": "sta_hands",
        "preset": "sta_hands_paper",
        "subsequences_per_clip": 10,
        "seed": 0,
    }
    assert {name: metrics[name] for name in expected} == expected
    held_out = round(0.1 * len(TRAINED))
    clips = metrics["clips"]
    assert (clips["train"], clips["validation"], clips["test"]) == (len(TRAINED) - held_out, held_out, len(TESTED))
    assert clips["left_out"] == len(FAULTS) == sum(clips["left_out_reasons"].values())
    assert metrics["weights"]["weights"] == "random" and len(metrics["weights"]["weights_checksum"]) == 64
    assert {"python", "keras_actrec", "tensorflow", "keras"} <= set(metrics["versions"])
    assert metrics["command"]


def test_accuracy_per_class_is_null_where_no_clip_was_tested(tiny_run):
    per_class = tiny_run.result.metrics["per_class"]
    tested = [name for name, row in per_class.items() if row["clips"]]
    assert len(per_class) == 60 and len(tested) == len(TESTED)
    for stream in STREAMS:
        hits = sum(row[stream] * row["clips"] for row in per_class.values() if row["clips"])
        assert hits / len(TESTED) == pytest.approx(tiny_run.result.metrics["accuracy"][stream])
        assert {row[stream] for name, row in per_class.items() if name not in tested} == {None}


def test_scores_are_those_of_the_test_clips(tiny_run):
    scores = load_scores(tiny_run.workdir / "scores.npz")
    assert set(scores.clip_ids) == set(TESTED)
    assert scores.accuracy == tiny_run.result.evaluation.accuracy == tiny_run.result.metrics["accuracy"]
    assert {name: array.shape for name, array in scores.scores.items()} == dict.fromkeys(STREAMS, (len(TESTED), 60))


@pytest.mark.parametrize("name", [*(f"confusion_{stream}.png" for stream in STREAMS), "curves.png"])
def test_pictures_read(tiny_run, name):
    picture = cv2.imread(str(tiny_run.workdir / name))
    assert picture is not None and picture.std() > 1


@pytest.mark.parametrize(("stage", "epochs"), [("pose", 2), ("rgb", 1)])
def test_each_stage_logs_its_epochs(tiny_run, stage, epochs):
    log = pd.read_csv(tiny_run.workdir / stage / "log.csv")
    assert list(log["epoch"]) == [*range(1, epochs + 1)]
    assert np.isfinite(log[["loss", "val_loss"]]).all(axis=None)
    rows = {row["name"]: row for row in tiny_run.result.metrics["stages"]}
    assert rows[stage]["epochs"] == epochs


@pytest.mark.parametrize("stage", ["pose", "rgb"])
def test_each_stage_writes_for_tensorboard(tiny_run, stage):
    for part in ("train", "validation"):
        assert list((tiny_run.workdir / stage / "tensorboard" / part).glob("events.out.*"))


def test_caches_are_sound_and_nothing_unfinished_stays(tiny_run):
    for name in ("poses", "hand_features"):
        assert verify_cache(tiny_run.experiment.caches / name).ok
    assert not list(tiny_run.workdir.rglob("*.part*"))
    assert not list(tiny_run.root.rglob("*.part*"))


# Clips that cannot be used ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("clip", FAULTS)
def test_a_bad_clip_is_listed_with_its_file_the_place_and_the_way_out(tiny_run, clip):
    with (tiny_run.workdir / "left_out.csv").open(newline="", encoding="utf-8") as file:
        rows = {row["clip_id"]: row for row in csv.DictReader(file)}
    stage, ending, words, fix = FAULTS[clip]
    row = rows[clip]
    find = skeleton_file if ending == ".skeleton" else video_file
    assert row["stage"] == stage
    assert row["file"] == str(find(tiny_run.root, clip))
    assert words in row["reason"] and fix in row["reason"]


def test_only_bad_clips_are_left_out_and_the_rest_goes_on(tiny_run):
    assert {entry.clip_id for entry in tiny_run.result.left_out} == set(FAULTS)
    poses = PoseCache(tiny_run.experiment.caches / "poses")
    features = FeatureCache(tiny_run.experiment.caches / "hand_features")
    assert set(features.clip_ids) == {*TRAINED, *TESTED}
    assert SHORT_VIDEO in poses.clip_ids and SHORT_VIDEO not in features.clip_ids


# The export -------------------------------------------------------------------------------------------------------------------


def test_the_export_classifies_a_cached_clip_like_the_test(tiny_run):
    served = tf.saved_model.load(str(tiny_run.result.export)).signatures["classify_clip"]
    poses = PoseCache(tiny_run.experiment.caches / "poses")
    features = FeatureCache(tiny_run.experiment.caches / "hand_features")
    scores = load_scores(tiny_run.workdir / "scores.npz")
    for row, clip in enumerate(scores.clip_ids[:2]):
        joints = poses.joints(clip)
        hands = features.features([clip], np.arange(len(joints))[None])[0]
        outputs = served(joints=tf.constant(joints), hands=tf.constant(hands, tf.float32))
        np.testing.assert_array_equal(outputs["frames"], poses.test_frames([clip])[0])
        for stream, name in (("fused", "logits"), ("pose", "pose_logits"), ("rgb", "rgb_logits")):
            expected = scores.scores[stream][row]
            np.testing.assert_allclose(outputs[name], expected, atol=1e-4 * np.abs(expected).max())


def test_the_export_says_how_its_inputs_are_made(tiny_run):
    description = read_description(tiny_run.result.export)
    assert description.crop_size == 25
    assert description.sensor["name"] == "resnet50" and description.sensor["image_size"] == SENSOR.image_size
    with FeatureCache(tiny_run.experiment.caches / "hand_features") as features:
        assert description.sensor["weights_checksum"] == features.options.weights_checksum
    assert len(description.class_names) == 60


# Again ------------------------------------------------------------------------------------------------------------------------


def test_a_resumed_run_repeats_no_work_and_finds_the_same(tiny_run, monkeypatch):
    def never(*_, **__):
        raise AssertionError("work was repeated")

    def shards():
        return {path: path.stat().st_mtime_ns for path in tiny_run.experiment.caches.rglob("*.h5")}

    before, metrics = shards(), dict(tiny_run.result.metrics)
    monkeypatch.setattr(keras.Model, "fit", never)
    monkeypatch.setattr("keras_actrec.extraction.hand_features.crop_batches", never)
    monkeypatch.setattr("keras_actrec.extraction.poses.clean", never)
    again = run_two_stream(replace(tiny_run.experiment, resume=True))
    assert {**again.metrics, "seconds": 0} == {**metrics, "seconds": 0}
    for stream in STREAMS:
        np.testing.assert_array_equal(again.evaluation.scores[stream], tiny_run.result.evaluation.scores[stream])
    assert again.left_out == tiny_run.result.left_out
    assert shards() == before


def test_weights_of_another_preset_are_refused(tiny_run, tmp_path):
    for stage in ("pose", "rgb"):
        (tmp_path / "run" / stage).mkdir(parents=True)
        for name in ("finished.json", "log.csv"):
            shutil.copy(tiny_run.workdir / stage / name, tmp_path / "run" / stage / name)
        (tmp_path / "run" / stage / "model.weights.h5").symlink_to(tiny_run.workdir / stage / "model.weights.h5")
    other = replace(
        tiny_run.experiment,
        workdir=tmp_path / "run", cache_dir=tiny_run.experiment.caches, preset="table6_c", resume=True,
    )  # fmt: skip
    with pytest.raises(WeightsError, match=r"model\.weights\.h5.*do not fit the model.*classes and the preset"):
        run_two_stream(other)
    assert not (tmp_path / "run" / "metrics.json").exists()


@pytest.mark.parametrize(
    ("changes", "cache", "option"),
    [
        ({"crop_size": 26}, "hand_features", "crop_size: found 25, expected 26"),
        ({"sensor": replace(SENSOR, seed=1)}, "hand_features", "weights_checksum: found"),
        ({"tensor": PoseTensorConfig(center="per_person")}, "poses", "tensor.center: found 'first_person'"),
    ],
)
def test_caches_made_with_other_options_are_refused_and_kept(tiny_run, tmp_path, changes, cache, option):
    before = {path: path.stat().st_mtime_ns for path in tiny_run.experiment.caches.rglob("*")}
    other = replace(tiny_run.experiment, workdir=tmp_path, cache_dir=tiny_run.experiment.caches, **changes)
    with pytest.raises(CacheError) as error:
        run_two_stream(other)
    assert error.value.file == str(tiny_run.experiment.caches / cache / "index.json")
    assert option in str(error.value) and "give another folder" in str(error.value)
    assert {path: path.stat().st_mtime_ns for path in tiny_run.experiment.caches.rglob("*")} == before
    assert not list(tmp_path.iterdir())


# Variants ---------------------------------------------------------------------------------------------------------------------


def test_a_pose_only_preset_needs_no_video_and_no_weights(offline, tiny_run, tmp_path):
    experiment = tiny_experiment(tmp_path, tiny_run.root)
    stage = replace(experiment.pose_stage, epochs=1)
    experiment = replace(experiment, preset="table6_a", pose_stage=stage, sensor=replace(SENSOR, weights="imagenet"))
    result = run_two_stream(experiment)
    assert set(result.metrics["accuracy"]) == {"pose"} and result.metrics["weights"] == {}
    bad_videos = {SHORT_VIDEO, JUNK_VIDEO, NO_VIDEO}
    assert {entry.clip_id for entry in result.left_out} == FAULTS.keys() - bad_videos
    assert not (experiment.caches / "hand_features").exists()
    prediction = predict_clip(result.export, tmp_path / "no video", skeleton_file(tiny_run.root, TESTED[0]))
    assert prediction.attention.spatial is None
    scores = load_scores(tmp_path / "scores.npz")
    assert prediction.probabilities.argmax() == scores.predictions("pose")[scores.clip_ids.index(TESTED[0])]


@pytest.mark.slow
def test_an_rgb_preset_conditioned_on_pose_trains_the_pose_network_and_scores_one_stream(tiny_run, tmp_path):
    experiment = replace(tiny_run.experiment, workdir=tmp_path, cache_dir=tiny_run.experiment.caches, preset="table6_g")
    result = run_two_stream(replace(experiment, pose_stage=replace(experiment.pose_stage, epochs=1)))
    assert [stage["name"] for stage in result.metrics["stages"]] == ["pose", "rgb"]
    assert len(result.metrics["accuracy"]) == 1
    files = video_file(tiny_run.root, TESTED[0]), skeleton_file(tiny_run.root, TESTED[0])
    assert predict_clip(result.export, *files).attention.spatial is not None


# What cannot begin ------------------------------------------------------------------------------------------------------------


def test_without_a_data_root_missing_weights_are_a_warning_and_random_ones_are_taken(offline, tiny_run, tmp_path):
    experiment = tiny_experiment(tmp_path, None)
    sensor, stage = replace(SENSOR, weights="imagenet"), replace(experiment.pose_stage, epochs=1)
    experiment = replace(experiment, sensor=sensor, pose_stage=stage)
    experiment.caches.mkdir()
    (experiment.caches / "synthetic_ntu").symlink_to(tiny_run.whole_root)  # as a stopped run leaves it
    with pytest.warns(UserWarning, match=r"RANDOM sensor weights.*the ImageNet weights of resnet50 cannot be had"):
        result = run_two_stream(experiment)
    assert result.metrics["dataset"] == "synthetic_ntu"
    assert result.metrics["weights"]["weights"] == "random"
    assert read_description(result.export).sensor["weights"] == "random"
    assert set(result.metrics["accuracy_by_kind"]) == set(STREAMS)
    assert set(result.metrics["accuracy_by_kind"]["fused"]) == {"motion", "object", "order"}
    assert result.left_out == ()


def test_with_a_data_root_missing_weights_are_an_error_with_three_ways_out(offline, tiny_run, tmp_path):
    experiment = replace(tiny_experiment(tmp_path / "run", tiny_run.root), sensor=replace(SENSOR, weights="imagenet"))
    with pytest.raises(WeightsError, match="the ImageNet weights of resnet50 cannot be had") as error:
        run_two_stream(experiment)
    for way in ("download them once", "--sensor-weights FILE", "--sensor-weights random"):
        assert way in error.value.fix
    assert not list(tmp_path.iterdir())


def test_a_data_root_without_clips_names_the_expected_folders(tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(DatasetError, match=r"no clip of NTU RGB\+D.*nturgb\+d_skeletons.*nturgb\+d_rgb") as error:
        run_two_stream(tiny_experiment(tmp_path / "run", tmp_path / "empty"))
    assert error.value.file == str(tmp_path / "empty")
    assert not (tmp_path / "run").exists()


def root_with(tiny_run, place, clips):
    """A data root that links to some clips of the shared one."""
    for clip in clips:
        for find in (skeleton_file, video_file):
            link = find(place, clip)
            link.parent.mkdir(parents=True, exist_ok=True)
            if find(tiny_run.root, clip).exists():
                link.symlink_to(find(tiny_run.root, clip))
    return place


def test_a_data_root_with_one_side_of_the_protocol_only(tiny_run, tmp_path):
    root = root_with(tiny_run, tmp_path / "ntu", TRAINED)
    with pytest.raises(DatasetError, match=r"cross_subject has no clip to test on.*both sides"):
        run_two_stream(tiny_experiment(tmp_path / "run", root))
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("side", ["train", "test"])
def test_nothing_is_trained_where_one_side_has_bad_clips_only(tiny_run, tmp_path, monkeypatch, side):
    bad = [clip for clip in FAULTS if ("P003" in clip) == (side == "test")]
    root = root_with(tiny_run, tmp_path / "ntu", [*bad, *(TRAINED if side == "test" else TESTED)[:3]])
    monkeypatch.setattr(keras.Model, "fit", lambda *_, **__: pytest.fail("a stage was trained"))
    with pytest.raises(DatasetError, match=rf"cross_subject has no clip to {side} on.*left_out\.csv"):
        run_two_stream(tiny_experiment(tmp_path / "run", root))
    listed = (tmp_path / "run" / "left_out.csv").read_text()
    assert all(clip in listed for clip in bad)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"holdout": 0.0}, "holdout.*0 < holdout < 1"),
        ({"holdout": 1.0}, "holdout"),
        ({"crop_size": 0}, "crop_size.*at least 1"),
    ],
)
def test_values_that_make_no_sense(tmp_path, changes, message):
    with pytest.raises(ConfigError, match=message):
        TwoStreamExperiment(tmp_path, **changes)


def test_an_unknown_protocol_names_those_that_exist(tiny_run, tmp_path):
    with pytest.raises(ConfigError, match=r"unknown protocol.*cross_subject, cross_view"):
        run_two_stream(replace(tiny_run.experiment, workdir=tmp_path / "run", protocol="cross_setup"))
    assert not (tmp_path / "run").exists()


def test_mended_clips_are_tried_again_when_asked(tiny_run, tmp_path):
    caches = shutil.copytree(tiny_run.experiment.caches, tmp_path / "cache")
    mended = replace(tiny_run.experiment, data_root=tiny_run.whole_root, cache_dir=caches)
    again = replace(mended, retry_left_out=True)
    kept, left_out = prepare_source(_open_dataset(mended), mended)
    assert left_out and len(kept.clip_ids) < len(TRAINED) + len(TESTED) + len(FAULTS)
    everything, left_out = prepare_source(_open_dataset(again), again)
    assert not left_out and len(everything.clip_ids) == len(TRAINED) + len(TESTED) + len(FAULTS)
