"""Decoding a video file, or a folder of images, once and in order."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import cv2
import numpy as np

from keras_actrec.errors import VideoError
from keras_actrec.video.avi import empty_frames
from keras_actrec.video.frame_folder import FrameFolder
from keras_actrec.video.memory import FramesCapture, MemoryVideo, PartCapture, VideoPart
from keras_actrec.video.time_limit import CLIP_SECONDS, LimitedCalls

# FFmpeg's own level, read when OpenCV opens its first video: a broken file is reported once, by a VideoError.
os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")

Video = Path | MemoryVideo | VideoPart
"""What `VideoReader` opens: a file, a folder with an image per frame, frames in memory, a part of one of them."""

_COUNT_TOLERANCE = 1
"""Containers that store no frame count give duration times rate, which rounding may put one frame too high."""

_REPLACE = "get the file anew (compare its size with the source) or leave the clip out"


class _Silence:
    """Keeps OpenCV's warnings off stderr while captures open, in any number of threads; its log level is as before afterwards.

    Nothing is locked while a capture opens: one that hangs must not hang the others.
    """

    def __init__(self):
        self._lock, self._inside, self._level = threading.Lock(), 0, 0

    def __enter__(self) -> None:
        with self._lock:
            if self._inside == 0:
                self._level = cv2.utils.logging.getLogLevel()
                cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
            self._inside += 1

    def __exit__(self, *_) -> None:
        with self._lock:
            self._inside -= 1
            if self._inside == 0:
                cv2.utils.logging.setLogLevel(self._level)


_SILENCE = _Silence()


def silent() -> _Silence:
    """The one `_Silence` of this process, as a context manager."""
    return _SILENCE


def _open_quietly(path: Path, settings: list[int]) -> cv2.VideoCapture:
    with _SILENCE:
        return cv2.VideoCapture(str(path), cv2.CAP_FFMPEG, settings)


class VideoReader:
    """A video, a file or another kind of `Video`, decoded by OpenCV from its first frame to its last.

    Use it as a context manager. `frames()` may be called once: a clip is decoded once.

    Attributes:
        path: the file or folder; the name of a video that is in memory.
        width, height: size of a frame in pixels.
        frame_rate: frames per second; 0.0 where the container does not say, and for a folder.
        frame_count: frames according to the container, without those of an AVI that hold nothing (`empty_frames`); 0 where it
            does not say.

    Args:
        path: an .avi, .mp4 or any other file that this OpenCV build decodes; or a folder with a .jpg or .png file per frame,
            in the order of their names (`FrameFolder`); or a `MemoryVideo` or `VideoPart`.
        threads: threads of the decoder; None leaves the number to OpenCV. No effect on a folder.
        time_limit: seconds that opening and decoding may take in all, whatever the caller does in between; None sets no limit.

    Raises:
        VideoError: the file is absent, does not open, not within the time limit, or has no frames; the folder has no images,
            or its first does not decode.
    """

    def __init__(self, path: str | Video, *, threads: int | None = None, time_limit: float | None = CLIP_SECONDS):
        self._limit, self._calls = time_limit, LimitedCalls(time_limit)
        self._capture: cv2.VideoCapture | FrameFolder | FramesCapture | PartCapture | None = None
        try:
            self._open(path, [] if threads is None else [cv2.CAP_PROP_N_THREADS, threads])
        except BaseException:
            self.close()
            raise

    def _open(self, video: str | Video, settings: list[int]) -> None:
        if isinstance(video, VideoPart):
            self._open(video.video, settings)
            self._capture = PartCapture(self._capture, video)
            self.frame_count = max(0, min(self.frame_count, video.stop) - video.start)
            return
        self.path = Path(video.name if isinstance(video, MemoryVideo) else video)
        if isinstance(video, MemoryVideo):
            self._open_frames(video)
        elif self.path.is_dir():
            self._open_folder()
        elif self.path.is_file():
            self._open_file(settings)
        else:
            raise VideoError("there is no such video", file=self.path, fix="check the data root, or leave the clip out")

    def _open_frames(self, video: MemoryVideo) -> None:
        self._capture = FramesCapture(video)
        self.height, self.width = video.frames[0].shape[:2]
        self.frame_rate, self.frame_count = float(video.frame_rate), video.length

    def _open_folder(self) -> None:
        self._capture = folder = self._timed("opening", FrameFolder, self.path)
        self.width, self.height, self.frame_rate, self.frame_count = folder.width, folder.height, 0.0, folder.frame_count

    def _open_file(self, settings: list[int]) -> None:
        self._capture = capture = self._timed("opening", _open_quietly, self.path, settings)
        if not capture.isOpened():
            size = self.path.stat().st_size
            raise VideoError("the video does not open", file=self.path, found=f"{size} bytes", fix=_REPLACE)
        self.width = int(capture.get(cv2.CAP_PROP_FRAME_WIDTH))
        self.height = int(capture.get(cv2.CAP_PROP_FRAME_HEIGHT))
        self.frame_rate = max(0.0, float(capture.get(cv2.CAP_PROP_FPS)))
        self.frame_count = max(0, int(capture.get(cv2.CAP_PROP_FRAME_COUNT)) - empty_frames(self.path))

    def _timed(self, place: str, function: Callable, *arguments):
        """Calls the decoder. Raises VideoError where the time is up or OpenCV gives up."""
        try:
            return self._calls(function, *arguments)
        except TimeoutError:
            raise VideoError(
                "decoding the video takes too long", file=self.path, place=place, found=f"more than {self._limit:g} s",
                expected="less in all", fix="get the file anew, allow more seconds per clip, or leave the clip out",
            ) from None  # fmt: skip
        except (cv2.error, MemoryError) as error:
            found = str(error).strip().splitlines()[-1] if str(error).strip() else type(error).__name__
            raise VideoError("the video does not decode", file=self.path, place=place, found=found, fix=_REPLACE) from error

    def __enter__(self) -> VideoReader:
        return self

    def __exit__(self, *_) -> None:
        self.close()

    def close(self) -> None:
        """Frees the decoder. Closing twice is fine."""
        self._calls.close(lambda: None if self._capture is None else self._capture.release())

    def frames(self, wanted: Sequence[bool] | np.ndarray | None = None) -> Iterator[np.ndarray | None]:
        """Frames in order.

        Args:
            wanted: bool (T,): frames to convert to pixels. The others are decoded (later frames need them) but come as
                None, and reading stops after T frames. By default every frame of the file comes.

        Yields:
            BGR uint8 (height, width, 3), or None for a frame that is not wanted.

        Raises:
            VideoError: the stream has no frame, breaks before the end that its container promises, ends before the T frames
                of `wanted`, or takes longer than the time limit; an image of a folder does not decode or has another size
                than the first.
        """
        index = 0
        while wanted is None or index < len(wanted):
            grabbed, whole, frame = self._timed(f"frame {index}", self._next, wanted is None or bool(wanted[index]))
            if not grabbed:
                break
            if not whole:
                raise VideoError("the frame does not decode", file=self.path, place=f"frame {index}", fix=_REPLACE)
            yield frame
            index += 1
        else:
            return
        self._check_end(index, None if wanted is None else len(wanted))

    def _next(self, wanted: bool) -> tuple[bool, bool, np.ndarray | None]:
        """Whether there is a next frame, whether it is whole, and the frame: one trip to the decoder's thread."""
        if not self._capture.grab():
            return False, False, None
        return (True, *self._capture.retrieve()) if wanted else (True, True, None)

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
