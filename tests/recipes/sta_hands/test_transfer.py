"""Transfer: what the three experiments share, where the weights come from, and the table."""

from __future__ import annotations

import json
import runpy
import sys
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pytest

from keras_actrec.cache.schema import load_index
from keras_actrec.datasets.nucla import NorthwesternUCLA
from keras_actrec.datasets.sbu import SBUKinect
from keras_actrec.errors import ConfigError
from keras_actrec.recipes import tables
from keras_actrec.recipes.sta_hands.pose import TASKS, PoseTask
from keras_actrec.recipes.sta_hands.transfer import run_transfer, transfer_experiments
from keras_actrec.skeletons.layouts import KINECT_V1
from tests.recipes.small_data import runs_without_training, write_nucla, write_sbu

SCRIPT = Path(__file__).resolve().parents[3] / "experiments" / "transfer.py"
FOLDS = TASKS["sbu"].protocols


@pytest.fixture(scope="module")
def sbu(tmp_path_factory) -> SBUKinect:
    return SBUKinect(write_sbu(tmp_path_factory.mktemp("sbu")))


@pytest.fixture(scope="module")
def nucla(tmp_path_factory) -> NorthwesternUCLA:
    return NorthwesternUCLA(write_nucla(tmp_path_factory.mktemp("nucla")))


def make(source, target, settings="paper", workdir=Path("w"), tasks=(None, None), **changes):
    chosen = [task or TASKS[dataset.name] for task, dataset in zip(tasks, (source, target), strict=True)]
    return transfer_experiments(source, target, *chosen, settings, workdir, **changes)


# The three experiments --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "tasks", "people", "scale"),
    [
        ("paper", (None, None), 2, "none"),  # two people and metres, as the paper has them
        ("paper", (None, PoseTask(("fold1",), scale="body")), 2, "body"),
        ("paper", (PoseTask(("view3",), scale="body"), None), 2, "body"),
        ("tuned", (None, None), 2, "body"),  # SBU has two people
        ("tuned", (None, PoseTask(("fold1",), people=1)), 1, "body"),
    ],
)
def test_tensors_of_source_and_target_are_alike(nucla, sbu, settings, tasks, people, scale):
    made = make(nucla, sbu, settings, tasks=tasks)
    experiments = made.source, made.without, made.fine_tuning
    assert {(e.tensor.people, e.tensor.scale, e.layout) for e in experiments} == {(people, scale, "kinect_v1")}
    assert len({(e.tensor, e.preset, e.sampling) for e in experiments}) == 1
    assert made.source.model(10, KINECT_V1).pose_width == made.without.model(8, KINECT_V1).pose_width


@pytest.mark.parametrize(("settings", "rate"), [("paper", 1e-4), ("tuned", 1e-3)])
def test_fine_tuning_differs_in_the_learning_rate_alone(nucla, sbu, settings, rate):
    made = make(nucla, sbu, settings)
    assert made.source.pose_stage.learning_rate == made.without.pose_stage.learning_rate == rate
    assert made.fine_tuning.pose_stage.learning_rate == pytest.approx(rate / 10)  # paper, section 5
    stage = replace(made.fine_tuning.pose_stage, learning_rate=rate)
    same = {"workdir": made.without.workdir, "settings": made.without.settings, "pose_stage": stage}
    assert replace(made.fine_tuning, **same) == made.without
    assert made.without.settings == f"{settings}, without transfer from nucla"
    assert made.fine_tuning.settings == f"{settings}, transfer from nucla"
    assert made.source.settings == f"{settings}, source of transfer to sbu"


def test_options_reach_all_three(nucla, sbu):
    made = make(nucla, sbu, epochs=3, learning_rate=0.2, batch_size=4, cache_dir=Path("c"), resume=True)
    for experiment, rate in ((made.source, 0.2), (made.without, 0.2), (made.fine_tuning, 0.02)):
        stage = experiment.pose_stage
        assert (stage.epochs, stage.batch_size, experiment.resume) == (3, 4, True)
        assert stage.learning_rate == pytest.approx(rate)
    assert (made.source.caches, made.without.caches) == (Path("c/source"), Path("c/target"))
    assert made.fine_tuning.caches == Path("c/target")


def test_a_layout_of_the_task_is_kept(nucla, sbu):
    made = make(nucla, sbu, tasks=(PoseTask(("view3",), layout="jhmdb_15"), None))
    assert made.source.layout == made.without.layout == made.fine_tuning.layout == "jhmdb_15"


def test_skeletons_that_do_not_give_the_joints_of_the_source_are_refused(nucla, sbu):
    joints = tuple("beak" if joint == "head" else joint for joint in KINECT_V1.joints)
    birds = NorthwesternUCLA(nucla.root)
    birds.records = tuple(replace(r, layout=replace(KINECT_V1, name="birds", joints=joints)) for r in birds.records)
    with pytest.raises(ConfigError, match="layout birds does not give the joint head of layout sbu_15"):
        make(sbu, birds)


# Real runs --------------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def transfer(nucla, sbu, tmp_path_factory):
    """N-UCLA → fold 1 of SBU, one epoch each; the fine-tuning with a learning rate that changes nothing."""
    workdir = tmp_path_factory.mktemp("transfer")
    tasks = TASKS["nucla"], replace(TASKS["sbu"], protocols=("fold1",))
    made = make(nucla, sbu, workdir=workdir, tasks=tasks, epochs=1, batch_size=4)
    made = replace(
        made,
        fine_tuning=replace(made.fine_tuning, pose_stage=replace(made.fine_tuning.pose_stage, learning_rate=1e-9, patience=1)),
    )
    arguments = (nucla, sbu, made, ("fold1",), (0,), workdir)
    return arguments, *run_transfer(*arguments, command="python t.py")


def weights(workdir: Path) -> dict[str, np.ndarray]:
    """Layer → kernel, float32, of the trained network of a run."""
    with h5py.File(workdir / "pose" / "model.weights.h5") as file:
        return {name: layer["vars"]["0"][()] for name, layer in file["layers"].items() if "0" in layer.get("vars", {})}


def test_fine_tuning_starts_from_the_weights_of_the_source(transfer):
    (*_, workdir), *_ = transfer
    source, fine_tuned, without = (weights(workdir / part / "seed0") for part in ("source", "transfer", "without"))
    logits = [run.pop("dense_1") for run in (source, fine_tuned, without)]  # Keras numbers the layers of a class in the file
    assert set(source) == {"conv2d", "conv2d_1", "dense"}
    for name in source:
        np.testing.assert_allclose(fine_tuned[name], source[name], rtol=0, atol=1e-7)
        assert np.abs(without[name] - source[name]).max() > 1e-5
    assert [kernel.shape for kernel in logits] == [(1024, 10), (1024, 8), (1024, 8)]  # N-UCLA has 10 classes, SBU 8
    np.testing.assert_allclose(np.std(logits[1]), np.sqrt(2 / (1024 + 8)), rtol=0.1)  # Glorot: drawn anew


def test_target_clips_have_the_layout_of_the_source_in_both_runs(transfer):
    (*_, workdir), *_ = transfer
    target, source = (load_index(workdir / "cache" / part / "poses").options for part in ("target", "source"))
    assert (target.dataset, target.layout, target.options["source_layout"]) == ("sbu", "kinect_v1", "sbu_15")
    assert (source.dataset, source.layout) == ("nucla", "kinect_v1")
    for part in ("without", "transfer"):
        metrics = json.loads((workdir / part / "seed0" / "metrics.json").read_text())
        assert metrics["configuration"]["layout"] == "kinect_v1"


def test_the_table_of_a_transfer(transfer):
    (*_, workdir), rows, text = transfer
    frame = pd.read_csv(workdir / "transfer.csv").set_index("row")
    assert frame.index.tolist() == ["source", "without", "transfer"] == [row.name for row in rows]
    assert frame.dataset.tolist() == ["nucla", "sbu", "sbu"] and frame.protocol.tolist() == ["view3", "fold1", "fold1"]
    assert frame.clips.tolist() == [8, 8, 8]
    for name in frame.index:
        accuracy = json.loads((workdir / name / "seed0" / "metrics.json").read_text())["accuracy"]["pose"]
        assert frame.loc[name, "mean"] == pytest.approx(100 * accuracy, abs=0.01)
    assert (workdir / "transfer.md").read_text(encoding="utf-8") == text
    assert "paper" not in text  # it has no transfer from N-UCLA


def test_finished_runs_of_a_transfer_are_not_run_again(transfer, monkeypatch):
    (source, target, made, *rest), _, text = transfer
    monkeypatch.setattr(tables, "run_folds", lambda *_: pytest.fail("a finished run was begun again"))
    again = type(made)(*(replace(e, resume=True) for e in (made.source, made.without, made.fine_tuning)))
    assert run_transfer(source, target, again, *rest, command="python t.py")[1] == text


# Runs that train nothing ------------------------------------------------------------------------------------------------------


def test_a_source_with_folds_trains_on_the_first_and_each_seed_has_its_own(nucla, sbu, tmp_path, monkeypatch):
    calls = []
    monkeypatch.setattr(tables, "run_folds", runs_without_training(calls))
    made = make(sbu, nucla, workdir=tmp_path)
    run_transfer(sbu, nucla, made, ("view3",), (5, 7), tmp_path, command="c")
    assert [protocols for _, protocols in calls] == [("fold1",)] * 2 + [("view3",)] * 4
    places = [(str(e.workdir.relative_to(tmp_path)), e.initial and str(e.initial.relative_to(tmp_path))) for e, _ in calls]
    assert places == [
        *(("source/seed5", None), ("source/seed7", None)),
        *(("without/seed5", None), ("without/seed7", None)),
        *(("transfer/seed5", "source/seed5"), ("transfer/seed7", "source/seed7")),
    ]


def test_the_paper_s_number_stands_beside_its_own_transfer(sbu, nucla, tmp_path, monkeypatch):
    monkeypatch.setattr(tables, "run_folds", runs_without_training([]))
    ntu = NorthwesternUCLA(nucla.root)
    ntu.name = "ntu_rgbd"
    made = make(ntu, sbu, workdir=tmp_path)
    _, text = run_transfer(ntu, sbu, made, FOLDS, (0, 1), tmp_path, command="c")
    assert "| transfer | sbu from the weights of ntu_rgbd, all layers fine-tuned | sbu | 5-fold | accuracy | " in text
    # Table 2, "Ours (Pose only)": 90.5
    assert [line.split("|")[-2].strip() for line in text.splitlines() if line.startswith("| ")] == [
        *("paper: transfer from NTU", "---", "", "", "90.5")
    ]


# The script -------------------------------------------------------------------------------------------------------------------


def script(monkeypatch, *arguments):
    monkeypatch.setattr(sys, "argv", ["transfer.py", *map(str, arguments)])
    return runpy.run_path(str(SCRIPT))["main"]()


def test_the_script_prints_the_table_and_adds_it_to_the_summary(sbu, nucla, tmp_path, monkeypatch, capsys):
    calls = []
    monkeypatch.setattr(tables, "run_folds", runs_without_training(calls))
    status = script(
        monkeypatch, "--source", "nucla", "--source-root", nucla.root, "--target", "sbu", "--target-root", sbu.root,
        "--preset", "paper", "--seeds", 0, 1, "--workdir", tmp_path / "w", "--epochs", 2, "--summary", tmp_path / "s.csv",
    )  # fmt: skip
    assert status == 0
    printed = capsys.readouterr().out
    assert (tmp_path / "w" / "transfer.md").read_text(encoding="utf-8") in printed
    assert "--source-root SOURCE_ROOT --target sbu --target-root TARGET_ROOT" in printed
    assert [protocols for _, protocols in calls] == [("view3",)] * 2 + [FOLDS] * 4
    assert {experiment.pose_stage.epochs for experiment, _ in calls} == {2}
    presets = pd.read_csv(tmp_path / "s.csv").preset.tolist()
    assert presets == ["paper, source of transfer to sbu", "paper, transfer from nucla", "paper, without transfer from nucla"]


def test_the_script_ends_in_one_line_where_a_data_root_is_wrong(sbu, tmp_path, monkeypatch, capsys):
    status = script(
        monkeypatch, "--source", "nucla", "--source-root", sbu.root, "--target", "sbu", "--target-root", sbu.root,
        "--workdir", tmp_path / "w",
    )  # fmt: skip
    assert status == 1 and not (tmp_path / "w").exists()
    assert capsys.readouterr().err.startswith(f"error: {sbu.root}: no clip of Northwestern-UCLA")
