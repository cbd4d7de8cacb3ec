"""The report of a run, read from its files: of every model, of folds, of older runs; without the folders of a machine."""

from __future__ import annotations

import json
import logging
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from keras_actrec.datasets.record import LeftOut
from keras_actrec.errors import DatasetError, WeightsError
from keras_actrec.recipes.report_page import leave_report, protocols_of, run_report
from keras_actrec.recipes.reports import write_results
from keras_actrec.training.attention import load_attention
from keras_actrec.training.evaluation import Evaluation
from keras_actrec.training.results import RunDescription, write_left_out
from keras_actrec.training.stages import StageHistory

NAMES = ("drink", "eat", "wave")
LABELS = np.int32([0, 0, 1, 1, 2])
CLIPS = ("c0", "c1", "c2", "c3", "c4")
PRIVATE = "/home/somebody/secret project"
LEFT_OUT = (
    LeftOut("x1", "index", "no such file", f"{PRIVATE}/poses/x1.json"),
    LeftOut("x2", "poses", f"{PRIVATE}/x2.skeleton, line 3: the file is empty. Get it again", f"{PRIVATE}/x2.skeleton"),
    LeftOut("x3", "hand_features", "/mnt/other/disk/x3.avi: the video does not open", ""),
)
SIDES = {"x1": "test", "x2": "test", "x3": "train"}
STREAMS = {
    "sta_hands": ("pose", "rgb", "fused"), "vpn": ("vpn",), "glimpse_clouds": ("glimpse_clouds",),
    "rpan": ("rgb", "flow", "rgb+flow"),
}  # fmt: skip
ATTENTION = {
    "sta_hands": {"hands": (20, 4), "time": (20,)},
    "vpn": {"time": (8,), "places": (7, 7)},
    "glimpse_clouds": {"places": (12, 12), "workers": (3, 3)},
    "rpan": {"rgb.places": (4, 5), "rgb.joints": (15,), "flow.places": (4, 5), "flow.joints": (15,)},
}
TAKEN_FOR = {"pose": [1, 1, 1, 1, 1], "rgb": [0, 1, 1, 2, 2], "flow": [0, 0, 0, 0, 0]}  # of others: all but c1 right


def evaluation(model: str, *, clips=CLIPS) -> Evaluation:
    rng = np.random.default_rng(0)
    found = {stream: np.array(TAKEN_FOR.get(stream, [0, 1, 1, 1, 2])) for stream in STREAMS[model]}
    scores = {stream: np.eye(3, dtype=np.float32)[classes] for stream, classes in found.items()}
    attention = {name: rng.random((5, *shape)).astype(np.float32) for name, shape in ATTENTION[model].items()}
    return Evaluation(clips, LABELS, scores, 10, attention=attention)


def left_by(workdir: Path, model: str, *, protocol: str = "split1", clips=CLIPS, left_out=LEFT_OUT, sides=SIDES) -> Path:
    """The files of a finished run, but for weights and the export."""
    histories = []
    for stage in ("pose", "rgb"):
        folder = workdir / stage
        folder.mkdir(parents=True)
        losses = {"epoch": [1, 2], "loss": [2.0, 1.0], "val_loss": [2.5, 1.5]}
        pd.DataFrame({**losses, "accuracy": [0.25, 0.5], "val_accuracy": [0.2, 0.4], "seconds": 1.0}).to_csv(
            folder / "log.csv", index=False
        )
        rows = tuple(pd.read_csv(folder / "log.csv").to_dict("records"))
        histories.append(StageHistory(rows, 2, 1.5, folder / "log.csv", folder / "model.weights.h5"))
    write_left_out(workdir / "left_out.csv", left_out, side_of=lambda clip: sides.get(clip, ""))
    run = RunDescription(
        dataset="jhmdb", protocol=protocol, model=model, preset="paper", seed=0,
        clips={"train": 8, "validation": 1, "test": 5}, weights={"name": "resnet50", "weights": f"{PRIVATE}/resnet.weights.h5"},
    )  # fmt: skip
    models = {stream: {"layout": "jhmdb_15", "units": 8} for stream in ("rgb", "flow")} if model == "rpan" else {"units": 8}
    configuration = {"model": models, "initial": f"{PRIVATE}/before", "clips": {"picture_size": [240, 320]}}
    configuration["stages_before"] = [{"weights": f"{PRIVATE}/stage.weights.h5"}]
    write_results(
        workdir, run, evaluation(model, clips=clips), NAMES, left_out, histories,
        configuration=configuration, seconds=62.0, extra={"accuracy_by_kind": {"fused": {"motion": 0.5}}},
    )  # fmt: skip
    return workdir


@pytest.fixture(autouse=True)
def quickly(monkeypatch):
    """Without the pictures that are not of the page."""
    for picture in ("confusion_matrix_png", "curves_png"):
        monkeypatch.setattr(f"keras_actrec.recipes.reports.{picture}", lambda *_: None)


@pytest.fixture
def run(tmp_path, monkeypatch) -> Path:
    command = ["experiments/ntu_pose_rgb.py", "--data-root", f"{PRIVATE}/ntu", f"--workdir={tmp_path}/run", "--epochs", "2"]
    monkeypatch.setattr(sys, "argv", command)
    return left_by(tmp_path / "run", "sta_hands")


# What is read -----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("model", STREAMS)
def test_a_run_of_every_model_leaves_a_page(tmp_path, model):
    workdir = left_by(tmp_path, model)
    text = (workdir / "report.html").read_text(encoding="utf-8")
    assert "on jhmdb, split1" in text and "Attention by class" in text and "stage rgb" in text
    report = run_report(workdir)
    assert tuple(stream.name for stream in report.streams) == STREAMS[model] and report.model == model
    assert {name: values.shape for name, values in report.attention.values.items()} == {
        name: (3, *shape) for name, shape in ATTENTION[model].items()
    }
    assert text.count('class="map"') == 3 * (2 if model == "rpan" else 1)
    if model == "rpan":
        assert report.attention.joints["flow"][0] == "neck" and "joint 1" not in text


def test_numbers_of_the_streams(run):
    pose, rgb, fused = run_report(run).streams
    assert (pose.accuracy, rgb.accuracy, fused.accuracy) == (2 / 5, 3 / 5, 4 / 5)
    # x1 and x2 would have been tested.
    assert (pose.with_left_out, rgb.with_left_out, fused.with_left_out) == pytest.approx((2 / 7, 3 / 7, 4 / 7))
    np.testing.assert_array_equal(fused.matrix, [[1, 1, 0], [0, 2, 0], [0, 0, 1]])
    assert [(pair.label, pair.predicted, pair.clips) for pair in fused.confused] == [(0, 1, ("c1",))]
    assert [(pair.label, pair.predicted, pair.clips) for pair in pose.confused] == [(0, 1, ("c0", "c1")), (2, 1, ("c4",))]
    assert fused.spread is None and fused.title == "pose + RGB"


def test_clips_curves_and_attention(run):
    report = run_report(run)
    assert report.class_names == NAMES and report.clips == {"train": 8, "validation": 1, "test": 5}
    assert [(clip.clip, clip.side, clip.stage) for clip in report.left_out] == [
        ("x1", "test", "index"), ("x2", "test", "poses"), ("x3", "train", "hand_features"),
    ]  # fmt: skip
    assert report.left_out_test == 2 and report.tested[1].predictions == {"pose": 1, "rgb": 1, "fused": 1}
    assert [(stage.name, stage.kept) for stage in report.curves] == [("pose", 2), ("rgb", 2)]
    np.testing.assert_array_equal(report.curves[0].columns["val_loss"], [2.5, 1.5])
    rows = evaluation("sta_hands").attention["time"]
    np.testing.assert_allclose(report.attention.values["time"][1], rows[2:4].mean(axis=0), rtol=1e-6)
    assert report.further["accuracy_by_kind.fused.motion"] == 0.5 and report.configuration["clips.picture_size"] == [240, 320]


def test_nothing_says_where_the_files_of_this_machine_are(run, tmp_path):
    text = (run / "report.html").read_text(encoding="utf-8")
    for private in ("somebody", "secret", "/mnt", "other/disk", str(tmp_path), str(tmp_path.parent)):
        assert private not in text, private
    report = run_report(run)
    assert report.command.split(" ", 1)[1] == "experiments/ntu_pose_rgb.py --data-root …/ntu --workdir=…/run --epochs 2"
    assert [clip.reason for clip in report.left_out] == [
        "no such file", "x2.skeleton, line 3: the file is empty. Get it again", "x3.avi: the video does not open",
    ]  # fmt: skip
    assert (report.weights["weights"], report.configuration["initial"]) == ("resnet.weights.h5", "before")


def test_a_command_whose_quotation_does_not_end(run):
    metrics = json.loads((run / "metrics.json").read_text())
    (run / "metrics.json").write_text(json.dumps({**metrics, "command": f"python 'a.py --workdir {PRIVATE}"}))
    assert "somebody" not in run_report(run).command


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"dataset": "synthetic_ntu"}, "drawn by a program"),
        ({"weights": {"rgb": {"weights": "random"}}}, "random weights"),
        ({"protocol": "inner_subject_of_cross_subject"}, "this is no result"),
    ],
)
def test_what_a_reader_has_to_know(run, changes, words):
    assert run_report(run).notes == ()
    metrics = json.loads((run / "metrics.json").read_text())
    (run / "metrics.json").write_text(json.dumps({**metrics, **changes}))
    (note,) = run_report(run).notes
    assert words in note


# Several protocols ------------------------------------------------------------------------------------------------------------


@pytest.fixture
def folds(tmp_path) -> Path:
    left_by(tmp_path / "split1", "sta_hands")
    left_by(tmp_path / "split2", "sta_hands", protocol="split2", clips=("c0", "c1", "d2", "d3", "d4"), left_out=LEFT_OUT[:1])
    first = json.loads((tmp_path / "split1" / "metrics.json").read_text())
    same = ("dataset", "model", "preset", "seed", "weights", "command", "versions", "configuration")
    metrics = {
        **{name: first[name] for name in same}, "protocol": "2-fold", "clips": {"test": 10, "left_out": 3}, "seconds": 124.0,
        **{metric: first[metric] for metric in ("accuracy", "mean_class_accuracy", "macro_f1")},
        "folds": {name: {"accuracy": first["accuracy"], "clips": first["clips"]} for name in ("split1", "split2")},
    }  # fmt: skip
    (tmp_path / "metrics.json").write_text(json.dumps(metrics))
    leave_report(tmp_path)
    return tmp_path


def test_folds_are_added_up_and_averaged(folds):
    report = run_report(folds)
    assert protocols_of(folds) == ("split1", "split2") and protocols_of(folds / "split1") == ()
    fused = report.streams[-1]
    np.testing.assert_array_equal(fused.matrix, [[2, 2, 0], [0, 4, 0], [0, 0, 2]])
    assert fused.with_left_out == pytest.approx((4 / 7 + 4 / 6) / 2) and fused.spread == 0
    assert fused.confused[0].clips == ("split1: c1", "split2: c1")
    assert [(fold.name, fold.page, fold.clips, fold.left_out) for fold in report.folds] == [
        ("split1", "split1/report.html", 5, 2), ("split2", "split2/report.html", 5, 1),
    ]  # fmt: skip
    assert [(stage.fold, stage.name) for stage in report.curves] == [
        (fold, stage) for fold in ("split1", "split2") for stage in ("pose", "rgb")
    ]  # fmt: skip
    assert [(clip.clip, clip.side) for clip in report.left_out] == [
        ("x1", "test in split1, test in split2"), ("x2", "test in split1"), ("x3", ""),
    ]  # fmt: skip
    assert report.attention.clips.tolist() == [4, 4, 2] and report.left_out_test == 3
    text = (folds / "report.html").read_text(encoding="utf-8")
    assert 'href="split2/report.html"' in text and "2-fold" in text


def test_a_fold_that_is_gone(folds, caplog):
    (folds / "split2" / "scores.npz").unlink()
    (folds / "report.html").unlink()
    with pytest.raises(WeightsError, match=r"split2/scores\.npz: cannot be read as scores"):
        run_report(folds)
    with caplog.at_level(logging.WARNING):
        leave_report(folds)
    assert not (folds / "report.html").exists() and "no report.html: " in caplog.text and "split2/scores.npz" in caplog.text


# Runs of earlier versions, and damage -----------------------------------------------------------------------------------------


def test_an_earlier_run_has_no_attention_and_no_sides(run):
    (run / "attention.npz").unlink()
    table = pd.read_csv(run / "left_out.csv").drop(columns="side")
    table.to_csv(run / "left_out.csv", index=False)
    report = run_report(run)
    assert report.attention is None and report.left_out_test is None and report.streams[-1].with_left_out is None
    assert [clip.side for clip in report.left_out] == ["", "", ""]


def test_attention_of_an_earlier_run_does_not_stay(run, tmp_path):
    assert set(load_attention(run / "attention.npz").values) == {"hands", "time"}
    without = replace(evaluation("sta_hands"), attention={})
    metrics = json.loads((run / "metrics.json").read_text())
    description = RunDescription("jhmdb", "split1", "sta_hands", "paper", 0, {"test": 5}, {})
    write_results(run, description, without, NAMES, (), (), configuration=metrics["configuration"], seconds=1.0, extra={})
    assert not (run / "attention.npz").exists() and run_report(run).attention is None


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("metrics.json", "{", r"metrics\.json: cannot be read as the metrics of a run .*finished run"),
        ("metrics.json", "[1]", r"cannot be read as the metrics of a run \(found a list\)"),
        ("metrics.json", "{}", r"cannot be read as the metrics of a run \(found KeyError: 'per_class'\)"),
        ("left_out.csv", "a,b\n1,2\n", r"left_out\.csv: cannot be read as the list of left-out clips \(found columns a, b\)"),
        ("scores.npz", "nothing", r"scores\.npz: cannot be read as scores"),
        ("attention.npz", "nothing", r"attention\.npz: cannot be read as attention"),
    ],
)
def test_damaged_files(run, name, content, message):
    (run / name).write_text(content)
    with pytest.raises((DatasetError, WeightsError), match=message):
        run_report(run)


def test_a_folder_without_a_run(tmp_path):
    with pytest.raises(DatasetError, match=r"metrics\.json: cannot be read as the metrics .*Give the folder of a finished run"):
        run_report(tmp_path)
