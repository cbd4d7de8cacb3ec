"""Where the time goes when a trained model answers: poses, image network of the hands, network, and the rest."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import median

import tensorflow as tf

from keras_actrec.datasets.pose_files import read_pose_file
from keras_actrec.errors import ConfigError
from keras_actrec.progress import progress_bar
from keras_actrec.recipes.prediction.model import LoadedModel, load_prediction_model
from keras_actrec.recognizer import Recognizer
from keras_actrec.skeletons.sequence import SkeletonSequence
from keras_actrec.version import library_versions
from keras_actrec.video.decode import VideoReader

POSES, HANDS, NETWORK, REST = "poses", "hand features", "network", "frames and crops"
STEPS = (POSES, HANDS, NETWORK, REST)


@dataclass
class Stopwatch:
    """Seconds by step, of the clip that is being classified."""

    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Counts the seconds of a block for a step."""
        started = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - started

    def taken(self) -> dict[str, float]:
        """The seconds so far, which begin anew."""
        seconds, self.seconds = self.seconds, {}
        return seconds


@dataclass(frozen=True)
class Benchmark:
    """What was measured.

    Attributes:
        model: "sta_hands", "vpn", …
        clip: name of the video.
        frames, frame_rate: of the video; per second, 0 where it does not say.
        loading: seconds for loading the model.
        first: seconds for the first clip, in which TensorFlow prepares its graphs.
        repeats: of each further one, step → seconds; "total" is the sum.
        machine: cores, GPUs and versions.
    """

    model: str
    clip: str
    frames: int
    frame_rate: float
    loading: float
    first: float
    repeats: tuple[Mapping[str, float], ...]
    machine: Mapping[str, object]

    @property
    def seconds(self) -> dict[str, float]:
        """Step → median of the repeats, and their "total"."""
        return {name: median(repeat[name] for repeat in self.repeats) for name in self.repeats[0]}

    @property
    def frames_per_second(self) -> float:
        """Frames of the video by the median of a whole clip."""
        return self.frames / self.seconds["total"]

    def as_json(self) -> dict[str, object]:
        """For a file."""
        return {
            **{name: getattr(self, name) for name in ("model", "clip", "frames", "frame_rate")},
            "loading_seconds": self.loading, "first_clip_seconds": self.first, "seconds": self.seconds,
            "frames_per_second": self.frames_per_second, "repeats": list(self.repeats), "machine": self.machine,
        }  # fmt: skip


class _TimedCall:
    """A signature whose calls a stopwatch counts until their results are there."""

    def __init__(self, call: Callable, watch: Stopwatch):
        self._call, self._watch = call, watch
        self.structured_input_signature = call.structured_input_signature

    def __call__(self, **inputs: tf.Tensor) -> Mapping[str, tf.Tensor]:
        with self._watch.step(NETWORK):
            outputs = self._call(**inputs)
            for value in outputs.values():
                value.numpy()  # a GPU may still be at work
        return outputs


class _TimedModel:
    """A SavedModel with timed signatures."""

    def __init__(self, served: object, watch: Stopwatch):
        self._served = served  # its signatures do not keep it alive
        self.signatures = {name: _TimedCall(call, watch) for name, call in served.signatures.items()}


class _TimedSensor:
    """The image network of the hands, with its crops, timed."""

    def __init__(self, sensor, watch: Stopwatch):
        self._sensor, self._watch = sensor, watch

    def features(self, *args, **options):
        with self._watch.step(HANDS):
            return self._sensor.features(*args, **options)


def timed(model: LoadedModel, watch: Stopwatch) -> LoadedModel:
    """The model, with what a stopwatch can tell apart reported to it."""
    return replace(
        model,
        served=_TimedModel(model.served, watch),
        sensor=None if model.sensor is None else _TimedSensor(model.sensor, watch),
        flow=None if model.flow is None else timed(model.flow, watch),
    )


def benchmark(
    directory: str | Path,
    video: str | Path,
    skeleton: str | Path | None = None,
    *,
    repeats: int = 5,
    sensor_weights: str | None = None,
    flow_model: str | Path | None = None,
    pose_model: str | Path | None = None,
    progress: bool | None = None,
) -> Benchmark:
    """Classifies one clip again and again.

    Args:
        directory: the export.
        video, skeleton: of the clip; without a skeleton poses are estimated where the model needs them.
        repeats: after the first one.
        sensor_weights, flow_model, pose_model: see `Recognizer.load`.
        progress: see `progress_bar`.

    Raises:
        ConfigError: fewer than one repeat; and as for `Recognizer`.
        VideoError, SkeletonFormatError, WeightsError: as for `Recognizer`.
    """
    if repeats < 1:
        raise ConfigError("at least one repeat is needed", found=repeats, expected="1 or more", fix="give --repeats 1 or more")
    started = time.perf_counter()
    watch = Stopwatch()
    model = timed(load_prediction_model(directory, sensor_weights=sensor_weights, flow_model=flow_model), watch)
    recognizer = Recognizer(model, pose_model=pose_model)
    loading = time.perf_counter() - started
    poses = _find_poses(recognizer, pose_model, skeleton)
    runs = []
    with progress_bar(repeats + 1, "benchmark", show=progress) as bar:
        for _ in range(repeats + 1):
            runs.append(_once(recognizer, video, poses, watch))
            bar.update()
    frames, rate = _length(video)
    first, *others = runs
    return Benchmark(
        recognizer.description.model, Path(video).name, frames, rate, loading, first["total"], tuple(others), machine()
    )


Poses = Callable[[str | Path], SkeletonSequence | None]


def _find_poses(recognizer: Recognizer, pose_model: str | Path | None, skeleton: str | Path | None) -> Poses:
    """Video → its bodies as `Recognizer` would read or estimate them, by an estimator that is built once."""
    if skeleton is not None:
        return lambda video: read_pose_file(skeleton)
    if not recognizer.needs_skeleton:
        return lambda video: None
    from keras_actrec.pose_estimation.estimator import PoseEstimationConfig, PoseEstimator

    return PoseEstimator(PoseEstimationConfig(), pose_model).video


def _once(recognizer: Recognizer, video: str | Path, poses: Poses, watch: Stopwatch) -> dict[str, float]:
    """Step → seconds, of the steps that there are; the rest is what no step counts."""
    watch.taken()
    started = time.perf_counter()
    with watch.step(POSES):
        sequence = poses(video)
    recognizer(video, sequence)
    total = time.perf_counter() - started
    seconds = watch.taken()
    if sequence is None:
        del seconds[POSES]
    seconds[REST] = max(0.0, total - sum(seconds.values()))
    return {**{name: seconds[name] for name in STEPS if name in seconds}, "total": total}


def _length(video: str | Path) -> tuple[int, float]:
    with VideoReader(video) as reader:
        rate = reader.frame_rate
        return sum(1 for _ in reader.frames()), float(rate or 0.0)


def machine() -> dict[str, object]:
    """What the seconds are of."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    gpus = [tf.config.experimental.get_device_details(gpu).get("device_name", gpu.name) for gpu in _gpus()]
    return {"processor": _processor(), "cores": cores, "gpus": gpus, "versions": library_versions()}


def _gpus() -> Sequence[object]:
    return tf.config.list_physical_devices("GPU")


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()
