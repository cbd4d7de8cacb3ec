"""Arrays of numbers and text from MATLAB files, version 5 (-v6 and -v7 of MATLAB's save).

Source: "MAT-File Format" (MathWorks), chapter 1, level 5. A file is 128 bytes of header, then elements: type and size in bytes,
and that many bytes, compressed or not. An array is an element of elements: flags, dimensions, name, values.

SciPy reads these files too, but a damaged one can end its process (a segmentation fault in `scipy.io.loadmat`), and with it the
extraction of a whole data set. Here every size is compared with the bytes that are there.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

HEADER = 128
LARGEST = 1 << 28
"""Bytes that a compressed element may have: those of a clip have some thousands."""

_MATRIX, _COMPRESSED = 14, 15
_NUMBERS = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8", 12: "i8", 13: "u8"}
"""Type of an element → how its values are stored; of MATLAB's types those that are numbers."""
_CLASSES = {6: "f8", 7: "f4", 8: "i1", 9: "u1", 10: "i2", 11: "u2", 12: "i4", 13: "u4", 14: "i8", 15: "u8"}
"""Class of an array → type of its values; they may be stored in a smaller one."""
_TEXT = 4
_ENCODINGS = {1: "latin-1", 2: "latin-1", 4: "utf-16", 16: "utf-8", 17: "utf-16", 18: "utf-32"}
_COMPLEX = 0x0800


def read_mat(path: Path, names: Sequence[str]) -> dict[str, np.ndarray]:
    """Reads some arrays of a file.

    Args:
        path: the file.
        names: of the arrays; what else is in the file is passed over.

    Returns:
        Name → array, of those that are in the file: numbers of the type and shape that MATLAB shows; text as an array of one
        string per row. Of complex numbers only the real part is read, as complex128.

    Raises:
        OSError: the file cannot be read.
        ValueError: it is no MATLAB file of version 5, cut short or damaged, or one of the arrays holds something else.
    """
    data = path.read_bytes()
    order = {b"IM": "<", b"MI": ">"}.get(data[HEADER - 2 : HEADER])
    if order is None:
        raise ValueError("no MATLAB file of version 5" if data else "an empty file")
    arrays: dict[str, np.ndarray] = {}
    for kind, content in _elements(memoryview(data)[HEADER:], order):
        if kind == _COMPRESSED:
            for inner, part in _elements(memoryview(_decompressed(content)), order):
                if inner == _MATRIX:
                    _add(arrays, part, order, names)
        elif kind == _MATRIX:
            _add(arrays, content, order, names)
    return arrays


def _elements(data: memoryview, order: str) -> Iterator[tuple[int, memoryview]]:
    """Type and bytes of each element. Raises ValueError where the bytes end too early."""
    place = 0
    while place < len(data):
        if len(data) - place < 8:
            raise ValueError("cut short in the head of an element")
        kind, size = (int(number) for number in np.frombuffer(data[place : place + 8], f"{order}u4"))
        if kind >> 16:  # a small element: both in four bytes, then at most four bytes of values
            kind, size, start, step = kind & 0xFFFF, kind >> 16, place + 4, 8
            if size > 4:
                raise ValueError(f"a small element of {size} bytes")
        else:
            start, step = place + 8, 8 + size
            if kind != _COMPRESSED:
                step += -size % 8  # elements begin at multiples of 8
        if start + size > len(data):
            raise ValueError(f"cut short: an element of {size} bytes, {len(data) - start} are there")
        yield kind, data[start : start + size]
        place += step


def _decompressed(data: memoryview) -> bytes:
    stream = zlib.decompressobj()
    try:
        content = stream.decompress(data, LARGEST)
    except zlib.error as error:
        raise ValueError(f"compressed values do not read: {error}") from error
    if len(content) >= LARGEST:
        raise ValueError("compressed values are larger than any clip")
    # The end of the stream may be missing: two files of Penn Action (1605 and 1833) are like that, with all of their values.
    return content


def _add(arrays: dict[str, np.ndarray], data: memoryview, order: str, names: Sequence[str]) -> None:
    """Adds an array to `arrays` if its name is wanted."""
    parts = _elements(data, order)
    flags, dimensions, name = (next(parts, (0, memoryview(b"")))[1] for _ in range(3))
    text = bytes(name).decode("latin-1")
    if text not in names:
        return
    if len(flags) != 8 or len(dimensions) % 4 or not 2 <= len(dimensions) // 4 <= 8:
        raise ValueError(f"{text}: no flags or no dimensions")
    flag = int(np.frombuffer(flags, f"{order}u4")[0])
    shape = tuple(int(size) for size in np.frombuffer(dimensions, f"{order}i4"))
    kind, values = next(parts, (0, memoryview(b"")))
    if min(shape) < 0:
        raise ValueError(f"{text}: dimensions {shape}")
    if flag & 0xFF == _TEXT:
        arrays[text] = _strings(text, kind, values, shape, order)
        return
    if flag & 0xFF not in _CLASSES or kind not in _NUMBERS:
        raise ValueError(f"{text}: neither numbers nor text")
    stored = np.dtype(order + _NUMBERS[kind])
    if math.prod(shape) * stored.itemsize != len(values):
        raise ValueError(f"{text}: {len(values)} bytes of values for dimensions {shape}")
    with np.errstate(invalid="ignore", over="ignore"):  # a damaged type: numbers that the array's class cannot hold
        array = np.frombuffer(values, stored).astype(complex if flag & _COMPLEX else _CLASSES[flag & 0xFF])
    arrays[text] = array.reshape(shape, order="F")


def _strings(name: str, kind: int, values: memoryview, shape: tuple[int, ...], order: str) -> np.ndarray:
    encoding = _ENCODINGS.get(kind)
    if encoding is None or len(shape) != 2:
        raise ValueError(f"{name}: text of an unknown form")
    if encoding in ("utf-16", "utf-32"):
        encoding += "-le" if order == "<" else "-be"
    text = bytes(values).decode(encoding)  # UnicodeDecodeError is a ValueError
    if len(text) != math.prod(shape):
        raise ValueError(f"{name}: {len(text)} letters for dimensions {shape}")
    return np.array(["".join(text[row :: shape[0]]) for row in range(shape[0])], np.str_)
