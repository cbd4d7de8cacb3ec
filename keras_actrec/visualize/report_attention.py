"""Attention by class as the report shows it: a table for each network, with a small picture for each of its attentions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from keras_actrec.visualize.report_figures import map_png, sparkline_svg

HANDS = ("person 1 left", "person 1 right", "person 2 left", "person 2 right")
_JOINTS_SHOWN = 3


@dataclass(frozen=True)
class Shares:
    """Shares of a whole, as a bar: names, and values that add up to 1."""

    names: tuple[str, ...]
    values: tuple[float, ...]

    @property
    def largest(self) -> str:
        """E.g. "person 1 right 46 %"."""
        best = int(np.argmax(self.values))
        return f"{self.names[best]} {100 * self.values[best]:.0f} %"


@dataclass(frozen=True)
class Picture:
    """A map: `data:` address, what it says in words, and its width and height on the page."""

    address: str
    says: str
    width: int
    height: int


@dataclass(frozen=True)
class AttentionRow:
    """A class.

    Attributes:
        name: of the class.
        clips: how many were tested.
        shares: bars, one below the other.
        pictures: maps.
        curve: SVG of the weight over the clip; "" without.
        words: what is said in words.
    """

    name: str
    clips: int
    shares: tuple[Shares, ...] = ()
    pictures: tuple[Picture, ...] = ()
    curve: str = ""
    words: str = ""


@dataclass(frozen=True)
class AttentionTable:
    """Attention of one network by class.

    Attributes:
        stream: of a network per stream; "" else.
        caption: what the columns mean.
        legend: names of what the bars are made of.
        heads: column → its head; those that the rows fill: "shares", "pictures", "curve", "words".
        rows: the classes that were tested.
    """

    stream: str
    caption: str
    legend: tuple[str, ...]
    heads: Mapping[str, str]
    rows: tuple[AttentionRow, ...]


def attention_tables(
    model: str,
    clips: np.ndarray,
    values: Mapping[str, np.ndarray],
    class_names: Sequence[str],
    joints: Mapping[str, Sequence[str]],
) -> list[AttentionTable]:
    """The tables of a network.

    Args:
        model: its name.
        clips: int (classes,), test clips.
        values: see `keras_actrec.training.attention.attention_summaries`, with a row per class.
        class_names: in their order.
        joints: stream → joint names, of RPAN.

    Returns:
        One table, for RPAN one per stream; none for an unknown network, or where nothing was noted.
    """
    tested = [i for i, count in enumerate(clips) if count]
    if model == "rpan":
        streams = dict.fromkeys(name.partition(".")[0] for name in values if "." in name)
        parts = [
            (stream, {n.partition(".")[2]: v for n, v in values.items() if n.startswith(f"{stream}.")}) for stream in streams
        ]
    else:
        parts = [("", dict(values))]
    tables = []
    for stream, part in parts:
        if not part or not tested or model not in _TABLES:
            continue
        caption, legend, heads, cells = _TABLES[model](part, tuple(joints.get(stream, ())))
        rows = tuple(AttentionRow(class_names[i], int(clips[i]), **cells(i)) for i in tested)
        tables.append(AttentionTable(stream, caption, legend, heads, rows))
    return tables


def _two_stream(part: Mapping[str, np.ndarray], _):
    hands, time = part.get("hands"), part.get("time")
    names = HANDS if hands is None or hands.shape[2] == len(HANDS) else tuple(f"hand {i + 1}" for i in range(hands.shape[2]))
    heads, said = {}, []
    if hands is not None:
        heads |= {"shares": "which hand", "pictures": "which hand, when"}
        said.append(
            "Share of each hand in what the RGB stream looks at, mean over the clip; beside it the same along the clip, from "
            "its first to its last step, a row for each hand: the more colour, the larger the share."
        )
    if time is not None:
        heads["curve"] = "when"
        said.append("“When” is the weight of each step of the clip; the dashed line is that of equal weights.")

    def cells(i: int) -> dict[str, object]:
        found: dict[str, object] = {}
        if hands is not None:
            mean = hands[i].mean(axis=0)
            found["shares"] = (Shares(names, tuple(float(v) for v in mean / max(mean.sum(), 1e-9))),)
            steps = len(hands[i])
            best = int(np.argmax(mean))
            says = f"{names[best]} most; its largest share at step {int(hands[i][:, best].argmax()) + 1} of {steps}"
            found["pictures"] = (Picture(map_png(hands[i].T, 0.0, float(np.nanmax(hands))), says, 132, 44),)
        if time is not None:
            found["curve"] = sparkline_svg(time[i], float(np.nanmax(time)))
        return found

    return " ".join(said), names if hands is not None else (), heads, cells


def _vpn(part: Mapping[str, np.ndarray], _):
    time, places = part.get("time"), part.get("places")
    heads, said = {}, []
    if places is not None:
        low, high = float(np.nanmin(places)), float(np.nanmax(places))
        heads["pictures"] = "where"
        said.append(
            f"Attention over space (A_S) on the places of the map that slides over the person, from {low:.3f} (no colour) to "
            f"{high:.3f} (full colour), the same scale for all classes."
        )
    if time is not None:
        heads["curve"] = "when"
        said.append("Attention over time (A_T) from the first to the last step of the map; the dashed line is equal weights.")

    def cells(i: int) -> dict[str, object]:
        found: dict[str, object] = {}
        if places is not None:
            found["pictures"] = (_map(places[i], low, high),)
        if time is not None:
            found["curve"] = sparkline_svg(time[i], float(np.nanmax(time)))
        return found

    return " ".join(said), (), heads, cells


def _glimpse_clouds(part: Mapping[str, np.ndarray], _):
    places, workers = part.get("places"), part.get("workers")
    heads, said, legend = {}, [], ()
    if places is not None:
        heads["pictures"] = "where"
        said.append(
            "Where the middles of the glimpses lie in the picture, over all frames and test views: the more colour, the more "
            "of them, on the same scale for all classes."
        )
    if workers is not None:
        legend = tuple(f"glimpse {g + 1}" for g in range(workers.shape[2]))
        heads["shares"] = "what each worker takes in"
        said.append("A bar for each worker: the share of the first, second, … glimpse of a frame in what it takes in.")

    def cells(i: int) -> dict[str, object]:
        found: dict[str, object] = {}
        if places is not None:
            found["pictures"] = (_map(places[i], 0.0, float(np.nanmax(places))),)
        if workers is not None:
            found["shares"] = tuple(Shares(legend, tuple(float(v) for v in worker)) for worker in workers[i])
        return found

    return " ".join(said), legend, heads, cells


def _rpan(part: Mapping[str, np.ndarray], names: tuple[str, ...]):
    places, joints = part.get("places"), part.get("joints")
    heads, said = {}, []
    if places is not None:
        heads["pictures"] = "where"
        said.append("Mean attention map of all joints and steps over the picture, on the same scale for all classes.")
    if joints is not None and joints.shape[1] > 1:
        names = names if len(names) == joints.shape[1] else tuple(f"joint {j + 1}" for j in range(joints.shape[1]))
        heads["words"] = "most concentrated joints"
        said.append("Beside it the joints whose maps are most concentrated: the mean share of a map's highest place.")

    def cells(i: int) -> dict[str, object]:
        found: dict[str, object] = {}
        if places is not None:
            found["pictures"] = (_map(places[i], 0.0, float(np.nanmax(places))),)
        if "words" in heads:
            best = np.argsort(-joints[i], kind="stable")[:_JOINTS_SHOWN]
            found["words"] = ", ".join(f"{names[j]} {100 * joints[i][j]:.1f} %" for j in best)
        return found

    return " ".join(said), (), heads, cells


_TABLES = {"sta_hands": _two_stream, "vpn": _vpn, "glimpse_clouds": _glimpse_clouds, "rpan": _rpan}


def _map(values: np.ndarray, low: float, high: float) -> Picture:
    rows, columns = values.shape
    row, column = np.unravel_index(int(np.argmax(values)), values.shape)
    side = 84 / max(rows, columns)
    says = f"highest in row {row + 1} of {rows}, column {column + 1} of {columns}"
    return Picture(map_png(values, low, high), says, round(side * columns), round(side * rows))
