"""Attention on frames: spreading over time, and what is drawn where."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from keras_actrec.skeletons.layout import KINECT_V2
from keras_actrec.visualize.attention import annotate_clip, annotate_frame, clip_attention, draw_hands, draw_skeleton, per_frame
from keras_actrec.visualize.text import PAPER, label_size

LEFT, RIGHT = KINECT_V2.hands


def body(left: tuple[float, float], right: tuple[float, float]) -> np.ndarray:
    """Pixels (2, 25, 2) of one person whose joints are all at (20, 20) but for the hands; the second person is absent."""
    pixels = np.full((2, 25, 2), np.nan, np.float32)
    pixels[0] = 20
    pixels[0, LEFT], pixels[0, RIGHT] = left, right
    return pixels


def test_per_frame_averages_where_sampled_and_interpolates_between():
    # Two sub-sequences of two frames: frame 0 has 1 and 3 (mean 2), frame 2 has 6, frame 3 has 8; frame 1 lies half way: 4.
    spread = per_frame(np.array([[1.0, 6.0], [3.0, 8.0]]), np.array([[0, 2], [0, 3]]), 5)
    np.testing.assert_allclose(spread, [2, 4, 6, 8, 8])


def test_clip_attention_keeps_hands_apart_and_scales_time_to_its_heaviest_frame():
    frames = np.array([[0, 1]])
    attention = clip_attention(frames, np.array([[[0.7, 0.3], [0.1, 0.9]]]), np.array([[0.2, 0.8]]), length=2)
    np.testing.assert_allclose(attention.spatial, [[0.7, 0.3], [0.1, 0.9]])
    np.testing.assert_allclose(attention.temporal, [0.25, 1.0])


def test_hand_squares_are_as_large_as_the_crops_and_only_around_hands_that_exist():
    frame = np.zeros((100, 200, 3), np.uint8)
    drawn = draw_hands(frame, body((60, 50), (np.nan, np.nan)), KINECT_V2, 40)
    rows, columns = np.nonzero(drawn.any(axis=2))
    assert not frame.any(), "the caller's frame stays as it is"
    # A crop of 40 around (60, 50) holds columns 40 to 79 and rows 30 to 69; a line spills at most 3 px to a side.
    assert abs(columns.min() - 40) <= 3 and abs(columns.max() - 80) <= 3
    assert abs(rows.min() - 30) <= 3 and abs(rows.max() - 70) <= 3


def test_attended_hand_is_brighter():
    frame = np.zeros((100, 200, 3), np.uint8)
    drawn = draw_hands(frame, body((50, 50), (150, 50)), KINECT_V2, 40, np.array([0.9, 0.1, 0, 0]))
    assert drawn[:, :100].sum() > 2 * drawn[:, 100:].sum()


def test_skeleton_is_drawn_where_the_joints_are():
    drawn = draw_skeleton(np.zeros((100, 200, 3), np.uint8), body((60, 50), (30, 80)), KINECT_V2)
    assert drawn[50, 60].any() and drawn[80, 30].any() and not drawn[:, 100:].any()


def test_every_frame_with_a_skeleton_gets_a_panel():
    frames = [np.zeros((100, 200, 3), np.uint8)] * 3
    pixels = np.stack([body((60, 50), (30, 80))] * 2)
    attention = clip_attention(np.array([[0, 1]]), None, None, length=2)
    drawn = list(annotate_clip(frames, pixels, KINECT_V2, attention=attention, ranking=[("wave", 1.0)], crop_size=20))
    assert [picture.shape for picture in drawn] == [(480 + 150, 960, 3)] * 2


def labels(drawn: np.ndarray) -> list[tuple[int, int]]:
    """(first row, first column) of the dark grounds of the labels, from top to bottom."""
    count, _, boxes, _ = cv2.connectedComponentsWithStats((drawn == PAPER).all(axis=2).astype(np.uint8))
    return sorted((int(top), int(left)) for left, top, width, height, area in boxes[1:count] if area > 400 and height > 12)


def test_attention_in_percent_stands_above_the_higher_hand_and_below_the_lower_one():
    frame, weights = np.full((300, 400, 3), 200, np.uint8), np.array([0.7, 0.3, 0, 0])
    pixels = body((200, 100), (210, 160))
    drawn = draw_hands(frame, pixels, KINECT_V2, 40, weights)
    (upper, _), (lower, _) = labels(drawn)
    height = label_size("left 70 %")[1]
    assert upper + height <= 80 and lower >= 180, "outside of both squares, which reach from 80 to 120 and from 140 to 180"
    other = draw_hands(frame, pixels, KINECT_V2, 40, np.array([0.6, 0.4, 0, 0]))
    assert (other[upper : upper + height] != drawn[upper : upper + height]).any(), "the number"
    assert not labels(draw_hands(frame, pixels, KINECT_V2, 40)), "no numbers without attention"


def test_labels_of_hands_at_the_border_stay_inside():
    frame = np.full((300, 400, 3), 200, np.uint8)
    drawn = draw_hands(frame, body((5, 5), (395, 295)), KINECT_V2, 40, np.array([0.5, 0.5, 0, 0]))
    places = labels(drawn)
    width, height = label_size("right 50 %")
    assert len(places) == 2 and all(0 <= top <= 300 - height and 0 <= left <= 400 - width + 10 for top, left in places)


def test_lines_are_as_fine_on_small_videos_as_on_large_ones():
    attention = clip_attention(np.array([[0]]), None, None, length=1)

    def drawn(width: int) -> int:
        scale = width / 960
        frame, pixels = np.zeros((round(540 * scale), width, 3), np.uint8), body((300, 200), (700, 200)) * scale
        picture = annotate_frame(
            frame, pixels, KINECT_V2, index=0, length=1, attention=attention, ranking=[], crop_size=round(80 * scale)
        )
        return int(picture[:540].any(axis=2).sum())

    assert drawn(192) == pytest.approx(drawn(960), rel=0.03) and drawn(1920) == pytest.approx(drawn(960), rel=0.03)
