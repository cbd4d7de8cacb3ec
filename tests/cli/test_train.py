"""`keras-actrec train`: what its arguments ask for, what it prints, and one training from videos to an answer."""

from __future__ import annotations

from pathlib import Path

import pytest

from keras_actrec.cli import main as cli
from keras_actrec.cli import train
from keras_actrec.cli.main import main, parse
from keras_actrec.pose_estimation.estimator import PoseEstimationConfig
from keras_actrec.recipes.own import run as own
from keras_actrec.recipes.own.experiment import MODELS, OwnTraining
from keras_actrec.recipes.own.videos import VideoListConfig
from tests.recipes.own.blobs import write_videos

METRICS = {"accuracy": {"pose": 0.5, "fused": 0.875}, "clips": {"test": 8}, "protocol": "split"}


@pytest.fixture
def asked(monkeypatch):
    """What the recipe is called with, instead of a training."""
    calls = []

    def record(videos, training, *, protocols=()):
        calls.append((videos, training, protocols))
        return None, METRICS

    monkeypatch.setattr(own, "train_on_videos", record)
    return calls


def test_a_list_alone(asked, capsys):
    assert main(["train", "some/clips.csv"]) == 0
    ((videos, training, protocols),) = asked
    assert videos == VideoListConfig(Path("some/clips.csv")) and protocols == ()
    assert training == OwnTraining(Path("runs/clips_sta_hands"))
    assert capsys.readouterr().out.splitlines() == [
        "    pose  50.0 %  of 8 test clips, split",
        "   fused  87.5 %  of 8 test clips, split",
        "report: runs/clips_sta_hands/report.html",
        "use it: keras-actrec predict VIDEO --model runs/clips_sta_hands/export",
    ]


def test_every_option_arrives(asked):
    words = "--workdir w --cache-dir c --model vpn --preset vpn_official --protocol split_a --test-share 0.4 --seed 3 --resume "
    words += "--retry-left-out --workers 2 --weights w.h5 --sensor inception_v3 --image-size 64 --crop-size 30 --epochs 5 "
    words += "--batch-size 6 --learning-rate 0.1 --strategy mirrored --pose-model p.task --people 1 --pose-confidence 0.3"
    assert main(["train", "clips.csv", *words.split()]) == 0
    ((videos, training, protocols),) = asked
    poses = PoseEstimationConfig(1, 0.3, 0.3, 0.3)
    assert videos == VideoListConfig(Path("clips.csv"), 0.4, 3, poses, Path("p.task"), 2) and protocols == ("split_a",)
    expected = OwnTraining(
        Path("w"), "vpn", "vpn_official", "w.h5", "inception_v3", 64, 30, 5, 6, 0.1, 2, 3, "mirrored", True, True, Path("c")
    )
    assert training == expected


def test_of_several_protocols_the_first_ones_model_is_named(asked, capsys):
    assert main(["train", "clips.csv", "--workdir", "w", "--protocol", "split_a", "split_b"]) == 0
    assert asked[0][2] == ("split_a", "split_b") and "--model w/split_a/export" in capsys.readouterr().out


def test_models_are_those_of_the_recipe():
    assert tuple(MODELS) == train.MODELS and cli.COMMANDS["train"][0] == train.__name__
    assert parse(train, ["clips.csv"]).model == "sta_hands"


def test_wrong_arguments(capsys):
    assert main(["train", "clips.csv", "--model", "best"]) == 2
    assert "invalid choice: 'best'" in capsys.readouterr().err


def test_errors_are_one_line(tmp_path, capsys):
    assert main(["train", str(tmp_path / "absent.csv")]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert "absent.csv: the list of clips cannot be read" in line


@pytest.mark.slow
def test_train_then_predict(tmp_path, blob_model, capsys):
    path = write_videos(tmp_path)
    words = ["--weights", "random", "--image-size", "32", "--epochs", "1", "--batch-size", "4"]
    assert main(["train", str(path), "--workdir", str(tmp_path / "run"), *words]) == 0
    out = capsys.readouterr().out
    assert " test clips, split" in out and (tmp_path / "run" / "report.html").is_file()
    assert main(["predict", str(tmp_path / "videos" / "bob_0.avi"), "--model", str(tmp_path / "run" / "export")]) == 0
    assert "bob" in capsys.readouterr().out
