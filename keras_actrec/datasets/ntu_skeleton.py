"""The `.skeleton` text files of NTU RGB+D: reading and writing.

Format, as in `read_skeleton_file.m` of the data set's authors (https://github.com/shahroudy/NTURGB-D):

    frame count
    for each frame:   body count (Kinect v2 sees at most 6)
      for each body:  body id, clipped edges, left hand confidence, left hand state, right hand confidence, right hand state,
                      restricted, lean x, lean y, tracking state
                      joint count (25)
        each joint:   x y z (metres, camera frame), depth x y, colour x y (pixels of the 1920×1080 video),
                      orientation w x y z, tracking state (0 not tracked, 1 inferred, 2 tracked)
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import NoReturn

import numpy as np

from keras_actrec.datasets.files import check_joint_count
from keras_actrec.errors import ConfigError, SkeletonFormatError
from keras_actrec.files import whole_file
from keras_actrec.skeletons.layout import KINECT_V2
from keras_actrec.skeletons.sequence import SkeletonSequence

MAX_BODIES = 6
JOINTS = len(KINECT_V2)
INFO_TOKENS = 10
JOINT_TOKENS = 12
XYZ, COLOR, TRACKING = slice(0, 3), slice(5, 7), 11
LONGEST_ID = 20  # digits of an unsigned 64-bit number
TEXT = b"0123456789+-.eE \r\nNaInfity"  # digits, and the words that C# writes for values that are not finite

FIX = "get the file again from the data set, or leave the clip out"


def read_ntu_skeleton(path: str | Path) -> SkeletonSequence:
    """Reads a `.skeleton` file as it is: no cleaning, one slot per body id in order of first appearance.

    Lines end in CRLF or LF; the last line end may be missing. A joint with a coordinate that is not finite is unknown: NaN.

    Args:
        path: the file.

    Returns:
        Joints (T, P, 25, 3) in metres, pixels (T, P, 25, 2) of the 1920×1080 video, tracking (T, P, 25), ids of the P bodies.
        P = 0 where no frame has a body.

    Raises:
        SkeletonFormatError: the file cannot be read, is empty, cut short, goes on after its last frame, or holds anything
            that the format does not allow; the message names the line.
    """
    path = Path(path)
    lines = _text_lines(path)
    bodies, frames = _Scan(path, lines).run()
    values = _joint_values(path, lines, bodies.joint_lines)
    return _sequence(path, frames, bodies, values)


@dataclass
class _Bodies:
    """What the scan finds, one entry per body and frame: its frame, its slot, and where its joint lines start."""

    slot_of: dict[int, int] = field(default_factory=dict)
    frames: list[int] = field(default_factory=list)
    slots: list[int] = field(default_factory=list)
    joint_lines: list[int] = field(default_factory=list)


class _Scan:
    """Walks over the structure of the file: counts and info lines; the joint lines are only skipped."""

    def __init__(self, path: Path, lines: list[str]):
        self.path, self.lines, self.line = path, lines, 0

    def run(self) -> tuple[_Bodies, int]:
        """Returns the bodies and the number of frames."""
        bodies = _Bodies()
        frames = self.count("frame count", 1, None)
        for frame in range(frames):
            seen = set()
            for _ in range(self.count(f"body count of frame {frame}", 0, MAX_BODIES)):
                body = self.body_id()
                if body in seen:
                    self.fail("the same body is in a frame twice", body, "one entry per body id", line=self.line - 1)
                seen.add(body)
                self.count("joint count", JOINTS, JOINTS)
                bodies.frames.append(frame)
                bodies.slots.append(bodies.slot_of.setdefault(body, len(bodies.slot_of)))
                bodies.joint_lines.append(self.line)
                self.line += JOINTS
        if self.line > len(self.lines):
            self.fail("the file ends too early", "the end of the file", "joint lines", line=len(self.lines))
        if self.line < len(self.lines):
            extra = _short(self.lines[self.line])
            self.fail("the file goes on after its last frame", extra, f"the end after {frames} frames", line=self.line)
        return bodies, frames

    def next(self, what: str) -> str:
        if self.line >= len(self.lines):
            self.fail("the file ends too early", "the end of the file", f"a {what}", line=len(self.lines))
        self.line += 1
        return self.lines[self.line - 1]

    def count(self, what: str, least: int, most: int | None) -> int:
        text = self.next(what).strip()
        number = int(text) if text.isdigit() and len(text) < 10 else -1
        if number < least or (most is not None and number > most):
            expected = (
                f"an integer of at least {least}" if most is None else f"{least}" if least == most else f"{least} to {most}"
            )
            self.fail(f"wrong {what}", _short(text), expected, line=self.line - 1)
        return number

    def body_id(self) -> int:
        tokens = self.next("body info line").split()
        if len(tokens) != INFO_TOKENS:
            self.fail("wrong body info line", f"{len(tokens)} values", f"{INFO_TOKENS} values", line=self.line - 1)
        if not tokens[0].isdigit() or len(tokens[0]) > LONGEST_ID:
            self.fail("wrong body id", _short(tokens[0]), "a non-negative integer", line=self.line - 1)
        for token in tokens[1:]:
            if not _is_number(token):
                self.fail("wrong body info line", _short(token), "a number", line=self.line - 1)
        return int(tokens[0])  # Up to 18 digits: a float would merge neighbouring ids.

    def fail(self, problem: str, found: object, expected: str, *, line: int) -> NoReturn:
        _fail(self.path, problem, found, expected, line=line)


def _text_lines(path: Path) -> list[str]:
    """Lines of the file without the empty ones at its end; refuses bytes that the format does not use."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise SkeletonFormatError(
            "the skeleton file cannot be read", file=path, found=error.strerror or str(error), fix=FIX
        ) from error
    foreign = data.translate(None, TEXT)
    if foreign:
        line = data[: data.index(foreign[:1])].count(b"\n")
        _fail(path, "not a text file of numbers", f"byte 0x{foreign[0]:02x}", "digits, signs, spaces and line ends", line=line)
    data = data.rstrip()
    if not data:
        raise SkeletonFormatError("the file is empty", file=path, found="no text", expected="a frame count", fix=FIX)
    return data.decode("ascii").split("\n")


def _joint_values(path: Path, lines: list[str], starts: list[int]) -> np.ndarray:
    """All joint lines as float64 (bodies, 25, 12). NumPy's C parser does the work; Python only looks for the line at fault."""
    if not starts:
        return np.empty((0, JOINTS, JOINT_TOKENS))
    rows = [line for start in starts for line in lines[start : start + JOINTS]]
    try:
        values = np.loadtxt(rows, dtype=np.float64, comments=None, ndmin=2)
    except ValueError:
        values = None
    if values is None or values.shape != (len(rows), JOINT_TOKENS):
        _find_bad_joint_line(path, lines, starts)
    states = values[:, TRACKING]
    wrong = ~np.isin(states, (0, 1, 2))
    if wrong.any():
        row = int(wrong.argmax())
        line = starts[row // JOINTS] + row % JOINTS
        _fail(path, "wrong tracking state of a joint", f"{states[row]:g}", "0, 1 or 2", line=line)
    return values.reshape(-1, JOINTS, JOINT_TOKENS)


def _find_bad_joint_line(path: Path, lines: list[str], starts: list[int]) -> NoReturn:
    for start in starts:
        for line in range(start, start + JOINTS):
            tokens = lines[line].split()
            if len(tokens) != JOINT_TOKENS:
                _fail(path, "wrong joint line", f"{len(tokens)} values", f"{JOINT_TOKENS} values", line=line)
            for token in tokens:
                if not _is_number(token):
                    _fail(path, "wrong joint line", _short(token), "a number", line=line)
    _fail(path, "the joint lines do not form a table", "values that NumPy cannot read", "numbers", line=starts[0])


def _sequence(path: Path, frames: int, bodies: _Bodies, values: np.ndarray) -> SkeletonSequence:
    people = len(bodies.slot_of)
    check_joint_count(path, frames, people, JOINTS, fix=FIX)
    at = (np.asarray(bodies.frames, int), np.asarray(bodies.slots, int))
    joints = np.full((frames, people, JOINTS, 3), np.nan, np.float32)
    pixels = np.full((frames, people, JOINTS, 2), np.nan, np.float32)
    tracking = np.zeros((frames, people, JOINTS), np.uint8)
    with np.errstate(over="ignore"):
        joints[at] = values[..., XYZ]
        pixels[at] = values[..., COLOR]
    tracking[at] = values[..., TRACKING]
    for array in (joints, pixels):
        array[~np.isfinite(array).all(axis=-1)] = np.nan
    return SkeletonSequence(joints, KINECT_V2, pixels, tracking, tuple(bodies.slot_of))


def _is_number(token: str) -> bool:
    try:
        float(token)
    except ValueError:
        return False
    return True


def _short(text: str) -> str:
    text = text.strip()
    return repr(text if len(text) <= 40 else f"{text[:37]}...")


def _fail(path: Path, problem: str, found: object, expected: str, *, line: int) -> NoReturn:
    """`line` counts from 0; the message counts from 1, as editors do."""
    raise SkeletonFormatError(problem, file=path, place=f"line {line + 1}", found=found, expected=expected, fix=FIX)


# Writing ----------------------------------------------------------------------------------------------------------------------

FIRST_ID = 72057594037927937  # Kinect's ids lie just above 2^56.
INFO_LINE = "%d 0 1 1 1 1 0 0 0 2"
JOINT_LINE = "%.7G %.7G %.7G 0 0 %.7G %.7G 0 0 0 0 %d"  # Seven digits, as the data set's files; depth and orientation: 0


def write_ntu_skeleton(path: str | Path, sequence: SkeletonSequence, *, newline: str = "\r\n") -> None:
    """Writes a `.skeleton` file with the line structure and the number format of the data set's own.

    A body is listed in the frames in which it has a known joint; its unknown joints, and pixels where the sequence has none,
    are written as NaN. Without tracking every joint counts as tracked (2). Depth pixels, orientations and hand states, which
    a `SkeletonSequence` does not hold, are constants.

    Args:
        path: the file; it appears under this name only when whole.
        sequence: KINECT_V2, (T, P, 25, 3) with T of at least 1 and up to 6 bodies in a frame; without body ids they are made.
        newline: line end: CRLF as in most files of the data set, or LF.

    Raises:
        ConfigError: the sequence has another layout, no frame, too many bodies in a frame, or ids that the format cannot hold.
        DiskFullError: no space left.
    """
    path = Path(path)
    text = newline.join([*_lines(sequence), ""])
    with whole_file(path) as part:
        part.write_bytes(text.encode("ascii"))


def _lines(sequence: SkeletonSequence) -> list[str]:
    known = np.isfinite(sequence.joints).all(axis=3)
    listed = known.any(axis=2)
    ids = sequence.body_ids or tuple(FIRST_ID + body for body in range(sequence.people))
    _check_writable(sequence, listed, tuple(ids[body] for body in np.flatnonzero(listed.any(axis=0))))
    values = np.full((*known.shape, 6), np.nan)
    values[..., :3] = sequence.joints
    values[..., 3:5] = np.nan if sequence.pixels is None else sequence.pixels
    values[..., 5] = 2 if sequence.tracking is None else sequence.tracking

    lines = [str(sequence.length)]
    for frame in range(sequence.length):
        bodies = np.flatnonzero(listed[frame])
        lines.append(str(len(bodies)))
        for body in bodies:
            lines += [INFO_LINE % ids[body], str(JOINTS)]
            lines += [JOINT_LINE % tuple(joint) for joint in values[frame, body].tolist()]
    return [line.replace("NAN", "NaN") for line in lines]


def _check_writable(sequence: SkeletonSequence, listed: np.ndarray, ids: tuple[int, ...]) -> None:
    if sequence.layout != KINECT_V2:
        raise ConfigError("a .skeleton file holds Kinect v2 joints", found=sequence.layout.name, expected=KINECT_V2.name)
    if sequence.length == 0:
        raise ConfigError("a .skeleton file needs a frame", found=0, expected="at least 1")
    if listed.sum(axis=1).max() > MAX_BODIES:
        raise ConfigError("too many bodies in a frame", found=int(listed.sum(axis=1).max()), expected=f"at most {MAX_BODIES}")
    if len(set(ids)) != len(ids) or any(body < 0 or len(str(body)) > LONGEST_ID for body in ids):
        raise ConfigError("body ids must be different non-negative integers of up to 20 digits", found=ids)
