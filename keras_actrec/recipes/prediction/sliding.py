"""A model applied to windows: of a long video, whose people are followed through all of it, or of a camera."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from keras_actrec.datasets.pose_tracks import join_frames
from keras_actrec.errors import ConfigError, VideoError
from keras_actrec.recipes.prediction.explanation import UNKNOWN_RATE, Prediction
from keras_actrec.recipes.prediction.model import LoadedModel
from keras_actrec.recipes.prediction.skeletons import PoseAdapter, check_inside, nobody, sequence_part, somebody
from keras_actrec.recipes.prediction.sta_hands import KnownHands
from keras_actrec.recipes.prediction.windows import SECONDS, STRIDE, Window, cut_windows, rgb_frames
from keras_actrec.skeletons.layouts import MEDIAPIPE_33
from keras_actrec.skeletons.sequence import SkeletonSequence
from keras_actrec.video.camera import Camera
from keras_actrec.video.decode import Video, VideoReader
from keras_actrec.video.memory import MemoryVideo, part_of

if TYPE_CHECKING:
    from keras_actrec.pose_estimation.estimator import PoseEstimator


@dataclass(frozen=True)
class Slide:
    """How windows slide.

    Attributes:
        seconds: length of a window.
        stride: seconds from the beginning of one to that of the next.
        frame_rate: frames per second; None: as the video says, 30 where it does not.

    Raises:
        ConfigError: a number that is not above 0.
    """

    seconds: float = SECONDS
    stride: float = STRIDE
    frame_rate: float | None = None

    def __post_init__(self):
        for name, value in (("--window", self.seconds), ("--stride", self.stride), ("--frame-rate", self.frame_rate)):
            if value is not None and not 0 < value < float("inf"):
                raise ConfigError(
                    f"{name} must be above 0", found=value, fix=f"e.g. {name} {3 if value is self.seconds else 2}"
                )

    def frames(self, seconds: float, frame_rate: float) -> int:
        """The number of frames in some seconds, at least 1."""
        return max(1, round(seconds * frame_rate))


def video_windows(
    model: LoadedModel,
    adapter: PoseAdapter,
    video: Video,
    raw: SkeletonSequence | None,
    slide: Slide,
    *,
    source: str | Path | None = None,
) -> Iterator[Window]:
    """The answers for the windows of a video. Those with nobody, for a model that needs somebody, are left out.

    Args:
        model: the exported model.
        adapter: fits poses to it.
        video: whole.
        raw: bodies of the whole video, as read or estimated; None for a model that needs none.
        slide: length and distance of the windows.
        source: file of the bodies; None: they were estimated.

    Raises:
        VideoError: the video does not read, is shorter than a window or than its skeleton, or nobody was found in any window.
        SkeletonFormatError: the skeleton has nobody.
        ConfigError: poses that cannot become the model's.
    """
    rate, frame_size, promised = _look_at(video, model)
    rate = slide.frame_rate or rate or UNKNOWN_RATE
    length = None if raw is None else raw.length
    if length is not None and 0 < promised < length - 1:  # it would be noticed at the end of the video, after all its windows
        raise VideoError(
            "the video ends before the last frame of its skeleton", file=str(video), found=f"{promised} frames",
            expected=f"{length} frames", fix="give the skeleton of this video, or none",
        )  # fmt: skip
    if raw is not None and model.needs_pixels:
        check_inside(video, raw)
    known, answers = KnownHands(), 0
    for start, frames in _cut(video, model, slide, rate, length):
        stop = start + slide.frames(slide.seconds, rate)
        part = part_of(video, start, stop)
        known.start = start
        answer = _answer(
            model, adapter, MemoryVideo(frames, rate, str(part)) if frames else part,
            None if raw is None else sequence_part(raw, start, stop), known, frame_size, source,
        )  # fmt: skip
        if answer is not None:
            answers += 1
            yield Window(start, stop, rate, replace(answer, video=part))
    if not answers:
        raise nobody(video, source)


def camera_windows(
    model: LoadedModel,
    adapter: PoseAdapter,
    source: int | str,
    slide: Slide,
    *,
    estimator: PoseEstimator | None,
    limit: int | None = None,
) -> Iterator[Window]:
    """The answers for the newest seconds of a camera, see `Recognizer.camera`.

    Args:
        model, adapter, slide: as for `video_windows`.
        source: the camera.
        estimator: for a model that needs poses: people are followed from window to window.
        limit: windows after which it ends.
    """
    known, people = KnownHands(), {}
    # The camera last: it must not run while the rest is still being made.
    with nullcontext() if estimator is None else estimator.track() as track, Camera(source, seconds=slide.seconds) as camera:
        for _ in itertools.count() if limit is None else range(limit):
            seen = camera.window(slide.stride)
            known.start = seen.numbers.start
            height, width = seen.frames[0].shape[:2]
            bodies = None
            if track is not None:
                people = {number: found for number, found in people.items() if number in seen.numbers}
                for number, frame in zip(seen.numbers, seen.frames, strict=True):
                    if number not in people:
                        people[number] = track.step(frame)
                bodies = join_frames([people[number] for number in seen.numbers], MEDIAPIPE_33, file=camera.name)
            video = MemoryVideo(tuple(rgb_frames(seen.frames)), seen.frame_rate, camera.name)
            answer = _answer(model, adapter, video, bodies, known, (width, height), None)
            if answer is not None:
                yield Window(seen.numbers.start, seen.numbers.stop, seen.frame_rate, answer, seen.dropped)


def _answer(
    model: LoadedModel,
    adapter: PoseAdapter,
    video: Video,
    bodies: SkeletonSequence | None,
    known: KnownHands,
    frame_size: tuple[int, int] | None,
    source: str | Path | None,
) -> Prediction | None:
    """For one window; None where the model needs somebody and nobody is there."""
    if bodies is not None and model.needs_skeleton:
        if not somebody(bodies, frame_size if model.needs_pixels else None):
            return None
        bodies = adapter(bodies, video, source=source)
    return model.predict(video, bodies, known=known)


def _look_at(video: Video, model: LoadedModel) -> tuple[float, tuple[int, int] | None, int]:
    """Frame rate, 0 where it is not known; size; number of frames according to the container."""
    if not model.needs_video and isinstance(video, Path) and not video.exists():
        return 0.0, None, 0
    with VideoReader(video) as reader:
        return reader.frame_rate, (reader.width, reader.height), reader.frame_count


def _cut(
    video: Video, model: LoadedModel, slide: Slide, rate: float, length: int | None
) -> Iterator[tuple[int, list[np.ndarray]]]:
    """Number of the first frame of each window, and its frames, RGB; no frames for a model that sees no pictures."""
    size, step = slide.frames(slide.seconds, rate), slide.frames(slide.stride, rate)
    if not model.needs_video:
        count = length
        yield from ((start, []) for start, _ in cut_windows(range(length), size, step))
    else:
        count = 0

        def counted(frames: Iterator[np.ndarray]) -> Iterator[np.ndarray]:
            nonlocal count
            for count, frame in enumerate(frames, 1):  # noqa: B007
                yield frame

        # The usual limit is one on the decoding of a clip; a video may last hours.
        with VideoReader(video, time_limit=None) as reader:
            wanted = None if length is None else np.ones(length, bool)
            yield from cut_windows(rgb_frames(counted(reader.frames(wanted))), size, step)
    if count < size:
        raise VideoError(
            "the video is shorter than a window", file=str(video), found=f"{count} frames, {count / rate:.2f} s",
            expected=f"at least {size} frames, {slide.seconds:g} s at {rate:g} frames per second",
            fix="classify it as one clip (without --window), or take shorter windows (--window SECONDS)",
        )  # fmt: skip
