"""Boxes around people, by hand; crops to the pixel."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from keras_actrec.errors import ConfigError, VideoError
from keras_actrec.video.person_boxes import crop_box, person_boxes, whole_frame_boxes

FRAME = (200, 100)
NAN = (np.nan, np.nan)


def clip(*frames):
    """Frames of people of two joints each → (T, P, 2, 2)."""
    return np.array(frames, np.float32)


def test_one_frame_by_hand():
    # x 40..60, y 10..70: the longer side is 60, with 0.25 on each side 90; the middle is (50, 40): 5..95 and -5..85.
    boxes = person_boxes(clip([[(40, 70), (60, 10)]]), FRAME, margin=0.25)
    assert boxes.dtype == np.float32
    assert boxes.tolist() == [[5, -5, 95, 85]]


@pytest.mark.parametrize(
    ("margin", "box"),
    [
        (0, [20, 10, 80, 70]),
        # 60 · 1.3 = 78, which is 78.00000000000001 in floating point: not 79.
        (0.15, [11, 1, 89, 79]),
        # 60 · 1.02 = 61.2, so 62 pixels: 50 - 31 = 19, 40 - 31 = 9.
        (0.01, [19, 9, 81, 71]),
    ],
)
def test_sides_are_rounded_up(margin, box):
    assert person_boxes(clip([[(40, 10), (60, 70)]]), FRAME, margin=margin).tolist() == [box]


def test_corners_are_rounded_to_the_nearest_pixel_halves_up():
    # Side 3 about 11.75 and 10.5: left 10.25 → 10, top 9.0.
    assert person_boxes(clip([[(10.25, 9.0), (13.25, 12.0)]]), FRAME, margin=0).tolist() == [[10, 9, 13, 12]]
    # Side 2 about 11.5: left 10.5 → 11.
    assert person_boxes(clip([[(10.5, 20.0), (12.5, 20.0)]]), FRAME, margin=0).tolist() == [[11, 19, 13, 21]]


def test_one_box_holds_all_people_of_all_frames():
    pixels = clip([[(10, 20), (20, 20)], [NAN, NAN]], [[(15, 22), NAN], [(50, 30), (40, 60)]])
    # x 10..50, y 20..60 in both frames.
    assert person_boxes(pixels, FRAME, margin=0).tolist() == [[10, 20, 50, 60]] * 2


def test_a_box_that_follows_holds_the_people_of_its_frame():
    pixels = clip([[(10, 20), (20, 20)], [NAN, NAN]], [[(15, 22), NAN], [(50, 30), (40, 60)]])
    # Frame 0: x 10..20, y 20: side 10 about (15, 20). Frame 1: x 15..50, y 22..60: side 38 about (32.5, 41).
    assert person_boxes(pixels, FRAME, margin=0, mode="frame").tolist() == [[10, 15, 20, 25], [14, 22, 52, 60]]


def test_frames_without_anybody_take_the_nearest_box_the_earlier_of_two():
    at = {1: 20, 5: 40, 6: 60}
    pixels = clip(*([[(at[t], 20), (at[t] + 4, 20)]] if t in at else [[NAN, NAN]] for t in range(9)))
    left = person_boxes(pixels, FRAME, margin=0, mode="frame")[:, 0]
    assert left.tolist() == [20, 20, 20, 20, 40, 40, 60, 60, 60]
    assert (person_boxes(pixels, FRAME, margin=0)[:, 0] == 20).all()


def test_a_joint_far_outside_is_no_joint():
    # Half a frame outside is the limit: x -100..300, y -50..150.
    near = clip([[(-100, 0), (300, 150)]])
    assert person_boxes(near, FRAME, margin=0).tolist() == [[-100, -125, 300, 275]]
    for wrong in [(-101, 0), (0, 151), (1e30, 5), (np.inf, 5), (5, -np.inf)]:
        assert person_boxes(clip([[wrong, (30, 30)], [(40, 30), NAN]]), FRAME, margin=0).tolist() == [[30, 25, 40, 35]]


def test_a_single_joint_makes_a_pixel():
    assert person_boxes(clip([[(30, 40), NAN]]), FRAME, margin=0.5).tolist() == [[30, 40, 31, 41]]


def test_nobody_in_the_video():
    with pytest.raises(VideoError, match=r"a\.avi: no joint .*0 joints with pixels, none near the 200x100.*as pixel size"):
        person_boxes(clip([[NAN, NAN]]), FRAME, file="a.avi")
    with pytest.raises(VideoError, match="2 joints with pixels"):
        person_boxes(clip([[(1900, 1000), (1800, 900)]]), FRAME)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"margin": -0.1}, "margin of a box"),
        ({"margin": np.nan}, "margin of a box"),
        ({"mode": "person"}, "found 'person', expected 'clip' or 'frame'"),
        ({"frame_size": (0, 5)}, "size of a frame"),
        ({"pixels": np.zeros((3, 2, 3))}, r"expected \(T, P, J, 2\)"),
        ({"pixels": np.zeros((0, 1, 2, 2))}, r"expected \(T, P, J, 2\)"),
    ],
)
def test_boxes_that_make_no_sense(changes, words):
    arguments = {"pixels": clip([[(1, 2), (3, 4)]]), "frame_size": FRAME} | changes
    with pytest.raises(ConfigError, match=words):
        person_boxes(**arguments)


# Crops ------------------------------------------------------------------------------------------------------------------------


@pytest.fixture
def frame():
    """6 rows, 8 columns; pixel (x, y) holds 10 y + x + 1 in every channel, so that 0 is padding."""
    values = 10 * np.arange(6)[:, None] + np.arange(8)[None] + 1
    return np.repeat(values[..., None], 3, axis=2).astype(np.uint8)


def test_a_crop_of_its_own_size_is_a_copy(frame):
    crop = crop_box(frame, np.array([3, 1, 5, 3], np.float32), 2)
    assert crop[..., 1].tolist() == [[14, 15], [24, 25]]
    crop[:] = 0
    assert frame.min() > 0


def test_the_border_is_black_and_the_box_not_moved(frame):
    # Columns -1..1, rows 4..6 of a frame of rows 0..5.
    assert crop_box(frame, (-1, 4, 2, 7), 3)[..., 2].tolist() == [[0, 41, 42], [0, 51, 52], [0, 0, 0]]
    assert not crop_box(frame, (20, 20, 24, 24), 4).any()


def test_shrinking_takes_means_of_areas(frame):
    # Columns 6..9 (8 and 9 outside), rows 0..3, to 2 x 2: means of 2 x 2 pixels.
    expected = [[np.mean([7, 8, 17, 18]), 0], [np.mean([27, 28, 37, 38]), 0]]
    np.testing.assert_allclose(crop_box(frame, (6, 0, 10, 4), 2)[..., 0], expected, atol=0.5)


def test_enlarging_is_bilinear(frame):
    crop = crop_box(frame, (2, 1, 4, 3), 5)
    np.testing.assert_array_equal(crop, cv2.resize(frame[1:3, 2:4], (5, 5), interpolation=cv2.INTER_LINEAR))
    assert crop[0, :, 0].tolist() == sorted(crop[0, :, 0]) and crop[0, 0, 0] == 13 and crop[4, 4, 0] == 24


@pytest.mark.parametrize(("box", "size"), [((0, 0, 0, 0), 4), ((0, 0, 3, 4), 4), ((0, 0, 4, 4), 0)])
def test_crops_that_make_no_sense(frame, box, size):
    with pytest.raises(ConfigError, match="square box, resized to a positive size"):
        crop_box(frame, box, size)


def test_whole_frames():
    boxes = whole_frame_boxes(2, FRAME)
    assert boxes.dtype == np.float32 and boxes.tolist() == [[0, 0, 200, 100]] * 2
