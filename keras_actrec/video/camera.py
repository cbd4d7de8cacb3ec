"""A camera, or a stream by its address: a thread reads it, so that whoever is slow sees the newest frames, not old ones."""

from __future__ import annotations

import threading
import time
from collections import deque
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import cv2
import numpy as np

from keras_actrec.errors import ConfigError, VideoError
from keras_actrec.video.decode import silent

PATIENCE = 10.0
"""Seconds without a frame until a camera counts as gone; opening a stream may take as long."""
_JOIN_SECONDS = 2.0


class Capture(Protocol):
    """What of `cv2.VideoCapture` a camera uses."""

    def isOpened(self) -> bool: ...
    def read(self) -> tuple[bool, np.ndarray | None]: ...
    def release(self) -> None: ...


@dataclass(frozen=True, eq=False)
class CameraWindow:
    """The newest seconds of a camera.

    Attributes:
        numbers: of the frames, counted from the camera's first; ascending, without gaps.
        frames: BGR uint8 (H, W, 3) each.
        frame_rate: frames per second, as they came.
        dropped: frames that went by while a window was due, and that none has had so far.
    """

    numbers: range
    frames: tuple[np.ndarray, ...]
    frame_rate: float
    dropped: int


class Camera:
    """Frames as they come, of which the newest seconds are held. A context manager.

    Args:
        source: number of a device, 0 for the first; or the address of a stream (rtsp://…, http://…).
        seconds: length of a window.
        patience: seconds without a frame until it counts as gone.

    Raises:
        ConfigError: a file.
        VideoError: it does not open.
    """

    def __init__(self, source: int | str = 0, *, seconds: float, patience: float = PATIENCE):
        self.source = int(source) if str(source).isdecimal() else str(source)
        if isinstance(self.source, str) and Path(self.source).exists():
            raise ConfigError(
                "a file is no camera", file=self.source, fix="give the file itself, and windows slide over it (--window)"
            )
        self._seconds, self._patience = seconds, patience
        self._held: deque[tuple[int, float, np.ndarray]] = deque()
        self._changed = threading.Condition()
        self._count, self._seen, self._dropped, self._ended, self._stopped = 0, 0, 0, False, False
        self._due: float | None = None
        capture = open_capture(self.source)
        if not capture.isOpened():
            capture.release()
            raise VideoError("the camera does not open", file=self.name, fix=_ways_out(self.source))
        self._thread = threading.Thread(target=self._read, args=(capture,), name="camera", daemon=True)
        self._thread.start()

    def __enter__(self) -> Camera:
        return self

    def __exit__(self, *_) -> None:
        self.close()

    def close(self) -> None:
        """Ends the thread, which frees the camera. Closing twice is fine."""
        with self._changed:
            self._stopped = True
        self._thread.join(_JOIN_SECONDS)  # one that hangs in a driver is left behind

    def window(self, stride: float) -> CameraWindow:
        """Waits until there is a window that ends at least `stride` seconds after the one before; the newest one.

        Raises:
            VideoError: the camera ended, or gives no frames any more.
        """
        with self._changed:
            while not self._ready():
                if self._ended:
                    raise VideoError(
                        "the camera gives no more frames", file=self.name, found=f"{self._count} frames in all",
                        fix=_ways_out(self.source),
                    )  # fmt: skip
                if not self._changed.wait(self._patience):
                    raise VideoError(
                        "the camera gives no frames", file=self.name, found=f"none for {self._patience:g} s",
                        fix=_ways_out(self.source),
                    )  # fmt: skip
            last, first = self._held[-1][1], self._held[0][1]
            self._due = last + stride
            self._seen = self._count
            numbers = range(self._held[0][0], self._count)
            rate = (len(numbers) - 1) / max(last - first, 1e-3) if len(numbers) > 1 else 1 / self._seconds
            return CameraWindow(numbers, tuple(frame for _, _, frame in self._held), rate, self._dropped)

    @property
    def name(self) -> str:
        """What messages call it."""
        return f"camera {self.source}"

    def _ready(self) -> bool:
        return self._due is not None and self._held[-1][1] >= self._due

    def _read(self, capture: Capture) -> None:
        try:
            while not self._stopped:
                whole, frame = capture.read()
                if not whole or frame is None:
                    break
                self._hold(frame, time.monotonic())
        finally:
            capture.release()
            with self._changed:
                self._ended = True
                self._changed.notify_all()

    def _hold(self, frame: np.ndarray, now: float) -> None:
        with self._changed:
            late = self._ready()  # a window is due, and nobody came for it yet
            if self._due is None:
                self._due = now + self._seconds
            self._held.append((self._count, now, frame))
            self._count += 1
            while now - self._held[0][1] > self._seconds:
                number, _, _ = self._held.popleft()
                self._dropped += late and number >= self._seen
            self._changed.notify_all()


def open_capture(source: int | str) -> Capture:
    """OpenCV's capture of a device or a stream, whether it opened or not."""
    with silent():
        if isinstance(source, int):
            return cv2.VideoCapture(source)
        milliseconds = int(1000 * PATIENCE)
        limits = [cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, milliseconds, cv2.CAP_PROP_READ_TIMEOUT_MSEC, milliseconds]
        return cv2.VideoCapture(source, cv2.CAP_FFMPEG, limits)


def _ways_out(source: int | str) -> str:
    if isinstance(source, int):
        return "check that it is plugged in, that no other program uses it and that you may read it, or give another number"
    return "check the address and that the stream runs, or give the number of a device"
