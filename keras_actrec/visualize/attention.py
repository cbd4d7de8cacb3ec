"""Skeleton, hand crops and attention over hands and time, drawn on the frames of a clip."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from keras_actrec.skeletons.layout import SkeletonLayout
from keras_actrec.visualize.panel import enlarged, panel, with_panel
from keras_actrec.visualize.text import PAPER, draw_label, label_size

PERSON_COLOURS = ((220, 200, 60), (60, 140, 240))  # BGR: person 1, person 2
_BONE, _JOINT = 2, 3  # pixels of the explained frame


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
    """A copy of the BGR frame (H, W, 3) with the bones of the people; pixels (P, J, 2), NaN where absent.

    A dark edge makes them stand out from frames of any colour.
    """
    canvas = frame.copy()
    for edge in (2, 0):
        for person, points in enumerate(pixels):
            colour = PAPER if edge else PERSON_COLOURS[person % len(PERSON_COLOURS)]
            known = np.isfinite(points).all(axis=1)
            places = np.rint(np.where(known[:, None], points, 0)).astype(int).tolist()
            for parent, child in layout.bones:
                if known[parent] and known[child]:
                    cv2.line(canvas, places[parent], places[child], colour, _BONE + edge, cv2.LINE_AA)
            for joint in np.flatnonzero(known):
                cv2.circle(canvas, places[joint], _JOINT + edge // 2, colour, -1, cv2.LINE_AA)
    return canvas


def draw_hands(
    frame: np.ndarray, pixels: np.ndarray, layout: SkeletonLayout, crop_size: float, weights: np.ndarray | None = None
) -> np.ndarray:
    """A copy of the frame with the squares that are cut around the hands, and beside each its attention in percent.

    The label of a person's higher hand is above its square, that of the lower one below: both can be read where hands meet.

    Args:
        frame: BGR uint8 (H, W, 3).
        pixels: (P, J, 2), NaN where absent.
        layout: says which joints are hands.
        crop_size: side of the squares in pixels of this frame.
        weights: (2 P,) attention in [0, 1], or None: the brighter and thicker the square, the more attention.
    """
    canvas = frame.copy()
    hands = pixels[:, list(layout.hands)].reshape(-1, 2)
    present = [hand for hand in range(len(hands)) if np.isfinite(hands[hand]).all()]
    shares = np.full(len(hands), 0.5) if weights is None else weights
    corners = {hand: np.rint(np.array([-crop_size, crop_size])[:, None] / 2 + hands[hand]).astype(int) for hand in present}
    for hand in sorted(present, key=lambda hand: shares[hand]):  # the most attended one on top
        first, last = corners[hand].tolist()
        thickness = 1 + round(3 * float(shares[hand]))
        cv2.rectangle(canvas, first, last, PAPER, thickness + 2)
        cv2.rectangle(canvas, first, last, _shade(shares[hand]), thickness)
    for hand in present if weights is not None else ():
        text = f"{('left', 'right')[hand % 2]} {100 * weights[hand]:.0f} %"
        lower = hand ^ 1 in present and (hands[hand, 1], hand) > (hands[hand ^ 1, 1], hand ^ 1)
        top = corners[hand][1, 1] + 4 if lower else corners[hand][0, 1] - label_size(text)[1] - 3
        draw_label(canvas, text, int(corners[hand][0, 0]), int(top), edge=_shade(weights[hand]))
    return canvas


def _shade(weight: float) -> tuple[int, int, int]:
    """BGR of a share of attention: dark violet is none, light yellow all."""
    shade = cv2.applyColorMap(np.uint8([[round(40 + 215 * min(max(float(weight), 0.0), 1.0))]]), cv2.COLORMAP_INFERNO)
    return tuple(shade[0, 0].tolist())


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
    canvas, scale = enlarged(frame)
    placed = pixels * scale
    canvas = draw_hands(draw_skeleton(canvas, placed, layout), placed, layout, crop_size * scale, weights)
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
