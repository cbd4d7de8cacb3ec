"""The things that hands hold, drawn upright and facing the camera, so that every camera sees their shape and colour.

Sizes are in metres around the grip, x to the right and y up in the picture; all fit a square of 0.2 m.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import pairwise
from types import MappingProxyType

import cv2
import numpy as np

from keras_actrec.errors import ConfigError
from keras_actrec.synthetic import canvas
from keras_actrec.synthetic.canvas import Color


class _Easel:
    """Maps an object's metres to pixels of the frame: place, scale and tilt."""

    def __init__(self, frame: np.ndarray, grip: np.ndarray, pixels_per_metre: float, tilt: float):
        self.frame, self.grip, self.scale = frame, grip, pixels_per_metre
        turn = np.deg2rad(tilt)
        self.axes = np.array([[np.cos(turn), np.sin(turn)], [np.sin(turn), -np.cos(turn)]])

    def at(self, points) -> np.ndarray:
        return self.grip + self.scale * np.asarray(points, dtype=np.float64) @ self.axes

    def polygon(self, points, color: Color) -> None:
        canvas.polygon(self.frame, self.at(points), color)

    def box(self, left: float, bottom: float, right: float, top: float, color: Color) -> None:
        self.polygon([(left, bottom), (right, bottom), (right, top), (left, top)], color)

    def line(self, start, end, color: Color, metres: float) -> None:
        canvas.line(self.frame, self.at(start), self.at(end), color, metres * self.scale)

    def disc(self, center, radius: float, color: Color) -> None:
        canvas.circle(self.frame, self.at(center), radius * self.scale, color)


def _cup(easel: _Easel, lit: bool) -> None:
    """A red mug with white spots."""
    red, dark = (35, 30, 205), (20, 15, 130)
    angles = np.linspace(-0.5 * np.pi, 0.5 * np.pi, 9)
    handle = np.stack([0.055 + 0.04 * np.cos(angles), 0.02 + 0.04 * np.sin(angles)], axis=1)
    for start, end in pairwise(handle):
        easel.line(start, end, dark, 0.016)
    easel.polygon([(-0.055, -0.06), (0.055, -0.06), (0.065, 0.085), (-0.065, 0.085)], red)
    easel.polygon([(0.025, -0.06), (0.055, -0.06), (0.065, 0.085), (0.03, 0.085)], dark)
    for x, y in ((-0.035, 0.05), (0.005, 0.055), (-0.015, 0.015), (0.035, 0.02), (-0.035, -0.025), (0.012, -0.03)):
        easel.disc((x, y), 0.012, (240, 240, 245))
    easel.polygon([(-0.065, 0.085), (0.065, 0.085), (0.045, 0.1), (-0.045, 0.1)], (30, 25, 70))


def _phone(easel: _Easel, lit: bool) -> None:
    """A tall black telephone with a bright blue display and icons."""
    easel.box(-0.045, -0.085, 0.045, 0.105, (18, 18, 20))
    easel.box(-0.037, -0.065, 0.037, 0.09, (235, 150, 40))
    easel.box(-0.037, 0.065, 0.037, 0.09, (120, 60, 10))
    for x in (-0.024, 0.0, 0.024):
        for y in (-0.045, -0.012, 0.021):
            easel.box(x - 0.008, y - 0.008, x + 0.008, y + 0.008, (250, 235, 190))


def _book(easel: _Easel, lit: bool) -> None:
    """A wide green book, lying open, with white lines on both covers and a strip of pages above."""
    easel.box(-0.1, 0.066, 0.1, 0.082, (225, 235, 235))
    easel.box(-0.1, -0.07, 0.1, 0.07, (30, 150, 15))
    easel.box(-0.012, -0.075, 0.012, 0.075, (15, 75, 8))
    for left in (-0.092, 0.022):
        for y in (-0.05, -0.02, 0.01, 0.04):
            easel.line((left + 0.01, y), (left + 0.06, y), (215, 250, 215), 0.008)


def _lamp(easel: _Easel, lit: bool) -> None:
    """A lantern: dark blue glass, or glowing yellow when lit."""
    metal = (45, 40, 38)
    if lit:
        _glow(easel, 0.115)
    glass, core = ((70, 225, 255), (235, 255, 255)) if lit else ((95, 50, 35), (70, 38, 28))
    easel.line((-0.03, 0.085), (0, 0.115), metal, 0.01)
    easel.line((0.03, 0.085), (0, 0.115), metal, 0.01)
    easel.box(-0.06, -0.07, 0.06, 0.075, glass)
    easel.disc((0, 0), 0.042, core)
    easel.box(-0.068, -0.088, 0.068, -0.065, metal)
    easel.box(-0.068, 0.068, 0.068, 0.088, metal)
    for x in (-0.06, 0.06):
        easel.line((x, -0.07), (x, 0.075), metal, 0.008)


def _glow(easel: _Easel, radius: float) -> None:
    """Brightens the surroundings of a lit lamp."""
    (x, y), size = np.round(easel.grip).astype(int), max(2, round(radius * easel.scale))
    top, left = max(0, y - size), max(0, x - size)
    area = easel.frame[top : max(0, y + size), left : max(0, x + size)]
    if area.size == 0:
        return
    rows, columns = np.ogrid[top : top + area.shape[0], left : left + area.shape[1]]
    weight = np.clip(1.3 - np.hypot(rows - y, columns - x) / size, 0.0, 1.0)[..., None]
    light = np.float32((60, 200, 250))
    area[:] = cv2.convertScaleAbs(area + 0.75 * weight * (light - np.minimum(area, light)))


_DRAW: Mapping[str, Callable[[_Easel, bool], None]] = MappingProxyType(
    {"cup": _cup, "phone": _phone, "book": _book, "lamp": _lamp}
)


def draw_object(
    frame: np.ndarray, name: str, grip: np.ndarray, pixels_per_metre: float, *, tilt: float = 0.0, lit: bool = False
) -> None:
    """Draws an object into a picture, in place.

    Args:
        frame: uint8 (H, W, 3), BGR.
        name: "cup", "phone", "book" or "lamp".
        grip: (2,), pixel (x, y) at which the object is held: its middle.
        pixels_per_metre: focal length over distance.
        tilt: degrees, anticlockwise.
        lit: the lamp shines; other objects take no notice.

    Raises:
        ConfigError: no such object.
    """
    if name not in _DRAW:
        raise ConfigError("no such object", found=name, expected=f"one of {', '.join(_DRAW)}")
    _DRAW[name](_Easel(frame, grip, pixels_per_metre, tilt), lit)
