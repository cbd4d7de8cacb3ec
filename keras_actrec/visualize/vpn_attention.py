"""VPN's attention over space and time as a heat map over the person, frame by frame."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from keras_actrec.skeletons.layout import SkeletonLayout
from keras_actrec.visualize.attention import draw_skeleton, per_frame
from keras_actrec.visualize.panel import enlarged, panel, with_panel
from keras_actrec.visualize.text import INK, PAPER, SMALL, draw_label, draw_text, text_width

_LEAST, _MOST = 30, 235  # of the colours of cv2.COLORMAP_TURBO: its ends are nearly black
_OPACITY = (0.15, 0.6)  # of the lowest and the highest attention: what is not attended to stays visible as it is
_RAMP = 90


@dataclass(frozen=True, eq=False)
class HeatAttention:
    """Attention of one clip over space and time, one map per frame of the video.

    Attributes:
        heat: float (T, h, w) in [0, 1]: 0 the lowest, 1 the highest weight of the clip; None without attention.
        lowest: what a heat of 0 stands for: the lowest weight as a share of the highest; 1 where all weights are the same.
        temporal: float (T,): weight of the frame relative to the heaviest one, in [0, 1]; None without temporal attention.
        seen: bool (T,): frames between the first and the last that the network sees, in any of its views. The values of others
            mean nothing.
    """

    heat: np.ndarray | None
    lowest: float
    temporal: np.ndarray | None
    seen: np.ndarray


def heat_attention(
    frames: np.ndarray,
    attention: np.ndarray | None,
    temporal: np.ndarray | None,
    *,
    length: int,
    map_size: tuple[int, int],
) -> HeatAttention:
    """Attention of the views of a clip (`classify_clip` of an export) as one map and one weight per frame.

    A step of the network's map covers F / t of its frames. The values of a step belong to the middle of these; between two
    middles they are interpolated. Frames of several views have the mean.

    Args:
        frames: int (V, F), never decreasing in a row: the frames that the network sees.
        attention: (V, t, h, w); None without attention.
        temporal: (V, t); None without temporal attention.
        length: number of frames T of the clip.
        map_size: (H, W) of the backbone's map. Where it is larger than (h, w), the network looks through a window that slides
            over it; each place then has the mean of its weights in all windows.
    """
    seen = np.zeros(length, bool)
    for row in frames:
        seen[row.min() : row.max() + 1] = True
    heat, lowest, when = None, 1.0, None
    if attention is not None:
        maps = slide(attention, map_size)
        steps = maps.reshape(*maps.shape[:2], -1)
        weights = per_frame(_along_frames(steps, frames.shape[1]), frames, length)
        low, high = weights[seen].min(), weights[seen].max()
        heat = ((weights - low) / max(high - low, np.finfo(float).tiny)).clip(0, 1).reshape(length, *map_size)
        lowest = float(low / max(high, np.finfo(float).tiny))
    if temporal is not None:
        when = per_frame(_along_frames(temporal[..., None], frames.shape[1])[..., 0], frames, length)
        when = when / max(when[seen].max(), np.finfo(float).tiny)
    return HeatAttention(heat, lowest, when, seen)


def slide(attention: np.ndarray, map_size: tuple[int, int]) -> np.ndarray:
    """Mean over all places of a window (…, h, w) that slides over a map, at stride 1: (…, H, W)."""
    (height, width), (rows, columns) = attention.shape[-2:], map_size
    total, windows = np.zeros((*attention.shape[:-2], rows, columns)), np.zeros((rows, columns))
    for top in range(rows - height + 1):
        for left in range(columns - width + 1):
            place = (..., slice(top, top + height), slice(left, left + width))
            total[place] += attention
            windows[place] += 1
    return total / windows


def _along_frames(steps: np.ndarray, frames: int) -> np.ndarray:
    """Values of the steps of a map (V, t, n) → of the network's frames (V, F, n)."""
    count = steps.shape[1]
    middles = (np.arange(count) + 0.5) * frames / count - 0.5
    shares = np.stack([np.interp(np.arange(frames), middles, unit) for unit in np.eye(count)], axis=1)
    return np.einsum("ft,vtn->vfn", shares, steps)


def draw_heat(frame: np.ndarray, heat: np.ndarray, box: np.ndarray) -> np.ndarray:
    """A copy of the frame with a heat map over a box: blue is the lowest attention of the clip, red the highest.

    Args:
        frame: BGR uint8 (H, W, 3).
        heat: (h, w) in [0, 1].
        box: (x0, y0, x1, y1), whole pixels of this frame, columns x0 to x1 - 1; it may leave the frame.
    """
    canvas = frame.copy()
    x0, y0, x1, y1 = (int(edge) for edge in box)
    left, right, top, bottom = max(x0, 0), min(x1, frame.shape[1]), max(y0, 0), min(y1, frame.shape[0])
    if left < right and top < bottom:
        smooth = cv2.resize(heat.astype(np.float32), (x1 - x0, y1 - y0), interpolation=cv2.INTER_CUBIC).clip(0, 1)
        smooth = smooth[top - y0 : bottom - y0, left - x0 : right - x0]
        opacity = (_OPACITY[0] + (_OPACITY[1] - _OPACITY[0]) * smooth)[..., None]
        canvas[top:bottom, left:right] = canvas[top:bottom, left:right] * (1 - opacity) + _colours(smooth) * opacity
    return canvas


def draw_box(frame: np.ndarray, box: np.ndarray) -> np.ndarray:
    """A copy of the frame with the outline of a box, as for `draw_heat`, and what it stands for."""
    canvas = frame.copy()
    x0, y0, x1, y1 = (int(edge) for edge in box)
    cv2.rectangle(canvas, (x0, y0), (x1 - 1, y1 - 1), PAPER, 3)
    cv2.rectangle(canvas, (x0, y0), (x1 - 1, y1 - 1), INK, 1)
    draw_label(canvas, "what the network sees", max(x0, 0), max(y0, 0))
    return canvas


def _colours(heat: np.ndarray) -> np.ndarray:
    """(h, w) in [0, 1] → BGR uint8 (h, w, 3), blue to red."""
    return cv2.applyColorMap(np.uint8(np.rint(_LEAST + (_MOST - _LEAST) * heat)), cv2.COLORMAP_TURBO)


def draw_legend(strip: np.ndarray, lowest: float) -> None:
    """Draws what the colours mean into the lower right corner of a strip."""
    base, right = strip.shape[0] - 8, strip.shape[1] - 12
    ramp = _colours(np.linspace(0, 1, _RAMP)[None])
    for part in ("100 % of the highest weight", ramp, f"{100 * lowest:.0f} %"):
        if isinstance(part, str):
            width = text_width(part, SMALL)
            draw_text(strip, part, right - width, base, size=SMALL)
        else:
            width = _RAMP
            strip[base - 10 : base + 1, right - width : right] = part
        right -= width + 8


def annotate_frame(
    frame: np.ndarray,
    pixels: np.ndarray,
    layout: SkeletonLayout,
    box: np.ndarray,
    *,
    index: int,
    attention: HeatAttention,
    ranking: Sequence[tuple[str, float]],
) -> np.ndarray:
    """One frame of the explained clip: heat map in the person's box, skeleton, and a panel below; 960 px wide.

    Args:
        frame: BGR uint8 (H, W, 3).
        pixels: (P, J, 2), NaN where absent.
        layout: joint layout of the pixels.
        box: (x0, y0, x1, y1): what the network sees of this frame.
        index: number of this frame.
        attention: of the clip; a frame that the network does not see has no heat map and no box.
        ranking: (class name, probability) pairs, best first.
    """
    length, heat, seen = len(attention.seen), attention.heat, attention.seen[index]
    canvas, scale = enlarged(frame)
    box = np.rint(box * scale)
    if seen and heat is not None:
        canvas = draw_heat(canvas, heat[index], box)
    canvas = draw_skeleton(canvas, pixels * scale, layout)
    if seen:
        canvas = draw_box(canvas, box)
    strip = panel(ranking, attention.temporal, index, length, seen=attention.seen)
    if heat is not None:
        draw_legend(strip, attention.lowest)
    return with_panel(canvas, strip)


def annotate_clip(
    frames: Iterable[np.ndarray],
    pixels: np.ndarray,
    layout: SkeletonLayout,
    boxes: np.ndarray,
    *,
    attention: HeatAttention,
    ranking: Sequence[tuple[str, float]],
) -> Iterator[np.ndarray]:
    """`annotate_frame` for every frame that has a skeleton; pixels (T, P, J, 2), boxes (T, 4)."""
    for index, (frame, points, box) in enumerate(zip(frames, pixels, boxes, strict=False)):
        yield annotate_frame(frame, points, layout, box, index=index, attention=attention, ranking=ranking)
