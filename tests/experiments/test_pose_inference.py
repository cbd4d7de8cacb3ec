"""The benchmark of the pose stream: what it times is what the recipes test with, and it runs with and without a data root."""

from __future__ import annotations

import json
import os
import runpy

import numpy as np
import pytest

from keras_actrec.cache.reader import PoseCache
from keras_actrec.datasets.catalogue import DATASETS, open_dataset
from keras_actrec.extraction.poses import dataset_layout
from keras_actrec.recipes.sta_hands.pose import SETTINGS, TASKS, pose_experiment
from keras_actrec.recipes.sta_hands.run import prepare_source
from keras_actrec.skeletons.cleaning import clean
from tests.datasets.test_catalogue import ROOTS
from tests.datasets.test_sbu import write_clip as write_sbu_clip
from tests.experiments.test_scripts import REPOSITORY, run

SCRIPT = REPOSITORY / "benchmarks" / "pose_inference.py"
SMALL = ("--clips", 3, "--batch-size", 2, "--repetitions", 2)
MEASURED = ("pose tensors", "network, batches of 2", "network, clip by clip", "whole, batches of 2", "whole, clip by clip")


@pytest.fixture(scope="module")
def script() -> dict[str, object]:
    """The script's names."""
    return runpy.run_path(str(SCRIPT))


def lines(output: str) -> list[dict[str, object]]:
    return [json.loads(line) for line in output.splitlines()]


def test_made_clips_have_the_layout_and_the_classes_of_the_data_sets(script, tmp_path):
    assert set(script["GENERATED"]) == set(DATASETS) - {"own"}
    for name, (layout, classes) in script["GENERATED"].items():
        (tmp_path / name).mkdir()
        dataset = open_dataset(name, ROOTS[name](tmp_path / name), video=False)
        assert (layout, classes) == (dataset_layout(dataset).name, len(dataset.class_names)), name


@pytest.mark.parametrize("settings", SETTINGS)
def test_the_timed_pose_tensors_are_those_of_the_pose_cache(script, settings, tmp_path):
    dataset = open_dataset("penn_action", ROOTS["penn_action"](tmp_path), video=False)  # retargeted: 13 joints to 15
    experiment = pose_experiment(TASKS["penn_action"], settings, tmp_path / "run")
    prepare_source(dataset, experiment)
    (record,) = dataset.records
    sequence, _ = clean(dataset.load_skeleton(record), dataset.cleaning)
    timed = script["tensors_of"](sequence, experiment.joint_layout(dataset), experiment)
    with PoseCache(experiment.caches / "poses") as cache:
        np.testing.assert_array_equal(timed, cache.test_tensors([record.clip_id])[0])


def test_it_measures_made_clips():
    done = run(SCRIPT, "--dataset", "jhmdb", "--preset", "tuned", "--frames", 25, *SMALL)
    assert done.returncode == 0, done.stderr
    measured = lines(done.stdout)
    assert [line["name"] for line in measured] == [f"pose inference: {name}" for name in MEASURED]
    for line in measured:
        assert line["unit"] == "clips/s" and 0 < line["least"] <= line["value"] <= line["most"]
    # 15 joints of one person without repeats: 45 columns
    assert "jhmdb_15, pose tensors (10, 20, 45, 3)" in done.stderr and "3 clips of 25 frames" in done.stderr


def test_it_measures_the_clips_of_a_data_root_and_goes_on_without_those_that_cannot_be_read(tmp_path):
    write_sbu_clip(tmp_path, "s01s02/01/001")
    write_sbu_clip(tmp_path, "s01s02/02/001").write_text("")
    done = run(SCRIPT, "--dataset", "sbu", "--data-root", tmp_path, "--preset", "paper", *SMALL)
    assert done.returncode == 0, done.stderr
    assert len(lines(done.stdout)) == len(MEASURED)
    assert "1 clips cannot be read, e.g." in done.stderr and "3 clips of" in done.stderr
    assert "sbu, paper settings, " in done.stderr and "sbu_15" in done.stderr


def test_a_data_root_without_a_readable_clip_ends_in_one_line(tmp_path):
    write_sbu_clip(tmp_path, "s01s02/02/001").write_text("")
    done = run(SCRIPT, "--dataset", "sbu", "--data-root", tmp_path, *SMALL)
    assert done.returncode == 1 and done.stdout == ""
    assert "error: " in done.stderr and "no clip can be read" in done.stderr and "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--dataset", "own"), "--dataset own needs --data-root"),
        (("--clips", 0), "--clips must be at least 1"),
        (("--batch-size", 0), "--batch-size must be at least 1"),
    ],
)
def test_options_that_make_no_sense(options, message):
    done = run(SCRIPT, *options)
    assert done.returncode == 2 and message in done.stderr


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="this system binds no process to a core")
def test_a_core_that_is_not_there():
    core = 1 + max(os.cpu_count(), *os.sched_getaffinity(0))
    done = run(SCRIPT, "--core", core, *SMALL)
    assert done.returncode == 1 and f"core {core} cannot be used" in done.stderr and "Traceback" not in done.stderr
