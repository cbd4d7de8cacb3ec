"""From videos and labels to a model that recognises: each of the four, on tiny videos and with random weights."""

from __future__ import annotations

import csv
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from keras_actrec.errors import ConfigError, DatasetError, WeightsError
from keras_actrec.export import read_description
from keras_actrec.recipes.own.experiment import MODELS, OwnTraining
from keras_actrec.recipes.own.run import train_on_videos
from keras_actrec.recipes.own.videos import VideoListConfig, open_videos, usual_height
from keras_actrec.recognizer import Recognizer
from tests.pose_estimation import fake_mediapipe
from tests.recipes.own.blobs import CLASSES, EMPTY, JUNK, write_videos

TINY = {"weights": "random", "image_size": 32, "epochs": 1, "batch_size": 4}


@dataclass(frozen=True)
class Trained:
    """What a training left, and what it was given."""

    workdir: Path
    csv: Path
    metrics: dict


@pytest.fixture(scope="module")
def blobs(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        yield fake_mediapipe.install(tmp_path_factory.mktemp("blobs"), patch)


@pytest.fixture(scope="module")
def trained(tmp_path_factory, blobs) -> Trained:
    """The two-stream network, by default settings but for size."""
    place = tmp_path_factory.mktemp("own")
    path = write_videos(place)
    dataset, metrics = train_on_videos(VideoListConfig(path), OwnTraining(place / "run", **TINY))
    assert dataset.class_names == CLASSES
    return Trained(place / "run", path, metrics)


def test_videos_and_labels_are_enough(trained):
    metrics = json.loads((trained.workdir / "metrics.json").read_text())
    assert metrics == json.loads(json.dumps(trained.metrics))
    assert set(metrics["accuracy"]) == {"pose", "rgb", "fused"} and metrics["dataset"] == "mine"
    assert metrics["protocol"] == "split" and metrics["model"] == "sta_hands" and metrics["preset"] == "own_sta_hands_res_tcn"
    for name in ("report.html", "scores.npz", "left_out.csv", "export/actrec.json"):
        assert (trained.workdir / name).is_file(), name
    assert read_description(trained.workdir / "export").crop_size == 40, "a third of 120 pixels"


def test_clips_with_nobody_are_left_out_and_counted(trained):
    assert trained.metrics["clips"]["left_out"] == 2
    with (trained.workdir / "left_out.csv").open(newline="") as file:
        rows = {row["clip_id"]: row for row in csv.DictReader(file)}
    assert set(rows) == {EMPTY, JUNK}
    assert "no body" in rows[EMPTY]["reason"] and rows[JUNK]["stage"] == "pose_estimation"
    assert "the video does not open" in rows[JUNK]["reason"]


def test_the_export_predicts_on_a_plain_video(trained, recwarn):
    one = Recognizer.load(trained.workdir / "export")
    answer = one(trained.csv.parent / "videos" / "stroll_0.avi")
    assert answer.class_names == CLASSES and answer.probabilities.sum() == pytest.approx(1, abs=1e-3)
    assert answer.sequence.layout.name == "kinect_v2"
    assert not [warning for warning in recwarn if "the model learned from poses" in str(warning.message)]
    description = read_description(trained.workdir / "export")
    assert description.source_layout == "mediapipe_33"


def test_poses_are_not_estimated_again(trained):
    files = trained.workdir / "cache" / "pose_files"
    before = {path.name: path.stat().st_mtime_ns for path in files.glob("*.npz")}
    data = open_videos(VideoListConfig(trained.csv), trained.workdir / "cache")
    assert {path.name: path.stat().st_mtime_ns for path in files.glob("*.npz")} == before and len(before) == 9
    assert [clip.clip_id for clip in data.left_out] == [JUNK] and usual_height(data) == 120


@pytest.mark.slow
@pytest.mark.parametrize("name", ["vpn", "glimpse_clouds", "rpan"])
def test_the_other_models(trained, tmp_path, name, recwarn):
    training = OwnTraining(tmp_path / "run", model=name, **TINY | {"image_size": 64}, cache_dir=trained.workdir / "cache")
    _, metrics = train_on_videos(VideoListConfig(trained.csv), training)
    assert metrics["model"] == name and metrics["clips"]["left_out"] == 2
    assert (tmp_path / "run" / "report.html").is_file()
    answer = Recognizer.load(tmp_path / "run" / "export")(trained.csv.parent / "videos" / "stroll_0.avi")
    assert answer.class_names == CLASSES and np.isfinite(answer.probabilities).all()


@pytest.mark.slow
def test_several_split_columns_are_averaged(tmp_path, blobs):
    path = write_videos(tmp_path, header="video,label,split_a,split_b", splits=2)
    training = OwnTraining(tmp_path / "run", preset="pose_res_tcn", **TINY)
    _, metrics = train_on_videos(VideoListConfig(path), training, protocols=("split_a", "split_b"))
    folds = [json.loads((tmp_path / "run" / name / "metrics.json").read_text()) for name in ("split_a", "split_b")]
    assert metrics["accuracy"]["pose"] == pytest.approx(np.mean([fold["accuracy"]["pose"] for fold in folds]))
    assert metrics["protocol"] == "2-fold" and set(metrics["folds"]) == {"split_a", "split_b"}
    assert (tmp_path / "run" / "split_a" / "export" / "actrec.json").is_file() and (tmp_path / "run" / "report.html").is_file()


# What is refused before anything long begins ----------------------------------------------------------------------------------


@pytest.fixture
def untouched(tmp_path, monkeypatch):
    """A list; no pose may be estimated."""
    monkeypatch.setattr("keras_actrec.recipes.own.videos.estimate_poses", lambda *_, **__: pytest.fail("poses were estimated"))
    return write_videos(tmp_path, clips=1)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"model": "vpn"}, "VPN's video network has no weights of ImageNet .found --weights imagenet, expected a file of conv"),
        ({"preset": "best"}, "no such preset of STA-Hands .found 'best'"),
        ({"model": "vpn", "weights": "random", "preset": "best"}, "no such preset"),
        ({"model": "glimpse_clouds", "preset": "best"}, "no such preset"),
        ({"epochs": 0}, "epochs"),
        ({"batch_size": 0}, "batch_size"),
        ({"learning_rate": -1.0}, "learning_rate"),
        ({"sensor": "vgg"}, "vgg"),
        ({"image_size": -1}, "images are too small for resnet50 .found -1"),
        ({"crop_size": -1}, "crop_size is out of range"),
    ],
)
def test_settings_that_make_no_sense(untouched, tmp_path, fields, words):
    with pytest.raises(ConfigError, match=words):
        train_on_videos(VideoListConfig(untouched), OwnTraining(tmp_path / "run", **fields))


def test_an_unknown_model(tmp_path):
    with pytest.raises(ConfigError, match=r"unknown model \(found 'best', expected one of sta_hands, vpn, glimpse_clouds"):
        OwnTraining(tmp_path, model="best")
    assert tuple(MODELS) == ("sta_hands", "vpn", "glimpse_clouds", "rpan")


def test_an_unknown_protocol(untouched, tmp_path):
    with pytest.raises(ConfigError, match=r"unknown protocol \(found 'split_9', expected one of split\)"):
        train_on_videos(VideoListConfig(untouched), OwnTraining(tmp_path / "run"), protocols=("split_9",))


def test_a_single_class(untouched, tmp_path):
    untouched.write_text("video,label\na.avi,bob\nb.avi,bob\n")
    with pytest.raises(DatasetError, match=r"there is nothing to tell apart \(found one label, 'bob', expected at least 2"):
        train_on_videos(VideoListConfig(untouched), OwnTraining(tmp_path / "run"))


def test_no_model_of_poses(tmp_path, blobs):
    path = write_videos(tmp_path, clips=1)
    with pytest.raises(WeightsError, match=r"absent\.task"):
        train_on_videos(VideoListConfig(path, pose_model=tmp_path / "absent.task"), OwnTraining(tmp_path / "run"))


def test_no_video_reads(tmp_path, blobs):
    (tmp_path / "mine.csv").write_text("video,label\na.avi,bob\nb.avi,bob\nc.avi,stroll\nd.avi,stroll\n")
    with pytest.raises(DatasetError, match=r"no clip of the list can be used \(found no video of it could be read\)"):
        train_on_videos(VideoListConfig(tmp_path / "mine.csv"), OwnTraining(tmp_path / "run"))
