from __future__ import annotations

import os
import random
import warnings

import numpy as np
import pytest

from keras_actrec.datasets.ntu_skeleton import read_ntu_skeleton, write_ntu_skeleton
from keras_actrec.errors import ConfigError, DiskFullError, SkeletonFormatError
from keras_actrec.skeletons.layout import KINECT_V2, SkeletonLayout
from keras_actrec.skeletons.sequence import SkeletonSequence

ID = 72057594037931101


def joint_line(value: float, state: int = 2) -> str:
    """x = value, y = value + 1, z = value + 2; colour pixel (value + 3, value + 4); other columns 9."""
    return f"{value} {value + 1} {value + 2} 9 9 {value + 3} {value + 4} 9 9 9 9 {state}"


def body(body_id: int, value: float) -> list[str]:
    return [f"{body_id} 0 1 1 1 1 0 -0.1 0.2 2", "25", *(joint_line(value + joint) for joint in range(25))]


def text() -> list[str]:
    """Three frames: body ID, no body, bodies ID + 1 and ID."""
    return ["3", "1", *body(ID, 0), "0", "2", *body(ID + 1, 100), *body(ID, 200)]


def write(path, lines, newline="\r\n"):
    path.write_bytes(newline.join([*lines, ""]).encode())
    return path


def moving(frames: int = 6, people: int = 3, seed: int = 0) -> SkeletonSequence:
    draw = np.random.default_rng(seed)
    joints = draw.normal(size=(frames, people, 25, 3)).astype(np.float32)
    pixels = draw.uniform(0, 1920, size=(frames, people, 25, 2)).astype(np.float32)
    tracking = draw.integers(0, 3, size=(frames, people, 25)).astype(np.uint8)
    gone = draw.random((frames, people)) < 0.3
    gone[0] = False
    joints[gone], pixels[gone], tracking[gone] = np.nan, np.nan, 0
    return SkeletonSequence(joints, KINECT_V2, pixels, tracking, tuple(range(ID, ID + people)))


def assert_same(found: SkeletonSequence, expected: SkeletonSequence):
    # Files hold seven digits.
    np.testing.assert_allclose(found.joints, expected.joints, rtol=1e-6)
    np.testing.assert_allclose(found.pixels, expected.pixels, rtol=1e-6)
    np.testing.assert_array_equal(found.tracking, expected.tracking)
    assert found.body_ids == expected.body_ids


@pytest.mark.parametrize("newline", ["\r\n", "\n"], ids=["CRLF", "LF"])
def test_values_land_where_they_belong(tmp_path, newline):
    sequence = read_ntu_skeleton(write(tmp_path / "a.skeleton", text(), newline))
    assert sequence.joints.shape == (3, 2, 25, 3) and sequence.joints.dtype == np.float32
    assert sequence.body_ids == (ID, ID + 1), "in order of appearance, exact to the last digit"
    np.testing.assert_array_equal(sequence.present, [[True, False], [False, False], [True, True]])
    np.testing.assert_array_equal(sequence.joints[0, 0, 4], (4, 5, 6))
    np.testing.assert_array_equal(sequence.joints[2, 0, 24], (224, 225, 226))
    np.testing.assert_array_equal(sequence.joints[2, 1, 0], (100, 101, 102))
    np.testing.assert_array_equal(sequence.pixels[2, 1, 0], (103, 104))
    np.testing.assert_array_equal(sequence.tracking[:, :, 0], [[2, 0], [0, 0], [2, 2]])
    assert np.isnan(sequence.pixels[1]).all()


def test_a_clip_without_bodies(tmp_path):
    sequence = read_ntu_skeleton(write(tmp_path / "a.skeleton", ["2", "0", "0"]))
    assert sequence.joints.shape == (2, 0, 25, 3) and sequence.body_ids == ()


def test_six_bodies_in_a_frame(tmp_path):
    lines = ["1", "6", *(line for number in range(6) for line in body(number, number))]
    assert read_ntu_skeleton(write(tmp_path / "a.skeleton", lines)).people == 6


def test_values_that_are_no_number_are_unknown(tmp_path):
    lines = text()
    lines[4] = lines[4].replace("1 ", "NaN ", 1)
    lines[5] = "Infinity" + lines[5][1:]
    joints = read_ntu_skeleton(write(tmp_path / "a.skeleton", lines)).joints
    assert np.isnan(joints[0, 0, :2]).all() and not np.isnan(joints[0, 0, 2:]).any()


def test_the_last_line_end_may_be_missing(tmp_path):
    path = tmp_path / "a.skeleton"
    path.write_text("\n".join(text()))
    assert read_ntu_skeleton(path).length == 3


@pytest.mark.parametrize(
    ("line", "new", "message"),
    [
        (0, "1.5", r"line 1: wrong frame count .found '1\.5'"),
        (0, "-3", "line 1: wrong frame count .found '-3'"),
        (0, "0", "line 1: wrong frame count .found '0', expected an integer of at least 1"),
        (0, "9" * 5000, r"line 1: wrong frame count .found '9{37}\.\.\.'"),
        (0, "999999999", "line 86: the file ends too early"),
        (0, "2", "line 31: the file goes on after its last frame .found '2', expected the end after 2 frames"),
        (1, "7", "line 2: wrong body count of frame 0 .found '7', expected 0 to 6"),
        (2, "1 2 3", "line 3: wrong body info line .found 3 values, expected 10 values"),
        (2, "7.2E16 0 1 1 1 1 0 0 0 2", "line 3: wrong body id .found '7.2E16'"),
        (2, f"{ID} 0 1 1 1 1 0 0 e 2", "line 3: wrong body info line .found 'e', expected a number"),
        (3, "24", "line 4: wrong joint count .found '24', expected 25"),
        (5, "1 2 3 4 5 6 7 8 9 10 11", "line 6: wrong joint line .found 11 values, expected 12 values"),
        (5, "", "line 6: wrong joint line .found 0 values, expected 12 values"),
        (6, joint_line(3).replace("9", "a-b", 1), "line 7: not a text file of numbers .found byte 0x62"),
        (6, joint_line(3).replace("9", "N9", 1), "line 7: wrong joint line .found 'N9', expected a number"),
        (6, joint_line(3).replace("9", "é", 1), "line 7: not a text file of numbers .found byte 0xc3"),
        (7, joint_line(3, state=3), "line 8: wrong tracking state of a joint .found 3, expected 0, 1 or 2"),
        (58, f"{ID + 1} 0 1 1 1 1 0 0 0 2", f"line 59: the same body is in a frame twice .found {ID + 1}"),
    ],
)
def test_each_fault_is_named_with_its_line_and_the_way_out(tmp_path, line, new, message):
    lines = text()
    lines[line] = new
    path = write(tmp_path / "a.skeleton", lines)
    with pytest.raises(SkeletonFormatError, match=message) as error:
        read_ntu_skeleton(path)
    assert str(path) in str(error.value)
    assert "Get the file again from the data set, or leave the clip out" in str(error.value)


@pytest.mark.parametrize("content", [b"", b"\r\n \r\n"], ids=["nothing", "blank lines"])
def test_empty_file(tmp_path, content):
    path = tmp_path / "a.skeleton"
    path.write_bytes(content)
    with pytest.raises(SkeletonFormatError, match=r"a\.skeleton: the file is empty .*Get the file again"):
        read_ntu_skeleton(path)


def test_a_file_that_is_not_there_or_a_folder(tmp_path):
    for path in (tmp_path / "missing.skeleton", tmp_path):
        with pytest.raises(SkeletonFormatError, match=r"cannot be read .*Get the file again") as error:
            read_ntu_skeleton(path)
        assert str(path) in str(error.value)


def test_a_file_cut_short_at_any_byte_is_refused(tmp_path):
    whole = "\r\n".join(["2", "0", "1", *body(ID, 0.25), ""]).encode()
    path = tmp_path / "a.skeleton"
    for stop in range(len(whole) - len("\r\n")):
        path.write_bytes(whole[:stop])
        with pytest.raises(SkeletonFormatError):
            read_ntu_skeleton(path)
    path.write_bytes(whole)
    assert read_ntu_skeleton(path).length == 2


INSERTS = [b"-", b".", b"E", b" ", b"\n", b"\r", b"9" * 400, b"NaN", b"1E999", b"1E99", b"_", b"\x00"]


def mutate(data: bytes, draw: random.Random) -> bytes:
    kind, at = draw.randrange(6), draw.randrange(len(data))
    lines = data.split(b"\r\n")
    line = draw.randrange(len(lines))
    if kind == 0:
        return data[:at] + bytes([draw.randrange(256)]) + data[at + 1 :]
    if kind == 1:
        return data[:at] + draw.choice(INSERTS) + data[at:]
    if kind == 2:
        return data[:at] + data[at + draw.randrange(1, 200) :]
    if kind == 3:
        return data[:at]
    if kind == 4:
        return b"\r\n".join(lines[:line] + lines[line + 1 :])
    return b"\r\n".join([*lines[:line], draw.choice(lines), *lines[line:]])


def test_mutated_files_give_a_sequence_or_the_one_error(tmp_path):
    path = tmp_path / "a.skeleton"
    write_ntu_skeleton(path, moving(frames=3, people=2))
    whole, draw, refused = path.read_bytes(), random.Random(0), 0
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for _ in range(600):
            path.write_bytes(mutate(whole, draw))
            try:
                sequence = read_ntu_skeleton(path)
            except SkeletonFormatError as error:
                refused += 1
                assert error.file == str(path) and error.fix
            else:
                assert sequence.joints.shape[2:] == (25, 3) and not np.isinf(sequence.joints).any()
    assert refused > 300


@pytest.mark.parametrize("newline", ["\r\n", "\n"], ids=["CRLF", "LF"])
def test_round_trip(tmp_path, newline):
    path, sequence = tmp_path / "a.skeleton", moving()
    write_ntu_skeleton(path, sequence, newline=newline)
    assert_same(read_ntu_skeleton(path), sequence)
    data = path.read_bytes()
    assert data.endswith(newline.encode()) and data.count(b"\r") == (data.count(b"\n") if newline == "\r\n" else 0)
    assert [file.name for file in tmp_path.iterdir()] == ["a.skeleton"]


def test_without_pixels_tracking_and_ids(tmp_path):
    joints = moving().joints
    write_ntu_skeleton(tmp_path / "a.skeleton", SkeletonSequence(joints, KINECT_V2))
    found = read_ntu_skeleton(tmp_path / "a.skeleton")
    np.testing.assert_allclose(found.joints, joints, rtol=1e-6)
    assert np.isnan(found.pixels).all() and len(set(found.body_ids)) == 3
    np.testing.assert_array_equal(found.tracking == 2, ~np.isnan(joints).any(axis=3))


def test_an_unknown_joint_of_a_known_body_comes_back_unknown(tmp_path):
    sequence = moving()
    sequence.joints[0, 1, 3] = np.nan
    write_ntu_skeleton(tmp_path / "a.skeleton", sequence)
    assert_same(read_ntu_skeleton(tmp_path / "a.skeleton"), sequence)


@pytest.mark.parametrize(
    ("sequence", "message"),
    [
        (moving(people=7), "too many bodies in a frame .found 7, expected at most 6"),
        (SkeletonSequence(np.zeros((0, 1, 25, 3), np.float32), KINECT_V2), "needs a frame"),
        (SkeletonSequence(np.ones((1, 2, 25, 3), np.float32), KINECT_V2, body_ids=(5, 5)), "body ids must be different"),
        (SkeletonSequence(np.ones((1, 1, 25, 3), np.float32), KINECT_V2, body_ids=(-1,)), "body ids must be different"),
        (
            SkeletonSequence(
                np.ones((1, 1, 1, 3), np.float32), SkeletonLayout("point", ("a",), (-1,), (0, 0), (), (("all", (0,)),))
            ),
            "holds Kinect v2 joints .found point",
        ),
    ],
    ids=["seven bodies", "no frame", "same ids", "negative id", "layout"],
)
def test_what_cannot_be_written(tmp_path, sequence, message):
    with pytest.raises(ConfigError, match=message):
        write_ntu_skeleton(tmp_path / "a.skeleton", sequence)
    assert not list(tmp_path.iterdir())


def test_a_full_disk_leaves_no_file(tmp_path, monkeypatch):
    def full(source, target):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(DiskFullError, match=r"a\.skeleton: no space left .*Free some space"):
        write_ntu_skeleton(tmp_path / "a.skeleton", moving())
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("clip", "frames", "bodies"),
    [
        ("S001C001P001R001A001", 103, 1),
        ("S001C001P001R001A011", 82, 1),
        ("S001C001P001R001A050", 74, 2),
        ("S001C003P008R002A058", 70, 2),
        ("S002C001P003R001A003", 100, 1),
    ],
)
def test_real_files(actrec_data, tmp_path, clip, frames, bodies):
    """Frames and bodies as in the files' own counts; every number against a plain reading of the text."""
    path = actrec_data / "ntu_samples" / f"{clip}.skeleton"
    sequence = read_ntu_skeleton(path)
    assert sequence.joints.shape == (frames, bodies, 25, 3) and sequence.present.all()

    lines = [line.split() for line in path.read_text().splitlines()]
    ids = [int(line[0]) for line in lines if len(line) == 10]
    rows = [line for line in lines if len(line) == 12]
    assert set(sequence.body_ids) == set(ids)
    slots = [sequence.body_ids.index(body_id) for body_id in ids]
    for entry, slot in enumerate(slots):
        values = np.array([[float(token) for token in row] for row in rows[25 * entry : 25 * entry + 25]])
        frame = entry // bodies
        np.testing.assert_array_equal(sequence.joints[frame, slot], values[:, :3].astype(np.float32))
        np.testing.assert_array_equal(sequence.pixels[frame, slot], values[:, 5:7].astype(np.float32))
        np.testing.assert_array_equal(sequence.tracking[frame, slot], values[:, 11])

    # Written again, the numbers that a sequence holds look as they did, digit by digit.
    write_ntu_skeleton(tmp_path / "again.skeleton", sequence)
    again = [line.split() for line in (tmp_path / "again.skeleton").read_text().splitlines()]
    assert [len(line) for line in again] == [len(line) for line in lines if line]
    for old, new in zip(rows, (line for line in again if len(line) == 12), strict=True):
        assert (old[:3], old[5:7], old[11]) == (new[:3], new[5:7], new[11])
