"""Poses from plain video, by MediaPipe's pose landmarker (BlazePose GHUM: 33 landmarks, in the picture and in metres).

V. Bazarevsky et al., "BlazePose: On-device Real-time Body Pose tracking", 2020; I. Grishchenko et al., "BlazePose GHUM
Holistic: Real-time 3D Human Landmarks and Pose Estimation", 2022. https://ai.google.dev/edge/mediapipe/solutions/vision/pose_landmarker
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np

from keras_actrec.datasets.mediapipe_poses import metric_person
from keras_actrec.datasets.pose_tracks import Person, join_frames
from keras_actrec.errors import ConfigError, WeightsError
from keras_actrec.pose_estimation.model_file import find_pose_model
from keras_actrec.skeletons.layouts import MEDIAPIPE_33
from keras_actrec.skeletons.sequence import SkeletonSequence
from keras_actrec.video.decode import Video, VideoReader

LONGEST_GAP = 300
"""Frames that are looked through a second time at once, and so are held in memory; a longer gap is looked through in pieces."""
_BEFORE = 60
"""Frames before a gap from which the second look begins, and after it: one who is followed already is not lost as soon."""
_HELD_SIDE = 640
"""Longest side of such frames in pixels: the landmarker itself sees 256."""
_RATE = 30.0  # of clips that do not say theirs: only the tracker's smoothing sees it

_CONFIDENCES = ("detection_confidence", "presence_confidence", "tracking_confidence")


@dataclass(frozen=True)
class PoseEstimationConfig:
    """How poses are found.

    Attributes:
        people: most people in a frame.
        detection_confidence: least score of a person that is found anew.
        presence_confidence: least score of a person's landmarks in a frame; below it the person is looked for anew.
        tracking_confidence: least score for following a person into the next frame; below it too.
        same_person: two bodies in a frame whose landmarks lie nearer to each other on average than this part of their size are
            one that was found twice; the second is dropped.
        fill_gaps: frames in which nobody was found are gone through a second time for a single person, forwards from before and
            backwards from after: a person is followed more easily than found, and MediaPipe follows one alone for longer than
            one of several.
        gap_confidence: takes the place of the three confidences there (where they are not lower): in clips of actions somebody
            is there nearly always, so that a doubtful body is better than none.

    Raises:
        ConfigError: a value out of range.
    """

    people: int = 2
    detection_confidence: float = 0.5
    presence_confidence: float = 0.5
    tracking_confidence: float = 0.5
    same_person: float = 0.25
    fill_gaps: bool = True
    gap_confidence: float = 0.2

    def __post_init__(self):
        if self.people < 1:
            raise ConfigError("at least one person is looked for", found=self.people, expected="people >= 1")
        for name in (*_CONFIDENCES, "gap_confidence", "same_person"):
            if not 0 <= getattr(self, name) <= 1:
                raise ConfigError(f"{name} is out of range", found=getattr(self, name), expected="0 to 1")


class PoseEstimator:
    """Finds and follows the people of videos, one video after the other.

    Args:
        config: how.
        model: `.task` file of a pose landmarker; None finds or fetches it, see `find_pose_model`.

    Raises:
        ConfigError: MediaPipe is not installed.
        WeightsError: no model, or one that MediaPipe does not read.
    """

    def __init__(self, config: PoseEstimationConfig | None = None, model: str | Path | None = None):
        self.config = config or PoseEstimationConfig()
        self._mediapipe = _import_mediapipe()
        self.model = find_pose_model(model)
        self.track().close()  # a file that does not read is reported before anything long begins

    def video(self, video: Video | str, *, time_limit: float | None = None) -> SkeletonSequence:
        """The people of a whole video.

        Args:
            video: anything that `VideoReader` opens.
            time_limit: seconds that decoding may take, see `VideoReader`; None sets no limit: a video may last hours.

        Returns:
            Layout `mediapipe_33`; joints (T, P, 33, 3) in metres, x right, y up, z away from the camera, from the middle of the
            picture (see `metric_person`); pixels (T, P, 33, 2); NaN where a person is absent. P is 0 to `people`, those seen in
            most frames first.

        Raises:
            VideoError: the video does not read.
        """
        with VideoReader(video, time_limit=time_limit) as reader:
            rate = reader.frame_rate or _RATE
            with self.track(rate) as track:
                frames = [track.step(frame) for frame in reader.frames()]
        if self.config.fill_gaps:
            self._fill_gaps(video, frames, rate, time_limit)
        return join_frames(frames, MEDIAPIPE_33, file=str(video))

    def track(self, frame_rate: float = _RATE) -> PoseTrack:
        """A landmarker that follows people through frames in order: for cameras. A context manager."""
        return self._track(self.config, frame_rate)

    def _track(self, config: PoseEstimationConfig, frame_rate: float) -> PoseTrack:
        return PoseTrack(self._mediapipe, config, self.model, frame_rate)

    def _fill_gaps(self, video: Video | str, frames: list[list[Person]], rate: float, time_limit: float | None) -> None:
        """Looks a second time through the frames with nobody, each run of them with the frames around it."""
        gaps = list(_gaps(frames))
        if not gaps:
            return
        with VideoReader(video, time_limit=time_limit) as reader:
            wanted = np.zeros(len(frames), bool)
            for start, stop in gaps:
                wanted[max(0, start - _BEFORE) : stop + _BEFORE] = True
            held: dict[int, np.ndarray] = {}
            size = (reader.width, reader.height)
            for index, frame in enumerate(reader.frames(wanted)):
                if frame is None:
                    continue
                held[index] = _smaller(frame)
                while gaps and index == min(gaps[0][1] + _BEFORE, len(frames)) - 1:
                    self._follow(held, frames, size, rate)
                    del gaps[0]
                    held = {n: picture for n, picture in held.items() if gaps and n >= gaps[0][0] - _BEFORE}

    def _follow(self, held: dict[int, np.ndarray], frames: list[list[Person]], size: tuple[int, int], rate: float) -> None:
        """Fills the empty ones of these frames: forwards, then what is still empty backwards."""
        lower = {name: min(getattr(self.config, name), self.config.gap_confidence) for name in _CONFIDENCES}
        alone = replace(self.config, people=1, **lower)
        for order in (sorted(held), sorted(held, reverse=True)):
            if all(frames[index] for index in order):
                return
            with self._track(alone, rate) as track:
                for index in order:
                    people = track.step(held[index], size=size)
                    frames[index] = frames[index] or people


class PoseTrack:
    """People followed through the frames of one video; `step` takes them in order. Made by `PoseEstimator.track`."""

    def __init__(self, mediapipe: object, config: PoseEstimationConfig, model: Path, frame_rate: float):
        self._mediapipe, self._config, self._rate, self._count = mediapipe, config, frame_rate, 0
        vision = mediapipe.tasks.vision
        options = vision.PoseLandmarkerOptions(
            base_options=mediapipe.tasks.BaseOptions(model_asset_path=str(model)),
            running_mode=vision.RunningMode.VIDEO,
            num_poses=config.people,
            min_pose_detection_confidence=config.detection_confidence,
            min_pose_presence_confidence=config.presence_confidence,
            min_tracking_confidence=config.tracking_confidence,
        )
        try:
            with _quiet():
                self._landmarker = vision.PoseLandmarker.create_from_options(options)
        except (RuntimeError, ValueError, OSError) as error:
            raise WeightsError(
                "MediaPipe does not read this model", file=model, found=str(error).partition("\n")[0],
                expected="the .task file of a pose landmarker", fix="get it anew, or give another one by --pose-model FILE",
            ) from error  # fmt: skip

    def __enter__(self) -> PoseTrack:
        return self

    def __exit__(self, *_) -> None:
        self.close()

    def close(self) -> None:
        """Frees the landmarker."""
        with _quiet():
            self._landmarker.close()

    def step(self, frame: np.ndarray, *, size: tuple[int, int] | None = None) -> list[Person]:
        """The people in the next frame, BGR uint8 (H, W, 3); in pixels of a picture of `size` (width, height), if given."""
        image = self._mediapipe.Image(
            image_format=self._mediapipe.ImageFormat.SRGB, data=cv2.cvtColor(frame, cv2.COLOR_BGR2RGB)
        )
        moment = round(self._count * 1000 / self._rate) if self._rate < 1000 else self._count
        with _quiet() if self._count == 0 else nullcontext():
            result = self._landmarker.detect_for_video(image, moment)
        self._count += 1
        size = size or (frame.shape[1], frame.shape[0])
        people = [
            metric_person(_points(world), _points(seen), size)
            for world, seen in zip(result.pose_world_landmarks, result.pose_landmarks, strict=True)
        ]
        return _distinct(people, self._config.same_person)


def _points(landmarks: Iterable[object]) -> np.ndarray:
    return np.array([(point.x, point.y, point.z) for point in landmarks], np.float64)


def _distinct(people: Sequence[Person], same: float) -> list[Person]:
    """Without bodies that another one before them already is."""
    kept: list[Person] = []
    for person in people:
        if all(_apart(person.pixels, other.pixels) >= same for other in kept):
            kept.append(person)
    return kept


def _apart(one: np.ndarray, other: np.ndarray) -> float:
    """Mean distance of the landmarks of two bodies, in parts of the larger one's size (the diagonal around its landmarks)."""
    size = max(float(np.linalg.norm(np.ptp(points, axis=0))) for points in (one, other))
    return float(np.linalg.norm(one - other, axis=1).mean()) / max(size, 1e-6)


def _gaps(frames: Sequence[Sequence[Person]]) -> Iterator[tuple[int, int]]:
    """[start, stop) of the runs of frames with nobody, in pieces of `LONGEST_GAP` at most."""
    empty = np.concatenate([[False], [not people for people in frames], [False]]).astype(np.int8)
    (starts,), (stops,) = np.nonzero(np.diff(empty) == 1), np.nonzero(np.diff(empty) == -1)
    for start, stop in zip(starts.tolist(), stops.tolist(), strict=True):
        for first in range(start, stop, LONGEST_GAP):
            yield first, min(stop, first + LONGEST_GAP)


def _smaller(frame: np.ndarray) -> np.ndarray:
    scale = _HELD_SIDE / max(frame.shape[:2])
    return frame if scale >= 1 else cv2.resize(frame, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)


def _import_mediapipe() -> object:
    os.environ.setdefault("GLOG_minloglevel", "2")
    try:
        import mediapipe
        import mediapipe.tasks.python.vision  # as mediapipe.tasks.vision
    except (ImportError, OSError) as error:  # OSError: a library of the system that its own needs
        raise ConfigError(
            "finding poses in a video needs MediaPipe", found=f"{type(error).__name__}: {error}",
            fix="pip install 'keras_actrec[pose]'; or give the clips' skeletons (docs/own_data.md), which needs no MediaPipe",
        ) from error  # fmt: skip
    return mediapipe


@contextmanager
def _quiet() -> Iterator[None]:
    """Sends what MediaPipe's C++ parts print on stderr to nowhere: remarks at every start that no option turns off."""
    try:
        kept = os.dup(2)
    except OSError:  # no stderr at all
        yield
        return
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)
