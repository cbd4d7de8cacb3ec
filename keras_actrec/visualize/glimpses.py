"""Glimpses of Glimpse Clouds on the frames that they were taken from, in the colours of the workers that take them in.

Paper: Baradel, Wolf, Mille, Taylor, "Glimpse Clouds: Human Activity Recognition from Unstructured Feature Points". Its Figure 3
has a colour for each glimpse of a frame, red for the first, blue for the second, yellow for the third; so have models without
workers here. With workers (section 4.2) a colour is a worker, and glimpses are told apart by their numbers.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import cv2
import numpy as np

from keras_actrec.skeletons.layout import SkeletonLayout
from keras_actrec.visualize.attention import PERSON_COLOURS
from keras_actrec.visualize.panel import LEFT, RIGHT, draw_strip, enlarged, panel, text_right, with_panel
from keras_actrec.visualize.text import PAPER, SIZE, SMALL, draw_text, text_width
from keras_actrec.visualize.vpn_attention import draw_box

COLOURS = ((70, 70, 240), (245, 145, 60), (40, 215, 245), (100, 205, 80), (225, 105, 215), (70, 165, 250))
"""BGR of the glimpses, or of the workers; beyond the last they begin again."""
_LINE, _TAG, _CLAIM = 2, 24, 6
_BARS = LEFT + 80  # column of the panel where bars begin, behind their names
_ROWS, _TIMELINE = (28, 100), (112, 122)  # rows


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


def claims(assignment: np.ndarray) -> np.ndarray:
    """How a glimpse is shared among the workers: of what they all take in of it, the part of each.

    Args:
        assignment: (C, G): shares of the glimpses in what each worker takes in, 1 in sum over the glimpses.

    Returns:
        (C, G), 1 in sum over the workers.
    """
    taken = assignment.sum(axis=0, keepdims=True)
    return np.where(taken > 0, assignment / np.where(taken > 0, taken, 1), 1 / len(assignment))


def draw_glimpses(
    frame: np.ndarray, glimpses: np.ndarray, crop: np.ndarray, assignment: np.ndarray | None = None
) -> np.ndarray:
    """A copy of the frame with the outline of each glimpse, a dot in its middle and its number on its lower edge.

    With workers the outline has the colour of the one that takes in most of the glimpse, and a bar under the number shows the
    parts of all. Outlines end at the border of the crop, as there is nothing to see beyond. The first is the thickest: where
    several coincide, all of their colours can be seen.

    Args:
        frame: BGR uint8 (H, W, 3).
        glimpses: (G, 4): (x0, y0, x1, y1) in pixels of this frame.
        crop: (x0, y0, x1, y1): the part that the network sees.
        assignment: (C, G): shares of the glimpses in what each worker takes in; None without workers.
    """
    canvas = frame.copy()
    low, high = crop[:2], crop[2:] - 1
    shares = None if assignment is None else claims(assignment)
    first_choice = range(len(glimpses)) if shares is None else shares.argmax(axis=0)
    colours = [COLOURS[int(choice) % len(COLOURS)] for choice in first_choice]
    for number, box in enumerate(glimpses):
        first, last = (tuple(np.rint(np.clip(corner, low, high)).astype(int).tolist()) for corner in (box[:2], box[2:]))
        cv2.rectangle(canvas, first, last, colours[number], _LINE * (len(glimpses) - number))
    for number, box in enumerate(glimpses):
        middle = tuple(np.rint((box[:2] + box[2:]) / 2).astype(int).tolist())
        cv2.circle(canvas, middle, 6, PAPER, -1, cv2.LINE_AA)
        cv2.circle(canvas, middle, 5, colours[number], -1, cv2.LINE_AA)
        left, bottom = np.rint([np.clip(box[0], low[0], high[0]), np.clip(box[3], low[1], high[1])]).astype(int)
        # Beside each other where boxes coincide, inside the picture where they lie at its border.
        left = min(int(left) + 4 + number * (_TAG + 4), canvas.shape[1] - _TAG)
        top = max(int(bottom) - _TAG - _CLAIM - 6, 0)
        _tag(canvas, number, left, top, colour=colours[number])
        if shares is not None:
            _segments(canvas, shares[:, number], left, left + _TAG, top + _TAG, top + _TAG + _CLAIM)
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
    canvas, scale = enlarged(frame)
    strip = panel(ranking, None, index, len(clouds.seen), seen=clouds.seen)
    looks = clouds.looks(index)
    if looks:
        look = looks[0]
        crop = np.rint(clouds.crops[look] * scale)
        if pose_layout is not None:
            canvas = draw_pose(canvas, clouds.pose[look] * scale, pose_layout)
        if clouds.glimpses is not None:
            assignment = None if clouds.assignment is None else clouds.assignment[look]
            canvas = draw_glimpses(canvas, clouds.glimpses[look] * scale, crop, assignment)
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


def _tag(canvas: np.ndarray, number: int, left: int, top: int, *, colour: tuple[int, int, int]) -> None:
    """The number of a glimpse, counted from 1, in a square of its colour."""
    cv2.rectangle(canvas, (left, top), (left + _TAG - 1, top + _TAG - 1), colour, -1)
    text = str(number + 1)
    draw_text(canvas, text, left + (_TAG - text_width(text, SIZE)) // 2, top + 17, colour=PAPER)


def _segments(canvas: np.ndarray, shares: np.ndarray, left: int, right: int, top: int, bottom: int) -> None:
    """A bar in pieces of the workers' colours, each as long as its share."""
    ends = np.rint(left + (right - left) * np.concatenate([[0], np.cumsum(shares / shares.sum())])).astype(int)
    for worker, (first, last) in enumerate(pairwise(ends)):
        canvas[top:bottom, first:last] = COLOURS[worker % len(COLOURS)]


def _workers(strip: np.ndarray, assignment: np.ndarray) -> None:
    """The legend of the colours: a bar for each worker, with a piece for each glimpse as long as its share; (C, G)."""
    draw_text(strip, "what each worker takes in, in parts of glimpse 1, 2, …", LEFT, 18)
    edges = np.linspace(*_ROWS, len(assignment) + 1).astype(int)
    for worker, (top, bottom, shares) in enumerate(zip(edges, edges[1:] - 4, assignment, strict=False)):
        colour = COLOURS[worker % len(COLOURS)]
        base = (top + bottom) // 2 + 5
        if bottom - top > 8:
            draw_text(strip, f"worker {worker + 1}", LEFT, base, colour=colour)
        ends = (_BARS + (RIGHT - _BARS) * np.concatenate([[0], np.cumsum(shares / shares.sum())])).astype(int)
        for number, (left, right) in enumerate(pairwise(ends)):
            cv2.rectangle(strip, (left, top), (max(right - 2, left), bottom), colour, -1)
            for text in (f"{number + 1}: {100 * shares[number]:.0f} %", str(number + 1)):
                width = text_width(text, SMALL)
                if width + 6 < right - left and bottom - top > SMALL + 2:
                    draw_text(strip, text, (left + right - width) // 2, base, size=SMALL, colour=PAPER)
                    break


def _caption(strip: np.ndarray, clouds: ClipGlimpses, looks: list[tuple[int, int]]) -> None:
    """Whose look is drawn, in the lower right corner."""
    (view, step), (views, steps) = looks[0], clouds.frames.shape
    text = f"look {step + 1} of {steps}" + (f" of view {view + 1} of {views}" if views > 1 else "")
    text_right(strip, text + (f"; {len(looks) - 1} more not drawn" if len(looks) > 1 else ""), width=RIGHT - LEFT - 110)


def draw_timeline(strip: np.ndarray, seen: np.ndarray, index: int) -> None:
    """The frames of the clip from left to right: a mark where one was looked at, and where this one is."""
    top, bottom = _TIMELINE
    draw_text(strip, "looked at", LEFT, bottom, size=SMALL)
    draw_strip(strip, seen.astype(float), index, left=_BARS, right=RIGHT, top=top, bottom=bottom)
