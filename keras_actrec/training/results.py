"""Result files: metrics.json and the table of clips that were left out."""

from __future__ import annotations

import csv
import json
import math
import shlex
import sys
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from keras_actrec.datasets.record import LeftOut
from keras_actrec.errors import ConfigError
from keras_actrec.files import whole_file
from keras_actrec.training.evaluation import Evaluation
from keras_actrec.version import library_versions


@dataclass(frozen=True)
class RunDescription:
    """What was tested, and how it came about.

    Attributes:
        dataset: name of the data set.
        protocol: e.g. "cross_subject".
        model: name of the model.
        preset: its preset.
        seed: seed of the run; None where nothing was trained.
        clips: part ("train", "validation", "test") → number of clips used.
        weights: where weights came from: name or file and checksum of the image network, of a transferred model, …
        fold: number of the fold; None where the protocol has none.
        command: the command; None takes that of this process.
    """

    dataset: str
    protocol: str
    model: str
    preset: str
    seed: int | None
    clips: Mapping[str, int]
    weights: Mapping[str, object]
    fold: int | None = None
    command: str | None = None


def write_metrics(
    path: str | Path,
    run: RunDescription,
    evaluation: Evaluation,
    class_names: Sequence[str],
    left_out: Sequence[LeftOut] = (),
    *,
    extra: Mapping[str, object] | None = None,
) -> dict[str, object]:
    """Writes metrics.json.

    Keys: those of `RunDescription`; "subsequences_per_clip"; "pooling" of their scores; "clips" (also "left_out", and
    "left_out_reasons": stage and reason → number); "accuracy", "mean_class_accuracy", "macro_f1" by stream; "per_class": class
    name → {"clips", stream → accuracy or null}; "versions"; then those of `extra`. Numbers that do not exist are null.

    Args:
        path: file to write.
        run: what was tested.
        evaluation: the scores.
        class_names: names of the classes in the order of the scores.
        left_out: clips that were not used.
        extra: further JSON values, e.g. durations or training histories.

    Returns:
        What was written.

    Raises:
        ConfigError: the class names do not fit the scores, or `extra` would replace a key.
        DiskFullError: no space left.
    """
    content = {
        **asdict(run),
        "subsequences_per_clip": evaluation.subsequences,
        "pooling": evaluation.pooling,
        "clips": {**run.clips, **_count_left_out(left_out)},
        "accuracy": evaluation.accuracy,
        "mean_class_accuracy": evaluation.mean_class_accuracy,
        "macro_f1": evaluation.macro_f1,
        "per_class": _per_class(evaluation, class_names),
        "command": run.command or shlex.join([Path(sys.executable).name, *sys.argv]),
        "versions": library_versions(),
    }
    taken = sorted(content.keys() & (extra or {}).keys())
    if taken:
        raise ConfigError("extra results would replace others", found=", ".join(taken), fix="rename them")
    content = _without_nan({**content, **(extra or {})})
    with whole_file(path) as part:
        part.write_text(json.dumps(content, indent=2, allow_nan=False) + "\n", encoding="utf-8")
    return content


def write_left_out(path: str | Path, left_out: Sequence[LeftOut], *, side_of: Callable[[str], str] = lambda _: "") -> None:
    """Writes the clips that were left out as CSV: clip_id, stage, reason, file, side. Without any, the header alone.

    Args:
        path: file to write.
        left_out: the clips.
        side_of: clip id → side of the protocol, "train" or "test", "" where that is not known: a left-out test clip is one that
            the model did not recognise, when its accuracy is compared with that of a model that took it.

    Raises:
        DiskFullError: no space left.
    """
    names = [*(field.name for field in fields(LeftOut)), "side"]
    with whole_file(path) as part, part.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, names)
        writer.writeheader()
        writer.writerows({**asdict(clip), "side": side_of(clip.clip_id)} for clip in left_out)


def _count_left_out(left_out: Sequence[LeftOut]) -> dict[str, object]:
    reasons = Counter(f"{clip.stage}: {clip.reason}" for clip in left_out)
    return {"left_out": len({clip.clip_id for clip in left_out}), "left_out_reasons": dict(reasons.most_common())}


def _per_class(evaluation: Evaluation, class_names: Sequence[str]) -> dict[str, dict[str, object]]:
    for stream, scores in evaluation.scores.items():
        if scores.shape[1] != len(class_names):
            raise ConfigError(
                f"the class names do not fit the scores of stream {stream}", found=len(class_names), expected=scores.shape[1]
            )
    table = {name: {"clips": int((evaluation.labels == label).sum())} for label, name in enumerate(class_names)}
    for stream in evaluation.scores:
        for name, value in zip(class_names, evaluation.per_class_accuracy(stream), strict=True):
            table[name][stream] = float(value)
    return table


def _without_nan(value):
    """JSON has no NaN: null stands for it."""
    if isinstance(value, Mapping):
        return {key: _without_nan(part) for key, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [_without_nan(part) for part in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
