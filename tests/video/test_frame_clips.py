"""Views of whole frames at equal intervals: which frames, mirrored or not, and where the first person's joints are."""

from __future__ import annotations

import numpy as np
import pytest

from keras_actrec.errors import ConfigError
from keras_actrec.skeletons.layouts import JHMDB_15
from keras_actrec.video.frame_clips import (
    FrameClipConfig,
    mirrored_views,
    test_views,
    training_views,
    view_frames,
    view_joints,
    view_pictures,
)

CONFIG = FrameClipConfig(frames=3, picture_size=(4, 6), views=2, seed=5)
LENGTH = 10


class Pictures:
    """Pictures in memory: the first channel tells the frame, the second the column; a mirrored one has 9 in the third."""

    picture_size, channels, stream = (4, 6), 3, "rgb"

    def __init__(self):
        self.lengths, self.read = {"a": LENGTH, "b": 2}, []

    def pictures(self, clip_id, frames):
        self.read.append(np.asarray(frames).tolist())
        images = np.zeros((len(frames), 4, 6, 3), np.uint8)
        images[..., 0], images[..., 1] = np.asarray(frames)[:, None, None], np.arange(6)
        return images

    def mirrored(self, pictures):
        return pictures[..., ::-1, :] + np.uint8([0, 0, 9])


def test_test_views_start_in_the_middles_of_equal_parts_and_are_not_mirrored():
    np.testing.assert_array_equal(test_views(CONFIG), [[0.25, 0], [0.75, 0]])
    np.testing.assert_array_equal(test_views(FrameClipConfig()), [[0.5, 0]])
    assert not mirrored_views(test_views(CONFIG), CONFIG).any()


def test_training_views_are_each_clips_own_and_every_second_one_is_mirrored():
    views = training_views(CONFIG, "a", 5)
    assert views.shape == (5, 2) and len(set(views[:, 0])) == 5 and (views >= 0).all() and (views < 1).all()
    assert mirrored_views(views, CONFIG).tolist() == [False, True, False, True, False]
    assert not mirrored_views(views, FrameClipConfig(mirror=False)).any()
    np.testing.assert_array_equal(training_views(CONFIG, "a", 2), views[:2])
    for other in (training_views(CONFIG, "b", 5), training_views(FrameClipConfig(seed=6), "a", 5)):
        assert not (other[:, 0] == views[:, 0]).any()


def test_frames_at_equal_intervals_by_hand():
    # floor((i + u) · 10 / 3): 0.0 → 0, 3.3, 6.7; 0.25 → 0.8, 4.2, 7.5; 0.99 → 3.3, 6.6, 9.97. Of 2 frames: 0.25 · 2/3, …
    views = np.array([[0.0, 0], [0.25, 0], [0.99, 0]])
    assert view_frames(10, views, CONFIG).tolist() == [[0, 3, 6], [0, 4, 7], [3, 6, 9]]
    assert view_frames(2, views, CONFIG).tolist() == [[0, 0, 1], [0, 0, 1], [0, 1, 1]]


def test_pictures_of_views():
    source = Pictures()
    views = np.array([[0.25, 0.3], [0.99, 0.5], [0.25, 0.99]])
    pictures = view_pictures(source, "a", views, CONFIG)
    assert pictures.shape == (3, 3, 4, 6, 3) and pictures.dtype == np.uint8
    assert pictures[:, :, 0, 0, 0].tolist() == [[0, 4, 7], [3, 6, 9], [0, 4, 7]]
    assert pictures[:, 0, 0, :, 1].tolist() == [[0, 1, 2, 3, 4, 5], [5, 4, 3, 2, 1, 0], [5, 4, 3, 2, 1, 0]]
    assert pictures[:, 1, 2, 3, 2].tolist() == [0, 9, 9]  # by the pictures themselves: flow is mirrored otherwise
    assert source.read == [[0, 3, 4, 6, 7, 9]]  # each once, forwards
    plain = view_pictures(source, "a", views, FrameClipConfig(frames=3, picture_size=(4, 6), mirror=False))
    assert plain[1, 0, 0, :, 1].tolist() == [0, 1, 2, 3, 4, 5]


def pixels() -> np.ndarray:
    """Joint j of person 1 in frame t is at (4 j, 2 t) of a video of 80 x 20; person 2 elsewhere; joint 3 absent in frame 4."""
    joints = np.full((LENGTH, 2, 15, 2), 77, np.float32)
    joints[:, 0, :, 0] = 4 * np.arange(15)
    joints[:, 0, :, 1] = 2 * np.arange(LENGTH)[:, None]
    joints[4, 0, 3, 1] = np.nan
    return joints


def test_joints_of_views_by_hand():
    views = np.array([[0.25, 0.0], [0.25, 0.7]])
    joints = view_joints(pixels(), (80, 20), views, JHMDB_15, CONFIG)
    assert joints.shape == (2, 3, 15, 2) and joints.dtype == np.float32
    expected = np.empty((3, 15, 2))
    expected[..., 0] = np.arange(15) / 10 - 1
    expected[..., 1] = np.array([0, 8, 14])[:, None] / 10 - 1
    expected[1, 3] = np.nan
    np.testing.assert_allclose(joints[0], expected, atol=1e-6)
    # In the mirrored view a left hand is a right one, on the other side.
    left, right = JHMDB_15.hands
    assert left != right
    np.testing.assert_allclose(joints[1, :, left], expected[:, right] * [-1, 1], atol=1e-6)
    np.testing.assert_allclose(joints[1, :, 0], expected[:, 0] * [-1, 1], atol=1e-6)
    assert JHMDB_15.mirrored[0] == 0
    assert np.isnan(joints[1, 1, JHMDB_15.mirrored[3]]).all() and np.isnan(joints[1]).sum() == 2
    plain = view_joints(pixels(), (80, 20), views, JHMDB_15, FrameClipConfig(frames=3, mirror=False))
    np.testing.assert_array_equal(plain[1], joints[0])


@pytest.mark.parametrize(
    ("place", "known"),
    [((0, 0), True), ((80, 20), True), ((80.1, 5), False), ((5, -0.1), False), ((np.inf, 5), False), ((5, np.nan), False)],
)
def test_joints_outside_of_the_picture_are_absent(place, known):
    joints = pixels()
    joints[:, 0, 2] = place
    placed = view_joints(joints, (80, 20), test_views(CONFIG), JHMDB_15, CONFIG)
    assert np.isfinite(placed[:, :, 2]).all() == known and np.isnan(placed[:, :, 2]).all() != known
    assert np.isfinite(placed[:, :, 1]).all()


def test_joints_of_another_layout():
    with pytest.raises(ConfigError, match=r"not those of the layout \(found \(10, 2, 14, 2\), expected \(T, P, 15, 2\)"):
        view_joints(pixels()[:, :, :14], (80, 20), test_views(CONFIG), JHMDB_15, CONFIG)


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("frames", 0, "frames is out of range"),
        ("views", 1.5, "views is out of range"),
        ("seed", -1, "seed is out of range"),
        ("mirror", 1, "mirror is not a bool"),
        ("picture_size", (0, 5), r"picture_size is \(height, width\)"),
    ],
)
def test_settings_that_make_no_sense(field, value, words):
    with pytest.raises(ConfigError, match=words):
        FrameClipConfig(**{field: value})


def test_a_list_of_sides_is_taken():
    assert FrameClipConfig(picture_size=[4, 6]) == FrameClipConfig(picture_size=(4, 6))
    assert FrameClipConfig().draws == 2
