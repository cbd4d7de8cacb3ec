"""Frames in memory and parts of videos are read as files are."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from keras_actrec.errors import ConfigError, VideoError
from keras_actrec.video.decode import VideoReader
from keras_actrec.video.memory import MemoryVideo, VideoPart, part_of
from keras_actrec.video.write import write_video

SHADES = np.arange(12, dtype=np.uint8)[:, None, None, None] * 20 + np.array([0, 5, 10], np.uint8)
FRAMES = np.ascontiguousarray(np.broadcast_to(SHADES, (12, 6, 8, 3)))
"""RGB: frame n has red 20 n, green 20 n + 5, blue 20 n + 10."""


def reds(video) -> list[int]:
    """Of each frame, as read, divided by 20; what comes is BGR."""
    with VideoReader(video) as reader:
        return [round(int(frame[0, 0, 2]) / 20) for frame in reader.frames()]


@pytest.mark.parametrize("frames", [FRAMES, list(FRAMES)], ids=["array", "list"])
def test_frames_in_memory(frames):
    video = MemoryVideo(frames, 12.5, "mine")
    with VideoReader(video) as reader:
        assert (reader.width, reader.height, reader.frame_rate, reader.frame_count) == (8, 6, 12.5, 12)
        assert str(reader.path) == "mine"
        read = list(reader.frames())
    np.testing.assert_array_equal([cv2.cvtColor(frame, cv2.COLOR_BGR2RGB) for frame in read], FRAMES)
    assert reds(video) == list(range(12)), "it can be read again"


def test_frames_that_are_not_wanted_and_frames_that_are_missing():
    with VideoReader(MemoryVideo(FRAMES)) as reader:
        wanted = [frame is not None for frame in reader.frames([False, True, False])]
    assert wanted == [False, True, False]
    with (
        VideoReader(MemoryVideo(FRAMES, name="mine")) as reader,
        pytest.raises(VideoError, match="mine, frame 12: the vid"),
    ):
        list(reader.frames(np.ones(13, bool)))


@pytest.fixture(scope="module")
def videos(tmp_path_factory) -> list:
    place = tmp_path_factory.mktemp("parts")
    bgr = np.ascontiguousarray(FRAMES[..., ::-1])
    (place / "images").mkdir()
    for index, frame in enumerate(bgr):
        cv2.imwrite(str(place / "images" / f"{index}.png"), frame)
    large = (cv2.resize(frame, (64, 48)) for frame in bgr)
    return [write_video(place / "clip.avi", large, 10), place / "images", MemoryVideo(FRAMES)]


def test_a_part_of_each_kind_of_video(videos):
    for video in videos:
        part = VideoPart(video, 3, 7)
        assert reds(part) == [3, 4, 5, 6]
        with VideoReader(part) as reader:
            assert reader.frame_count == 4
        assert reds(part_of(part, 1, 3)) == [4, 5]
        assert reds(VideoPart(video, 10, 20)) == [10, 11], "it ends where the video does"


def test_a_part_behind_the_end(videos):
    for video in videos:
        with pytest.raises(VideoError, match="the video has no frames"):
            reds(VideoPart(video, 12, 14))
    with VideoReader(VideoPart(videos[0], 8, 14)) as reader, pytest.raises(VideoError, match="ends before the last frame"):
        list(reader.frames(np.ones(6, bool)))


def test_names_of_parts(videos):
    assert str(VideoPart(videos[0], 3, 7)) == f"{videos[0]}, frames 3 to 6"
    with pytest.raises(ConfigError, match=r"found 4 to 4, expected 0 <= start < stop"):
        VideoPart(videos[0], 4, 4)


@pytest.mark.parametrize(
    ("frames", "rate", "words"),
    [
        (FRAMES[:0], 30, "the video has no frames"),
        (FRAMES.astype(np.float32) / 255, 30, r"frame 0: a frame has the wrong shape or type \(found float32 \(6, 8, 3\)"),
        (FRAMES[..., 0], 30, r"wrong shape or type \(found uint8 \(6, 8\), expected RGB uint8"),
        ([FRAMES[0], "frame"], 30, r"frame 1: a frame has the wrong shape or type \(found str"),
        ([FRAMES[0], FRAMES[1, :4]], 30, r"frame 1: a frame has another size than the first \(found 8×4, expected 8×6\)"),
        (FRAMES, 0, r"the frame rate must be above 0 \(found 0\)\. Give frame_rate="),
        (FRAMES, float("nan"), "the frame rate must be above 0"),
    ],
)
def test_frames_that_are_no_video(frames, rate, words):
    with pytest.raises(ConfigError, match=words):
        MemoryVideo(frames, rate)
