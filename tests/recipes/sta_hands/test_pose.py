"""The pose stream on its own: what the two settings are on every data set, and the mean over folds."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from keras_actrec.cache.schema import load_index
from keras_actrec.datasets.catalogue import DATASETS, open_dataset
from keras_actrec.datasets.sbu import SBUKinect
from keras_actrec.errors import ConfigError
from keras_actrec.recipes.reports import ExperimentResult
from keras_actrec.recipes.sta_hands import pose
from keras_actrec.recipes.sta_hands.pose import TASKS, PoseTask, pose_experiment, run_folds, task_of
from keras_actrec.skeletons.augmentation import NO_AUGMENTATION
from keras_actrec.skeletons.layouts import COCO_17, KINECT_V1, OPENPOSE_18, SBU_15
from keras_actrec.skeletons.views import VIEWS
from tests.datasets.test_catalogue import ROOTS
from tests.recipes.small_data import write_sbu

# Settings ---------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", TASKS)
def test_the_paper_s_settings(name):
    task = TASKS[name]
    made = pose_experiment(task, "paper", Path("w"), seed=3)
    # Baradel, Wolf, Mille 2017, section 4: Adam with 1e-4, batches of 64, 5 % of the training clips held out for early
    # stopping, tensors of two people in topological order, a convolutional network; no augmentation.
    stage = made.pose_stage
    assert (stage.learning_rate, stage.batch_size, made.holdout, made.holdout_unit) == (1e-4, 64, 0.05, "clip")
    assert stage.stops_early and (stage.weight_decay, stage.label_smoothing) == (0, 0)
    assert made.augmentation == NO_AUGMENTATION and made.test_views == ("plain",)
    assert (made.tensor.people, made.tensor.order, made.tensor.scale) == (2, "topological", task.scale)
    network = made.model(8, SBU_15)
    assert (network.pose_network, network.streams, network.dropout) == ("convolutional", "pose", 0.5)
    assert (made.sampling.frames, made.sampling.subsequences) == (20, 10)
    check_common(made, task, "paper")


@pytest.mark.parametrize("name", TASKS)
def test_the_tuned_settings(name):
    task = TASKS[name]
    made = pose_experiment(task, "tuned", Path("w"), seed=3)
    augmentation = made.augmentation
    assert augmentation.rotation > 0 and augmentation.joint_noise > 0 and augmentation.window < 1
    assert made.model(8, SBU_15).pose_network == "res_tcn" and not made.pose_stage.stops_early
    assert (made.tensor.people, made.tensor.scale) == (task.people, "body")
    # A swap of people needs two of them.
    assert made.test_views == (VIEWS if task.people == 2 else ("plain", "mirrored"))
    check_common(made, task, "tuned")


def check_common(made, task, settings):
    assert (made.settings, made.workdir, made.protocol, made.layout) == (settings, Path("w"), task.protocols[0], task.layout)
    assert made.seed == made.pose_stage.seed == 3 and not made.uses_video


@pytest.mark.parametrize("settings", ["", "Paper", "best"])
def test_unknown_settings(settings):
    with pytest.raises(ConfigError, match=rf"unknown settings \(found '{settings}', expected paper or tuned\)"):
        pose_experiment(TASKS["sbu"], settings, Path("w"))


def test_every_data_set_has_a_task_or_takes_its_first_protocol():
    assert set(DATASETS) - set(TASKS) == {"own"} and set(TASKS) - set(DATASETS) == {"synthetic_ntu"}


@pytest.mark.parametrize("name", DATASETS)
def test_protocols_of_the_tasks_are_those_of_the_data_sets(name, tmp_path):
    dataset = open_dataset(name, ROOTS[name](tmp_path), video=False)
    task = task_of(name, dataset)
    assert set(task.protocols) <= set(dataset.protocols())
    if len(task.protocols) > 1:  # folds: all of them
        assert task.protocols == tuple(dataset.protocols())


@pytest.mark.parametrize(("layout", "expected"), [(COCO_17, "jhmdb_15"), (OPENPOSE_18, "jhmdb_15"), (KINECT_V1, None)])
def test_poses_without_a_spine_are_retargeted_to_ones_that_have_it(layout, expected):
    dataset = SimpleNamespace(records=[SimpleNamespace(layout=layout)], protocols=lambda: {"split": None, "split_2": None})
    assert task_of("own", dataset) == PoseTask(("split",), layout=expected, scale="body")


# Folds ------------------------------------------------------------------------------------------------------------------------

FOLDS = ("fold1", "fold5")


@pytest.fixture(scope="module")
def sbu(tmp_path_factory) -> SBUKinect:
    return SBUKinect(write_sbu(tmp_path_factory.mktemp("sbu")))


@pytest.fixture(scope="module")
def folds(sbu, tmp_path_factory) -> tuple[Path, dict[str, object]]:
    """Working directory and metrics of two folds of one epoch."""
    workdir = tmp_path_factory.mktemp("folds") / "run"
    experiment = pose_experiment(PoseTask(FOLDS), "paper", workdir, seed=5)
    experiment = replace(experiment, pose_stage=replace(experiment.pose_stage, epochs=1), holdout=0.1)
    return workdir, run_folds(sbu, experiment, FOLDS)


def test_metrics_are_the_means_of_the_folds(folds):
    workdir, metrics = folds
    assert metrics == json.loads((workdir / "metrics.json").read_text())
    assert (metrics["dataset"], metrics["protocol"], metrics["preset"], metrics["seed"]) == ("sbu", "2-fold", "paper", 5)
    found = [json.loads((workdir / fold / "metrics.json").read_text()) for fold in FOLDS]
    for metric in ("accuracy", "mean_class_accuracy", "macro_f1"):
        assert metrics[metric]["pose"] == pytest.approx((found[0][metric]["pose"] + found[1][metric]["pose"]) / 2)
    # Fold 1 tests 4 sets, fold 5 five sets, of 2 clips each.
    assert metrics["clips"] == {"test": 8 + 10, "left_out": 0}
    assert {fold: entry["clips"]["test"] for fold, entry in metrics["folds"].items()} == {"fold1": 8, "fold5": 10}
    assert metrics["configuration"] == found[0]["configuration"]


@pytest.mark.parametrize("fold", FOLDS)
def test_accuracy_of_a_fold_is_that_of_its_scores(folds, sbu, fold):
    workdir, metrics = folds
    with np.load(workdir / fold / "scores.npz") as scores:
        assert tuple(scores["clip_ids"]) == sbu.protocols()[fold].test
        accuracy = np.mean(scores["scores_pose"].argmax(axis=1) == scores["labels"])
    assert metrics["folds"][fold]["accuracy"] == {"pose": pytest.approx(accuracy)}


def test_files_of_the_folds_and_their_one_cache(folds, sbu):
    workdir, _ = folds
    assert sorted(entry.name for entry in workdir.iterdir()) == ["cache", *FOLDS, "metrics.json", "report.html"]
    for fold in FOLDS:
        assert {entry.name for entry in (workdir / fold).iterdir()} == {
            *("metrics.json", "left_out.csv", "scores.npz", "confusion_pose.png", "curves.png", "report.html", "export", "pose")
        }
    cached = [clip for clips in load_index(workdir / "cache" / "poses").shards for clip in clips]
    assert sorted(cached) == [record.clip_id for record in sbu.records]


def fold_of(calls, accuracies):
    """In place of `run_experiment`: notes the experiments, gives these accuracies one after the other."""

    def run(dataset, experiment):
        calls.append(experiment)
        accuracy = {"pose": accuracies[len(calls) - 1]}
        same = dict.fromkeys(("model", "preset", "seed", "weights", "subsequences_per_clip", "command", "versions"))
        same |= dict.fromkeys(("accuracy", "mean_class_accuracy", "macro_f1"), accuracy)
        clips = {"test": 10 * len(calls), "left_out": 2}
        metrics = {"dataset": dataset.name, "configuration": {}, "seconds": 1.5, "clips": clips, **same}
        return ExperimentResult({**metrics, "protocol": experiment.protocol}, None, (), Path())

    return run


def test_folds_count_alike_whatever_their_clips(sbu, tmp_path, monkeypatch):
    calls = []
    monkeypatch.setattr(pose, "run_experiment", fold_of(calls, (0.2, 0.6, 1.0)))
    experiment = pose_experiment(TASKS["sbu"], "paper", tmp_path / "w")
    metrics = run_folds(sbu, experiment, ("fold1", "fold2", "fold3"))
    assert metrics["accuracy"]["pose"] == pytest.approx(0.6), "(0.2 + 0.6 + 1.0) / 3, not weighted by 10, 20, 30 clips"
    assert (metrics["clips"], metrics["seconds"], metrics["protocol"]) == ({"test": 60, "left_out": 2}, 4.5, "3-fold")
    assert [(e.protocol, e.workdir, e.caches) for e in calls] == [
        (f"fold{k}", tmp_path / "w" / f"fold{k}", tmp_path / "w" / "cache") for k in (1, 2, 3)
    ]


def test_one_protocol_has_no_folder_of_its_own(sbu, tmp_path, monkeypatch):
    calls = []
    monkeypatch.setattr(pose, "run_experiment", fold_of(calls, (0.4,)))
    metrics = run_folds(sbu, replace(pose_experiment(TASKS["sbu"], "tuned", tmp_path), cache_dir=tmp_path / "c"), ("fold3",))
    assert [(e.protocol, e.workdir, e.caches) for e in calls] == [("fold3", tmp_path, tmp_path / "c")]
    assert metrics["protocol"] == "fold3" and "folds" not in metrics
    assert not (tmp_path / "metrics.json").exists(), "run_experiment has written it"


def test_an_unknown_fold(sbu, tmp_path):
    with pytest.raises(ConfigError, match=r"unknown protocol \(found 'fold6', expected one of fold1, fold2, .*fold5\)"):
        run_folds(sbu, pose_experiment(TASKS["sbu"], "paper", tmp_path / "w"), ("fold6",))
    assert not (tmp_path / "w").exists()
