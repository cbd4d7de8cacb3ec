"""Weights in .caffemodel files as NumPy arrays, read without Caffe: Protocol Buffers by hand, of which nothing is run.

Formats: protobuf.dev/programming-guides/encoding, and the message NetParameter of Caffe's caffe.proto. A network is a list of
layers, in field 100 (LayerParameter) or, in older files, field 2 (V1LayerParameter); a layer has a name and blobs; a blob has a
shape and float or double values. All other fields are passed over. Every length is held against the end of the message that it
stands in, so that a file that is cut short, or that says what cannot be, is refused.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import prod
from pathlib import Path

import numpy as np

from keras_actrec.errors import WeightsError

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_SIZES = {_FIXED64: 8, _FIXED32: 4}
_LONGEST_VARINT = 10  # bytes
_MOST_AXES = 32  # Caffe's own limit
_AGAIN = "fetch or write the file again"
# Field of the layers in a network → fields of name and blobs in a layer.
_LAYERS = {100: (1, 7), 2: (4, 6)}
_VERSION_0 = 1  # field of a V1LayerParameter that holds a layer of a still older form
_OLD_SIZES = (1, 2, 3, 4)  # fields num, channels, height, width of a blob, from before it had a shape
_DATA, _SHAPE, _DOUBLE_DATA = 5, 7, 8
_DIM = 1


@dataclass(frozen=True)
class _Field:
    """A field of a message: its number, how it is written, and the value, or the bytes begin to end that it is."""

    number: int
    wire: int
    value: int
    begin: int
    end: int


@dataclass(frozen=True)
class _File:
    path: Path
    content: memoryview

    def damaged(self, at: int, problem: str = "the file is cut short, damaged or no .caffemodel") -> WeightsError:
        return WeightsError(problem, file=self.path, place=f"byte {at}", fix=_AGAIN)


def read_caffemodel(path: str | Path) -> dict[str, list[np.ndarray]]:
    """Reads the weights of a network.

    Args:
        path: a binary .caffemodel file.

    Returns:
        Layer name → its blobs in the file's order: float32, or float64 where the file has doubles. Layers without blobs are
        left out. A blob of an old file, which knows no shapes, has four axes.

    Raises:
        WeightsError: no such file, of another format (HDF5 and layers from before version 1 included), cut short or damaged,
            two layers of the same name, or no layer with weights.
    """
    path = Path(path)
    if not path.is_file():
        raise WeightsError("there is no such weights file", file=path)
    content = path.read_bytes()
    _refuse_others(content[:64], path)
    file = _File(path, memoryview(content))
    layers: dict[str, list[np.ndarray]] = {}
    for field in _fields(file, 0, len(content)):
        if field.number in _LAYERS:
            name, blobs = _layer(file, _message(file, field), *_LAYERS[field.number])
            if blobs and name in layers:
                raise WeightsError("two layers of the same name have weights", file=path, place=f"layer {name}", fix=_AGAIN)
            if blobs:
                layers[name] = blobs
    if not layers:
        raise WeightsError(
            "the file has no layer with weights",
            file=path,
            fix="give the .caffemodel of the trained network, not its .prototxt or the state of its solver",
        )
    return layers


def _refuse_others(start: bytes, path: Path) -> None:
    """Formats that come under the same name, by how they begin."""
    if not start:
        raise WeightsError("this is no .caffemodel", file=path, found="an empty file", fix=_AGAIN)
    for beginnings, what, fix in (
        ((b"\x89HDF",), "HDF5", "save the network as a binary .caffemodel"),
        ((b"version https://git-lfs",), "a pointer to a file", "git lfs pull brings the file behind it"),
        ((b"name:", b"layer", b"<", b"#"), "text", "give the binary .caffemodel"),
    ):
        if start.startswith(beginnings):
            raise WeightsError("this is no .caffemodel", file=path, found=f"{what}, {start[:16]!r} at its start", fix=fix)


# Layers and blobs.


def _layer(file: _File, layer: _Field, name_field: int, blob_field: int) -> tuple[str, list[np.ndarray]]:
    name, blobs = "", []
    for field in _fields(file, layer.begin, layer.end):
        if field.number == name_field:
            _message(file, field)
            try:
                name = str(file.content[field.begin : field.end], "utf-8")
            except UnicodeDecodeError as error:
                raise file.damaged(field.begin) from error
        elif field.number == blob_field:
            blobs.append(_message(file, field))
        elif name_field != 1 and field.number == _VERSION_0 and field.wire == _BYTES:
            raise WeightsError(
                "layers of a form that Caffe gave up",
                file=file.path,
                place=f"byte {field.begin}",
                fix="bring the file up to date with Caffe's upgrade_net_proto_binary",
            )
    return name, [_blob(file, blob, f"layer {name}, blob {number}") for number, blob in enumerate(blobs)]


def _blob(file: _File, blob: _Field, place: str) -> np.ndarray:
    values: dict[int, list[np.ndarray]] = {_DATA: [], _DOUBLE_DATA: []}
    old_sizes: dict[int, int] = {}
    shape: list[int] | None = None
    for field in _fields(file, blob.begin, blob.end):
        if field.number in values:
            values[field.number].append(_numbers(file, field, "<f4" if field.number == _DATA else "<f8"))
        elif field.number == _SHAPE:
            shape = [] if shape is None else shape
            shape.extend(_dims(file, _message(file, field)))
        elif field.number in _OLD_SIZES:
            if field.wire != _VARINT:
                raise file.damaged(field.begin)
            old_sizes[field.number] = _signed(field.value)
    if shape is None and old_sizes:
        shape = [old_sizes.get(number, 0) for number in _OLD_SIZES]
    kind, pieces = (np.float64, values[_DOUBLE_DATA]) if values[_DOUBLE_DATA] else (np.float32, values[_DATA])
    array = np.concatenate([np.empty(0, kind), *pieces]).astype(kind, copy=False)
    if shape is None:
        shape = [array.size]
    if len(shape) > _MOST_AXES or min(shape, default=0) < 0 or prod(shape) != array.size:
        raise WeightsError(
            "the shape does not fit the values",
            file=file.path,
            place=place,
            found=f"shape ({', '.join(map(str, shape[:_MOST_AXES]))}) and {array.size} values",
            fix=_AGAIN,
        )
    return array.reshape(shape)


def _dims(file: _File, shape: _Field) -> list[int]:
    dims = []
    for field in _fields(file, shape.begin, shape.end):
        if field.number != _DIM:
            continue
        if field.wire == _VARINT:
            dims.append(_signed(field.value))
            continue
        at = _message(file, field).begin
        while at < field.end:
            value, at = _varint(file, at, field.end)
            dims.append(_signed(value))
    return dims


def _numbers(file: _File, field: _Field, kind: str) -> np.ndarray:
    """The values of one `repeated` field: one alone, or packed to a run of bytes."""
    size = np.dtype(kind).itemsize
    if (field.wire != _BYTES and _SIZES.get(field.wire) != size) or (field.end - field.begin) % size:
        raise file.damaged(field.begin)
    return np.frombuffer(file.content[field.begin : field.end], kind)


# Messages of Protocol Buffers.


def _fields(file: _File, begin: int, end: int) -> Iterator[_Field]:
    at = begin
    while at < end:
        start = at
        key, at = _varint(file, at, end)
        number, wire, value = key >> 3, key & 7, 0
        if wire == _VARINT:
            value, after = _varint(file, at, end)
        elif wire == _BYTES:
            length, at = _varint(file, at, end)
            after = at + length
        elif wire in _SIZES:
            after = at + _SIZES[wire]
        else:
            raise file.damaged(start)
        if number == 0 or after > end:
            raise file.damaged(start)
        yield _Field(number, wire, value, at, after)
        at = after


def _message(file: _File, field: _Field) -> _Field:
    """The field, if it is a run of bytes: a message, a text or packed numbers."""
    if field.wire != _BYTES:
        raise file.damaged(field.begin)
    return field


def _varint(file: _File, at: int, end: int) -> tuple[int, int]:
    """A number of seven bits per byte, the lowest first, and where it ends."""
    value = 0
    for index in range(_LONGEST_VARINT):
        if at + index >= end:
            break
        byte = file.content[at + index]
        value |= (byte & 0x7F) << 7 * index
        if byte < 0x80:
            return value, at + index + 1
    raise file.damaged(at)


def _signed(value: int) -> int:
    """int32 and int64 are written as 64 bits in two's complement."""
    value &= (1 << 64) - 1
    return value - (1 << 64) if value >> 63 else value
