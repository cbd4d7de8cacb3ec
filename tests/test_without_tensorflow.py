"""What runs through JAX does so where TensorFlow is not installed: layers, networks, and what a training step is made of."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
TRAINING = ("config", "glimpse_losses", "glimpse_objective", "losses", "metrics", "objective", "optimizers", "rpan_losses")
MODULES = (
    *(
        f"keras_actrec.{room}.{path.stem}"
        for room in ("backbones", "layers", "models", "skeletons")
        for path in sorted((ROOT / "keras_actrec" / room).glob("[!_]*.py"))
    ),
    *(f"keras_actrec.training.{name}" for name in (*TRAINING, "rpan_objective", "vpn_objective")),
)

# One step of VPN's objective on a tiny network, in a process where TensorFlow cannot be imported.
PROGRAM = f"""
import importlib, sys
sys.modules["tensorflow"] = None
for name in {MODULES!r}:
    importlib.import_module(name)
import keras
import numpy as np
from keras_actrec.backbones.folded_resnet import fastest_for_inference
from keras_actrec.models.vpn import VPNConfig, vpn
from keras_actrec.training.config import StageConfig
from keras_actrec.training.optimizers import build_optimizer
from keras_actrec.training.vpn_objective import vpn_objective

sizes = dict(graph_units=2, pose_filters=(2,), spatial_units=3, temporal_units=3, embedding_units=4)
config = VPNConfig(classes=3, poses=4, map_shape=(2, 2, 2, 4), **sizes)
model, objective = vpn(config), vpn_objective(config)
assert fastest_for_inference(model) is model
stream = objective.select(model)
loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
stream.compile(
    build_optimizer(StageConfig("step"), 1), {{"logits": loss, **objective.losses}}, loss_weights=dict(objective.weights)
)
inputs = {{name: np.ones((2, *tensor.shape[1:]), np.float32) for name, tensor in model.input.items()}}
value = stream.train_on_batch(inputs, objective.batch_targets(np.array([0, 2]), {{}}))
print("loss", float(np.ravel(value)[0]))
"""


def test_networks_and_a_training_step_without_tensorflow():
    if importlib.util.find_spec("jax") is None:
        pytest.skip("jax is not installed: `pip install keras_actrec[jax]`")
    environment = os.environ | {"KERAS_BACKEND": "jax", "JAX_PLATFORMS": "cpu", "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", PROGRAM], cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-4000:]
    word, loss = done.stdout.split()
    assert word == "loss"
    assert float(loss) > 0
