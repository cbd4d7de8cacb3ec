"""What every data set module gives: clip records, protocols, and the clips that were left out and why."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from keras_actrec.skeletons.cleaning import CleaningConfig
from keras_actrec.skeletons.layout import SkeletonLayout
from keras_actrec.skeletons.sequence import SkeletonSequence

NAMES_SHOWN = 10


@dataclass(frozen=True)
class ClipRecord:
    """One clip of a data set.

    Attributes:
        clip_id: unique name, e.g. S001C001P001R001A001.
        label: class index from 0.
        subject, camera, setup: numbers as the data set counts them; 0 where it has none.
        skeleton, video: files; None where the clip has none.
        frame_rate: frames per second.
        layout: joint layout of the skeleton file.
    """

    clip_id: str
    label: int
    subject: int
    camera: int
    setup: int
    skeleton: Path | None
    video: Path | None
    frame_rate: float
    layout: SkeletonLayout


@dataclass(frozen=True)
class LeftOut:
    """A clip that is not used, where that was noticed (index, poses, hand_features), and why."""

    clip_id: str
    stage: str
    reason: str
    file: str = ""


@dataclass(frozen=True)
class Split:
    """Clip ids of one protocol; no id is in both.

    Attributes:
        train, test: the clips that can be used.
        left_out: clip that the data set left out → its side, "train" or "test", where that is known.
    """

    train: tuple[str, ...]
    test: tuple[str, ...]
    left_out: Mapping[str, str] = field(default_factory=dict, compare=False)


@dataclass(frozen=True)
class CountMismatch:
    """One side of a protocol that does not have the published number of clips.

    Attributes:
        protocol, side: e.g. "fold1", "test"; or `keras_actrec.datasets.counts.BOTH_SIDES`.
        found, expected: clips here, and published.
        missing: published clips that are not here, where the data set's clips are known by name.
        unexpected: clips here that were not published, where they are known by name.
    """

    protocol: str
    side: str
    found: int
    expected: int
    missing: tuple[str, ...] = ()
    unexpected: tuple[str, ...] = ()

    def __str__(self) -> str:
        text = f"{self.protocol} {self.side}: {self.found} clips, {self.expected} were published"
        for name, clips in (("missing", self.missing), ("unexpected", self.unexpected)):
            if clips:
                more = f" and {len(clips) - NAMES_SHOWN} more" if len(clips) > NAMES_SHOWN else ""
                text += f"; {name}: {', '.join(clips[:NAMES_SHOWN])}{more}"
        return text


class ActionDataset(Protocol):
    """The interface of a data set module: `keras_actrec.datasets.*`. It never touches HDF5 or Keras.

    Attributes:
        name: as in result files, e.g. "sbu".
        class_names: by label.
        metrics: what is reported of this data set, the one that papers compare first: names in result files.
        root: its folder.
        records: the clips that can be used, sorted by id.
        left_out: the clips that cannot, and why.
        cleaning: how its skeletons are cleaned unless an experiment says otherwise.
    """

    name: str
    class_names: Sequence[str]
    metrics: tuple[str, ...] = ("accuracy",)
    root: Path
    records: Sequence[ClipRecord]
    left_out: Sequence[LeftOut]
    cleaning: CleaningConfig

    def load_skeleton(self, record: ClipRecord) -> SkeletonSequence:
        """Reads the record's skeleton file, raw: no cleaning."""

    def protocols(self) -> Mapping[str, Split]:
        """Protocol name → clip ids, among `records`."""

    def count_mismatches(self) -> tuple[CountMismatch, ...]:
        """Sides of protocols whose clips are not the published ones, see `keras_actrec.datasets.counts`."""
