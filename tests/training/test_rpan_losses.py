"""Losses of RPAN: by hand and by loops over equations 12 and 13, gradients with missing joints, the JAX backend, a stage."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_actrec.errors import ConfigError
from keras_actrec.models.rpan_config import PRESETS, RPANConfig, preset
from keras_actrec.skeletons.heat_maps import heat_maps
from keras_actrec.training.config import StageConfig
from keras_actrec.training.rpan_losses import HeatMapLoss, StepwiseCrossEntropy
from keras_actrec.training.rpan_objective import rpan_objective
from keras_actrec.training.stages import run_stage
from tests.training.test_stages import HELD_OUT, TRAIN
from tests.training.tiny import JointSource

ROOT = Path(__file__).resolve().parents[2]
NAN = np.nan
SIZE, STD = (24, 32), 3.0


def example() -> dict[str, np.ndarray]:
    """4 rows of 3 steps, 4 joints, maps of 3 x 4, 5 classes; joints missing and outside, one row without any."""
    rng = np.random.default_rng(0)
    joints = rng.uniform(-1, 1, (4, 3, 4, 2)).astype("float32")
    joints[0, 1, 2] = joints[1, :, 0] = joints[2, 0, 1, 1] = joints[3] = NAN
    joints[2, 1, 3, 0] = 1.5
    attention = np.exp(rng.standard_normal((4, 3, 4, 3, 4)))
    return {
        "joints": joints,
        "attention": (attention / attention.sum(axis=(-2, -1), keepdims=True)).astype("float32"),
        "labels": np.int32([4, 0, 2, 2]),
        "logits": (3 * rng.standard_normal((4, 3, 5))).astype("float32"),
    }


def action_by_loops(distributions, logits):
    """Equation 12: Σ_t Σ_c, row by row, in float64."""
    rows = np.zeros(len(logits))
    for row, step in np.ndindex(*logits.shape[:2]):
        scores = np.exp(logits[row, step].astype(float))
        rows[row] -= sum(distributions[row][c] * np.log(scores[c] / scores.sum()) for c in range(len(scores)))
    return rows


def pose_by_loops(joints, attention, grid=(3, 4)):
    """Equation 13: Σ_J Σ_t Σ_k, row by row, over joints within the picture."""
    rows = np.zeros(len(joints))
    for row, step, joint in np.ndindex(*joints.shape[:3]):
        place = joints[row, step, joint]
        if np.isfinite(place).all() and np.abs(place).max() <= 1:
            (target,), _ = heat_maps(place[None], picture_size=SIZE, grid=grid, std=STD)
            rows[row] += np.square(target.astype(float) - attention[row, step, joint]).sum()
    return rows


def test_action_loss_by_hand():
    # Two steps, two classes: softmax 1/2, 1/2 and 1/4, 3/4. Class 1: ln 2 - ln 3/4.
    logits = np.log(np.float32([[[1, 1], [1, 3]]]))
    loss = StepwiseCrossEntropy()
    assert float(loss(np.int32([1]), logits)) == pytest.approx(np.log(2) - np.log(0.75))
    assert float(loss(np.float32([[0.5, 0.5]]), logits)) == pytest.approx(np.log(2) - 0.5 * np.log(0.75 * 0.25))


def test_action_loss_by_the_equation():
    arrays = example()
    loss, one_hot = StepwiseCrossEntropy(), np.eye(5)[arrays["labels"]]
    smoothed = (0.9 * one_hot + 0.02).astype("float32")
    for target, distributions in ((arrays["labels"], one_hot), (one_hot, one_hot), (smoothed, smoothed)):
        rows = action_by_loops(distributions, arrays["logits"])
        target = np.asarray(target, "float32")  # as Keras gives it
        np.testing.assert_allclose(loss.call(tf.constant(target), tf.constant(arrays["logits"])), rows, rtol=1e-5)
        # Padding rows have weight 0, those of the others are 4 rows / 2 real rows.
        mean = float(loss(target, arrays["logits"], sample_weight=np.float32([2, 2, 0, 0])))
        assert mean == pytest.approx(rows[:2].mean(), rel=1e-5)


def test_pose_loss_by_hand():
    # A narrow Gaussian in the first of 2 x 2 places, attention 1/4 everywhere: (3/4)² + 3 (1/4)². Joint 2 is missing.
    joints, attention = np.float32([[[[-0.5, -0.5], [NAN, 0]]]]), np.full((1, 1, 2, 2, 2), 0.25, "float32")
    assert float(HeatMapLoss((20, 20), 0.1)(joints, attention)) == pytest.approx(0.75, rel=1e-5)
    assert float(HeatMapLoss((20, 20), 0.1)(joints[:, :, ::-1], attention)) == pytest.approx(0.75, rel=1e-5)


def test_pose_loss_by_the_equation():
    arrays = example()
    rows, loss = pose_by_loops(arrays["joints"], arrays["attention"]), HeatMapLoss(SIZE, STD)
    assert rows[3] == 0 and (rows[:3] > 0).all()
    np.testing.assert_allclose(loss.call(arrays["joints"], arrays["attention"]), rows, rtol=1e-5)
    mean = float(loss(arrays["joints"], arrays["attention"], sample_weight=np.float32([2, 2, 0, 0])))
    assert mean == pytest.approx(rows[:2].mean(), rel=1e-5)
    # Maps that lie on the joints have no loss.
    maps, _ = heat_maps(arrays["joints"], picture_size=SIZE, grid=(3, 4), std=STD)
    assert float(loss(arrays["joints"], maps)) == pytest.approx(0, abs=1e-10)


@pytest.mark.parametrize("compiled", [False, True])
def test_gradients_are_finite_whatever_is_missing(compiled):
    arrays = example()

    def gradient(joints, attention):
        with tf.GradientTape() as tape:
            tape.watch((joints, attention))
            total = HeatMapLoss(SIZE, STD)(joints, attention)
        return total, *tape.gradient(total, (joints, attention))

    function = tf.function(gradient, jit_compile=True) if compiled else gradient
    total, of_joints, of_maps = function(tf.constant(arrays["joints"]), tf.constant(arrays["attention"]))
    assert all(np.isfinite(value).all() for value in (total, of_joints, of_maps))
    targets, known = heat_maps(arrays["joints"], picture_size=SIZE, grid=(3, 4), std=STD)
    assert known.sum() == 30 and not known[3].any()
    expected = np.where(known[..., None, None], 2 * (arrays["attention"] - targets) / 4, 0)  # of the mean over 4 rows
    np.testing.assert_allclose(of_maps, expected, atol=1e-6)


ON_JAX = """
import sys
import jax, keras, numpy as np
from keras_actrec.training.rpan_losses import HeatMapLoss, StepwiseCrossEntropy
assert keras.backend.backend() == "jax"
arrays = dict(np.load(sys.argv[1]))
action = jax.value_and_grad(lambda logits: StepwiseCrossEntropy()(arrays["labels"], logits))(arrays["logits"])
pose = jax.jit(jax.value_and_grad(lambda maps: HeatMapLoss((24, 32), 3.0)(arrays["joints"], maps)))(arrays["attention"])
np.savez(sys.argv[2], action=action[0], action_gradient=action[1], pose=pose[0], pose_gradient=pose[1])
"""


def test_values_and_gradients_on_jax(tmp_path):
    if importlib.util.find_spec("jax") is None:
        pytest.skip("jax is not installed: `pip install keras_actrec[jax]`")
    arrays = example()
    np.savez(tmp_path / "in.npz", **arrays)
    environment = os.environ | {"KERAS_BACKEND": "jax", "JAX_PLATFORMS": "cpu", "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", ON_JAX, str(tmp_path / "in.npz"), str(tmp_path / "out.npz")]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-3000:]
    with np.load(tmp_path / "out.npz") as stored:
        found = dict(stored)
    for name, loss, target, output in (
        ("action", StepwiseCrossEntropy(), "labels", "logits"),
        ("pose", HeatMapLoss(SIZE, STD), "joints", "attention"),
    ):
        prediction = tf.constant(arrays[output])
        with tf.GradientTape() as tape:
            tape.watch(prediction)
            total = loss(arrays[target], prediction)
        np.testing.assert_allclose(found[name], total, rtol=1e-5, err_msg=name)
        np.testing.assert_allclose(found[f"{name}_gradient"], tape.gradient(total, prediction), atol=1e-6, err_msg=name)


@pytest.mark.parametrize(
    ("loss", "target", "output"),
    [(StepwiseCrossEntropy(), "labels", "logits"), (HeatMapLoss(SIZE, STD), "joints", "attention")],
)
def test_losses_are_the_same_after_saving(loss, target, output):
    saved = json.loads(json.dumps(keras.losses.serialize(loss)))
    assert saved["registered_name"] == f"keras_actrec>{type(loss).__name__}"
    loaded = keras.losses.deserialize(saved)
    assert type(loaded) is type(loss) and loaded.get_config() == loss.get_config()
    arrays = example()
    assert float(loaded(arrays[target], arrays[output])) == float(loss(arrays[target], arrays[output])) > 0


MAPS, STEPS = np.zeros((2, 3, 4, 5, 6), "float32"), np.zeros((2, 3, 5), "float32")


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: StepwiseCrossEntropy()(np.zeros(2), np.zeros((2, 5))), r"no logits of steps \(found \(2, 5\)"),
        (lambda: StepwiseCrossEntropy()(np.zeros((2, 4)), STEPS), r"no labels .*expected \(B,\) or \(B, 5\).*Name \"labels\""),
        (lambda: StepwiseCrossEntropy()(np.zeros((2, 3, 5)), STEPS), r"no labels \(found \(2, 3, 5\)"),
        (lambda: HeatMapLoss(SIZE)(np.zeros((2, 3, 4, 2)), STEPS), r"no attention maps \(found \(2, 3, 5\)"),
        (lambda: HeatMapLoss(SIZE)(np.zeros(2), MAPS), r"no joints of the .*\(found \(2,\), expected \(B, 3, 4, 2\).*Name the"),
        (lambda: HeatMapLoss(SIZE)(np.zeros((2, 3, 1, 4, 2)), MAPS), r"no joints of the .*found \(2, 3, 1, 4, 2\)"),
        (lambda: HeatMapLoss((4, 32))(np.zeros((2, 3, 4, 2)), MAPS), r"finer than the picture \(found \(5, 6\)"),
        (lambda: HeatMapLoss((24,)), r"no such size \(found \(24,\), expected \(height, width\)"),
        (lambda: HeatMapLoss(SIZE, -1.0), r"standard deviation .*found -1.0"),
    ],
)
def test_what_makes_no_sense_is_refused(make, words):
    with pytest.raises(ConfigError, match=words):
        make()


@pytest.mark.parametrize("name", PRESETS)
def test_terms_of_the_presets(name):
    config = preset(name, 12)
    objective = rpan_objective(config)
    assert dict(objective.weights) == {"logits": 0, "step_logits": 1} | ({"attention": 1} if config.has_pose_loss else {})
    assert config.has_pose_loss == (not name.endswith(("_without", "_share_all")))
    assert objective.targets["step_logits"] == "labels" and objective.targets.get("attention", "joints") == "joints"
    if config.has_pose_loss:
        loss = objective.losses["attention"]
        assert (loss.picture_size, loss.std) == (config.picture_size, 5.0) and objective.arrays == ("joints",)


def test_weights_and_sizes_are_those_of_the_configuration():
    config = RPANConfig(12, action_weight=0.5, pose_weight=0.25, heat_map_std=10.0, picture_size=(120, 160))
    objective = rpan_objective(config)
    assert dict(objective.weights) == {"logits": 0.0, "step_logits": 0.5, "attention": 0.25}
    assert (objective.losses["attention"].picture_size, objective.losses["attention"].std) == ((120, 160), 10.0)
    assert list(rpan_objective(replace(config, pose_weight=0.0)).losses) == ["step_logits"]


class OnePerson(JointSource):
    """Joints of the first person alone, (B, 4, 3, 2), as RPAN takes them; not all within the picture."""

    @property
    def shapes(self):
        return super().shapes | ({"joints": (4, 3, 2)} if "joints" in self.inputs else {})

    def _rows(self, clip_ids, uniforms):
        batch, labels = super()._rows(clip_ids, uniforms)
        return {name: 1.2 * array[:, :, 0] if name == "joints" else array for name, array in batch.items()}, labels


def tiny_rpan() -> keras.Model:
    """Outputs as those of RPAN: logits of 4 steps and the last of them, maps of 3 joints on 2 x 3 places."""
    keras.utils.set_random_seed(3)
    pose = keras.Input((4, 6), name="pose")
    hidden = keras.layers.LSTM(8, return_sequences=True)(pose)
    steps = keras.layers.Dense(3)(hidden)
    maps = keras.layers.Softmax(axis=-1)(keras.layers.Reshape((4, 3, 6))(keras.layers.Dense(18)(hidden)))
    attention = keras.layers.Reshape((4, 3, 2, 3))(maps)
    return keras.Model({"pose": pose}, {"logits": steps[:, -1], "step_logits": steps, "attention": attention})


# As section 4.1, but for a rate that falls.
STAGE = StageConfig(
    "rpan", learning_rate=0.1, batch_size=8, epochs=5, optimizer="sgd", weight_decay=5e-4, decay="coupled", keep="last",
    label_smoothing=0.1,
)  # fmt: skip
OBJECTIVE = rpan_objective(RPANConfig(3, frames=4, picture_size=SIZE, heat_map_std=STD, pose_weight=0.5))


def test_a_stage_minimises_both_terms(tmp_path):
    model = tiny_rpan()
    rows = run_stage(model, model, OnePerson(), TRAIN[:8], HELD_OUT, STAGE, tmp_path, objective=OBJECTIVE).epochs
    for row in rows:
        assert row["loss"] == pytest.approx(row["step_logits_loss"] + 0.5 * row["attention_loss"], rel=1e-5)
    for name in ("step_logits_loss", "attention_loss", "val_attention_loss"):
        losses = [row[name] for row in rows]
        assert np.isfinite(losses).all() and losses[-1] < losses[0]


def test_the_validation_of_a_stage_is_of_real_rows_and_plain_labels(tmp_path):
    model, config = tiny_rpan(), replace(STAGE, learning_rate=1e-9, epochs=1)
    row = run_stage(model, model, OnePerson(), TRAIN[:8], HELD_OUT, config, tmp_path, objective=OBJECTIVE).epochs[0]
    arrays, labels = OnePerson().test_batch(HELD_OUT)
    assert np.isnan(arrays["joints"]).any() and (np.abs(arrays["joints"]) > 1).any()
    outputs = {name: np.asarray(output) for name, output in model({"pose": arrays["pose"]}).items()}
    action = action_by_loops(np.eye(3)[labels], outputs["step_logits"]).mean()
    pose = pose_by_loops(arrays["joints"], outputs["attention"], grid=(2, 3)).mean()
    assert row["val_step_logits_loss"] == pytest.approx(action, rel=1e-4)
    assert row["val_attention_loss"] == pytest.approx(pose, rel=1e-4)
    right = outputs["step_logits"][:, -1].argmax(axis=-1) == labels
    assert row["val_accuracy"] == pytest.approx(right.mean(), abs=1e-6)
