"""How frames are cut into windows."""

from __future__ import annotations

import pytest

from keras_actrec.recipes.prediction.windows import Window, cut_windows


@pytest.mark.parametrize(
    ("frames", "size", "stride", "windows"),
    [
        (10, 4, 2, [(0, 4), (2, 6), (4, 8), (6, 10)]),
        (11, 4, 2, [(0, 4), (2, 6), (4, 8), (6, 10), (7, 11)]),  # the last one ends where the video does
        (4, 4, 2, [(0, 4)]),
        (5, 4, 4, [(0, 4), (1, 5)]),
        (3, 4, 2, []),
        (0, 4, 2, []),
        (10, 2, 4, [(0, 2), (4, 6), (8, 10)]),  # a stride longer than the window leaves frames out
        (3, 1, 1, [(0, 1), (1, 2), (2, 3)]),
    ],
)
def test_windows_and_their_frames(frames, size, stride, windows):
    found = list(cut_windows(iter(range(frames)), size, stride))
    assert [(start, start + len(held)) for start, held in found] == windows
    for start, held in found:
        assert held == list(range(start, start + size))


def test_no_frame_is_read_before_it_is_needed():
    frames = iter(range(100))
    windows = cut_windows(frames, 4, 2)
    next(windows)
    assert next(frames) == 4


def test_seconds_of_a_window():
    window = Window(30, 75, 15.0, None)
    assert (window.start_seconds, window.stop_seconds) == (2.0, 5.0)
