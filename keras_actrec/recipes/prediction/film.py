"""A long video explained: every frame by the window that speaks for it, above a ribbon of the whole video."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np

from keras_actrec.recipes.prediction.timeline import Segment, Timeline
from keras_actrec.recipes.prediction.windows import Window
from keras_actrec.video.decode import Video, VideoReader
from keras_actrec.video.memory import MemoryVideo
from keras_actrec.video.write import write_video
from keras_actrec.visualize import timeline as timeline_picture
from keras_actrec.visualize.panel import Ribbon, enlarged, no_answer, with_panel, with_ribbon


def write_film(video: Video, windows: Sequence[Window], path: str | Path) -> Path:
    """Writes the explained video, with everything that `film_frames` shows.

    Args:
        video: the video that the windows are of.
        windows: what `Recognizer.windows` gave for it, in order; at least one.
        path: the file; `.webm` is what browsers play.

    Raises:
        VideoError: the video does not read, or OpenCV does not write this kind of file.
        DiskFullError: no space left; no file of that name is left half-written.
    """
    return write_video(path, film_frames(video, windows), windows[0].frame_rate)


def film_frames(video: Video, windows: Sequence[Window]) -> Iterator[np.ndarray]:
    """The frames of a video as its windows explain them. It is decoded once; the frames of a window are in memory.

    A frame that several windows see is shown with the answer of the one whose middle is nearest (`Timeline.spans`); one that no
    window sees, without any. The film stops where the clip's own would (`Prediction.stops`), for so long that it becomes
    twice as long as the video at most.

    Yields:
        BGR uint8 (h, 960, 3), all of one size.

    Raises:
        VideoError: the video does not read, or is shorter than the windows.
    """
    timeline = Timeline.of(windows)
    colours = _bgr(timeline.segments())
    segments = tuple((part.start, part.stop, part.class_name) for part in timeline.segments())
    spans = timeline.spans.tolist()
    with VideoReader(video, time_limit=None) as reader:
        length = max(reader.frame_count, windows[-1].stop)
        coming = _Coming(reader.frames())
        for window, (first, end) in zip(windows, spans, strict=True):
            ribbon = Ribbon(length, window.frame_rate, segments, (window.start, window.stop))
            yield from _silent(coming, first, window.start, replace(ribbon, window=None), colours)
            held = coming.part(window.start, window.stop)
            for index, frame in _shown(window, held, first, end):
                yield with_ribbon(frame, ribbon, index, colours)
            coming.shown = end
        ribbon = Ribbon(length, windows[0].frame_rate, segments, None)
        yield from _silent(coming, None, None, ribbon, colours)


def _bgr(segments: Sequence[Segment]) -> dict[str, tuple[int, int, int]]:
    """Class name → the colour that the timeline's picture has for it."""
    known = timeline_picture.class_colours(segments)
    rgb = {segment.class_name: known.get(segment.class_name, timeline_picture.OTHERS) for segment in segments}
    return {name: tuple(round(255 * part) for part in reversed(colour)) for name, colour in rgb.items()}


def _shown(window: Window, held: list[np.ndarray], first: int, end: int) -> Iterator[tuple[int, np.ndarray]]:
    """(number in the video, explained frame) of those that a window speaks for, some of them several times."""
    name = f"frames {window.start} to {window.stop - 1}"
    prediction = replace(window.prediction, video=MemoryVideo(held, window.frame_rate, name))
    stops = prediction.stops
    here = stops[first - window.start : end - window.start].sum()
    held_for = max(1, min(prediction.held(window.frame_rate), 1 + (end - first) // max(here, 1)))
    for index, frame in enumerate(prediction.annotated_frames()):
        if first <= window.start + index < end:
            for _ in range(held_for if stops[index] else 1):
                yield window.start + index, frame


def _silent(coming: _Coming, stop: int | None, keep: int | None, ribbon: Ribbon, colours: dict) -> Iterator[np.ndarray]:
    """Frames up to `stop` that no window speaks for; those from `keep` on stay for the next window."""
    while stop is None or coming.shown < stop:
        frame = coming.one(coming.shown)
        if frame is None:
            return
        picture, _ = enlarged(cv2.cvtColor(frame, cv2.COLOR_RGB2BGR))
        yield with_ribbon(with_panel(picture, no_answer(coming.shown, ribbon.length)), ribbon, coming.shown, colours)
        coming.shown += 1
        coming.forget(coming.shown if keep is None else min(keep, coming.shown))


class _Coming:
    """Frames of a video that are still needed, RGB.

    Attributes:
        shown: number of the first frame that was not shown yet.
    """

    def __init__(self, frames: Iterator[np.ndarray]):
        self._frames, self._held, self._first, self.shown = frames, deque(), 0, 0

    def one(self, index: int) -> np.ndarray | None:
        """A frame that was not forgotten, or None behind the last one."""
        while self._first + len(self._held) <= index:
            frame = next(self._frames, None)
            if frame is None:
                return None
            self._held.append(cv2.cvtColor(frame, cv2.COLOR_BGR2RGB))
        return self._held[index - self._first]

    def part(self, start: int, stop: int) -> list[np.ndarray]:
        """Frames [start, stop), fewer at the end of the video; those before them are forgotten unless they are to be shown."""
        self.forget(min(start, self.shown))
        return [frame for frame in (self.one(index) for index in range(start, stop)) if frame is not None]

    def forget(self, index: int) -> None:
        """Of frames before `index`."""
        while self._held and self._first < index:
            self._held.popleft()
            self._first += 1
