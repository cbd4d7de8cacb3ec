"""Decoding a video file, or a folder of images, once and in order."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

import cv2
import numpy as np

from keras_actrec.errors import VideoError
from keras_actrec.video.avi import empty_frames
from keras_actrec.video.frame_folder import FrameFolder

# FFmpeg's own level, read when OpenCV opens its first video: a broken file is reported once, by a VideoError.
os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")

_COUNT_TOLERANCE = 1
"""Containers that store no frame count give duration times rate, which rounding may put one frame too high."""

_REPLACE = "get the file anew (compare its size with the source) or leave the clip out"


_LOG_LEVEL_LOCK = threading.Lock()


def _open_quietly(path: Path, settings: list[int]) -> cv2.VideoCapture:
    """Opens a capture without OpenCV's warnings on stderr; its log level is as before afterwards."""
    with _LOG_LEVEL_LOCK:
        level = cv2.utils.logging.getLogLevel()
        cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
        try:
            return cv2.VideoCapture(str(path), cv2.CAP_FFMPEG, settings)
        finally:
            cv2.utils.logging.setLogLevel(level)


class VideoReader:
    """A video file, or a folder of images, decoded by OpenCV from its first frame to its last.

    Use it as a context manager. `frames()` may be called once: a clip is decoded once.

    Attributes:
        path: the file or folder.
        width, height: size of a frame in pixels.
        frame_rate: frames per second; 0.0 where the container does not say, and for a folder.
        frame_count: frames according to the container, without those of an AVI that hold nothing (`empty_frames`); 0 where it
            does not say.

    Args:
        path: an .avi, .mp4 or any other file that this OpenCV build decodes; or a folder with a .jpg or .png file per frame,
            in the order of their names (`FrameFolder`).
        threads: threads of the decoder; None leaves the number to OpenCV. No effect on a folder.

    Raises:
        VideoError: the file is absent, does not open or has no frames; the folder has no images, or its first does not decode.
    """

    def __init__(self, path: str | Path, *, threads: int | None = None):
        self.path = Path(path)
        if self.path.is_dir():
            self._capture = folder = FrameFolder(self.path)
            self.width, self.height, self.frame_rate, self.frame_count = folder.width, folder.height, 0.0, folder.frame_count
            return
        if not self.path.is_file():
            raise VideoError("there is no such video", file=self.path, fix="check the data root, or leave the clip out")
        settings = [] if threads is None else [cv2.CAP_PROP_N_THREADS, threads]
        self._capture = _open_quietly(self.path, settings)
        if not self._capture.isOpened():
            size = self.path.stat().st_size
            raise VideoError("the video does not open", file=self.path, found=f"{size} bytes", fix=_REPLACE)
        self.width = int(self._capture.get(cv2.CAP_PROP_FRAME_WIDTH))
        self.height = int(self._capture.get(cv2.CAP_PROP_FRAME_HEIGHT))
        self.frame_rate = max(0.0, float(self._capture.get(cv2.CAP_PROP_FPS)))
        self.frame_count = max(0, int(self._capture.get(cv2.CAP_PROP_FRAME_COUNT)) - empty_frames(self.path))

    def __enter__(self) -> VideoReader:
        return self

    def __exit__(self, *_) -> None:
        self.close()

    def close(self) -> None:
        """Frees the decoder. Closing twice is fine."""
        self._capture.release()

    def frames(self, wanted: Sequence[bool] | np.ndarray | None = None) -> Iterator[np.ndarray | None]:
        """Frames in order.

        Args:
            wanted: bool (T,): frames to convert to pixels. The others are decoded (later frames need them) but come as
                None, and reading stops after T frames. By default every frame of the file comes.

        Yields:
            BGR uint8 (height, width, 3), or None for a frame that is not wanted.

        Raises:
            VideoError: the stream has no frame, breaks before the end that its container promises, or ends before the
                T frames of `wanted`; an image of a folder does not decode or has another size than the first.
        """
        index = 0
        while wanted is None or index < len(wanted):
            if not self._capture.grab():
                break
            frame = None
            if wanted is None or wanted[index]:
                whole, frame = self._capture.retrieve()
                if not whole:
                    raise VideoError("the frame does not decode", file=self.path, place=f"frame {index}", fix=_REPLACE)
            yield frame
            index += 1
        else:
            return
        self._check_end(index, None if wanted is None else len(wanted))

    def _check_end(self, decoded: int, asked: int | None) -> None:
        if decoded == 0:
            raise VideoError("the video has no frames", file=self.path, place="frame 0", fix=_REPLACE)
        if decoded < self.frame_count - _COUNT_TOLERANCE:
            raise VideoError(
                "the stream breaks off",
                file=self.path,
                place=f"frame {decoded}",
                found=f"{decoded} frames",
                expected=f"{self.frame_count} frames",
                fix=_REPLACE,
            )
        if asked is not None and decoded < asked:
            raise VideoError(
                "the video ends before the last frame of its skeleton",
                file=self.path,
                place=f"frame {decoded}",
                found=f"{decoded} frames",
                expected=f"{asked} frames",
                fix="check that video and skeleton belong to the same clip, or leave the clip out",
            )
