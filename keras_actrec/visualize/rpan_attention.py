"""RPAN's attention on the frames that it looked at: a heat map, the joints where maps are highest, a small map of each part.

Paper: Du, Wang, Qiao, "RPAN: An End-to-End Recurrent Pose-Attention Network for Action Recognition in Videos", ICCV 2017,
figure 1(d): averaged maps, maps of some joints, and poses estimated by the places of highest attention (section 4.4).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from keras_actrec.skeletons.joint_groups import human_parts
from keras_actrec.skeletons.layout import SkeletonLayout
from keras_actrec.visualize.glimpses import draw_timeline
from keras_actrec.visualize.panel import LEFT, RIGHT, enlarged, panel, text_right, with_panel
from keras_actrec.visualize.text import INK, PAPER, SMALL, draw_text, text_width
from keras_actrec.visualize.vpn_attention import draw_heat, draw_legend

PART_COLOURS = {
    "torso": (255, 255, 255),
    "elbow": (80, 220, 255),
    "wrist": (110, 120, 255),
    "knee": (140, 235, 110),
    "ankle": (255, 190, 90),
}
"""BGR of each part: light, so that they differ from the colours of the heat map below them."""
_TITLE, _TILES, _NAMES = 18, (26, 90), 102  # rows of the panel
_GAP = 6
_PEAK = {"least": 5, "per_pixel": 0.008}  # radius of a joint, in pixels of the drawn frame


@dataclass(frozen=True, eq=False)
class PoseAttention:
    """What the V views of a clip looked at.

    Attributes:
        frames: int (V, T): the frames that the views looked at.
        seen: bool (T',): frames of the clip that a view looked at.
        steps: float (V, T, classes): probabilities of the classes after each look.
        maps: float (V, T, J, K1, K2): attention over the whole frame, each map 1 in sum; J = 1 where it is of no joint; None
            without attention.
        parts: (name, indices of its maps) of the body; () where the maps are of no joints.
        joints: float (V, T, J, 2): places of highest attention, (x, y) in [-1, 1] of the frame; None where these are no joints.
    """

    frames: np.ndarray
    seen: np.ndarray
    steps: np.ndarray
    maps: np.ndarray | None = None
    parts: tuple[tuple[str, tuple[int, ...]], ...] = ()
    joints: np.ndarray | None = None

    def looks(self, index: int) -> list[tuple[int, int]]:
        """(view, place in the view) of every look at a frame, the first view first."""
        return [(int(view), int(step)) for view, step in np.argwhere(self.frames == index)]


def pose_attention(outputs: Mapping[str, np.ndarray], layout: SkeletonLayout, *, length: int) -> PoseAttention:
    """Outputs of `classify_clip` of an export.

    Args:
        outputs: frames (V, T), step_logits (V, T, classes) and, where the model has them, attention (V, T, J, K1, K2) and
            joints (V, T, J, 2).
        layout: joint layout of the maps.
        length: number of frames T' of the clip.
    """
    frames, logits, maps = outputs["frames"], outputs["step_logits"], outputs.get("attention")
    seen = np.zeros(length, bool)
    seen[frames] = True
    likely = np.exp(logits - logits.max(axis=-1, keepdims=True))
    of_joints = maps is not None and maps.shape[2] == len(layout)
    return PoseAttention(
        frames, seen, likely / likely.sum(axis=-1, keepdims=True), maps, human_parts(layout) if of_joints else (),
        outputs.get("joints"),
    )  # fmt: skip


def draw_attention(frame: np.ndarray, maps: np.ndarray) -> tuple[np.ndarray, float]:
    """A copy of the frame with the mean of attention maps over it: blue is the lowest attention of the frame, red the highest.

    Args:
        frame: BGR uint8 (H, W, 3).
        maps: (J, K1, K2).

    Returns:
        the frame, and the lowest attention as a share of the highest.
    """
    mean = maps.mean(axis=0, dtype=np.float64)
    low, high = mean.min(), max(mean.max(), np.finfo(float).tiny)
    heat = (mean - low) / max(high - low, np.finfo(float).tiny)
    return draw_heat(frame, heat, np.array([0, 0, frame.shape[1], frame.shape[0]])), float(low / high)


def draw_joints(
    frame: np.ndarray, joints: np.ndarray, layout: SkeletonLayout, parts: Sequence[tuple[str, tuple[int, ...]]]
) -> np.ndarray:
    """A copy of the frame with bones, and a dot for each joint in the colour of its part.

    Everything has a dark edge, so that it stands out from frames and heat maps of any colour. Where joints share a place, as
    maps are coarse, their dots lie in each other: the first is the largest.

    Args:
        frame: BGR uint8 (H, W, 3).
        joints: (J, 2), (x, y) in [-1, 1] from border to border of the frame; not finite where there is none.
        layout: whose bones.
        parts: (name, indices of its joints).
    """
    canvas = frame.copy()
    height, width = frame.shape[:2]
    pixels = (joints + 1) / 2 * [width, height]
    known = np.isfinite(pixels).all(axis=1)
    points = [tuple(point) for point in np.rint(np.where(known[:, None], pixels, 0)).astype(int).tolist()]
    radius = max(_PEAK["least"], round(_PEAK["per_pixel"] * width))
    for thickness, colour in ((radius, PAPER), (max(radius // 3, 1), INK)):
        for parent, child in layout.bones:
            if known[parent] and known[child]:
                cv2.line(canvas, points[parent], points[child], colour, thickness, cv2.LINE_AA)
    here: dict[tuple[int, int], list[tuple[int, int, int]]] = {}
    for name, members in parts:
        for joint in members:
            if known[joint]:
                here.setdefault(points[joint], []).append(PART_COLOURS[name])
    for point, colours in here.items():
        colours = list(dict.fromkeys(colours))
        size = radius + 3 * (len(colours) - 1)
        cv2.circle(canvas, point, size + 2, PAPER, -1, cv2.LINE_AA)
        for number, colour in enumerate(colours):
            cv2.circle(canvas, point, size - 3 * number, colour, -1, cv2.LINE_AA)
    return canvas


def annotate_frame(
    frame: np.ndarray,
    *,
    index: int,
    attention: PoseAttention,
    layout: SkeletonLayout,
    class_names: Sequence[str],
    ranking: Sequence[tuple[str, float]],
) -> np.ndarray:
    """One frame of the explained clip: heat map, joints, and a panel below with the classes and a map per part; 960 px wide.

    A frame at which several views looked shows the first of these looks.

    Args:
        frame: BGR uint8 (H, W, 3).
        index: number of this frame.
        attention: of the clip; nothing is drawn into a frame that no view looked at.
        layout: joint layout of the maps.
        class_names: in the order of `attention.steps`.
        ranking: (class name, probability) pairs of the clip, best first.
    """
    canvas, _ = enlarged(frame)
    strip = panel(ranking, None, index, len(attention.seen), seen=attention.seen)
    looks = attention.looks(index)
    if looks:
        look = looks[0]
        if attention.maps is not None:
            maps = attention.maps[look]
            _tiles(strip, canvas, maps, attention)
            canvas, lowest = draw_attention(canvas, maps)
            draw_legend(strip[: _TITLE + 8], lowest)
        if attention.joints is not None:
            canvas = draw_joints(canvas, attention.joints[look], layout, attention.parts)
        _caption(strip, attention, looks, class_names)
    draw_timeline(strip, attention.seen, index)
    return with_panel(canvas, strip)


def annotate_clip(
    frames: Iterable[np.ndarray],
    *,
    attention: PoseAttention,
    layout: SkeletonLayout,
    class_names: Sequence[str],
    ranking: Sequence[tuple[str, float]],
) -> Iterator[np.ndarray]:
    """`annotate_frame` for every frame of the clip; further frames of the video are left out."""
    options = {"attention": attention, "layout": layout, "class_names": class_names, "ranking": ranking}
    for index, frame in zip(range(len(attention.seen)), frames, strict=False):
        yield annotate_frame(frame, index=index, **options)


def _tiles(strip: np.ndarray, frame: np.ndarray, maps: np.ndarray, attention: PoseAttention) -> None:
    """The frame once for each part, small, under the mean of the part's maps; below each the part's name in its colour."""
    if not attention.parts:
        title = "attention, which is of no joint"
    else:
        title = "attention by part" if attention.joints is not None else "attention by part, untaught"
    draw_text(strip, title, LEFT, _TITLE)
    if not attention.parts:
        return
    top, bottom = _TILES
    widest = (RIGHT - LEFT + _GAP) / len(attention.parts) - _GAP
    scale = min(widest / frame.shape[1], (bottom - top) / frame.shape[0])
    width, height = int(frame.shape[1] * scale), int(frame.shape[0] * scale)
    small = cv2.resize(frame, (width, height), interpolation=cv2.INTER_AREA)
    for number, (name, members) in enumerate(attention.parts):
        left = LEFT + round(number * (widest + _GAP) + (widest - width) / 2)
        strip[bottom - height : bottom, left : left + width] = draw_attention(small, maps[list(members)])[0]
        place = left + (width - text_width(name, SMALL)) // 2
        draw_text(strip, name, place, _NAMES, size=SMALL, colour=PART_COLOURS[name])


def _caption(strip: np.ndarray, attention: PoseAttention, looks: list[tuple[int, int]], class_names: Sequence[str]) -> None:
    """Whose look is drawn, and what the network answers after it, in the lower right corner."""
    (view, step), (views, steps) = looks[0], attention.frames.shape
    likely = attention.steps[view, step]
    text = f"look {step + 1} of {steps}" + (f" of view {view + 1} of {views}" if views > 1 else "")
    text += f": {class_names[likely.argmax()]} {100 * likely.max():.0f} %"
    text_right(strip, text, width=RIGHT - LEFT - 110)
