"""NTU RGB+D (60 classes): clip names, protocols, and the index of a folder with its files.

A. Shahroudy, J. Liu, T.-T. Ng, G. Wang, "NTU RGB+D: A Large Scale Dataset for 3D Human Activity Analysis", CVPR 2016.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import astuple, dataclass
from functools import cache
from importlib import resources
from pathlib import Path
from typing import NoReturn

import pandas as pd

from keras_actrec.datasets.ntu_classes import NTU60_CLASSES
from keras_actrec.datasets.ntu_skeleton import read_ntu_skeleton
from keras_actrec.datasets.record import ClipRecord, LeftOut, Split
from keras_actrec.errors import ConfigError, DatasetError
from keras_actrec.skeletons.layout import KINECT_V2
from keras_actrec.skeletons.sequence import SkeletonSequence

TRAINING_SUBJECTS = frozenset({1, 2, 4, 5, 8, 9, 13, 14, 15, 16, 17, 18, 19, 25, 27, 28, 31, 34, 35, 38})
TRAINING_CAMERAS = frozenset({2, 3})
SUBJECTS = range(1, 41)
CAMERAS = range(1, 4)
FRAME_RATE = 30.0

EXPECTED_CLIPS = {
    ("cross_subject", "train"): 40320,
    ("cross_subject", "test"): 16560,
    ("cross_view", "train"): 37920,
    ("cross_view", "test"): 18960,
    ("all", "all"): 56880,
}
"""Clips of the whole data set, before the samples with missing skeletons are taken out."""

SKELETON_SUFFIX = ".skeleton"
VIDEO_SUFFIX = "_rgb.avi"
MODALITIES = ("both", "skeleton")
FOLDERS = f"a folder with *{SKELETON_SUFFIX} and *{VIDEO_SUFFIX} files, as ROOT/nturgb+d_skeletons and ROOT/nturgb+d_rgb"

_NAME = re.compile(r"S(\d{3})C(\d{3})P(\d{3})R(\d{3})A(\d{3})", re.ASCII)


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


def cross_subject(names: Iterable[str]) -> Split:
    """Splits clip names by performer: 20 of the 40 train, the others test. Raises DatasetError for a performer above 40."""
    return _split(names, "subject", SUBJECTS, TRAINING_SUBJECTS)


def cross_view(names: Iterable[str]) -> Split:
    """Splits clip names by camera: 2 and 3 train, 1 tests. Raises DatasetError for a camera above 3."""
    return _split(names, "camera", CAMERAS, TRAINING_CAMERAS)


PROTOCOLS = {"cross_subject": cross_subject, "cross_view": cross_view}


def _split(names: Iterable[str], part: str, known: range, training: frozenset[int]) -> Split:
    train, test = [], []
    for name in names:
        number = getattr(ClipName.parse(name), part)
        if number not in known:
            raise DatasetError(
                f"the protocols of NTU RGB+D do not know this {part}",
                place=name,
                found=number,
                expected=f"{known[0]} to {known[-1]}",
                fix="leave out clips of other data sets, such as NTU RGB+D 120",
            )
        (train if number in training else test).append(name)
    return Split(tuple(train), tuple(test))


@cache
def missing_skeletons() -> frozenset[str]:
    """Names of the 302 samples with missing or incomplete skeletons, as published by the authors of the data set."""
    file = resources.files("keras_actrec.datasets").joinpath("data", "ntu60_missing_skeletons.txt")
    lines = file.read_text(encoding="ascii").splitlines()
    return frozenset(line for line in lines if line and not line.startswith("#"))


_GET_IT = "get it from the data set, or leave the clip out"


class NTURGBD:
    """The clips below a data root: every `NAME.skeleton` and `NAME_rgb.avi` in any folder, e.g. the data set's own
    `nturgb+d_skeletons` and `nturgb+d_rgb`.

    Args:
        root: the folder. Links are followed.
        class_names: names of the classes A001, A002, …; other than NTU60_CLASSES for data in the same format.
        modality: "both" (a clip needs its skeleton and its video) or "skeleton" (a clip needs its skeleton only).

    Attributes:
        records: the clips that can be used, sorted by name.
        left_out: the clips that cannot, and why: listed as missing by the authors, no skeleton file, no video file.
        ignored: files with one of the two suffixes whose names are no clip names.

    Raises:
        ConfigError: unknown modality, no class name.
        DatasetError: no such folder, no clip in it or none that can be used, the same file of a clip in two places, or an
            action above the number of classes.
    """

    name = "ntu_rgbd"

    def __init__(self, root: str | Path, *, class_names: Sequence[str] = NTU60_CLASSES, modality: str = "both"):
        if modality not in MODALITIES:
            raise ConfigError("unknown modality", found=repr(modality), expected=f"one of {', '.join(MODALITIES)}")
        if not class_names:
            raise ConfigError("a data set needs classes", found="no class name", expected="at least one")
        self.root, self.modality = Path(root), modality
        self.class_names = tuple(class_names)
        files, self.ignored = _find_files(self.root)
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
        """ "cross_subject" and "cross_view", each restricted to `records`."""
        names = [record.clip_id for record in self.records]
        return {protocol: split(names) for protocol, split in PROTOCOLS.items()}

    def counts(self) -> pd.DataFrame:
        """How many clips each side of each protocol has, against the whole data set.

        Returns:
            Rows (protocol, side), and (all, all). Columns: found, kept, left_out, expected_found and expected_kept: what the
            whole data set has before and after the 302 samples go; not known (NA) with other classes than NTU60_CLASSES.
        """
        kept = _count([record.clip_id for record in self.records])
        left_out = _count([clip.clip_id for clip in self.left_out])
        table = pd.DataFrame({"kept": kept, "left_out": left_out})
        table.insert(0, "found", table.kept + table.left_out)
        table["expected_found"] = pd.Series(EXPECTED_CLIPS)
        table["expected_kept"] = table.expected_found - _count(missing_skeletons())
        table = table.astype("Int64").rename_axis(index=["protocol", "side"])
        if self.class_names != NTU60_CLASSES:
            table[["expected_found", "expected_kept"]] = pd.NA
        return table

    def _record(self, clip: ClipName, files: Mapping[str, Path]) -> ClipRecord:
        if clip.action > len(self.class_names):
            raise DatasetError(
                "the class count does not fit the clips",
                file=next(iter(files.values())),
                found=f"action {clip.action}",
                expected=f"1 to {len(self.class_names)}",
                fix="give a class name for every action, or take the clips of other classes out of the data root",
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
        if record.clip_id in missing_skeletons():
            return "listed by the data set's authors among the samples with missing skeletons"
        if record.skeleton is None:
            return f"no skeleton file: {_GET_IT}"
        if record.video is None and self.modality == "both":
            return f"no video file: {_GET_IT}"
        return ""

    def _check_found(self, files: Mapping) -> None:
        if not files:
            found = f"{len(self.ignored)} files with other names" if self.ignored else "no such file"
            self._fail("no clip of NTU RGB+D in the data root", found=found)

    def _check_kept(self) -> None:
        if not self.records:
            reasons = pd.Series([clip.reason for clip in self.left_out]).value_counts()
            found = "; ".join(f"{number} clips: {reason}" for reason, number in reasons.items())
            self._fail("no clip in the data root can be used", found=found)

    def _fail(self, problem: str, *, found: str) -> NoReturn:
        fix = 'give the folder that holds them as data root (modality="skeleton" needs no videos)'
        raise DatasetError(problem, file=self.root, found=found, expected=FOLDERS, fix=fix)


def _count(names: Iterable[str]) -> pd.Series:
    names = tuple(names)
    counts = {("all", "all"): len(names)}
    for protocol, split in PROTOCOLS.items():
        sides = split(names)
        counts[protocol, "train"], counts[protocol, "test"] = len(sides.train), len(sides.test)
    return pd.Series(counts).reindex(list(EXPECTED_CLIPS))


def _find_files(root: Path) -> tuple[dict[ClipName, dict[str, Path]], tuple[Path, ...]]:
    """Clip name → suffix → file; and the files with these suffixes whose names are no clip names."""
    if not root.is_dir():
        raise DatasetError(
            "the data root is no folder", file=root, found="nothing" if not root.exists() else "a file", expected=FOLDERS,
            fix="download NTU RGB+D (https://rose1.ntu.edu.sg/dataset/actionRecognition/) and give its folder as data root",
        )  # fmt: skip
    files: dict[ClipName, dict[str, Path]] = {}
    ignored = []
    for path in _walk(root):
        suffix = SKELETON_SUFFIX if path.name.endswith(SKELETON_SUFFIX) else VIDEO_SUFFIX
        try:
            clip = ClipName.parse(path.name.removesuffix(suffix))
        except DatasetError:
            ignored.append(path)
            continue
        other = files.setdefault(clip, {}).setdefault(suffix, path)
        if other != path:
            raise DatasetError(
                "the same file of a clip is in two places", file=path, found=f"also {other}", expected="one",
                fix="take one of the two out of the data root",
            )  # fmt: skip
    return files, tuple(ignored)


def _walk(root: Path) -> Iterator[Path]:
    """Skeleton and video files below root, in sorted order; each folder once, even where links form a circle."""
    seen = set()
    for folder, folders, names in os.walk(root, followlinks=True, onerror=_unreadable):
        real = os.path.realpath(folder)
        if real in seen:
            folders.clear()
            continue
        seen.add(real)
        folders.sort()
        yield from (Path(folder, name) for name in sorted(names) if name.endswith((SKELETON_SUFFIX, VIDEO_SUFFIX)))


def _unreadable(error: OSError) -> NoReturn:
    raise DatasetError(
        "a folder of the data root cannot be read", file=error.filename, found=error.strerror, fix="give read access to it"
    ) from error
