"""The panel that all explained frames share, sizes of pictures, the strip of time and the ribbon of windows."""

from __future__ import annotations

import numpy as np
import pytest

from keras_actrec.visualize.panel import LEFT, RIBBON, RIGHT, Ribbon, draw_strip, enlarged, panel, with_panel, with_ribbon
from keras_actrec.visualize.text import AXIS, NOW, PAPER

RANKING = [("wave", 0.5), ("махать рукой", 0.25), ("clap", 0.125)]
BAR = (110, 90, 50)


def is_colour(picture: np.ndarray, colour) -> np.ndarray:
    return (picture == np.array(colour)).all(axis=-1)


@pytest.mark.parametrize(
    ("size", "expected", "scale"),
    [
        ((240, 320), (720, 960), 3.0),
        ((144, 176), (786, 960), 960 / 176),
        ((1080, 1920), (540, 960), 0.5),
        ((1920, 1080), (960, 540), 0.5),
        ((176, 99), (960, 540), 960 / 176),
        ((540, 960), (540, 960), 1.0),
    ],
)
def test_pictures_have_one_size_whatever_the_video_has(size, expected, scale):
    picture, found = enlarged(np.full((*size, 3), 90, np.uint8))
    assert picture.shape == (*expected, 3) and found == pytest.approx(scale)
    assert (picture == 90).all()
    whole = with_panel(picture, np.zeros((150, 960, 3), np.uint8))
    assert whole.shape == (expected[0] + 150, 960, 3)
    beside = (960 - expected[1]) // 2
    assert is_colour(whole[: expected[0], :beside], PAPER).all() and (whole[: expected[0], beside : 960 - beside] == 90).all()


def test_enlarging_keeps_the_callers_frame():
    frame = np.zeros((540, 960, 3), np.uint8)
    enlarged(frame)[0][:] = 255
    assert not frame.any()


def test_bars_are_as_long_as_classes_are_probable():
    strip = panel(RANKING, None, 0, 4)
    longest = 480 - 32
    for row, (_, probability) in enumerate(RANKING):
        line = strip[10 + 27 * row + 1]  # above the letters
        assert abs(is_colour(line, BAR).sum() - probability * longest) <= 1
        assert (strip[10 + 27 * row : 31 + 27 * row, 82:200].max(axis=2) > 150).any(), "its name"
    assert is_colour(strip[10 + 27 * 3 : 31 + 27 * 3, :480], PAPER).all()


def test_names_of_any_length_stay_in_their_half():
    strip = panel([("long " * 40, 0.9), ("x" * 300, 0.1)], None, 0, 4)
    assert is_colour(strip[:100, 480 - 20 : 480 + 8], PAPER).all()


def heights(strip: np.ndarray, frame: int, length: int) -> int:
    edges = np.linspace(LEFT, RIGHT, length + 1).astype(int)
    return int(is_colour(strip[34:123, edges[frame] + 1], AXIS).sum())


def test_the_strip_has_a_bar_for_each_frame_and_a_cursor_at_this_one():
    strip = panel(RANKING, np.array([0.25, 0.5, 1.0, 0.75]), 1, 4)
    assert [heights(strip, frame, 4) for frame in (0, 2, 3)] == pytest.approx([22, 89, 67], abs=1)
    edges = np.linspace(LEFT, RIGHT, 5).astype(int)
    now = is_colour(strip, NOW)
    columns = np.flatnonzero(now[60:123].any(axis=0))
    assert edges[1] <= columns.min() and columns.max() < edges[2], "this frame's bar alone"
    triangle = np.flatnonzero(now[26:34].any(axis=0))
    assert abs(triangle.mean() - (edges[1] + edges[2]) / 2) <= 1


def test_clips_of_more_frames_than_columns_show_the_highest_of_each_column():
    strip = np.zeros((60, 110, 3), np.uint8)
    values = np.full(1000, 0.1)
    values[500] = 1.0
    draw_strip(strip, values, 999, left=5, right=105, top=12, bottom=51)
    high = np.flatnonzero(is_colour(strip[13:40], AXIS).any(axis=0))
    assert high.tolist() == [55]
    assert is_colour(strip[45:52], NOW).any(), "the cursor is a column at least"


def test_the_ribbon_shows_the_whole_video():
    colours = {"wave": (200, 120, 40), "clap": (40, 180, 90)}
    ribbon = Ribbon(300, 30.0, ((0, 60, "wave"), (60, 150, "clap")), (90, 150))
    picture = np.full((600, 960, 3), 77, np.uint8)
    drawn = with_ribbon(picture, ribbon, 120, colours)
    assert drawn.shape == (600 + RIBBON, 960, 3) and (drawn[:600] == 77).all()
    row = drawn[600 + 13]  # above the names
    width = RIGHT - 12
    assert is_colour(row, colours["wave"]).sum() == pytest.approx(width * 60 / 300, abs=3)
    assert is_colour(row, colours["clap"]).sum() == pytest.approx(width * 90 / 300, abs=6)  # less window's edge and cursor
    cursor = np.flatnonzero(is_colour(drawn[600 + 7], NOW))
    assert cursor.tolist() == pytest.approx([12 + width * 120 / 300, 13 + width * 120 / 300], abs=1)
    frame = np.flatnonzero((drawn[600 + 9] == 235).all(axis=1))
    assert [frame.min(), frame.max()] == pytest.approx([12 + width * 90 / 300, 12 + width * 150 / 300], abs=1)


def test_the_ribbon_of_an_empty_beginning():
    drawn = with_ribbon(np.zeros((10, 960, 3), np.uint8), Ribbon(1, 30.0, (), (0, 1)), 0, {})
    assert drawn.shape == (10 + RIBBON, 960, 3)
