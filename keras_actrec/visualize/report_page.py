"""A run's report as one HTML file: accuracies, confusions, curves, attention, clips and configuration, to read anywhere.

The page holds its styles and pictures itself, runs no script and loads nothing: it can be sent by mail and opened offline.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from keras_actrec.errors import ConfigError
from keras_actrec.files import whole_file
from keras_actrec.visualize.report_attention import AttentionTable, attention_tables
from keras_actrec.visualize.report_figures import curve_svg

PAIRS_SHOWN = 25
"""Most confused pairs in the table of a stream."""
CLIPS_LISTED = 2000
"""Up to so many test clips the page lists every one with what it was taken for; beyond, scores.npz has them."""
_TEMPLATE = "report.html"
_SMALL, _MIDDLE = 12, 30  # classes up to which cells of the confusion matrix are large, and middling


@dataclass(frozen=True)
class ConfusedPair:
    """Clips of one class that were taken for another.

    Attributes:
        label, predicted: class indices.
        clips: their names.
    """

    label: int
    predicted: int
    clips: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class StreamReport:
    """What one stream of a network answered.

    Attributes:
        name: as result files have it, e.g. "fused".
        title: for readers, e.g. "pose + RGB".
        accuracy, mean_class_accuracy, macro_f1: shares of 1; of folds the means over them.
        spread: standard deviation (n - 1) of the accuracy over folds; None of a single test.
        with_left_out: accuracy with the left-out test clips counted as wrong; None where their sides are not known.
        matrix: int (classes, classes), rows are true classes; of folds the sum over them.
        confused: the most confused pairs, the most frequent first.
    """

    name: str
    title: str
    accuracy: float
    mean_class_accuracy: float
    macro_f1: float
    spread: float | None
    with_left_out: float | None
    matrix: np.ndarray
    confused: tuple[ConfusedPair, ...]


@dataclass(frozen=True)
class FoldReport:
    """One of several tests.

    Attributes:
        name: its protocol.
        page: address of its own report, relative to this one; "" without.
        clips, left_out: test clips, and left-out ones of the test side.
        accuracy: stream → share of 1.
    """

    name: str
    page: str
    clips: int
    left_out: int
    accuracy: Mapping[str, float]


@dataclass(frozen=True, eq=False)
class StageCurves:
    """How a stage of the training went.

    Attributes:
        name: of the stage.
        fold: "" for a run of one protocol.
        columns: name → (epochs,): "epoch", "loss", "val_loss", "accuracy", "val_accuracy", those that there are.
        kept: the epoch whose weights were kept.
    """

    name: str
    fold: str
    columns: Mapping[str, np.ndarray]
    kept: int


@dataclass(frozen=True)
class LeftOutClip:
    """A clip that was not used: its name, where it would have been, where that was noticed, and why."""

    clip: str
    side: str
    stage: str
    reason: str


@dataclass(frozen=True)
class TestedClip:
    """A test clip, its class, and stream → the class that it was taken for."""

    clip: str
    label: int
    predictions: Mapping[str, int]


@dataclass(frozen=True, eq=False)
class AttentionReport:
    """Attention by class of the test clips.

    Attributes:
        model: name of the network.
        clips: int (classes,), test clips of each class.
        values: see `keras_actrec.training.attention.ClassAttention`.
        joints: stream → names of the joints that RPAN attends to.
    """

    model: str
    clips: np.ndarray
    values: Mapping[str, np.ndarray]
    joints: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class RunReport:
    """What `write_report_page` shows. No text of it holds the folders of the machine that it ran on.

    Attributes:
        dataset, protocol, model, preset, seed: what was run; seed None where nothing was trained.
        class_names: in the order of the matrices.
        streams: the one that stands for the network last.
        folds: of several protocols; empty for one.
        curves: of all stages, fold by fold.
        attention: None where the network has none, or none was noted.
        clips: part ("train", "validation", "test") → clips used.
        left_out: the clips that were not.
        left_out_test: how many of them are test clips; None where that is not known.
        tested: every test clip.
        notes: what a reader of the numbers has to know.
        further: name → number or text that this kind of run adds.
        configuration, weights: name → value, flat.
        command, versions, seconds: how it was made.
    """

    dataset: str
    protocol: str
    model: str
    preset: str
    seed: int | None
    class_names: tuple[str, ...]
    streams: tuple[StreamReport, ...]
    folds: tuple[FoldReport, ...]
    curves: tuple[StageCurves, ...]
    attention: AttentionReport | None
    clips: Mapping[str, int]
    left_out: tuple[LeftOutClip, ...]
    left_out_test: int | None
    tested: tuple[TestedClip, ...]
    notes: tuple[str, ...]
    further: Mapping[str, object]
    configuration: Mapping[str, object]
    weights: Mapping[str, object]
    command: str
    versions: Mapping[str, str]
    seconds: float


def write_report_page(report: RunReport, path: str | Path) -> Path:
    """Writes the page.

    Args:
        report: what it shows.
        path: HTML file.

    Returns:
        The path.

    Raises:
        ConfigError: a matrix that does not fit the class names, or no stream at all.
        DiskFullError: no space left.
    """
    _check(report)
    with whole_file(path) as part:
        part.write_text(page_text(report), encoding="utf-8")
    return Path(path)


def page_text(report: RunReport) -> str:
    """The page as HTML."""
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).with_name("templates")), autoescape=True,
        trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined,
    )  # fmt: skip
    environment.filters |= {"percent": percent, "seconds": duration, "value": value_text}
    return environment.get_template(_TEMPLATE).render(
        report=report,
        main=report.streams[-1],
        title=_TITLES.get(report.model, report.model),
        interval=wilson_interval,
        compared=compared_streams(report),
        classes=class_rows(report),
        cells=confusion_cells,
        cell_size="large" if len(report.class_names) <= _SMALL else "middle" if len(report.class_names) <= _MIDDLE else "small",
        curves=[(curves, curve_svg(curves.columns, "loss", curves.kept), curve_svg(curves.columns, "accuracy", curves.kept))
                for curves in report.curves],
        attention=_attention(report),
        pairs_shown=PAIRS_SHOWN,
        tested=report.tested if len(report.tested) <= CLIPS_LISTED else (),
    )  # fmt: skip


_TITLES = {"sta_hands": "STA-Hands", "vpn": "VPN", "glimpse_clouds": "Glimpse Clouds", "rpan": "RPAN"}


def _check(report: RunReport) -> None:
    if not report.streams:
        raise ConfigError("a report needs at least one stream", fix="give the scores of a test")
    for stream in report.streams:
        if stream.matrix.shape != (len(report.class_names),) * 2:
            raise ConfigError(
                f"the class names do not fit the matrix of stream {stream.name}", found=f"{len(report.class_names)} names",
                expected=f"{stream.matrix.shape} matrix",
            )  # fmt: skip


# What the tables hold ---------------------------------------------------------------------------------------------------------


def wilson_interval(hits: int, clips: int) -> tuple[float, float]:
    """95 % interval of a share from so many clips (Wilson's score interval): what chance alone makes of an accuracy."""
    if not clips:
        return 0.0, 1.0
    z, share = 1.96, hits / clips
    middle = share + z * z / (2 * clips)
    half = z * np.sqrt(share * (1 - share) / clips + z * z / (4 * clips * clips))
    low, high = ((middle + sign * half) / (1 + z * z / clips) for sign in (-1, 1))
    return float(max(low, 0)), float(min(high, 1))


@dataclass(frozen=True)
class ComparedStreams:
    """The network beside one of its streams: clips that both recognise, only the one, only the other, neither."""

    name: str
    both: int
    gained: int
    lost: int
    neither: int


def compared_streams(report: RunReport) -> list[ComparedStreams]:
    """What the last stream recognises beyond each of the others, and what they do beyond it."""
    main = report.streams[-1].name
    found = []
    for stream in report.streams[:-1]:
        pairs = [(clip.predictions[main] == clip.label, clip.predictions[stream.name] == clip.label) for clip in report.tested]
        counts = (pairs.count(which) for which in ((True, True), (True, False), (False, True), (False, False)))
        found.append(ComparedStreams(stream.title, *counts))
    return found


@dataclass(frozen=True)
class ClassRow:
    """A class, its test clips, and the share of them that each stream recognised, in the order of the streams."""

    name: str
    clips: int
    accuracy: tuple[float, ...]


def class_rows(report: RunReport) -> list[ClassRow]:
    """The classes that were tested, those that the network recognises worst first."""
    clips = report.streams[-1].matrix.sum(axis=1)
    rows = [
        ClassRow(name, int(clips[i]), tuple(float(stream.matrix[i, i] / clips[i]) for stream in report.streams))
        for i, name in enumerate(report.class_names)
        if clips[i]
    ]
    return sorted(rows, key=lambda row: (row.accuracy[-1], -row.clips, row.name))


@dataclass(frozen=True)
class Cell:
    """A cell of a confusion matrix: clips, and their share of the row's."""

    clips: int
    share: float

    @property
    def shown(self) -> str:
        """Percent, rounded; what is not 0 is not shown as 0."""
        return f"{100 * self.share:.0f}" if self.share >= 0.005 else "<1"


def confusion_cells(matrix: np.ndarray) -> list[list[Cell | None]]:
    """Rows of a confusion matrix; None where no clip is."""
    totals = matrix.sum(axis=1)
    return [
        [Cell(int(n), float(n / total)) if n else None for n in row] for row, total in zip(matrix, totals, strict=True)
    ]  # fmt: skip


def _attention(report: RunReport) -> list[AttentionTable]:
    found = report.attention
    if found is None:
        return []
    return attention_tables(found.model, found.clips, found.values, report.class_names, found.joints)


# Numbers as text --------------------------------------------------------------------------------------------------------------


def percent(value: float | None) -> str:
    """A share as "83.3 %"; a dash for what does not exist."""
    return "–" if value is None or np.isnan(value) else f"{100 * value:.1f} %"


def duration(seconds: float) -> str:
    """E.g. "42 s", "5 min 22 s", "3 h 7 min"."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"


def value_text(value: object) -> str:
    """A value of JSON as a person writes it."""
    if value is None or value == []:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, (list, tuple)):
        return ", ".join(value_text(part) for part in value)
    return str(value)
