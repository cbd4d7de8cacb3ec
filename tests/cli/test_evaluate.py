"""Measuring an export: the numbers of its test again, clips that cannot be classified, runs that were stopped."""

from __future__ import annotations

import csv
import json
import shutil
import warnings
from dataclasses import replace

import numpy as np
import pytest

from keras_actrec.cli import evaluate as command
from keras_actrec.cli.evaluate import dataset_from
from keras_actrec.cli.main import main, parse
from keras_actrec.cli.model_arguments import plain_warnings
from keras_actrec.cli.scoring import JOURNAL, choose_protocol, stream_of
from keras_actrec.datasets.own import OwnDataset
from keras_actrec.errors import ConfigError
from keras_actrec.export import RPANDescription, read_description
from keras_actrec.recipes.sta_hands.pose import PAPER, pose_experiment, task_of
from keras_actrec.recipes.sta_hands.run import run_experiment
from keras_actrec.recognizer import Recognizer
from keras_actrec.training.evaluation import load_scores
from tests.cli.conftest import poses
from tests.datasets.test_catalogue import ROOTS
from tests.small_exports import CLASSES, write_poses


def evaluate(clips, *words, out="out"):
    return main(["evaluate", str(clips.csv), "--model", str(clips.export), "--out", str(clips.folder / out), *map(str, words)])


def answers(clips) -> dict[str, np.ndarray]:
    recognizer = Recognizer.load(clips.export)
    return {
        f"clip_{number}": recognizer(clips.folder / f"{number}.avi", clips.folder / f"{number}.npz").probabilities
        for number in range(len(CLASSES))
    }


def lines_of(path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_the_numbers_are_those_of_the_answers(clips, capsys):
    assert evaluate(clips) == 0
    expected = answers(clips)
    right = sum(int(expected[f"clip_{label}"].argmax() == label) for label in range(3))
    text = capsys.readouterr().out
    assert f"accuracy             {right / 3:7.2%}  {right} of 3 classified clips" in text
    assert f"{right / 3:7.2%}  of 3, with 0 left out as wrong" in text
    out = clips.folder / "out"
    scores = load_scores(out / "scores.npz")
    assert scores.clip_ids == tuple(expected) and scores.labels.tolist() == [0, 1, 2]
    np.testing.assert_allclose(scores.scores["fused"], np.array(list(expected.values())), rtol=1e-6)
    metrics = json.loads((out / "metrics.json").read_text())
    assert metrics["accuracy"] == metrics["accuracy_with_left_out"] == {"fused": pytest.approx(right / 3)}
    assert metrics["clips"] == {"test": 3, "left_out": 0, "left_out_reasons": {}} and metrics["seed"] is None
    assert metrics["configuration"]["protocol"] == "split" and metrics["export"] == str(clips.export)
    rows = lines_of(out / "predictions.csv")
    assert [row["clip"] for row in rows] == list(expected) and [row["class"] for row in rows] == list(CLASSES)
    assert sum(int(row["correct"]) for row in rows) == right
    assert {path.name for path in out.iterdir()} == {
        "metrics.json", "scores.npz", "predictions.csv", "left_out.csv", "confusion_fused.png", "report.html",
    }  # fmt: skip


def test_the_numbers_are_those_of_the_test_of_its_training(tmp_path, capsys):
    lines = ["clip,label,skeleton,split"]
    for number in range(16):
        write_poses(tmp_path / f"{number}.npz", poses(number))
        lines.append(f"c{number:02},{('stand', 'walk')[number % 2]},{number}.npz,{'train' if number < 10 else 'test'}")
    (tmp_path / "clips.csv").write_text("\n".join(lines) + "\n")
    dataset = OwnDataset(tmp_path / "clips.csv")
    experiment = pose_experiment(task_of("own", dataset), PAPER, tmp_path / "run")
    stage = replace(experiment.pose_stage, epochs=1, patience=1, batch_size=8)
    result = run_experiment(dataset, replace(experiment, pose_stage=stage, holdout=0.2))
    arguments = ["evaluate", str(tmp_path / "clips.csv"), "--model", str(result.export), "--out", str(tmp_path / "again")]
    assert main(arguments) == 0
    tested, found = load_scores(tmp_path / "run" / "scores.npz"), load_scores(tmp_path / "again" / "scores.npz")
    assert found.clip_ids == tested.clip_ids and set(found.scores) == set(tested.scores) == {"pose"}
    logits = tested.scores["pose"] - tested.scores["pose"].max(axis=1, keepdims=True)
    expected = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(found.scores["pose"], expected, rtol=1e-4)
    for name in ("accuracy", "mean_class_accuracy", "macro_f1"):
        assert getattr(found, name) == getattr(tested, name)


def test_clips_that_cannot_be_classified_are_listed_and_count_as_wrong(clips, capsys):
    (clips.folder / "0.npz").write_bytes(b"junk")  # does not read
    (clips.folder / "1.avi").unlink()  # is left out by the data set
    assert evaluate(clips) == 0
    text = capsys.readouterr().out
    out = clips.folder / "out"
    metrics = json.loads((out / "metrics.json").read_text())
    right = round(metrics["accuracy"]["fused"])
    assert f"accuracy             {right:7.2%}  {right} of 1 classified clips" in text
    assert f"{right / 3:7.2%}  of 3, with 2 left out as wrong" in text
    assert metrics["accuracy_with_left_out"]["fused"] == pytest.approx(right / 3)
    assert "left out: clip_1, no such file" in text and "left out: clip_0, " in text and "0.npz" in text
    rows = {row["clip_id"]: row for row in lines_of(out / "left_out.csv")}
    assert set(rows) == {"clip_0", "clip_1"} and {row["side"] for row in rows.values()} == {"test"}
    assert (rows["clip_0"]["stage"], rows["clip_1"]["stage"]) == ("evaluation", "index")
    assert metrics["clips"]["left_out"] == 2


def test_a_class_that_the_model_does_not_know(clips, capsys):
    clips.csv.write_text(clips.csv.read_text().replace(",clap,", ",dance,"))
    assert evaluate(clips) == 0
    assert "left out: clip_1, the model does not know its class, dance" in capsys.readouterr().out
    clips.csv.write_text(
        "\n".join(line for line in clips.csv.read_text().splitlines() if ",dance," in line or ",split" in line)
    )
    assert evaluate(clips) == 1
    assert "the model knows none of the classes (found dance …, expected wave, clap, drink …)" in capsys.readouterr().err


def test_no_clip_can_be_classified(clips, capsys):
    for number in range(3):
        (clips.folder / f"{number}.npz").write_bytes(b"junk")
    assert evaluate(clips) == 1
    assert "no clip could be classified (found 3 left out, the first: " in capsys.readouterr().err


def test_a_list_without_a_clip_to_test_on(clips, capsys):
    clips.csv.write_text(clips.csv.read_text().replace(",test\n", ",train\n"))
    assert evaluate(clips) == 1
    assert "protocol split has no clip to test on (found 4 usable clips, 0 left out)" in capsys.readouterr().err


@pytest.mark.parametrize("protocol", [None, "split_9"])
def test_which_protocol(clips, protocol):
    text = clips.csv.read_text().replace(",split\n", ",split_1,split_2\n").replace(",test\n", ",test,test\n")
    clips.csv.write_text(text.replace(",train\n", ",train,train\n"))
    dataset = OwnDataset(clips.csv)
    assert choose_protocol(dataset, "split_2") == "split_2"
    with pytest.raises(ConfigError, match=r"protocol.*expected one of split_1, split_2\). Give it by --protocol NAME"):
        choose_protocol(dataset, protocol)


def test_the_protocol_goes_without_saying_where_there_is_one(clips):
    assert choose_protocol(OwnDataset(clips.csv), None) == "split"
    clips.csv.write_text(clips.csv.read_text().replace(",split\n", ",split_view\n"))
    assert choose_protocol(OwnDataset(clips.csv), None) == "split_view"


class Counting:
    """A recognizer that counts its calls and stops at the one that is asked for.

    Args:
        recognizer: that answers.
        stop: number of calls before it is interrupted.
        poses: folder of skeletons that it "estimates"; then it expects to be given none.
    """

    def __init__(self, recognizer, stop=None, poses=None):
        self.recognizer, self.calls, self.stop, self.poses = recognizer, [], stop, poses
        self.class_names, self.description = recognizer.class_names, recognizer.description

    def __call__(self, video, skeleton=None):
        if len(self.calls) == self.stop:
            raise KeyboardInterrupt
        self.calls.append(video.stem)
        assert self.poses is None or skeleton is None
        return self.recognizer(video, skeleton if self.poses is None else self.poses / f"{video.stem}.npz")


def test_a_run_that_was_stopped_goes_on(clips, monkeypatch, capsys):
    recognizer = Recognizer.load(clips.export)
    assert evaluate(clips, out="whole") == 0
    stopped = Counting(recognizer, stop=2)
    monkeypatch.setattr("keras_actrec.cli.evaluate.recognizer_from", lambda _: stopped)
    assert evaluate(clips) == 130
    out = clips.folder / "out"
    assert stopped.calls == ["0", "1"] and [path.name for path in out.iterdir()] == [JOURNAL]
    journal = (out / JOURNAL).read_text()
    (out / JOURNAL).write_text(journal[:-7])  # a kill in the middle of a line
    resumed = Counting(recognizer)
    monkeypatch.setattr("keras_actrec.cli.evaluate.recognizer_from", lambda _: resumed)
    assert evaluate(clips) == 0
    assert resumed.calls == ["1", "2"] and not (out / JOURNAL).exists()
    whole = load_scores(clips.folder / "whole" / "scores.npz")
    np.testing.assert_array_equal(load_scores(out / "scores.npz").scores["fused"], whole.scores["fused"])


def test_answers_of_another_model_are_not_taken(clips, monkeypatch, capsys):
    recognizer = Recognizer.load(clips.export)
    monkeypatch.setattr("keras_actrec.cli.evaluate.recognizer_from", lambda _: Counting(recognizer, stop=2))
    assert evaluate(clips) == 130
    again = Counting(recognizer)
    monkeypatch.setattr("keras_actrec.cli.evaluate.recognizer_from", lambda _: again)
    copy = shutil.copytree(clips.export, clips.folder / "other")
    (copy / "actrec.json").write_text((copy / "actrec.json").read_text() + "\n")
    assert evaluate(replace(clips, export=copy)) == 0
    assert again.calls == ["0", "1", "2"]


def test_skeletons_are_passed_over_on_request(clips, monkeypatch, capsys):
    asked = Counting(Recognizer.load(clips.export), poses=clips.folder)
    monkeypatch.setattr("keras_actrec.cli.evaluate.recognizer_from", lambda _: asked)
    assert evaluate(clips, "--estimate-poses") == 0
    assert asked.calls == ["0", "1", "2"]
    assert not json.loads((clips.folder / "out" / "metrics.json").read_text())["configuration"]["skeletons"]


def test_a_list_of_videos_and_labels_and_nothing_else(clips, monkeypatch, capsys):
    rows = clips.csv.read_text().splitlines()
    clips.csv.write_text("\n".join(",".join(row.split(",")[1:3] + row.split(",")[4:]) for row in rows) + "\n")
    assert clips.csv.read_text().startswith("label,video,split\nwave,0.avi,test\n")
    asked = Counting(Recognizer.load(clips.export), poses=clips.folder)
    monkeypatch.setattr("keras_actrec.cli.evaluate.recognizer_from", lambda _: asked)
    (clips.folder / "1.avi").unlink()
    (clips.folder / "1.npz").unlink()
    assert evaluate(clips) == 0
    text = capsys.readouterr().out
    assert "of 2 classified clips" in text and "left out: 1, " in text and asked.calls == ["0", "1", "2"]


def test_a_public_data_set_with_its_skeletons_and_without(tmp_path):
    root = ROOTS["jhmdb"](tmp_path / "jhmdb")
    words = [str(root), "--dataset", "jhmdb", "--model", "m"]
    (root / "joint_positions" / "catch" / "b" / "joint_positions.mat").unlink()
    assert [record.clip_id for record in dataset_from(parse(command, words)).records] == ["a"]
    assert [record.clip_id for record in dataset_from(parse(command, [*words, "--estimate-poses"])).records] == ["a", "b"]


def test_a_warning_is_a_line(capsys):
    with plain_warnings():
        warnings.warn("mind the gap", stacklevel=1)
    assert capsys.readouterr().err == "warning: mind the gap\n"


def test_a_folder_that_is_no_export(clips, tmp_path, capsys):
    assert evaluate(replace(clips, export=tmp_path / "nothing")) == 1
    assert "no description of an exported model" in capsys.readouterr().err


def test_a_full_disk_ends_it(clips, full_disk, capsys):
    with full_disk(300):
        assert evaluate(clips) == 1
    assert "no space left" in capsys.readouterr().err


def test_names_of_streams(clips):
    description = read_description(clips.export)
    assert stream_of(description) == "fused" and stream_of(replace(description, sensor={})) == "pose"
    rpan = RPANDescription(CLASSES, "jhmdb_15", (), {}, "flow", "none", False, {})
    assert stream_of(rpan) == "flow" and stream_of(rpan, fused=True) == "rgb+flow"
