"""Glimpses of Glimpse Clouds on the frames that they were taken from, and which worker takes them in.

Colours: Baradel, Wolf, Mille, Taylor, "Glimpse Clouds: Human Activity Recognition from Unstructured Feature Points", Figure 3:
the first glimpse of a frame is red, the second blue, the third yellow.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import cv2
import numpy as np

from keras_actrec.skeletons.layout import SkeletonLayout
from keras_actrec.visualize.attention import PERSON_COLOURS, WIDTH, panel, with_panel
from keras_actrec.visualize.vpn_attention import draw_box

# BGR; a fourth glimpse is green, then they begin again.
COLOURS = ((60, 60, 235), (240, 130, 50), (40, 215, 245), (90, 190, 60))
_FONT, _INK, _PAPER, _AXIS, _NOW = cv2.FONT_HERSHEY_SIMPLEX, (235, 235, 235), (28, 28, 28), (120, 120, 120), (60, 170, 250)
_LINE, _TAG = 2, 22
_LEFT, _BARS, _RIGHT = WIDTH // 2 + 10, WIDTH // 2 + 90, WIDTH - 12  # of the panel's right half: labels, bars, end
_ROWS, _TIMELINE, _CAPTION = (28, 106), (112, 122), 142  # heights in it


@dataclass(frozen=True, eq=False)
class ClipGlimpses:
    """What the V views of a clip looked at, in pixels of the video.

    Attributes:
        frames: int (V, T): the frames that the views looked at.
        crops: float (V, T, 4): the part of each that the network sees, (x0, y0, x1, y1).
        glimpses: float (V, T, G, 4): the glimpses in it, (x0, y0, x1, y1); they may leave that part. None: global model.
        assignment: float (V, T, C, G): shares of the glimpses in what each worker takes in, 1 in sum; None without workers.
        pose: float (V, T, P, J, 2): the joints that the network regresses, (x, y).
        seen: bool (T',): frames of the clip that a view looked at.
    """

    frames: np.ndarray
    crops: np.ndarray
    glimpses: np.ndarray | None
    assignment: np.ndarray | None
    pose: np.ndarray
    seen: np.ndarray

    def looks(self, index: int) -> list[tuple[int, int]]:
        """(view, place in the view) of every look at a frame, the first view first."""
        return [(int(view), int(step)) for view, step in np.argwhere(self.frames == index)]


def clip_glimpses(outputs: Mapping[str, np.ndarray], boxes: np.ndarray, *, picture_size: int, image_size: int) -> ClipGlimpses:
    """Outputs of `classify_clip` of an export, in pixels of the video.

    Args:
        outputs: frames (V, T), crops (V, 2), pose (V, T, P, J, 2) and, where the model has them, glimpses (V, T, G, 4) and
            assignment (V, T, C, G).
        boxes: (T', 4): which part of each frame of the video became the picture, (x0, y0, x1, y1).
        picture_size: side of the picture in pixels.
        image_size: side of the crop of it in pixels.
    """
    frames = outputs["frames"]
    low = boxes[frames][..., :2].astype(np.float64)  # (V, T, 2)
    scale = (boxes[frames][..., 2:] - low) / picture_size
    low = low + outputs["crops"][:, None] * scale
    size = image_size * scale

    def placed(points: np.ndarray) -> np.ndarray:
        """(V, T, …, 2) in [-1, 1] of the crop → in pixels of the video."""
        axes = tuple(range(2, points.ndim - 1))
        return np.expand_dims(low, axes) + (points + 1) / 2 * np.expand_dims(size, axes)

    glimpses = outputs.get("glimpses")
    if glimpses is not None:
        centre, reach = glimpses[..., :2], glimpses[..., 2:]
        glimpses = np.concatenate([placed(centre - reach), placed(centre + reach)], axis=-1)
    seen = np.zeros(len(boxes), bool)
    seen[frames] = True
    crops = np.concatenate([low, low + size], axis=-1)
    return ClipGlimpses(frames, crops, glimpses, outputs.get("assignment"), placed(outputs["pose"]), seen)


def draw_glimpses(frame: np.ndarray, glimpses: np.ndarray, crop: np.ndarray) -> np.ndarray:
    """A copy of the frame with the outline of each glimpse, a dot in its middle and its number on its lower edge.

    Outlines end at the border of the crop, as there is nothing to see beyond. The first is the thickest: where several
    coincide, all of their colours can be seen.

    Args:
        frame: BGR uint8 (H, W, 3).
        glimpses: (G, 4): (x0, y0, x1, y1) in pixels of this frame.
        crop: (x0, y0, x1, y1): the part that the network sees.
    """
    canvas = frame.copy()
    low, high = crop[:2], crop[2:] - 1
    for number, box in enumerate(glimpses):
        first, last = (tuple(np.rint(np.clip(corner, low, high)).astype(int).tolist()) for corner in (box[:2], box[2:]))
        thickness = _LINE * (len(glimpses) - number)
        cv2.rectangle(canvas, first, last, COLOURS[number % len(COLOURS)], thickness)
    for number, box in enumerate(glimpses):
        colour = COLOURS[number % len(COLOURS)]
        middle = tuple(np.rint((box[:2] + box[2:]) / 2).astype(int).tolist())
        cv2.circle(canvas, middle, 6, _PAPER, -1, cv2.LINE_AA)
        cv2.circle(canvas, middle, 5, colour, -1, cv2.LINE_AA)
        left, bottom = np.rint([np.clip(box[0], low[0], high[0]), np.clip(box[3], low[1], high[1])]).astype(int)
        _tag(canvas, number, left + 4 + number * (_TAG + 4), bottom - _TAG - 4)  # beside each other where boxes coincide
    return canvas


def draw_pose(frame: np.ndarray, pose: np.ndarray, layout: SkeletonLayout) -> np.ndarray:
    """A copy of the frame with the bones of the poses that the network regresses, as thin lines; pose (P, J, 2) in pixels."""
    canvas = frame.copy()
    for person, points in enumerate(np.rint(pose).astype(int).tolist()):
        for parent, child in layout.bones:
            cv2.line(canvas, points[parent], points[child], PERSON_COLOURS[person % len(PERSON_COLOURS)], 1, cv2.LINE_AA)
    return canvas


def annotate_frame(
    frame: np.ndarray,
    *,
    index: int,
    clouds: ClipGlimpses,
    ranking: Sequence[tuple[str, float]],
    pose_layout: SkeletonLayout | None = None,
) -> np.ndarray:
    """One frame of the explained clip: glimpses, and a panel below with the classes and the workers; 960 px wide.

    A frame at which several views looked shows the first of these looks.

    Args:
        frame: BGR uint8 (H, W, 3).
        index: number of this frame.
        clouds: of the clip; nothing is drawn into a frame that no view looked at.
        ranking: (class name, probability) pairs, best first.
        pose_layout: layout of the regressed poses to draw them too.
    """
    scale = WIDTH / frame.shape[1]
    canvas = cv2.resize(frame, (WIDTH, 2 * round(frame.shape[0] * scale / 2)), interpolation=cv2.INTER_AREA)
    strip = panel(ranking, None, index, len(clouds.seen), seen=clouds.seen)
    looks = clouds.looks(index)
    if looks:
        look = looks[0]
        crop = np.rint(clouds.crops[look] * scale)
        if pose_layout is not None:
            canvas = draw_pose(canvas, clouds.pose[look] * scale, pose_layout)
        if clouds.glimpses is not None:
            canvas = draw_glimpses(canvas, clouds.glimpses[look] * scale, crop)
        canvas = draw_box(canvas, crop)
        if clouds.assignment is not None:
            _workers(strip, clouds.assignment[look])
        _caption(strip, clouds, looks)
    draw_timeline(strip, clouds.seen, index)
    return with_panel(canvas, strip)


def annotate_clip(
    frames: Iterable[np.ndarray],
    *,
    clouds: ClipGlimpses,
    ranking: Sequence[tuple[str, float]],
    pose_layout: SkeletonLayout | None = None,
) -> Iterator[np.ndarray]:
    """`annotate_frame` for every frame of the clip; further frames of the video are left out."""
    for index, frame in zip(range(len(clouds.seen)), frames, strict=False):
        yield annotate_frame(frame, index=index, clouds=clouds, ranking=ranking, pose_layout=pose_layout)


def _tag(canvas: np.ndarray, number: int, left: int, top: int, side: int = _TAG) -> None:
    """The number of a glimpse, counted from 1, in a square of its colour."""
    cv2.rectangle(canvas, (left, top), (left + side, top + side), COLOURS[number % len(COLOURS)], -1)
    scale = 0.55 * side / _TAG
    (width, height), _ = cv2.getTextSize(str(number + 1), _FONT, scale, 2)
    place = (left + (side - width) // 2 + 1, top + (side + height) // 2)
    cv2.putText(canvas, str(number + 1), place, _FONT, scale, _PAPER, 2, cv2.LINE_AA)


def _text(strip: np.ndarray, text: str, left: int, base: int, size: float = 0.45, colour=_INK) -> int:
    """Writes into the panel; gives where the text ends."""
    cv2.putText(strip, text, (left, base), _FONT, size, colour, 1, cv2.LINE_AA)
    return left + cv2.getTextSize(text, _FONT, size, 1)[0][0]


def _workers(strip: np.ndarray, assignment: np.ndarray) -> None:
    """A bar for each worker, of one piece for each glimpse as long as its share; assignment (C, G)."""
    left = _text(strip, "shares of glimpse", _LEFT, 19) + 6
    for number in range(assignment.shape[1]):
        _tag(strip, number, left, 6, 16)
        left += 20
    _text(strip, "in what each worker takes in", left + 2, 19)
    edges = np.linspace(*_ROWS, len(assignment) + 1).astype(int)
    for worker, (top, bottom, shares) in enumerate(zip(edges, edges[1:] - 4, assignment, strict=False)):
        base = (top + bottom) // 2 + 5
        if bottom - top > 8:
            _text(strip, f"worker {worker + 1}", _LEFT, base)
        ends = (_BARS + (_RIGHT - _BARS) * np.concatenate([[0], np.cumsum(shares / shares.sum())])).astype(int)
        for number, (left, right) in enumerate(pairwise(ends)):
            cv2.rectangle(strip, (left, top), (max(right - 1, left), bottom), COLOURS[number % len(COLOURS)], -1)
            text = f"{100 * shares[number]:.0f} %"
            (width, height), _ = cv2.getTextSize(text, _FONT, 0.45, 1)
            if width + 8 < right - left and height + 4 < bottom - top:
                _text(strip, text, (left + right - width) // 2, base, colour=_PAPER)


def _caption(strip: np.ndarray, clouds: ClipGlimpses, looks: list[tuple[int, int]]) -> None:
    """Whose look is drawn, in the lower right corner."""
    (view, step), (views, steps) = looks[0], clouds.frames.shape
    text = f"look {step + 1} of {steps} of view {view + 1} of {views}"
    if len(looks) > 1:
        text += f"; {len(looks) - 1} more not drawn"
    (width, _), _ = cv2.getTextSize(text, _FONT, 0.42, 1)
    _text(strip, text, _RIGHT - width, _CAPTION, 0.42)


def draw_timeline(strip: np.ndarray, seen: np.ndarray, index: int) -> None:
    """The frames of the clip from left to right: a mark where one was looked at, and where this one is."""
    top, bottom = _TIMELINE
    _text(strip, "looked at", _LEFT, bottom)
    edges = np.linspace(_BARS, _RIGHT, len(seen) + 1).astype(int)
    cv2.line(strip, (_BARS, bottom + 1), (_RIGHT, bottom + 1), _AXIS, 1)
    for frame in (*np.flatnonzero(seen), index):
        colour = _NOW if frame == index else _AXIS
        height = top if seen[frame] else bottom - 2
        cv2.rectangle(strip, (edges[frame], height), (max(edges[frame + 1] - 2, edges[frame]), bottom), colour, -1)
