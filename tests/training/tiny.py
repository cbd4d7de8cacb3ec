"""A source in memory and a two-stream model of a few hundred weights: training code needs no more to be tested."""

from __future__ import annotations

import copy
from collections.abc import Sequence

import keras
import numpy as np

from keras_actrec.pipelines.tf_data import epoch_rows
from keras_actrec.training.glimpse_losses import GlimpseRegulariser, PoseAssignmentLoss
from keras_actrec.training.losses import MeanValue, SquaredShortfall, SquaredSum
from keras_actrec.training.objective import Objective

FRAMES, POSE, HANDS, CLASSES = 4, 6, 5, 3
PEOPLE, JOINTS = 2, 3


class MemorySource:
    """A `BatchSource` over 40 clips "c00" … "c39" with labels 0, 1, 2, 0, …; inputs are noise around a class mean.

    Args:
        fail_at: (seed, epoch from 0, step) of the batch of 8 of 30 clips in whose place `failure` is raised or called.
        failure: exception, or function that ends the process.
    """

    inputs = ("pose", "hands")
    draws = FRAMES
    test_rows = 2

    def __init__(self, *, fail_at: tuple[int, int, int] | None = None, failure=None):
        self.clip_ids = tuple(f"c{i:02d}" for i in range(40))
        # Batches are loaded by several threads, ahead of time: what tells them apart is their random numbers.
        self._fail_on = None if fail_at is None else epoch_rows(30, 8, *fail_at, FRAMES)[1]
        self._failure = failure

    @property
    def shapes(self):
        return {name: shape for name, shape in (("pose", (FRAMES, POSE)), ("hands", (FRAMES, HANDS))) if name in self.inputs}

    @property
    def dtypes(self):
        return dict.fromkeys(self.inputs, np.float32)

    def select(self, inputs: Sequence[str]):
        selected = copy.copy(self)
        selected.inputs = tuple(name for name in self.inputs if name in inputs)
        return selected

    def label(self, clip_id: str) -> int:
        return int(clip_id[1:]) % CLASSES

    def training_batch(self, clip_ids, uniforms):
        if self._fail_on is not None and np.array_equal(uniforms, self._fail_on):
            if isinstance(self._failure, Exception):
                raise self._failure
            self._failure()
        return self._rows(clip_ids, uniforms)

    def test_batch(self, clip_ids):
        rows = [clip for clip in clip_ids for _ in range(self.test_rows)]
        uniforms = np.tile(np.linspace(0, 0.9, self.test_rows * FRAMES).reshape(-1, FRAMES), (len(clip_ids), 1))
        return self._rows(rows, uniforms)

    def _rows(self, clip_ids, uniforms):
        labels = np.array([self.label(clip) for clip in clip_ids], np.int32)
        noise = np.sin(40 * uniforms * (1 + np.array([int(clip[1:]) for clip in clip_ids])[:, None]))
        sizes = {"pose": POSE, "hands": HANDS}
        batch = {}
        for name in (name for name in self.inputs if name in sizes):
            mean = (np.arange(sizes[name]) % CLASSES == labels[:, None, None]) * 0.5
            batch[name] = (mean + noise[:, :, None] * np.cos(np.arange(sizes[name]))).astype(np.float32)
        return batch, labels


class JointSource(MemorySource):
    """A `MemorySource` that also gives joints (B, FRAMES, PEOPLE, JOINTS, 2), noise around a mean of the class.

    NaN where someone is missing: the second person of every third clip, everyone in the first frame of clips of class 1.
    """

    inputs = ("pose", "joints", "hands")

    @property
    def shapes(self):
        joints = {"joints": (FRAMES, PEOPLE, JOINTS, 2)} if "joints" in self.inputs else {}
        return super().shapes | joints

    def _rows(self, clip_ids, uniforms):
        batch, labels = super()._rows(clip_ids, uniforms)
        if "joints" in self.inputs:
            places = np.arange(PEOPLE * JOINTS * 2).reshape(PEOPLE, JOINTS, 2)
            joints = 0.8 * np.sin(2 * labels[:, None, None, None, None] + places)
            joints = joints + 0.1 * np.sin(30 * uniforms[:, :, None, None, None])
            joints[np.array([int(clip[1:]) % 3 == 0 for clip in clip_ids]), :, 1] = np.nan
            joints[labels == 1, 0] = np.nan
            batch["joints"] = joints.astype(np.float32)
        return batch, labels


def tiny_model(
    *, dropout: float = 0.5, classes: int = CLASSES, seed: int = 3, norm: bool = True
) -> tuple[keras.Model, keras.Model, keras.Model]:
    """A model with the names of STA-Hands, its pose stream and its RGB stream (which sees the pose features)."""
    keras.utils.set_random_seed(seed)
    pose, hands = keras.Input((FRAMES, POSE), name="pose"), keras.Input((FRAMES, HANDS), name="hands")
    s = keras.layers.Dense(8, activation="relu", name="pose_dense")(keras.layers.Flatten()(pose))
    pose_logits = keras.layers.Dense(classes, name="pose_logits")(keras.layers.Dropout(dropout)(s))
    u = keras.layers.LSTM(8, name="lstm")(hands)
    u = keras.layers.Concatenate()([u, s])
    u = keras.layers.BatchNormalization(name="norm")(u) if norm else u
    rgb_logits = keras.layers.Dense(classes, name="rgb_logits")(keras.layers.Dropout(dropout)(u))
    outputs = {"pose_logits": pose_logits, "rgb_logits": rgb_logits, "logits": keras.layers.Add()([pose_logits, rgb_logits])}
    model = keras.Model({"pose": pose, "hands": hands}, outputs)
    return (
        model,
        keras.Model({"pose": pose}, pose_logits, name="pose_stream"),
        keras.Model({"pose": pose, "hands": hands}, rgb_logits, name="rgb_stream"),
    )


def tiny_objective(**weights: float) -> Objective:
    """VPN's terms for `tiny_attention_model`, neither in the order of its outputs nor in the alphabet's."""
    return Objective(
        weights={"logits": 0.8, "spatial_attention": 0.03, "embedding_distance": 0.2, "temporal_attention": 0.01, **weights},
        losses={
            "spatial_attention": SquaredSum(),
            "embedding_distance": MeanValue(),
            "temporal_attention": SquaredShortfall(),
        },
    )


def tiny_attention_model(*, dropout: float = 0.5, seed: int = 3, norm: bool = True) -> keras.Model:
    """A model with a dict of outputs, those of VPN: two attentions, an embedding distance, logits and scores."""
    keras.utils.set_random_seed(seed)
    pose, hands = keras.Input((FRAMES, POSE), name="pose"), keras.Input((FRAMES, HANDS), name="hands")
    s = keras.layers.Dense(8, activation="tanh", name="pose_dense")(keras.layers.Flatten()(pose))
    s = keras.layers.BatchNormalization(momentum=0.6, name="pose_norm")(s) if norm else s
    temporal = keras.layers.Dense(FRAMES, activation="softmax", name="temporal")(s)
    spatial = keras.layers.Reshape((2, 2), name="grid")(keras.layers.Dense(4, activation="sigmoid", name="spatial")(s))
    u = keras.layers.Dot(axes=1)([temporal, hands])
    u = keras.layers.BatchNormalization(momentum=0.6, name="norm")(u) if norm else u
    u = keras.layers.Concatenate()([u, keras.layers.Flatten()(spatial)])
    distance = keras.ops.sum(
        (keras.layers.Dense(3, name="of_video")(u) - keras.layers.Dense(3, name="of_pose")(s)) ** 2, axis=1
    )
    logits = keras.layers.Dense(CLASSES, name="classifier")(keras.layers.Dropout(dropout)(u))
    outputs = {
        "scores": keras.layers.Softmax()(logits),
        "temporal_attention": temporal,
        "logits": logits,
        "embedding_distance": distance,
        "spatial_attention": spatial,
    }
    return keras.Model({"pose": pose, "hands": hands}, outputs)


def tiny_glimpse_model(*, dropout: float = 0.5, seed: int = 3) -> keras.Model:
    """A model with outputs of Glimpse Clouds, "logits", "pose" and "glimpses"; the joints are no input."""
    keras.utils.set_random_seed(seed)
    inputs = {"pose": keras.Input((FRAMES, POSE), name="pose"), "hands": keras.Input((FRAMES, HANDS), name="hands")}
    u = keras.layers.Concatenate()([inputs["pose"], inputs["hands"]])
    u = keras.layers.Dropout(dropout)(keras.layers.Dense(8, activation="tanh", name="shared")(u))
    pose = keras.layers.Dense(PEOPLE * JOINTS * 2, activation="tanh", name="of_pose")(u)
    outputs = {
        "glimpses": keras.layers.Reshape((FRAMES, 2, 4))(keras.layers.Dense(8, name="places")(u)),
        "logits": keras.layers.Dense(CLASSES, name="classifier")(keras.layers.GlobalAveragePooling1D()(u)),
        "pose": keras.layers.Reshape((FRAMES, PEOPLE, JOINTS, 2))(pose),
    }
    return keras.Model(inputs, outputs)


def tiny_glimpse_objective(**targets: str) -> Objective:
    """Terms of Glimpse Clouds for `tiny_glimpse_model`."""
    return Objective(
        weights={"logits": 1.0, "pose": 0.1, "glimpses": 0.5},
        losses={"pose": PoseAssignmentLoss(), "glimpses": GlimpseRegulariser()},
        targets={"pose": "joints", "glimpses": "joints", **targets},
    )
