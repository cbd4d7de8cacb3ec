"""The timeline of a video as a picture: which class when, and how probable the classes are along the time."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
from matplotlib import colormaps
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MultipleLocator

from keras_actrec.files import whole_file

SHOWN_CLASSES = 9
"""Classes with a colour of their own: those that fill most of the time. The others are grey."""
OTHERS = (0.72, 0.72, 0.72)
_MINUTES_FROM = 120.0
"""Seconds of a video from which its time is written as minutes:seconds."""
_STEPS = (15, 30, 60, 120, 300, 600, 1200, 1800, 3600)
"""Seconds between two marks of a time that is written so."""
_LETTERS = 150
"""That fit over the width of the picture."""


class _Segment(Protocol):
    class_name: str
    start_seconds: float
    stop_seconds: float


class Answers(Protocol):
    """What is drawn of a `Timeline` (`recipes/prediction/timeline.py`)."""

    class_names: tuple[str, ...]
    frame_rate: float
    probabilities: np.ndarray

    @property
    def spans(self) -> np.ndarray: ...

    def segments(self) -> Sequence[_Segment]: ...


def timeline_png(timeline: Answers, path: str | Path, *, title: str = "") -> Path:
    """Draws two panels over the time: blocks of the most probable class, and a line of probability for each of these classes.

    Args:
        timeline: the answers of the windows of a video. Where it has none, the panels are empty.
        path: PNG file.
        title: above the picture, e.g. the name of the video.

    Returns:
        The path.

    Raises:
        DiskFullError: no space left.
    """
    path, segments = Path(path), timeline.segments()
    colours = class_colours(segments)
    figure = Figure((12, 4.5), layout="constrained")
    FigureCanvasAgg(figure)
    blocks, lines = figure.subplots(2, 1, sharex=True, height_ratios=(1, 3))
    spans = timeline.spans / timeline.frame_rate
    _draw_blocks(blocks, segments, colours, float(spans[-1, 1]))
    for name, colour in colours.items():
        _draw_line(lines, spans, timeline.probabilities[:, timeline.class_names.index(name)], name, colour)
    blocks.set_title(title, fontsize=11)
    lines.set_xlim(0, float(spans[-1, 1]))
    lines.set_ylim(0, 1.02)
    lines.set_ylabel("probability")
    minutes = spans[-1, 1] >= _MINUTES_FROM
    lines.set_xlabel("time, minutes:seconds" if minutes else "time, s")
    if minutes:
        step = next((step for step in _STEPS if spans[-1, 1] <= 12 * step), _STEPS[-1])
        lines.xaxis.set_major_locator(MultipleLocator(step))
        lines.xaxis.set_major_formatter(FuncFormatter(lambda second, _: f"{int(second // 60)}:{int(second % 60):02}"))
    lines.grid(alpha=0.3)
    lines.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), fontsize=9, frameon=False)
    with whole_file(path) as part:
        figure.savefig(part, format="png", dpi=120)
    return path


def class_colours(segments: Sequence[_Segment]) -> dict[str, tuple[float, ...]]:
    """Colours, RGB in [0, 1], of the classes that fill most of the time, in the order of the time that they fill."""
    filled: dict[str, float] = {}
    for segment in segments:
        filled[segment.class_name] = filled.get(segment.class_name, 0.0) + segment.stop_seconds - segment.start_seconds
    most = sorted(filled, key=lambda name: -filled[name])[:SHOWN_CLASSES]
    return dict(zip(most, colormaps["tab10"].colors[:7] + colormaps["tab10"].colors[8:], strict=False))


def _draw_blocks(axes, segments: Sequence[_Segment], colours: dict[str, tuple[float, ...]], end: float) -> None:
    for segment in segments:
        width = segment.stop_seconds - segment.start_seconds
        colour = colours.get(segment.class_name, OTHERS)
        axes.broken_barh([(segment.start_seconds, width)], (0, 1), facecolors=[colour], edgecolor="white", linewidth=0.8)
        if len(segment.class_name) <= _LETTERS * width / end:
            middle = segment.start_seconds + width / 2
            bright = np.dot(colour[:3], (0.3, 0.6, 0.1)) > 0.55
            ink = "black" if bright else "white"
            axes.text(middle, 0.5, segment.class_name, ha="center", va="center", fontsize=8, color=ink)
    axes.set_yticks([])
    axes.set_ylim(0, 1)
    for side in ("top", "left", "right"):
        axes.spines[side].set_visible(False)


def _draw_line(axes, spans: np.ndarray, values: np.ndarray, name: str, colour: tuple[float, ...]) -> None:
    """Steps: a window speaks for its span; nothing is drawn between spans that do not touch."""
    times, heights = [], []
    for index, (start, stop) in enumerate(spans):
        if index and spans[index - 1, 1] < start:
            times.append(start)
            heights.append(np.nan)
        times += [start, stop]
        heights += [values[index], values[index]]
    axes.plot(times, heights, color=colour, label=name, linewidth=1.6)
