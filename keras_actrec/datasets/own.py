"""Data of your own: a CSV that lists clips, beside files of poses and videos. docs/own_data.md shows examples.

Columns, in any order:

- `clip`: name, once each
- `label`: class, as text or as an integer
- `skeleton`: what `read_pose_file` reads, and `video`, a file or a folder with an image per frame (a column that may be absent
  or empty): paths relative to the CSV
- `split`, and further columns whose names start so (`split_2`, `split_view`): train or test; each is a protocol of that name
- if there are any: `subject` and `camera` (numbers from 0), `frame_rate` (per second, 30 unless given), `layout` (name of a
  joint layout, for files that do not say; all clips must have the same)
"""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from keras_actrec.datasets.counts import CountMismatch
from keras_actrec.datasets.pose_files import check_min_confidence, read_pose_file
from keras_actrec.datasets.record import ClipRecord, LeftOut, Split
from keras_actrec.errors import ConfigError, DatasetError, SkeletonFormatError
from keras_actrec.skeletons.cleaning import CleaningConfig
from keras_actrec.skeletons.layout import SkeletonLayout
from keras_actrec.skeletons.layouts import LAYOUTS
from keras_actrec.skeletons.sequence import SkeletonSequence

REQUIRED = ("clip", "label", "skeleton")
OPTIONAL = ("video", "subject", "camera", "frame_rate", "layout")
SPLIT = "split"
SIDES = ("train", "test")
FRAME_RATE = 30.0


@dataclass(frozen=True)
class Row:
    """A line of the CSV: where it ends, and its values by column, without spaces around them."""

    line: int
    values: Mapping[str, str]


class OwnDataset:
    """The clips that a CSV lists.

    Args:
        csv: the file, UTF-8, with commas between the columns and a first line with their names.
        name: of the data set in result files; by default the CSV's name.
        class_names: by label. By default the labels, sorted (integers as numbers). Given, a label is one of them, or an index
            from 0 where all labels are integers and none is a name.
        min_confidence, first_frame: see `read_pose_file`.

    Attributes:
        root: the CSV's folder.
        layout: joint layout of all clips: the column's, else that of the first file that can be read.
        cleaning: the bodies are people already, and thresholds in metres mean nothing in pixels, so only gaps are filled. For
            raw Kinect files give `CleaningConfig()` to the extraction.
        records: the clips that can be used, sorted by name.
        left_out: the clips whose skeleton or video is not there.

    Raises:
        ConfigError: no class name, or one twice; min_confidence is no number of at least 0.
        DatasetError: the CSV cannot be read, is empty or not UTF-8, lacks a column or has an unknown one; a row is wrong (the
            message names its line); or no clip can be used.
    """

    metrics = ("accuracy",)

    def __init__(
        self,
        csv: str | Path,
        *,
        name: str | None = None,
        class_names: Sequence[str] | None = None,
        min_confidence: float = 0.0,
        first_frame: int | None = None,
    ):
        self.csv = Path(csv)
        self.root = self.csv.parent
        self.name = self.csv.stem if name is None else name
        self.cleaning = CleaningConfig(find_people=False)
        check_min_confidence(min_confidence)
        self.min_confidence, self.first_frame = min_confidence, first_frame
        columns, rows = read_rows(self.csv)
        check_unique(self.csv, rows, "clip")
        check_unique(self.csv, rows, "skeleton")
        self.class_names, labels = _classes(self.csv, rows, class_names)
        self._sides = {
            column: {row.values["clip"]: row_side(self.csv, row, column) for row in rows}
            for column in columns
            if column.startswith(SPLIT)
        }
        settings = [row_settings(self.csv, row) for row in rows]  # every row is checked, those of clips without files too
        usable, left_out = [], []
        for row, label, setting in zip(rows, labels, settings, strict=True):
            missing = self._missing_file(row)
            if missing is None:
                usable.append((row, label, setting))
            else:
                left_out.append(LeftOut(row.values["clip"], "index", "no such file", str(missing)))
        self.left_out: tuple[LeftOut, ...] = tuple(sorted(left_out, key=lambda clip: clip.clip_id))
        if not usable:
            self._fail_empty()
        self.layout = self._layout(rows, [row for row, _, _ in usable])
        records = [self._record(row, label, setting) for row, label, setting in usable]
        self.records: tuple[ClipRecord, ...] = tuple(sorted(records, key=lambda record: record.clip_id))

    def load_skeleton(self, record: ClipRecord) -> SkeletonSequence:
        """Reads the record's poses. Raises SkeletonFormatError, see `read_pose_file`; for another layout than `layout` too."""
        return self._read(record.skeleton, self.layout)

    def protocols(self) -> Mapping[str, Split]:
        """A protocol per column whose name starts with "split", restricted to `records`; the others have a side too."""
        ids, others = [record.clip_id for record in self.records], [clip.clip_id for clip in self.left_out]
        return {
            column: Split(
                *(tuple(clip for clip in ids if side_of[clip] == side) for side in SIDES),
                left_out={clip: side_of[clip] for clip in others},
            )
            for column, side_of in self._sides.items()
        }

    def count_mismatches(self) -> tuple[CountMismatch, ...]:
        """None: no numbers were published."""
        return ()

    def _read(self, path: Path, layout: SkeletonLayout | None) -> SkeletonSequence:
        return read_pose_file(path, layout=layout, min_confidence=self.min_confidence, first_frame=self.first_frame)

    def _missing_file(self, row: Row) -> Path | None:
        skeleton, video = self.root / row.values["skeleton"], row.values.get("video")
        if not skeleton.exists():
            return skeleton
        return self.root / video if video and not (self.root / video).exists() else None

    def _layout(self, rows: list[Row], usable: list[Row]) -> SkeletonLayout:
        """The one layout that the rows name, else that of the first of the usable clips whose file can be read."""
        first = rows[0].values.get("layout", "")
        for row in rows:
            name = row.values.get("layout", "")
            if name != first:
                _fail_row(self.csv, row, "clips of different layouts", found=repr(name), expected=repr(first), fix=_ONE_LAYOUT)
            if name and name not in LAYOUTS:
                _fail_row(self.csv, row, "unknown joint layout", found=repr(name), expected=f"one of {', '.join(LAYOUTS)}")
        if first:
            return LAYOUTS[first]
        errors = []
        for row in usable:
            try:
                return self._read(self.root / row.values["skeleton"], None).layout
            except SkeletonFormatError as error:
                errors.append(error)
        raise DatasetError(
            "no clip of the list can be read", file=self.csv, found=f"{len(errors)} bad files, the first: {errors[0]}",
            expected="files that read_pose_file reads", fix="see docs/own_data.md",
        ) from errors[0]  # fmt: skip

    def _record(self, row: Row, label: int, settings: tuple[int, int, float]) -> ClipRecord:
        video = row.values.get("video")
        subject, camera, frame_rate = settings
        return ClipRecord(
            clip_id=row.values["clip"],
            label=label,
            subject=subject,
            camera=camera,
            setup=0,
            skeleton=self.root / row.values["skeleton"],
            video=self.root / video if video else None,
            frame_rate=frame_rate,
            layout=self.layout,
        )

    def _fail_empty(self) -> NoReturn:
        raise DatasetError(
            "no clip of the list can be used", file=self.csv,
            found=f"{len(self.left_out)} clips without their files, the first: {self.left_out[0].file}",
            expected="files where the CSV says they are", fix="paths are relative to the folder of the CSV",
        )  # fmt: skip


_ONE_LAYOUT = "map all clips to one layout, or make a CSV for each"
_SEE = "see docs/own_data.md for an example"


def read_rows(path: Path, *, required: Sequence[str] = (*REQUIRED, SPLIT)) -> tuple[list[str], list[Row]]:
    """Column names, and the rows that are not blank, of a list of clips.

    Args:
        path: the CSV.
        required: columns that have to be there and to hold something in every row; "split" stands for any that starts so.

    Raises:
        DatasetError: the CSV cannot be read, is empty or not UTF-8, lacks a column or has an unknown one; a row has more or
            fewer values than there are columns, lacks one that is required, or names a clip as no file can be named.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:  # spreadsheets put a byte order mark first
            reader = csv.reader(file, strict=True)
            lines = [(reader.line_num, [value.strip() for value in row]) for row in reader]
    except OSError as error:
        raise DatasetError(
            "the list of clips cannot be read", file=path, found=error.strerror or str(error), fix=_SEE
        ) from error
    except UnicodeDecodeError as error:
        found = f"byte 0x{error.object[error.start]:02x}"
        raise DatasetError("the list of clips is not UTF-8", file=path, found=found, fix="save it as UTF-8") from error
    except csv.Error as error:
        raise DatasetError(
            "the list of clips is no CSV", file=path, place=f"line {reader.line_num}", found=error, fix=_SEE
        ) from error
    lines = [(line, row) for line, row in lines if any(row)]
    if not lines:
        expected = f"columns {_all_columns(required)}"
        raise DatasetError("the list of clips is empty", file=path, found="no line", expected=expected, fix=_SEE)
    columns = lines[0][1]
    _check_columns(path, columns, required)
    if len(lines) == 1:
        raise DatasetError(
            "the list of clips is empty", file=path, found="column names only", expected="a row per clip", fix=_SEE
        )
    rows = []
    for line, values in lines[1:]:
        row = Row(line, dict(zip(columns, values, strict=False)))
        if len(values) != len(columns):
            _fail_row(
                path, row, "wrong number of values", found=len(values), expected=len(columns), fix="quote values with commas"
            )
        for column in columns:
            if not row.values[column] and column in {*required, "clip"} - {SPLIT}:
                _fail_row(path, row, f"no {column}", found="nothing", expected="a value")
        clip = row.values.get("clip", "")
        if "/" in clip or clip in (".", ".."):
            _fail_row(path, row, "not a name of a clip", found=repr(clip), expected="a name without /")
        rows.append(row)
    return columns, rows


def _all_columns(required: Sequence[str]) -> str:
    others = [column for column in (*REQUIRED, *OPTIONAL) if column not in required]
    return f"{', '.join(required)}; if there are any {', '.join(others)}, {SPLIT}_2, …"


def _check_columns(path: Path, columns: list[str], required: Sequence[str]) -> None:
    expected = _all_columns(required)
    wanted = [column for column in required if column != SPLIT and column not in columns]
    if SPLIT in required and not any(column.startswith(SPLIT) for column in columns):
        wanted.append(SPLIT)
    if wanted:
        fix = "separate columns with commas" if len(columns) == 1 else f"add {', '.join(wanted)} to the first line"
        raise DatasetError(
            "a column is missing", file=path, place="line 1", found=", ".join(columns), expected=expected, fix=fix
        )
    for number, column in enumerate(columns):
        if column in columns[:number]:
            raise DatasetError("two columns have one name", file=path, place="line 1", found=repr(column), fix="rename one")
        if column not in REQUIRED + OPTIONAL and not column.startswith(SPLIT):
            fix = "take it out, or rename it if it is misspelt"
            raise DatasetError("unknown column", file=path, place="line 1", found=repr(column), expected=expected, fix=fix)


def check_unique(path: Path, rows: Sequence[Row], column: str) -> None:
    """Raises DatasetError where two rows have the same value in a column."""
    first: dict[str, Row] = {}
    for row in rows:
        other = first.setdefault(row.values[column], row)
        if other is not row:
            found = f"{row.values[column]!r}, also in line {other.line}"
            _fail_row(path, row, f"the same {column} twice", found=found, expected="one row per clip")


def _classes(path: Path, rows: list[Row], class_names: Sequence[str] | None) -> tuple[tuple[str, ...], list[int]]:
    """Class names, and the label of each row."""
    labels = [row.values["label"] for row in rows]
    numbers = all(label.isdecimal() and label.isascii() for label in labels)
    if class_names is None:
        names = tuple(sorted(set(labels), key=(lambda label: (int(label), label)) if numbers else None))
        return names, [names.index(label) for label in labels]
    names = tuple(class_names)
    if not names or len(set(names)) < len(names):
        raise ConfigError("class names must be there, and different", found=names or "no class name", expected="one per class")
    by_index = numbers and not set(labels) & set(names)
    known = [str(number) for number in range(len(names))] if by_index else names
    for row, label in zip(rows, labels, strict=True):
        if label not in known:
            expected = f"0 to {len(names) - 1}" if by_index else f"one of {', '.join(names)}"
            _fail_row(path, row, "the label is no class", found=repr(label), expected=expected, fix="give a class name for it")
    return names, [known.index(label) for label in labels]


def row_side(path: Path, row: Row, column: str) -> str:
    """The side that a row is on by a split column. Raises DatasetError where that is none."""
    side = row.values[column]
    if side not in SIDES:
        _fail_row(path, row, f"wrong {column}", found=repr(side), expected=" or ".join(SIDES))
    return side


def row_settings(path: Path, row: Row) -> tuple[int, int, float]:
    """Subject, camera and frame rate of a row. Raises DatasetError where they are no numbers."""
    numbers = []
    for column in ("subject", "camera"):
        text = row.values.get(column) or "0"
        if not (text.isdecimal() and text.isascii() and len(text) < 10):
            _fail_row(path, row, f"wrong {column}", found=repr(text), expected="a number from 0")
        numbers.append(int(text))
    text = row.values.get("frame_rate") or str(FRAME_RATE)
    try:
        rate = float(text)
    except ValueError:
        rate = math.nan
    if not 0 < rate < math.inf:
        _fail_row(path, row, "wrong frame_rate", found=repr(text), expected="frames per second, more than 0")
    return numbers[0], numbers[1], rate


def _fail_row(path: Path, row: Row, problem: str, *, found: object, expected: object, fix: str = "correct the row") -> NoReturn:
    raise DatasetError(problem, file=path, place=f"line {row.line}", found=found, expected=expected, fix=fix)
