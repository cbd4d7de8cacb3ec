"""Windows that slide over a long video: a few seconds each, one answer each, in the memory of one window."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import cv2
import numpy as np

from keras_actrec.recipes.prediction.explanation import Prediction

SECONDS, STRIDE = 3.0, 1.5
"""Of a window, and from one to the next. Clips of NTU RGB+D last 1 to 7 s, most of them 2 to 4; every moment is seen twice."""


@dataclass(frozen=True, eq=False)
class Window:
    """The answer for some seconds of a video.

    Attributes:
        start, stop: frames [start, stop) of the video; of a camera, counted from its first frame.
        frame_rate: frames per second; of a camera, as they came in this window.
        prediction: the answer. Its `video` is this part of the file, or holds the frames of a camera.
        dropped: frames of a camera that no window saw so far, as they came while another one was being worked on.
    """

    start: int
    stop: int
    frame_rate: float
    prediction: Prediction
    dropped: int = 0

    @property
    def start_seconds(self) -> float:
        """Seconds from the beginning of the video to the first frame of the window."""
        return self.start / self.frame_rate

    @property
    def stop_seconds(self) -> float:
        """Seconds from the beginning of the video to the end of the window's last frame."""
        return self.stop / self.frame_rate


def cut_windows(frames: Iterable[np.ndarray], size: int, stride: int) -> Iterator[tuple[int, list[np.ndarray]]]:
    """Windows of `size` frames, `stride` frames from one to the next, and a last one that ends where the frames do.

    At most `size` frames are held; windows that overlap share them.

    Yields:
        Number of the window's first frame, and its frames. Nothing where there are fewer frames than `size`.
    """
    held: deque[np.ndarray] = deque(maxlen=size)
    count, due, last = 0, size, 0
    for frame in frames:
        held.append(frame)
        count += 1
        if count == due:
            yield count - size, list(held)
            due, last = due + stride, count
    if count > last and count >= size:
        yield count - size, list(held)


def rgb_frames(frames: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
    """BGR frames, as they are decoded, as RGB."""
    return (cv2.cvtColor(frame, cv2.COLOR_BGR2RGB) for frame in frames)
