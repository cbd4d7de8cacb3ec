"""What a prediction can say about itself, and writing that as a video or a picture."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from keras_actrec.files import whole_file
from keras_actrec.skeletons.sequence import SkeletonSequence
from keras_actrec.video.decode import Video, VideoReader
from keras_actrec.video.write import write_video

UNKNOWN_RATE = 30.0
"""Frames per second of an explanation whose clip does not say its own: a folder of images, or a container without a rate. 30 is
that of NTU RGB+D and of most cameras. It only decides how fast the explanation plays; the answer does not depend on it."""
_HELD_SECONDS = 0.5


@dataclass(frozen=True, eq=False)
class Prediction(ABC):
    """The answer for one clip; a subclass for each model knows how to draw what that model attended to.

    Attributes:
        class_names: names of the classes, in the order of `probabilities`.
        probabilities: float32 (classes,).
        sequence: the skeleton: cleaned, two people, where the model takes it; None where the model did without.
        video: the clip's video.
    """

    class_names: tuple[str, ...]
    probabilities: np.ndarray
    sequence: SkeletonSequence | None
    video: Video

    def top(self, count: int = 5) -> list[tuple[str, float]]:
        """The `count` most probable classes with their probabilities, best first."""
        best = np.argsort(-self.probabilities, kind="stable")[:count]
        return [(self.class_names[i], float(self.probabilities[i])) for i in best]

    @property
    @abstractmethod
    def moments(self) -> np.ndarray:
        """float (T,): how much the model attended to each frame, on any scale; NaN where it does not look."""

    @abstractmethod
    def annotated_frames(self) -> Iterator[np.ndarray]:
        """The clip's frames with what the model attended to, and top-5; BGR uint8."""

    @property
    def stops(self) -> np.ndarray:
        """bool (T,): frames at which a film stops, as the model looks at a handful that would be gone in an instant."""
        return np.zeros(len(self.moments), bool)

    def film(self, rate: float) -> Iterator[np.ndarray]:
        """`annotated_frames` as a video of `rate` frames per second shows them: half a second long at `stops`."""
        stops = self.stops
        for index, frame in enumerate(self.annotated_frames()):
            for _ in range(self.held(rate) if stops[index] else 1):
                yield frame

    @staticmethod
    def held(rate: float) -> int:
        """How many frames long a film stops."""
        return max(1, round(_HELD_SECONDS * rate))


def write_explanation(prediction: Prediction, path: str | Path) -> Path:
    """Writes the annotated clip: a video (`.avi`, `.mp4`), or for `.png`/`.jpg` a picture of the four heaviest moments.

    Browsers play `.webm`. A video plays at the clip's own frame rate, or at `UNKNOWN_RATE` where that is not known.

    Raises:
        DiskFullError: no space left; no file of that name is left half-written.
        VideoError: the video does not read, or OpenCV does not write this kind of file.
    """
    path = Path(path)
    if path.suffix.lower() not in (".png", ".jpg", ".jpeg"):
        with VideoReader(prediction.video) as reader:
            rate = reader.frame_rate or UNKNOWN_RATE
        return write_video(path, prediction.film(rate), rate)
    shown = _heaviest(prediction.moments)
    pictures = [frame for index, frame in enumerate(prediction.annotated_frames()) if index in shown]
    rows = [np.hstack(pictures[i : i + 2]) for i in range(0, len(pictures) - len(pictures) % 2, 2)]
    picture = np.vstack(rows) if rows else pictures[0]
    with whole_file(path, fix="free some space, or give another place by --out") as part:
        part.write_bytes(cv2.imencode(path.suffix, picture)[1].tobytes())
    return path


def _heaviest(moments: np.ndarray) -> list[int]:
    """The heaviest frame of each quarter of the frames that the model looks at, in order.

    Attention often rises and falls over the border of two quarters. So that they do not show the same moment twice, the quarter
    with the lighter moment stays a twelfth of those frames away from the other's.
    """
    looked = np.flatnonzero(np.isfinite(moments))
    quarters = np.array_split(looked, min(4, len(looked)))
    shown: list[int] = []
    for quarter in sorted(quarters, key=lambda frames: -moments[frames].max()):
        free = [frame for frame in quarter if all(abs(frame - other) > len(looked) // 12 for other in shown)]
        shown.append(int(free[np.argmax(moments[free])]))
    return sorted(shown)
