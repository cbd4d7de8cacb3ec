"""SavedModel export of VPN: one directory that classifies clips with TensorFlow alone, without this package.

The directory holds two signatures and a description:

- `serve` (also `serving_default`): arrays of any batch size, `clip` (B, F, S, S, 3) in [-1, 1] and `pose` (B, t_p, J, 3), to
  all outputs of the model and `probabilities`, its scores;
- `classify_clip`: one clip of any length, `images` uint8 (T, S', S', 3), RGB person crops of any side S', and `joints`
  (T, 2, J, 3) in the unit of the training data, to the clip's `probabilities` (the highest score of each class over the V test
  views, so that their sum can exceed 1), and per view to `scores` (V, classes), `frames` (V, F), `pose_frames` (V, t_p),
  `spatial_attention` (V, h, w), `temporal_attention` (V, t), `attention` (V, t, h, w) and `embedding_distance` (V,). Sampling,
  resizing, scaling and the origin of the poses are inside the graph;
- `actrec.json`: class names, joint layout, crop and cleaning options: what a program needs to make the inputs.

A variant of the model without one of the inputs or outputs has signatures without it; without poses there are no `joints`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import keras
import tensorflow as tf

from keras_actrec.errors import ConfigError
from keras_actrec.export.saved_model import VPNDescription, check_class_names, inference, write_saved_model
from keras_actrec.skeletons.clip_sampling import ClipSamplingConfig, clip_frames, clip_poses, pose_frames, view_uniforms
from keras_actrec.skeletons.layout import SkeletonLayout

_KEPT = ("scores", "spatial_attention", "temporal_attention", "attention", "embedding_distance")


class _ServedVPN(tf.Module):
    """The two signatures over one Keras model; only its variables are tracked, so that nothing else is saved."""

    def __init__(self, model: keras.Model, layout: SkeletonLayout, sampling: ClipSamplingConfig):
        super().__init__(name="keras_actrec")
        self._model_variables = [variable.value for variable in model.variables]
        self._call = inference(model)
        self._side = tuple(model.input["clip"].shape[2:4])
        rows = {name: tf.TensorSpec((None, *t.shape[1:]), tf.float32, name) for name, t in model.input.items()}
        self.serve = tf.function(self._serve, input_signature=[rows], autograph=False)
        clip = {"images": tf.TensorSpec((None, None, None, 3), tf.uint8, "images")}
        if "pose" in model.input:
            clip["joints"] = tf.TensorSpec((None, 2, len(layout), 3), tf.float32, "joints")
        self._layout, self._sampling = layout, sampling
        self.classify_clip = tf.function(self._classify_clip, input_signature=[clip], autograph=False)

    def _serve(self, inputs):
        outputs = self._call(inputs)
        return {"probabilities": outputs["scores"], **outputs}

    def _classify_clip(self, inputs):
        images, sampling = inputs["images"], self._sampling
        length = tf.shape(images)[0]
        with tf.control_dependencies([tf.debugging.assert_positive(length, "classify_clip: the clip has no frames")]):
            views = view_uniforms(sampling.views)
            frames = tf.stack([clip_frames(length, start, sampling, xp=keras.ops) for start in views])
        batch, found = {"clip": self._clips(images, frames)}, {"frames": frames}
        if "joints" in inputs:
            same = tf.debugging.assert_equal(
                tf.shape(inputs["joints"])[0], length, "classify_clip: images and joints must have the same number of frames"
            )
            with tf.control_dependencies([same]):
                poses = clip_poses(inputs["joints"], self._layout, xp=keras.ops)
            middles = tf.fill([sampling.poses], tf.constant(0.5, tf.float64))
            found["pose_frames"] = tf.tile(pose_frames(length, middles, sampling, xp=keras.ops)[None], [sampling.views, 1])
            batch["pose"] = tf.gather(poses, found["pose_frames"])
        outputs = self._call(batch)
        found |= {name: outputs[name] for name in _KEPT if name in outputs}
        return {"probabilities": tf.reduce_max(outputs["scores"], axis=0), **found}

    def _clips(self, images, frames):
        """uint8 (T, S', S', 3) and int32 (V, F) → float32 (V, F, S, S, 3) in [-1, 1]."""
        # Images that have the network's size already come out of this resizing bit for bit; larger ones without aliasing.
        seen = tf.image.resize(tf.gather(images, tf.reshape(frames, [-1])), self._side, "bilinear", antialias=True)
        return tf.reshape(seen, [*frames.shape, *self._side, 3]) / 127.5 - 1.0


def export_vpn(
    model: keras.Model,
    directory: str | Path,
    *,
    class_names: Sequence[str],
    layout: SkeletonLayout,
    sampling: ClipSamplingConfig,
    crop: dict,
    cleaning: dict,
    backbone: dict,
    source_layout: str | None = None,
) -> Path:
    """Writes the SavedModel; the directory appears under its name only when it is whole.

    Args:
        model: a VPN with its visual backbone (`keras_actrec.models.vpn`), for images of the side that it is to run on: for
            fully convolutional inference build it for a larger side than it was trained with.
        directory: target; an older export there is replaced.
        class_names: one per score.
        layout: joint layout of `classify_clip`'s joints.
        sampling: options that the model was trained with, and the number of test views; they become part of the graph.
        crop, cleaning, backbone: options of person crops, cleaning and visual backbone, kept in `actrec.json`.
        source_layout: joint layout of the poses that training read, before they were retargeted.

    Raises:
        ConfigError: the model does not run on RGB images; or sampling, layout or class names do not fit it.
        DiskFullError: no space left; an older export is still there, and nothing else.
    """
    check_class_names(Path(directory), class_names, model.output["scores"].shape[-1])
    _check_inputs(model, layout, sampling)
    served = _ServedVPN(model, layout, sampling)
    description = VPNDescription(
        tuple(class_names), layout.name, layout.joints, asdict(sampling), crop, cleaning, backbone,
        image_size=model.input["clip"].shape[2], map_size=_map_size(model), source_layout=source_layout,
    )  # fmt: skip
    signatures = {"serve": served.serve, "serving_default": served.serve, "classify_clip": served.classify_clip}
    return write_saved_model(served, directory, signatures=signatures, description=description)


def _check_inputs(model: keras.Model, layout: SkeletonLayout, sampling: ClipSamplingConfig) -> None:
    if "clip" not in model.input:
        raise ConfigError(
            "a VPN is exported with its visual backbone", found=f"inputs {', '.join(model.input)}", expected="clip, pose",
            fix="put the trained head on its backbone with keras_actrec.models.vpn.with_backbone",
        )  # fmt: skip
    clip = tuple(model.input["clip"].shape[1:])
    if (clip[0], clip[-1]) != (sampling.frames, 3) or None in clip:
        raise ConfigError(
            "the model's clips do not fit the export", found=clip, expected=f"({sampling.frames}, S, S, 3)",
            fix="give the sampling that it was trained with; only networks that see RGB images can be exported",
        )  # fmt: skip
    if "pose" in model.input and tuple(model.input["pose"].shape[1:]) != (sampling.poses, len(layout), 3):
        raise ConfigError(
            "the model's poses do not fit the export", found=tuple(model.input["pose"].shape[1:]),
            expected=(sampling.poses, len(layout), 3), fix="give the sampling and the joint layout that it was trained with",
        )  # fmt: skip


def _map_size(model: keras.Model) -> tuple[int, int]:
    """Height and width of the backbone's map."""
    return tuple(model.get_layer("windows").input.shape[2:4])
