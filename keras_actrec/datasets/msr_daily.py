"""MSR Daily Activity 3D: 16 activities by 10 subjects, each sitting on or standing near a sofa, before one Kinect v1.

J. Wang, Z. Liu, Y. Wu, J. Yuan, "Mining Actionlet Ensemble for Action Recognition with Depth Cameras", CVPR 2012. To be had,
with its terms, from the first author's page: https://wangjiangb.github.io/my_data.html.

Files, in any folders below the data root: `aNN_sNN_eNN_skeleton.txt` and `aNN_sNN_eNN_rgb.avi` (640×480); a activity, s
subject, e event: 1 sitting, 2 standing. Other files (`_depth.bin`) are not used. Files of MSR Action3D have the same names but
another format.

The skeleton file, as the authors describe it, with a line for each row and for each count of rows:

    frame count, joint count (20)
    for each frame:  row count: 40 for one skeleton, 80 for two, 0 for none
      for each joint of each skeleton two rows:
                     x y z confidence        metres, in the camera's frame
                     u v depth confidence    u, v: parts of the width and height of the screen, 0 to 1

What public readers do differently, and what is done here:

- Where two skeletons are listed, the authors use the first; some readers take every frame to have 40 rows, and lose their place
  at the first frame with another count. Here both are read. The file has no ids, so that the body that goes on is the one
  nearest to where it was last, whatever its place in the list.
- A frame without a skeleton is zeros in one reader; another interpolates it, or drops it at the end of the clip. Here it is
  NaN. So is a joint at x = y = z = 0, which would be inside the camera.
- The confidence "is not useful" (the authors), nor is the screen row's depth, which is not in metres (values near 20,000: the
  sensor's packed depth). Neither is given.
- The joints come in the order of Microsoft's SDK, whose left arm is 4 to 7. Two readers call 4 to 7 the right arm; should the
  videos show them to be right, it is the layout's names that have to change.
- One reader multiplies u by the height and v by the width of the frame. Here u goes with the width, x.
- One list of class names is in another order than all the others, which `CLASSES` follows.

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
COLUMNS = 4
BODY_ROWS = 2 * JOINTS
ROW_COUNTS = (["0"], ["40"], ["80"])
"""The row count of a frame, as the values of its line; position = number of bodies."""
FAR = 1000.0
"""Metres to a slot whose body was nowhere yet: a body goes there only where there is no other."""

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
    metrics = ("accuracy",)
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
            format does not allow, a row that does not have four values, or a value that is no number.
    """
    path = Path(path)
    rows, bodies = _body_rows(path)
    with np.errstate(over="ignore"):
        world = rows[:, :, 0, :3].astype(np.float32)
        screen = (rows[:, :, 1, :2] * SCREEN).astype(np.float32)
    unknown = ~np.isfinite(world).all(axis=-1) | (world == 0).all(axis=-1)
    world[unknown] = np.nan
    screen[unknown | ~np.isfinite(screen).all(axis=-1)] = np.nan

    frames = np.repeat(np.arange(len(bodies)), bodies)
    slots = _follow(world, bodies)
    joints = np.full((len(bodies), max(bodies), JOINTS, 3), np.nan, np.float32)
    pixels = np.full((len(bodies), max(bodies), JOINTS, 2), np.nan, np.float32)
    joints[frames, slots], pixels[frames, slots] = world, screen
    return SkeletonSequence(joints, KINECT_V1, pixels)


def _body_rows(path: Path) -> tuple[np.ndarray, list[int]]:
    """All bodies of the file, (bodies, 20, 2, 4): for each joint its rows in the world and on the screen; bodies per frame."""
    lines = [(number, line.split()) for number, line in enumerate(text_lines(path), start=1) if line.strip()]
    if not lines:
        raise SkeletonFormatError("the file is empty", file=path, found="no text", expected="a frame count", fix=FILE_FIX)
    number, header = lines[0]
    if len(header) != 2 or not re.fullmatch(r"0*[1-9]\d{0,8}", header[0]) or header[1] != str(JOINTS):
        _fail(path, "wrong header", f"line {number}", _short(header), f"a frame count of at least 1, and {JOINTS} joints")
    rows, bodies, at, total = [], [], 1, int(header[0])
    for frame in range(1, total + 1):
        if at >= len(lines):
            _fail(path, "the file ends too early", f"frame {frame} of {total}", "the end of the file", "a row count")
        number, count = lines[at]
        if count not in ROW_COUNTS:
            _fail(path, "wrong row count", f"line {number}, frame {frame}", _short(count), "0, 40 or 80")
        bodies.append(ROW_COUNTS.index(count))
        end = at + 1 + bodies[-1] * BODY_ROWS
        if end > len(lines):
            found = f"{len(lines) - at - 1} rows"
            _fail(path, "the file ends too early", f"frame {frame} of {total}", found, f"{count[0]} rows")
        rows += [_row(path, *line) for line in lines[at + 1 : end]]
        at = end
    if at < len(lines):
        number, extra = lines[at]
        expected = f"the end after {total} frames"
        _fail(path, "the file goes on after its last frame", f"line {number}", _short(extra), expected)
    return np.array(rows, np.float64).reshape(-1, JOINTS, 2, COLUMNS), bodies


def _row(path: Path, number: int, tokens: list[str]) -> list[float]:
    if len(tokens) != COLUMNS:
        _fail(path, "wrong row", f"line {number}", f"{len(tokens)} values", f"{COLUMNS} values")
    try:
        return [float(token) for token in tokens]
    except ValueError as error:
        _fail(path, "not a number", f"line {number}", str(error).partition(": ")[2][:40], "a number")


def _follow(joints: np.ndarray, bodies: list[int]) -> np.ndarray:
    """The slot of each body, such that bodies stay nearest to where the slots' bodies were last.

    Args:
        joints: (bodies of the whole file, 20, 3); NaN where unknown.
        bodies: how many of them each frame has.
    """
    known = ~np.isnan(joints).any(axis=-1)
    middles = [body[known].mean(axis=0) if known.any() else None for body, known in zip(joints, known, strict=True)]
    last: dict[int, np.ndarray] = {}  # slot → middle of its body
    slots: list[int] = []

    def distance(body: int, slot: int) -> float:
        if slot not in last:
            return FAR
        return 0.0 if middles[body] is None else float(np.linalg.norm(middles[body] - last[slot]))

    seen = 0
    for count in bodies:
        present = range(len(slots), len(slots) + count)
        seen = max(seen, count)
        ways = permutations(range(seen), count)  # of ways that are equally near, the first counts: the order of the list
        way = min(ways, key=lambda way, present=present: sum(map(distance, present, way)))
        last |= {slot: middles[body] for body, slot in zip(present, way, strict=True) if middles[body] is not None}
        slots += way
    return np.array(slots, int)


def _short(tokens: list[str]) -> str:
    text = " ".join(tokens)
    return repr(text if len(text) <= 40 else f"{text[:37]}...")


def _fail(path: Path, problem: str, place: str, found: str, expected: str) -> NoReturn:
    raise SkeletonFormatError(problem, file=path, place=place, found=found, expected=expected, fix=FILE_FIX)
