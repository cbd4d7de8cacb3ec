"""Videos and frames at another size: what a video network reads need not be decoded at its full size each time.

Source: "Glimpse Clouds: Human Activity Recognition from Unstructured Feature Points" (Baradel, Wolf, Mille, Taylor), section 7:
"RGB videos are rescaled to 256 × 256". The authors' published code does so without keeping proportions.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from glob import escape
from pathlib import Path

import cv2
import numpy as np

from keras_actrec.errors import ConfigError
from keras_actrec.files import process_runs
from keras_actrec.video.decode import VideoReader
from keras_actrec.video.write import write_video

CODECS = {".avi": "MJPG", ".mp4": "mp4v"}
"""Container → the codec that every OpenCV build writes into it."""

VIDEO_SUFFIXES = (".avi", ".mp4", ".mkv", ".mov", ".webm", ".mpg", ".mpeg", ".wmv", ".flv", ".m4v")
"""Endings of files that are taken for videos."""

_RATE_OF_UNKNOWN = 30.0
_PART = re.compile(r"\.(\d+)\.part$")


@dataclass(frozen=True)
class RescaleConfig:
    """How videos are rescaled.

    Attributes:
        size: side of the square frames in pixels, even (codecs store colours of 2×2 pixels); with `keep_proportions` the
            shorter side.
        keep_proportions: the longer side follows from the video's proportions, rounded to an even number.
        container: ".avi" or ".mp4" for all; "same": each video keeps its own, and those of other kinds become .avi.

    Raises:
        ConfigError: a value makes no sense.
    """

    size: int = 256
    keep_proportions: bool = False
    container: str = "same"

    def __post_init__(self):
        if self.size < 2 or self.size % 2:
            raise ConfigError("the side of rescaled videos is a positive even number", found=self.size)
        if self.container not in ("same", *CODECS):
            raise ConfigError("unknown container", found=repr(self.container), expected=f"same, {', '.join(CODECS)}")

    def suffix(self, path: Path) -> str:
        """Ending of the rescaled video of this file."""
        if self.container != "same":
            return self.container
        return path.suffix if path.suffix.lower() in CODECS else ".avi"

    def frame_size(self, width: int, height: int) -> tuple[int, int]:
        """(width, height) of the rescaled frames of a video of this width and height."""
        if not self.keep_proportions:
            return self.size, self.size
        shorter = min(width, height)
        return tuple(self.size if side == shorter else 2 * round(side * self.size / shorter / 2) for side in (width, height))


def resize_frame(frame: np.ndarray, width: int, height: int) -> np.ndarray:
    """A frame at another size, stretched as far as the proportions differ.

    Along each axis that shrinks a pixel is the mean of those it covers (no aliasing); along one that grows it is bilinear.

    Args:
        frame: uint8 (H, W, 3).
        width, height: of the result in pixels.

    Returns:
        uint8 (height, width, 3); the frame itself where it has that size.
    """
    # In two steps: OpenCV takes means only where no axis grows.
    smaller = min(frame.shape[1], width), min(frame.shape[0], height)
    for size, method in ((smaller, cv2.INTER_AREA), ((width, height), cv2.INTER_LINEAR)):
        if (frame.shape[1], frame.shape[0]) != size:
            frame = cv2.resize(frame, size, interpolation=method)
    return frame


def rescale_video(source: str | Path, target: str | Path, config: RescaleConfig, *, threads: int | None = None) -> int:
    """Writes a video again at another size, with as many frames at the same rate (30 a second where the file does not say).

    Args:
        source: the video, a file.
        target: the file to write, which appears when it is whole; its ending is one of `CODECS`.
        config: the size.
        threads: of the decoder, see `VideoReader`.

    Returns:
        The number of frames.

    Raises:
        VideoError: the source is absent, does not decode or breaks off; or this OpenCV build does not write such a file.
        ConfigError: another ending.
        DiskFullError: no space left.
    """
    target = Path(target)
    codec = CODECS.get(target.suffix.lower())
    if codec is None:
        raise ConfigError("no codec for such a file", file=target, found=target.suffix, expected=" or ".join(CODECS))
    count = 0

    def frames():
        nonlocal count
        for frame in video.frames():
            count += 1
            yield resize_frame(frame, *size)

    with VideoReader(source, threads=threads) as video:
        size = config.frame_size(video.width, video.height)
        write_video(target, frames(), video.frame_rate or _RATE_OF_UNKNOWN, codec=codec)
    return count


def remove_stale_part(target: Path) -> None:
    """Removes what killed runs left of a video: unfinished files of processes that are gone."""
    for part in target.parent.glob(f".{escape(target.stem)}.*.part{target.suffix}"):
        match = _PART.search(part.stem)
        if match and not process_runs(int(match[1])):
            part.unlink(missing_ok=True)
