"""SavedModel export: one directory that classifies clips with TensorFlow alone, without this package.

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

import json
import os
import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import keras
import tensorflow as tf

from keras_actrec.errors import ConfigError, DiskFullError, WeightsError
from keras_actrec.files import says_disk_full
from keras_actrec.skeletons.layout import SkeletonLayout
from keras_actrec.skeletons.pose_tensor import PoseTensorConfig, clip_pose_tensor
from keras_actrec.skeletons.sampling import SamplingConfig, subsequence_frames, uniforms
from keras_actrec.skeletons.views import PLAIN, check_views, has_second, view, view_hands
from keras_actrec.version import __version__

DESCRIPTION = "actrec.json"


@dataclass(frozen=True)
class ExportDescription:
    """What stands in `actrec.json` beside the graph.

    Attributes:
        class_names: in the order of the logits.
        layout: name of the joint layout of `classify_clip`'s joints.
        joints: its joint names, in order.
        sensor: options of the network that made the hand features (name, weights, image size, dtype, seed, checksum).
        crop_size: side in pixels of the square cut around each hand.
        tensor, sampling: options of pose tensors and sub-sequences; they are baked into `classify_clip`.
        cleaning: options of the cleaning that the joints went through.
        views: test views that `classify_clip` averages over.
    """

    class_names: tuple[str, ...]
    layout: str
    joints: tuple[str, ...]
    sensor: dict
    crop_size: int
    tensor: dict
    sampling: dict
    cleaning: dict
    views: tuple[str, ...] = (PLAIN,)


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
        self._call = _inference(model)
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


def _inference(model: keras.Model):
    """The model's forward pass at inference, every output in float32."""

    def call(inputs):
        outputs = model(inputs, training=False)
        return {name: tf.cast(value, tf.float32) for name, value in outputs.items()}

    return call


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

    Raises:
        ConfigError: unknown views, or the number of class names does not fit the logits.
        DiskFullError: no space left; an older export is still there, and nothing else.
    """
    directory = Path(directory)
    classes = model.output["logits"].shape[-1]
    if len(class_names) != classes:
        raise ConfigError(
            "one class name per logit is needed", file=directory, found=len(class_names), expected=classes,
            fix="give the class names of the data set that the model was trained on",
        )  # fmt: skip
    check_views(tuple(views))
    served = _ServedModel(model, layout, tensor, sampling, tuple(views))
    part = directory.with_name(directory.name + ".part")
    shutil.rmtree(part, ignore_errors=True)
    signatures = {"serve": served.serve, "serving_default": served.serve, "classify_clip": served.classify_clip}
    try:
        description = ExportDescription(
            tuple(class_names), layout.name, layout.joints, sensor, crop_size, asdict(tensor), asdict(sampling), cleaning,
            tuple(views),
        )  # fmt: skip
        tf.saved_model.save(served, str(part), signatures=signatures)
        text = json.dumps({"keras_actrec": __version__, "model": model.name, **asdict(description)}, indent=2)
        (part / DESCRIPTION).write_text(text + "\n", encoding="utf-8")
    except BaseException as error:
        shutil.rmtree(part, ignore_errors=True)
        if says_disk_full(error):
            fix = "free some space and run the same command with --resume: the trained weights are kept"
            raise DiskFullError("no space left to write the exported model", file=directory, fix=fix) from error
        raise
    shutil.rmtree(directory, ignore_errors=True)
    os.replace(part, directory)
    return directory


def read_description(directory: str | Path) -> ExportDescription:
    """Reads `actrec.json` of an export.

    Raises:
        WeightsError: the directory is no export of this package, or its description is damaged.
    """
    path = Path(directory) / DESCRIPTION
    try:
        fields = {"views": (PLAIN,), **json.loads(path.read_text(encoding="utf-8"))}  # older exports have the plain view
        names = ("class_names", "joints", "views")
        known = {key: tuple(fields[key]) if key in names else fields[key] for key in ExportDescription.__dataclass_fields__}
        return ExportDescription(**known)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise WeightsError(
            "no description of an exported model", file=path, found=f"{type(error).__name__}: {error}",
            fix="give the directory that experiments/ntu_pose_rgb.py wrote as WORKDIR/export",
        ) from error  # fmt: skip
