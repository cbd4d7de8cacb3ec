"""The page of `keras-actrec demo`: a client on loopback, a person in Chromium, errors in words, nothing of other hosts."""

from __future__ import annotations

import os
import socket
import sys
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest

from keras_actrec.cli.main import main
from keras_actrec.demo import AUTOMATIC, WHOLE, WINDOWS, answer_video, build_demo, serve_demo
from keras_actrec.errors import ConfigError
from keras_actrec.recipes.prediction.explanation import Prediction
from keras_actrec.recipes.prediction.windows import Window, cut_windows
from keras_actrec.video.decode import VideoReader
from keras_actrec.video.memory import VideoPart
from keras_actrec.video.write import write_video
from keras_actrec.visualize.panel import enlarged, panel, with_panel
from tests.page_in_chromium import Page, needs_chromium

NAMES = ("wave", "махать <b>рукой</b> *", "clap")
RATE = 10


@dataclass(frozen=True, eq=False)
class Plain(Prediction):
    """Draws the frames with nothing but the panel."""

    @property
    def moments(self):
        with VideoReader(self.video) as reader:
            return np.ones(reader.frame_count)

    def annotated_frames(self):
        with VideoReader(self.video) as reader:
            for index, frame in enumerate(reader.frames()):
                yield with_panel(enlarged(frame)[0], panel(self.top(), None, index, 100))


class Brightness:
    """Stands for a model: dark videos are waving, brighter ones the second class. Poses are what it is told to need."""

    class_names = NAMES
    description = SimpleNamespace(model="brightness")

    def __init__(self, *, needs_skeleton: bool = False):
        self.needs_skeleton = needs_skeleton
        self.skeletons: list = []

    def __call__(self, video, skeleton=None):
        self.skeletons.append(skeleton)
        with VideoReader(video) as reader:
            return self._answer(list(reader.frames()), Path(video))

    def windows(self, video, skeleton=None, *, seconds, stride):
        self.skeletons.append(skeleton)
        if seconds <= 0:
            raise ConfigError("--window is a number of seconds above 0", found=seconds)
        with VideoReader(video) as reader:
            for start, frames in cut_windows(reader.frames(), round(seconds * RATE), round(stride * RATE)):
                stop = start + len(frames)
                yield Window(start, stop, float(RATE), self._answer(frames, VideoPart(Path(video), start, stop)))

    def _answer(self, frames, video):
        label = int(np.mean(frames) > 100)
        shares = np.full(3, 0.1, np.float32)
        shares[label] = 0.8
        return Plain(NAMES, shares, None, video)


def clip(path: Path, *greys: int) -> Path:
    """A second of each grey, 96×54."""
    return write_video(path, (np.full((54, 96, 3), grey, np.uint8) for grey in greys for _ in range(RATE)), RATE)


# The answer -------------------------------------------------------------------------------------------------------------------


def test_a_short_video_has_one_answer(tmp_path):
    answer = answer_video(Brightness(), clip(tmp_path / "dark.avi", 20, 20), None, tmp_path)
    assert answer.ranking[0] == ("wave", pytest.approx(0.8)) and len(answer.ranking) == 3
    assert answer.timeline is None and answer.rows == [] and answer.files == [answer.film]
    assert answer.words == "## wave\n80.0 %; 20 frames"
    with VideoReader(answer.film) as reader:
        assert (reader.width, reader.height) == (960, 540 + 150) and reader.frame_rate == pytest.approx(RATE)
        assert sum(1 for _ in reader.frames()) == 20


def test_a_long_video_has_a_timeline(tmp_path):
    answer = answer_video(Brightness(), clip(tmp_path / "long.avi", 20, 20, 20, 200, 200), None, tmp_path, seconds=1, stride=1)
    assert answer.rows == [(0.0, 3.0, "wave", 0.8), (3.0, 5.0, NAMES[1], 0.8)]
    assert [name for name, _ in answer.ranking[:2]] == ["wave", NAMES[1]]
    assert answer.ranking[0][1] == pytest.approx((3 * 0.8 + 2 * 0.1) / 5)
    assert answer.words == "## wave\n0.0 to 3.0 s, the longest of 2 parts; 5 windows of 1 s"
    assert cv2.imread(str(answer.timeline)).shape[1] > 800
    assert [file.suffix for file in answer.files] == [".webm", ".png", ".csv", ".json"]
    assert all(file.stat().st_size > 100 for file in answer.files)
    with VideoReader(answer.film) as reader:
        assert sum(1 for _ in reader.frames()) == 50


@pytest.mark.parametrize(("mode", "parts"), [(AUTOMATIC, 0), (WHOLE, 0), (WINDOWS, 1)])
def test_who_wants_windows_gets_windows(tmp_path, mode, parts):
    answer = answer_video(Brightness(), clip(tmp_path / "a.avi", 20), None, tmp_path, mode=mode, seconds=0.6, stride=0.2)
    assert len(answer.rows) == parts


def test_an_unknown_mode(tmp_path):
    with pytest.raises(ConfigError, match=r"no such way to answer.*found sideways, expected one of automatic"):
        answer_video(Brightness(), clip(tmp_path / "a.avi", 20), None, tmp_path, mode="sideways")


# The page ---------------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def recognizer() -> Brightness:
    return Brightness(needs_skeleton=True)


@pytest.fixture(scope="module")
def page(recognizer):
    pytest.importorskip("gradio", reason="needs the extra [demo]")
    served = serve_demo(recognizer, port=free_port())
    yield served
    served.close()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture(scope="module")
def client(page):
    from gradio_client import Client

    return Client(page.url, verbose=False)


def ask(client, video: Path | None, *, skeleton: Path | None = None, mode=AUTOMATIC, seconds=1.0, stride=1.0):
    from gradio_client import handle_file

    files = [None if file is None else handle_file(str(file)) for file in (video, skeleton)]
    return client.predict(*files, mode, seconds, stride, api_name="/recognise")


def test_a_client_gets_the_answer(client, recognizer, tmp_path):
    pose = tmp_path / "bright.npz"
    pose.write_bytes(b"poses")
    words, film, ranking, picture, table, files = ask(client, clip(tmp_path / "bright.avi", 200), skeleton=pose)
    assert "80.0 %; 10 frames; answered in" in words and "<b>" not in words, "a class name is no Markup"
    assert ranking["label"] == NAMES[1] and ranking["confidences"][0]["confidence"] == pytest.approx(0.8)
    path = Path(film if isinstance(film, str) else film["video"])
    assert path.name == "bright_explained.webm" and path.stat().st_size > 1000 and len(files) == 1
    assert not picture["visible"] and not table["visible"]
    assert Path(recognizer.skeletons[-1]).name == "bright.npz"


def test_a_client_gets_the_timeline(client, recognizer, tmp_path):
    _, _, _, picture, table, files = ask(client, clip(tmp_path / "long.avi", 20, 20, 200))
    assert picture["visible"] and table["visible"] and recognizer.skeletons[-1] is None
    assert table["value"]["data"] == [[0.0, 2.0, "wave", 0.8], [2.0, 3.0, NAMES[1], 0.8]]
    assert [Path(file).suffix for file in files] == [".webm", ".png", ".csv", ".json"]


def test_errors_come_in_words(client, tmp_path):
    from gradio_client.exceptions import AppError

    junk = tmp_path / "junk.avi"
    junk.write_bytes(b"this is no video")
    with pytest.raises(AppError, match=r"^junk\.avi: the video does not open"):
        ask(client, junk)
    with pytest.raises(AppError, match="--window is a number of seconds above 0"):
        ask(client, clip(tmp_path / "a.avi", 20), mode=WINDOWS, seconds=None)
    with pytest.raises(AppError, match="Drop a video first"):
        ask(client, None)


def test_results_of_old_answers_are_deleted(tmp_path):
    from keras_actrec.demo import _KEPT, _Work

    work = _Work()
    folders = [work.folder() for _ in range(_KEPT + 2)]
    assert [folder.is_dir() for folder in folders] == [False] * 2 + [True] * _KEPT
    assert len(set(folders)) == _KEPT + 2


def test_a_port_that_is_taken(page, recognizer):
    port = int(page.url.rstrip("/").rsplit(":", 1)[1])
    with pytest.raises(ConfigError, match=rf"cannot be served there.*port {port}.*another --port"):
        serve_demo(recognizer, port=port)


def test_nothing_is_told_to_others(page):
    assert os.environ["GRADIO_ANALYTICS_ENABLED"] == "False"
    assert page.blocks.analytics_enabled is False and page.blocks.share is False
    assert page.url.startswith("http://127.0.0.1:")


def test_without_gradio(monkeypatch):
    monkeypatch.setitem(sys.modules, "gradio", None)
    with pytest.raises(ConfigError, match=r"needs Gradio.*pip install 'keras_actrec\[demo\]'"):
        build_demo(Brightness())


# In a browser -----------------------------------------------------------------------------------------------------------------


@needs_chromium
def test_a_person_drops_a_video_and_sees_the_film_play(page, tmp_path):
    video = clip(tmp_path / "bright.avi", 200, 200)
    with Page(tmp_path) as browser:
        browser.open(page.url)
        browser.wait("document.querySelector('input[type=file]') !== null")
        browser.choose_file("input[type=file]", video)
        browser.wait("document.querySelector('video')?.readyState >= 2")
        film = browser.value("(v => [v.duration, v.videoWidth, v.videoHeight, v.error])(document.querySelector('video'))")
        assert film == [pytest.approx(2.0, abs=0.15), 960, 540 + 150, None]
        words = browser.value("document.body.innerText")
        assert f"{NAMES[1]}" in words and "80%" in words and "20 frames" in words
        others = [address for address in browser.asked if not address.startswith((page.url, "data:", "blob:"))]
        assert browser.asked and not others
        # The film is on the screen: a grey of 200, wider than a third of the page.
        assert (np.abs(browser.screenshot().astype(int) - 200).max(axis=2) < 12).mean() > 0.05


@needs_chromium
def test_a_person_reads_what_is_wrong(page, tmp_path):
    junk = tmp_path / "junk.avi"
    junk.write_bytes(b"this is no video")
    with Page(tmp_path) as browser:
        browser.open(page.url)
        browser.wait("document.querySelector('input[type=file]') !== null")
        browser.choose_file("input[type=file]", junk)
        browser.wait("document.body.innerText.includes('the video does not open')")


@needs_chromium
def test_the_browser_refuses_what_is_of_other_hosts(page, tmp_path):
    with Page(tmp_path) as browser:
        browser.open(page.url)
        browser.wait("document.querySelector('input[type=file]') !== null")
        refused = browser.value("fetch('http://127.0.0.2:9/').then(() => 'asked', error => error.message)")
        loaded = browser.value(
            "new Promise(done => { const i = new Image(); i.onload = () => done('loaded'); i.onerror = () => done('refused');"
            " i.src = 'http://127.0.0.2:9/a.png'; })"
        )
        assert refused == "Failed to fetch" and loaded == "refused"
        policy = browser.value("fetch('.').then(answer => answer.headers.get('content-security-policy'))")
        assert "default-src 'self'" in policy and "http" not in policy and "*" not in policy


# The command ------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("host", "warned"), [("127.0.0.1", False), ("0.0.0.0", True)])
def test_the_command_serves_until_ctrl_c(monkeypatch, capsys, host, warned):
    served = {}

    class Served:
        url = "http://127.0.0.1:7860/"

        def wait(self):
            raise KeyboardInterrupt

    def serve(recognizer, *, host, port):
        served.update(recognizer=recognizer, host=host, port=port)
        return Served()

    def load(directory, **options):
        return directory, options

    monkeypatch.setattr("keras_actrec.demo.serve_demo", serve)
    monkeypatch.setattr("keras_actrec.recognizer.Recognizer.load", load)
    assert main(["demo", "--model", "runs/mine/export", "--host", host, "--port", "8080", "--pose"]) == 130
    directory, options = served["recognizer"]
    assert directory == Path("runs/mine/export") and (served["host"], served["port"]) == (host, 8080)
    assert options == {"sensor_weights": None, "flow_model": None, "pose": True, "pose_model": None}
    printed = capsys.readouterr().out
    assert "open http://127.0.0.1:7860/ in a browser" in printed and ("everyone who reaches" in printed) == warned


def test_the_help_of_the_command(capsys):
    assert main(["demo", "--help"]) == 0
    printed = capsys.readouterr().out
    assert "keras_actrec[demo]" in printed and "--host" in printed


def test_a_folder_that_is_no_export(tmp_path, capsys):
    assert main(["demo", "--model", str(tmp_path)]) == 1
    assert "no description of an exported model" in capsys.readouterr().err
