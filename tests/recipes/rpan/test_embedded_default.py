"""The embedded default of RPAN, in full, on the cubes of random CNNs: it learns, and its attention moves to the joints."""

from __future__ import annotations

from dataclasses import replace

import pandas as pd
import pytest

from keras_actrec.recipes.rpan.experiment import embedded_default
from keras_actrec.recipes.rpan.run import run_rpan_experiment
from keras_actrec.recipes.sta_hands.two_stream import accuracy_by_kind, open_synthetic


@pytest.mark.slow
def test_the_losses_fall_and_joints_are_found(tmp_path):
    """What `python experiments/jhmdb_rpan.py` runs where the weights of ImageNet cannot be had.

    How many of the nine classes it tells apart is not asked for: cubes of random weights hardly show them.
    """
    experiment = embedded_default(tmp_path)
    experiment = replace(experiment, backbone=replace(experiment.backbone, weights="random"))
    dataset = open_synthetic(experiment.caches, experiment.synthetic)
    metrics = run_rpan_experiment(dataset, experiment, extra=accuracy_by_kind).metrics
    assert metrics["clips"]["test"] == 81 and metrics["clips"]["left_out"] == 0
    assert set(metrics["accuracy"]) == set(metrics["accuracy_by_kind"]) == {"rgb", "flow", "rgb+flow"}
    for stream, export in (("rgb", "export"), ("flow", "export_flow")):
        log = pd.read_csv(tmp_path / stream / "log.csv")
        first, last = log.iloc[0], log.iloc[-1]
        assert len(log) == experiment.stage.epochs
        for part in ("loss", "attention_loss", "step_logits_loss"):
            assert last[part] < first[part], f"{stream}: {part}"
        assert last["val_attention_loss"] < first["val_attention_loss"], f"{stream}: the attention is drawn to the joints"
        found = metrics["pose_estimation"][stream]
        # 81 clips of 8 frames and 15 joints, less what is out of the picture or not seen.
        assert 0 < found["pck"] < 1 and 5_000 < found["joints_counted"] <= 81 * 8 * 15
        assert (tmp_path / export / "saved_model.pb").is_file()
