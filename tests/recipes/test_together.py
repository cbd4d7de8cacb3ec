"""`--strategy multiworker` in whole experiments: two workers on this machine leave what one process leaves."""

from __future__ import annotations

import argparse
import json
import re
import runpy
import signal
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace

import h5py
import numpy as np
import pytest
import tensorflow as tf

from keras_actrec.cache.schema import load_index
from keras_actrec.datasets.nucla import NorthwesternUCLA
from keras_actrec.errors import CacheError, ConfigError, DatasetError
from keras_actrec.extraction.poses import extract_poses
from keras_actrec.extraction.run import ExtractionReport
from keras_actrec.recipes import together
from keras_actrec.recipes.glimpse_clouds.run import run_glimpse_experiment
from keras_actrec.recipes.rpan.run import run_rpan_experiment
from keras_actrec.recipes.sta_hands.two_stream import open_synthetic, run_two_stream
from keras_actrec.recipes.together import check_same_run, chief_alone, connected, whole_report
from keras_actrec.recipes.vpn.run import run_vpn_experiment
from keras_actrec.training.checkpoints import read_checkpoint
from tests.recipes import tiny_glimpse, tiny_rpan, tiny_vpn
from tests.recipes.runs import ROOT, files
from tests.recipes.small_data import write_nucla
from tests.recipes.tiny import tiny_experiment
from tests.recipes.worker_run import CLIPS_PER_SHARD, main
from tests.two_workers import run

MODULE = "tests.recipes.worker_run"
OF_WORKDIR = {"cache", "tensorboard"}
"""Folders whose files have other names in each run."""


@dataclass(frozen=True)
class Left:
    """What a run left on a worker: see `worker_run`."""

    metrics: dict
    left_out: list
    export: str
    arrays: dict[str, np.ndarray]


def left(folder: Path, name: str, worker: int = 0) -> Left:
    with np.load(folder / f"{name}-{worker}.npz") as file:
        return Left(**json.loads((folder / f"{name}-{worker}.json").read_text()), arrays=dict(file))


def weights(file: Path) -> dict[str, np.ndarray]:
    arrays = {}
    with h5py.File(file) as content:
        content.visititems(lambda name, one: arrays.update({name: one[()]} if isinstance(one, h5py.Dataset) else {}))
    return arrays


def by_one_process(folder: Path, mode: str) -> Path:
    main("none", folder, mode)
    return folder


def by_two_workers(folder: Path, mode: str) -> Path:
    for status, text in run(MODULE, folder, mode):
        assert status == 0, text[-3000:]
    return folder


@pytest.fixture(scope="module")
def one(tmp_path_factory) -> Path:
    """Where one process has run the two-stream network and RPAN."""
    return by_one_process(tmp_path_factory.mktemp("one"), "whole")


@pytest.fixture(scope="module")
def two(tmp_path_factory) -> Path:
    """Where two workers have."""
    return by_two_workers(tmp_path_factory.mktemp("two"), "whole")


@pytest.fixture(scope="module")
def further_one(tmp_path_factory) -> Path:
    """Where one process has trained the pose stream, and folds of it."""
    return by_one_process(tmp_path_factory.mktemp("further_one"), "further")


@pytest.fixture(scope="module")
def further_two(tmp_path_factory) -> Path:
    """Where two workers have, and VPN and Glimpse Clouds."""
    return by_two_workers(tmp_path_factory.mktemp("further_two"), "further")


def assert_same_results(one: Path, two: Path, name: str) -> None:
    expected = left(one, name)
    for found in (left(two, name, worker) for worker in range(2)):
        assert found.arrays.keys() == expected.arrays.keys()
        assert list(found.arrays["clip_ids"]) == list(expected.arrays["clip_ids"])
        for stream in found.arrays.keys() - {"clip_ids"}:
            np.testing.assert_allclose(found.arrays[stream], expected.arrays[stream], rtol=0, atol=1e-5)
        for key in ("accuracy", "mean_class_accuracy", "macro_f1", "per_class", "stages", "protocol", "preset", "seed"):
            assert found.metrics[key] == expected.metrics[key], key
        assert [entry[:2] for entry in found.left_out] == [entry[:2] for entry in expected.left_out]


def assert_same_weights(one: Path, two: Path, stage: str) -> None:
    expected, found = (weights(folder / stage / "model.weights.h5") for folder in (one, two))
    assert found.keys() == expected.keys() and len(expected) >= 7
    for name, array in expected.items():
        np.testing.assert_allclose(found[name], array, rtol=0, atol=1e-5, err_msg=name)


def assert_workers_agree(folder: Path, name: str) -> None:
    chief, other = left(folder, name, 0), left(folder, name, 1)
    assert (other.metrics, other.left_out, other.export) == (chief.metrics, chief.left_out, chief.export)
    for key, array in chief.arrays.items():
        np.testing.assert_array_equal(other.arrays[key], array)
    assert chief.metrics["configuration"].get("devices", 2) == 2


def served(export: Path) -> dict:
    """An exported model on given inputs."""
    signature = tf.saved_model.load(str(export)).signatures["serve"]
    specs = signature.structured_input_signature[1]
    inputs = {key: tf.random.stateless_uniform((2, *spec.shape[1:]), (1, 2), -1, 1) for key, spec in specs.items()}
    return signature(**inputs)


@pytest.mark.parametrize("name", ["two_stream", "rpan"])
def test_the_results_of_one_process_on_both_workers(one, two, name):
    assert_same_results(one, two, name)
    assert_workers_agree(two, name)


@pytest.mark.parametrize("stage", ["two_stream/pose", "two_stream/rgb", "rpan/rgb", "rpan/flow"])
def test_the_weights_of_one_process(one, two, stage):
    assert_same_weights(one, two, stage)


def test_what_was_left_out_is_that_of_the_whole_cache(two):
    # Each worker has read but its own shards.
    assert {clip for clip, *_ in left(two, "rpan", 1).left_out} == set(tiny_rpan.FAULTS)
    shards = load_index(two / "rpan" / "cache" / "poses").shards
    assert len(shards) > 4 and max(map(len, shards)) == CLIPS_PER_SHARD


@pytest.mark.parametrize("name", ["two_stream", "rpan"])
def test_the_files_are_those_of_one_process(one, two, name):
    found, expected = (
        {file for file in files(folder / name) if OF_WORKDIR.isdisjoint(Path(file).parts)} for folder in (two, one)
    )
    assert found == expected and {"metrics.json", "left_out.csv", "curves.png", "export/saved_model.pb"} <= found


@pytest.mark.parametrize("name", ["two_stream", "rpan"])
def test_the_chief_exports_alone_what_one_process_exports(one, two, name):
    expected, found = (served(folder / name / "export") for folder in (one, two))
    for key, values in expected.items():
        np.testing.assert_allclose(found[key], values, atol=1e-4, err_msg=key)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["vpn", "glimpse_clouds"])
def test_vpn_and_glimpse_clouds(further_two, name):
    assert_workers_agree(further_two, name)
    assert {"metrics.json", "left_out.csv", "scores.npz", "curves.png"} <= files(further_two / name)
    np.testing.assert_allclose(np.sum(served(further_two / name / "export")["probabilities"], axis=-1), 1, atol=1e-5)


@pytest.mark.slow
def test_folds_one_after_the_other(further_one, further_two):
    expected = json.loads((further_one / "folds-0.json").read_text())["metrics"]
    for worker in range(2):
        found = json.loads((further_two / f"folds-{worker}.json").read_text())["metrics"]
        assert found["folds"] == expected["folds"] and len(found["folds"]) == 2
    assert json.loads((further_two / "folds" / "metrics.json").read_text())["accuracy"] == expected["accuracy"]
    assert_same_weights(further_one, further_two, "folds/inner_subject2_of_cross_subject/pose")


@pytest.mark.slow
def test_killed_workers_end_the_job_which_goes_on_where_it_was(further_one, tmp_path):
    words = r"TrainingError: worker 1 \(127.0.0.1:\d+\) stopped: the job goes on .*start all workers again.*--resume"
    (status, text), (other, _) = run(MODULE, tmp_path, "extracting")
    assert (status, other) == (1, -signal.SIGKILL) and re.search(words, text), text[-3000:]
    poses = tmp_path / "cache" / "poses"
    there = {file.name: file.stat().st_mtime_ns for file in poses.glob("*.h5")}
    assert 0 < len(there) < len(load_index(poses).shards) and not (tmp_path / "pose").exists()

    (status, text), (other, _) = run(MODULE, tmp_path, "training")
    assert (status, other) == (1, -signal.SIGKILL) and re.search(words, text), text[-3000:]
    assert read_checkpoint(tmp_path / "pose" / "pose" / "checkpoint.npys").progress.epochs == 2
    now = {file.name: file.stat().st_mtime_ns for file in poses.glob("*.h5")}
    assert there.items() <= now.items() and len(now) == len(load_index(poses).shards)  # none was written anew
    assert not list(poses.glob("*.part")) and not (tmp_path / "pose" / "metrics.json").exists()

    by_two_workers(tmp_path, "resume")
    assert_same_weights(further_one, tmp_path, "pose/pose")
    assert_same_results(further_one, tmp_path, "pose")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("mode", "words"),
    [
        ("apart", r"CacheError: .*cache/poses: the cache is not complete, though all 2 workers .*expected one folder that all"),
        ("different", r"ConfigError: worker 1 \(127.0.0.1:\d+\): the workers were started with different settings: holdout \("),
    ],
)
def test_workers_that_do_not_run_the_same_are_refused(tmp_path, mode, words):
    (status, text), (other, _) = run(MODULE, tmp_path, mode)
    assert status == other == 1 and re.search(words, text), text[-3000:]
    assert not (tmp_path / "pose").exists()


# Of one process ---------------------------------------------------------------------------------------------------------------


def test_a_worker_that_does_not_see_the_synthetic_data_set(tmp_path, monkeypatch):
    monkeypatch.setattr("keras_actrec.recipes.sta_hands.two_stream.chief_alone", lambda strategy, work: "elsewhere")
    with pytest.raises(DatasetError, match=r"synthetic_ntu: .*first worker has made is not here.*disk that all machines share"):
        open_synthetic(tmp_path, tiny_rpan.SYNTHETIC, strategy="multiworker")


@pytest.mark.parametrize("strategy", ["mirrored", "none"])
def test_one_process_is_its_own_chief(strategy):
    workers = connected(strategy)
    assert (workers.index, workers.count, workers.is_chief) == (0, 1, True)
    assert chief_alone(strategy, lambda: {"any": Path("object")}) == {"any": Path("object")}
    workers.wait()


@pytest.fixture
def dataset(tmp_path) -> NorthwesternUCLA:
    """24 clips, of which the first and the last do not read: they are in different shares of the cache."""
    root = write_nucla(tmp_path / "nucla")
    listed = sorted(root.rglob("*.json"))
    for file in (listed[0], listed[-1]):
        file.write_text("{")
    return NorthwesternUCLA(root)


def share_of(dataset, directory: Path, index: int) -> ExtractionReport:
    return extract_poses(dataset, directory, clips_per_shard=4, share=(index, 2), progress=False)


def test_a_worker_waits_for_the_shares_of_the_others_and_reports_on_all(dataset, tmp_path):
    report = share_of(dataset, tmp_path / "poses", 0)
    clips = [record.clip_id for record in dataset.records]
    assert len(report.left_out) == 1 and whole_report(connected("none"), report, clips) is report
    workers = SimpleNamespace(count=2, wait=lambda: share_of(dataset, tmp_path / "poses", 1))
    whole = whole_report(workers, report, clips)
    assert {entry.clip_id for entry in whole.left_out} == {clips[0], clips[-1]} and whole.done == report.done
    assert [entry.clip_id for entry in whole_report(workers, report, clips[1:]).left_out] == [clips[-1]]


def test_shards_that_a_network_disk_shows_late(dataset, tmp_path, monkeypatch):
    report = share_of(dataset, tmp_path / "poses", 0)
    monkeypatch.setattr(together.time, "sleep", lambda _: share_of(dataset, tmp_path / "poses", 1))
    workers = SimpleNamespace(count=2, wait=lambda: None)
    assert len(whole_report(workers, report, [record.clip_id for record in dataset.records]).left_out) == 2


def test_shards_that_never_come(dataset, tmp_path, monkeypatch):
    monkeypatch.setattr(together, "_SETTLE_SECONDS", 0)
    report = share_of(dataset, tmp_path / "poses", 0)
    words = (
        r"all 2 workers have written their shares \(found 3 shards are missing here, expected one folder that all workers see"
    )
    with pytest.raises(CacheError, match=words) as error:
        whole_report(SimpleNamespace(count=2, wait=lambda: None), report, ["any"])
    assert "--cache-dir" in str(error.value) and "start all workers again" in str(error.value)


EXPERIMENTS = {
    "two_stream": (tiny_experiment, run_two_stream),
    "vpn": (tiny_vpn.tiny_vpn, run_vpn_experiment),
    "glimpse_clouds": (tiny_glimpse.tiny_glimpse, run_glimpse_experiment),
    "rpan": (tiny_rpan.tiny_rpan, run_rpan_experiment),
}


def experiment_of(model: str, workdir: Path, **changes):
    make, _ = EXPERIMENTS[model]
    return replace(make(workdir, None) if model == "two_stream" else make(workdir), **changes)


@pytest.mark.parametrize("model", EXPERIMENTS)
def test_workers_compare_all_but_paths_before_anything_is_written(nucla_root, tmp_path, model):
    said = []
    workers = SimpleNamespace(count=2, check_same=said.append)
    dataset = NorthwesternUCLA(nucla_root)
    here = experiment_of(model, tmp_path / "here", cache_dir=tmp_path / "cache", seed=3)
    for one in (here, replace(here, workdir=tmp_path / "there", workers=5), replace(here, seed=4), replace(here, resume=True)):
        check_same_run(workers, dataset, one)
    assert said[0] == said[1] and str(tmp_path) not in json.dumps(said)
    differing = [{name for name in said[0] if said[0][name] != other[name]} for other in said[2:]]
    assert differing == [{"seed"}, {"resume"}]
    assert re.fullmatch(r"nucla, 24 clips, [0-9a-f]{12}", said[0]["data set"])
    check_same_run(SimpleNamespace(count=1), dataset, here)  # one process compares nothing
    assert len(said) == 4


@pytest.mark.parametrize("model", EXPERIMENTS)
def test_all_four_models_take_the_strategy(nucla_root, tmp_path, monkeypatch, model):
    # The strategy comes before anything else, and says what it lacks.
    monkeypatch.delenv("TF_CONFIG", raising=False)
    experiment = experiment_of(model, tmp_path / "run", strategy="multiworker", protocol="view3")
    given = (experiment,) if model == "two_stream" else (NorthwesternUCLA(nucla_root), experiment)
    with pytest.raises(ConfigError, match=r'"multiworker" needs the addresses of all workers .*TF_CONFIG \(found nothing'):
        EXPERIMENTS[model][1](*given)
    assert not (tmp_path / "run").exists()


SCRIPTS = {
    "ntu_pose_rgb": "", "ntu_vpn": "", "ntu_glimpse_clouds": "", "jhmdb_rpan": "--data-root r", "sbu_pose": "--data-root r",
    "ablations": "--table 4", "rpan_tables": "--table 1 --data-root r",
    "transfer": "--source ntu_rgbd --source-root r --target sbu --target-root r",
}  # fmt: skip


@pytest.mark.parametrize("script", SCRIPTS)
def test_scripts_take_the_strategy(monkeypatch, script):
    monkeypatch.delenv("TF_CONFIG", raising=False)
    seen = []
    parse = argparse.ArgumentParser.parse_args

    def parse_and_stop(parser):
        seen.append(parse(parser))
        raise KeyboardInterrupt

    monkeypatch.setattr(argparse.ArgumentParser, "parse_args", parse_and_stop)
    monkeypatch.setattr(sys, "argv", [script, *SCRIPTS[script].split(), "--strategy", "multiworker"])
    with pytest.raises(KeyboardInterrupt):
        runpy.run_path(str(ROOT / "experiments" / f"{script}.py"), run_name="__main__")
    assert seen[0].strategy == "multiworker"
