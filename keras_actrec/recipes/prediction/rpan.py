"""The answer of RPAN for one clip, of one stream or of two, explained by its attention to the joints of the body."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
import tensorflow as tf

from keras_actrec.errors import ConfigError
from keras_actrec.export import RPANDescription
from keras_actrec.recipes.prediction.explanation import Prediction
from keras_actrec.skeletons.layouts import LAYOUTS
from keras_actrec.skeletons.sequence import SkeletonSequence
from keras_actrec.video.clip_pictures import resized
from keras_actrec.video.decode import Video, VideoReader
from keras_actrec.video.optical_flow import FlowConfig, flow_frames
from keras_actrec.visualize.rpan_attention import PoseAttention, annotate_clip, pose_attention

FUSION = {"rgb": 1, "flow": 2}
"""Weights of the streams' probabilities (section 4.2: "spatial and temporal score fusion (S:T is 1:2)")."""


@dataclass(frozen=True, eq=False)
class RPANPrediction(Prediction):
    """The answer of RPAN.

    Attributes:
        attention: what the test views looked at.
        layout: name of the joint layout of the attention maps.
    """

    attention: PoseAttention
    layout: str

    @property
    def moments(self) -> np.ndarray:
        # The network weighs no frames. Those of the first view come first, so that a picture shows moments of one look.
        weights = np.where(self.attention.seen, 0.5, np.nan)
        weights[self.attention.frames[0]] = 1.0
        return weights

    def annotated_frames(self) -> Iterator[np.ndarray]:
        with VideoReader(self.video) as reader:
            yield from annotate_clip(
                reader.frames(), attention=self.attention, layout=LAYOUTS[self.layout], class_names=self.class_names,
                ranking=self.top(),
            )  # fmt: skip

    @property
    def stops(self) -> np.ndarray:
        return self.attention.seen


def predict_rpan(
    description: RPANDescription,
    classify: Callable[..., Mapping[str, tf.Tensor]],
    video: Video,
    sequence: SkeletonSequence | None,
) -> RPANPrediction:
    """Applies the signature `classify_clip` of an exported RPAN.

    Args:
        description: of the export. A model of flow gets the video's flow, computed as the description says.
        classify: its signature.
        video: the RGB video.
        sequence: a skeleton, of which only the length counts: the clip ends where it does. None: the clip is the video.

    Raises:
        VideoError: the video does not read, or is shorter than the skeleton.
        ConfigError: the flow is to be computed by TV-L1, which this OpenCV does not have.
    """
    wanted = None if sequence is None else np.ones(sequence.length, bool)
    with VideoReader(video) as reader:
        if description.stream == "flow":
            frames = flow_frames(reader.frames(wanted), flow_options(description.flow))
            clip = {"flow": np.stack(list(frames))}
        else:
            # The graph could resize too; this is how the pictures of training and test were resized.
            size = tuple(description.sampling["picture_size"])
            frames = (resized(cv2.cvtColor(frame, cv2.COLOR_BGR2RGB), size) for frame in reader.frames(wanted))
            clip = {"images": np.stack(list(frames))}
    outputs = classify(**{name: tf.constant(value) for name, value in clip.items()})
    outputs = {name: value.numpy() for name, value in outputs.items()}
    (length,) = (len(value) for value in clip.values())
    attention = pose_attention(outputs, LAYOUTS[description.layout], length=length)
    return RPANPrediction(description.class_names, outputs["probabilities"], sequence, video, attention, description.layout)


def fused(rgb: RPANPrediction, flow: RPANPrediction) -> RPANPrediction:
    """The answer of both streams: their probabilities averaged 1 : 2 (section 4.2).

    It is explained by the attention of the RGB model, or by that of the flow model where the other has none.
    """
    total = sum(FUSION.values())
    probabilities = (FUSION["rgb"] * rgb.probabilities + FUSION["flow"] * flow.probabilities) / total
    explained = flow if rgb.attention.maps is None and flow.attention.maps is not None else rgb
    return replace(explained, probabilities=probabilities.astype(np.float32))


def check_streams(rgb: RPANDescription, flow: RPANDescription, model: str | Path, flow_model: str | Path) -> None:
    """Raises ConfigError unless these are a model of RGB and one of flow that answer with the same classes."""
    for description, directory, stream, option in ((rgb, model, "rgb", "--model"), (flow, flow_model, "flow", "--flow-model")):
        if description.stream != stream:
            raise ConfigError(
                f"the exported model of {option} is of the other stream", file=directory, found=description.stream,
                expected=stream, fix="give the model of RGB by --model and that of optical flow by --flow-model",
            )  # fmt: skip
    if rgb.class_names != flow.class_names:
        raise ConfigError(
            "the two exported models know other classes", file=flow_model,
            found=f"{len(flow.class_names)}: {', '.join(flow.class_names[:3])} …",
            expected=f"{len(rgb.class_names)}: {', '.join(rgb.class_names[:3])} …",
            fix="give two models that were trained on the same data set",
        )  # fmt: skip


def flow_options(options: Mapping[str, object]) -> FlowConfig:
    """The options of an export, as JSON has them."""
    return FlowConfig(**{**options, "picture_size": tuple(options["picture_size"])})
