"""AVI files whose headers count frames that hold nothing, as those of JHMDB do."""

from __future__ import annotations

import struct

import numpy as np
import pytest

from keras_actrec.errors import VideoError
from keras_actrec.video.avi import empty_frames
from keras_actrec.video.decode import VideoReader
from keras_actrec.video.write import write_video


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    """12 frames of 64 x 48, frame i of grey level 10 i."""
    path = tmp_path_factory.mktemp("clip") / "clip.avi"
    return write_video(path, (np.full((48, 64, 3), 10 * i, np.uint8) for i in range(12)), 25.0)


def chunk(name, content):
    return struct.pack("<4sI", name, len(content)) + content + b"\0" * (len(content) % 2)


def chunks(content):
    place = 0
    while place + 8 <= len(content):
        name, size = struct.unpack_from("<4sI", content, place)
        yield name, content[place + 8 : place + 8 + size]
        place += 8 + size + size % 2


def emptied(content, frames):
    """An AVI file in which the chunks of some frames hold nothing; its header counts them all the same."""
    riff, parts = content[:12], {}
    for name, part in chunks(content[12 : 8 + struct.unpack_from("<I", content, 4)[0]]):
        parts[part[:4] if name == b"LIST" else name] = (name, part)
    images = [image for name, image in chunks(parts[b"movi"][1][4:]) if name == b"00dc"]
    movi, index = b"movi", b""
    for number, image in enumerate(images):
        image = b"" if number in frames else image
        index += struct.pack("<4sIII", b"00dc", 16, len(movi), len(image))
        movi += chunk(b"00dc", image)
    body = chunk(b"LIST", parts[b"hdrl"][1]) + chunk(b"LIST", movi) + chunk(b"idx1", index)
    return riff[:4] + struct.pack("<I", 4 + len(body)) + riff[8:] + body


def test_empty_frames_are_no_frames(clip, tmp_path):
    path = tmp_path / "raised.avi"
    path.write_bytes(emptied(clip.read_bytes(), {5, 11}))
    assert empty_frames(path) == 2
    with VideoReader(path) as video:
        assert video.frame_count == 10
        levels = [round(float(frame.mean()) / 10) for frame in video.frames()]
    assert levels == [0, 1, 2, 3, 4, 6, 7, 8, 9, 10]


def test_a_file_that_is_cut_still_breaks_off(clip, tmp_path):
    content = emptied(clip.read_bytes(), {3})
    (tmp_path / "cut.avi").write_bytes(content[: int(len(content) * 0.8)])
    assert empty_frames(tmp_path / "cut.avi") == 0
    with VideoReader(tmp_path / "cut.avi") as video, pytest.raises(VideoError, match="the stream breaks off"):
        list(video.frames())


def test_files_of_other_kinds(clip, tmp_path):
    assert empty_frames(clip) == 0
    for content in (b"", b"RIFF", b"junk" * 100, b"RIFF\4\0\0\0WAVEidx1\x10\0\0\0" + b"00dc" + bytes(12)):
        (tmp_path / "file").write_bytes(content)
        assert empty_frames(tmp_path / "file") == 0


def test_a_broken_index_counts_as_far_as_it_goes(tmp_path):
    entries = struct.pack("<4sIII", b"00dc", 0, 0, 0) + struct.pack("<4sIII", b"01wb", 0, 0, 0)
    (tmp_path / "file").write_bytes(b"RIFF\4\0\0\0AVI " + chunk(b"JUNK", b"odd") + b"idx1\x64\0\0\0" + entries + b"00dc\0\0")
    assert empty_frames(tmp_path / "file") == 1
