"""What the explained frames of all models share: size, panel with the most probable classes, strip of time, ribbon of windows.

A frame is brought to its final size first and drawn on afterwards: lines and letters are as fine on a video of 176 pixels as on
one of 1920.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from keras_actrec.visualize.text import AXIS, INK, NOW, PAPER, SMALL, draw_text, shortened, text_width

WIDTH, PANEL, RIBBON = 960, 150, 44
HIGHEST = 960
"""Of a picture: a portrait video becomes narrower than the panel, with ground on both sides."""
LEFT, RIGHT = WIDTH // 2 + 10, WIDTH - 12
"""Columns of the panel's right half, which shows what a model attended to."""
CAPTION = PANEL - 8
"""Line of the captions in the panel."""
_BAR, _ROW, _SOFT = (110, 90, 50), 27, (190, 190, 190)
_MARK = 5  # half of the width of the triangle above the strip


def enlarged(frame: np.ndarray) -> tuple[np.ndarray, float]:
    """A copy of a frame in the size of the explanation, and how many of its pixels a pixel of the frame is.

    Args:
        frame: BGR uint8 (H, W, 3).

    Returns:
        BGR uint8 (h, w, 3), w = 960 unless that makes it higher than 960; h and w are even.
    """
    height, width = frame.shape[:2]
    scale = min(WIDTH / width, HIGHEST / height)
    size = tuple(2 * max(1, round(side * scale / 2)) for side in (width, height))
    if size == (width, height):
        return frame.copy(), 1.0
    return cv2.resize(frame, size, interpolation=cv2.INTER_CUBIC if scale > 1 else cv2.INTER_AREA), scale


def with_panel(picture: np.ndarray, strip: np.ndarray) -> np.ndarray:
    """A picture as `enlarged` gives it, in the middle of the panel's width, and the panel below it."""
    beside = WIDTH - picture.shape[1]
    sides = (beside // 2, beside - beside // 2)
    return np.vstack([cv2.copyMakeBorder(picture, 0, 0, *sides, cv2.BORDER_CONSTANT, value=PAPER), strip])


def panel(
    ranking: Sequence[tuple[str, float]],
    temporal: np.ndarray | None,
    index: int,
    length: int,
    *,
    seen: np.ndarray | None = None,
) -> np.ndarray:
    """The panel under a frame: the most probable classes on the left, attention over time on the right.

    Args:
        ranking: (class name, probability) pairs, best first; five fit.
        temporal: float (T,), weight of each frame in [0, 1]; None without attention: the right half holds the caption alone.
        index, length: number of this frame, and of all frames T.
        seen: bool (T,): frames that the model looked at; None: all. The others have no bar.

    Returns:
        BGR uint8 (150, 960, 3).
    """
    strip = np.full((PANEL, WIDTH, 3), PAPER, np.uint8)
    _draw_ranking(strip, ranking)
    seen = np.ones(length, bool) if seen is None else seen
    place = f"frame {index + 1} of {length}" + ("" if seen[index] else ": not looked at")
    draw_text(strip, place, LEFT, CAPTION, size=SMALL)
    if temporal is not None:
        title = "attention over time" + ("" if seen.all() else " (frames without a bar are not looked at)")
        draw_text(strip, title, LEFT, 18)
        draw_strip(strip, np.where(seen, temporal, 0.0), index, left=LEFT, right=RIGHT, top=34, bottom=PANEL - 28)
    return strip


def _draw_ranking(strip: np.ndarray, ranking: Sequence[tuple[str, float]]) -> None:
    """The left half: a bar for each class, as long as it is probable, with its name."""
    longest = WIDTH // 2 - 32
    for row, (name, probability) in enumerate(ranking):
        top = 10 + row * _ROW
        end = 12 + round(longest * min(max(probability, 0.0), 1.0))
        strip[top : top + 21, 12 : 12 + longest] = (40, 38, 36)
        strip[top : top + 21, 12:end] = _BAR
        # Figures in a column of their own: names begin below each other.
        share = f"{100 * probability:.1f} %"
        draw_text(strip, share, 70 - text_width(share), top + 15, colour=INK)
        draw_text(strip, shortened(name, longest - 76), 82, top + 15, colour=INK if row == 0 else _SOFT)


def draw_strip(strip: np.ndarray, heights: np.ndarray, index: int, *, left: int, right: int, top: int, bottom: int) -> None:
    """Draws the frames of a clip from left to right as bars, and a cursor at this one.

    Args:
        strip: the panel, changed in place.
        heights: float (T,) in [0, 1]: how high each frame's bar is; 0: none.
        index: this frame.
        left, right: columns of the first and behind the last frame.
        top, bottom: rows of a full bar; the triangle of the cursor is above, the axis below.
    """
    length = len(heights)
    cv2.line(strip, (left, bottom + 1), (right - 1, bottom + 1), AXIS, 1)
    edges = np.linspace(left, right, length + 1).astype(int)
    tops = bottom + 1 - np.rint((bottom + 1 - top) * np.clip(heights, 0, 1)).astype(int)
    # Clips of more frames than columns: each column has the highest of its frames, as later bars do not shorten earlier ones.
    gap = 1 if (right - left) >= 3 * length else 0
    for frame in np.flatnonzero(heights > 0):
        strip[min(tops[frame], bottom) : bottom + 1, edges[frame] : max(edges[frame + 1] - gap, edges[frame] + 1)] = AXIS
    now = slice(edges[index], max(edges[index + 1] - gap, edges[index] + 1))
    strip[top : bottom + 1, now] = np.rint(0.72 * strip[top : bottom + 1, now] + 0.28 * np.float32(NOW)).astype(np.uint8)
    strip[min(tops[index], bottom - 1) : bottom + 1, now] = NOW
    middle = (edges[index] + edges[index + 1]) // 2
    tip = np.array([[middle - _MARK, top - 8], [middle + _MARK, top - 8], [middle, top - 2]])
    cv2.fillPoly(strip, [tip], NOW, cv2.LINE_AA)


def text_right(strip: np.ndarray, text: str, base: int = CAPTION, *, width: int = WIDTH // 2 - 22) -> None:
    """A small caption that ends at the right border of the panel, shortened to `width` columns."""
    text = shortened(text, width, SMALL)
    draw_text(strip, text, RIGHT - text_width(text, SMALL), base, size=SMALL)


@dataclass(frozen=True)
class Ribbon:
    """Where a window of a long video is.

    Attributes:
        length: frames of the whole video, or as many of them as have been seen.
        frame_rate: frames per second.
        segments: (first frame, end, class name) of what was recognised so far, in order; they do not overlap.
        window: (first frame, end) of the window whose answer is shown; None where there is none.
    """

    length: int
    frame_rate: float
    segments: tuple[tuple[int, int, str], ...]
    window: tuple[int, int] | None


def with_ribbon(picture: np.ndarray, ribbon: Ribbon, index: int, colours: dict[str, tuple[int, int, int]]) -> np.ndarray:
    """An explained frame with a ribbon below: the whole video from left to right, its classes, this window and this frame.

    Args:
        picture: BGR uint8 (H, 960, 3).
        ribbon: of the video.
        index: number of the frame in the whole video.
        colours: class name → BGR.

    Returns:
        BGR uint8 (H + 44, 960, 3).
    """
    strip = np.full((RIBBON, WIDTH, 3), PAPER, np.uint8)
    strip[0] = AXIS

    def column(frame: float) -> int:
        return 12 + round((RIGHT - 12) * min(max(frame, 0), ribbon.length) / max(ribbon.length, 1))

    strip[12:28, 12:RIGHT] = (48, 46, 44)
    for start, stop, name in ribbon.segments:
        first, last = column(start), max(column(stop) - 1, column(start) + 1)
        strip[12:28, first:last] = colours[name]
        words = shortened(name, last - first - 8, SMALL) if last - first > 40 else ""
        draw_text(strip, words, first + 4, 24, size=SMALL)
    if ribbon.window is not None:
        first, end = ribbon.window
        cv2.rectangle(strip, (column(first), 9), (column(end), 30), INK, 1)
        seconds = f"{first / ribbon.frame_rate:.1f} to {end / ribbon.frame_rate:.1f} s"
        draw_text(strip, f"answer of the window from {seconds}", 12, 41, size=SMALL)
    now = column(index)
    strip[6:34, now : now + 2] = NOW
    text_right(strip, f"{index / ribbon.frame_rate:.1f} s of {ribbon.length / ribbon.frame_rate:.1f} s", 41)
    return np.vstack([picture, strip])


def no_answer(index: int, length: int) -> np.ndarray:
    """The panel of a frame that no answer is about; BGR uint8 (150, 960, 3)."""
    strip = np.full((PANEL, WIDTH, 3), PAPER, np.uint8)
    draw_text(strip, "no answer here", 12, 25, colour=_SOFT)
    draw_text(strip, f"frame {index + 1} of {length}", LEFT, CAPTION, size=SMALL)
    return strip
