"""Videos that are no files: frames in memory, and a part of a video. `VideoReader` opens them as it opens a path."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from keras_actrec.errors import ConfigError


@dataclass(frozen=True, eq=False)
class MemoryVideo:
    """Frames in memory as a video. Nothing is copied: who changes the frames changes the video.

    Attributes:
        frames: T arrays RGB uint8 (H, W, 3) of one size, or one array (T, H, W, 3).
        frame_rate: frames per second.
        name: what messages call it.

    Raises:
        ConfigError: no frames, frames of another shape or type, or a frame rate that is no number above 0.
    """

    frames: Sequence[np.ndarray] | np.ndarray
    frame_rate: float = 30.0
    name: str = "frames in memory"

    def __post_init__(self):
        if not 0 < self.frame_rate < float("inf"):
            raise ConfigError("the frame rate must be above 0", file=self.name, found=self.frame_rate, fix="give frame_rate=")
        if not len(self.frames):
            raise ConfigError("the video has no frames", file=self.name, fix="give at least one frame")
        whole = self.frames[0].shape if isinstance(self.frames[0], np.ndarray) else ()
        for index, frame in enumerate(self.frames):
            if not isinstance(frame, np.ndarray) or frame.dtype != np.uint8 or frame.ndim != 3 or frame.shape[2] != 3:
                kind = f"{frame.dtype} {frame.shape}" if isinstance(frame, np.ndarray) else type(frame).__name__
                raise ConfigError(
                    "a frame has the wrong shape or type", file=self.name, place=f"frame {index}", found=kind,
                    expected="RGB uint8 (height, width, 3), 0 to 255", fix="give an array uint8 (frames, height, width, 3)",
                )  # fmt: skip
            if frame.shape != whole:
                raise ConfigError(
                    "a frame has another size than the first", file=self.name, place=f"frame {index}",
                    found=f"{frame.shape[1]}×{frame.shape[0]}", expected=f"{whole[1]}×{whole[0]}",
                    fix="resize all frames to one size",
                )  # fmt: skip

    @property
    def length(self) -> int:
        """Number of frames T."""
        return len(self.frames)

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True)
class VideoPart:
    """Frames [start, stop) of a video. They are decoded when somebody reads them, and those before them too.

    Attributes:
        video: a file, a folder with an image per frame, or frames in memory.
        start, stop: frame numbers from 0.

    Raises:
        ConfigError: no frames.
    """

    video: Path | MemoryVideo
    start: int
    stop: int

    def __post_init__(self):
        if not 0 <= self.start < self.stop:
            raise ConfigError(
                "a part of a video is frames from start to before stop", file=str(self.video),
                found=f"{self.start} to {self.stop}", expected="0 <= start < stop",
            )  # fmt: skip

    def __str__(self) -> str:
        return f"{self.video}, frames {self.start} to {self.stop - 1}"


def part_of(video: Path | MemoryVideo | VideoPart, start: int, stop: int) -> VideoPart:
    """Frames [start, stop) of a video, which may be a part itself."""
    if isinstance(video, VideoPart):
        return VideoPart(video.video, video.start + start, video.start + stop)
    return VideoPart(video, start, stop)


class FramesCapture:
    """The frames of a `MemoryVideo` with the methods of `cv2.VideoCapture` that `VideoReader` uses."""

    def __init__(self, video: MemoryVideo):
        self._frames, self._next = video.frames, 0

    def grab(self) -> bool:
        """Goes to the next frame; False after the last one."""
        self._next += self._next <= len(self._frames)
        return self._next <= len(self._frames)

    def retrieve(self) -> tuple[bool, np.ndarray]:
        """True, and the frame that `grab` went to: BGR uint8 (height, width, 3), a copy."""
        return True, cv2.cvtColor(self._frames[self._next - 1], cv2.COLOR_RGB2BGR)

    def release(self) -> None:
        """Forgets the frames."""
        self._frames = ()


class PartCapture:
    """A part of what another capture gives, with the same methods."""

    def __init__(self, capture: cv2.VideoCapture, part: VideoPart):
        self._capture, self._next, self._start, self._stop = capture, 0, part.start, part.stop

    def grab(self) -> bool:
        """Goes to the next frame of the part, at first over those before it; False after the last one."""
        while self._next < self._start:
            if not self._capture.grab():
                return False
            self._next += 1
        if self._next >= self._stop:
            return False
        self._next += 1
        return self._capture.grab()

    def retrieve(self) -> tuple[bool, np.ndarray]:
        """Decodes the frame that `grab` went to."""
        return self._capture.retrieve()

    def release(self) -> None:
        """Frees the decoder."""
        self._capture.release()
