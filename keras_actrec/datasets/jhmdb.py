"""JHMDB and Sub-JHMDB: clip lists, joints, and the index of a folder with them.

H. Jhuang, J. Gall, S. Zuffi, C. Schmid, M. J. Black, "Towards Understanding Action Recognition", ICCV 2013. 928 clips of 21
classes of HMDB51, 15 to 40 frames each, 320×240 pixels, 30 frames per second, with the joints of one person in every frame.
Sub-JHMDB is the 316 clips of 12 classes in which the whole body is in the picture; it has split lists of its own.

To be had from http://jhmdb.is.tue.mpg.de (for research, with citation of the paper; the videos are HMDB51's, CC BY 4.0). Unpack
into one folder

    joint_positions/CLASS/CLIP/joint_positions.mat     joint_positions.zip
    ReCompress_Videos/CLASS/CLIP.avi                   JHMDB_video.zip
    Rename_Images/CLASS/CLIP/00001.png, …              Rename_Images.tar.gz: used where there is no .avi
    splits/CLASS_test_splitK.txt                       splits.zip
    sub_splits/CLASS_test_split_K.txt                  sub_splits.zip (it has no folder of its own: unpack it into sub_splits)

A line of a list is "CLIP.avi 1" (train) or "CLIP.avi 2" (test). In a `joint_positions.mat`, `pos_img` (2, 15, T) is x and y in
pixels of the video, **y down**; joints out of the picture are where the annotator's puppet has them. `pos_world` (2, 15, T) is
the same about the middle of the picture, in parts of its height and of the person's `scale` (1, T):
((x / 320 - 1/2) · 320 / 240, y / 240 - 1/2) / scale. `viewpoint` is text. Only `pos_img` is read here; some copies of the files
have no `scale` and no `viewpoint`.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import NoReturn

import numpy as np

from keras_actrec.datasets.counts import BOTH_SIDES, CountMismatch, count_mismatches
from keras_actrec.datasets.files import FILE_FIX
from keras_actrec.datasets.mat_files import read_mat
from keras_actrec.datasets.record import ClipRecord, LeftOut, Split
from keras_actrec.errors import ConfigError, DatasetError, SkeletonFormatError
from keras_actrec.skeletons.cleaning import CleaningConfig
from keras_actrec.skeletons.layouts import JHMDB_15
from keras_actrec.skeletons.sequence import SkeletonSequence

JHMDB_CLASSES = (
    "brush_hair", "catch", "clap", "climb_stairs", "golf", "jump", "kick_ball", "pick", "pour", "pullup", "push", "run",
    "shoot_ball", "shoot_bow", "shoot_gun", "sit", "stand", "swing_baseball", "throw", "walk", "wave",
)  # fmt: skip
SUB_JHMDB_CLASSES = (
    "catch", "climb_stairs", "golf", "jump", "kick_ball", "pick", "pullup", "push", "run", "shoot_ball", "swing_baseball",
    "walk",
)  # fmt: skip

EXPECTED_CLIPS = MappingProxyType({
    ("split1", "train"): 660, ("split1", "test"): 268,
    ("split2", "train"): 658, ("split2", "test"): 270,
    ("split3", "train"): 663, ("split3", "test"): 265,
})  # fmt: skip
"""Clips of JHMDB's published lists."""

SUB_JHMDB_CLIPS = 316
SPLITS = (1, 2, 3)
SIDES = MappingProxyType({"1": "train", "2": "test"})
FRAME_RATE = 30.0

MODALITIES = ("both", "skeleton", "video")
JOINT_FILE, JOINTS_KEY = "joint_positions.mat", "pos_img"
FOLDERS = "a folder with joint_positions, ReCompress_Videos (or Rename_Images), and splits or sub_splits"
GET_IT = "get JHMDB (http://jhmdb.is.tue.mpg.de) and unpack its archives into the data root"

_LIST_NAME = re.compile(r"([a-z_]+)_test_split_?([123])\.txt", re.ASCII)
_LINE = re.compile(r"(\S+)\.avi\s+([12])")

Lists = dict[str, dict[str, str]]
"""Protocol → clip → "train" or "test"."""


def read_jhmdb_skeleton(path: str | Path) -> SkeletonSequence:
    """Reads the joints of a `joint_positions.mat`. A joint with a coordinate that is not finite is unknown: NaN.

    Args:
        path: the file.

    Returns:
        Joints (T, 1, 15, 3): x, y in pixels of the 320×240 video, y down, z = 0. Pixels (T, 1, 15, 2): x, y.

    Raises:
        SkeletonFormatError: the file cannot be read, or has no `pos_img` of at least one frame and of that shape.
    """
    path = Path(path)
    try:
        values = read_mat(path, [JOINTS_KEY]).get(JOINTS_KEY)
    except (OSError, ValueError) as error:
        found = getattr(error, "strerror", None) or str(error) or type(error).__name__
        raise SkeletonFormatError(
            "the joint file cannot be read", file=path, found=found, expected="a MATLAB file, version 5", fix=FILE_FIX
        ) from error
    expected = f"numbers (2, {len(JHMDB_15)}, frames)"
    if values is None or values.dtype.kind not in "iuf":
        found = "nothing" if values is None else f"type {values.dtype}"
        raise SkeletonFormatError("no joints", file=path, place=JOINTS_KEY, found=found, expected=expected, fix=FILE_FIX)
    if values.ndim == 2:  # MATLAB drops the last axis of a clip of one frame
        values = values[..., None]
    if values.shape[:2] != (2, len(JHMDB_15)) or values.ndim != 3 or not values.shape[2]:
        raise SkeletonFormatError(
            "the joints have the wrong shape", file=path, place=JOINTS_KEY, found=values.shape, expected=expected, fix=FILE_FIX
        )
    with np.errstate(over="ignore"):  # what float32 cannot hold becomes infinite, which is unknown
        pixels = values.astype(np.float32).transpose(2, 1, 0)[:, None]
    known = np.isfinite(pixels).all(axis=-1, keepdims=True)
    pixels = np.where(known, pixels, np.float32(np.nan))
    depth = np.where(known, np.float32(0), np.float32(np.nan))
    return SkeletonSequence(joints=np.concatenate([pixels, depth], axis=-1), layout=JHMDB_15, pixels=pixels)


class JHMDB:
    """The clips of the split lists in a data root, with their files.

    The names of the clips and the protocols "split1", "split2" and "split3" come from the root's own lists: without them there
    is no data set.

    Args:
        root: the folder. Links are followed.
        subset: Sub-JHMDB: the classes and lists of `sub_splits`.
        modality: "both" (a clip needs its joints and its video), "skeleton" (its joints only) or "video" (its video only,
            for networks that are tested without joints; `load_skeleton` then takes the records that have them).

    Attributes:
        name: "jhmdb" or "sub_jhmdb".
        records: the clips that can be used, sorted by name; no subject, camera or setup. `video` is the .avi, or the folder
            of images where there is none.
        left_out: the clips that cannot, and why: a file is absent, or it is in no list (JHMDB only; Sub-JHMDB's lists leave
            most clips out).

    Raises:
        ConfigError: unknown modality.
        DatasetError: no such folder, no split lists, a list that is incomplete or not of its format, or no clip that can be
            used.
    """

    metrics = ("accuracy",)
    cleaning = CleaningConfig(find_people=False)

    def __init__(self, root: str | Path, *, subset: bool = False, modality: str = "both"):
        if modality not in MODALITIES:
            raise ConfigError("unknown modality", found=repr(modality), expected=f"one of {', '.join(MODALITIES)}")
        self.root, self.subset, self.modality = Path(root), subset, modality
        self.name = "sub_jhmdb" if subset else "jhmdb"
        self.class_names: Sequence[str] = SUB_JHMDB_CLASSES if subset else JHMDB_CLASSES
        if not self.root.is_dir():
            found = "a file" if self.root.exists() else "nothing"
            raise DatasetError("the data root is no folder", file=self.root, found=found, expected=FOLDERS, fix=GET_IT)
        self._lists, classes = _read_lists(self.root / ("sub_splits" if subset else "splits"), self.class_names)
        unlisted = {} if subset else _clips_of_folders(self.root, self.class_names, known=classes)
        records, left_out = [], []
        for clip_id, action in sorted((classes | unlisted).items()):
            record = self._record(clip_id, action)
            reason = "in no split list" if clip_id in unlisted else self._why_left_out(record)
            if reason:
                left_out.append(LeftOut(clip_id, "index", reason, str(record.skeleton or record.video or "")))
            else:
                records.append(record)
        self.records: tuple[ClipRecord, ...] = tuple(records)
        self.left_out: tuple[LeftOut, ...] = tuple(left_out)
        if not records:
            reasons = Counter(clip.reason for clip in left_out).most_common()
            found = "; ".join(f"{number} clips: {reason}" for reason, number in reasons)
            fix = f'{GET_IT} (modality="skeleton" needs no videos, modality="video" no joints)'
            raise DatasetError("no clip in the data root can be used", file=root, found=found, expected=FOLDERS, fix=fix)

    def load_skeleton(self, record: ClipRecord) -> SkeletonSequence:
        """Reads the record's joints. Raises SkeletonFormatError, see `read_jhmdb_skeleton`; DatasetError where it has none."""
        if record.skeleton is None:
            raise DatasetError("the clip has no joints", place=record.clip_id, fix='leave it out with modality="both"')
        return read_jhmdb_skeleton(record.skeleton)

    def protocols(self) -> Mapping[str, Split]:
        """ "split1", "split2" and "split3", each restricted to `records`; they know the side of the others too."""
        names, others = [record.clip_id for record in self.records], [clip.clip_id for clip in self.left_out]
        return {
            protocol: Split(
                *(tuple(n for n in names if sides.get(n) == side) for side in ("train", "test")),
                left_out={n: sides[n] for n in others if sides.get(n) in ("train", "test")},
            )
            for protocol, sides in self._lists.items()
        }

    def count_mismatches(self) -> tuple[CountMismatch, ...]:
        """Sides of splits whose clips are not those of the lists, or do not have the published number.

        Published numbers of the sides are known of JHMDB. Of Sub-JHMDB the number of clips is: where a split's lists do not
        have 316, that is a mismatch of its side "train and test".
        """
        listed = {
            (protocol, side): [clip for clip, of in sides.items() if of == side]
            for protocol, sides in self._lists.items()
            for side in ("train", "test")
        }
        expected = {side: len(clips) for side, clips in listed.items()} if self.subset else EXPECTED_CLIPS
        found = count_mismatches(self.protocols(), expected, listed)
        if not self.subset:
            return found
        totals = {protocol: len(sides) for protocol, sides in self._lists.items()}
        return found + tuple(
            CountMismatch(protocol, BOTH_SIDES, total, SUB_JHMDB_CLIPS)
            for protocol, total in totals.items()
            if total != SUB_JHMDB_CLIPS
        )

    def _record(self, clip_id: str, action: str) -> ClipRecord:
        skeleton = self.root / "joint_positions" / action / clip_id / JOINT_FILE
        video = self.root / "ReCompress_Videos" / action / f"{clip_id}.avi"
        images = self.root / "Rename_Images" / action / clip_id
        return ClipRecord(
            clip_id=clip_id,
            label=self.class_names.index(action),
            subject=0,
            camera=0,
            setup=0,
            skeleton=skeleton if skeleton.is_file() else None,
            video=video if video.is_file() else images if images.is_dir() else None,
            frame_rate=FRAME_RATE,
            layout=JHMDB_15,
        )

    def _why_left_out(self, record: ClipRecord) -> str:
        if record.skeleton is None and self.modality != "video":
            return f"no {JOINT_FILE}: get it from the data set, or leave the clip out"
        if record.video is None and self.modality != "skeleton":
            return "no video file and no images: get one from the data set, or leave the clip out"
        return ""


def _clips_of_folders(root: Path, class_names: Sequence[str], *, known: Mapping[str, str]) -> dict[str, str]:
    """Clip → class of the joints and videos in the folders of the classes, without the known clips."""
    found = {}
    for action in class_names:
        files = [file.parent for file in (root / "joint_positions" / action).glob(f"*/{JOINT_FILE}")]
        files += (root / "ReCompress_Videos" / action).glob("*.avi")
        found |= {file.name.removesuffix(".avi"): action for file in files}
    # The archives bring folders such as .AppleDouble along.
    return {clip: action for clip, action in found.items() if clip not in known and not clip.startswith(".")}


def _read_lists(folder: Path, class_names: Sequence[str]) -> tuple[Lists, dict[str, str]]:
    """The split lists of a folder, and clip → class."""
    files: dict[tuple[str, int], Path] = {}
    for file in sorted(folder.glob("*.txt")):  # a folder that is not there has no files
        match = _LIST_NAME.fullmatch(file.name)
        if not match:
            continue
        if match[1] not in class_names:
            fix = "keep the lists of splits.zip in splits, and those of sub_splits.zip in sub_splits"
            _bad_list(file, "a list of another class", found=match[1], expected=f"one of {', '.join(class_names)}", fix=fix)
        other = files.setdefault((match[1], int(match[2])), file)
        if other != file:
            _bad_list(file, "two lists of the same class and split", found=f"also {other.name}", expected="one")
    if not files:
        _bad_list(folder, "no split lists", found="no such file", expected="CLASS_test_splitK.txt", fix=GET_IT)
    lists: Lists = {f"split{number}": {} for number in SPLITS}
    classes: dict[str, str] = {}
    for action in sorted({action for action, _ in files}):
        for number in SPLITS:
            if (action, number) not in files:
                found = f"only {', '.join(str(n) for a, n in files if a == action)}"
                _bad_list(folder, "a class needs its lists of all splits", place=action, found=found, expected="1, 2, 3")
            _read_list(files[action, number], action, lists[f"split{number}"], classes)
    return lists, classes


def _read_list(file: Path, action: str, sides: dict[str, str], classes: dict[str, str]) -> None:
    """Adds the clips of a list to clip → side and to clip → class."""
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        _bad_list(file, "the list cannot be read", found=str(error), cause=error)
    if not any(lines):
        _bad_list(file, "the list is empty", found="no line", expected="CLIP.avi 1 or CLIP.avi 2")
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        match, place = _LINE.fullmatch(line.strip()), f"line {number}"
        if not match:
            _bad_list(file, "not a line of a list", place=place, found=repr(line), expected="CLIP.avi 1 or CLIP.avi 2")
        clip = match[1]
        if clip in sides or classes.setdefault(clip, action) != action:
            _bad_list(file, "the clip is listed twice", place=place, found=f"{clip}, also of {classes[clip]}", expected="once")
        sides[clip] = SIDES[match[2]]


def _bad_list(
    file: Path,
    problem: str,
    *,
    place: str | None = None,
    found: object = None,
    expected: object = None,
    fix: str = "get the split lists again from the data set",
    cause: Exception | None = None,
) -> NoReturn:
    raise DatasetError(problem, file=file, place=place, found=found, expected=expected, fix=fix) from cause
