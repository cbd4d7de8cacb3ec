"""Small pictures of the report: learning curves and sparklines as SVG, maps as PNG inside of the page."""

from __future__ import annotations

import base64
import math
from collections.abc import Mapping

import cv2
import numpy as np

_WIDTH, _HEIGHT = 440, 230
_LEFT, _RIGHT, _TOP, _BOTTOM = 46, 12, 12, 32
_SPARK = (132, 30)
MAP_COLOUR = (207, 134, 74)
"""Of maps, BGR: it stands out from paper and from a dark page; how much of it there is says the value."""
_LINES = (("", "training", "train"), ("val_", "held out", "held"))


def ticks(low: float, high: float, count: int = 5) -> list[float]:
    """Round numbers between two values, at most `count` of them or so."""
    span = high - low
    if not span > 0:
        return [low]
    raw = span / count
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(power * factor for factor in (1, 2, 5, 10) if power * factor >= raw * 0.999)
    return [round(n * step, 12) for n in range(math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9) + 1)]


def curve_svg(columns: Mapping[str, np.ndarray], quantity: str, kept: int) -> str:
    """Loss or accuracy over epochs, of training and of held-out clips; the kept epoch is marked.

    Args:
        columns: "epoch", and QUANTITY and val_QUANTITY where there are such.
        quantity: "loss" or "accuracy".
        kept: number of the kept epoch.

    Returns:
        An `<svg>` that takes its colours from the page; "" where nothing can be drawn.
    """
    epochs = np.asarray(columns.get("epoch", ()), float)
    lines = [(label, style, np.asarray(columns[f"{prefix}{quantity}"], float))
             for prefix, label, style in _LINES if f"{prefix}{quantity}" in columns]  # fmt: skip
    known = [values[np.isfinite(values)] for _, _, values in lines]
    known = np.concatenate(known) if known else np.zeros(0)
    if not len(epochs) or not len(known):
        return ""
    low, high = (0.0, 1.0) if quantity == "accuracy" else (min(0.0, known.min()), known.max())
    high = high if high > low else low + 1
    first, last = epochs.min(), max(epochs.max(), epochs.min() + 1)

    def x(epoch: float) -> float:
        return round(_LEFT + (epoch - first) / (last - first) * (_WIDTH - _LEFT - _RIGHT), 1)

    def y(value: float) -> float:
        return round(_HEIGHT - _BOTTOM - (value - low) / (high - low) * (_HEIGHT - _TOP - _BOTTOM), 1)

    parts = []
    for tick in ticks(low, high):
        text = f"{100 * tick:.0f} %" if quantity == "accuracy" else f"{tick:g}"
        parts.append(f'<line class="grid" x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{y(tick)}" y2="{y(tick)}"/>')
        parts.append(f'<text class="tick" x="{_LEFT - 7}" y="{y(tick) + 3.5}" text-anchor="end">{text}</text>')
    for tick in (tick for tick in ticks(first, epochs.max(), 8) if tick == int(tick)):
        parts.append(f'<text class="tick" x="{x(tick)}" y="{_HEIGHT - _BOTTOM + 17}" text-anchor="middle">{tick:.0f}</text>')
    if first <= kept <= last:
        parts.append(f'<line class="kept" x1="{x(kept)}" x2="{x(kept)}" y1="{_TOP}" y2="{_HEIGHT - _BOTTOM}"/>')
    for _, style, values in lines:
        points = [(x(e), y(v)) for e, v in zip(epochs, values, strict=True) if np.isfinite(v)]
        parts.append(f'<polyline class="{style}" points="{" ".join(f"{a},{b}" for a, b in points)}"/>')
        if len(points) <= 40:
            parts.extend(f'<circle class="{style}" cx="{a}" cy="{b}" r="2.2"/>' for a, b in points)
    says = "; ".join(f"{label} {_at(values, epochs, kept)}" for label, _, values in lines)
    return (
        f'<svg class="curve" viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{quantity} over epochs; '
        f'at epoch {kept}: {says}">{"".join(parts)}</svg>'
    )


def _at(values: np.ndarray, epochs: np.ndarray, kept: int) -> str:
    found = values[epochs == kept]
    return f"{found[0]:.3g}" if len(found) and np.isfinite(found[0]) else "unknown"


def sparkline_svg(values: np.ndarray, top: float) -> str:
    """A curve over the clip as small as a word, with a dashed line where every step has the same weight.

    Args:
        values: (steps,), 1 in sum.
        top: the value at its upper edge, the same for all that are compared.
    """
    width, height = _SPARK
    scale = (height - 4) / max(top, np.finfo(float).tiny)
    xs = np.linspace(1, width - 1, len(values)) if len(values) > 1 else np.array([width / 2])
    points = " ".join(f"{x:.1f},{height - 2 - v * scale:.1f}" for x, v in zip(xs, values, strict=True))
    even = height - 2 - scale * float(np.mean(values))
    return (
        f'<svg class="spark" viewBox="0 0 {width} {height}" width="{width}" height="{height}" role="img" '
        f'aria-label="highest at step {int(np.argmax(values)) + 1} of {len(values)}">'
        f'<line class="even" x1="0" x2="{width}" y1="{even:.1f}" y2="{even:.1f}"/>'
        f'<polyline class="held" points="{points}"/></svg>'
    )


def map_png(values: np.ndarray, low: float, high: float) -> str:
    """A map as a PNG in a `data:` address: a pixel per cell, the more of the colour the higher the value.

    Args:
        values: (rows, columns).
        low, high: what is shown by none of the colour, and by all of it.
    """
    shares = ((values - low) / max(high - low, np.finfo(float).tiny)).clip(0, 1)
    picture = np.empty((*values.shape, 4), np.uint8)
    picture[..., :3], picture[..., 3] = MAP_COLOUR, np.rint(255 * shares)
    return "data:image/png;base64," + base64.b64encode(cv2.imencode(".png", picture)[1].tobytes()).decode()
