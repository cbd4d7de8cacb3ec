"""Writing frames to a video file that appears under its name only when it is whole."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterable
from contextlib import nullcontext, suppress
from pathlib import Path

import cv2
import numpy as np

from keras_actrec.errors import ConfigError, DiskFullError, VideoError
from keras_actrec.files import disk_error
from keras_actrec.video.decode import VideoReader

CODECS = {".mp4": "mp4v", ".webm": "VP80"}
"""Codec of a file by its ending where none is asked for; MJPG of all others. Of these, browsers play .webm alone: OpenCV's
packages have no encoder of H.264, and VP9 takes ten times as long as VP8."""


def write_video(path: str | Path, frames: Iterable[np.ndarray], frame_rate: float, *, codec: str | None = None) -> Path:
    """Writes BGR frames to `path`; whatever had that name before is replaced in one step.

    Args:
        path: the file; its ending chooses the container (.avi, .mp4, .webm). Its folder is made if absent.
        frames: BGR uint8 (H, W, 3), all of one size; an iterator is consumed once.
        frame_rate: frames per second, above 0.
        codec: four letters (FOURCC); None takes the one in `CODECS`. MJPG in .avi is written by every OpenCV build.

    Returns:
        The path.

    Raises:
        ConfigError: the frame rate or codec makes no sense, or a frame has another shape or type than the first.
        VideoError: there are no frames, or this OpenCV build cannot write that codec into that container.
        DiskFullError: the disk has no space left.
    """
    path = Path(path)
    if not frame_rate > 0:
        raise ConfigError("the frame rate must be above 0", file=path, found=frame_rate)
    codec = CODECS.get(path.suffix.lower(), "MJPG") if codec is None else codec
    if len(codec) != 4:
        raise ConfigError("a codec is four letters", file=path, found=codec, expected="e.g. MJPG or mp4v")
    path.parent.mkdir(parents=True, exist_ok=True)
    # The codec takes the container from the ending, so the unfinished file must carry it too.
    unfinished = path.with_name(f".{path.stem}.{os.getpid()}.part{path.suffix}")
    try:
        written = _encode(unfinished, path, frames, frame_rate, codec)
        _check_whole(unfinished, path, written)
        os.replace(unfinished, path)
    finally:
        unfinished.unlink(missing_ok=True)
    return path


class _QuietStderr:
    """Keeps off stderr what OpenCV's C code prints while a writer opens; for one thread after the other.

    For VP8 it always says that the container does not support it, which is about the four letters alone: .webm has none.
    """

    def __init__(self):
        self._lock, self._kept = threading.Lock(), -1

    def __enter__(self) -> None:
        self._lock.acquire()
        with suppress(OSError):  # a process without stderr
            self._kept = os.dup(2)
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, 2)
            os.close(nowhere)

    def __exit__(self, *_) -> None:
        if self._kept >= 0:
            os.dup2(self._kept, 2)
            os.close(self._kept)
            self._kept = -1
        self._lock.release()


_QUIET_STDERR = _QuietStderr()


def _encode(unfinished: Path, path: Path, frames: Iterable[np.ndarray], frame_rate: float, codec: str) -> int:
    """Encodes to `unfinished`; returns the number of frames. `path` is the name for messages."""
    writer, shape, count = None, None, 0
    try:
        for frame in frames:
            if writer is None:
                _check_frame(frame, path, 0)
                shape = frame.shape
                size = (shape[1], shape[0])
                with _QUIET_STDERR if codec == CODECS[".webm"] else nullcontext():
                    writer = cv2.VideoWriter(str(unfinished), cv2.VideoWriter.fourcc(*codec), frame_rate, size)
                if not writer.isOpened():
                    raise VideoError(
                        f"this OpenCV build cannot write codec {codec} here", file=path, fix='use codec="MJPG" and an .avi name'
                    )
            _check_frame(frame, path, count, shape)
            writer.write(frame)
            count += 1
    finally:
        if writer is not None:
            writer.release()
    if count == 0:
        raise VideoError("there are no frames to write", file=path, fix="give at least one frame")
    return count


def _check_frame(frame: np.ndarray, path: Path, index: int, shape: tuple[int, ...] | None = None) -> None:
    good = frame.dtype == np.uint8 and frame.ndim == 3 and frame.shape[2] == 3 and shape in (None, frame.shape)
    if not good:
        raise ConfigError(
            "a frame has the wrong shape or type",
            file=path,
            place=f"frame {index}",
            found=f"{frame.shape} {frame.dtype}",
            expected=f"{shape or '(H, W, 3)'} uint8",
        )


def _check_whole(unfinished: Path, path: Path, written: int) -> None:
    """OpenCV's writer reports nothing when the disk is full, so the container is asked how many frames it holds."""
    try:
        with VideoReader(unfinished) as video:
            held = video.frame_count
    except VideoError:
        held = 0
    if held == written:
        return
    error = disk_error(unfinished)
    if error is not None:
        raise DiskFullError(
            f"no space left to write the video ({error.strerror})",
            file=path,
            found=f"{held} frames",
            expected=f"{written} frames",
            fix="free some space and write it again",
        ) from error
    raise VideoError("the file was not written whole", file=path, found=f"{held} frames", expected=f"{written} frames")
