"""The answer of Glimpse Clouds for one clip, explained by its glimpses."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import cv2
import numpy as np
import tensorflow as tf

from keras_actrec.export import GlimpseCloudsDescription
from keras_actrec.extraction.person_clips import PersonCropConfig, clip_person_images
from keras_actrec.recipes.prediction.explanation import Prediction
from keras_actrec.skeletons.layouts import LAYOUTS
from keras_actrec.skeletons.sequence import SkeletonSequence
from keras_actrec.video.decode import Video, VideoReader
from keras_actrec.video.person_boxes import WHOLE, whole_frame_boxes
from keras_actrec.video.rescale import resize_frame
from keras_actrec.visualize.glimpses import ClipGlimpses, annotate_clip, clip_glimpses


@dataclass(frozen=True, eq=False)
class GlimpsePrediction(Prediction):
    """The answer of Glimpse Clouds.

    Attributes:
        clouds: what the test views looked at.
        layout: name of the joint layout of the regressed poses.
        pose: whether these are drawn too.
    """

    clouds: ClipGlimpses
    layout: str
    pose: bool = False

    @property
    def moments(self) -> np.ndarray:
        # The network weighs no frames. Those of the first view come first, so that a picture shows moments of one look.
        weights = np.where(self.clouds.seen, 0.5, np.nan)
        weights[self.clouds.frames[0]] = 1.0
        return weights

    @property
    def stops(self) -> np.ndarray:
        stops = np.zeros(len(self.clouds.seen), bool)
        stops[self.clouds.frames[0]] = True  # of the first view: all would make a film of many times the clip's length
        return stops

    def annotated_frames(self) -> Iterator[np.ndarray]:
        with VideoReader(self.video) as reader:
            yield from annotate_clip(
                reader.frames(), clouds=self.clouds, ranking=self.top(),
                pose_layout=LAYOUTS[self.layout] if self.pose else None,
            )  # fmt: skip


def predict_glimpse_clouds(
    description: GlimpseCloudsDescription,
    classify: Callable[..., Mapping[str, tf.Tensor]],
    video: Video,
    sequence: SkeletonSequence | None,
    *,
    pose: bool = False,
) -> GlimpsePrediction:
    """Applies the signature `classify_clip` of an exported Glimpse Clouds.

    Args:
        description: of the export.
        classify: its signature.
        video: the RGB video.
        sequence: the skeleton, cleaned, where the network sees crops of people. Whole frames need none; with one, the clip ends
            where the skeleton does, as in training and test.
        pose: draw the poses that the network regresses too.

    Raises:
        VideoError: the video does not read, or does not fit the skeleton.
    """
    crop = PersonCropConfig(**description.crop)
    if crop.box == WHOLE:
        images, boxes = _whole_images(video, crop, None if sequence is None else sequence.length)
    else:
        images, boxes = clip_person_images(video, sequence, crop)
    outputs = {name: value.numpy() for name, value in classify(images=tf.constant(images)).items()}
    clouds = clip_glimpses(outputs, boxes, picture_size=description.picture_size, image_size=description.sampling["image_size"])
    names, probabilities = description.class_names, outputs["probabilities"]
    return GlimpsePrediction(names, probabilities, sequence, video, clouds, description.layout, pose)


def _whole_images(video: Video, crop: PersonCropConfig, length: int | None) -> tuple[np.ndarray, np.ndarray]:
    """Whole frames as a cache holds them, through JPEG: RGB uint8 (T, S, S, 3), and their boxes (T, 4).

    The graph could resize too; this is how the images of training and test were resized.
    """
    setting = [cv2.IMWRITE_JPEG_QUALITY, crop.quality]
    images = []
    with VideoReader(video) as reader:
        for frame in reader.frames(None if length is None else np.ones(length, bool)):
            jpeg = cv2.imencode(".jpg", resize_frame(frame, crop.size, crop.size), setting)[1]
            images.append(cv2.cvtColor(cv2.imdecode(jpeg, cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB))
        return np.stack(images), whole_frame_boxes(len(images), (reader.width, reader.height))
