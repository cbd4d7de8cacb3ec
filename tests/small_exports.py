"""Tiny exports of the four models, a video with its skeleton, and a pose estimator that knows what it will find."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import keras
import numpy as np

from keras_actrec.backbones.sensors import SensorConfig, build_sensor, weights_checksum
from keras_actrec.datasets.pose_tracks import Person
from keras_actrec.export import export_glimpse_clouds, export_rpan, export_saved_model, export_vpn
from keras_actrec.extraction.person_clips import PersonCropConfig
from keras_actrec.models.sta_hands import STAHandsConfig, sta_hands
from keras_actrec.skeletons.cleaning import CleaningConfig
from keras_actrec.skeletons.layout import SkeletonLayout
from keras_actrec.skeletons.layouts import JHMDB_15, KINECT_V2, LAYOUTS, MEDIAPIPE_33
from keras_actrec.skeletons.pose_tensor import PoseTensorConfig, pose_tensor_width
from keras_actrec.skeletons.retarget import retarget
from keras_actrec.skeletons.sampling import SamplingConfig
from keras_actrec.skeletons.sequence import SkeletonSequence
from keras_actrec.synthetic.dataset import SyntheticConfig, record, synthetic_clips
from keras_actrec.video.decode import VideoReader
from keras_actrec.video.write import write_video
from tests.export import small_glimpse_clouds, small_rpan, small_vpn

CLASSES = ("wave", "clap", "drink")
SENSOR = SensorConfig("resnet50", "random", image_size=32)
LENGTH, RATE = 40, 10.0
SYNTHETIC = SyntheticConfig(subjects=(1,), cameras=(1,), frames=(LENGTH, LENGTH), width=240, height=134, faults=False)
CLEANING = asdict(CleaningConfig(max_gap=3))


@dataclass(frozen=True)
class Clip:
    """A video of 40 frames, 10 per second, 240×134 pixels; and the skeleton, as a sequence and as a file."""

    video: Path
    sequence: SkeletonSequence
    skeleton: Path


def write_clip(place: Path) -> Clip:
    sequence, frames = record(synthetic_clips(SYNTHETIC)[0], SYNTHETIC)
    video = write_video(place / "clip.avi", frames, RATE)
    return Clip(video, sequence, write_poses(place / "clip.npz", sequence))


def write_poses(path: Path, sequence: SkeletonSequence) -> Path:
    pixels = {} if sequence.pixels is None else {"pixels": sequence.pixels}
    np.savez(path, joints=sequence.joints, layout=sequence.layout.name, **pixels)
    return path


def export_sta_hands(directory: Path, *, layout: SkeletonLayout = KINECT_V2, **fields) -> Path:
    """The two-stream network; `streams="pose"` gives its pose stream."""
    sizes = {"lstm_units": 8, "spatial_attention_units": 6, "temporal_attention_units": 7, "temporal_features": 5}
    tensor = PoseTensorConfig(scale="body")
    keras.utils.set_random_seed(1)
    model = sta_hands(
        STAHandsConfig(
            classes=3, pose_filters=(3, 4), pose_features=9, pose_width=pose_tensor_width(layout, tensor), **sizes, **fields
        )
    )
    sensor = {**asdict(SENSOR), "weights_checksum": weights_checksum(build_sensor(SENSOR))}
    return export_saved_model(
        model, directory, class_names=CLASSES, layout=layout, tensor=tensor, sampling=SamplingConfig(seed=5), sensor=sensor,
        crop_size=20, cleaning=CLEANING,
    )  # fmt: skip


def export_small_vpn(directory: Path, *, layout: str = "kinect_v2") -> Path:
    model = small_vpn.small_vpn(side=16, joints=layout)
    options = {"class_names": CLASSES, "layout": LAYOUTS[layout], "sampling": small_vpn.SAMPLING, "backbone": {}}
    return export_vpn(model, directory, **options, crop=asdict(PersonCropConfig(size=24)), cleaning=CLEANING)


def export_small_glimpse_clouds(directory: Path, *, box: str = "whole") -> Path:
    crop = PersonCropConfig(size=small_glimpse_clouds.PICTURE, margin=0.0, box=box)
    return export_glimpse_clouds(
        small_glimpse_clouds.small_glimpse_clouds(), directory, class_names=CLASSES, layout=KINECT_V2,
        sampling=small_glimpse_clouds.SAMPLING, picture_size=small_glimpse_clouds.PICTURE, backbone={}, crop=asdict(crop),
        cleaning=CLEANING,
    )  # fmt: skip


def export_small_rpan(directory: Path) -> Path:
    return export_rpan(
        small_rpan.small_rpan(), directory, class_names=CLASSES, layout=JHMDB_15, sampling=small_rpan.SAMPLING, stream="rgb",
        backbone=small_rpan.BACKBONE, flow=None, attention="human_part", guided=True,
    )  # fmt: skip


EXPORTS = {
    "sta_hands": export_sta_hands,
    "vpn": export_small_vpn,
    "glimpse_clouds": export_small_glimpse_clouds,
    "rpan": export_small_rpan,
}


class KnownPoses:
    """Finds the people of a given sequence, as MediaPipe's landmarks, in any video of at most its length.

    Attributes:
        videos: what it was asked for.
        steps: frames of the last video that was tracked.
    """

    def __init__(self, sequence: SkeletonSequence):
        self.sequence, self.videos = retarget(sequence, MEDIAPIPE_33), []

    def video(self, video) -> SkeletonSequence:
        self.videos.append(video)
        with VideoReader(video) as reader:
            length = sum(1 for _ in reader.frames())
        found = self.sequence
        return SkeletonSequence(found.joints[:length], MEDIAPIPE_33, found.pixels[:length])

    @contextmanager
    def track(self, frame_rate: float = 30.0) -> Iterator[KnownPoses]:
        self.steps = 0
        yield self

    def step(self, frame: np.ndarray) -> list[Person]:
        index = self.steps % self.sequence.length
        self.steps += 1
        joints, pixels = self.sequence.joints[index], self.sequence.pixels[index]
        return [Person(j, p) for j, p in zip(joints, pixels, strict=True) if np.isfinite(j).all()]
