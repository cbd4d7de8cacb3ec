"""Cameras: a window is the newest seconds, who is slow misses frames and is told how many; and cameras that fail."""

from __future__ import annotations

import http.server
import queue
import threading
import time
from types import SimpleNamespace

import cv2
import numpy as np
import pytest

from keras_actrec.errors import ConfigError, VideoError
from keras_actrec.video import camera as module
from keras_actrec.video.camera import Camera

END = None


class FakeCamera:
    """Gives the frames that the test puts in, at the times that it says; None ends it."""

    def __init__(self, opens: bool = True):
        self.opens, self.released, self.clock, self._frames = opens, False, 0.0, queue.Queue()

    def isOpened(self):
        return self.opens

    def read(self):
        item = self._frames.get()
        if item is END:
            return False, None
        self.clock, frame = item
        return True, frame

    def release(self):
        self.released = True

    def film(self, camera: Camera, first: int, stop: int, rate: float = 10.0) -> None:
        """Frames first … stop - 1; frame n is of shade n. Comes back when the camera has taken them."""
        for number in range(first, stop):
            self._frames.put((number / rate, np.full((2, 2, 3), number, np.uint8)))
        wait_for(lambda: camera._count == stop)

    def end(self) -> None:
        self._frames.put(END)


def wait_for(condition) -> None:
    for _ in range(2000):
        if condition():
            return
        time.sleep(0.005)
    raise AssertionError("nothing happened for 10 s")


@pytest.fixture
def fake(monkeypatch):
    camera = FakeCamera()
    monkeypatch.setattr(module, "open_capture", lambda source: camera)
    monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=lambda: camera.clock))
    yield camera
    camera.end()


def test_windows_are_the_newest_seconds(fake):
    with Camera(seconds=2) as camera:
        fake.film(camera, 0, 21)
        first = camera.window(1)
        assert first.numbers == range(21) and [int(frame[0, 0, 0]) for frame in first.frames] == list(range(21))
        assert first.frame_rate == pytest.approx(10) and first.dropped == 0
        fake.film(camera, 21, 31)
        second = camera.window(1)
        assert second.numbers == range(10, 31) and second.dropped == 0
        fake.end()
    wait_for(lambda: fake.released)


def test_who_is_slow_misses_frames_and_is_told_how_many(fake):
    with Camera(seconds=2) as camera:
        fake.film(camera, 0, 21)
        camera.window(1)
        fake.film(camera, 21, 81)
        late = camera.window(1)
        assert late.numbers == range(60, 81)
        assert late.dropped == 60 - 21, "frames 21 to 59: nobody saw them"
        fake.film(camera, 81, 91)
        assert camera.window(1).dropped == 39
        fake.end()


def test_a_stride_longer_than_the_window_drops_nothing(fake):
    with Camera(seconds=1) as camera:
        fake.film(camera, 0, 11)
        camera.window(3)
        fake.film(camera, 11, 41)
        later = camera.window(3)
        assert later.numbers == range(30, 41) and later.dropped == 0
        fake.end()


def test_a_camera_that_ends(fake):
    with Camera(3, seconds=2) as camera:
        fake.film(camera, 0, 5)
        fake.end()
        with pytest.raises(VideoError, match=r"camera 3: the camera gives no more frames \(found 5 frames in all\)\. Check"):
            camera.window(1)


def test_a_camera_that_gives_nothing(fake):
    with (
        Camera(seconds=2, patience=0.05) as camera,
        pytest.raises(VideoError, match=r"camera 0: the camera gives no frames \(found none for 0\.05 s\)\. Check that it is"),
    ):
        camera.window(1)


def test_a_camera_that_does_not_open():
    with pytest.raises(VideoError, match=r"camera 99: the camera does not open\. Check that it is plugged in"):
        Camera("99", seconds=2)
    with pytest.raises(VideoError, match=r"camera http://127\.0\.0\.1:9/: the camera does not open\. Check the address"):
        Camera("http://127.0.0.1:9/", seconds=2)


def test_a_file_is_no_camera(tmp_path):
    (tmp_path / "clip.avi").write_bytes(b"")
    with pytest.raises(ConfigError, match=r"clip\.avi: a file is no camera\. Give the file itself"):
        Camera(str(tmp_path / "clip.avi"), seconds=2)


class _Stream(http.server.BaseHTTPRequestHandler):
    """Thirty JPEG images one behind the other, as network cameras send them, 50 per second; then it hangs up."""

    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=next")
        self.end_headers()
        for number in range(30):
            jpeg = cv2.imencode(".jpg", np.full((48, 64, 3), 8 * number, np.uint8))[1].tobytes()
            self.wfile.write(b"--next\r\nContent-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n" % len(jpeg) + jpeg + b"\r\n")
            time.sleep(0.02)

    def log_message(self, *_):
        pass


def test_a_stream_by_its_address():
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Stream)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        with Camera(f"http://127.0.0.1:{server.server_port}/", seconds=0.1) as camera:
            seen = camera.window(0.05)
            assert seen.frames[0].shape == (48, 64, 3) and len(seen.numbers) == len(seen.frames) >= 2
            with pytest.raises(VideoError, match="the camera gives no more frames"):
                for _ in range(40):
                    camera.window(0.05)
    finally:
        server.shutdown()
