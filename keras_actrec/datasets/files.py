"""What data set modules share when they look through a data root and read text files of numbers."""

from __future__ import annotations

import os
from collections.abc import Iterator
from importlib import resources
from pathlib import Path
from typing import NoReturn

import numpy as np

from keras_actrec.errors import DatasetError, SkeletonFormatError

FILE_FIX = "get the file again from the data set, or leave the clip out"
MOST_JOINTS = 50_000_000
"""Of a clip, frames · bodies · joints: a gigabyte. A small file that lists many bodies once each, or numbers its frames from 0
to 200,000, must not ask for all memory."""


def walk_folders(root: str | Path, *, expected: str, fix: str) -> Iterator[tuple[Path, tuple[str, ...]]]:
    """Folders at and below a data root with the names of their files, both in sorted order.

    Links are followed; each folder comes once, even where links form a circle. Paths are absolute, so that the names of the
    folders above the root can be read too.

    Args:
        root: the data root.
        expected, fix: for the error: what the data root should hold, and where the data set is to be had.

    Raises:
        DatasetError: the root is no folder, or a folder cannot be read.
    """
    root = Path(root)
    if not root.is_dir():
        found = "a file" if root.exists() else "nothing"
        raise DatasetError("the data root is no folder", file=root, found=found, expected=expected, fix=fix)
    seen = set()
    for folder, folders, names in os.walk(root.absolute(), followlinks=True, onerror=_unreadable):
        real = os.path.realpath(folder)
        if real in seen:
            folders.clear()
            continue
        seen.add(real)
        folders.sort()
        yield Path(folder), tuple(sorted(names))


def _unreadable(error: OSError) -> NoReturn:
    raise DatasetError(
        "a folder of the data root cannot be read", file=error.filename, found=error.strerror, fix="give read access to it"
    ) from error


def add_clip(clips: dict[str, Path], clip_id: str, path: Path) -> None:
    """Adds a clip's file to `clips`. Raises DatasetError if the clip is there already: the same clip in two places."""
    other = clips.setdefault(clip_id, path)
    if other != path:
        raise DatasetError(
            "the same clip is in two places", file=path, place=clip_id, found=f"also {other}", expected="one",
            fix="take one of the two out of the data root",
        )  # fmt: skip


def check_joint_count(path: str | Path, frames: int, people: int, joints: int, *, fix: str = FILE_FIX) -> None:
    """Raises SkeletonFormatError where a clip has more joints than `MOST_JOINTS`. To be called before they get their memory."""
    if frames * people * joints > MOST_JOINTS:
        raise SkeletonFormatError(
            "the clip has more frames and bodies than any clip", file=path, found=f"{frames} frames, {people} bodies",
            expected=f"at most {MOST_JOINTS // joints} frames times bodies", fix=fix,
        )  # fmt: skip


def published_lines(name: str) -> tuple[str, ...]:
    """Lines of a file of `datasets/data`: what was published about a data set. Without comments (#) and empty lines."""
    text = resources.files("keras_actrec.datasets").joinpath("data", name).read_text(encoding="ascii")
    return tuple(line for line in text.splitlines() if line and not line.startswith("#"))


def text_lines(path: Path) -> list[str]:
    """Lines of an ASCII text file without the empty ones at its end; none of an empty file.

    Raises:
        SkeletonFormatError: the file cannot be read or is not ASCII text.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        found = error.strerror or str(error)
        raise SkeletonFormatError("the skeleton file cannot be read", file=path, found=found, fix=FILE_FIX) from error
    try:
        text = data.decode("ascii")
    except UnicodeDecodeError as error:
        place, found = f"byte {error.start + 1}", f"byte 0x{data[error.start]:02x}"
        raise SkeletonFormatError(
            "not a text file of numbers", file=path, place=place, found=found, expected="numbers and commas", fix=FILE_FIX
        ) from error
    return [line.rstrip("\r") for line in text.rstrip().split("\n")] if text.strip() else []


def number_rows(path: Path, lines: list[str], columns: int, *, first: int = 1) -> np.ndarray:
    """Reads lines of comma-separated numbers. A comma may end a line.

    Args:
        path: the file, for the error message.
        lines: the lines.
        columns: numbers of a line.
        first: number of the first line in the file, from 1.

    Returns:
        float64 (lines, columns).

    Raises:
        SkeletonFormatError: a line has another number of values, or a value is no number.
    """
    rows = np.empty((len(lines), columns))
    for index, line in enumerate(lines):
        tokens = line.strip().rstrip(",").split(",")
        place = f"line {first + index}"
        if len(tokens) != columns:
            raise SkeletonFormatError(
                "wrong number of values", file=path, place=place, found=len(tokens), expected=columns, fix=FILE_FIX
            )
        try:
            rows[index] = [float(token) for token in tokens]
        except ValueError as error:
            raise SkeletonFormatError(
                "not a number", file=path, place=place, found=str(error).partition(": ")[2], expected="a number", fix=FILE_FIX
            ) from error
    return rows
