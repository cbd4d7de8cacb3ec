"""Stages with an objective of several terms: equations, columns, resuming, batch norm, refusals."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import keras
import numpy as np
import pandas as pd
import pytest
import tensorflow as tf

from keras_actrec.errors import CacheError, ConfigError
from keras_actrec.training.checkpoints import arrays_of, load_weights, read_checkpoint
from keras_actrec.training.config import StageConfig
from keras_actrec.training.glimpse_losses import GlimpseRegulariser, PoseAssignmentLoss
from keras_actrec.training.losses import BatchSumToOne, MeanValue, SquaredSum, SquaredValue
from keras_actrec.training.objective import LABELS, Objective
from keras_actrec.training.stages import run_stage
from tests.training.test_stages import HELD_OUT, TRAIN, Untouched, assert_same_end, without_seconds
from tests.training.tiny import (
    JointSource,
    MemorySource,
    tiny_attention_model,
    tiny_glimpse_model,
    tiny_glimpse_objective,
    tiny_model,
    tiny_objective,
)

CONFIG = StageConfig(
    "vpn", learning_rate=0.05, batch_size=8, epochs=4, seed=5, optimizer="sgd", schedule="step", step_epochs=2,
    weight_decay=0.01, label_smoothing=0.1,
)  # fmt: skip
TERMS = ("logits", "spatial_attention", "embedding_distance", "temporal_attention")


def train(workdir, *, config=CONFIG, source=None, objective=None, resume=False):
    """Trains a fresh model; weights after the stage, history."""
    model = tiny_attention_model()
    history = run_stage(
        model, model, source or MemorySource(), TRAIN, HELD_OUT, config, workdir,
        resume=resume, objective=objective or tiny_objective(),
    )  # fmt: skip
    return arrays_of(model.weights), history


def terms_by_hand(model, inputs, labels, smoothing):
    """Term → one value per row, float64 (rows,), of equations 4 to 6; and whether each row is classified rightly."""
    outputs = model(inputs, training=False)
    outputs = {name: keras.ops.convert_to_numpy(output).astype(np.float64) for name, output in outputs.items()}
    logits = outputs["logits"]
    targets = np.eye(3)[labels] * (1 - smoothing) + smoothing / 3
    values = {
        "logits": (targets * (np.log(np.exp(logits).sum(axis=1, keepdims=True)) - logits)).sum(axis=1),
        "spatial_attention": (outputs["spatial_attention"] ** 2).sum(axis=(1, 2)),
        "embedding_distance": outputs["embedding_distance"],
        "temporal_attention": ((1 - outputs["temporal_attention"]) ** 2).sum(axis=1),
    }
    return values, logits.argmax(axis=1) == labels


@pytest.mark.parametrize("smoothing", [0.0, 0.3])
@pytest.mark.parametrize("jit_compile", [False, True])
def test_loss_and_terms_by_hand(tmp_path, smoothing, jit_compile):
    # 8 clips in a batch of 8: the loss of the only step is that of the initial weights. The validation is padded.
    config = StageConfig("vpn", learning_rate=1e-9, batch_size=8, epochs=1, label_smoothing=smoothing, jit_compile=jit_compile)
    model, seen = tiny_attention_model(dropout=0.0, norm=False), {}

    class Watched(MemorySource):
        def training_batch(self, clip_ids, uniforms):
            seen["batch"] = super().training_batch(clip_ids, uniforms)
            return seen["batch"]

    objective = tiny_objective()
    history = run_stage(model, model, Watched(), TRAIN[:8], HELD_OUT, config, tmp_path, objective=objective)
    row = history.epochs[0]
    for part, batch, epsilon in (("", seen["batch"], smoothing), ("val_", MemorySource().test_batch(HELD_OUT), 0.0)):
        terms, right = terms_by_hand(model, *batch, epsilon)
        for name, values in terms.items():
            assert row[f"{part}{name}_loss"] == pytest.approx(values.mean(), rel=1e-5), (part, name)
        total = 0.8 * terms["logits"] + 0.2 * terms["embedding_distance"]  # λ1 and 1 - λ1 of equation 5
        total += 0.03 * terms["spatial_attention"] + 0.01 * terms["temporal_attention"]
        assert row[f"{part}loss"] == pytest.approx(total.mean(), rel=1e-5)
        assert row[f"{part}accuracy"] == pytest.approx(right.mean(), abs=1e-6)
    table = pd.read_csv(history.csv)
    columns = {"loss", "accuracy", *(f"{name}_loss" for name in TERMS)}
    assert set(table.columns) == {"epoch", "seconds", *columns, *(f"val_{name}" for name in columns)} == set(row)
    assert table["val_embedding_distance_loss"][0] == pytest.approx(row["val_embedding_distance_loss"])


def test_a_step_follows_the_gradient_of_the_weighted_sum(tmp_path):
    # Plain gradient descent, one step. Layers that a term with weight 0 alone depends on stay as they are.
    config = StageConfig("vpn", learning_rate=0.1, batch_size=8, epochs=1, optimizer="sgd", momentum=0.0, keep="last")
    model, other, seen = *(tiny_attention_model(dropout=0.0, norm=False) for _ in range(2)), {}

    class Watched(MemorySource):
        def training_batch(self, clip_ids, uniforms):
            seen["batch"] = super().training_batch(clip_ids, uniforms)
            return seen["batch"]

    objective = tiny_objective(embedding_distance=0.0)
    before = arrays_of(model.get_layer("of_pose").weights)
    run_stage(model, model, Watched(), TRAIN[:8], HELD_OUT, config, tmp_path, objective=objective)
    inputs, labels = seen["batch"]
    with tf.GradientTape() as tape:
        outputs = other({name: tf.constant(value) for name, value in inputs.items()}, training=True)
        loss = 0.8 * tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(labels, outputs["logits"]))
        loss += 0.03 * tf.reduce_mean(tf.reduce_sum(outputs["spatial_attention"] ** 2, axis=(1, 2)))
        loss += 0.01 * tf.reduce_mean(tf.reduce_sum((1 - outputs["temporal_attention"]) ** 2, axis=1))
    variables = [weight.value for weight in other.trainable_weights]
    gradients = tape.gradient(loss, variables, unconnected_gradients="zero")
    for weight, variable, gradient in zip(model.trainable_weights, variables, gradients, strict=True):
        np.testing.assert_allclose(arrays_of([weight])[0], variable - 0.1 * gradient, atol=1e-6, err_msg=weight.path)
    for weight, old in zip(arrays_of(model.get_layer("of_pose").weights), before, strict=True):
        np.testing.assert_array_equal(weight, old)


def test_logits_alone_train_as_without_an_objective(tmp_path):
    # The same network twice, with an output "logits" of a dict and with a single output.
    config = replace(CONFIG, epochs=2)
    model, _, stream = tiny_model()
    named = keras.Model(stream.input, {"logits": stream.output})
    history = run_stage(
        model, named, MemorySource(), TRAIN, HELD_OUT, config, tmp_path / "a", objective=Objective({"logits": 1.0}, {})
    )
    plain_model, _, plain_stream = tiny_model()
    plain = run_stage(plain_model, plain_stream, MemorySource(), TRAIN, HELD_OUT, config, tmp_path / "b")
    assert_same_end((arrays_of(model.weights), history), (arrays_of(plain_model.weights), plain))


def test_the_published_terms(tmp_path):
    model = tiny_attention_model(dropout=0.0, norm=False)
    losses = {"embedding_distance": SquaredValue(), "temporal_attention": BatchSumToOne()}
    objective = Objective({"logits": 99.9, "embedding_distance": 0.1, "temporal_attention": 1e-5}, losses)
    config = StageConfig("vpn", learning_rate=1e-9, batch_size=8, epochs=1)
    row = run_stage(model, model, MemorySource(), TRAIN[:8], HELD_OUT[:4], config, tmp_path, objective=objective).epochs[0]
    # 8 rows in a batch, 4 clips with 2 rows in the validation: a softmax sums to 8 in both.
    assert row["temporal_attention_loss"] == pytest.approx(49, rel=1e-5)
    assert row["val_temporal_attention_loss"] == pytest.approx(49, rel=1e-5)
    terms, _ = terms_by_hand(model, *MemorySource().test_batch(HELD_OUT[:4]), 0.0)
    assert row["val_embedding_distance_loss"] == pytest.approx((terms["embedding_distance"] ** 2).mean(), rel=1e-5)
    assert "spatial_attention_loss" not in row


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    """Weights and history of a run that nothing stopped."""
    return train(tmp_path_factory.mktemp("uninterrupted"))


def interrupt(workdir):
    with pytest.raises(CacheError):
        train(workdir, source=MemorySource(fail_at=(CONFIG.seed, 2, 1), failure=CacheError("no")))


KILLED = """
import os, signal, sys
from tests.training.test_objective import MemorySource, train
kill = lambda: os.kill(os.getpid(), signal.SIGKILL)
train(sys.argv[1], source=MemorySource(fail_at=(5, 3, 1), failure=kill))
"""


def test_resumed_after_a_kill_ends_as_if_uninterrupted(tmp_path, uninterrupted):
    root = Path(__file__).resolve().parents[2]
    command = [sys.executable, "-c", KILLED, str(tmp_path)]
    killed = subprocess.run(command, cwd=root, env={**os.environ, "PYTHONPATH": str(root)}, capture_output=True, timeout=120)
    assert killed.returncode == -signal.SIGKILL, killed.stderr.decode()
    weights, history = train(tmp_path, resume=True)
    for weight, wanted in zip(weights, uninterrupted[0], strict=True):  # momenta, rates, dropout, moving statistics
        np.testing.assert_array_equal(weight, wanted)
    assert without_seconds(history) == without_seconds(uninterrupted[1])
    table = pd.read_csv(history.csv)
    assert list(table["epoch"]) == [1, 2, 3, 4] and not table.isna().to_numpy().any()
    assert {f"val_{name}_loss" for name in TERMS} < set(table.columns)


def test_a_finished_stage_is_skipped(tmp_path):
    first = train(tmp_path, config=replace(CONFIG, epochs=1))
    assert list((tmp_path / "vpn" / "tensorboard").rglob("events.out.tfevents.*"))
    again = train(tmp_path, config=replace(CONFIG, epochs=1), source=Untouched(), resume=True)
    assert_same_end(again, first)


def test_a_checkpoint_holds_moving_statistics(tmp_path):
    interrupt(tmp_path)
    checkpoint = read_checkpoint(tmp_path / "vpn" / "checkpoint.npys")
    model = tiny_attention_model()
    moving = [index for index, weight in enumerate(model.weights) if weight.path.endswith(("moving_mean", "moving_variance"))]
    assert len(moving) == 4 and len(checkpoint.weights) == len(model.weights)
    for index in moving:
        assert not np.array_equal(checkpoint.weights[index], arrays_of(model.weights)[index])
    weights, history = train(tmp_path, resume=True)
    load_weights(model, history.weights)  # the file of the stage, too
    for weight, wanted in zip(arrays_of(model.weights), weights, strict=True):
        np.testing.assert_array_equal(weight, wanted)


def test_frozen_batch_norm_keeps_its_statistics(tmp_path):
    # As the backbone of VPN: a layer that does not train is in inference mode, while another's statistics move.
    model = tiny_attention_model()
    frozen, moving = model.get_layer("pose_norm"), model.get_layer("norm")
    frozen.trainable = False
    before = [arrays_of(layer.weights) for layer in (frozen, moving)]
    config = replace(CONFIG, epochs=1, keep="last")
    run_stage(model, model, MemorySource(), TRAIN, HELD_OUT, config, tmp_path, objective=tiny_objective())
    for weight, old in zip(arrays_of(frozen.weights), before[0], strict=True):
        np.testing.assert_array_equal(weight, old)
    assert all(not np.array_equal(a, b) for a, b in zip(arrays_of(moving.weights), before[1], strict=True))


def test_a_checkpoint_of_another_objective_is_refused(tmp_path):
    interrupt(tmp_path)
    with pytest.raises(ConfigError, match=r"other settings: objective .*without --resume"):
        train(tmp_path, objective=tiny_objective(embedding_distance=0.3), resume=True)
    changed = tiny_objective()
    changed = Objective(changed.weights, {**changed.losses, "embedding_distance": SquaredValue()})
    with pytest.raises(ConfigError, match=r"other settings: objective .*SquaredValue"):
        train(tmp_path, objective=changed, resume=True)


def test_an_objective_is_known_by_its_terms_and_not_by_names_that_keras_counts():
    def objective():
        return Objective({"logits": 1, "a": 0.5}, {"a": keras.losses.MeanAbsoluteError()})

    assert objective().as_json() == objective().as_json()
    assert objective().as_json()["a"]["weight"] == 0.5 and "MeanAbsoluteError" in objective().as_json()["a"]["loss"]


@pytest.mark.parametrize(
    ("weights", "losses", "words"),
    [
        ({"logits": 1.0}, {"a": MeanValue()}, r"not those of its terms \(found logits, expected logits, a\)"),
        ({"logits": 1.0, "b": 1.0}, {"a": MeanValue()}, r"found logits, b, expected logits, a"),
        ({"a": 1.0}, {"a": MeanValue()}, r"found a, expected logits, a"),
        ({"logits": 1.0}, {"logits": MeanValue()}, r'a loss for "logits".*Leave it out'),
        ({"logits": 1.0, "a": -0.1}, {"a": MeanValue()}, r"weight of a .*out of range \(found -0.1, expected at least 0"),
        ({"logits": float("nan")}, {}, r"weight of logits .*found nan"),
        ({"logits": 1.0, "a": float("inf")}, {"a": MeanValue()}, r"weight of a .*found inf"),
        ({"logits": 1.0, "a": 1.0}, {"a": "mse"}, r"loss of a is no Keras loss \(found 'mse'\)"),
        ({"logits": 1.0, "a": 1.0}, {"a": SquaredSum(reduction="sum")}, r"loss of a .*mean over rows \(found 'sum'"),
    ],
)
def test_objectives_that_make_no_sense(weights, losses, words):
    with pytest.raises(ConfigError, match=words):
        Objective(weights, losses)


def test_a_model_without_the_outputs_is_refused(tmp_path):
    model, _, stream = tiny_model()
    words = r"lacks outputs of the objective: spatial_attention, embedding_distance, temporal_attention \(found pose_logits,"
    with pytest.raises(ConfigError, match=words):
        run_stage(model, model, MemorySource(), TRAIN, HELD_OUT, CONFIG, tmp_path, objective=tiny_objective())
    with pytest.raises(ConfigError, match=r"model rgb_stream lacks outputs .*found no outputs with names"):
        run_stage(model, stream, MemorySource(), TRAIN, HELD_OUT, CONFIG, tmp_path, objective=tiny_objective())


def test_a_model_with_several_outputs_needs_an_objective(tmp_path):
    model = tiny_attention_model()
    with pytest.raises(ConfigError, match=r"has several outputs .*an objective over them"):
        run_stage(model, model, MemorySource(), TRAIN, HELD_OUT, CONFIG, tmp_path)


GLIMPSES = replace(CONFIG, name="glimpses")


def train_on_joints(workdir, *, config=GLIMPSES, source=None, objective=None, dropout=0.5, resume=False, train=TRAIN):
    """Trains a fresh model whose joints are targets alone; model, history."""
    model = tiny_glimpse_model(dropout=dropout)
    history = run_stage(
        model, model, source or JointSource(), train, HELD_OUT, config, workdir,
        resume=resume, objective=objective or tiny_glimpse_objective(),
    )  # fmt: skip
    return model, history


@pytest.mark.parametrize(("smoothing", "jit_compile"), [(0.0, False), (0.3, True)])
def test_arrays_of_the_batch_are_targets(tmp_path, smoothing, jit_compile):
    # As above: one step from the initial weights; the validation is padded, and its rows have missing people.
    config = replace(GLIMPSES, learning_rate=1e-9, epochs=1, label_smoothing=smoothing, jit_compile=jit_compile)
    asked, seen = [], {}

    class Watched(JointSource):
        def select(self, inputs):
            asked.append(sorted(inputs))
            return super().select(inputs)

        def training_batch(self, clip_ids, uniforms):
            seen["batch"] = super().training_batch(clip_ids, uniforms)
            return seen["batch"]

    model, history = train_on_joints(tmp_path, config=config, source=Watched(), dropout=0.0, train=TRAIN[:8])
    assert asked == [["hands", "joints", "pose"]]
    row = history.epochs[0]
    for part, (arrays, labels), epsilon in (("", seen["batch"], smoothing), ("val_", JointSource().test_batch(HELD_OUT), 0.0)):
        assert np.isnan(arrays["joints"]).any()
        outputs = model({name: arrays[name] for name in ("pose", "hands")}, training=False)
        outputs = {name: keras.ops.convert_to_numpy(output) for name, output in outputs.items()}
        targets = np.eye(3)[labels] * (1 - epsilon) + epsilon / 3
        logits = outputs["logits"].astype(np.float64)
        terms = {
            "logits": (targets * (np.log(np.exp(logits).sum(axis=1, keepdims=True)) - logits)).sum(axis=1).mean(),
            "pose": np.mean(PoseAssignmentLoss().call(arrays["joints"], outputs["pose"])),
            "glimpses": np.mean(GlimpseRegulariser().call(arrays["joints"], outputs["glimpses"])),
        }
        for name, value in terms.items():
            assert row[f"{part}{name}_loss"] == pytest.approx(value, rel=1e-5), (part, name)
        total = terms["logits"] + 0.1 * terms["pose"] + 0.5 * terms["glimpses"]
        assert row[f"{part}loss"] == pytest.approx(total, rel=1e-5)
        assert row[f"{part}accuracy"] == pytest.approx((logits.argmax(axis=1) == labels).mean(), abs=1e-6)


def test_targets_are_learned_with_missing_people(tmp_path):
    objective = Objective({"logits": 1.0, "pose": 1.0}, {"pose": PoseAssignmentLoss()}, {"pose": "joints"})
    config = replace(GLIMPSES, epochs=8, learning_rate=0.1, label_smoothing=0.0)
    model, history = train_on_joints(tmp_path, config=config, objective=objective, dropout=0.0)
    losses = [row["val_pose_loss"] for row in history.epochs]
    assert np.isfinite(losses).all() and losses[-1] < 0.7 * losses[0]
    assert all(np.isfinite(weight).all() for weight in arrays_of(model.weights))


class Copied(keras.losses.Loss):
    """Σ |target - output|."""

    def call(self, y_true, y_pred):
        return keras.ops.sum(keras.ops.abs(y_true - y_pred), axis=(1, 2))


@pytest.mark.parametrize(("factor", "share"), [(1.0, 0.0), (0.0, 1.0)])
def test_an_array_can_be_input_and_target(tmp_path, factor, share):
    pose = keras.Input((4, 6), name="pose")
    copied = keras.layers.Rescaling(factor)(pose)
    model = keras.Model({"pose": pose}, {"logits": keras.layers.Dense(3)(keras.layers.Flatten()(pose)), "copy": copied})
    objective = Objective({"logits": 1.0, "copy": 1.0}, {"copy": Copied()}, {"copy": "pose"})
    config = replace(CONFIG, epochs=1)
    row = run_stage(model, model, MemorySource(), TRAIN, HELD_OUT, config, tmp_path, objective=objective).epochs[0]
    poses = MemorySource().test_batch(HELD_OUT)[0]["pose"]
    assert row["val_copy_loss"] == pytest.approx(share * np.abs(poses).sum(axis=(1, 2)).mean(), rel=1e-5)


def test_outputs_without_an_entry_keep_zeros(tmp_path):
    joints, losses = tiny_glimpse_objective(), {"glimpses": SquaredSum()}
    objective = Objective(joints.weights, {**joints.losses, **losses}, {"pose": "joints"})
    targets = objective.batch_targets(tf.constant([2, 0]), {"pose": tf.ones((2, 5)), "joints": tf.fill((2, 7), 3.0)})
    assert set(targets) == {"logits", "pose", "glimpses"}
    np.testing.assert_array_equal(targets["pose"], np.full((2, 7), 3))
    np.testing.assert_array_equal(targets["glimpses"], np.zeros(2))
    np.testing.assert_array_equal(targets["logits"], [2, 0])
    _, history = train_on_joints(tmp_path, config=replace(GLIMPSES, epochs=1), objective=objective)
    assert np.isfinite(history.epochs[0]["val_pose_loss"])


def test_the_labels_can_be_a_target():
    objective = Objective({"logits": 1.0, "steps": 1.0, "pose": 1.0}, {"steps": SquaredSum(), "pose": SquaredSum()},
                          {"steps": LABELS, "pose": "joints"})  # fmt: skip
    assert objective.arrays == ("joints",)
    for labels in (tf.constant([2, 0]), tf.constant([[0.1, 0.9], [0.9, 0.1]])):  # smoothed ones stay distributions
        targets = objective.batch_targets(labels, {"joints": tf.ones((2, 7))})
        np.testing.assert_array_equal(targets["steps"], labels)
        np.testing.assert_array_equal(targets["logits"], labels)
        np.testing.assert_array_equal(targets["pose"], np.ones((2, 7)))
    assert objective.as_json()["steps"]["target"] == "labels"


@pytest.mark.parametrize("smoothing", [0.0, 0.3])
def test_an_output_learns_the_labels(tmp_path, smoothing):
    # The logits twice, under two names: both terms are the same number, and the source is not asked for labels.
    class SameCrossEntropy(keras.losses.Loss):
        def call(self, y_true, y_pred):
            if smoothing:
                return keras.losses.categorical_crossentropy(y_true, y_pred, from_logits=True)
            return keras.losses.sparse_categorical_crossentropy(y_true, y_pred, from_logits=True)

    pose = keras.Input((4, 6), name="pose")
    logits = keras.layers.Dense(3)(keras.layers.Flatten()(pose))
    model = keras.Model({"pose": pose}, {"logits": logits, "again": keras.layers.Rescaling(1.0)(logits)})
    objective = Objective({"logits": 0.0, "again": 1.0}, {"again": SameCrossEntropy()}, {"again": LABELS})
    config = replace(CONFIG, epochs=1, label_smoothing=smoothing)
    row = run_stage(model, model, MemorySource(), TRAIN, HELD_OUT, config, tmp_path, objective=objective).epochs[0]
    for part in ("", "val_"):
        assert row[f"{part}loss"] == pytest.approx(row[f"{part}logits_loss"], rel=1e-5) == row[f"{part}again_loss"]


def test_a_run_with_targets_resumes(tmp_path):
    whole, history = train_on_joints(tmp_path / "a")
    with pytest.raises(CacheError):
        train_on_joints(tmp_path / "b", source=JointSource(fail_at=(5, 2, 1), failure=CacheError("no")))
    other = Objective(tiny_glimpse_objective().weights, tiny_glimpse_objective().losses, {"pose": "joints"})
    with pytest.raises(ConfigError, match=r"other settings: objective .*without --resume"):
        train_on_joints(tmp_path / "b", objective=other, resume=True)
    resumed, resumed_history = train_on_joints(tmp_path / "b", resume=True)
    assert_same_end((arrays_of(resumed.weights), resumed_history), (arrays_of(whole.weights), history))


def test_the_targets_are_part_of_what_an_objective_is_known_by():
    terms = tiny_glimpse_objective().as_json()
    assert (terms["pose"]["target"], terms["glimpses"]["target"]) == ("joints", "joints") and "target" not in terms["logits"]
    assert not any("target" in term for term in tiny_objective().as_json().values())


def test_a_target_of_an_output_without_a_loss_is_refused():
    with pytest.raises(ConfigError, match=r"target for an output without a loss \(found logits, expected pose, glimpses\)"):
        tiny_glimpse_objective(logits="joints")


def test_a_source_without_the_arrays_is_refused(tmp_path):
    words = r"the source lacks arrays that are targets of the objective: joints \(found pose, hands\)"
    with pytest.raises(ConfigError, match=words):
        train_on_joints(tmp_path, source=MemorySource())
