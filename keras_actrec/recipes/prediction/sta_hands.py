"""The two-stream network's answer for one clip, explained by hand squares."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np
import tensorflow as tf

from keras_actrec.backbones.sensors import FEATURE_SIZE, SensorConfig, build_sensor, weights_checksum
from keras_actrec.errors import WeightsError
from keras_actrec.export import ExportDescription
from keras_actrec.extraction.crop_stream import CropOptions
from keras_actrec.extraction.hand_features import batched, features_of_hands, known_hand_centers
from keras_actrec.recipes.prediction.explanation import Prediction
from keras_actrec.skeletons.sequence import SkeletonSequence
from keras_actrec.video.decode import Video, VideoReader
from keras_actrec.visualize.attention import ClipAttention, annotate_clip, clip_attention

BATCH_SIZE = 32
"""Crops per forward pass: of a clip or a window there are a few hundred."""


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


@dataclass
class KnownHands:
    """Hand features of clips that overlap, as windows of a long video do.

    Attributes:
        start: number in the video of the clip's first frame; features of earlier frames are forgotten.
        features: (frame, x, y), whole pixels → (2048,) float16. A crop is cut at whole pixels (`crop_square`), so that the same
            place in the same frame has the same features.
    """

    start: int = 0
    features: dict[tuple[int, int, int], np.ndarray] = field(default_factory=dict)


class HandSensor:
    """The image network that turns hands into features, built once.

    Args:
        description: of the export.
        weights: of the network, where those named in the export are a file that has moved.

    Raises:
        WeightsError: the weights cannot be had, or are not those that the model was trained on.
    """

    def __init__(self, description: ExportDescription, weights: str | None = None):
        sensor = build_sensor(_sensor_config(description, weights))
        checksum, expected = weights_checksum(sensor), description.sensor.get("weights_checksum")
        if expected and checksum != expected:
            raise WeightsError(
                "the sensor's weights are not those that the model was trained on",
                file=weights or description.sensor.get("weights"), found=checksum[:12], expected=expected[:12],
                fix="give the file that the features were extracted with by --sensor-weights FILE",
            )  # fmt: skip
        self._options = CropOptions(description.crop_size, sensor.input_shape[1])
        self._network = batched(sensor, BATCH_SIZE)

    def features(self, video: Video, sequence: SkeletonSequence, known: KnownHands | None = None) -> np.ndarray:
        """Hand features of one clip.

        Args:
            video: the RGB video.
            sequence: cleaned, two people, with pixels (T, 2, J, 2).
            known: features that need not be computed again; gets those of this clip.

        Returns:
            float16 (T, 4, 2048), zeros where a hand is absent.

        Raises:
            VideoError: the video does not read, or ends before the skeleton.
            ConfigError: the sequence has no pixels.
        """
        centers = known_hand_centers(sequence, video)
        if known is None:
            return self._compute(video, centers)
        keys = _crop_keys(centers, known.start)
        fresh = {place: key for place, key in keys.items() if key not in known.features}
        wanted = np.full_like(centers, np.nan)
        for place in fresh:
            wanted[place] = centers[place]
        features = self._compute(video, wanted) if fresh else np.zeros((*centers.shape[:2], FEATURE_SIZE), np.float16)
        for place, key in keys.items():
            if place in fresh:
                known.features[key] = features[place].copy()
            else:
                features[place] = known.features[key]
        for key in [key for key in known.features if key[0] < known.start]:
            del known.features[key]
        return features

    def _compute(self, video: Video, centers: np.ndarray) -> np.ndarray:
        return features_of_hands(self._network, video, centers, self._options, batch_size=BATCH_SIZE)


def _crop_keys(centers: np.ndarray, start: int) -> dict[tuple[int, int], tuple[int, int, int]]:
    """(frame, hand) of the clip → (frame of the video, x, y), of the hands that are there."""
    corners = np.floor(centers.astype(np.float64) + 0.5)
    places = zip(*np.nonzero(np.isfinite(corners).all(axis=2)), strict=True)
    return {(int(t), int(h)): (start + int(t), int(corners[t, h, 0]), int(corners[t, h, 1])) for t, h in places}


def predict_sta_hands(
    description: ExportDescription,
    classify: Callable[..., Mapping[str, tf.Tensor]],
    video: Video,
    sequence: SkeletonSequence,
    hands: np.ndarray | None,
) -> TwoStreamPrediction:
    """Applies the signature `classify_clip` of an exported two-stream network.

    Args:
        description: of the export.
        classify: its signature.
        video: the RGB video, which only the explanation reads.
        sequence: the cleaned skeleton.
        hands: (T, 4, 2048) features of its hands; None for a model without them.
    """
    inputs = {"joints": tf.constant(np.nan_to_num(sequence.joints), tf.float32)}
    if hands is not None:
        inputs["hands"] = tf.constant(hands, tf.float32)
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
