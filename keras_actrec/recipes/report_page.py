"""The report of a finished run, from the files that it left: of every model, of one protocol or of several.

Files that are read: metrics.json, scores.npz, left_out.csv, the log.csv of each stage, attention.npz where there is one; of
several protocols those of each, in its folder.
"""

from __future__ import annotations

import csv
import json
import logging
import re
import shlex
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

import numpy as np
import pandas as pd

from keras_actrec.cache.schema import flatten
from keras_actrec.errors import ActrecError, DatasetError, DiskFullError
from keras_actrec.skeletons.layouts import LAYOUTS
from keras_actrec.training.attention import ClassAttention, joined, load_attention
from keras_actrec.training.evaluation import Evaluation, load_scores
from keras_actrec.training.summary import SELECTION_PREFIX
from keras_actrec.visualize.report_page import (
    AttentionReport,
    ConfusedPair,
    FoldReport,
    LeftOutClip,
    RunReport,
    StageCurves,
    StreamReport,
    TestedClip,
    write_report_page,
)

log = logging.getLogger(__name__)

REPORT = "report.html"
ATTENTION = "attention.npz"
STREAM_TITLES = {
    "pose": "pose", "rgb": "RGB", "fused": "pose + RGB", "flow": "optical flow", "rgb+flow": "RGB + flow",
    "vpn": "VPN", "glimpse_clouds": "Glimpse Clouds",
}  # fmt: skip
_METRICS = ("accuracy", "mean_class_accuracy", "macro_f1")
_SHOWN = {  # keys of metrics.json that have a place of their own on the page
    "dataset", "protocol", "model", "preset", "seed", "clips", "weights", "command", "versions", "configuration", "seconds",
    "per_class", "folds", "stages", *_METRICS,
}  # fmt: skip
_CURVES = ("epoch", "loss", "val_loss", "accuracy", "val_accuracy")


def leave_report(workdir: Path) -> None:
    """Writes report.html beside the results of a run. Files that do not give one cost the report, not the run: a warning.

    Raises:
        DiskFullError: no space left.
    """
    try:
        write_report_page(run_report(workdir), Path(workdir) / REPORT)
    except DiskFullError:
        raise
    except ActrecError as error:
        log.warning("no %s: %s", REPORT, error)


def run_report(workdir: str | Path) -> RunReport:
    """Reads what a run left.

    Args:
        workdir: its folder, with metrics.json in it.

    Raises:
        DatasetError: metrics.json or left_out.csv is not there, does not read, or is not that of a finished run.
        WeightsError: scores.npz or attention.npz does not read.
    """
    workdir = Path(workdir)
    metrics = _read_metrics(workdir / "metrics.json")
    try:
        return _report(workdir, metrics)
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise DatasetError(
            "cannot be read as the metrics of a run", file=workdir / "metrics.json", found=f"{type(error).__name__}: {error}",
            fix=_FIX,
        ) from error  # fmt: skip


def protocols_of(workdir: str | Path) -> tuple[str, ...]:
    """The protocols of a run of several, each a folder of its own; none for a run of one.

    Raises:
        DatasetError: metrics.json is not there or does not read.
    """
    return tuple(_read_metrics(Path(workdir) / "metrics.json").get("folds") or ())


_FIX = "give the folder of a finished run, made by this version"


@dataclass(frozen=True, eq=False)
class _Part:
    """What one test left: of a run of one protocol the only one.

    Attributes:
        fold: its protocol; "" for the only one.
        metrics: content of its metrics.json.
        scores: of its test clips.
        left_out: rows of its left_out.csv; None where there is no such file.
        curves: of its stages.
        attention: by class.
    """

    fold: str
    metrics: Mapping
    scores: Evaluation
    left_out: list[dict[str, str]] | None
    curves: tuple[StageCurves, ...]
    attention: ClassAttention | None

    @property
    def missing(self) -> int | None:
        """Left-out clips of the test side; None where left_out.csv does not say sides."""
        if self.left_out is None or any("side" not in row for row in self.left_out):
            return None
        return len({row["clip_id"] for row in self.left_out if row["side"] == "test"})

    def named(self, clip: str) -> str:
        """A clip, with its fold before it where there are several."""
        return f"{self.fold}: {clip}" if self.fold else clip


def _read_metrics(path: Path) -> dict:
    try:
        metrics = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(metrics, dict):
            raise ValueError(f"a {type(metrics).__name__}")
    except (OSError, ValueError) as error:
        raise DatasetError("cannot be read as the metrics of a run", file=path, found=error, fix=_FIX) from error
    return metrics


def _read_part(folder: Path, fold: str, metrics: Mapping) -> _Part:
    curves = []
    for stage in metrics.get("stages", ()):
        file = folder / stage["name"] / "log.csv"
        if file.is_file():  # a table of runs may have been copied without the stages
            table = pd.read_csv(file)
            columns = {name: table[name].to_numpy(float) for name in _CURVES if name in table}
            curves.append(StageCurves(stage["name"], fold, columns, stage["best_epoch"]))
    attention = folder / ATTENTION
    return _Part(
        fold, metrics, load_scores(folder / "scores.npz"), _read_left_out(folder / "left_out.csv"), tuple(curves),
        load_attention(attention) if attention.is_file() else None,
    )  # fmt: skip


def _read_left_out(path: Path) -> list[dict[str, str]] | None:
    if not path.is_file():
        return None
    try:
        with path.open(newline="", encoding="utf-8") as file:
            reader = csv.DictReader(file)
            rows = list(reader)
        if not {"clip_id", "stage", "reason", "file"} <= set(reader.fieldnames or ()):
            raise ValueError(f"columns {', '.join(reader.fieldnames or ()) or 'none'}")
    except (OSError, ValueError, csv.Error) as error:
        fix = "delete it, or run the same command again"
        raise DatasetError("cannot be read as the list of left-out clips", file=path, found=error, fix=fix) from error
    return rows


def _report(workdir: Path, metrics: Mapping) -> RunReport:
    folds = tuple(metrics.get("folds") or ())
    if folds:
        parts = [_read_part(workdir / fold, fold, _read_metrics(workdir / fold / "metrics.json")) for fold in folds]
    else:
        parts = [_read_part(workdir, "", metrics)]
    names = _class_names(parts[0])
    missing = [part.missing for part in parts]
    return RunReport(
        **{name: metrics[name] for name in ("dataset", "protocol", "model", "seed")},
        preset=metrics["preset"],
        class_names=names,
        streams=tuple(_stream(stream, metrics, parts) for stream in metrics["accuracy"]),
        folds=tuple(
            FoldReport(
                part.fold, f"{part.fold}/{REPORT}" if (workdir / part.fold / REPORT).is_file() else "",
                len(part.scores.clip_ids), part.missing or 0, part.metrics["accuracy"],
            )
            for part in parts if part.fold
        ),
        curves=tuple(curves for part in parts for curves in part.curves),
        attention=_attention(metrics, parts),
        clips=_clip_counts(parts),
        left_out=_left_out(parts),
        left_out_test=None if None in missing else sum(missing),
        tested=tuple(clip for part in parts for clip in _tested(part)),
        notes=_notes(metrics),
        further=_values({key: value for key, value in metrics.items() if key not in _SHOWN and value is not None}),
        configuration=_values(metrics["configuration"]),
        weights=_values(metrics["weights"]),
        command=_short_command(metrics["command"]),
        versions={str(name): str(version) for name, version in metrics["versions"].items()},
        seconds=metrics["seconds"],
    )  # fmt: skip


# Scores -----------------------------------------------------------------------------------------------------------------------


def _class_names(part: _Part) -> tuple[str, ...]:
    """Those of metrics.json; where two classes have one name, which it cannot hold, numbers."""
    classes = next(iter(part.scores.scores.values())).shape[1]
    names = tuple(part.metrics["per_class"])
    return names if len(names) == classes else tuple(f"class {label}" for label in range(classes))


def _stream(stream: str, metrics: Mapping, parts: Sequence[_Part]) -> StreamReport:
    clips: dict[tuple[int, int], list[str]] = defaultdict(list)
    for part in parts:
        predictions = part.scores.predictions(stream)
        for clip, label, predicted in zip(part.scores.clip_ids, part.scores.labels, predictions, strict=True):
            if label != predicted:
                clips[int(label), int(predicted)].append(part.named(clip))
    pairs = sorted(clips.items(), key=lambda item: (-len(item[1]), item[0]))
    of_parts = [part.scores.accuracy[stream] for part in parts]
    with_left_out = None
    if all(part.missing is not None for part in parts):
        hits = (np.sum(part.scores.predictions(stream) == part.scores.labels) for part in parts)
        shares = [n / (len(part.scores.labels) + part.missing) for n, part in zip(hits, parts, strict=True)]
        with_left_out = float(np.mean(shares))
    return StreamReport(
        name=stream,
        title=STREAM_TITLES.get(stream, stream),
        **{metric: metrics[metric][stream] for metric in _METRICS},
        spread=float(np.std(of_parts, ddof=1)) if len(of_parts) > 1 else None,
        with_left_out=with_left_out,
        matrix=sum(part.scores.confusion_matrix(stream) for part in parts),
        confused=tuple(ConfusedPair(*classes, tuple(sorted(names))) for classes, names in pairs),
    )


def _tested(part: _Part) -> list[TestedClip]:
    predictions = {stream: part.scores.predictions(stream) for stream in part.scores.scores}
    return [
        TestedClip(part.named(clip), int(label), {stream: int(found[i]) for stream, found in predictions.items()})
        for i, (clip, label) in enumerate(zip(part.scores.clip_ids, part.scores.labels, strict=True))
    ]


def _attention(metrics: Mapping, parts: Sequence[_Part]) -> AttentionReport | None:
    found = [part.attention for part in parts if part.attention is not None]
    if len(found) < len(parts):
        return None
    whole = joined(found)
    joints = {}
    if metrics["model"] == "rpan":
        models = metrics["configuration"]["model"]
        joints = {stream: LAYOUTS[model["layout"]].joints for stream, model in models.items() if model["layout"] in LAYOUTS}
    return AttentionReport(metrics["model"], whole.clips, whole.values, joints) if whole.values else None


# Clips ------------------------------------------------------------------------------------------------------------------------


def _clip_counts(parts: Sequence[_Part]) -> dict[str, int]:
    return {
        name: sum(part.metrics["clips"][name] for part in parts)
        for name in ("train", "validation", "test") if name in parts[0].metrics["clips"]
    }  # fmt: skip


def _left_out(parts: Sequence[_Part]) -> tuple[LeftOutClip, ...]:
    """Every left-out clip once; of several folds with those that it would have been tested in."""
    found: dict[str, LeftOutClip] = {}
    for part in parts:
        for row in part.left_out or ():
            clip = LeftOutClip(row["clip_id"], row.get("side") or "", row["stage"], _reason(row["reason"], row["file"]))
            if part.fold:
                clip = replace(clip, side=f"test in {part.fold}" if clip.side == "test" else "")
            known = found.setdefault(clip.clip, clip)
            if known is not clip and clip.side and clip.side not in known.side:
                found[clip.clip] = replace(known, side=", ".join(filter(None, (known.side, clip.side))))
    return tuple(found[name] for name in sorted(found))


# Words ------------------------------------------------------------------------------------------------------------------------


def _notes(metrics: Mapping) -> tuple[str, ...]:
    notes = []
    if str(metrics["dataset"]).startswith("synthetic"):
        notes.append("The clips are drawn by a program. The numbers show that the path works, and nothing about real data.")
    elif "random" in [value for key, value in flatten(metrics["weights"]).items() if key.rpartition(".")[2] == "weights"]:
        notes.append(
            "The image network has random weights. The numbers show that the path works, and nothing about the method."
        )
    if any(name.startswith(SELECTION_PREFIX) for name in (str(metrics["protocol"]), *metrics.get("folds", ()))):
        notes.append("Settings were chosen on these clips, which are training clips of the protocol: this is no result.")
    return tuple(notes)


def _values(table: Mapping) -> dict[str, object]:
    """A nested table of JSON, flat, without the folders of this machine."""
    return {name: _short_value(value) for name, value in flatten(dict(table)).items()}


def _short_value(value: object) -> object:
    if isinstance(value, list):
        return [_short_value(part) for part in value]
    if isinstance(value, Mapping):  # in a list
        return {name: _short_value(part) for name, part in value.items()}
    if isinstance(value, str) and re.search(r"[/\\]", value) and "://" not in value:
        return _last(value)
    return value


_PATH = re.compile(
    r"(?<![\w.:/\\-])(?:[A-Za-z]:[\\/]|~?[/\\]|\.{1,2}[/\\])(?:[^\s'\"<>|,;()]*[/\\])?(?P<name>[^\s'\"<>|,;()/\\]*)"
)
"""An absolute path, one that starts at the home folder or with dots, in a text."""


def _reason(reason: str, file: str) -> str:
    """Why a clip was left out, with the names of files instead of their places."""
    if file:
        reason = reason.replace(file, _last(file))
        for parent in (str(parent) for parent in PurePosixPath(file.replace("\\", "/")).parents):
            if len(parent) > 1:  # neither "/" nor "."
                reason = reason.replace(f"{parent}/", "")
    return _PATH.sub(lambda found: found["name"] or "…", reason)


def _short_command(command: str) -> str:
    """The command with the last names of folders; scripts of the repository stay as they are."""
    try:
        words = shlex.split(command)
    except ValueError:  # a quotation that does not end
        return _PATH.sub(lambda found: f"…/{found['name']}", command)
    shown = []
    for position, word in enumerate(words):
        option, equals, value = word.partition("=") if word.startswith("-") else ("", "", word)
        script = position < 2 and value.endswith(".py") and not _PATH.match(value)
        path = re.search(r"[/\\]", value) and "://" not in value and not script
        shown.append(f"{option}{equals}{f'…/{_last(value)}' if path else value}")
    return " ".join(shlex.quote(word) if re.search(r"[^\w@%+=:,./…-]", word) else word for word in shown)


def _last(path: str) -> str:
    return re.split(r"[/\\]", path.rstrip("/\\"))[-1] or "…"
