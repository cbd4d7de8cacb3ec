"""SBU Kinect Interaction (version 2.0, clean): 282 clips of two people, 8 interactions, 21 pairs of actors.

K. Yun, J. Honorio, D. Chattopadhyay, T. L. Berg, D. Samaras, "Two-person Interaction Detection Using Body-Pose Features and
Multiple Instance Learning", CVPR Workshop on Human Activity Understanding from 3D Data (HAU3D), 2012. Page and README:
https://www3.cs.stonybrook.edu/~kyun/research/kinect_interaction/index.html. Free for research with citation of the paper; the
page offers one zip file per pair of actors.

    sXXsYY/CC/NNN/skeleton_pos.txt   actor XX acts, actor YY reacts; class CC from 01; repetition NNN

A row of a file, separated by commas: frame number, then x, y, z of 15 OpenNI joints of the left person and of the right person.
x and y are normalised to the depth image (y down, sometimes outside 0 to 1), z is not a length either; README:

    x' = 1280 − 2560 x,   y' = 960 − 1920 y,   z' = 10000 z / 7.8125   (millimetres; y up)
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from keras_actrec.datasets.counts import CountMismatch, count_mismatches
from keras_actrec.datasets.files import FILE_FIX, add_clip, number_rows, text_lines, walk_folders
from keras_actrec.datasets.record import ClipRecord, LeftOut, Split
from keras_actrec.errors import DatasetError, SkeletonFormatError
from keras_actrec.skeletons.cleaning import CleaningConfig
from keras_actrec.skeletons.layouts import SBU_15
from keras_actrec.skeletons.sequence import SkeletonSequence

SBU_CLASSES = (
    "approaching", "departing", "kicking", "pushing", "shaking hands", "hugging", "exchanging objects", "punching",
)  # fmt: skip
"""Class names in the order of the folders 01 to 08."""

SETS = (
    "s01s02", "s01s03", "s01s07", "s02s01", "s02s03", "s02s06", "s02s07", "s03s02", "s03s04", "s03s05", "s03s06",
    "s04s02", "s04s03", "s04s06", "s05s02", "s05s03", "s06s02", "s06s03", "s06s04", "s07s01", "s07s03",
)  # fmt: skip
"""The 21 pairs of actors; the folds of the README count them from 1."""

FOLDS = ((1, 9, 15, 19), (5, 7, 10, 16), (2, 3, 20, 21), (4, 6, 8, 11), (12, 13, 14, 17, 18))
"""Sets that test in each of the five folds; the other sets train (README)."""

REPETITIONS = (
    "22221132", "22221113", "22221122", "33311121", "22220121", "22221122", "22321122", "22211122", "22221122",
    "12221122", "22120122", "22121122", "22221122", "22221122", "22230102", "22121112", "22121121", "22221120",
    "22221122", "22221122", "22221122",
)  # fmt: skip
"""Of each of `SETS`, how often its actors do each class, 01 to 08: 22221132 is 2 times 01, …, 3 times 07, 2 times 08."""

CLIPS = 282
FOLD_CLIPS = (55, 52, 56, 54, 65)
EXPECTED_CLIPS = {
    (f"fold{fold}", side): CLIPS - number if side == "train" else number
    for fold, number in enumerate(FOLD_CLIPS, start=1)
    for side in ("train", "test")
}
"""Clips of the whole data set."""

FRAME_RATE = 15.0
PEOPLE = 2
FILE_NAME = "skeleton_pos.txt"
FOLDERS = f"folders sXXsYY/CC/NNN with a {FILE_NAME} each"
GET_IT = "download SBU Kinect Interaction v2.0 (https://www3.cs.stonybrook.edu/~kyun/research/kinect_interaction/)"

_FOLDER = re.compile(r"(s(\d\d)s\d\d)/(\d\d)/(\d\d\d)", re.ASCII)


class SBUKinect:
    """The clips below a data root: every `sXXsYY/CC/NNN/skeleton_pos.txt` in any folder, as the zip files unpack.

    Record: `clip_id` s01s02_03_001, `subject` the actor that acts, `setup` the number of the set from 1 (`SETS`), no camera.
    The colour images are not used: `video` is None.

    Args:
        root: the folder. Links are followed.

    Attributes:
        records: the clips, sorted by name.
        left_out: clips of sets or classes that the data set does not have.

    Raises:
        DatasetError: no such folder, no clip in it, or the same clip in two places.
    """

    name = "sbu"
    metrics = ("accuracy",)

    def __init__(self, root: str | Path):
        self.root = Path(root)
        self.class_names = SBU_CLASSES
        self.cleaning = CleaningConfig(find_people=False)
        clips: dict[str, Path] = {}
        for folder, names in walk_folders(self.root, expected=FOLDERS, fix=GET_IT):
            if FILE_NAME in names and (match := _FOLDER.fullmatch("/".join(folder.parts[-3:]))):
                add_clip(clips, "_".join(match.group(1, 3, 4)), folder / FILE_NAME)
        records, left_out = [], []
        for clip_id, file in sorted(clips.items()):
            reason = _why_left_out(clip_id)
            if reason:
                left_out.append(LeftOut(clip_id, "index", reason, str(file)))
            else:
                records.append(_record(clip_id, file))
        self.records: tuple[ClipRecord, ...] = tuple(records)
        self.left_out: tuple[LeftOut, ...] = tuple(left_out)
        if not records:
            found = f"{len(left_out)} clips of other sets or classes" if left_out else f"no {FILE_NAME} in such a folder"
            raise DatasetError(
                "no clip of SBU Kinect Interaction in the data root", file=self.root, found=found, expected=FOLDERS, fix=GET_IT
            )

    def load_skeleton(self, record: ClipRecord) -> SkeletonSequence:
        """Reads the record's file. Raises SkeletonFormatError, see `read_sbu_skeleton`."""
        return read_sbu_skeleton(record.skeleton)

    def protocols(self) -> Mapping[str, Split]:
        """ "fold1" to "fold5": the sets of one fold test, the other sets train."""
        return _folds([record.clip_id for record in self.records])

    def count_mismatches(self) -> tuple[CountMismatch, ...]:
        """Sides of folds that do not have the clips of the whole data set."""
        folds = _folds(published_clips())
        published = {(fold, side): getattr(split, side) for fold, split in folds.items() for side in ("train", "test")}
        return count_mismatches(self.protocols(), EXPECTED_CLIPS, published)


def published_clips() -> tuple[str, ...]:
    """The ids of the 282 clips of the whole data set, sorted."""
    return tuple(
        f"{pair}_{number:02d}_{repetition:03d}"
        for pair, repetitions in zip(SETS, REPETITIONS, strict=True)
        for number, count in enumerate(repetitions, start=1)
        for repetition in range(1, int(count) + 1)
    )


def _folds(clip_ids: Sequence[str]) -> dict[str, Split]:
    folds = {}
    for number, fold in enumerate(FOLDS, start=1):
        pairs = {SETS[place - 1] for place in fold}
        sides: dict[bool, list[str]] = {True: [], False: []}
        for clip_id in clip_ids:
            sides[clip_id.split("_")[0] in pairs].append(clip_id)
        folds[f"fold{number}"] = Split(tuple(sides[False]), tuple(sides[True]))
    return folds


def _why_left_out(clip_id: str) -> str:
    pair, number, _ = clip_id.split("_")
    if pair not in SETS:
        return f"the data set has no set {pair}, and its folds do not say where it belongs"
    if not 1 <= int(number) <= len(SBU_CLASSES):
        return f"the data set has no class {number}"
    return ""


def _record(clip_id: str, file: Path) -> ClipRecord:
    pair, number, _ = clip_id.split("_")
    return ClipRecord(
        clip_id=clip_id,
        label=int(number) - 1,
        subject=int(pair[1:3]),
        camera=0,
        setup=SETS.index(pair) + 1,
        skeleton=file,
        video=None,
        frame_rate=FRAME_RATE,
        layout=SBU_15,
    )


def read_sbu_skeleton(path: str | Path) -> SkeletonSequence:
    """Reads a `skeleton_pos.txt`.

    Args:
        path: the file.

    Returns:
        Joints (T, 2, 15, 3) in metres, y up. A body whose values are all exactly 0 is absent (NaN); a joint with a value that
        is not finite is unknown (NaN).

    Raises:
        SkeletonFormatError: the file cannot be read or is empty, a line does not hold 91 numbers, or the frame numbers do not
            go up; the message names the line.
    """
    path = Path(path)
    lines = text_lines(path)
    if not lines:
        raise SkeletonFormatError("the file is empty", file=path, found="no text", expected="a line per frame", fix=FILE_FIX)
    rows = number_rows(path, lines, 1 + PEOPLE * len(SBU_15) * 3)
    back = np.flatnonzero(~(rows[1:, 0] > rows[:-1, 0]))
    if len(back):
        line = int(back[0]) + 1
        raise SkeletonFormatError(
            "the frame numbers do not go up", file=path, place=f"line {line + 1}", found=f"{rows[line, 0]:g}",
            expected=f"more than {rows[line - 1, 0]:g}", fix=FILE_FIX,
        )  # fmt: skip
    raw = rows[:, 1:].reshape(len(rows), PEOPLE, len(SBU_15), 3)
    absent = (raw == 0).all(axis=(2, 3))
    with np.errstate(over="ignore", invalid="ignore"):  # what float32 cannot hold becomes infinite, which is unknown
        joints = ((np.array([1280, 960, 0]) + raw * np.array([-2560, -1920, 10000 / 7.8125])) / 1000).astype(np.float32)
    joints[absent] = np.nan
    joints[~np.isfinite(joints).all(axis=-1)] = np.nan
    return SkeletonSequence(joints, SBU_15)
