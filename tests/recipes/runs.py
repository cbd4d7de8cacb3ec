"""What the tests of the video networks' recipes share: files of a run, going on from a run, and what every run does."""

from __future__ import annotations

import csv
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import keras
import pytest

from keras_actrec.datasets.nucla import NorthwesternUCLA
from keras_actrec.errors import ConfigError, DatasetError
from tests.recipes.small_data import write_nucla

ROOT = Path(__file__).resolve().parents[2]


def files(folder: Path) -> set[str]:
    """Names of all files below a folder."""
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def modified(folder: Path) -> dict[Path, int]:
    """File → when it was written."""
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}


def copied(run, workdir: Path, *stages: str, **changes):
    """The experiment of a finished run in another working directory, to go on from copies of its stages."""
    for name in stages:
        shutil.copytree(run.workdir / name, workdir / name)
    return replace(run.experiment, workdir=workdir, cache_dir=run.experiment.caches, resume=True, **changes)


def assert_left_out(run, faults: Mapping[str, tuple[str, Callable[[Path, str], Path], str]]) -> None:
    """Bad clips alone are left out and listed.

    Args:
        run: a finished one, with its data set and its result.
        faults: clip → stage that notices, file, what the reason says.
    """
    with (run.workdir / "left_out.csv").open(newline="", encoding="utf-8") as file:
        rows = {row["clip_id"]: row for row in csv.DictReader(file)}
    assert set(rows) == set(faults) == {entry.clip_id for entry in run.result.left_out}
    for clip, (stage, file, words) in faults.items():
        assert (rows[clip]["stage"], rows[clip]["file"]) == (stage, str(file(run.dataset.root, clip)))
        assert words in rows[clip]["reason"]


def on_two_devices(module: str, root: Path, place: Path) -> dict[str, Any]:
    """What a module prints as JSON, run in a process of its own: the CPU is split before TensorFlow starts."""
    command = [sys.executable, "-m", f"tests.recipes.{module}", str(root), str(place)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-3000:]
    found = json.loads(done.stdout.splitlines()[-1])
    assert "batch size 7" in found["odd_batch"] and "a multiple of 2" in found["odd_batch"]
    return found


def assert_unknown_protocol(run_experiment: Callable, dataset, experiment) -> None:
    """It is refused with the names of those that exist; nothing is written. `experiment` is of protocol "view3"."""
    with pytest.raises(ConfigError, match=r"unknown protocol \(found 'view3', expected one of cross_subject, cross_view"):
        run_experiment(dataset, experiment)
    assert not experiment.workdir.exists()


def assert_without_videos(run_experiment: Callable, experiment, root: Path, monkeypatch) -> None:
    """A data set without videos ends in an error, and left_out.csv lists its clips. `experiment` is of protocol "view3"."""
    monkeypatch.setattr(keras.Model, "fit", lambda *_, **__: pytest.fail("a stage was trained"))
    dataset = NorthwesternUCLA(write_nucla(root))
    with pytest.raises(DatasetError, match=r"view3 has no clip to train on: all of them were left out.*left_out\.csv lists"):
        run_experiment(dataset, experiment)
    listed = (experiment.workdir / "left_out.csv").read_text()
    assert listed.count("the clip has no video") == len(dataset.records) == 24
