"""The pose scripts: arguments that arrive, what is run and printed, and errors in one line."""

from __future__ import annotations

import runpy
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from keras_actrec.datasets.catalogue import DATASETS
from keras_actrec.recipes.sta_hands import pose, pose_script, selection
from keras_actrec.recipes.sta_hands.experiment import Experiment
from keras_actrec.recipes.sta_hands.pose import TASKS, pose_experiment
from keras_actrec.recipes.sta_hands.pose_script import experiment_from, main, pose_arguments
from keras_actrec.recipes.sta_hands.selection import UNITS
from keras_actrec.skeletons.augmentation import NO_AUGMENTATION
from tests.recipes.small_data import write_nucla, write_sbu

SCRIPTS = sorted((Path(__file__).resolve().parents[3] / "experiments").glob("*_pose.py"))


def give(monkeypatch, *arguments) -> None:
    monkeypatch.setattr(sys, "argv", ["sbu_pose.py", *map(str, arguments)])


def experiment(monkeypatch, *arguments) -> Experiment:
    """What the script of SBU makes of its arguments."""
    give(monkeypatch, "--data-root", "d", *arguments)
    return experiment_from(pose_arguments("sbu", ""), TASKS["sbu"])


# Arguments --------------------------------------------------------------------------------------------------------------------


def test_defaults_are_the_tuned_settings(monkeypatch):
    assert experiment(monkeypatch) == pose_experiment(TASKS["sbu"], "tuned", Path("runs/sbu_pose"))
    paper = pose_experiment(TASKS["sbu"], "paper", Path("w"))
    assert experiment(monkeypatch, "--preset", "paper", "--workdir", "w") == paper


def test_every_argument_arrives(monkeypatch):
    made = experiment(
        monkeypatch, "--workdir", "w", "--cache-dir", "c", "--joint-order", "random", "--seed", 7, "--strategy", "mirrored",
        "--resume", "--retry-left-out", "--epochs", 9, "--learning-rate", 0.02, "--batch-size", 16, "--weight-decay", 0.3,
        "--label-smoothing", 0.2, "--holdout", 0.25, "--rotation", 10, "--tilt", 11, "--mirror", 0.1, "--joint-noise", 0.01,
        "--person-swap", 0.3, "--window", 0.9,
    )  # fmt: skip
    base = pose_experiment(TASKS["sbu"], "tuned", Path("w"), seed=7)
    stage = {"epochs": 9, "learning_rate": 0.02, "batch_size": 16, "weight_decay": 0.3, "label_smoothing": 0.2}
    drawn = {"rotation": 10, "tilt": 11, "mirror": 0.1, "joint_noise": 0.01, "person_swap": 0.3, "window": 0.9}
    assert made == replace(
        base, cache_dir=Path("c"), tensor=replace(base.tensor, order="random"), strategy="mirrored", resume=True,
        retry_left_out=True, holdout=0.25, pose_stage=replace(base.pose_stage, **stage),
        augmentation=replace(base.augmentation, **drawn),
    )  # fmt: skip


def test_no_augmentation_but_what_is_given(monkeypatch):
    assert experiment(monkeypatch, "--no-augmentation").augmentation == NO_AUGMENTATION
    only_rotation = replace(NO_AUGMENTATION, rotation=30.0)
    assert experiment(monkeypatch, "--no-augmentation", "--rotation", 30).augmentation == only_rotation
    assert experiment(monkeypatch, "--preset", "paper", "--rotation", 30).augmentation == only_rotation


def test_zero_is_a_value(monkeypatch):
    made = experiment(monkeypatch, "--rotation", 0, "--weight-decay", 0, "--label-smoothing", 0, "--mirror", 0)
    assert made.augmentation.rotation == made.augmentation.mirror == 0
    assert made.pose_stage.weight_decay == made.pose_stage.label_smoothing == 0


def test_a_selection_has_a_folder_of_its_own(monkeypatch):
    for unit in UNITS:
        give(monkeypatch, "--data-root", "d", "--select-by", unit)
        args = pose_arguments("sbu", "")
        assert (args.select_by, args.workdir) == (unit, Path("runs/sbu_pose_selection"))
    assert experiment(monkeypatch, "--select-by", "clip", "--workdir", "w").workdir == Path("w")


@pytest.mark.parametrize(
    "arguments",
    [("--select-by", "room"), ("--preset", "best"), ("--window", "half"), ("--dropout", "0.1"), ("--joint-order", "none")],
)
def test_what_is_no_argument_ends_with_the_usage(monkeypatch, capsys, arguments):
    give(monkeypatch, "--data-root", "d", *arguments)
    with pytest.raises(SystemExit) as end:
        pose_arguments("sbu", "")
    assert end.value.code == 2 and arguments[0] in capsys.readouterr().err


# Runs -------------------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def sbu(tmp_path_factory) -> Path:
    return write_sbu(tmp_path_factory.mktemp("sbu"))


@pytest.fixture
def calls(monkeypatch) -> list[tuple]:
    """In place of the runs: their arguments after the data set."""
    made = []

    def run_folds(dataset, experiment, protocols):
        made.append((experiment, tuple(protocols)))
        folds = {name: {"accuracy": {"pose": 0.25}, "clips": {"test": 8}} for name in protocols}
        return {"accuracy": {"pose": 0.625}, "protocol": f"{len(protocols)}-fold", "folds": folds}

    def run_selection(dataset, experiment, protocol, unit):
        made.append((experiment, protocol, unit))
        return {"accuracy": {"pose": 0.5}, "protocol": f"inner_{unit}_of_{protocol}"}

    monkeypatch.setattr(pose, "run_folds", run_folds)
    monkeypatch.setattr(selection, "run_selection", run_selection)
    return made


def test_all_folds_are_run_and_printed(sbu, tmp_path, monkeypatch, capsys, calls):
    give(monkeypatch, "--data-root", sbu, "--workdir", tmp_path, "--epochs", 40)
    assert main("sbu", "") == 0
    ((made, protocols),) = calls
    assert made.pose_stage.epochs == 40 and protocols == TASKS["sbu"].protocols
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert lines == [
        *([fold, "25.0", "%", "of", "8", "clips"] for fold in protocols),
        ["accuracy", "62.5", "%", "5-fold"],
        ["results", "in", str(tmp_path)],
    ]


def test_one_protocol_is_run(sbu, tmp_path, monkeypatch, calls):
    give(monkeypatch, "--data-root", sbu, "--workdir", tmp_path, "--protocol", "fold4")
    assert main("sbu", "") == 0
    assert [protocols for _, protocols in calls] == [("fold4",)]


@pytest.mark.parametrize(("arguments", "protocol"), [((), "fold1"), (("--protocol", "fold3"), "fold3")])
def test_a_selection_is_run_on_one_protocol_and_says_so(sbu, tmp_path, monkeypatch, capsys, calls, arguments, protocol):
    give(monkeypatch, "--data-root", sbu, "--workdir", tmp_path, "--select-by", "setup", "--rotation", 5, *arguments)
    assert main("sbu", "") == 0
    ((made, *rest),) = calls
    assert made.augmentation.rotation == 5 and rest == [protocol, "setup"]
    first, _ = capsys.readouterr().out.splitlines()
    assert first.split() == ["selection", "accuracy", "50.0", "%", f"inner_setup_of_{protocol}"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--protocol", "view3"), "error: unknown protocol (found 'view3', expected one of fold1, fold2, fold3, fold4, fold5)"),
        (("--select-by", "camera"), "error: the training clips of fold1 cannot be split by camera (found camera 0 in all"),
        (("--window", "0"), "error: window is out of range (found 0.0, expected above 0, up to 1)"),
        (("--rotation", "nan"), "error: rotation is out of range (found nan"),
        (("--label-smoothing", "1"), "error: stage pose: label_smoothing is out of range (found 1.0"),
        (("--weight-decay", "-1"), "error: stage pose: weight_decay is out of range (found -1.0"),
        (("--holdout", "0"), "error: holdout is a share of the training clips (found 0.0"),
    ],
    ids=lambda value: value[0] if isinstance(value, tuple) else "",
)
def test_errors_come_in_one_line_before_anything_is_written(sbu, tmp_path, monkeypatch, capsys, arguments, message):
    give(monkeypatch, "--data-root", sbu, "--workdir", tmp_path / "w", *arguments)
    assert main("sbu", "") == 1
    printed = capsys.readouterr()
    assert printed.err.startswith(message) and len(printed.err.splitlines()) == 1 and printed.out == ""
    assert not (tmp_path / "w").exists()


@pytest.mark.parametrize("root", ["missing", "of another data set"])
def test_a_wrong_data_root_is_named(tmp_path, monkeypatch, capsys, root):
    folder = tmp_path / "root"
    if root != "missing":
        write_nucla(folder)
    give(monkeypatch, "--data-root", folder, "--workdir", tmp_path / "w")
    assert main("sbu", "") == 1
    error = capsys.readouterr().err
    assert error.startswith(f"error: {folder}: ") and "ownload SBU Kinect Interaction" in error
    assert not (tmp_path / "w").exists()


# The scripts ------------------------------------------------------------------------------------------------------------------


def test_every_data_set_has_one_script(monkeypatch):
    found = []

    def note(name: str, doc: str) -> int:
        found.append(name)
        assert "--data-root" in doc
        return 3

    monkeypatch.setattr(pose_script, "main", note)
    for script in SCRIPTS:
        with pytest.raises(SystemExit) as end:
            runpy.run_path(str(script), run_name="__main__")
        assert end.value.code == 3, "the exit status is that of the run"
    assert sorted(found) == sorted(DATASETS)
