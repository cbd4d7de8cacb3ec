"""Decoding: order, selection, and every way a file can be broken."""

from __future__ import annotations

import numpy as np
import pytest

from keras_actrec.errors import VideoError
from keras_actrec.video.decode import VideoReader
from keras_actrec.video.write import write_video


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    """20 frames of 64 x 48, frame i of grey level 10 i."""
    path = tmp_path_factory.mktemp("clip") / "clip.avi"
    return write_video(path, (np.full((48, 64, 3), 10 * i, np.uint8) for i in range(20)), 25.0)


def levels(frames):
    """Grey level of each frame in units of 10: the number it was written with. JPEG moves a level by 2 at most."""
    return [None if frame is None else round(float(frame.mean()) / 10) for frame in frames]


def test_frames_come_once_and_in_order(clip):
    with VideoReader(clip) as video:
        assert (video.width, video.height, video.frame_rate, video.frame_count) == (64, 48, 25.0, 20)
        frames = list(video.frames())
    assert frames[0].shape == (48, 64, 3)
    assert frames[0].dtype == np.uint8
    assert levels(frames) == list(range(20))


def test_only_wanted_frames_are_converted_and_reading_stops_there(clip):
    with VideoReader(clip) as video:
        assert levels(video.frames([False, True, False, True])) == [None, 1, None, 3]


def test_a_video_shorter_than_its_skeleton(clip):
    with (
        VideoReader(clip) as video,
        pytest.raises(VideoError, match=r"clip\.avi, frame 20: .*found 20 frames, expected 23") as error,
    ):
        list(video.frames(np.ones(23, bool)))
    assert "same clip" in error.value.fix


@pytest.mark.parametrize("content", [b"", b"no video at all" * 100], ids=["empty", "junk"])
def test_what_does_not_open_is_named_once(tmp_path, capfd, content):
    path = tmp_path / "broken.avi"
    path.write_bytes(content)
    with pytest.raises(VideoError, match=r"broken\.avi.*does not open") as error:
        VideoReader(path)
    assert "leave the clip out" in error.value.fix
    assert capfd.readouterr().err == ""


def test_an_absent_file(tmp_path):
    with pytest.raises(VideoError, match=r"none\.avi: there is no such video.*data root"):
        VideoReader(tmp_path / "none.avi")


def test_a_stream_that_breaks_off_is_an_error_with_the_frame(clip, tmp_path):
    whole = clip.read_bytes()
    # The frames lie in the `movi` list at about equal sizes; without the last third of it the header still says 20.
    start = whole.index(b"movi")
    end = whole.index(b"idx1")
    path = tmp_path / "cut.avi"
    path.write_bytes(whole[: start + (end - start) * 2 // 3])
    decoded = 0
    with VideoReader(path) as video, pytest.raises(VideoError, match=r"cut\.avi, frame \d+: the stream breaks off") as error:
        for _ in video.frames():
            decoded += 1
    assert 10 <= decoded <= 14
    assert error.value.place == f"frame {decoded}"
    assert error.value.expected == "20 frames"


def test_a_real_ntu_video_has_the_frames_of_its_skeleton(actrec_data):
    with VideoReader(actrec_data / "ntu_samples" / "S001C001P001R001A001_rgb.avi") as video:
        assert (video.width, video.height) == (1920, 1080)
        assert sum(1 for _ in video.frames(np.zeros(103, bool))) == 103
