"""Writing: whole or not at all."""

from __future__ import annotations

import os

import cv2
import numpy as np
import pytest

from keras_actrec.errors import ConfigError, DiskFullError, VideoError
from keras_actrec.video.decode import VideoReader
from keras_actrec.video.write import write_video


def frames(count, size=(32, 40)):
    return [np.full((*size, 3), 20 * i, np.uint8) for i in range(count)]


@pytest.mark.parametrize(("name", "codec"), [("a.avi", "MJPG"), ("a.mp4", "mp4v"), ("a.webm", "VP80")])
def test_what_is_written_reads_back(tmp_path, name, codec):
    path = write_video(tmp_path / "new" / name, iter(frames(7)), 30, codec=codec)
    with VideoReader(path) as video:
        read = list(video.frames())
    assert len(read) == 7
    assert all(abs(frame.mean() - 20 * i) < 4 for i, frame in enumerate(read))
    assert [entry.name for entry in path.parent.iterdir()] == [name]


@pytest.mark.parametrize(("name", "codec"), [("a.avi", "MJPG"), ("a.mp4", "FMP4"), ("a.WEBM", "VP80")])
def test_the_ending_chooses_the_codec(tmp_path, capfd, name, codec):
    write_video(tmp_path / name, frames(3), 29.97)
    capture = cv2.VideoCapture(str(tmp_path / name))
    found = int(capture.get(cv2.CAP_PROP_FOURCC)).to_bytes(4, "little").decode()
    capture.release()
    assert found == codec
    assert capfd.readouterr().err == "", "OpenCV's words about .webm would trouble people for nothing"


def test_stderr_is_back_after_writing(tmp_path, capfd):
    write_video(tmp_path / "a.webm", frames(2), 30)
    os.write(2, b"heard")
    assert capfd.readouterr().err == "heard"


def test_an_exception_in_the_frames_leaves_nothing_and_keeps_the_older_file(tmp_path):
    path = write_video(tmp_path / "a.avi", frames(3), 30)
    before = path.read_bytes()

    def broken():
        yield from frames(2)
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        write_video(path, broken(), 30)
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.avi"]
    assert path.read_bytes() == before


def test_no_frames(tmp_path):
    with pytest.raises(VideoError, match=r"a\.avi: there are no frames"):
        write_video(tmp_path / "a.avi", [], 30)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "odd", [np.zeros((32, 41, 3), np.uint8), np.zeros((32, 40, 3), np.float32), np.zeros((32, 40), np.uint8)]
)
def test_a_frame_unlike_the_first(tmp_path, odd):
    with pytest.raises(ConfigError, match=r"a\.avi, frame 2: .*expected \(32, 40, 3\) uint8"):
        write_video(tmp_path / "a.avi", [*frames(2), odd], 30)
    assert list(tmp_path.iterdir()) == []


def test_settings_that_make_no_sense(tmp_path):
    with pytest.raises(ConfigError, match="frame rate"):
        write_video(tmp_path / "a.avi", frames(1), 0)
    with pytest.raises(ConfigError, match="four letters"):
        write_video(tmp_path / "a.avi", frames(1), 30, codec="JPEG2")


def test_a_full_disk_keeps_the_older_file_and_leaves_no_other(tmp_path, full_disk):
    path = write_video(tmp_path / "a.avi", frames(3), 30)
    before = path.read_bytes()
    noise = [np.random.default_rng(i).integers(0, 256, (240, 320, 3)).astype(np.uint8) for i in range(20)]
    with full_disk(100_000), pytest.raises(DiskFullError, match=r"a\.avi: no space left.*Free some space"):
        write_video(path, noise, 30)
    assert path.read_bytes() == before and list(tmp_path.iterdir()) == [path]
