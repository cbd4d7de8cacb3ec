"""A trained model in one call: `Recognizer.load(DIR)("clip.mp4")` says what is done in a video, and why.

    import keras_actrec

    recognizer = keras_actrec.Recognizer.load("runs/mine/export")
    answer = recognizer("clip.mp4")
    answer.top()                                            # [("wave", 0.93), …], best first
    recognizer.timeline("an_hour.mp4").write_csv("what_when.csv")
    for window in recognizer.camera(0):
        print(window.prediction.top(1))

Poses are estimated in the video where the model needs them and no skeleton is given.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from keras_actrec.datasets.pose_files import read_pose_file
from keras_actrec.errors import VideoError
from keras_actrec.export.saved_model import Description
from keras_actrec.recipes.prediction.explanation import UNKNOWN_RATE, Prediction
from keras_actrec.recipes.prediction.model import LoadedModel, load_prediction_model
from keras_actrec.recipes.prediction.skeletons import PoseAdapter, check_inside
from keras_actrec.recipes.prediction.sliding import Slide, camera_windows, video_windows
from keras_actrec.recipes.prediction.timeline import Timeline
from keras_actrec.recipes.prediction.windows import SECONDS, STRIDE, Window
from keras_actrec.skeletons.sequence import SkeletonSequence
from keras_actrec.video.decode import Video
from keras_actrec.video.memory import MemoryVideo, VideoPart

if TYPE_CHECKING:
    from keras_actrec.pose_estimation.estimator import PoseEstimationConfig, PoseEstimator

AnyVideo = str | Video | np.ndarray
AnySkeleton = str | Path | SkeletonSequence


class Recognizer:
    """An exported model, loaded once, for any number of videos. Made by `load`.

    Attributes:
        class_names: in the order of a prediction's probabilities.
        description: the export's `actrec.json`.
        needs_skeleton: whether poses count; they are estimated where none are given.
    """

    def __init__(self, model: LoadedModel, *, pose_model: str | Path | None = None, poses: PoseEstimationConfig | None = None):
        self._model, self._adapter = model, PoseAdapter(model)
        self._pose_model, self._poses, self._known_estimator = pose_model, poses, None

    @classmethod
    def load(
        cls,
        directory: str | Path,
        *,
        sensor_weights: str | None = None,
        flow_model: str | Path | None = None,
        pose: bool = False,
        pose_model: str | Path | None = None,
        poses: PoseEstimationConfig | None = None,
    ) -> Recognizer:
        """Loads an export of any of the four models.

        Args:
            directory: WORKDIR/export of an experiment. It is a program: take it from someone you trust.
            sensor_weights: two-stream network: weights of its image network, where those named in the export are a file that
                has moved.
            flow_model: RPAN: the export of the model of optical flow beside that of RGB; both answer as one.
            pose: Glimpse Clouds: explanations also show the poses that it regresses.
            pose_model: `.task` file of the pose landmarker, where poses are estimated; None finds or fetches it.
            poses: how they are estimated; None: the defaults of `PoseEstimationConfig`.

        Raises:
            WeightsError: the directory is no export, or the sensor's weights cannot be had or are other ones.
            ConfigError: an option that the model has no use for, or two models that do not belong together.
        """
        model = load_prediction_model(directory, sensor_weights=sensor_weights, pose=pose, flow_model=flow_model)
        return cls(model, pose_model=pose_model, poses=poses)

    @property
    def class_names(self) -> tuple[str, ...]:
        return self._model.description.class_names

    @property
    def description(self) -> Description:
        return self._model.description

    @property
    def needs_skeleton(self) -> bool:
        return self._model.needs_skeleton

    def __call__(self, video: AnyVideo, skeleton: AnySkeleton | None = None, *, frame_rate: float | None = None) -> Prediction:
        """The answer for a whole clip: what is done from its first frame to its last.

        Args:
            video: a file; a folder with an image per frame; or RGB frames uint8 (T, H, W, 3).
            skeleton: the clip's poses: a file of any form that `read_pose_file` reads, of any joint layout, or a sequence as
                read. None: estimated, where the model needs them. The clip ends where a given skeleton does.
            frame_rate: frames per second of frames in memory, 30 by default.

        Returns:
            Probabilities, and what the model attended to; `prediction/explanation.py` `write_explanation` draws that.

        Raises:
            VideoError: the video does not read or does not fit the skeleton, or nobody was found in it.
            SkeletonFormatError: the skeleton does not read or has nobody.
            ConfigError: poses that cannot become the model's, or MediaPipe is not installed.
            WeightsError: the model that finds poses cannot be had.
        """
        clip = self._video(video, frame_rate)
        sequence = self._sequence(clip, skeleton)
        return self._model.predict(clip, sequence)

    def windows(
        self,
        video: AnyVideo,
        skeleton: AnySkeleton | None = None,
        *,
        seconds: float = SECONDS,
        stride: float = STRIDE,
        frame_rate: float | None = None,
    ) -> Iterator[Window]:
        """The answers for windows that slide over a long video, each as it is found.

        People are followed through the whole video; then the frames of one window at a time are in memory. Windows in which a
        model that needs poses has nobody to look at are left out.

        Args:
            video, skeleton: as for a call.
            seconds: length of a window; about as long as the clips that the model learned from.
            stride: seconds from the beginning of a window to that of the next. The last one ends where the video does.
            frame_rate: frames per second of a video that does not say (frames in memory, a folder of images), 30 by default; of
                one that does, it is taken in the place of its own.

        Raises:
            ConfigError: seconds or stride are not above 0; and as for a call.
            VideoError: the video is shorter than a window, or nobody was found in any; and as for a call.
            SkeletonFormatError, WeightsError: as for a call.
        """
        clip = self._video(video, frame_rate)
        return self._windows(clip, skeleton, Slide(seconds, stride, frame_rate))

    def _windows(self, clip: Video, skeleton: AnySkeleton | None, slide: Slide) -> Iterator[Window]:
        raw, source = self._raw_sequence(clip, skeleton)
        yield from video_windows(self._model, self._adapter, clip, raw, slide, source=source)

    def timeline(
        self,
        video: AnyVideo,
        skeleton: AnySkeleton | None = None,
        *,
        seconds: float = SECONDS,
        stride: float = STRIDE,
        frame_rate: float | None = None,
    ) -> Timeline:
        """What is done when in a long video: the answers of `windows`, which has the arguments and the errors."""
        return Timeline.of(self.windows(video, skeleton, seconds=seconds, stride=stride, frame_rate=frame_rate))

    def camera(
        self, source: int | str = 0, *, seconds: float = SECONDS, stride: float = STRIDE, limit: int | None = None
    ) -> Iterator[Window]:
        """The answers for the newest seconds of a camera, each as it is found, until the caller stops.

        A thread reads the camera. Where an answer takes longer than `stride`, the next window is that of the newest frames, and
        what lies between is dropped and counted (`Window.dropped`). Windows with nobody for a model that needs poses are left
        out. A window's prediction holds its frames.

        Args:
            source: number of a device, 0 for the first; or the address of a stream.
            seconds, stride: as for `windows`.
            limit: windows after which it ends, with those that are left out; None: never.

        Raises:
            VideoError: the camera does not open, ends, or gives no frames.
            ConfigError, WeightsError: as for a call; or the source is a file.
        """
        estimator = self._estimator() if self.needs_skeleton else None
        return camera_windows(self._model, self._adapter, source, Slide(seconds, stride), estimator=estimator, limit=limit)

    # Videos and poses of any form ---------------------------------------------------------------------------------------------

    def _video(self, video: AnyVideo, frame_rate: float | None) -> Video:
        if isinstance(video, MemoryVideo | VideoPart):
            return video
        if isinstance(video, np.ndarray):
            return MemoryVideo(video, frame_rate or UNKNOWN_RATE)
        path = Path(video)
        if self._model.needs_video and not path.exists():
            raise VideoError("there is no such video", file=path, fix="check the path")
        return path

    def _sequence(self, video: Video, skeleton: AnySkeleton | None) -> SkeletonSequence | None:
        """The poses as the model takes them; None where there are none and none are needed."""
        raw, source = self._raw_sequence(video, skeleton)
        if raw is None:
            return None
        sequence = self._adapter(raw, video, source=source)
        if self._model.needs_pixels:
            check_inside(video, sequence)
        return sequence

    def _raw_sequence(self, video: Video, skeleton: AnySkeleton | None) -> tuple[SkeletonSequence | None, str | Path | None]:
        """Bodies as read or estimated, and the name of their file; None for one that was estimated."""
        if isinstance(skeleton, SkeletonSequence):
            return skeleton, "the skeleton"
        if skeleton is not None:
            return read_pose_file(skeleton), skeleton
        if not self.needs_skeleton:
            return None, None
        return self._estimator().video(video), None

    def _estimator(self) -> PoseEstimator:
        """Built at the first clip without a skeleton."""
        if self._known_estimator is None:
            from keras_actrec.pose_estimation.estimator import PoseEstimator

            self._known_estimator = PoseEstimator(self._poses, self._pose_model)
        return self._known_estimator
