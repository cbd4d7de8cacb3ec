"""The two-stream network's answer for one clip, explained by hand squares."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tensorflow as tf

from keras_actrec.backbones.sensors import SensorConfig, build_sensor, weights_checksum
from keras_actrec.errors import WeightsError
from keras_actrec.export import ExportDescription
from keras_actrec.extraction.hand_features import clip_hand_features
from keras_actrec.recipes.prediction.explanation import Prediction
from keras_actrec.skeletons.sequence import SkeletonSequence
from keras_actrec.video.decode import VideoReader
from keras_actrec.visualize.attention import ClipAttention, annotate_clip, clip_attention


@dataclass(frozen=True, eq=False)
class TwoStreamPrediction(Prediction):
    """The answer of the two-stream network.

    Attributes:
        attention: per-frame attention over hands and time.
        crop_size: side in pixels of the squares cut around the hands.
    """

    attention: ClipAttention
    crop_size: int

    @property
    def moments(self) -> np.ndarray:
        temporal = self.attention.temporal
        return np.ones(self.sequence.length) if temporal is None else temporal

    def annotated_frames(self) -> Iterator[np.ndarray]:
        with VideoReader(self.video) as reader:
            yield from annotate_clip(
                reader.frames(), self.sequence.pixels, self.sequence.layout,
                attention=self.attention, ranking=self.top(), crop_size=self.crop_size,
            )  # fmt: skip


def predict_sta_hands(
    description: ExportDescription,
    classify: Callable[..., Mapping[str, tf.Tensor]],
    video: Path,
    sequence: SkeletonSequence,
    *,
    sensor_weights: str | None,
) -> TwoStreamPrediction:
    """Applies the signature `classify_clip` of an exported two-stream network.

    Args:
        description: of the export.
        classify: its signature.
        video: the RGB video, or a folder with an image per frame.
        sequence: the cleaned skeleton.
        sensor_weights: weights of the image network, where those named in the export are a file that has moved.

    Raises:
        WeightsError: the sensor's weights are other ones.
        VideoError: the video does not read, or does not fit the skeleton.
    """
    inputs = {"joints": tf.constant(np.nan_to_num(sequence.joints), tf.float32)}
    if "hands" in classify.structured_input_signature[1]:
        inputs["hands"] = tf.constant(_hand_features(description, sequence, video, sensor_weights), tf.float32)
    outputs = {name: value.numpy() for name, value in classify(**inputs).items()}
    attention = clip_attention(
        outputs["frames"], outputs.get("spatial_attention"), outputs.get("temporal_attention"), length=sequence.length
    )
    return TwoStreamPrediction(
        description.class_names, outputs["probabilities"], sequence, video, attention, description.crop_size
    )


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
