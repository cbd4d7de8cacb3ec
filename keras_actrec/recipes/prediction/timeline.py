"""What is done when: the answers of the windows of a video along its time, as segments, CSV and JSON."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from keras_actrec.errors import ConfigError
from keras_actrec.files import whole_file
from keras_actrec.recipes.prediction.windows import Window


@dataclass(frozen=True)
class Segment:
    """A stretch of the video in which one class is the most probable one.

    Attributes:
        class_name: of the class.
        start, stop: frames [start, stop).
        start_seconds, stop_seconds: the same in seconds.
        probability: of the class, the mean over the segment's windows.
    """

    class_name: str
    start: int
    stop: int
    start_seconds: float
    stop_seconds: float
    probability: float


@dataclass(frozen=True, eq=False)
class Timeline:
    """The answers of W windows, in their order.

    Attributes:
        class_names: in the order of the columns of `probabilities`.
        frame_rate: frames per second of the video.
        starts, stops: int (W,): frames [start, stop) of each window.
        probabilities: float32 (W, classes).

    Raises:
        ConfigError: arrays that do not fit each other, windows out of order, or none.
    """

    class_names: tuple[str, ...]
    frame_rate: float
    starts: np.ndarray
    stops: np.ndarray
    probabilities: np.ndarray

    def __post_init__(self):
        windows = len(self.starts)
        expected = ((windows,), (windows,), (windows, len(self.class_names)))
        found = (self.starts.shape, self.stops.shape, self.probabilities.shape)
        if not windows or found != expected:
            raise ConfigError(
                "a timeline has a start, a stop and probabilities for each of its windows", found=found,
                expected="(windows,), (windows,), (windows, classes), at least one window",
            )  # fmt: skip
        if (np.diff(self.starts) <= 0).any() or (self.stops <= self.starts).any():
            raise ConfigError("the windows of a timeline are in their order", found="a window before the one before it")

    @classmethod
    def of(cls, windows: Iterable[Window]) -> Timeline:
        """Of windows in their order; nothing but their probabilities is held.

        Raises:
            ConfigError: no windows.
        """
        starts, stops, probabilities, names, rate = [], [], [], (), 30.0
        for window in windows:
            starts.append(window.start)
            stops.append(window.stop)
            probabilities.append(window.prediction.probabilities)
            names, rate = window.prediction.class_names, window.frame_rate
        rows = np.array(probabilities, np.float32).reshape(len(starts), len(names))
        return cls(tuple(names), float(rate), np.array(starts, int), np.array(stops, int), rows)

    @property
    def spans(self) -> np.ndarray:
        """int (W, 2): the frames [start, stop) that a window speaks for: up to halfway between its middle and that of the next.

        Where windows leave frames out (nobody was seen, or a stride longer than the window), it ends where the window does.
        """
        spans = np.stack([self.starts, self.stops], axis=1)
        middles = self.starts + self.stops
        for index in np.flatnonzero(self.starts[1:] <= self.stops[:-1]):
            spans[index, 1] = spans[index + 1, 0] = (middles[index] + middles[index + 1]) // 4
        return spans

    def segments(self) -> tuple[Segment, ...]:
        """Neighbouring windows of the same class as one; they do not overlap."""
        best, spans = self.probabilities.argmax(axis=1), self.spans
        runs: list[list[int]] = []
        for index, label in enumerate(best):
            follows = runs and best[runs[-1][-1]] == label and spans[runs[-1][-1], 1] == spans[index, 0]
            runs[-1].append(index) if follows else runs.append([index])
        return tuple(self._segment(run, int(best[run[0]]), spans) for run in runs)

    def _segment(self, run: list[int], label: int, spans: np.ndarray) -> Segment:
        start, stop = int(spans[run[0], 0]), int(spans[run[-1], 1])
        probability = float(self.probabilities[run, label].mean())
        return Segment(self.class_names[label], start, stop, start / self.frame_rate, stop / self.frame_rate, probability)

    def write_csv(self, path: str | Path) -> Path:
        """A row for each window: frames, seconds, the most probable class and its probability, and those of all classes.

        The file is UTF-8 with a mark that spreadsheet programs know it by.

        Raises:
            DiskFullError: no space left.
        """
        path = Path(path)
        with whole_file(path) as part, part.open("w", newline="", encoding="utf-8-sig") as file:
            table = csv.writer(file)
            table.writerow(["start", "stop", "start_seconds", "stop_seconds", "class", "probability", *self.class_names])
            for start, stop, row in zip(self.starts.tolist(), self.stops.tolist(), self.probabilities, strict=True):
                label = int(row.argmax())
                seconds = (f"{frame / self.frame_rate:.3f}" for frame in (start, stop))
                shares = (f"{share:.6f}" for share in row)
                table.writerow([start, stop, *seconds, self.class_names[label], f"{row[label]:.6f}", *shares])
        return path

    def as_dict(self) -> dict[str, object]:
        """What `write_json` writes: class names, frame rate, segments, and windows with the probabilities of all classes."""
        windows = [
            {
                "start": start, "stop": stop, "start_seconds": start / self.frame_rate, "stop_seconds": stop / self.frame_rate,
                "probabilities": [round(float(share), 6) for share in row],
            }
            for start, stop, row in zip(self.starts.tolist(), self.stops.tolist(), self.probabilities, strict=True)
        ]  # fmt: skip
        segments = [asdict(segment) for segment in self.segments()]
        return {"class_names": self.class_names, "frame_rate": self.frame_rate, "segments": segments, "windows": windows}

    def write_json(self, path: str | Path) -> Path:
        """The same in JSON, with the segments.

        Raises:
            DiskFullError: no space left.
        """
        path = Path(path)
        with whole_file(path) as part:
            part.write_text(json.dumps(self.as_dict(), indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        return path
