"""MSR Daily Activity 3D: 16 activities by 10 subjects, each sitting on or standing near a sofa, before one Kinect v1.

J. Wang, Z. Liu, Y. Wu, J. Yuan, "Mining Actionlet Ensemble for Action Recognition with Depth Cameras", CVPR 2012. To be had,
with its terms, from the first author's page: https://wangjiangb.github.io/my_data.html.

Files, in any folders below the data root: `aNN_sNN_eNN_skeleton.txt` and `aNN_sNN_eNN_rgb.avi` (640×480); a activity, s
subject, e event: 1 sitting, 2 standing. Other files (`_depth.bin`) are not used. Files of MSR Action3D have the same names but
another format.

The skeleton file, as the authors describe it, is text of numbers between spaces and line ends:

    frame count, joint count (20)
    for each frame:  row count: 40 for one skeleton, 80 for two, 0 for none
      for each joint of each skeleton two rows:
                     x y z confidence          metres, in the camera's frame
                     u v depth confidence      u, v: parts of the width and height of the screen, 0 to 1

What public readers do differently, and what is done here:

- Where two skeletons are listed, the authors use the first; some readers take every frame to have 40 rows, and lose their place
  at the first frame with another count. Here both are read. The file has no ids, so that the body that goes on is the one
  nearest to where it was last, whatever its place in the list.
- A frame without a skeleton is zeros in one reader, interpolated in another, and not there in a third. Here it is NaN. So is a
  joint at x = y = z = 0, which would be inside the camera.
- The confidence "is not useful" (the authors), nor is the screen row's depth, which is not in metres (values near 20,000: the
  sensor's packed depth). Neither is given.
- The joints come in the order of Microsoft's SDK, left before right (4 to 7 is the left arm). Two readers call 4 to 7 the right
  arm: from the front, it is to the right in the picture.
- Two lists of class names swap activities; `CLASSES` is in the order of the authors' page, as in most.

u and v are those of the depth camera: in the RGB video, whose camera sits beside it and which was recorded independently, a
joint can be some pixels, and some frames, off.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import astuple, dataclass
from itertools import permutations, product
from pathlib import Path
from typing import NoReturn

import numpy as np

from keras_actrec.datasets.clip_files import find_clip_files
from keras_actrec.datasets.counts import CountMismatch, count_mismatches
from keras_actrec.datasets.files import FILE_FIX, text_lines
from keras_actrec.datasets.record import ClipRecord, LeftOut, Split
from keras_actrec.errors import DatasetError, SkeletonFormatError
from keras_actrec.skeletons.cleaning import CleaningConfig
from keras_actrec.skeletons.layouts import KINECT_V1
from keras_actrec.skeletons.sequence import SkeletonSequence

CLASSES = (
    "drink", "eat", "read book", "call cellphone", "write on a paper", "use laptop", "use vacuum cleaner", "cheer up",
    "sit still", "toss paper", "play game", "lie down on sofa", "walk", "play guitar", "stand up", "sit down",
)  # fmt: skip
"""Position in this tuple = class index = activity number - 1."""

SUBJECTS = range(1, 11)
EVENTS = range(1, 3)
TRAINING_SUBJECTS = frozenset({1, 3, 5, 7, 9})
FRAME_RATE = 30.0
SCREEN = (640, 480)
SKELETON_SUFFIX = "_skeleton.txt"
VIDEO_SUFFIX = "_rgb.avi"
FOLDERS = f"a folder with aNN_sNN_eNN{SKELETON_SUFFIX} files, and their videos *{VIDEO_SUFFIX}"
GET_IT = "download MSR Daily Activity 3D (https://wangjiangb.github.io/my_data.html) and give its folder as data root"

JOINTS = len(KINECT_V1)
ROW = 4
BODY_ROWS = 2 * JOINTS
MAX_BODIES = 2

_NAME = re.compile(r"a(\d\d)_s(\d\d)_e(\d\d)", re.ASCII)


@dataclass(frozen=True, order=True)
class ClipName:
    """The name of a clip: a12_s10_e02 is activity 12, subject 10, event 2."""

    activity: int
    subject: int
    event: int

    @classmethod
    def parse(cls, name: str) -> ClipName:
        """Reads a name without folder and suffix. Raises DatasetError for anything that is not a name."""
        match = _NAME.fullmatch(name)
        if not match:
            raise DatasetError(
                "not a clip name of MSR Daily Activity 3D", found=repr(name), expected="aNN_sNN_eNN",
                fix="rename the file, or take it out of the data root",
            )  # fmt: skip
        return cls(*map(int, match.groups()))

    def __str__(self) -> str:
        return "a{:02d}_s{:02d}_e{:02d}".format(*astuple(self))


class MSRDailyActivity:
    """The clips below a data root. Protocol "cross_subject": subjects 1, 3, 5, 7, 9 train, the others test (160 clips each).

    Args:
        root: the folder. Links are followed.

    Attributes:
        name, class_names, root: "msr_daily", `CLASSES`, and the argument.
        records: the clips that have a skeleton file, sorted by name; `video` is None where there is none.
        left_out: clips with a video only.
        ignored: files with one of the two suffixes whose names are no clip names.
        cleaning: how the sensor's bodies become people.

    Raises:
        DatasetError: no such folder, no clip with a skeleton in it, the same file of a clip in two places, or a name with a
            number that the data set does not have.
    """

    name = "msr_daily"
    class_names = CLASSES
    cleaning = CleaningConfig()

    def __init__(self, root: str | Path):
        self.root = Path(root)
        suffixes = (SKELETON_SUFFIX, VIDEO_SUFFIX)
        files, self.ignored = find_clip_files(self.root, suffixes, ClipName.parse, expected=FOLDERS, fix=GET_IT)
        records, left_out = [], []
        for clip in sorted(files):
            skeleton, video = (files[clip].get(suffix) for suffix in suffixes)
            _check_numbers(clip, skeleton or video)
            if skeleton is None:
                left_out.append(LeftOut(str(clip), "index", f"no skeleton file: {FILE_FIX}", str(video)))
                continue
            records.append(
                ClipRecord(
                    clip_id=str(clip),
                    label=clip.activity - 1,
                    subject=clip.subject,
                    camera=0,
                    setup=0,
                    skeleton=skeleton,
                    video=video,
                    frame_rate=FRAME_RATE,
                    layout=KINECT_V1,
                )
            )
        self.records: tuple[ClipRecord, ...] = tuple(records)
        self.left_out: tuple[LeftOut, ...] = tuple(left_out)
        if not records:
            raise DatasetError(
                "no clip of MSR Daily Activity 3D with a skeleton in the data root", file=self.root,
                found=f"{len(left_out)} videos, {len(self.ignored)} files with other names", expected=FOLDERS, fix=GET_IT,
            )  # fmt: skip

    def load_skeleton(self, record: ClipRecord) -> SkeletonSequence:
        """Reads the record's skeleton file, see `read_msr_daily_skeleton`."""
        return read_msr_daily_skeleton(record.skeleton)

    def protocols(self) -> Mapping[str, Split]:
        """ "cross_subject", among `records`."""
        train = tuple(record.clip_id for record in self.records if record.subject in TRAINING_SUBJECTS)
        test = tuple(record.clip_id for record in self.records if record.subject not in TRAINING_SUBJECTS)
        return {"cross_subject": Split(train, test)}

    def count_mismatches(self) -> tuple[CountMismatch, ...]:
        """Sides of the protocol without all of their 160 clips, with the names of those that are missing."""
        published: dict[tuple[str, str], list[str]] = {("cross_subject", "train"): [], ("cross_subject", "test"): []}
        for activity, subject, event in product(range(1, len(CLASSES) + 1), SUBJECTS, EVENTS):
            side = "train" if subject in TRAINING_SUBJECTS else "test"
            published["cross_subject", side].append(str(ClipName(activity, subject, event)))
        return count_mismatches(self.protocols(), {side: len(names) for side, names in published.items()}, published)


def _check_numbers(clip: ClipName, file: Path) -> None:
    for part, known in (("activity", range(1, len(CLASSES) + 1)), ("subject", SUBJECTS), ("event", EVENTS)):
        number = getattr(clip, part)
        if number not in known:
            raise DatasetError(
                f"MSR Daily Activity 3D does not have this {part}", file=file, found=number,
                expected=f"{known[0]} to {known[-1]}",
                fix="take clips of other data sets, such as MSR Action3D, out of the data root",
            )  # fmt: skip


def read_msr_daily_skeleton(path: str | Path) -> SkeletonSequence:
    """Reads a `_skeleton.txt` file: no cleaning, one slot per body, see the text of this module.

    Args:
        path: the file.

    Returns:
        Joints (T, P, 20, 3) in metres and pixels (T, P, 20, 2) of a 640×480 frame (outside of it where u or v is outside of 0
        to 1); NaN where a body or a joint is unknown. P is 0, 1 or 2: the most bodies of a frame.

    Raises:
        SkeletonFormatError: the file cannot be read, is empty, cut short, goes on after its last frame, or has a count that the
            format does not allow or a value that is no number.
    """
    path = Path(path)
    values = _numbers(path)
    if len(values) < 2 or values[0] < 1 or values[0] % 1 or values[1] != JOINTS:
        found = " ".join(f"{value:g}" for value in values[:2])
        _fail(path, "wrong header", "line 1", found, f"a frame count of at least 1, and {JOINTS} joints")
    frames = _split_frames(path, values)
    slots = _follow(frames)
    people = max(map(len, frames))
    rows = np.full((len(frames), people, JOINTS, 2, ROW), np.nan)
    for frame, (bodies, places) in enumerate(zip(frames, slots, strict=True)):
        rows[frame, list(places)] = bodies
    with np.errstate(over="ignore"):
        joints = rows[..., 0, :3].astype(np.float32)
        pixels = (rows[..., 1, :2] * SCREEN).astype(np.float32)
    unknown = ~np.isfinite(joints).all(axis=-1) | (joints == 0).all(axis=-1)
    joints[unknown] = np.nan
    pixels[unknown | ~np.isfinite(pixels).all(axis=-1)] = np.nan
    return SkeletonSequence(joints, KINECT_V1, pixels)


def _numbers(path: Path) -> np.ndarray:
    """All numbers of the file in a row, float64: the authors' and most readers go by numbers, not by lines."""
    lines = text_lines(path)
    if not lines:
        raise SkeletonFormatError("the file is empty", file=path, found="no text", expected="a frame count", fix=FILE_FIX)
    try:
        return np.array(" ".join(lines).split(), dtype=np.float64)
    except ValueError:
        for number, line in enumerate(lines, start=1):
            for token in line.split():
                try:
                    float(token)
                except ValueError:
                    _fail(path, "not a number", f"line {number}", repr(token[:40]), "a number")
        raise  # not reached: what NumPy refuses, float refuses too


def _split_frames(path: Path, values: np.ndarray) -> list[np.ndarray]:
    """The bodies of each frame, (bodies, 20, 2, 4): for each joint its row in the world and its row on the screen."""
    frames, at = [], 2
    total = int(values[0])
    for frame in range(total):
        place = f"frame {frame + 1} of {total}"
        if at >= len(values):
            _fail(path, "the file ends too early", place, "the end of the file", "a row count")
        count = values[at]
        if count not in range(0, MAX_BODIES * BODY_ROWS + 1, BODY_ROWS):
            _fail(path, "wrong row count", place, f"{count:g}", f"0, {BODY_ROWS} or {2 * BODY_ROWS}")
        rows = values[at + 1 : at + 1 + int(count) * ROW]
        if len(rows) < count * ROW:
            _fail(path, "the file ends too early", place, f"{len(rows)} numbers", f"{int(count)} rows of {ROW} numbers")
        frames.append(rows.reshape(-1, JOINTS, 2, ROW))
        at += 1 + len(rows)
    if at < len(values):
        _fail(path, "the file goes on after its last frame", f"after {total} frames", f"{len(values) - at} numbers", "the end")
    return frames


def _follow(frames: list[np.ndarray]) -> list[tuple[int, ...]]:
    """The slot of each body of each frame, such that bodies stay nearest to where the slots' bodies were last."""
    last: list[np.ndarray] = []
    slots = []
    for bodies in frames:
        centers = bodies[:, :, 0, :3].mean(axis=1)

        def distance(places: tuple[int, ...], centers: np.ndarray = centers) -> float:
            pairs = zip(places, centers, strict=True)
            return sum(float(np.linalg.norm(center - last[place])) for place, center in pairs if place < len(last))

        places = min(permutations(range(max(len(bodies), len(last))), len(bodies)), key=distance)
        for place, center in sorted(zip(places, centers, strict=True), key=lambda pair: pair[0]):
            last[place : place + 1] = [center]
        slots.append(places)
    return slots


def _fail(path: Path, problem: str, place: str, found: str, expected: str) -> NoReturn:
    raise SkeletonFormatError(problem, file=path, place=place, found=found, expected=expected, fix=FILE_FIX)
