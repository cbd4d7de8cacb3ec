"""Reading .safetensors: every type, order and padding, and files that are damaged or say what cannot be."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from keras_actrec.convert.safetensors_files import read_safetensors
from keras_actrec.errors import WeightsError

_NAMES = {"f8": "F64", "f4": "F32", "f2": "F16", "i8": "I64", "i4": "I32", "u1": "U8", "b1": "BOOL"}


def write(path: Path, header: object, values: bytes = b"", *, padding: int = 0, length: int | None = None) -> Path:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    text += b" " * padding
    path.write_bytes((len(text) if length is None else length).to_bytes(8, "little") + text + values)
    return path


def write_tensors(path: Path, tensors: dict[str, np.ndarray], **options) -> Path:
    """As the format's own library writes them, one behind the other."""
    header, contents, place = {"__metadata__": {"format": "pt"}}, [], 0
    for name, array in tensors.items():
        contents.append(array.astype(array.dtype.newbyteorder("<")).tobytes())
        offsets = [place, place + len(contents[-1])]
        header[name] = {"dtype": _NAMES[array.dtype.str[1:]], "shape": list(array.shape), "data_offsets": offsets}
        place = offsets[1]
    return write(path, header, b"".join(contents), **options)


def entry(begin: int, end: int, shape: list[int] | None = None, kind: str = "F32") -> dict:
    return {"dtype": kind, "shape": [(end - begin) // 4] if shape is None else shape, "data_offsets": [begin, end]}


def test_types_and_shapes(tmp_path):
    rng = np.random.default_rng(0)
    tensors = {
        "double": rng.standard_normal((2, 3)), "single": rng.standard_normal((4, 1, 2)).astype("f4"),
        "half": rng.standard_normal(5).astype("f2"), "count": np.array(7), "whole": np.arange(-3, 3, dtype="i4"),
        "byte": np.array([0, 255], "u1"), "flag": np.array([True, False, True]), "empty": np.zeros((0, 3), "f4"),
        "ö.weight": np.ones(1, "f4"),
    }  # fmt: skip
    for padding in (0, 5):
        found = read_safetensors(write_tensors(tmp_path / "x.safetensors", tensors, padding=padding))
        assert list(found) == list(tensors)
        for name, array in tensors.items():
            assert found[name].dtype == array.dtype and found[name].shape == array.shape
            np.testing.assert_array_equal(found[name], array)
            assert not found[name].flags.writeable


def test_bfloat16(tmp_path):
    """The upper half of a float32: 1.0 is 3F80, -2.5 is C020."""
    path = write(tmp_path / "x.safetensors", {"x": entry(0, 4, [2], "BF16")}, bytes.fromhex("803f20c0"))
    found = read_safetensors(path)["x"]
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, [1.0, -2.5])


def test_values_in_another_order_than_names(tmp_path):
    values = np.array([1, 2, 3], "<f4").tobytes()
    path = write(tmp_path / "x.safetensors", {"late": entry(4, 12), "early": entry(0, 4)}, values)
    found = read_safetensors(path)
    np.testing.assert_array_equal(found["late"], [2, 3])
    np.testing.assert_array_equal(found["early"], [1])


@pytest.mark.parametrize(
    ("header", "size", "words"),
    [
        ({"a": entry(0, 8), "b": entry(4, 12)}, 12, r"tensor b: values overlap \(found byte 4, expected byte 8"),
        ({"a": entry(0, 8), "b": entry(0, 8)}, 8, "values overlap"),
        ({"a": entry(0, 4), "b": entry(8, 12)}, 12, "tensor b: there are bytes that belong to no tensor"),
        ({"a": entry(4, 8)}, 8, "there are bytes that belong to no tensor"),
        ({"a": entry(0, 8)}, 7, r"values are cut short \(found 7 bytes of values, expected 8"),
        ({"a": entry(0, 8)}, 0, "values are cut short"),
        ({"a": entry(0, 8)}, 9, "the file goes on behind its tensors"),
        ({}, 4, "the file goes on behind its tensors"),
        ({"a": entry(0, 8, [3])}, 8, r"do not fit its shape \(found 8 bytes, expected 12 bytes for F32 \(3,\)"),
        ({"a": entry(8, 0, [2])}, 8, r"do not fit its shape \(found -8 bytes"),
        ({"a": entry(0, 8, [1 << 62, 1 << 62])}, 8, "do not fit its shape"),
        ({"a": entry(0, 8, [-2])}, 8, "says no shape and place"),
        ({"a": entry(0, 8, [True, 2])}, 8, "says no shape and place"),
        ({"a": {"dtype": "F32", "shape": [2]}}, 8, "says no shape and place"),
        ({"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8, 8]}}, 8, "says no shape and place"),
        ({"a": {"dtype": "F32", "shape": [2], "data_offsets": [0.0, 8.0]}}, 8, "says no shape and place"),
        ({"a": 5}, 8, r"says no shape and place of a tensor \(found 5"),
        ({"a": entry(0, 8, [8], "F8_E4M3")}, 8, r"tensor a: a tensor of another type \(found 'F8_E4M3'.*F32"),
        ({"a": entry(0, 8, [2], ["F32"])}, 8, "a tensor of another type"),
        ([1, 2], 0, r"the header holds no tensors \(found list"),
        (b'{"a": 1', 0, "the header cannot be read"),
        (b"\xff\xfe{}", 0, "the header cannot be read"),
        (b"[" * 100_000, 0, "the header cannot be read"),
        (b'{"a": 1, "a": 2}', 0, "the header cannot be read: a is there twice"),
    ],
)
def test_damaged_files(tmp_path, header, size, words):
    path = write(tmp_path / "x.safetensors", header, bytes(size))
    with pytest.raises(WeightsError, match=words) as error:
        read_safetensors(path)
    assert str(path) in str(error.value)


@pytest.mark.parametrize("content", [b"", b"1234567", bytes(8), b"\xff" * 16, (100).to_bytes(8, "little") + b"{}"])
def test_files_that_are_none(tmp_path, content):
    path = tmp_path / "x.safetensors"
    path.write_bytes(content)
    with pytest.raises(WeightsError, match=r"cut short or no .safetensors file"):
        read_safetensors(path)


def test_absent_file(tmp_path):
    with pytest.raises(WeightsError, match="there is no such weights file"):
        read_safetensors(tmp_path / "absent.safetensors")
    with pytest.raises(WeightsError, match="there is no such weights file"):
        read_safetensors(tmp_path)


def test_every_cut_is_seen(tmp_path):
    whole = write_tensors(tmp_path / "x.safetensors", {"a": np.arange(3, dtype="f4"), "b": np.ones((2, 2), "f2")}).read_bytes()
    for length in range(len(whole)):
        (tmp_path / "cut.safetensors").write_bytes(whole[:length])
        with pytest.raises(WeightsError):
            read_safetensors(tmp_path / "cut.safetensors")
