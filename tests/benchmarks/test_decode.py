"""The benchmark of decoding: its videos and what it times."""

from __future__ import annotations

import numpy as np
import pytest
from suite.decode import CODECS, HEIGHT, WIDTH, hand_places, reader_bytes, ways, write_camera_video

from keras_actrec.video.decode import VideoReader


@pytest.mark.parametrize("codec", CODECS.values())
def test_videos(codec, tmp_path):
    path = write_camera_video(tmp_path / "video.avi", 3, codec=codec)
    with VideoReader(path) as video:
        assert (video.width, video.height, video.frame_count) == (WIDTH, HEIGHT, 3)
        frames = [frame.astype(int) for frame in video.frames()]
    assert np.abs(frames[1] - frames[0]).mean() > 1  # it moves
    assert frames[0].std() > 30


def test_ways_end_where_their_video_ends(tmp_path):
    video = write_camera_video(tmp_path / "video.avi", 3)
    for way in ways(video, hand_places(3)).values():
        way()
    assert reader_bytes(video, 3) >= 0


def test_hands_of_one_person_inside_of_the_frame():
    places = hand_places(4)
    assert np.isnan(places[:, 2:]).all()
    assert (places[:, :2] > 50).all() and (places[:, :2] < (WIDTH - 50, HEIGHT - 50)).all()
