"""Skeleton, hand crops and attention over hands and time, drawn on the frames of a clip."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from keras_actrec.skeletons.layout import SkeletonLayout

PERSON_COLOURS = ((200, 180, 40), (60, 140, 240))  # BGR: person 1, person 2
WIDTH, _PANEL = 960, 150
_FONT, _INK, _PAPER, _AXIS = cv2.FONT_HERSHEY_SIMPLEX, (235, 235, 235), (28, 28, 28), (120, 120, 120)


@dataclass(frozen=True, eq=False)
class ClipAttention:
    """Attention of one clip, one value per frame of the video.

    Attributes:
        spatial: float (T, 4): share of each hand (person 1 left, right, person 2 left, right); None without attention.
        temporal: float (T,): weight of the frame relative to the heaviest frame, in [0, 1]; None without attention.
    """

    spatial: np.ndarray | None
    temporal: np.ndarray | None


def per_frame(values: np.ndarray, frames: np.ndarray, length: int) -> np.ndarray:
    """Spreads values at sampled frames over the whole clip.

    Args:
        values: (K, F) or (K, F, n): one value (or n) for each frame of each sub-sequence.
        frames: int (K, F): the frames that the sub-sequences sampled.
        length: number of frames T of the clip.

    Returns:
        (T,) or (T, n): the mean where a frame was sampled, linear interpolation between sampled frames.
    """
    flat = frames.reshape(-1)
    rows = values.reshape(flat.size, -1)
    sums, counts = np.zeros((length, rows.shape[1])), np.zeros(length)
    np.add.at(sums, flat, rows)
    np.add.at(counts, flat, 1)
    known = np.flatnonzero(counts)
    means = sums[known] / counts[known, None]
    spread = np.stack([np.interp(np.arange(length), known, column) for column in means.T], axis=1)
    return spread if values.ndim == 3 else spread[:, 0]


def clip_attention(
    frames: np.ndarray, spatial: np.ndarray | None, temporal: np.ndarray | None, *, length: int
) -> ClipAttention:
    """Attention of K sub-sequences (`classify_clip` of an export) as one value per frame; see `ClipAttention`."""
    along = None if spatial is None else per_frame(spatial, frames, length)
    when = None if temporal is None else per_frame(temporal, frames, length)
    return ClipAttention(along, None if when is None else when / max(when.max(), np.finfo(float).tiny))


def draw_skeleton(frame: np.ndarray, pixels: np.ndarray, layout: SkeletonLayout) -> np.ndarray:
    """A copy of the BGR frame (H, W, 3) with the bones of the people; pixels (P, J, 2), NaN where absent."""
    canvas = frame.copy()
    scale = max(1, round(frame.shape[1] / 960))
    for person, points in enumerate(pixels):
        colour = PERSON_COLOURS[person % len(PERSON_COLOURS)]
        for parent, child in layout.bones:
            if np.isfinite(points[[parent, child]]).all():
                start, end = (tuple(int(v) for v in np.rint(points[j])) for j in (parent, child))
                cv2.line(canvas, start, end, colour, 2 * scale, cv2.LINE_AA)
        for point in points[np.isfinite(points).all(axis=1)]:
            cv2.circle(canvas, tuple(int(v) for v in np.rint(point)), 3 * scale, colour, -1, cv2.LINE_AA)
    return canvas


def draw_hands(
    frame: np.ndarray, pixels: np.ndarray, layout: SkeletonLayout, crop_size: int, weights: np.ndarray | None = None
) -> np.ndarray:
    """A copy of the frame with the squares that are cut around the hands.

    Args:
        frame: BGR uint8 (H, W, 3).
        pixels: (P, J, 2), NaN where absent.
        layout: says which joints are hands.
        crop_size: side of the squares in pixels of this frame.
        weights: (2 P,) attention in [0, 1], or None: the brighter and thicker the square, the more attention.
    """
    canvas = frame.copy()
    scale = max(1, round(frame.shape[1] / 960))
    centres = pixels[:, list(layout.hands)].reshape(-1, 2)
    for hand, centre in enumerate(centres):
        if not np.isfinite(centre).all():
            continue
        weight = 0.5 if weights is None else float(weights[hand])
        shade = cv2.applyColorMap(np.uint8([[int(40 + 215 * weight)]]), cv2.COLORMAP_INFERNO)[0, 0].tolist()
        corner = np.rint(centre).astype(int) - crop_size // 2
        first, last = tuple(corner.tolist()), tuple((corner + crop_size).tolist())
        cv2.rectangle(canvas, first, last, shade, scale * (1 + round(3 * weight)), cv2.LINE_AA)
        if weights is not None:
            place = (first[0], max(first[1] - 4 * scale, 10 * scale))
            cv2.putText(canvas, f"{weight:.2f}", place, _FONT, 0.45 * scale, shade, scale, cv2.LINE_AA)
    return canvas


def panel(
    ranking: Sequence[tuple[str, float]],
    temporal: np.ndarray | None,
    index: int,
    length: int,
    *,
    seen: np.ndarray | None = None,
) -> np.ndarray:
    """The strip under a frame: the most probable classes on the left, attention over time on the right.

    Args:
        ranking: (class name, probability) pairs, best first; five fit.
        temporal: float (T,), weight of each frame in [0, 1]; None without attention.
        index, length: number of this frame, and of all frames T.
        seen: bool (T,): frames that the model looked at; None: all. The others have no bar.

    Returns:
        BGR uint8 (150, 960, 3).
    """
    strip = np.full((_PANEL, WIDTH, 3), _PAPER, np.uint8)
    half = WIDTH // 2
    for row, (name, probability) in enumerate(ranking):
        top = 10 + row * 27
        cv2.rectangle(strip, (12, top), (12 + int((half - 40) * probability), top + 20), (110, 90, 50), -1)
        cv2.putText(strip, f"{100 * probability:5.1f} %  {name}", (16, top + 15), _FONT, 0.48, _INK, 1, cv2.LINE_AA)
    left, right, bottom = half + 10, WIDTH - 12, _PANEL - 26
    seen = np.ones(length, bool) if seen is None else seen
    place = f"frame {index + 1} of {length}" + ("" if seen[index] else ": not looked at")
    cv2.putText(strip, place, (left, _PANEL - 8), _FONT, 0.42, _INK, 1, cv2.LINE_AA)
    if temporal is None:
        return strip
    title = "attention over time" + ("" if seen.all() else " (frames without a bar are not looked at)")
    cv2.putText(strip, title, (left, 20), _FONT, 0.45, _INK, 1, cv2.LINE_AA)
    cv2.line(strip, (left, bottom + 1), (right, bottom + 1), _AXIS, 1)
    edges = np.linspace(left, right, length + 1).astype(int)
    for frame in (*np.flatnonzero(seen), index):
        colour = (60, 170, 250) if frame == index else _AXIS
        top = bottom - int((bottom - 30) * temporal[frame] if seen[frame] else 0)
        cv2.rectangle(strip, (edges[frame], top), (edges[frame + 1] - 1, bottom), colour, -1)
    return strip


def with_panel(picture: np.ndarray, strip: np.ndarray) -> np.ndarray:
    """A picture (H, W, 3), resized to 960 px width, with the strip of `panel` below it."""
    size = (WIDTH, 2 * round(picture.shape[0] * WIDTH / picture.shape[1] / 2))
    return np.vstack([cv2.resize(picture, size, interpolation=cv2.INTER_AREA), strip])


def annotate_frame(
    frame: np.ndarray,
    pixels: np.ndarray,
    layout: SkeletonLayout,
    *,
    index: int,
    length: int,
    attention: ClipAttention,
    ranking: Sequence[tuple[str, float]],
    crop_size: int,
) -> np.ndarray:
    """One frame of the explained clip: skeleton, hand squares by attention, and a panel below; 960 px wide.

    Args:
        frame: BGR uint8 (H, W, 3).
        pixels: (P, J, 2), NaN where absent.
        layout: joint layout of the pixels.
        index, length: number of this frame, and of all frames.
        attention: per-frame attention of the clip.
        ranking: (class name, probability) pairs, best first.
        crop_size: side of the hand squares in pixels of the video.
    """
    weights = None if attention.spatial is None else attention.spatial[index]
    canvas = draw_hands(draw_skeleton(frame, pixels, layout), pixels, layout, crop_size, weights)
    return with_panel(canvas, panel(ranking, attention.temporal, index, length))


def annotate_clip(
    frames: Iterable[np.ndarray],
    pixels: np.ndarray,
    layout: SkeletonLayout,
    *,
    attention: ClipAttention,
    ranking: Sequence[tuple[str, float]],
    crop_size: int,
) -> Iterator[np.ndarray]:
    """`annotate_frame` for every frame that has a skeleton; pixels (T, P, J, 2)."""
    for index, (frame, points) in enumerate(zip(frames, pixels, strict=False)):
        yield annotate_frame(
            frame, points, layout,
            index=index, length=len(pixels), attention=attention, ranking=ranking, crop_size=crop_size,
        )  # fmt: skip
