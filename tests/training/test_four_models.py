"""All four models on two logical CPU devices: the losses and weights of one device with the same global batch."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def found():
    command = [sys.executable, "-m", "tests.training.four_models_run"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.parametrize(
    ("model", "terms"),
    [
        ("sta_hands", set()),
        ("vpn", {"logits", "embedding_distance", "spatial_attention", "temporal_attention"}),
        ("glimpse_clouds", {"logits", "pose", "glimpses"}),
        ("rpan", {"logits", "step_logits", "attention"}),
    ],
)
def test_two_devices_have_the_losses_and_weights_of_one(found, model, terms):
    one, two = found[model]["one"], found[model]["two"]
    names = {"loss", "accuracy", *(f"{term}_loss" for term in terms)}
    names |= {f"val_{name}" for name in names}
    assert set(one[0]) == {*names, "epoch", "seconds"} == set(two[0])
    assert len(one) == len(two) == 3 and len({row["loss"] for row in one}) == 3
    for row, other in zip(one, two, strict=True):
        assert {name: other[name] for name in names} == pytest.approx({name: row[name] for name in names}, rel=1e-5, abs=1e-6)
    assert found[model]["difference"] < 1e-5
