"""Drawing primitives with sub-pixel places: shaded capsules, hulls and lines on a BGR picture, drawn in place."""

from __future__ import annotations

import cv2
import numpy as np

_SHIFT = 3  # OpenCV takes fixed-point coordinates with this many fractional bits
_STEPS = np.linspace(0.0, 2 * np.pi, 14, endpoint=False)
_CIRCLE = np.stack([np.cos(_STEPS), np.sin(_STEPS)], axis=1)
_LIGHT = np.array([-0.35, -0.45])  # direction of the light in the picture: from the upper left

Color = tuple[float, float, float]


def shade(color: Color, factor: float) -> Color:
    """A BGR colour made brighter or darker."""
    return tuple(min(255.0, factor * value) for value in color)


def polygon(frame: np.ndarray, points: np.ndarray, color: Color) -> None:
    """Fills a convex polygon: points (n, 2) in pixels."""
    cv2.fillConvexPoly(frame, _fixed(points), color, cv2.LINE_8, _SHIFT)


def line(frame: np.ndarray, start: np.ndarray, end: np.ndarray, color: Color, thickness: float) -> None:
    """Draws a line; thickness in pixels, at least 1."""
    cv2.line(frame, _point(start), _point(end), color, max(1, round(thickness)), cv2.LINE_AA, _SHIFT)


def circle(frame: np.ndarray, center: np.ndarray, radius: float, color: Color) -> None:
    """Fills a circle."""
    cv2.circle(frame, _point(center), max(1, round(radius * (1 << _SHIFT))), color, -1, cv2.LINE_8, _SHIFT)


def ellipse(frame: np.ndarray, center: np.ndarray, radii: tuple[float, float], angle: float, color: Color) -> None:
    """Fills an ellipse; angle in degrees, clockwise in the picture."""
    turn = np.deg2rad(angle)
    axes = np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]])
    polygon(frame, np.asarray(center) + (_CIRCLE * radii) @ axes, color)


def hull(frame: np.ndarray, centers: np.ndarray, radii: np.ndarray, color: Color) -> None:
    """Fills the convex hull of circles (n, 2), (n,) three times, from a dark rim to a light core."""
    for scale, light, offset in ((1.0, 0.62, 0.0), (0.86, 0.86, 0.05), (0.5, 1.06, 0.3)):
        rims = [c + r * (scale * _CIRCLE + offset * _LIGHT) for c, r in zip(centers, radii, strict=True)]
        points = np.concatenate(rims).astype(np.float32)
        polygon(frame, cv2.convexHull(points)[:, 0], shade(color, light))


def bands(frame: np.ndarray, start: np.ndarray, end: np.ndarray, radii: tuple[float, float], count: int, color: Color) -> None:
    """Draws `count` stripes across a limb from `start` to `end`; radii at both ends in pixels."""
    along = end - start
    length = float(np.hypot(*along))
    if length < 4.0:
        return  # seen end on: stripes would cover all of it
    across = np.array([-along[1], along[0]]) / length
    for i in range(count):
        u = (i + 0.5) / count
        radius = 0.9 * (radii[0] + u * (radii[1] - radii[0]))
        middle = start + u * along
        line(frame, middle - radius * across, middle + radius * across, color, 0.3 * length / count)


def _fixed(points: np.ndarray) -> np.ndarray:
    return np.round(np.asarray(points) * (1 << _SHIFT)).astype(np.int32)


def _point(point: np.ndarray) -> tuple[int, int]:
    x, y = _fixed(point)
    return int(x), int(y)
