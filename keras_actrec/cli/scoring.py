"""Measures an exported model on clips of known classes, clip by clip: answers that survive a kill, result files, a report."""

from __future__ import annotations

import csv
import hashlib
import json
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from keras_actrec.datasets.record import ActionDataset, ClipRecord, LeftOut
from keras_actrec.errors import ActrecError, ConfigError, DatasetError, DiskFullError, WeightsError
from keras_actrec.export.saved_model import Description
from keras_actrec.files import disk_full_at, whole_file
from keras_actrec.progress import progress_bar
from keras_actrec.recipes.report_page import leave_report
from keras_actrec.recognizer import Recognizer
from keras_actrec.training.evaluation import Evaluation, save_scores
from keras_actrec.training.results import RunDescription, write_left_out, write_metrics
from keras_actrec.visualize.plots import confusion_matrix_png

JOURNAL = "answers.jsonl.part"
"""Answers of an evaluation that is not finished, a line each; the same command goes on behind them."""


@dataclass(frozen=True)
class Measured:
    """On what a model is measured: the test side of a protocol.

    Attributes:
        dataset: the clips.
        protocol: name of one of its protocols.
        skeletons: whether the data set's skeletons are used; if not, poses are estimated where the model needs them.
    """

    dataset: ActionDataset
    protocol: str
    skeletons: bool = True


@dataclass(frozen=True, eq=False)
class ExportScores:
    """What was found.

    Attributes:
        evaluation: probabilities of the classified clips.
        left_out: the test clips that could not be classified, and why.
        metrics: content of metrics.json.
    """

    evaluation: Evaluation
    left_out: tuple[LeftOut, ...]
    metrics: Mapping[str, object]

    @property
    def stream(self) -> str:
        """Its only stream."""
        (stream,) = self.evaluation.scores
        return stream


def choose_protocol(dataset: ActionDataset, name: str | None) -> str:
    """The protocol of that name; without a name "split", or the only one.

    Raises:
        ConfigError: there is no such protocol, or several to choose from.
    """
    protocols = tuple(dataset.protocols())
    if name is None and (len(protocols) == 1 or "split" in protocols):
        return "split" if "split" in protocols else protocols[0]
    if name not in protocols:
        raise ConfigError(
            "which protocol?" if name is None else "unknown protocol", found=None if name is None else repr(name),
            expected=f"one of {', '.join(protocols)}", fix="give it by --protocol NAME",
        )  # fmt: skip
    return name


def score_export(
    recognizer: Recognizer,
    measured: Measured,
    out: str | Path,
    *,
    export: str | Path,
    flow_model: str | Path | None = None,
    progress: bool | None = None,
) -> ExportScores:
    """Classifies the test clips of a protocol, and writes what was found.

    Files in `out`: metrics.json, scores.npz (probabilities), predictions.csv, left_out.csv, confusion_<stream>.png and
    report.html. A clip that cannot be classified (its video or skeleton does not read, nobody is found in it, its class is none
    of the model's) is left out and listed; `accuracy` of metrics.json is that of the classified clips, and
    `accuracy_with_left_out` counts the others as wrong.

    Args:
        recognizer: the model.
        measured: on what.
        out: folder to write into. A run that was stopped there goes on, if it is the same model on the same clips.
        export, flow_model: folders that the model was loaded from.
        progress: see `progress_bar`.

    Raises:
        ConfigError: the model knows none of the classes.
        DatasetError: no test clip, or none that can be classified.
        WeightsError: weights that cannot be had.
        DiskFullError: no space left.
    """
    started, out, export = time.monotonic(), Path(out), Path(export)
    dataset, split = measured.dataset, measured.dataset.protocols()[measured.protocol]
    wanted = set(split.test)
    records = [record for record in dataset.records if record.clip_id in wanted]
    if not records:
        raise DatasetError(
            f"protocol {measured.protocol} has no clip to test on", file=dataset.root,
            found=f"{len(dataset.records)} usable clips, {len(dataset.left_out)} left out",
            fix="put test into its column for some, or choose another protocol",
        )  # fmt: skip
    labels = _labels(recognizer, dataset, records)
    known = [record for record in records if record.clip_id in labels]
    models = [_identity(Path(folder)) for folder in (export, flow_model) if folder is not None]
    head = {"models": models, "dataset": dataset.name, "root": str(dataset.root), **_settings(measured)}
    left_out = [clip for clip in dataset.left_out if split.left_out.get(clip.clip_id) == "test"]
    left_out += [
        LeftOut(record.clip_id, "evaluation", f"the model does not know its class, {dataset.class_names[record.label]}")
        for record in records
        if record.clip_id not in labels
    ]
    with _Journal(out / JOURNAL, head) as journal:
        left_out += _classify(recognizer, measured, known, journal, progress=progress)
        answers = dict(journal.answers)
    clips = [record.clip_id for record in known if record.clip_id in answers]
    if not clips:
        raise DatasetError(
            "no clip could be classified", file=dataset.root,
            found=f"{len(left_out)} left out, the first: {left_out[0].reason}",
            fix="mend the first, and run the same command again",
        )  # fmt: skip
    stream = stream_of(recognizer.description, fused=flow_model is not None)
    evaluation = Evaluation(
        tuple(clips), np.array([labels[clip] for clip in clips], np.int32),
        {stream: np.array([answers[clip] for clip in clips], np.float32)}, subsequences=1,
    )  # fmt: skip
    metrics = _write(out, recognizer, measured, evaluation, tuple(left_out), export=export, seconds=time.monotonic() - started)
    (out / JOURNAL).unlink(missing_ok=True)
    return ExportScores(evaluation, tuple(left_out), metrics)


def stream_of(description: Description, *, fused: bool = False) -> str:
    """What a model's only score is called in result files: as in those of its training."""
    if description.model == "rpan":
        return "rgb+flow" if fused else description.stream
    if description.model == "sta_hands":
        return "fused" if description.sensor else "pose"
    return description.model


# Answers ----------------------------------------------------------------------------------------------------------------------


class _Journal:
    """Answers as they come, in a file from which a later run goes on; as a context manager.

    Args:
        path: the file.
        head: what the answers are of; a file with another head is written anew.

    Attributes:
        answers: clip → probabilities.
    """

    def __init__(self, path: Path, head: Mapping[str, object]):
        self._path, self._head, self.answers = path, json.dumps(head, sort_keys=True), {}

    def __enter__(self) -> _Journal:
        with disk_full_at(self._path):
            self._path.parent.mkdir(parents=True, exist_ok=True)
            lines = self._whole_lines()
            self.answers = {line["clip"]: line["probabilities"] for line in map(json.loads, lines)}
            self._file = self._path.open("w", encoding="utf-8")
            for line in (self._head, *lines):
                self._file.write(line + "\n")
            self._file.flush()
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(OSError):  # a full disk, which has been said
            self._file.close()

    def add(self, clip: str, probabilities: np.ndarray) -> None:
        """Keeps an answer."""
        self.answers[clip] = probabilities.tolist()
        with disk_full_at(self._path):
            self._file.write(json.dumps({"clip": clip, "probabilities": self.answers[clip]}) + "\n")
            self._file.flush()

    def _whole_lines(self) -> list[str]:
        """Answers of an earlier run on the same; its last line may have been cut."""
        try:
            head, *lines = self._path.read_text(encoding="utf-8").split("\n")[:-1]
        except (OSError, ValueError):
            return []
        return lines if head == self._head else []


def _classify(
    recognizer: Recognizer, measured: Measured, records: Sequence[ClipRecord], journal: _Journal, *, progress: bool | None
) -> list[LeftOut]:
    """Answers for the clips that have none yet; gives those that cannot be classified."""
    left_out = []
    with progress_bar(len(records), "evaluate", show=progress) as bar:
        for record in records:
            if record.clip_id not in journal.answers:
                video = record.video or Path(f"{record.clip_id} (no video)")
                try:
                    skeleton = measured.dataset.load_skeleton(record) if measured.skeletons and record.skeleton else None
                    journal.add(record.clip_id, recognizer(video, skeleton).probabilities)
                except (WeightsError, DiskFullError):
                    raise
                except ActrecError as error:
                    left_out.append(LeftOut(record.clip_id, "evaluation", str(error), error.file or str(video)))
            bar.update()
    return left_out


def _labels(recognizer: Recognizer, dataset: ActionDataset, records: Sequence[ClipRecord]) -> dict[str, int]:
    """Clip → its class among the model's, of the clips whose class is one of these."""
    index = {name: label for label, name in enumerate(recognizer.class_names)}
    labels = {record.clip_id: index.get(dataset.class_names[record.label]) for record in records}
    labels = {clip: label for clip, label in labels.items() if label is not None}
    if not labels:
        raise ConfigError(
            "the model knows none of the classes", found=", ".join(dataset.class_names[:5]) + " …",
            expected=", ".join(recognizer.class_names[:5]) + " …",
            fix="give clips of the data set that it was trained on, or name the classes as there",
        )  # fmt: skip
    return labels


def _identity(export: Path) -> dict[str, str]:
    """By the content of its files: a model that was exported anew is another one."""
    digest = hashlib.sha256()
    for file in sorted(path for path in export.rglob("*") if path.is_file()):
        digest.update(f"{file.relative_to(export)}\n".encode())
        digest.update(file.read_bytes())
    return {"model": str(export), "sha256": digest.hexdigest()}


def _settings(measured: Measured) -> dict[str, object]:
    return {"protocol": measured.protocol, "skeletons": measured.skeletons}


# Result files -----------------------------------------------------------------------------------------------------------------


def _write(
    out: Path,
    recognizer: Recognizer,
    measured: Measured,
    evaluation: Evaluation,
    left_out: tuple[LeftOut, ...],
    *,
    export: Path,
    seconds: float,
) -> dict[str, object]:
    """All result files; gives the content of metrics.json."""
    names, (stream,) = recognizer.class_names, evaluation.scores
    description = recognizer.description
    run = RunDescription(
        dataset=measured.dataset.name, protocol=measured.protocol, model=description.model, preset="evaluated export",
        seed=None, clips={"test": len(evaluation.clip_ids)},
        weights=getattr(description, "sensor", None) or getattr(description, "backbone", {}),
    )  # fmt: skip
    correct = int((evaluation.predictions(stream) == evaluation.labels).sum())
    missing = len({clip.clip_id for clip in left_out})
    configuration = {key: value for key, value in asdict(description).items() if key not in ("class_names", "joints")}
    metrics = write_metrics(
        out / "metrics.json", run, evaluation, names, left_out,
        extra={
            "accuracy_with_left_out": {stream: correct / (len(evaluation.clip_ids) + missing)},
            "stages": [], "seconds": round(seconds, 1), "export": str(export),
            "configuration": {**configuration, **_settings(measured)},
        },
    )  # fmt: skip
    save_scores(out / "scores.npz", evaluation)
    write_left_out(out / "left_out.csv", left_out, side_of=lambda _: "test")
    _write_predictions(out / "predictions.csv", evaluation, names)
    confusion_matrix_png(evaluation.confusion_matrix(stream), names, out / f"confusion_{stream}.png")
    leave_report(out)
    return metrics


def _write_predictions(path: Path, evaluation: Evaluation, names: Sequence[str]) -> None:
    (probabilities,) = evaluation.scores.values()
    with whole_file(path) as part, part.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["clip", "class", "predicted", "probability", "correct"])
        for clip, label, scores in zip(evaluation.clip_ids, evaluation.labels, probabilities, strict=True):
            best = int(scores.argmax())
            writer.writerow([clip, names[label], names[best], f"{scores[best]:.4f}", int(best == label)])
