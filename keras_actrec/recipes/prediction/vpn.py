"""VPN's answer for one clip, explained by a heat map over the person."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import tensorflow as tf

from keras_actrec.export import VPNDescription
from keras_actrec.extraction.person_clips import PersonCropConfig, clip_person_images
from keras_actrec.recipes.prediction.explanation import Prediction
from keras_actrec.skeletons.sequence import SkeletonSequence
from keras_actrec.video.decode import Video, VideoReader
from keras_actrec.video.view_images import resize_images
from keras_actrec.visualize.vpn_attention import HeatAttention, annotate_clip, heat_attention


@dataclass(frozen=True, eq=False)
class VPNPrediction(Prediction):
    """The answer of VPN.

    Attributes:
        attention: per-frame attention over space and time.
        boxes: (T, 4) what the network sees of each frame: (x0, y0, x1, y1) in pixels of the video.
    """

    attention: HeatAttention
    boxes: np.ndarray

    @property
    def moments(self) -> np.ndarray:
        temporal = self.attention.temporal
        return np.where(self.attention.seen, 1.0 if temporal is None else temporal, np.nan)

    def annotated_frames(self) -> Iterator[np.ndarray]:
        with VideoReader(self.video) as reader:
            yield from annotate_clip(
                reader.frames(), self.sequence.pixels, self.sequence.layout, self.boxes,
                attention=self.attention, ranking=self.top(),
            )  # fmt: skip


def predict_vpn(
    description: VPNDescription, classify: Callable[..., Mapping[str, tf.Tensor]], video: Video, sequence: SkeletonSequence
) -> VPNPrediction:
    """Applies the signature `classify_clip` of an exported VPN.

    Args:
        description: of the export.
        classify: its signature.
        video: the RGB video.
        sequence: the cleaned skeleton.

    Raises:
        VideoError: the video does not read, or does not fit the skeleton.
    """
    images, boxes = clip_person_images(video, sequence, PersonCropConfig(**description.crop))
    # The graph could resize too; this is how the images of training and test were resized.
    inputs = {"images": tf.constant(resize_images(images, description.image_size))}
    if "joints" in classify.structured_input_signature[1]:
        inputs["joints"] = tf.constant(sequence.joints, tf.float32)
    outputs = {name: value.numpy() for name, value in classify(**inputs).items()}
    attention = heat_attention(
        outputs["frames"], outputs.get("attention"), outputs.get("temporal_attention"),
        length=sequence.length, map_size=description.map_size,
    )  # fmt: skip
    return VPNPrediction(description.class_names, outputs["probabilities"], sequence, video, attention, boxes)
