"""Which clips of a protocol train, which stop the training early, and which test."""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Protocol

from keras_actrec.datasets.record import ActionDataset, LeftOut, Split
from keras_actrec.errors import ConfigError, DatasetError
from keras_actrec.pipelines.clip_source import ClipSource
from keras_actrec.training.holdout import hold_out
from keras_actrec.training.results import write_left_out
from keras_actrec.training.workers import Workers

log = logging.getLogger(__name__)

HOLDOUT_UNITS = ("clip", "subject", "camera", "setup")

Parts = Mapping[str, tuple[str, ...]]
"""Clip ids of "train", "validation" and "test"."""


class HoldsOut(Protocol):
    """What an experiment says about its parts: `Experiment` of the two-stream network, `VideoExperiment`."""

    workdir: Path
    protocol: str
    holdout: float
    holdout_unit: str
    seed: int


def check_holdout(experiment: HoldsOut) -> None:
    """Raises ConfigError for a share or a unit that makes no sense."""
    if not 0 < experiment.holdout < 1:
        raise ConfigError("holdout is a share of the training clips", found=experiment.holdout, expected="0 < holdout < 1")
    if experiment.holdout_unit not in HOLDOUT_UNITS:
        found, expected = repr(experiment.holdout_unit), f"one of {', '.join(HOLDOUT_UNITS)}"
        raise ConfigError("unknown holdout_unit", found=found, expected=expected)


def protocol_split(dataset: ActionDataset, protocol: str) -> Split:
    """Both sides of a protocol; a warning names what the published one has beyond it or what it lacks.

    Raises:
        ConfigError: no such protocol.
        DatasetError: a side of it is empty.
    """
    for mismatch in dataset.count_mismatches():
        if mismatch.protocol == protocol:
            log.warning("not the published clips: %s", mismatch)
    protocols = dataset.protocols()
    if protocol not in protocols:
        raise ConfigError("unknown protocol", found=repr(protocol), expected=f"one of {', '.join(protocols)}")
    split = protocols[protocol]
    for side in ("train", "test"):
        if not getattr(split, side):
            raise DatasetError(
                f"protocol {protocol} has no clip to {side} on", found=f"{len(dataset.records)} usable clips",
                fix="give a data root with the clips of both sides, or choose the other protocol",
            )  # fmt: skip
    return split


def clip_parts(dataset: ActionDataset, split: Split, source: ClipSource, experiment: HoldsOut) -> Parts:
    """Clips of training, validation (held out of the training clips) and test, without those that were left out.

    Raises:
        DatasetError: a side of which all clips were left out; too few clips to hold any out.
    """
    usable: Collection[str] = set(source.clip_ids)
    sides = {side: tuple(clip for clip in getattr(split, side) if clip in usable) for side in ("train", "test")}
    for side, clips in sides.items():
        if not clips:
            raise DatasetError(
                f"protocol {experiment.protocol} has no clip to {side} on: all of them were left out",
                file=experiment.workdir / "left_out.csv", fix="mend the files that left_out.csv lists, or leave them out",
            )  # fmt: skip
    groups = None
    if experiment.holdout_unit != "clip":
        unit_of = {record.clip_id: getattr(record, experiment.holdout_unit) for record in dataset.records}
        groups = unit_of.__getitem__
    train, validation = hold_out(
        sides["train"], source.label, fraction=experiment.holdout, seed=experiment.seed, groups=groups
    )  # fmt: skip
    return {"train": train, "validation": validation, "test": sides["test"]}


def listed_parts(
    dataset: ActionDataset,
    split: Split,
    source: ClipSource,
    left_out: Sequence[LeftOut],
    experiment: HoldsOut,
    workers: Workers,
) -> Parts:
    """`clip_parts`, once the chief has listed in left_out.csv the clips that were left out; says how many clips there are.

    Raises:
        DatasetError: see `clip_parts`.
        DiskFullError: no space left.
    """
    workers.chief_does(lambda: _list_left_out(experiment.workdir, left_out, split))
    parts = clip_parts(dataset, split, source, experiment)
    clips = ", ".join(f"{len(ids)} {name}" for name, ids in parts.items())
    log.info("%s %s: clips: %s; %d left out", dataset.name, experiment.protocol, clips, len(left_out))
    return parts


def _list_left_out(workdir: Path, left_out: Sequence[LeftOut], split: Split) -> None:
    workdir.mkdir(parents=True, exist_ok=True)
    sides = {**dict.fromkeys(split.train, "train"), **dict.fromkeys(split.test, "test"), **split.left_out}
    write_left_out(workdir / "left_out.csv", left_out, side_of=lambda clip: sides.get(clip, ""))
