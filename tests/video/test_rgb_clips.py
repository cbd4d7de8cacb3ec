"""Views of whole frames: frames of segments, places of crops, and joints that move with them, by hand."""

from __future__ import annotations

import numpy as np
import pytest

from keras_actrec.errors import ConfigError
from keras_actrec.skeletons.sampling import uniforms
from keras_actrec.video.rgb_clips import (
    RGBClipConfig,
    crop_corners,
    crop_joints,
    crop_views,
    test_uniforms,
    training_uniforms,
    view_frames,
)

NAN = np.nan
CONFIG = RGBClipConfig(frames=3, image_size=4)


def rows(*draws):
    return np.array(draws, np.float64)


def test_one_frame_of_each_segment():
    # 11 frames in 3 segments: 0..2, 3..6, 7..10; 2 frames: 0, 0, 1.
    draws = rows([0, 0.5, 0.99, 0.7, 0.7], [0.99, 0, 0, 0.1, 0.9])
    assert view_frames(11, draws, CONFIG).tolist() == [[0, 5, 10], [2, 3, 7]]
    assert view_frames(2, draws, CONFIG).tolist() == [[0, 0, 1], [0, 0, 1]]


def test_the_last_two_numbers_place_the_crop():
    # 4 of 6 pixels: corners 0, 1, 2.
    draws = rows([0.9, 0.9, 0.9, 0, 0.34], [0, 0, 0, 0.999, 0.33])
    assert crop_corners(draws, 6, CONFIG).tolist() == [[0, 1], [2, 0]]
    assert crop_corners(draws, 4, CONFIG).tolist() == [[0, 0], [0, 0]]
    corners = crop_corners(np.random.default_rng(0).random((400, 10)), 256, RGBClipConfig())
    assert corners.min() == 0 and corners.max() == 32
    with pytest.raises(ConfigError, match=r"smaller than the crops \(found 3 pixels, expected at least 4"):
        crop_corners(draws, 3, CONFIG)


def test_pictures_of_a_view_have_one_crop():
    frames = np.random.default_rng(0).integers(0, 256, (11, 6, 6, 3), np.uint8)
    asked = []

    def read(wanted):
        asked.append(wanted.tolist())
        return frames[wanted]

    views = crop_views(read, 11, rows([0, 0.5, 0.99, 0, 0.34], [0.99, 0.5, 0, 0.999, 0.33]), 6, CONFIG)
    assert asked == [[0, 2, 5, 7, 10]]  # each once
    assert views.dtype == np.uint8
    np.testing.assert_array_equal(views[0], frames[[0, 5, 10], 1:5, 0:4])
    np.testing.assert_array_equal(views[1], frames[[2, 5, 7], 0:4, 2:6])


def test_joints_move_with_the_crop():
    joints = np.full((3, 2, 2, 2), NAN, np.float32)
    joints[0, 0] = [[1, 1], [5, 5]]
    joints[1, 0] = [[2, 4], [0, 9]]
    joints[2, 1] = [[3, NAN], [np.inf, 2]]
    # Corner (1, 2), side 4: (x - 1) / 4 · 2 - 1 and (y - 2) / 4 · 2 - 1.
    placed = crop_joints(joints, rows([0, 0, 0, 0.4, 0.7]), 6, CONFIG)
    assert placed.dtype == np.float32
    nobody = [[NAN, NAN]] * 2
    expected = [
        [[[-1, -1], [1, 0.5]], nobody],  # (1, 1): left edge, and above the crop: moved to its border
        [[[-0.5, 0], [-1, 1]], nobody],  # (0, 9): outside in both
        [nobody, nobody],  # half known is not known
    ]
    np.testing.assert_array_equal(placed, [expected])


def test_joints_are_those_of_the_frames():
    joints = np.arange(11, dtype=np.float32)[:, None, None, None] * np.ones((1, 2, 1, 2), np.float32) / 4
    draws = np.random.default_rng(1).random((5, 5))
    placed, corners = crop_joints(joints, draws, 8, CONFIG), crop_corners(draws, 8, CONFIG)
    expected = (view_frames(11, draws, CONFIG)[:, :, None] / 4 - corners[:, None]) / 2 - 1
    np.testing.assert_allclose(placed[:, :, 0, 0], np.clip(expected, -1, 1), atol=1e-6)


def test_tables():
    config = RGBClipConfig(frames=4, image_size=4, views=3, seed=5)
    np.testing.assert_array_equal(test_uniforms(config), uniforms(5, 3, 6))
    views = training_uniforms(config, "a", 4)
    assert views.shape == (4, 6) and (views >= 0).all() and (views < 1).all()
    np.testing.assert_array_equal(training_uniforms(config, "a", 2), views[:2])
    assert (
        len({tuple(row) for table in (views, training_uniforms(config, "b", 4), test_uniforms(config)) for row in table}) == 11
    )
    assert not np.array_equal(training_uniforms(RGBClipConfig(4, 4, 3, 6), "a", 4), views)


def test_a_clip_has_the_same_views_in_every_process():
    # Numbers of a first run: caches are written by several processes and machines.
    first = training_uniforms(RGBClipConfig(frames=1, image_size=4), "S001C001P001R001A001", 1)
    np.testing.assert_allclose(first, [[0.9716522342178863, 0.149972546503222, 0.9495369647332417]], rtol=1e-12)


@pytest.mark.parametrize("name", ["frames", "image_size", "views"])
def test_counts_below_one(name):
    with pytest.raises(
        ConfigError, match=rf"RGBClipConfig: {name} is out of range \(found 0, expected an integer of at least 1"
    ):
        RGBClipConfig(**{name: 0})
    with pytest.raises(ConfigError, match=r"seed is out of range \(found -1, expected an integer of at least 0"):
        RGBClipConfig(seed=-1)
    assert RGBClipConfig() == RGBClipConfig(8, 224, 5, 0) and RGBClipConfig().draws == 10
