"""Glimpses on frames: from the crop to the video, and what is drawn where."""

from __future__ import annotations

import numpy as np
import pytest

from keras_actrec.skeletons.layout import KINECT_V2
from keras_actrec.visualize.glimpses import (
    COLOURS,
    ClipGlimpses,
    annotate_clip,
    annotate_frame,
    claims,
    clip_glimpses,
    draw_glimpses,
    draw_pose,
)

RED, BLUE, YELLOW = (np.array(colour) for colour in COLOURS[:3])
RANKING = [("wave", 0.7), ("clap", 0.3)]
BARS = slice(570, 948)
"""Columns of the panel where workers have their bars."""


def outputs(frames, *, glimpses=None, assignment=None, crops=None, pose=None) -> dict[str, np.ndarray]:
    """What `classify_clip` gives: by default glimpses in the middle, half as wide and high as the crop, and equal shares."""
    frames = np.array(frames)
    rows = {"frames": frames, "crops": np.zeros((len(frames), 2), np.int32) if crops is None else np.array(crops)}
    glimpses = np.tile([0, 0, 0.5, 0.5], (*frames.shape, 3, 1)) if glimpses is None else np.array(glimpses, float)
    shares = np.full((*frames.shape, 3, 3), 1 / 3) if assignment is None else np.array(assignment, float)
    joints = np.zeros((*frames.shape, 2, 25, 2)) if pose is None else np.array(pose, float)
    return {**rows, "glimpses": glimpses, "assignment": shares, "pose": joints}


def clouds(frames, *, length=4, size=(200, 100), without=(), **fields) -> ClipGlimpses:
    """Of frames (height 100, width 200) that became pictures of 40 pixels, of which 20 were seen."""
    found = {name: value for name, value in outputs(frames, **fields).items() if name not in without}
    return clip_glimpses(found, np.tile([0, 0, *size], (length, 1)), picture_size=40, image_size=20)


def colour_at(picture, row, column) -> list[int]:
    return picture[row, column].tolist()


def share_of(picture, colour) -> float:
    return float((np.abs(picture.astype(int) - colour).max(axis=2) < 30).mean())


# From the crop to the video -------------------------------------------------------------------------------------------------


def test_a_point_of_the_crop_in_pixels_of_the_video():
    # By hand. Frame 200 wide, 100 high, a picture of 40: 5 and 2.5 pixels each. The crop begins at (8, 10), 20 pixels.
    # Point (0.5, -1) lies at (8 + 0.75 · 20, 10) = (23, 10) of the picture, (115, 25) of the frame.
    pose = np.full((1, 1, 2, 25, 2), [0.5, -1.0])
    found = clouds([[1]], crops=[[8, 10]], pose=pose)
    np.testing.assert_allclose(found.crops, [[[40, 25, 140, 75]]])
    np.testing.assert_allclose(found.pose, np.broadcast_to([115, 25], (1, 1, 2, 25, 2)))


def test_a_glimpse_reaches_its_scale_to_both_sides_of_its_middle():
    # Of the crop from (0, 0) to (100, 50): middle (75, 25), half of the width is 50 · 0.4 = 20, of the height 25 · 1 = 25.
    found = clouds([[0]], glimpses=[[[[0.5, 0, 0.4, 1.0]]]])
    np.testing.assert_allclose(found.glimpses, [[[[55, 0, 95, 50]]]])


def test_each_frame_has_the_box_that_it_was_cut_from():
    boxes = np.array([[0, 0, 40, 40], [10, -20, 90, 60], [0, 0, 1, 1]], np.float32)
    found = clip_glimpses(outputs([[0, 1]]), boxes, picture_size=40, image_size=40)
    np.testing.assert_allclose(found.crops, [boxes[:2]])
    np.testing.assert_allclose(found.glimpses[0, :, 0], [[10, 10, 30, 30], [30, 0, 70, 40]])
    assert found.seen.tolist() == [True, True, False]


def test_looks_at_a_frame():
    found = clouds([[0, 2], [2, 2]])
    assert found.looks(2) == [(0, 1), (1, 0), (1, 1)] and found.looks(1) == []
    assert found.seen.tolist() == [True, False, True, False]


# What is drawn --------------------------------------------------------------------------------------------------------------


def test_the_first_glimpse_is_red_the_second_blue_the_third_yellow():
    frame, crop = np.full((200, 300, 3), 128, np.uint8), np.array([0, 0, 300, 200])
    boxes = np.array([[20, 20, 80, 120], [110, 20, 170, 120], [200, 20, 260, 120]], float)
    drawn = draw_glimpses(frame, boxes, crop)
    assert (frame == 128).all(), "the caller's frame stays as it is"
    for (left, top, right, bottom), colour in zip(boxes.astype(int), COLOURS, strict=False):
        middle_row, middle = (top + bottom) // 2, (left + right) // 2
        for row, column in ((top, middle), (middle_row, left), (middle_row, right), (middle_row, middle)):
            assert colour_at(drawn, row, column) == list(colour)
        assert colour_at(drawn, top + 25, left + 20) == [128] * 3, "what lies inside of a glimpse stays visible"
        assert share_of(drawn[bottom - 24 : bottom - 4, left + 4 : right + 70], colour) > 0.05, "its number"


def test_glimpses_that_coincide_show_all_their_colours():
    boxes = np.tile([40.0, 40, 200, 160], (3, 1))
    edge = draw_glimpses(np.zeros((200, 300, 3), np.uint8), boxes, np.array([0, 0, 300, 200]))[100, 34:47]
    for colour in COLOURS[:3]:
        assert (np.abs(edge.astype(int) - colour).max(axis=1) < 30).any()


def test_outlines_end_at_the_border_of_what_the_network_sees():
    drawn = draw_glimpses(np.zeros((200, 300, 3), np.uint8), np.array([[-50.0, 20, 100, 400]]), np.array([30, 10, 250, 150]))
    assert colour_at(drawn, 80, 30) == list(COLOURS[0]) and colour_at(drawn, 149, 80) == list(COLOURS[0])
    assert not drawn[:, :28].any() and not drawn[152:].any()


def test_a_pose_is_drawn_thinly():
    pose = np.zeros((1, 25, 2))
    pose[0, :, 0], pose[0, :, 1] = np.arange(25) * 10 + 20, 50
    drawn = draw_pose(np.zeros((100, 300, 3), np.uint8), pose, KINECT_V2)
    rows = np.flatnonzero(drawn.any(axis=(1, 2)))
    assert drawn[50, 30:250].any(axis=1).all() and len(rows) <= 3


def test_the_panel_shows_the_shares_of_each_worker():
    # Worker 1 takes glimpse 1 alone, worker 2 half of 2 and half of 3, worker 3 glimpse 3 alone: bars in the workers' colours.
    shares = [[1, 0, 0], [0, 0.5, 0.5], [0, 0, 1]]
    drawn = annotate_frame(
        np.zeros((100, 200, 3), np.uint8), index=0, clouds=clouds([[0]], assignment=[[shares]]), ranking=RANKING
    )
    panel = drawn[480:]
    rows = [panel[top : top + 18, BARS] for top in (29, 53, 77)]
    for row, colour in zip(rows, (RED, BLUE, YELLOW), strict=True):
        assert share_of(row, colour) > 0.75
    # A line between the two pieces of worker 2, none in the middle of worker 1.
    middle = rows[0].shape[1] // 2
    assert [share_of(row[:, middle - 2 : middle + 2], (28, 28, 28)) > 0.2 for row in rows[1:]] == [True, False]
    for name, colour in zip((34, 58, 82), (RED, BLUE, YELLOW), strict=True):
        assert share_of(panel[name : name + 12, 490:565], colour) > 0.03, "its name in its colour: the legend"


def test_a_glimpse_has_the_colour_of_the_worker_that_takes_in_most_of_it():
    # By hand: glimpse 1 goes to worker 2 (0.6 of 0.6 + 0.1 + 0), glimpse 2 to worker 3, glimpse 3 to worker 2 (0.4 of 0.5).
    assignment = np.array([[0.1, 0.8, 0.1], [0.6, 0.0, 0.4], [0.0, 1.0, 0.0]])
    np.testing.assert_allclose(claims(assignment)[:, 0], [1 / 7, 6 / 7, 0])
    np.testing.assert_allclose(claims(np.zeros((2, 1))), [[0.5], [0.5]])
    boxes = np.array([[20, 20, 80, 120], [110, 20, 170, 120], [200, 20, 260, 120]], float)
    drawn = draw_glimpses(np.zeros((200, 300, 3), np.uint8), boxes, np.array([0, 0, 300, 200]), assignment)
    for (left, top, right, _), colour in zip(boxes.astype(int), (BLUE, YELLOW, BLUE), strict=True):
        assert colour_at(drawn, top, (left + right) // 2) == colour.tolist()
    # Under the number of glimpse 1: a seventh in worker 1's colour, the rest in worker 2's.
    under = drawn[120 - 6 - 6 + 1 : 120 - 6 - 1, 24:48]
    assert 0.08 < share_of(under, RED) < 0.2 and share_of(under, BLUE) > 0.75


def test_where_glimpses_and_crop_are_on_a_frame_of_the_explanation():
    # A frame 200 wide is drawn 4.8 times as large: the crop to (480, 240), the glimpse from (120, 60) to (360, 180).
    glimpses = np.tile([0, 0, 0.5, 0.5], (1, 1, 1, 1))
    found = clouds([[0]], glimpses=glimpses, without=("assignment",))
    drawn = annotate_frame(np.zeros((100, 200, 3), np.uint8), index=0, clouds=found, ranking=RANKING)
    assert drawn.shape == (480 + 150, 960, 3)
    assert colour_at(drawn, 60, 240) == list(COLOURS[0]) and colour_at(drawn, 120, 360) == list(COLOURS[0])
    assert drawn[239, 300:400].all() and drawn[100:200, 479].all(), "the border of the crop"
    assert not drawn[245:480].any() and not drawn[:480, 485:].any(), "the rest of the frame stays as it is"


def test_a_frame_that_no_view_looked_at_stays_as_it_is_and_says_so():
    frames, found = [np.zeros((100, 200, 3), np.uint8)] * 5, clouds([[0, 2]])
    drawn = list(annotate_clip(frames, clouds=found, ranking=RANKING, pose_layout=KINECT_V2))
    assert len(drawn) == 4, "the clip is shorter than the video"
    assert [bool(picture[:480].any()) for picture in drawn] == [True, False, True, False]
    bars = [bool((picture[480 + 28 : 480 + 98, BARS] > 30).any()) for picture in drawn]
    assert bars == [True, False, True, False]
    # "frame 2 of 4: not looked at" is longer than "frame 1 of 4".
    ends = [np.flatnonzero((picture[480 + 130 :, 490:700] > 100).any(axis=(0, 2))).max() for picture in drawn]
    assert ends[1] > ends[0] + 50


def test_of_several_looks_at_a_frame_the_first_is_drawn():
    glimpses = [[[[-0.5, 0, 0.2, 0.2]]], [[[0.5, 0, 0.2, 0.2]]]]
    found = clouds([[0], [0]], glimpses=glimpses, without=("assignment",))
    drawn = annotate_frame(np.zeros((100, 200, 3), np.uint8), index=0, clouds=found, ranking=RANKING)
    assert colour_at(drawn, 120, 120) == list(COLOURS[0]) and not drawn[60:180, 250:470].any()


@pytest.mark.parametrize("without", [("assignment",), ("glimpses", "assignment")], ids=["no workers", "global model"])
def test_models_without_workers_or_glimpses_have_no_bars(without):
    frame, found = np.zeros((100, 200, 3), np.uint8), clouds([[0]], without=without)
    drawn = annotate_frame(frame, index=0, clouds=found, ranking=RANKING)
    assert share_of(drawn[480:, BARS], RED) == 0
    assert drawn[239, 300:400].all(), "the border of the crop"
    assert bool(share_of(drawn[30:230, 100:380], RED)) == ("glimpses" not in without)


def test_more_glimpses_and_workers_than_in_the_paper():
    frame, shape = np.zeros((100, 200, 3), np.uint8), (1, 1, 12, 6)
    found = clouds([[0]], glimpses=np.full((1, 1, 6, 4), 0.3), assignment=np.full(shape, 1 / 6))
    drawn = annotate_frame(frame, index=0, clouds=found, ranking=RANKING, pose_layout=KINECT_V2)
    assert all(share_of(drawn[480 + 28 : 480 + 106, BARS], colour) > 0.05 for colour in COLOURS)
