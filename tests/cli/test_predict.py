"""`keras-actrec predict`: clips, long videos, folders and cameras; what is printed and written; what is refused."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest

from keras_actrec.cli.answers import clock
from keras_actrec.cli.main import main
from keras_actrec.recognizer import Recognizer
from keras_actrec.video import camera as camera_module
from keras_actrec.video.decode import VideoReader
from keras_actrec.video.write import write_video
from tests.small_exports import (
    CLASSES,
    LENGTH,
    RATE,
    Clip,
    KnownPoses,
    export_small_glimpse_clouds,
    export_small_vpn,
    write_clip,
    write_poses,
)


@pytest.fixture(scope="module")
def clip(tmp_path_factory) -> Clip:
    return write_clip(tmp_path_factory.mktemp("clip"))


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    """Glimpse Clouds, which needs no poses."""
    return export_small_glimpse_clouds(tmp_path_factory.mktemp("model") / "export")


@pytest.fixture(scope="module")
def pose_model(tmp_path_factory) -> Path:
    """VPN, which does."""
    return export_small_vpn(tmp_path_factory.mktemp("model") / "export")


@pytest.fixture
def run(capsys):
    """Runs the command; exit status, lines on stdout, lines on stderr."""

    def predict(*words) -> tuple[int, list[str], list[str]]:
        status = main(["predict", *map(str, words)])
        printed = capsys.readouterr()
        return status, printed.out.splitlines(), printed.err.splitlines()

    return predict


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        return list(csv.DictReader(file))


def length_of(video: Path) -> int:
    with VideoReader(video) as reader:
        return sum(1 for _ in reader.frames())


# A clip -----------------------------------------------------------------------------------------------------------------------


def test_the_most_probable_classes_are_printed(run, clip, model, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    status, lines, errors = run(clip.video, "--model", model)
    expected = Recognizer.load(model)(clip.video).top()
    assert (status, errors) == (0, [])
    assert lines == [f"{100 * share:6.2f} %  {name}" for name, share in expected]
    assert not list(tmp_path.iterdir()), "nothing is written that nobody asked for"


def test_json_has_all_classes(run, clip, model):
    _, lines, _ = run(clip.video, "--model", model, "--json")
    (found,) = map(json.loads, lines)
    assert found["video"] == str(clip.video) and set(found["probabilities"]) == set(CLASSES)
    assert found["top"][0]["probability"] == pytest.approx(max(found["probabilities"].values()))


def test_the_explained_clip(run, clip, pose_model, tmp_path):
    status, lines, errors = run(clip.video, "--model", pose_model, "--skeleton", clip.skeleton, "--out", tmp_path / "new/a.mp4")
    assert status == 0 and lines[-1] == f"wrote {tmp_path / 'new/a.mp4'}" and errors == []
    assert length_of(tmp_path / "new" / "a.mp4") >= LENGTH


def test_what_the_model_does_not_know_is_a_warning_of_one_line(run, clip, pose_model, monkeypatch):
    monkeypatch.setattr(Recognizer, "_estimator", lambda self: KnownPoses(clip.sequence))
    status, lines, errors = run(clip.video, "--model", pose_model)
    assert status == 0 and len(lines) == 3
    (warning,) = errors
    assert warning.startswith("warning: the model learned from poses of layout kinect_v2, and these are estimated")


# Long videos ------------------------------------------------------------------------------------------------------------------


def test_windows_are_printed_as_segments_with_their_times(run, clip, model):
    status, lines, _ = run(clip.video, "--model", model, "--window", 2, "--stride", 1)
    segments = Recognizer.load(model).timeline(clip.video, seconds=2, stride=1).segments()
    assert status == 0 and len(lines) == len(segments)
    first, last = lines[0], lines[-1]
    assert first.startswith("0:00.0 – ") and first.endswith(segments[0].class_name) and "– 0:04.0 " in last


def test_timelines_and_the_explained_video(run, clip, model, tmp_path):
    files = [tmp_path / "when.csv", tmp_path / "all"]
    out = tmp_path / "explained.avi"
    status, lines, _ = run(clip.video, "--model", model, "--window", 1, "--timeline-out", *files, "--out", out)
    written = [files[0], *(tmp_path / "all" / f"clip.{ending}" for ending in ("csv", "json", "png")), out]
    assert status == 0 and lines[-5:] == [f"wrote {path}" for path in written]
    assert [row["start"] for row in rows_of(files[0])] == ["0", "15", "30"], "a stride of 1.5 s"
    assert json.loads((tmp_path / "all" / "clip.json").read_text())["frame_rate"] == RATE
    assert cv2.imread(str(tmp_path / "all" / "clip.png")) is not None and length_of(out) >= LENGTH


def test_the_timeline_in_json(run, clip, model, tmp_path):
    _, lines, errors = run(clip.video, "--model", model, "--window", 2, "--json", "--timeline-out", tmp_path / "a.csv")
    (found,) = map(json.loads, lines)
    assert len(found["windows"]) == 3 and found["video"] == str(clip.video)
    assert errors[-1] == f"wrote {tmp_path / 'a.csv'}", "stdout is JSON alone"


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0:00.0"), (3.14, "0:03.1"), (59.97, "1:00.0"), (3599.99, "1:00:00.0"), (7325.5, "2:02:05.5")]
)
def test_times(seconds, text):
    assert clock(seconds) == text


# Folders ----------------------------------------------------------------------------------------------------------------------


@pytest.fixture
def videos(clip, tmp_path) -> Path:
    """Two videos, one of them in a sub-folder, and one that does not decode."""
    folder = tmp_path / "videos"
    (folder / "b").mkdir(parents=True)
    shutil.copy(clip.video, folder / "a_rgb.avi")
    shutil.copy(clip.video, folder / "b" / "a.avi")
    (folder / "junk.mp4").write_bytes(b"no video")
    (folder / "notes.txt").write_text("passed over")
    return folder


def test_a_folder_of_videos(run, videos, clip, model, tmp_path):
    out = tmp_path / "out"
    status, lines, errors = run(videos, "--model", model, "--out", out)
    assert status == 1, "one of them could not be classified"
    rows = rows_of(out / "predictions.csv")
    ((best, share),) = Recognizer.load(model)(clip.video).top(1)
    assert [row["video"] for row in rows] == ["a_rgb.avi", "b/a.avi", "junk.mp4"]
    assert [row["class"] for row in rows] == [best, best, ""]
    assert float(rows[0]["probability"]) == pytest.approx(share, abs=1e-5)
    assert "the video does not open" in rows[2]["error"] and rows[0]["error"] == ""
    assert lines[-1] == f"2 of 3 videos classified; wrote {out / 'predictions.csv'}" and errors[-1].startswith("junk.mp4: ")
    assert {path.name for path in out.iterdir()} == {"predictions.csv", "a_rgb_explained.mp4", "b_a_explained.mp4"}


def test_windows_of_a_folder_of_videos(run, videos, model, tmp_path, monkeypatch):
    (videos / "junk.mp4").unlink()
    monkeypatch.chdir(tmp_path)
    status, _, _ = run(videos, "--model", model, "--window", 2, "--timeline-out", tmp_path / "when", "--json")
    rows = rows_of(tmp_path / "predictions.csv")
    assert status == 0 and rows[0]["start_seconds"] == "0.000" and rows[-1]["stop_seconds"] == "4.000"
    names = {f"{stem}.{ending}" for stem in ("a_rgb", "b_a") for ending in ("csv", "json", "png")}
    assert {path.name for path in (tmp_path / "when").iterdir()} == names


def test_skeletons_of_a_folder_go_by_name(run, videos, clip, pose_model, tmp_path):
    (videos / "junk.mp4").unlink()
    skeletons = tmp_path / "skeletons"
    skeletons.mkdir()
    write_poses(skeletons / "a.npz", clip.sequence)  # of a_rgb.avi too, as NTU names them
    assert run(videos, "--model", pose_model, "--skeleton", skeletons, "--out", tmp_path / "out")[0] == 0
    (skeletons / "a.npz").rename(skeletons / "c.npz")
    status, _, errors = run(videos, "--model", pose_model, "--skeleton", skeletons, "--out", tmp_path / "out")
    assert status == 1 and "the video has no skeleton in the folder (found nothing for a_rgb.avi" in errors[0]


def test_a_folder_of_images_is_one_clip(run, clip, model, tmp_path):
    with VideoReader(clip.video) as reader:
        for index, frame in enumerate(reader.frames()):
            cv2.imwrite(str(tmp_path / f"{index}.png"), frame)
    assert run(tmp_path, "--model", model)[1] == run(clip.video, "--model", model)[1]
    _, lines, _ = run(tmp_path, "--model", model, "--window", 1, "--frame-rate", 20, "--json")
    assert json.loads(lines[0])["frame_rate"] == 20


# Cameras ----------------------------------------------------------------------------------------------------------------------


class Slow:
    """A camera of noise that takes its time, 50 frames per second."""

    def isOpened(self):
        return True

    def read(self):
        camera_module.time.sleep(0.02)
        return True, np.random.default_rng(0).integers(0, 255, (32, 48, 3), np.uint8)

    def release(self):
        pass


def test_a_camera(run, model, tmp_path, monkeypatch):
    opened = []
    monkeypatch.setattr(camera_module, "open_capture", lambda source: opened.append(source) or Slow())
    words = ("camera:1", "--model", model, "--window", 0.2, "--stride", 0.1, "--limit", 2)
    status, lines, _ = run(*words, "--timeline-out", tmp_path / "when.csv")
    assert status == 0 and opened == [1] and len(lines) == 3 and lines[2].startswith("wrote ")
    assert all(name in lines[0] for name in CLASSES) and len(rows_of(tmp_path / "when.csv")) == 2
    _, lines, _ = run(*words, "--json")
    assert [set(json.loads(line)) >= {"time", "start", "stop", "dropped", "top"} for line in lines] == [True, True]


# What is refused --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "error"),
    [
        (("camera:0", "--out", "a.mp4"), "--out is not for a camera"),
        (("camera:0", "--skeleton", "a.npz"), "--skeleton is not for a camera"),
        (("camera:0", "--timeline-out", "a.csv"), "a camera's timeline needs an end"),
        (("clip.avi", "--limit", "3"), "--limit is for a camera alone"),
        (("videos", "--out", "a.mp4"), "a.mp4: --out is a folder for a folder of videos"),
        (("videos", "--timeline-out", "a.csv"), "a.csv: --timeline-out is a folder for a folder of videos"),
        (("clip.avi", "--timeline-out", "a.txt"), "a.txt: a timeline is no such file"),
        (("clip.avi", "--out", "explained"), "explained: --out is no such file"),
        (("empty",), "empty: the folder has neither videos nor images"),
        (("absent.avi",), "absent.avi: there is no such video"),
        (("clip.avi", "--window", "60"), "clip.avi: the video is shorter than a window"),
        (("clip.avi", "--window", "-1"), "--window must be above 0"),
        (("clip.avi", "--pose-model", "absent.task", "--skeleton", "absent.npz"), "absent.npz: "),
    ],
)
def test_what_is_refused(run, model, tmp_path, monkeypatch, words, error):
    monkeypatch.chdir(tmp_path)
    for folder in ("videos", "empty"):
        (tmp_path / folder).mkdir()
    frames = [np.full((32, 48, 3), 9 * index, np.uint8) for index in range(8)]
    for name in ("clip.avi", "videos/clip.avi"):
        write_video(tmp_path / name, frames, 10)
    before = sorted(tmp_path.rglob("*"))
    status, lines, errors = run(*words, "--model", model)
    assert status == 1 and lines == [] and errors[-1].startswith(f"error: {error}")
    assert sorted(tmp_path.rglob("*")) == before


def test_a_folder_that_is_no_model(run, clip, tmp_path):
    status, _, errors = run(clip.video, "--model", tmp_path)
    assert status == 1 and "no description of an exported model" in errors[0]
