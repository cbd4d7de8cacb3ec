"""MATLAB files: what SciPy wrote reads as SciPy reads it; every cut, and every wrong byte, is values or a ValueError."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.io import loadmat, savemat

from keras_actrec.datasets import mat_files
from keras_actrec.datasets.mat_files import read_mat

FIELDS = {
    "other": {"deep": np.ones(3)},
    "a": np.arange(24.0).reshape(2, 3, 4) / 7,
    "b": np.arange(6, dtype=np.uint8).reshape(3, 2),
    "c": np.array([[-300, 7]], np.int16),
    "one": 5.0,
    "text": "bowl",
    "rows": np.array(["ab ", "cde"]),
    "empty": np.zeros((0, 4)),
    "single": np.array([[1.5, np.nan]], np.float32),
    "flag": np.array([[True, False]]),
}
NAMES = [name for name in FIELDS if name != "other"]


@pytest.fixture(params=[False, True], ids=["plain", "compressed"])
def path(request, tmp_path):
    savemat(tmp_path / "a.mat", FIELDS, do_compression=request.param)
    return tmp_path / "a.mat"


def test_the_same_as_scipy(path):
    expected, found = loadmat(path), read_mat(path, [*NAMES, "absent"])
    assert found.keys() == set(NAMES)
    for name in NAMES:
        assert found[name].dtype.kind == expected[name].dtype.kind
        np.testing.assert_array_equal(found[name], expected[name], err_msg=name)


def test_big_endian(tmp_path):
    def element(kind, data):
        return np.array([kind, len(data)], ">u4").tobytes() + data + bytes(-len(data) % 8)

    values = np.array([[1.5, -2], [3, 4]])
    parts = [
        element(6, np.array([6, 0], ">u4").tobytes()),
        element(5, np.array([2, 2], ">i4").tobytes()),
        element(1, b"x"),
        element(9, values.T.astype(">f8").tobytes()),
    ]
    (tmp_path / "a.mat").write_bytes(b"".ljust(124) + b"\x01\x00MI" + element(14, b"".join(parts)))
    assert read_mat(tmp_path / "a.mat", ["x"])["x"].tolist() == values.tolist()


def test_cut_anywhere(path):
    whole = path.read_bytes()
    for stop in range(len(whole) - 9):
        path.write_bytes(whole[:stop])
        try:
            assert len(read_mat(path, NAMES)) < len(NAMES)  # cut between two arrays
        except ValueError:
            continue


def test_zeros_without_end(tmp_path, monkeypatch):
    monkeypatch.setattr(mat_files, "LARGEST", 10_000)
    savemat(tmp_path / "a.mat", {"a": np.zeros((100, 100))}, do_compression=True)
    with pytest.raises(ValueError, match="larger than any clip"):
        read_mat(tmp_path / "a.mat", ["a"])


@pytest.mark.parametrize(
    ("content", "words"), [(b"", "an empty file"), (b"junk" * 100, "no MATLAB file of version 5")], ids=["empty", "junk"]
)
def test_files_that_are_none(tmp_path, content, words):
    (tmp_path / "a.mat").write_bytes(content)
    with pytest.raises(ValueError, match=words):
        read_mat(tmp_path / "a.mat", ["a"])


def test_what_is_neither_numbers_nor_text(path):
    with pytest.raises(ValueError, match="other: neither numbers nor text"):
        read_mat(path, ["other"])
