"""SavedModel export of RPAN: one directory that classifies clips with TensorFlow alone, without a skeleton.

The directory holds two signatures and a description:

- `serve` (also `serving_default`): `clip` (B, T, H, W, channels) in [-1, 1], any batch size, to all outputs of the model and
  `probabilities`, the softmax of its logits;
- `classify_clip`: one clip of any length. A model of RGB takes `images` uint8 (T', H', W', 3), RGB frames of any size; one of
  optical flow takes `flow` uint8 (T', H, W, 2), frames of flow as `video/optical_flow.py` computes and quantises them. It gives
  the clip's `probabilities` (softmax of the mean logits of the V test views, each of its last step, section 4.1 of the paper),
  and per view `logits` (V, classes), `step_logits` (V, T, classes), `frames` (V, T), `attention` (V, T, J, K1, K2) and `joints`
  (V, T, J, 2). Resizing, sampling, stacking of flow and scaling are inside of the graph;
- `actrec.json`: class names, joint layout, sampling, and, of a model of flow, how the flow is computed.

A map of `attention` spans the whole frame and adds up to 1. `joints` (x, y) are the places of highest attention, the paper's
estimated pose, in [-1, 1] from border to border of the frame: x · W' / 2 + W' / 2 in its pixels. "share_all" has one map and no
joints, "none" neither; a model whose maps were taught without joints has maps alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import keras
import tensorflow as tf

from keras_actrec.errors import ConfigError
from keras_actrec.export.saved_model import RPANDescription, check_class_names, inference, write_saved_model
from keras_actrec.models.rpan_config import ATTENTIONS
from keras_actrec.skeletons.layout import SkeletonLayout
from keras_actrec.skeletons.pck import attention_joints
from keras_actrec.skeletons.sampling import interval_frames
from keras_actrec.video.frame_clips import FrameClipConfig, test_views

STREAMS = ("rgb", "flow")
_JOINT_MAPS = ("human_part", "separate_joint")
_RGB_CHANNELS = 3


class _ServedRPAN(tf.Module):
    """The two signatures over one Keras model; only its variables are tracked, so that nothing else is saved."""

    def __init__(self, model: keras.Model, sampling: FrameClipConfig, *, stream: str, joints: bool):
        super().__init__(name="keras_actrec")
        self._model_variables = [variable.value for variable in model.variables]
        self._call = inference(model)
        self._starts, self._steps = test_views(sampling)[:, 0], sampling.frames
        self._size, self._joints = sampling.picture_size, joints
        rows = {"clip": tf.TensorSpec((None, *model.input["clip"].shape[1:]), tf.float32, "clip")}
        self._planes = rows["clip"].shape[-1]
        self.serve = tf.function(self._serve, input_signature=[rows], autograph=False)
        if stream == "rgb":
            self._source, self._pictures, shape = "images", self._resized, (None, None, None, _RGB_CHANNELS)
        else:
            self._source, self._pictures, shape = "flow", self._stacked, (None, *self._size, 2)
        clip = {self._source: tf.TensorSpec(shape, tf.uint8, self._source)}
        self.classify_clip = tf.function(self._classify_clip, input_signature=[clip], autograph=False)

    def _serve(self, inputs):
        outputs = self._call(inputs)
        return {"probabilities": tf.nn.softmax(outputs["logits"]), **outputs}

    def _classify_clip(self, inputs):
        source = inputs[self._source]
        length = tf.shape(source)[0]
        with tf.control_dependencies([tf.debugging.assert_positive(length, "classify_clip: the clip has no frames")]):
            frames = interval_frames(length, self._starts, self._steps, xp=keras.ops)
        pictures = self._pictures(source, tf.reshape(frames, (-1,)), length)
        clips = tf.reshape(pictures, (len(self._starts), self._steps, *self._size, self._planes))
        outputs = self._call({"clip": clips / 127.5 - 1.0})
        if self._joints:
            outputs["joints"] = attention_joints(outputs["attention"], xp=keras.ops)
        probabilities = tf.nn.softmax(tf.reduce_mean(outputs["logits"], axis=0))
        return {"probabilities": probabilities, "frames": frames, **outputs}

    def _resized(self, images, frames, _):
        """Some frames of uint8 (T', H', W', 3), resized as `video.clip_pictures.resized` does it: by area where no side grows,
        else linearly. Whole grey values, as a cache has them; float32 (n, H, W, 3)."""
        chosen, size = tf.gather(images, frames), tf.shape(images)[1:3]
        pictures = tf.cond(
            tf.reduce_all(size >= tf.constant(self._size)),
            lambda: tf.image.resize(chosen, self._size, "area"),
            lambda: tf.image.resize(chosen, self._size, "bilinear"),
        )
        return tf.round(pictures)

    def _stacked(self, flow, frames, length):
        """Stacks that begin at some frames of flow, as of `video.optical_flow.flow_stacks`: float32 (n, H, W, planes)."""
        neighbours = tf.minimum(frames[:, None] + tf.range(self._planes // 2), length - 1)
        stacks = tf.transpose(tf.gather(flow, neighbours), (0, 2, 3, 1, 4))
        return tf.cast(tf.reshape(stacks, (-1, *self._size, self._planes)), tf.float32)


def export_rpan(
    model: keras.Model,
    directory: str | Path,
    *,
    class_names: Sequence[str],
    layout: SkeletonLayout,
    sampling: FrameClipConfig,
    stream: str,
    backbone: dict,
    flow: dict | None = None,
    attention: str,
    guided: bool = True,
) -> Path:
    """Writes the SavedModel; the directory appears under its name only when it is whole.

    Args:
        model: RPAN with its backbone (`keras_actrec.models.rpan`).
        directory: target; an older export there is replaced.
        class_names: one per logit.
        layout: joint layout of the attention maps.
        sampling: options that the model was trained with, and the test views; they become part of the graph.
        stream: "rgb" or "flow".
        backbone: options of the image network, kept in `actrec.json`.
        flow: options of `FlowConfig` of a model of flow, kept there too: a video's flow has to be computed in the same way.
        attention: of `RPANConfig`: what the maps are of.
        guided: whether joints taught the maps; where none did, the places of highest attention are no joints.

    Raises:
        ConfigError: the model does not run on pictures, or class names, layout, sampling, stream, flow or attention do not fit
            it or each other.
        DiskFullError: no space left; an older export is still there, and nothing else.
    """
    check_class_names(Path(directory), class_names, model.output["logits"].shape[-1])
    _check_clip(model, sampling, stream)
    _check_flow(sampling, stream, flow)
    _check_maps(model, layout, attention)
    guided = guided and attention in _JOINT_MAPS
    served = _ServedRPAN(model, sampling, stream=stream, joints=guided)
    description = RPANDescription(
        tuple(class_names), layout.name, layout.joints, asdict(sampling), stream, attention, guided, backbone, flow
    )
    signatures = {"serve": served.serve, "serving_default": served.serve, "classify_clip": served.classify_clip}
    return write_saved_model(served, directory, signatures=signatures, description=description)


def _check_clip(model: keras.Model, sampling: FrameClipConfig, stream: str) -> None:
    if "clip" not in model.input:
        raise ConfigError(
            "RPAN is exported with its backbone", found=f"inputs {', '.join(model.input)}", expected="clip",
            fix="put the trained head on its backbone with keras_actrec.models.rpan.with_backbone",
        )  # fmt: skip
    if stream not in STREAMS:
        raise ConfigError("unknown stream of RPAN", found=repr(stream), expected=" or ".join(STREAMS))
    *clip, channels = model.input["clip"].shape[1:]
    expected = [sampling.frames, *sampling.picture_size]
    if clip != expected:
        raise ConfigError(
            "the model's clips do not fit the export", found=tuple(clip), expected=tuple(expected),
            fix="give the sampling that it was trained with",
        )  # fmt: skip
    if (channels == _RGB_CHANNELS) != (stream == "rgb") or (stream == "flow" and channels % 2):
        wanted = "3 of rgb" if stream == "rgb" else "an even number, x and y of each frame of flow"
        raise ConfigError(
            "the model's pictures do not fit the stream", found=f"{channels} channels", expected=wanted,
            fix="give the stream that it was trained on",
        )  # fmt: skip


def _check_flow(sampling: FrameClipConfig, stream: str, flow: dict | None) -> None:
    if (flow is None) == (stream == "flow"):
        raise ConfigError(
            "options of optical flow belong to a model of flow", found=f"stream {stream} and flow {flow}",
            fix="give those that a model of flow was trained with, and none of a model of RGB",
        )  # fmt: skip
    if flow is not None and tuple(flow["picture_size"]) != sampling.picture_size:
        raise ConfigError(
            "the frames of flow have another size than the model's pictures", found=tuple(flow["picture_size"]),
            expected=sampling.picture_size, fix="give the options of the flow that the model was trained on",
        )  # fmt: skip


def _check_maps(model: keras.Model, layout: SkeletonLayout, attention: str) -> None:
    if attention not in ATTENTIONS:
        raise ConfigError("unknown attention of RPAN", found=repr(attention), expected=" | ".join(ATTENTIONS))
    maps = model.output["attention"].shape[2] if "attention" in model.output else 0
    expected = {"share_all": 1, "none": 0}.get(attention, len(layout))
    if maps != expected:
        raise ConfigError(
            "the model's attention maps do not fit the export", found=maps,
            expected=f"{expected} of attention {attention} and layout {layout.name}",
            fix="give the attention and the joint layout that it was trained with",
        )  # fmt: skip
