"""One clip in, an explained answer out: an exported model applied to a video and its skeleton file."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import tensorflow as tf

from keras_actrec.backbones.sensors import SensorConfig, build_sensor, weights_checksum
from keras_actrec.datasets.ntu_skeleton import read_ntu_skeleton
from keras_actrec.errors import WeightsError
from keras_actrec.export import ExportDescription, read_description
from keras_actrec.extraction.hand_features import clip_hand_features
from keras_actrec.files import whole_file
from keras_actrec.skeletons.cleaning import CleaningConfig, clean
from keras_actrec.skeletons.sequence import SkeletonSequence
from keras_actrec.video.decode import VideoReader
from keras_actrec.video.write import write_video
from keras_actrec.visualize.attention import ClipAttention, annotate_clip, clip_attention

UNKNOWN_RATE = 30.0
"""Frames per second of an explanation whose clip does not say its own: a folder of images, or a container without a rate. 30 is
that of NTU RGB+D and of most cameras. It only decides how fast the explanation plays; the answer does not depend on it."""


@dataclass(frozen=True, eq=False)
class Prediction:
    """The answer for one clip.

    Attributes:
        class_names: names of the classes, in the order of `probabilities`.
        probabilities: float32 (classes,).
        attention: per-frame attention over hands and time.
        sequence: the cleaned skeleton, two people.
        video: the clip's video, or the folder of its images.
        crop_size: side in pixels of the squares cut around the hands.
    """

    class_names: tuple[str, ...]
    probabilities: np.ndarray
    attention: ClipAttention
    sequence: SkeletonSequence
    video: Path
    crop_size: int

    def top(self, count: int = 5) -> list[tuple[str, float]]:
        """The `count` most probable classes with their probabilities, best first."""
        best = np.argsort(-self.probabilities, kind="stable")[:count]
        return [(self.class_names[i], float(self.probabilities[i])) for i in best]


def _sensor_config(description: ExportDescription, weights: str | None) -> SensorConfig:
    options = {key: value for key, value in description.sensor.items() if key in SensorConfig.__dataclass_fields__}
    return SensorConfig(**{**options, **({} if weights is None else {"weights": weights})})


def _hand_features(
    description: ExportDescription, sequence: SkeletonSequence, video: Path, sensor_weights: str | None
) -> np.ndarray:
    sensor = build_sensor(_sensor_config(description, sensor_weights))
    checksum, expected = weights_checksum(sensor), description.sensor.get("weights_checksum")
    if expected and checksum != expected:
        raise WeightsError(
            "the sensor's weights are not those that the model was trained on",
            file=sensor_weights or description.sensor.get("weights"), found=checksum[:12], expected=expected[:12],
            fix="give the file that the features were extracted with by --sensor-weights FILE",
        )  # fmt: skip
    return clip_hand_features(sensor, video, sequence, crop_size=description.crop_size)


def _load(model: Path) -> object:
    try:
        return tf.saved_model.load(str(model))
    except (OSError, ValueError, tf.errors.OpError) as error:
        raise WeightsError(
            "the exported model does not load", file=model, found=str(error).splitlines()[0],
            fix="give the directory that experiments/ntu_pose_rgb.py wrote as WORKDIR/export, or export again",
        ) from error  # fmt: skip


def predict_clip(
    model: str | Path, video: str | Path, skeleton: str | Path, *, sensor_weights: str | None = None
) -> Prediction:
    """Classifies one clip with an exported model.

    Args:
        model: directory written by `export_saved_model`.
        video: the RGB video, or a folder with an image per frame.
        skeleton: its NTU `.skeleton` file.
        sensor_weights: weights of the image network, where those named in the export are a file that has moved.

    Raises:
        WeightsError: the directory is no export, or the sensor's weights are other ones.
        SkeletonFormatError, VideoError: the clip's files do not read, or do not fit each other.
    """
    description, video = read_description(model), Path(video)
    sequence, _ = clean(read_ntu_skeleton(Path(skeleton)), CleaningConfig(**description.cleaning))
    served = _load(Path(model))
    classify = served.signatures["classify_clip"]
    inputs = {"joints": tf.constant(np.nan_to_num(sequence.joints), tf.float32)}
    if "hands" in classify.structured_input_signature[1]:
        inputs["hands"] = tf.constant(_hand_features(description, sequence, video, sensor_weights), tf.float32)
    outputs = {name: value.numpy() for name, value in classify(**inputs).items()}
    attention = clip_attention(
        outputs["frames"], outputs.get("spatial_attention"), outputs.get("temporal_attention"), length=sequence.length
    )
    return Prediction(
        description.class_names, outputs["probabilities"], attention, sequence, video, description.crop_size
    )  # fmt: skip


def annotated_frames(prediction: Prediction) -> Iterator[np.ndarray]:
    """The clip's frames with skeleton, hand squares, attention and top-5; BGR uint8."""
    with VideoReader(prediction.video) as reader:
        yield from annotate_clip(
            reader.frames(), prediction.sequence.pixels, prediction.sequence.layout,
            attention=prediction.attention, ranking=prediction.top(), crop_size=prediction.crop_size,
        )  # fmt: skip


def write_explanation(prediction: Prediction, path: str | Path) -> Path:
    """Writes the annotated clip: a video (`.avi`, `.mp4`), or for `.png`/`.jpg` a picture of the four heaviest moments.

    A video plays at the clip's own frame rate, or at `UNKNOWN_RATE` where that is not known.

    Raises:
        DiskFullError: no space left; no file of that name is left half-written.
        VideoError: the video does not read, or OpenCV does not write this kind of file.
    """
    path = Path(path)
    if path.suffix.lower() not in (".png", ".jpg", ".jpeg"):
        with VideoReader(prediction.video) as reader:
            rate = reader.frame_rate or UNKNOWN_RATE
        return write_video(path, annotated_frames(prediction), rate, codec="mp4v" if path.suffix == ".mp4" else "MJPG")
    temporal = prediction.attention.temporal
    length = prediction.sequence.length
    quarters = np.array_split(np.arange(length), min(4, length))
    shown = [int(q[0] if temporal is None else q[np.argmax(temporal[q])]) for q in quarters]
    pictures = [frame for index, frame in enumerate(annotated_frames(prediction)) if index in shown]
    rows = [np.hstack(pictures[i : i + 2]) for i in range(0, len(pictures) - len(pictures) % 2, 2)]
    picture = np.vstack(rows) if rows else pictures[0]
    with whole_file(path, fix="free some space, or give another place by --out") as part:
        part.write_bytes(cv2.imencode(path.suffix, picture)[1].tobytes())
    return path
