"""SavedModel export of the two-stream network: one directory that classifies clips with TensorFlow alone, without this package.

The directory holds two signatures and a description:

- `serve` (also `serving_default`): named sub-sequence arrays of any batch size, `pose` (B, 20, W, 3) and `hands`
  (B, 20, 4, 2048), to `probabilities`, `logits`, the logits of each stream and both attentions;
- `classify_clip`: one clip of any length, `joints` (T, 2, J, 3) in the unit of the training data (metres, or any with pose
  tensors of `scale="body"`) and `hands` (T, 4, 2048), to the clip's `probabilities` and `logits`, and to `frames` (K, 20),
  `spatial_attention` (K, 20, 4), `temporal_attention` (K, 20) of the K test sub-sequences. Normalisation, joint order,
  derivatives, sampling and averaging run inside the graph;
- `actrec.json`: class names, joint layout, sensor and crop options: what a program needs to make the inputs.

A variant of the model without one of the inputs or outputs has signatures without it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import keras
import tensorflow as tf

from keras_actrec.export.saved_model import ExportDescription, check_class_names, inference, write_saved_model
from keras_actrec.skeletons.layout import SkeletonLayout
from keras_actrec.skeletons.pose_tensor import PoseTensorConfig, clip_pose_tensor
from keras_actrec.skeletons.sampling import SamplingConfig, subsequence_frames, uniforms
from keras_actrec.skeletons.views import PLAIN, check_views, has_second, view, view_hands


class _ServedModel(tf.Module):
    """The two signatures over one Keras model; only its variables are tracked, so that nothing else is saved."""

    def __init__(
        self,
        model: keras.Model,
        layout: SkeletonLayout,
        tensor: PoseTensorConfig,
        sampling: SamplingConfig,
        views: tuple[str, ...],
    ):
        super().__init__(name="keras_actrec")
        self._model_variables = [variable.value for variable in model.variables]
        self._inputs = {tensor_.name.split(":")[0]: tensor_ for tensor_ in model.inputs}
        self._call = inference(model)
        self.serve = tf.function(self._serve, input_signature=[self._specs()], autograph=False)
        hands = self._inputs.get("hands")
        clip = {"joints": tf.TensorSpec((None, 2, len(layout), 3), tf.float32, "joints")}
        if hands is not None:
            clip["hands"] = tf.TensorSpec((None, *hands.shape[2:]), tf.float32, "hands")
        self._layout, self._tensor, self._sampling, self._views = layout, tensor, sampling, views
        self.classify_clip = tf.function(self._classify_clip, input_signature=[clip], autograph=False)

    def _specs(self) -> dict[str, tf.TensorSpec]:
        return {name: tf.TensorSpec((None, *t.shape[1:]), tf.float32, name) for name, t in self._inputs.items()}

    def _serve(self, inputs):
        outputs = self._call(inputs)
        return {"probabilities": tf.nn.softmax(outputs["logits"]), **outputs}

    def _classify_clip(self, inputs):
        joints = inputs["joints"]
        length = tf.shape(joints)[0]
        with tf.control_dependencies([tf.debugging.assert_positive(length, "classify_clip: the clip has no frames")]):
            table = uniforms(self._sampling.seed, self._sampling.subsequences, self._sampling.frames)
            frames = subsequence_frames(length, table, self._sampling.sampling, xp=keras.ops)
        batch = {"pose": tf.concat([self._view_tensor(joints, frames, name) for name in self._views], axis=0)}
        if "hands" in inputs:
            same = tf.debugging.assert_equal(
                tf.shape(inputs["hands"])[0], length, "classify_clip: joints and hands must have the same number of frames"
            )
            with tf.control_dependencies([same]):
                hands = tf.gather(inputs["hands"], frames)
            pair = has_second(joints, xp=keras.ops)
            orders = [tf.where(pair, view_hands(name, True), view_hands(name, False)) for name in self._views]
            batch["hands"] = tf.concat([tf.gather(hands, order, axis=2) for order in orders], axis=0)
        outputs = self._call({name: batch[name] for name in self._inputs})
        averaged = {name: tf.reduce_mean(value, axis=0) for name, value in outputs.items() if name.endswith("logits")}
        rows = self._sampling.subsequences  # attention of the plain view
        kept = {name: value[:rows] for name, value in outputs.items() if name.endswith("attention")}
        return {"probabilities": tf.nn.softmax(averaged["logits"]), "frames": frames, **averaged, **kept}

    def _view_tensor(self, joints, frames, name: str):
        joints = view(joints, self._layout, name, xp=keras.ops)
        return tf.gather(clip_pose_tensor(joints, self._layout, self._tensor, xp=keras.ops), frames)


def export_saved_model(
    model: keras.Model,
    directory: str | Path,
    *,
    class_names: Sequence[str],
    layout: SkeletonLayout,
    tensor: PoseTensorConfig,
    sampling: SamplingConfig,
    sensor: dict,
    crop_size: int,
    cleaning: dict,
    views: Sequence[str] = (PLAIN,),
    source_layout: str | None = None,
) -> Path:
    """Writes the SavedModel; the directory appears under its name only when it is whole.

    Args:
        model: a two-stream model with named inputs and outputs (`keras_actrec.models.sta_hands`).
        directory: target; an older export there is replaced.
        class_names: one per logit.
        layout: joint layout of `classify_clip`'s joints.
        tensor, sampling: options that the model was trained with; they become part of the graph.
        sensor, crop_size, cleaning: options of the preprocessing, kept in `actrec.json`.
        views: test views that `classify_clip` averages over, see `keras_actrec.skeletons.views`.
        source_layout: joint layout of the poses that training read, before they were retargeted.

    Raises:
        ConfigError: unknown views, or the number of class names does not fit the logits.
        DiskFullError: no space left; an older export is still there, and nothing else.
    """
    check_class_names(Path(directory), class_names, model.output["logits"].shape[-1])
    check_views(tuple(views))
    served = _ServedModel(model, layout, tensor, sampling, tuple(views))
    description = ExportDescription(
        tuple(class_names), layout.name, layout.joints, sensor, crop_size, asdict(tensor), asdict(sampling), cleaning,
        tuple(views), source_layout,
    )  # fmt: skip
    signatures = {"serve": served.serve, "serving_default": served.serve, "classify_clip": served.classify_clip}
    return write_saved_model(served, directory, signatures=signatures, description=description)
