"""Glimpse Clouds as an experiment: what a run leaves behind, its stages, clips without joints, variants, and refusals."""

from __future__ import annotations

import csv
import json
import os
import shutil
import subprocess
import sys
from dataclasses import asdict, replace
from pathlib import Path

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
from keras_actrec.datasets.nucla import NorthwesternUCLA
from keras_actrec.errors import CacheError, ConfigError, DatasetError, WeightsError
from keras_actrec.export import read_description
from keras_actrec.layers.soft_assignment import MahalanobisDistance
from keras_actrec.models.glimpse_clouds import RECURRENCE, GlimpseCloudsConfig, glimpse_clouds, glimpse_features
from keras_actrec.models.glimpse_clouds_config import PRESETS
from keras_actrec.pipelines.glimpse_clips import GlimpseMapSource, RGBClipSource
from keras_actrec.pipelines.tf_data import epoch_rows
from keras_actrec.recipes.glimpse_clouds import run_glimpse_experiment
from keras_actrec.recipes.prediction import predict_clip
from keras_actrec.training.checkpoints import load_weights
from keras_actrec.training.evaluation import load_scores
from keras_actrec.training.stages import run_stage
from tests.recipes.small_data import write_nucla
from tests.recipes.tiny import video_file
from tests.recipes.tiny_glimpse import (
    CONTEXT,
    FAULTS,
    FRAMES,
    JUNK_VIDEO,
    MAP,
    NETWORK,
    NO_VIDEO,
    SIZE,
    STAGE,
    STORED,
    TESTED,
    TRAINED,
    UNPLACED,
    VIEWS,
    build_tiny,
    small,
    small_preset,
    tiny_glimpse,
)

pytestmark = pytest.mark.filterwarnings("ignore:Even though the `tf.config")  # see `quickly`

ROOT = Path(__file__).resolve().parents[2]
HELD_OUT = 2  # 15 % of 16
STREAM = "glimpse_clouds"
ONE_EPOCH = {
    f"{name}_stage": replace(STAGE, name=name, epochs=1, batch_size=len(TRAINED) - HELD_OUT) for name in ("global", "clouds")
}


@pytest.fixture(autouse=True)
def small_networks():
    with small():
        yield


@pytest.fixture(params=["end_to_end", "on_maps"])
def run(request):
    """Each of the two shared runs."""
    return request.getfixturevalue(f"glimpse_{request.param}")


@pytest.fixture
def quickly(monkeypatch):
    """Nothing is traced or drawn, which takes most of the time of a run as small as these."""
    for picture in ("confusion_matrix_png", "curves_png"):
        monkeypatch.setattr(f"keras_actrec.recipes.reports.{picture}", lambda *_: None)
    tf.config.run_functions_eagerly(True)
    yield
    tf.config.run_functions_eagerly(False)


@pytest.fixture
def exported(monkeypatch) -> dict:
    """What would have been exported: tests/export has that."""
    found = {}

    def export(model, directory, **options):
        found.update(options, inputs=set(model.input), outputs=set(model.output), model=model)
        return directory

    monkeypatch.setattr("keras_actrec.recipes.glimpse_clouds.export_glimpse_clouds", export)
    return found


def files(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def modified(folder: Path) -> dict[Path, int]:
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}


def copied(run, workdir: Path, *stages: str, **changes):
    """The experiment of a finished run in another working directory, to go on from copies of its stages."""
    for name in stages:
        shutil.copytree(run.workdir / name, workdir / name)
    return replace(run.experiment, workdir=workdir, cache_dir=run.experiment.caches, resume=True, **changes)


def stages_of(run) -> tuple[str, ...]:
    return ("global", "clouds") if run.experiment.train == "end_to_end" else ("clouds",)


def network_of(run, name: str, *, stage: str = "clouds") -> keras.Model:
    """The network of a finished stage, on clips or on maps."""
    config = GlimpseCloudsConfig(**run.result.metrics["configuration"]["model"])
    if stage == "global":
        config = replace(config, model="global", glimpse_loss=False)
    model = glimpse_clouds(config, build_tiny(NETWORK) if run.experiment.train == "end_to_end" else None)
    load_weights(model, run.workdir / stage / name)
    return model


# What a run leaves behind -----------------------------------------------------------------------------------------------------


def test_files(run):
    found = {name for name in files(run.workdir) if not name.startswith("cache/")}
    exported = {name for name in found if name.startswith("export/")}
    logs = {name for name in found if "/tensorboard/" in name}
    stages = {f"{stage}/{name}" for stage in stages_of(run) for name in ("log.csv", "model.weights.h5", "finished.json")}
    assert found - exported - logs == stages | {
        "metrics.json", "left_out.csv", "scores.npz", "confusion_glimpse_clouds.png", "curves.png"
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
    with (run.workdir / "left_out.csv").open(newline="", encoding="utf-8") as file:
        rows = {row["clip_id"]: row for row in csv.DictReader(file)}
    assert set(rows) == set(FAULTS) == {entry.clip_id for entry in run.result.left_out}
    for clip, (stage, file, words) in FAULTS.items():
        assert (rows[clip]["stage"], rows[clip]["file"]) == (stage, str(file(run.dataset.root, clip)))
        assert words in rows[clip]["reason"]


# Stages -----------------------------------------------------------------------------------------------------------------------


@pytest.fixture
def begun(monkeypatch) -> list[dict]:
    """How each stage began: its model, what trains of it, its weights, and its history's terms."""
    found = []

    def noted(model, stream, source, train, validation, config, workdir, **options):
        backbone = next((layer for layer in model.layers if layer.name == "backbone"), None)
        found.append({
            "name": config.name, "model": model, "weights": {w.path: w.numpy() for w in model.weights},
            "terms": set(options["objective"].weights), "trains": backbone is not None and bool(backbone.trainable_weights),
            "train": train, "source": source,
        })  # fmt: skip
        return run_stage(model, stream, source, train, validation, config, workdir, **options)

    monkeypatch.setattr("keras_actrec.recipes.glimpse_clouds.run_stage", noted)
    return found


def backbone_of(weights: dict[str, np.ndarray]) -> list[np.ndarray]:
    """Weights of the layers of `tiny_network`."""
    return [array for path, array in weights.items() if path.split("/")[-2] in ("first", "norm", "second")]


def of_layer(weights: dict[str, np.ndarray], name: str) -> list[np.ndarray]:
    return [array for path, array in weights.items() if name in path]


def differ(ones: list[np.ndarray], others: list[np.ndarray]) -> bool:
    assert len(ones) == len(others) > 0
    return any(not np.array_equal(one, two) for one, two in zip(ones, others, strict=True))


@pytest.mark.parametrize("freeze", [False, True], ids=["paper", "frozen"])
def test_the_second_stage_goes_on_from_the_first(glimpse_end_to_end, tmp_path, quickly, exported, begun, freeze):
    caches = glimpse_end_to_end.experiment.caches
    experiment = tiny_glimpse(tmp_path, cache_dir=caches, freeze_backbone=freeze, strategy="none", **ONE_EPOCH)
    run_glimpse_experiment(glimpse_end_to_end.dataset, experiment)
    first, second = begun
    assert (first["name"], first["trains"], first["terms"]) == ("global", True, {"logits", "pose"})
    assert (second["name"], second["trains"], second["terms"]) == ("clouds", not freeze, {"logits", "pose", "glimpses"})
    after = {weight.path: weight.numpy() for weight in first["model"].weights if "backbone" not in weight.path}
    start, between = backbone_of(first["weights"]), backbone_of(second["weights"])
    assert differ(start, between), "stage 1 trains the backbone"
    assert not differ(of_layer(after, "pose_regression"), of_layer(second["weights"], "pose_regression"))
    end = {weight.path: weight.numpy() for weight in second["model"].weights}
    assert differ(between, backbone_of(end)) != freeze, "and stage 2 does unless it is frozen, statistics included"
    assert differ(of_layer(second["weights"], "pose_regression"), of_layer(end, "pose_regression"))
    assert exported["backbone"]["weights_checksum"] != weights_checksum(build_tiny(NETWORK))


@pytest.mark.parametrize("train", ["end_to_end", "on_maps"])
def test_the_distance_starts_at_the_inverse_covariance(request, tmp_path, quickly, exported, begun, train):
    """Of the glimpses in the stage's first training batches, with the weights that the stage starts from."""
    base = request.getfixturevalue(f"glimpse_{train}")
    experiment = replace(
        base.experiment, workdir=tmp_path, cache_dir=base.experiment.caches, preset="distance_fixed", strategy="none",
        clouds_stage=replace(STAGE, name="clouds", epochs=1, seed=4),
    )  # fmt: skip
    run_glimpse_experiment(base.dataset, experiment)
    stage = begun[-1]
    model, source, clips = stage["model"], stage["source"], stage["train"]
    for weight in model.weights:
        weight.assign(stage["weights"][weight.path])
    rows, uniforms = epoch_rows(len(clips), 6, 4, 0, 0, source.draws)
    batch, _ = source.training_batch([clips[row] for row in rows], uniforms)
    features = glimpse_features(model)({name: batch[name] for name in model.input}).numpy()
    assert features.shape == (6, FRAMES, 3, MAP[2]), "one batch has twice as many glimpses as features have dimensions"
    expected = MahalanobisDistance()
    expected.build((None, None, MAP[2]), (None, None, MAP[2]))
    expected.set_inverse_covariance(features.reshape(-1, MAP[2]))
    found = model.get_layer(RECURRENCE).metric.matrix()
    np.testing.assert_allclose(found, expected.matrix(), rtol=1e-3, atol=1e-3 * np.abs(found).max())
    end = network_of(base, "model.weights.h5")
    learned = end.get_layer(RECURRENCE).metric.matrix()
    assert not np.allclose(learned, found), "the other run has learned it"


def test_a_random_distance_stays_random(glimpse_on_maps, tmp_path, quickly, exported, begun, monkeypatch):
    monkeypatch.setattr(MahalanobisDistance, "set_inverse_covariance", lambda *_: pytest.fail("a start was given"))
    experiment = replace(glimpse_on_maps.experiment, workdir=tmp_path, preset="distance_random", strategy="none", **ONE_EPOCH)
    run_glimpse_experiment(glimpse_on_maps.dataset, experiment)
    assert [stage["name"] for stage in begun] == ["clouds"]


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
    monkeypatch.setitem(sys.modules["keras_actrec.recipes.glimpse_clouds"]._TEST_ROWS, run.experiment.train, 6)
    before = modified(run.experiment.caches)
    monkeypatch.setattr(keras.Model, "fit", never)
    for name in ("poses.clean", "person_clips._PersonVideo", "glimpse_maps.glimpse_network"):
        monkeypatch.setattr(f"keras_actrec.extraction.{name}", never)
    monkeypatch.setattr(PoseCache, "pixels", never)
    monkeypatch.setattr(MahalanobisDistance, "set_inverse_covariance", never)
    again = run_glimpse_experiment(run.dataset, copied(run, tmp_path / "run", *stages_of(run)))
    changing = {"seconds": 0, "accuracy_by_kind": 0}
    assert {**again.metrics, **changing} == {**run.result.metrics, **changing}
    np.testing.assert_allclose(again.evaluation.scores[STREAM], run.result.evaluation.scores[STREAM], atol=1e-5)
    assert again.left_out == run.result.left_out and modified(run.experiment.caches) == before
    assert max(rows) == 6 and sum(rows) == len(TESTED) * VIEWS


def test_a_run_stopped_between_its_stages_ends_as_an_uninterrupted_one(glimpse_end_to_end, tmp_path, exported):
    experiment = copied(glimpse_end_to_end, tmp_path, "global")
    result = run_glimpse_experiment(glimpse_end_to_end.dataset, experiment)
    assert result.metrics["stages"] == glimpse_end_to_end.result.metrics["stages"]
    found, expected = (one.evaluation.scores[STREAM] for one in (result, glimpse_end_to_end.result))
    np.testing.assert_allclose(found, expected, atol=1e-4)


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
    experiment = copied(glimpse_end_to_end, tmp_path, "global", "clouds", **changes)
    with pytest.raises(ConfigError, match=f"the stage was started with other settings: .*{names}"):
        run_glimpse_experiment(glimpse_end_to_end.dataset, experiment)
    assert not (tmp_path / "metrics.json").exists()


def test_a_second_stage_of_another_first_one_is_refused(glimpse_end_to_end, tmp_path, quickly):
    """As where a run was started anew with another first stage and stopped in it: its second stage is of the run before."""
    experiment = copied(glimpse_end_to_end, tmp_path, "clouds", global_stage=replace(STAGE, epochs=1), strategy="none")
    with pytest.raises(ConfigError, match="the stage was started with other settings: stages_before"):
        run_glimpse_experiment(glimpse_end_to_end.dataset, experiment)


def test_caches_made_with_other_options_are_refused_and_kept(glimpse_on_maps, tmp_path):
    experiment = replace(glimpse_on_maps.experiment, workdir=tmp_path / "run")
    before = modified(experiment.caches)
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
    assert modified(experiment.caches) == before and not (tmp_path / "run").exists()


# Variants ---------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_trains_on_the_same_maps(glimpse_on_maps, tmp_path, quickly, exported, name):
    experiment = replace(glimpse_on_maps.experiment, workdir=tmp_path, preset=name, strategy="none", **ONE_EPOCH)
    before = modified(experiment.caches)
    metrics = run_glimpse_experiment(glimpse_on_maps.dataset, experiment).metrics
    sizes = {"layout": "lcrnet_13", "frames": FRAMES, "map_shape": MAP, "context_size": CONTEXT}
    network = replace(small_preset(name, 9), **sizes)
    assert metrics["preset"] == name and GlimpseCloudsConfig(**metrics["configuration"]["model"]) == network
    (stage,) = metrics["stages"]
    assert stage["name"] == ("clouds" if network.has_glimpses else "global")
    (epoch,) = pd.read_csv(tmp_path / stage["name"] / "log.csv").to_dict("records")
    terms = {column.removesuffix("_loss") for column in epoch if column.endswith("_loss") and not column.startswith("val_")}
    wanted = {"pose"} if network.pose_loss else set()
    wanted |= {"glimpses"} if network.glimpse_loss else set()
    assert terms - {"logits", "val"} == wanted and all(np.isfinite(value) for value in epoch.values())
    assert exported["inputs"] == {"clip"} and {"logits", *wanted} <= exported["outputs"]
    assert modified(experiment.caches) == before


def test_the_global_model_alone_is_stage_1(glimpse_end_to_end, tmp_path, quickly, exported, begun):
    caches = glimpse_end_to_end.experiment.caches
    experiment = tiny_glimpse(tmp_path, cache_dir=caches, preset="global", strategy="none", freeze_backbone=True, **ONE_EPOCH)
    metrics = run_glimpse_experiment(glimpse_end_to_end.dataset, experiment).metrics
    assert [(stage["name"], stage["trains"]) for stage in begun] == [("global", True)]
    assert [stage["name"] for stage in metrics["stages"]] == ["global"] and exported["outputs"] == {"logits", "pose"}


def test_crops_around_people_are_exported_with_what_says_where_they_are(glimpse_end_to_end, tmp_path, quickly, exported):
    caches = tmp_path / "cache"
    caches.mkdir()
    shutil.copytree(glimpse_end_to_end.experiment.caches / "poses", caches / "poses")
    crop = replace(glimpse_end_to_end.experiment.crop, box="clip", size=SIZE)
    experiment = tiny_glimpse(tmp_path, crop=crop, preset="global", strategy="none", **ONE_EPOCH)
    result = run_glimpse_experiment(glimpse_end_to_end.dataset, experiment)
    assert (exported["picture_size"], exported["crop"]["box"]) == (SIZE, "clip") and exported["cleaning"]["min_frames"]
    assert set(UNPLACED) <= {entry.clip_id for entry in result.left_out}, "without joints there is nothing to cut around"


# Devices ----------------------------------------------------------------------------------------------------------------------


def test_two_devices(glimpse_data, tmp_path):
    """In a process of its own: the CPU is split before TensorFlow starts."""
    command = [sys.executable, "-m", "tests.recipes.glimpse_mirrored_run", str(glimpse_data.root), str(tmp_path)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-3000:]
    found = json.loads(done.stdout.splitlines()[-1])
    assert "batch size 7" in found["odd_batch"] and "a multiple of 2" in found["odd_batch"]
    for train, stages in (("end_to_end", ["global", "clouds"]), ("on_maps", ["clouds"])):
        assert (found[train]["devices"], found[train]["stages"]) == (2, stages)
        np.testing.assert_allclose(found[train]["again"], found[train]["tested"], atol=1e-3)


# What cannot begin ------------------------------------------------------------------------------------------------------------


def test_an_unknown_protocol_names_those_that_exist(glimpse_data, tmp_path):
    with pytest.raises(ConfigError, match=r"unknown protocol \(found 'view3', expected one of cross_subject, cross_view"):
        run_glimpse_experiment(glimpse_data, tiny_glimpse(tmp_path / "run", protocol="view3"))
    assert not (tmp_path / "run").exists()


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


def test_the_synthetic_data_alone_go_on_with_random_weights(glimpse_end_to_end, tmp_path, quickly, exported):
    experiment = tiny_glimpse(
        tmp_path, cache_dir=glimpse_end_to_end.experiment.caches, backbone=replace(NETWORK, weights="imagenet"),
        preset="global", strategy="none", **ONE_EPOCH,
    )  # fmt: skip
    with pytest.warns(UserWarning, match="RANDOM backbone weights, which say nothing about real data: the ImageNet weights"):
        metrics = run_glimpse_experiment(glimpse_end_to_end.dataset, experiment).metrics
    assert metrics["weights"]["weights"] == "random" == exported["backbone"]["weights"]


def test_weights_that_change_while_maps_are_made_of_them_are_refused(glimpse_on_maps, tmp_path, monkeypatch):
    monkeypatch.setattr(keras.Model, "fit", lambda *_, **__: pytest.fail("the head was trained"))
    other = replace(NETWORK, seed=1)
    monkeypatch.setattr("keras_actrec.recipes.glimpse_clouds.build_inflated_resnet", lambda *_, **__: build_tiny(other))
    with pytest.raises(WeightsError, match="glimpse_maps: the backbone's weights changed while the maps were made"):
        run_glimpse_experiment(glimpse_on_maps.dataset, replace(glimpse_on_maps.experiment, workdir=tmp_path))


@pytest.mark.parametrize("train", ["end_to_end", "on_maps"])
def test_a_data_set_without_videos(tmp_path, monkeypatch, train):
    monkeypatch.setattr(keras.Model, "fit", lambda *_, **__: pytest.fail("a stage was trained"))
    dataset = NorthwesternUCLA(write_nucla(tmp_path / "nucla"))
    with pytest.raises(DatasetError, match=r"view3 has no clip to train on: all of them were left out.*left_out\.csv lists"):
        run_glimpse_experiment(dataset, tiny_glimpse(tmp_path / "run", protocol="view3", train=train))
    listed = (tmp_path / "run" / "left_out.csv").read_text()
    assert listed.count("the clip has no video") == len(dataset.records) == 24


def test_a_mended_video_is_tried_again_when_asked(glimpse_end_to_end, tmp_path, quickly, exported):
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
