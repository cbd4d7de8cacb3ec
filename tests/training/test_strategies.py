"""Data parallelism: two logical CPU devices give what one device gives with the same global batch."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from keras_actrec.errors import ConfigError
from keras_actrec.training.strategies import build_strategy, logical_cpus
from tests.training.mirrored_run import main

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def one_device():
    return main("none")


@pytest.fixture(scope="module")
def two_devices():
    command = [sys.executable, "-m", "tests.training.mirrored_run", "mirrored"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1])


def test_same_loss_at_every_step(one_device, two_devices):
    assert (one_device["replicas"], two_devices["replicas"]) == (1, 2)
    for name in ("loss", "accuracy", "val_loss", "val_accuracy"):  # the last validation batch is padded
        one, two = ([epoch[name] for epoch in result["epochs"]] for result in (one_device, two_devices))
        np.testing.assert_allclose(two, one, rtol=1e-5, err_msg=name)
    losses = [epoch["loss"] for epoch in one_device["epochs"]]
    assert len(set(losses)) == 4


def test_same_loss_and_terms_at_every_step_of_an_objective(one_device, two_devices):
    epochs = one_device["objective_epochs"]
    assert len({row["loss"] for row in epochs}) == 4
    terms = {f"{name}_loss" for name in ("logits", "embedding_distance", "spatial_attention", "temporal_attention")}
    columns = {"loss", "accuracy", *terms}
    columns |= {f"val_{name}" for name in columns}
    assert set(epochs[0]) == {*columns, "epoch", "seconds"}
    for name in columns:
        one, two = ([row[name] for row in result["objective_epochs"]] for result in (one_device, two_devices))
        np.testing.assert_allclose(two, one, rtol=1e-5, err_msg=name)


def test_same_terms_where_joints_are_targets(one_device, two_devices):
    # Each device has its share of the joints; half of the rows lack people. The weight decay is in the gradient.
    for name in ("loss", "pose_loss", "glimpses_loss", "val_loss", "val_pose_loss", "val_glimpses_loss"):
        one, two = ([row[name] for row in result["target_epochs"]] for result in (one_device, two_devices))
        np.testing.assert_allclose(two, one, rtol=1e-5, err_msg=name)
        assert len(set(one)) == 4


def test_same_scores(one_device, two_devices):
    assert two_devices["accuracy"] == one_device["accuracy"]
    for stream, scores in one_device["scores"].items():
        np.testing.assert_allclose(two_devices["scores"][stream], scores, rtol=1e-4, atol=1e-6)


def test_resumed_on_two_devices_ends_as_if_uninterrupted(two_devices):
    assert two_devices["resumed_difference"] < 1e-6
    assert two_devices["resumed_objective_difference"] < 1e-6


def test_what_two_devices_cannot_do_is_refused(two_devices):
    assert "batch size 7" in two_devices["odd_batch"] and "a multiple of 2" in two_devices["odd_batch"]
    assert 'set jit_compile to "auto"' in two_devices["xla"].replace("Set", "set")


def test_unknown_strategy():
    with pytest.raises(ConfigError, match=r"'multi'.*mirrored, multiworker, none"):
        build_strategy("multi")


def test_devices_belong_to_mirrored():
    with pytest.raises(ConfigError, match="mirrored"):
        build_strategy("none", devices=["/cpu:0"])


def test_splitting_the_cpu_too_late():
    tf.constant(1.0)  # TensorFlow runs now
    with pytest.raises(ConfigError, match="before anything else"):
        logical_cpus(2)
