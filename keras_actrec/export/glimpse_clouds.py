"""SavedModel export of Glimpse Clouds: one directory that classifies clips with TensorFlow alone, from RGB alone.

The directory holds two signatures and a description:

- `serve` (also `serving_default`): `clip` (B, T, S, S, 3) in [-1, 1], any batch size, to all outputs of the model and
  `probabilities`, the softmax of its logits;
- `classify_clip`: one clip of any length and size, `images` uint8 (T', H, W, 3), RGB frames, to the clip's `probabilities`
  (softmax of the mean logits of the V test views, section 7 of the paper), and per view to `logits` (V, classes),
  `worker_logits` (V, C, classes), `frames` (V, T), `crops` (V, 2), `glimpses` (V, T, G, 4), `assignment` (V, T, C, G) and
  `pose` (V, T, P, J, 2). Resizing, sampling, cropping and scaling are inside the graph;
- `actrec.json`: class names, joint layout, sampling, picture size, how the frames are cut out of the video.

Where things are: a frame of any proportions becomes a picture of `picture_size` × `picture_size` pixels; a view sees S × S
pixels of it, from column x0 and row y0 on, (x0, y0) = its `crops`. `glimpses` (x, y, scale_x, scale_y) and `pose` (x, y) are in
[-1, 1] from border to border of that crop; a glimpse spans x - scale_x to x + scale_x. Hence, in pixels,

    picture: x0 + (x + 1) / 2 · S          frame: that, times W / picture_size (and so y, with H)

A variant of the model without one of the outputs has signatures without it. With `normalise_over="batch"` (the published code)
assignments depend on what else is in the batch: here on the other views of the clip.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from keras_actrec.errors import ConfigError
from keras_actrec.export.saved_model import GlimpseCloudsDescription, check_class_names, inference, write_saved_model
from keras_actrec.skeletons.layout import SkeletonLayout
from keras_actrec.skeletons.sampling import subsequence_frames
from keras_actrec.video.person_boxes import WHOLE
from keras_actrec.video.rgb_clips import RGBClipConfig, crop_corners, test_uniforms


class _ServedGlimpseClouds(tf.Module):
    """The two signatures over one Keras model; only its variables are tracked, so that nothing else is saved."""

    def __init__(self, model: keras.Model, sampling: RGBClipConfig, picture_size: int):
        super().__init__(name="keras_actrec")
        self._model_variables = [variable.value for variable in model.variables]
        self._call = inference(model)
        table = test_uniforms(sampling)  # the one that every test reads
        self._frame_uniforms = table[:, : sampling.frames]
        self._corners = crop_corners(table, picture_size, sampling)
        self._side, self._picture_size = sampling.image_size, picture_size
        rows = {"clip": tf.TensorSpec((None, *model.input["clip"].shape[1:]), tf.float32, "clip")}
        self.serve = tf.function(self._serve, input_signature=[rows], autograph=False)
        clip = {"images": tf.TensorSpec((None, None, None, 3), tf.uint8, "images")}
        self.classify_clip = tf.function(self._classify_clip, input_signature=[clip], autograph=False)

    def _serve(self, inputs):
        outputs = self._call(inputs)
        return {"probabilities": tf.nn.softmax(outputs["logits"]), **outputs}

    def _classify_clip(self, inputs):
        length = tf.shape(inputs["images"])[0]
        with tf.control_dependencies([tf.debugging.assert_positive(length, "classify_clip: the clip has no frames")]):
            frames = subsequence_frames(length, self._frame_uniforms, xp=keras.ops)
        outputs = self._call({"clip": self._clips(inputs["images"], frames)})
        probabilities = tf.nn.softmax(tf.reduce_mean(outputs["logits"], axis=0))
        crops = tf.constant(self._corners.astype(np.int32))
        return {"probabilities": probabilities, "frames": frames, "crops": crops, **outputs}

    def _clips(self, images, frames):
        """uint8 (T', H, W, 3) and int32 (V, T) → float32 (V, T, S, S, 3) in [-1, 1]."""
        side, size = self._side, (self._picture_size, self._picture_size)
        views = []
        for view, (x, y) in enumerate(self._corners.tolist()):
            # Frames that have the picture's size already come out of this resizing bit for bit; larger ones without aliasing.
            pictures = tf.image.resize(tf.gather(images, frames[view]), size, "bilinear", antialias=True)
            views.append(pictures[:, y : y + side, x : x + side])
        return tf.stack(views) / 127.5 - 1.0


def export_glimpse_clouds(
    model: keras.Model,
    directory: str | Path,
    *,
    class_names: Sequence[str],
    layout: SkeletonLayout,
    sampling: RGBClipConfig,
    picture_size: int,
    crop: dict,
    backbone: dict,
    cleaning: dict | None = None,
) -> Path:
    """Writes the SavedModel; the directory appears under its name only when it is whole.

    Args:
        model: Glimpse Clouds with its backbone (`keras_actrec.models.glimpse_clouds`).
        directory: target; an older export there is replaced.
        class_names: one per logit.
        layout: joint layout of the poses that the model regresses.
        sampling: options that the model was trained with, and the test views; they become part of the graph.
        picture_size: side of the pictures that training cropped, in pixels (256 in the paper).
        crop, backbone: options of `PersonCropConfig` and of the backbone, kept in `actrec.json`.
        cleaning: options of the skeletons' cleaning, kept there too; needed where `crop` is not of box "whole", as a skeleton
            then says where the people are.

    Raises:
        ConfigError: the model does not run on RGB frames; sampling, picture size, layout or class names do not fit it; or
            crops of people without `cleaning`.
        DiskFullError: no space left; an older export is still there, and nothing else.
    """
    check_class_names(Path(directory), class_names, model.output["logits"].shape[-1])
    _check(model, layout, sampling)
    whole = crop.get("box") == WHOLE
    if cleaning is None and not whole:
        raise ConfigError(
            "crops of people are cut around cleaned skeletons", found=f"box {crop.get('box')!r} and no cleaning",
            fix="give the options of the cleaning, which those of the pose cache hold",
        )  # fmt: skip
    served = _ServedGlimpseClouds(model, sampling, picture_size)
    description = GlimpseCloudsDescription(
        tuple(class_names), layout.name, layout.joints, asdict(sampling), picture_size, crop, backbone,
        cleaning=None if whole else cleaning,
    )  # fmt: skip
    signatures = {"serve": served.serve, "serving_default": served.serve, "classify_clip": served.classify_clip}
    return write_saved_model(served, directory, signatures=signatures, description=description)


def _check(model: keras.Model, layout: SkeletonLayout, sampling: RGBClipConfig) -> None:
    if "clip" not in model.input:
        raise ConfigError(
            "Glimpse Clouds is exported with its backbone", found=f"inputs {', '.join(model.input)}", expected="clip",
            fix="put the trained head on its backbone with keras_actrec.models.glimpse_clouds.with_backbone",
        )  # fmt: skip
    clip, expected = tuple(model.input["clip"].shape[1:]), (sampling.frames, sampling.image_size, sampling.image_size, 3)
    if clip != expected:
        raise ConfigError(
            "the model's clips do not fit the export", found=clip, expected=expected,
            fix="give the sampling that it was trained with",
        )  # fmt: skip
    joints = model.output["pose"].shape[3]
    if joints != len(layout):
        raise ConfigError(
            "the model's poses do not fit the export", found=f"{joints} joints", expected=f"the {len(layout)} of {layout.name}",
            fix="give the joint layout that it was trained with",
        )  # fmt: skip
