"""Crops: place, padding, colours."""

from __future__ import annotations

import numpy as np
import pytest

from keras_actrec.errors import ConfigError
from keras_actrec.video.crops import crop_square, hand_crops


@pytest.fixture
def frame():
    """6 rows, 8 columns; pixel (x, y) holds 10 y + x + 1 in every channel, so that 0 is padding."""
    values = 10 * np.arange(6)[:, None] + np.arange(8)[None] + 1
    return np.repeat(values[..., None], 3, axis=2).astype(np.uint8)


def test_inside(frame):
    # Size 4 around (3, 2): columns 1..4, rows 0..3.
    assert crop_square(frame, (3, 2), 4)[..., 0].tolist() == [
        [2, 3, 4, 5],
        [12, 13, 14, 15],
        [22, 23, 24, 25],
        [32, 33, 34, 35],
    ]


def test_an_odd_size_has_the_centre_in_the_middle(frame):
    assert crop_square(frame, (3, 2), 3)[1, 1, 0] == 10 * 2 + 3 + 1


@pytest.mark.parametrize(("x", "pixel"), [(2.4, 2), (2.5, 3), (2.6, 3), (3.5, 4)])
def test_the_centre_is_rounded_halves_up(frame, x, pixel):
    assert np.array_equal(crop_square(frame, (x, 2), 4), crop_square(frame, (pixel, 2), 4))


def test_the_border_is_padded_and_the_crop_not_moved(frame):
    # Around (0, 0): columns -2..1, rows -2..1; only the lower right quarter is inside.
    assert crop_square(frame, (0, 0), 4)[..., 0].tolist() == [[0, 0, 0, 0], [0, 0, 0, 0], [0, 0, 1, 2], [0, 0, 11, 12]]
    # Around (7, 5), the last pixel: columns 5..8, rows 3..6.
    assert crop_square(frame, (7, 5), 4)[..., 0].tolist() == [[36, 37, 38, 0], [46, 47, 48, 0], [56, 57, 58, 0], [0, 0, 0, 0]]


@pytest.mark.parametrize("center", [(-100, 2), (3, 1e9), (1e30, -1e30)])
def test_a_centre_far_outside_gives_zeros(frame, center):
    crop = crop_square(frame, center, 4)
    assert crop.shape == (4, 4, 3)
    assert not crop.any()


@pytest.mark.parametrize("center", [(np.nan, 1), (1, np.inf)])
def test_an_absent_centre_is_an_error(frame, center):
    with pytest.raises(ConfigError, match=r"finite centre.*absent"):
        crop_square(frame, center, 4)


def test_the_frame_is_not_shared(frame):
    crop_square(frame, (3, 2), 4)[:] = 0
    assert frame.min() == 1


def test_hand_crops_are_rgb_and_resized():
    frame = np.zeros((60, 60, 3), np.uint8)
    frame[:, :, 0] = 200  # blue
    crops = hand_crops(frame, np.array([[30, 30], [0, 30]]), 50, 100)
    assert crops.shape == (2, 100, 100, 3)
    assert crops.dtype == np.uint8
    assert (crops[0] == (0, 0, 200)).all()
    # Around x = 0: the left half of the second crop is padding; bilinear weights mix two pixels at the border only.
    assert not crops[1, :, :48].any()
    assert (crops[1, :, 52:] == (0, 0, 200)).all()


def test_no_resize_is_the_crop_itself():
    frame = np.random.default_rng(0).integers(0, 256, (40, 40, 3), dtype=np.uint8)
    crops = hand_crops(frame, np.array([[20.0, 20.0]]), 20, 20)
    assert np.array_equal(crops[0], frame[10:30, 10:30, ::-1])


def test_bilinear_resize_by_hand():
    # A row 0, 80 from 2 to 4 columns: centres at -0.25, 0.25, 0.75, 1.25 → 0, 20, 60, 80.
    frame = np.zeros((2, 2, 3), np.uint8)
    frame[:, 1] = 80
    assert hand_crops(frame, np.array([[1, 1]]), 2, 4)[0, :, :, 0].tolist() == [[0, 20, 60, 80]] * 4


def test_no_hands():
    assert hand_crops(np.zeros((9, 9, 3), np.uint8), np.zeros((0, 2)), 50, 75).shape == (0, 75, 75, 3)
