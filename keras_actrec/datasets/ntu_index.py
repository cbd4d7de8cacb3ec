"""What NTU RGB+D and NTU RGB+D 120 share: clip names, protocols by a number in the name, and the index of a data root."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import astuple, dataclass
from functools import cached_property
from itertools import product
from pathlib import Path
from typing import ClassVar, NoReturn

import pandas as pd

from keras_actrec.datasets.clip_files import find_clip_files
from keras_actrec.datasets.counts import CountMismatch, count_mismatches
from keras_actrec.datasets.files import published_lines
from keras_actrec.datasets.ntu_skeleton import read_ntu_skeleton
from keras_actrec.datasets.record import ClipRecord, LeftOut, Split
from keras_actrec.errors import ConfigError, DatasetError
from keras_actrec.skeletons.cleaning import CleaningConfig
from keras_actrec.skeletons.layout import KINECT_V2
from keras_actrec.skeletons.sequence import SkeletonSequence

FRAME_RATE = 30.0
SKELETON_SUFFIX = ".skeleton"
VIDEO_SUFFIX = "_rgb.avi"
MODALITIES = ("both", "skeleton")
CAMERAS = range(1, 4)
REPLICATIONS = range(1, 3)
FOLDERS = f"a folder with *{SKELETON_SUFFIX} and *{VIDEO_SUFFIX} files, as ROOT/nturgb+d_skeletons and ROOT/nturgb+d_rgb"

_NAME = re.compile(r"S(\d{3})C(\d{3})P(\d{3})R(\d{3})A(\d{3})", re.ASCII)
_GET_IT = "get it from the data set, or leave the clip out"


@dataclass(frozen=True, order=True)
class ClipName:
    """The name of a clip: S001C002P003R002A013 is setup 1, camera 2, subject (performer) 3, replication 2, action 13."""

    setup: int
    camera: int
    subject: int
    replication: int
    action: int

    @classmethod
    def parse(cls, name: str) -> ClipName:
        """Reads a name without folder and suffix. Raises DatasetError for anything that is not a name."""
        match = _NAME.fullmatch(name)
        if not match or "000" in match.groups():
            raise DatasetError(
                "not a clip name of NTU RGB+D",
                found=repr(name),
                expected="SsssCcccPpppRrrrAaaa, numbers from 001",
                fix="rename the file, or take it out of the data root",
            )
        return cls(*map(int, match.groups()))

    def __str__(self) -> str:
        return "S{:03d}C{:03d}P{:03d}R{:03d}A{:03d}".format(*astuple(self))

    @property
    def label(self) -> int:
        """Class index from 0."""
        return self.action - 1


@dataclass(frozen=True)
class NTUProtocol:
    """A protocol in which one number of the clip's name decides between training and test.

    Attributes:
        part: the number: "subject", "camera" or "setup".
        known: the numbers that the data set has.
        training: those that train; the others test.
    """

    part: str
    known: range
    training: frozenset[int]

    def side(self, number: int) -> str:
        """ "train" or "test"."""
        return "train" if number in self.training else "test"


@dataclass(frozen=True)
class NTUPart:
    """Setups in which every subject does every action in both replications before all three cameras: no clip is left open.

    Attributes:
        subjects: setup → numbers of the subjects.
        actions: numbers of the actions.
    """

    subjects: Mapping[int, tuple[int, ...]]
    actions: range

    def takes(self) -> Iterator[tuple[ClipName, list[str]]]:
        """The names of the clips that differ in their action only, together with the first of these clips."""
        actions = [f"A{action:03d}" for action in self.actions]
        for setup, subjects in self.subjects.items():
            for camera, subject, replication in product(CAMERAS, subjects, REPLICATIONS):
                first = ClipName(setup, camera, subject, replication, self.actions[0])
                start = str(first)[: -len(actions[0])]
                yield first, [start + action for action in actions]


@dataclass(frozen=True)
class NTUEdition:
    """One of the two data sets, as it was published.

    Attributes:
        title: the name in messages.
        class_names: by label.
        protocols: by name.
        parts: the setups with their subjects and actions.
        published: (protocol, side), and ("all", "all") → clips, before the samples with missing skeletons are taken out.
        missing_file: file in `datasets/data` that names the samples with missing skeletons.
        other_clips: the way out for clips that are not of this data set.
    """

    title: str
    class_names: tuple[str, ...]
    protocols: Mapping[str, NTUProtocol]
    parts: tuple[NTUPart, ...]
    published: Mapping[tuple[str, str], int]
    missing_file: str
    other_clips: str

    @cached_property
    def missing_skeletons(self) -> frozenset[str]:
        """Names of the samples with missing or incomplete skeletons."""
        return frozenset(published_lines(self.missing_file))

    @cached_property
    def published_kept(self) -> Mapping[tuple[str, str], int]:
        """As `published`, after the samples with missing skeletons are taken out."""
        gone = self.count(self.missing_skeletons)
        return {side: number - gone[side] for side, number in self.published.items()}

    def published_names(self) -> Mapping[tuple[str, str], list[str]]:
        """(protocol, side) → names of the clips that `published_kept` counts."""
        names: dict[tuple[str, str], list[str]] = {side: [] for side in product(self.protocols, ("train", "test"))}
        for part in self.parts:
            for first, clips in part.takes():
                kept = [clip for clip in clips if clip not in self.missing_skeletons]
                for protocol, rule in self.protocols.items():
                    names[protocol, rule.side(getattr(first, rule.part))] += kept
        return names

    def split(self, protocol: str, names: Iterable[str]) -> Split:
        """Splits clip names. Raises DatasetError for a number that the protocol does not know."""
        rule = self.protocols[protocol]
        sides: dict[str, list[str]] = {"train": [], "test": []}
        for name in names:
            number = getattr(ClipName.parse(name), rule.part)
            if number not in rule.known:
                raise DatasetError(
                    f"the protocols of {self.title} do not know this {rule.part}",
                    place=name,
                    found=number,
                    expected=f"{rule.known[0]} to {rule.known[-1]}",
                    fix=self.other_clips,
                )
            sides[rule.side(number)].append(name)
        return Split(tuple(sides["train"]), tuple(sides["test"]))

    def count(self, names: Iterable[str]) -> dict[tuple[str, str], int]:
        """How many of the names each side of each protocol has, and ("all", "all")."""
        names = tuple(names)
        counts = {("all", "all"): len(names)}
        for protocol in self.protocols:
            sides = self.split(protocol, names)
            counts[protocol, "train"], counts[protocol, "test"] = len(sides.train), len(sides.test)
        return counts


class NTUDataset:
    """The clips below a data root: every `NAME.skeleton` and `NAME_rgb.avi` in any folder, e.g. the data set's own
    `nturgb+d_skeletons` and `nturgb+d_rgb`. The base of `NTURGBD` and `NTURGBD120`, which say which edition it is.

    Args:
        root: the folder. Links are followed.
        class_names: names of the classes A001, A002, …; None: the data set's own. Others for data in the same format.
        modality: "both" (a clip needs its skeleton and its video) or "skeleton" (a clip needs its skeleton only).

    Attributes:
        records: the clips that can be used, sorted by name.
        left_out: the clips that cannot, and why: listed as missing by the authors, no skeleton file, no video file.
        ignored: files with one of the two suffixes whose names are no clip names.
        cleaning: how the sensor's bodies become people.

    Raises:
        ConfigError: unknown modality, no class name.
        DatasetError: no such folder, no clip in it or none that can be used, the same file of a clip in two places, or an
            action above the number of classes.
    """

    name: ClassVar[str]
    edition: ClassVar[NTUEdition]
    metrics = ("accuracy",)
    cleaning = CleaningConfig()

    def __init__(self, root: str | Path, *, class_names: Sequence[str] | None = None, modality: str = "both"):
        if modality not in MODALITIES:
            raise ConfigError("unknown modality", found=repr(modality), expected=f"one of {', '.join(MODALITIES)}")
        self.class_names = self.edition.class_names if class_names is None else tuple(class_names)
        if not self.class_names:
            raise ConfigError("a data set needs classes", found="no class name", expected="at least one")
        self.root, self.modality = Path(root), modality
        files, self.ignored = find_clip_files(
            self.root, (SKELETON_SUFFIX, VIDEO_SUFFIX), ClipName.parse, expected=FOLDERS,
            fix=f"download {self.edition.title} (https://rose1.ntu.edu.sg/dataset/actionRecognition/) and give its folder as "
            "data root",
        )  # fmt: skip
        self._check_found(files)
        records, left_out = [], []
        for clip in sorted(files):
            record = self._record(clip, files[clip])
            reason = self._why_left_out(record)
            if reason:
                first = record.skeleton or record.video
                left_out.append(LeftOut(record.clip_id, "index", reason, str(first)))
            else:
                records.append(record)
        self.records: tuple[ClipRecord, ...] = tuple(records)
        self.left_out: tuple[LeftOut, ...] = tuple(left_out)
        self._check_kept()

    def load_skeleton(self, record: ClipRecord) -> SkeletonSequence:
        """Reads the record's skeleton file as it is. Raises SkeletonFormatError, see `read_ntu_skeleton`."""
        return read_ntu_skeleton(record.skeleton)

    def protocols(self) -> Mapping[str, Split]:
        """The data set's two protocols by name, each restricted to `records`."""
        names = [record.clip_id for record in self.records]
        return {protocol: self.edition.split(protocol, names) for protocol in self.edition.protocols}

    def count_mismatches(self) -> tuple[CountMismatch, ...]:
        """Sides of protocols whose usable clips are not those of the whole data set without the samples with missing
        skeletons. Empty with other classes than the data set's own.
        """
        if self.class_names != self.edition.class_names:
            return ()
        expected = {side: number for side, number in self.edition.published_kept.items() if side[0] in self.edition.protocols}
        return count_mismatches(self.protocols(), expected, self.edition.published_names())

    def counts(self) -> pd.DataFrame:
        """How many clips each side of each protocol has, against the whole data set.

        Returns:
            Rows (protocol, side), and (all, all). Columns: found, kept, left_out, expected_found and expected_kept: what the
            whole data set has before and after the samples with missing skeletons go; not known (NA) with other classes than
            the data set's own.
        """
        kept = pd.Series(self.edition.count(record.clip_id for record in self.records))
        left_out = pd.Series(self.edition.count(clip.clip_id for clip in self.left_out))
        table = pd.DataFrame({"kept": kept, "left_out": left_out}).reindex(list(self.edition.published))
        table.insert(0, "found", table.kept + table.left_out)
        table["expected_found"] = pd.Series(self.edition.published)
        table["expected_kept"] = pd.Series(self.edition.published_kept)
        table = table.astype("Int64").rename_axis(index=["protocol", "side"])
        if self.class_names != self.edition.class_names:
            table[["expected_found", "expected_kept"]] = pd.NA
        return table

    def _record(self, clip: ClipName, files: Mapping[str, Path]) -> ClipRecord:
        if clip.action > len(self.class_names):
            raise DatasetError(
                "the class count does not fit the clips",
                file=next(iter(files.values())),
                found=f"action {clip.action}",
                expected=f"1 to {len(self.class_names)}",
                fix=f"give a class name for every action, or {self.edition.other_clips}",
            )
        return ClipRecord(
            clip_id=str(clip),
            label=clip.label,
            subject=clip.subject,
            camera=clip.camera,
            setup=clip.setup,
            skeleton=files.get(SKELETON_SUFFIX),
            video=files.get(VIDEO_SUFFIX),
            frame_rate=FRAME_RATE,
            layout=KINECT_V2,
        )

    def _why_left_out(self, record: ClipRecord) -> str:
        if record.clip_id in self.edition.missing_skeletons:
            return "listed by the data set's authors among the samples with missing skeletons"
        if record.skeleton is None:
            return f"no skeleton file: {_GET_IT}"
        if record.video is None and self.modality == "both":
            return f"no video file: {_GET_IT}"
        return ""

    def _check_found(self, files: Mapping) -> None:
        if not files:
            found = f"{len(self.ignored)} files with other names" if self.ignored else "no such file"
            self._fail(f"no clip of {self.edition.title} in the data root", found=found)

    def _check_kept(self) -> None:
        if not self.records:
            reasons = Counter(clip.reason for clip in self.left_out).most_common()
            self._fail(
                "no clip in the data root can be used", found="; ".join(f"{number} clips: {why}" for why, number in reasons)
            )

    def _fail(self, problem: str, *, found: str) -> NoReturn:
        fix = 'give the folder that holds them as data root (modality="skeleton" needs no videos)'
        raise DatasetError(problem, file=self.root, found=found, expected=FOLDERS, fix=fix)
