"""Tensors of .safetensors files as NumPy arrays: 8 bytes of length, a JSON header, raw values; there is nothing in it to run.

Format: github.com/huggingface/safetensors. The header says of every tensor its type, shape and the bytes of its values, counted
from the end of the header. Those bytes have to follow each other without gap or overlap up to the end of the file, so that a
file that was cut short, or that says two things about the same bytes, is not read.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from math import prod
from pathlib import Path

import numpy as np

from keras_actrec.errors import WeightsError

_LENGTH_BYTES = 8
_LONGEST_HEADER = 100_000_000  # bytes; the format's own limit
_METADATA = "__metadata__"
_BFLOAT16 = "BF16"
_TYPES = {
    "F64": "<f8", "F32": "<f4", "F16": "<f2", _BFLOAT16: "<u2", "I64": "<i8", "I32": "<i4", "I16": "<i2", "I8": "|i1",
    "U64": "<u8", "U32": "<u4", "U16": "<u2", "U8": "|u1", "BOOL": "|b1",
}  # fmt: skip
_AGAIN = "fetch or write the file again"


@dataclass(frozen=True)
class _Entry:
    """What the header says of a tensor: its values are bytes begin to end after the header."""

    kind: str
    shape: tuple[int, ...]
    begin: int
    end: int


def read_safetensors(path: str | Path) -> dict[str, np.ndarray]:
    """Reads all tensors of a file.

    Args:
        path: a .safetensors file with tensors of F64, F32, F16, BF16, of integers or BOOL.

    Returns:
        Name → array in the file's type, bfloat16 as float32. Arrays are read-only.

    Raises:
        WeightsError: no such file, of another format, cut short or damaged, or a tensor of another type.
    """
    path = Path(path)
    if not path.is_file():
        raise WeightsError("there is no such weights file", file=path)
    try:
        size = os.path.getsize(path)
        with path.open("rb") as file:
            length = _header_length(file.read(_LENGTH_BYTES), size, path)
            entries = _entries(file.read(length), path)
            _check_places(entries, size - _LENGTH_BYTES - length, path)
            values = file.read()
    except OSError as error:
        raise WeightsError(f"the file cannot be read: {error}", file=path, fix=_AGAIN) from error
    return {name: _array(entry, values) for name, entry in entries.items()}


def _header_length(start: bytes, size: int, path: Path) -> int:
    length = int.from_bytes(start, "little")
    if len(start) < _LENGTH_BYTES or not 2 <= length <= min(_LONGEST_HEADER, size - _LENGTH_BYTES):
        raise WeightsError(
            "the file is cut short or no .safetensors file", file=path,
            found=f"a header of {length} bytes in a file of {size}", expected="8 bytes of length, then a header of JSON",
            fix=_AGAIN,
        )  # fmt: skip
    return length


def _entries(text: bytes, path: Path) -> dict[str, _Entry]:
    try:
        header = json.loads(text.decode("utf-8"), object_pairs_hook=_unique)
    except (ValueError, RecursionError) as error:  # no UTF-8, no JSON, or a name twice
        raise WeightsError(f"the header cannot be read: {error}", file=path, place="header", fix=_AGAIN) from error
    if not isinstance(header, dict):
        raise WeightsError("the header holds no tensors", file=path, found=type(header).__name__, fix=_AGAIN)
    header.pop(_METADATA, None)
    return {name: _entry(said, path, f"tensor {name}") for name, said in header.items()}


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    unique = dict(pairs)
    if len(unique) != len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"{next(name for name in names if names.count(name) > 1)} is there twice")
    return unique


def _entry(said: object, path: Path, place: str) -> _Entry:
    fields = said if isinstance(said, dict) else {}
    shape, offsets, kind = fields.get("shape"), fields.get("data_offsets"), fields.get("dtype")
    if not _whole_numbers(shape) or not _whole_numbers(offsets) or len(offsets) != 2:
        raise WeightsError(
            "the header says no shape and place of a tensor", file=path, place=place, found=str(said)[:80],
            expected="dtype, shape and data_offsets", fix=_AGAIN,
        )  # fmt: skip
    if not isinstance(kind, str) or kind not in _TYPES:
        raise WeightsError(
            "a tensor of another type", file=path, place=place, found=repr(kind), expected=" | ".join(_TYPES),
            fix="convert it to float32 before it is saved",
        )  # fmt: skip
    entry = _Entry(kind, tuple(shape), *offsets)
    needed = prod(entry.shape) * np.dtype(_TYPES[kind]).itemsize
    if entry.end - entry.begin != needed:
        raise WeightsError(
            "the values of a tensor do not fit its shape", file=path, place=place,
            found=f"{entry.end - entry.begin} bytes", expected=f"{needed} bytes for {kind} {entry.shape}", fix=_AGAIN,
        )  # fmt: skip
    return entry


def _whole_numbers(values: object) -> bool:
    """A list of integers from 0 on; true and false are none."""
    return isinstance(values, list) and all(type(value) is int and value >= 0 for value in values)


def _check_places(entries: dict[str, _Entry], size: int, path: Path) -> None:
    """Values follow each other from the header to the end of the file."""
    place = 0
    for name, entry in sorted(entries.items(), key=lambda item: (item[1].begin, item[1].end)):
        if entry.begin != place:
            raise WeightsError(
                "values overlap" if entry.begin < place else "there are bytes that belong to no tensor",
                file=path, place=f"tensor {name}", found=f"byte {entry.begin}", expected=f"byte {place}", fix=_AGAIN,
            )  # fmt: skip
        place = entry.end
    if place != size:
        raise WeightsError(
            "values are cut short" if place > size else "the file goes on behind its tensors",
            file=path, found=f"{size} bytes of values", expected=f"{place} bytes", fix=_AGAIN,
        )  # fmt: skip


def _array(entry: _Entry, values: bytes) -> np.ndarray:
    kind = np.dtype(_TYPES[entry.kind])
    array = np.frombuffer(values, kind, prod(entry.shape), entry.begin) if prod(entry.shape) else np.empty(0, kind)
    array = array.astype(kind.newbyteorder("="), copy=False)
    if entry.kind == _BFLOAT16:  # the upper half of a float32
        array = (array.astype(np.uint32) << 16).view(np.float32)
    array = array.reshape(entry.shape)
    array.flags.writeable = False
    return array
