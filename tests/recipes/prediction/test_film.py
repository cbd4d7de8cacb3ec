"""The film of a long video: which window speaks for a frame, frames without one, stops, and the ribbon."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest

from keras_actrec.errors import ConfigError
from keras_actrec.recipes.prediction.explanation import Prediction
from keras_actrec.recipes.prediction.film import film_frames, write_film
from keras_actrec.recipes.prediction.windows import Window
from keras_actrec.video.decode import VideoReader
from keras_actrec.video.memory import MemoryVideo, VideoPart
from keras_actrec.visualize.panel import PANEL, RIBBON, panel, with_panel

NAMES = ("wave", "clap")
SIZE = (54, 96)
RATE = 10.0


@dataclass(frozen=True, eq=False)
class Marked(Prediction):
    """Draws the number of its window beside what the frame holds: blue the frame, red the window."""

    window: int
    stopping: tuple[int, ...] = ()

    @property
    def moments(self):
        with VideoReader(self.video) as reader:
            return np.ones(reader.frame_count)

    @property
    def stops(self):
        return np.isin(np.arange(len(self.moments)), self.stopping)

    def annotated_frames(self):
        with VideoReader(self.video) as reader:
            for index, frame in enumerate(reader.frames()):
                picture = np.zeros((540, 960, 3), np.uint8)
                picture[..., 0], picture[..., 2] = frame[..., 0].mean(), self.window
                yield with_panel(picture, panel(self.top(), None, index, 20))


def video(length: int) -> MemoryVideo:
    """Frame i is of the blue 5 i."""
    frames = np.zeros((length, *SIZE, 3), np.uint8)
    frames[..., 2] = (5 * np.arange(length))[:, None, None]
    return MemoryVideo(frames, RATE)


def window(number: int, start: int, stop: int, clip: MemoryVideo, *, label: int = 0, stopping=()) -> Window:
    shares = np.eye(2, dtype=np.float32)[label] * 0.8 + 0.1
    prediction = Marked(NAMES, shares, None, VideoPart(clip, start, stop), 10 * number, stopping)
    return Window(start, stop, RATE, prediction)


def shown(frames) -> list[tuple[int, int | None]]:
    """(frame of the video, its window or None) for each frame of a film."""
    found = []
    for frame in frames:
        assert frame.shape == (540 + PANEL + RIBBON, 960, 3)
        blue, _, red = frame[270, 480].tolist()
        found.append((round(blue / 5), red // 10 or None))
    return found


def test_a_frame_is_explained_by_the_window_whose_middle_is_nearest():
    clip = video(25)
    windows = [window(1, 0, 10, clip), window(2, 5, 15, clip), window(3, 10, 20, clip), window(4, 15, 25, clip, label=1)]
    # Middles 5, 10, 15, 20: the borders lie at 7.5, 12.5 and 17.5.
    expected = [*[1] * 7, *[2] * 5, *[3] * 5, *[4] * 8]
    assert shown(film_frames(clip, windows)) == list(enumerate(expected))


def test_frames_that_no_window_sees_are_there_without_an_answer():
    clip = video(30)
    windows = [window(1, 4, 10, clip), window(2, 18, 24, clip, label=1)]
    frames = list(film_frames(clip, windows))
    expected = [*[None] * 4, *[1] * 6, *[None] * 8, *[2] * 6, *[None] * 6]
    assert shown(frames) == list(enumerate(expected))
    silent, spoken = (frame[540 : 540 + PANEL, :480] for frame in (frames[0], frames[5]))
    assert not (silent == (110, 90, 50)).all(axis=-1).any() and (spoken == (110, 90, 50)).all(axis=-1).any()


def test_a_film_stops_where_the_clip_would():
    clip = video(10)
    found = shown(film_frames(clip, [window(1, 0, 10, clip, stopping=(3,))]))
    assert [frame for frame, _ in found] == [0, 1, 2, *[3] * 5, 4, 5, 6, 7, 8, 9], "half a second at 10 frames per second"


def test_many_stops_do_not_make_a_film_of_many_times_the_videos_length():
    clip = video(12)
    found = shown(film_frames(clip, [window(1, 0, 12, clip, stopping=range(0, 12, 2))]))
    # Six stops in twelve frames: two frames longer each, not four.
    assert [frame for frame, _ in found] == [frame for i in range(12) for frame in [i] * (1 if i % 2 else 3)]


def test_the_ribbon_has_the_colours_of_the_timelines_picture():
    clip = video(20)
    frames = list(film_frames(clip, [window(1, 0, 10, clip), window(2, 10, 20, clip, label=1)]))
    row = frames[0][540 + PANEL + 13]
    assert row[200].tolist() == [180, 119, 31] and row[800].tolist() == [14, 127, 255], "matplotlib's blue and orange, BGR"
    places = [np.flatnonzero((frame[540 + PANEL + 7] == (60, 170, 250)).all(axis=1)).mean() for frame in frames]
    assert (np.diff(places) > 30).all(), "the cursor goes to the right"


def test_a_film_is_written_at_the_rate_of_the_video(tmp_path):
    clip = video(12)
    path = write_film(clip, [window(1, 0, 12, clip)], tmp_path / "film.webm")
    with VideoReader(path) as reader:
        assert reader.frame_rate == pytest.approx(RATE) and sum(1 for _ in reader.frames()) == 12


def test_no_windows(tmp_path):
    with pytest.raises(ConfigError, match="at least one"):
        list(film_frames(video(3), []))
