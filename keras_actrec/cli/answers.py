"""What `keras-actrec predict` prints and writes: answers for clips, for windows, for windows of a camera as they come."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from keras_actrec.errors import ConfigError
from keras_actrec.progress import progress_bar

if TYPE_CHECKING:
    from keras_actrec.recipes.prediction.explanation import Prediction
    from keras_actrec.recipes.prediction.timeline import Timeline
    from keras_actrec.recipes.prediction.windows import Window
    from keras_actrec.recognizer import Recognizer

TIMELINE_ENDINGS = (".csv", ".json", ".png")


@dataclass(frozen=True, eq=False)
class WindowAnswers:
    """The windows of a video, without their frames.

    Attributes:
        video: the file or folder of images.
        windows: in order.
        timeline: of them.
    """

    video: Path
    windows: Sequence[Window]
    timeline: Timeline

    def write_film(self, path: Path) -> Path:
        """Writes the explained video, for .png or .jpg the four heaviest moments of the surest window."""
        from keras_actrec.recipes.prediction.explanation import write_explanation
        from keras_actrec.recipes.prediction.film import write_film

        if path.suffix.lower() in (".png", ".jpg", ".jpeg"):
            surest = max(self.windows, key=lambda window: float(window.prediction.probabilities.max()))
            return write_explanation(surest.prediction, path)
        return write_film(self.video, self.windows, path)


def windows_of(
    recognizer: Recognizer, video: Path, skeleton: Path | None, slide: Mapping[str, float], frame_rate: float | None
) -> WindowAnswers:
    """Runs a model over a long video, with a progress bar."""
    from keras_actrec.recipes.prediction.timeline import Timeline

    windows = []
    with progress_bar(expected_windows(video, slide, frame_rate), "windows", unit="window") as bar:
        for window in recognizer.windows(video, skeleton, **slide, frame_rate=frame_rate):
            windows.append(window)
            bar.update(1)
    return WindowAnswers(video, windows, Timeline.of(windows))


def expected_windows(video: Path, slide: Mapping[str, float], frame_rate: float | None) -> int:
    """About how many there will be, for the progress bar; 1 where the video does not say how long it is."""
    from keras_actrec.errors import VideoError
    from keras_actrec.video.decode import VideoReader

    try:
        with VideoReader(video) as reader:
            seconds = reader.frame_count / (frame_rate or reader.frame_rate or 30.0)
    except VideoError:
        return 1  # whoever reads it says what is wrong
    return max(1, 1 + int(max(0.0, seconds - slide["seconds"]) / max(slide["stride"], 1e-3)))


def print_prediction(prediction: Prediction, video: str, *, as_json: bool) -> None:
    """The five most probable classes, or one JSON object."""
    if not as_json:
        for name, probability in prediction.top():
            print(f"{100 * probability:6.2f} %  {name}")
        return
    print_json({"video": video, "top": _ranking(prediction), "probabilities": _by_class(prediction)})


def print_timeline(timeline: Timeline, video: str, *, as_json: bool) -> None:
    """A line for each segment, or one JSON object with segments and windows."""
    if as_json:
        print_json({"video": video, **timeline.as_dict()})
        return
    for part in timeline.segments():
        print(f"{clock(part.start_seconds)} – {clock(part.stop_seconds)}  {100 * part.probability:6.2f} %  {part.class_name}")


def printed(windows: Iterable[Window], *, as_json: bool) -> Iterator[Window]:
    """Hands on a camera's windows and prints a line for each as it comes: the time of day, the three most probable classes."""
    for window in windows:
        if as_json:
            frames = {"start": window.start, "stop": window.stop, "frame_rate": round(window.frame_rate, 3)}
            print_json({
                "time": round(time.time(), 3), **frames, "dropped": window.dropped, "top": _ranking(window.prediction),
                "probabilities": _by_class(window.prediction),
            })  # fmt: skip
        else:
            classes = "   ".join(f"{100 * share:5.1f} % {name}" for name, share in window.prediction.top(3))
            late = f"   ({window.dropped} frames came too late so far)" if window.dropped else ""
            print(f"{time.strftime('%H:%M:%S')}  {classes}{late}", flush=True)
        yield window


def write_explained(prediction: Prediction, path: Path) -> Path:
    """Writes the explained clip, a video or a picture by its ending."""
    from keras_actrec.recipes.prediction.explanation import write_explanation

    return write_explanation(prediction, path)


def write_timeline(timeline: Timeline, paths: Iterable[Path], stem: str) -> list[Path]:
    """Writes timeline files; a path without an ending is a folder, which gets STEM.csv, STEM.json and STEM.png.

    Raises:
        ConfigError: an ending that is none of a timeline's.
        DiskFullError: no space left.
    """
    from keras_actrec.visualize.timeline import timeline_png

    files: list[Path] = []
    for path in paths:
        check_timeline_path(path)
        files += [path] if path.suffix else [path / f"{stem}{ending}" for ending in TIMELINE_ENDINGS]
    for file in files:
        if file.suffix.lower() == ".csv":
            timeline.write_csv(file)
        elif file.suffix.lower() == ".json":
            timeline.write_json(file)
        else:
            timeline_png(timeline, file, title=stem)
    return files


def check_timeline_path(path: Path) -> None:
    """Raises ConfigError for an ending that is none of a timeline's."""
    if path.suffix and path.suffix.lower() not in TIMELINE_ENDINGS:
        raise ConfigError(
            "a timeline is no such file", file=path, found=path.suffix, expected=", ".join(TIMELINE_ENDINGS),
            fix="give --timeline-out a name with one of these endings, or a folder",
        )  # fmt: skip


def print_json(content: Mapping[str, object]) -> None:
    """One object on one line."""
    print(json.dumps(content, ensure_ascii=False), flush=True)


def clock(seconds: float) -> str:
    """Seconds as [h:]mm:ss.s."""
    tenths = round(10 * seconds)
    minutes, rest = divmod(tenths, 600)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest / 10:04.1f}" if hours else f"{minutes}:{rest / 10:04.1f}"


def _ranking(prediction: Prediction) -> list[dict[str, object]]:
    return [{"class": name, "probability": round(share, 6)} for name, share in prediction.top()]


def _by_class(prediction: Prediction) -> dict[str, float]:
    return {name: round(float(p), 6) for name, p in zip(prediction.class_names, prediction.probabilities, strict=True)}
