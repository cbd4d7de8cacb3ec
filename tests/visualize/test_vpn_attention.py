"""VPN's attention on frames: spreading over the frames, windows, and what is drawn where."""

from __future__ import annotations

import numpy as np
import pytest

from keras_actrec.skeletons.layout import KINECT_V2
from keras_actrec.visualize.panel import panel
from keras_actrec.visualize.vpn_attention import annotate_clip, draw_box, draw_heat, heat_attention, slide

RANKING = [("wave", 0.7), ("clap", 0.3)]


def test_steps_lie_in_the_middle_of_their_frames_and_are_interpolated_between():
    # Two steps over four frames of a clip of six: middles at 0.5 and 2.5, so that frame 1 has 3/4 of step 0 and 1/4 of step 1.
    temporal = np.array([[0.2, 0.8]])
    found = heat_attention(np.array([[1, 2, 3, 4]]), None, temporal, length=6, map_size=(1, 1))
    weights = np.array([0.2, 0.75 * 0.2 + 0.25 * 0.8, 0.25 * 0.2 + 0.75 * 0.8, 0.8])
    np.testing.assert_allclose(found.temporal[1:5], weights / 0.8)
    assert found.seen.tolist() == [False, True, True, True, True, False]
    assert found.heat is None and found.lowest == 1


def test_frames_between_those_of_a_stride_are_seen_and_those_between_two_views_are_not():
    found = heat_attention(np.array([[0, 2], [6, 8]]), np.ones((2, 2, 1, 1)), None, length=10, map_size=(1, 1))
    assert found.seen.tolist() == [True] * 3 + [False] * 3 + [True] * 3 + [False]
    assert found.temporal is None


def test_views_are_averaged_where_they_overlap():
    temporal = np.array([[0.5, 0.5], [0.1, 0.9]])
    found = heat_attention(np.array([[0, 1], [1, 2]]), None, temporal, length=3, map_size=(1, 1))
    np.testing.assert_allclose(found.temporal, np.array([0.5, (0.5 + 0.1) / 2, 0.9]) / 0.9)


def test_heat_runs_from_the_lowest_to_the_highest_weight_of_the_clip():
    attention = np.array([[[[0.1, 0.2]], [[0.3, 0.5]]]])  # (1, 2, 1, 2)
    found = heat_attention(np.array([[0, 1]]), attention, None, length=2, map_size=(1, 2))
    np.testing.assert_allclose(found.heat, (attention[0] - 0.1) / 0.4)
    assert found.lowest == pytest.approx(0.2)


def test_the_scale_is_that_of_the_frames_that_the_network_sees():
    # Unseen frames have values beyond the last one, never beyond its own: they must not stretch the scale.
    attention = np.array([[[[1.0]], [[3.0]]]])
    found = heat_attention(np.array([[2, 3]]), attention, np.array([[0.25, 0.75]]), length=6, map_size=(1, 1))
    np.testing.assert_allclose(found.heat[2:4, 0, 0], [0, 1])
    np.testing.assert_allclose(found.temporal[2:4], [1 / 3, 1])


def test_equal_weights_are_cold_everywhere():
    found = heat_attention(np.array([[0, 1]]), np.full((1, 1, 2, 2), 0.3), np.ones((1, 1)), length=2, map_size=(2, 2))
    assert found.lowest == 1 and not found.heat.any() and (found.temporal == 1).all()


def test_a_window_that_slides_over_a_larger_map():
    # Windows (1, 2) over three columns: the middle one is in both.
    found = slide(np.array([[2.0, 6.0]]), (1, 3))
    np.testing.assert_allclose(found, [[2, 4, 6]])
    attention = np.arange(6.0).reshape(1, 1, 2, 3)
    np.testing.assert_allclose(slide(attention, (2, 3)), attention)
    assert slide(attention, (4, 5)).shape == (1, 1, 4, 5)
    assert heat_attention(np.array([[0]]), attention, None, length=1, map_size=(4, 5)).heat.shape == (1, 4, 5)


def test_heat_is_drawn_inside_the_box_red_where_it_is_high():
    frame = np.full((60, 100, 3), 128, np.uint8)
    drawn = draw_heat(
        frame, np.array([[0.0, 0.0, 1.0], [0.0, 0.0, 1.0], [0.0, 0.0, 1.0]]), np.array([20, 10, 60, 50], np.float32)
    )
    assert (frame == 128).all(), "the caller's frame stays as it is"
    outside = np.ones((60, 100), bool)
    outside[10:50, 20:60] = False
    assert (drawn[outside] == 128).all() and (drawn[~outside] != 128).any(axis=1).all()
    blue, _, red = drawn[30, 58].astype(int)
    assert red > blue + 60
    blue, _, red = drawn[30, 22].astype(int)
    assert blue > red
    # What is not attended to stays visible: the change is larger where the heat is.
    change = np.abs(drawn.astype(int) - 128).sum(axis=2)
    assert change[30, 58] > 2 * change[30, 22]


@pytest.mark.parametrize("box", [(-20, -10, 20, 30), (90, 40, 130, 80), (-5, -5, 105, 105)])
def test_a_box_that_leaves_the_frame(box):
    frame, heat = np.zeros((60, 100, 3), np.uint8), np.eye(3)
    drawn = draw_heat(frame, heat, np.array(box))
    whole = draw_heat(np.zeros((300, 300, 3), np.uint8), heat, np.array(box) + 100)[100:160, 100:200]
    np.testing.assert_array_equal(drawn, whole)
    assert drawn.any() and draw_box(frame, np.array(box)).any()


def test_a_box_outside_of_the_frame_draws_no_heat():
    frame = np.zeros((60, 100, 3), np.uint8)
    assert not draw_heat(frame, np.eye(3), np.array([200, 200, 220, 220])).any()


def test_the_panel_has_no_bars_for_frames_that_are_not_looked_at():
    temporal, seen = np.ones(10), np.arange(10) < 5
    grey = (panel(RANKING, temporal, 0, 10, seen=seen)[60, 490:948] > 100).any(axis=1)
    half = len(grey) // 2
    assert grey[:half].mean() > 0.95 and not grey[half + 1 :].any()  # a column between bars is free
    assert (panel(RANKING, temporal, 0, 10)[60, 490:948] > 100).any(axis=1).mean() > 0.95


def test_every_frame_with_a_skeleton_gets_a_panel_and_those_seen_a_heat_map():
    frames = [np.zeros((100, 200, 3), np.uint8)] * 4
    pixels, boxes = np.full((3, 1, 25, 2), np.nan, np.float32), np.array([[50, 20, 110, 80]] * 3)
    attention = heat_attention(np.array([[0, 1]]), np.ones((1, 1, 2, 2)), np.ones((1, 1)), length=3, map_size=(2, 2))
    drawn = list(annotate_clip(frames, pixels, KINECT_V2, boxes, attention=attention, ranking=RANKING))
    assert [picture.shape for picture in drawn] == [(480 + 150, 960, 3)] * 3
    assert drawn[0][:480].any() and drawn[1][:480].any() and not drawn[2][:480].any()
    assert not drawn[0][:480, :220].any(), "the room beside the box stays as it is"


def test_a_variant_without_attention_shows_what_it_sees():
    attention = heat_attention(np.array([[0, 1]]), None, None, length=2, map_size=(2, 2))
    frames, pixels = [np.zeros((100, 200, 3), np.uint8)] * 2, np.full((2, 1, 25, 2), np.nan, np.float32)
    drawn = list(
        annotate_clip(frames, pixels, KINECT_V2, np.array([[50, 20, 110, 80]] * 2), attention=attention, ranking=RANKING)
    )
    assert drawn[0][96, 300:500].all(), "the upper edge of the box"
    assert not drawn[0][300, 260:500].any(), "and nothing inside"
