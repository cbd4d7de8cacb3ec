"""A decoder that hangs, or takes long: the caller goes on after the time limit, and only decoding counts."""

from __future__ import annotations

import threading
import time

import cv2
import numpy as np
import pytest

from keras_actrec.errors import VideoError
from keras_actrec.video import decode
from keras_actrec.video.decode import VideoReader
from keras_actrec.video.time_limit import LimitedCalls
from keras_actrec.video.write import write_video


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    path = tmp_path_factory.mktemp("clip") / "clip.avi"
    return write_video(path, (np.full((48, 64, 3), 10 * i, np.uint8) for i in range(6)), 25.0)


class Hanging:
    """A capture that never comes back from its fourth frame until it is let go."""

    def __init__(self, capture):
        self.capture, self.let_go, self.released, self.grabbed = capture, threading.Event(), threading.Event(), 0

    def __getattr__(self, name):
        return getattr(self.capture, name)

    def grab(self):
        self.grabbed += 1
        if self.grabbed == 4:
            self.let_go.wait(30)
        return self.capture.grab()

    def release(self):
        self.capture.release()
        self.released.set()


def test_calls_and_their_exceptions_pass():
    calls = LimitedCalls(30)
    assert calls(divmod, 7, 2) == (3, 1)
    with pytest.raises(ZeroDivisionError):
        calls(divmod, 7, 0)
    threads = {calls(threading.get_ident) for _ in range(3)}
    assert len(threads) == 1 and threading.get_ident() not in threads
    calls.close(lambda: None)


def test_without_a_limit_there_is_no_thread():
    assert LimitedCalls(None)(threading.get_ident) == threading.get_ident()


def test_time_between_calls_does_not_count():
    calls = LimitedCalls(1)
    for _ in range(3):
        time.sleep(0.4)
        assert calls(abs, -1) == 1
    calls.close(lambda: None)


def test_time_of_calls_adds_up():
    calls = LimitedCalls(0.25)
    with pytest.raises(TimeoutError):
        for _ in range(100):
            calls(time.sleep, 0.01)
    with pytest.raises(TimeoutError):  # and no call begins afterwards
        calls(pytest.fail, "called")


def test_a_decoder_that_hangs_is_left_behind(clip, monkeypatch):
    opened = []
    open_quietly = decode._open_quietly
    monkeypatch.setattr(decode, "_open_quietly", lambda *a: opened.append(Hanging(open_quietly(*a))) or opened[-1])
    seen = []
    words = r"clip\.avi, frame 3: decoding the video takes too long \(found more than 0\.5 s"
    with pytest.raises(VideoError, match=words), VideoReader(clip, time_limit=0.5) as video:
        for frame in video.frames():
            seen.append(frame)
    assert len(seen) == 3
    assert not opened[0].released.is_set()  # what a thread still uses is not freed
    opened[0].let_go.set()
    assert opened[0].released.wait(10)  # but when it comes back


def test_an_opening_that_hangs_does_not_keep_others_from_opening(clip, monkeypatch):
    let_go = threading.Event()
    capture = cv2.VideoCapture

    def opening(path, *settings):
        if "hang" in path:
            let_go.wait(30)
        return capture(path, *settings)

    monkeypatch.setattr(cv2, "VideoCapture", opening)
    other = clip.with_name("hang.avi")
    other.write_bytes(clip.read_bytes())
    level = cv2.utils.logging.getLogLevel()
    with pytest.raises(VideoError, match=r"hang\.avi, opening: decoding the video takes too long"):
        VideoReader(other, time_limit=0.2)
    with VideoReader(clip, time_limit=30) as video:
        assert sum(1 for _ in video.frames()) == 6
    let_go.set()
    for _ in range(100):
        if cv2.utils.logging.getLogLevel() == level:
            break
        time.sleep(0.05)
    assert cv2.utils.logging.getLogLevel() == level


def test_an_opencv_that_gives_up_is_a_video_error(clip, monkeypatch):
    class Broken(Hanging):
        def retrieve(self):
            raise cv2.error("Insufficient memory")

    open_quietly = decode._open_quietly
    monkeypatch.setattr(decode, "_open_quietly", lambda *a: Broken(open_quietly(*a)))
    with (
        VideoReader(clip) as video,
        pytest.raises(VideoError, match=r"frame 0: the video does not decode.*Insufficient memory"),
    ):
        list(video.frames())
