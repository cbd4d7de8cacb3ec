"""The embedded default of Glimpse Clouds, in full, on the maps of a random backbone: its losses fall."""

from __future__ import annotations

from dataclasses import replace

import pandas as pd
import pytest

from keras_actrec.recipes.glimpse_clouds.experiment import embedded_default
from keras_actrec.recipes.glimpse_clouds.run import run_glimpse_experiment
from keras_actrec.recipes.sta_hands.two_stream import accuracy_by_kind, open_synthetic


@pytest.mark.slow
def test_the_losses_fall(tmp_path):
    """What `python experiments/ntu_glimpse_clouds.py` runs where the weights of ImageNet cannot be had.

    How many of the nine classes it tells apart is not asked for: maps of random weights hardly show them.
    """
    experiment = embedded_default(tmp_path)
    experiment = replace(experiment, backbone=replace(experiment.backbone, weights="random"))
    dataset = open_synthetic(experiment.caches, experiment.synthetic)
    result = run_glimpse_experiment(dataset, experiment, extra=accuracy_by_kind)
    assert result.metrics["clips"]["test"] == 81 and result.metrics["clips"]["left_out"] == 0
    log = pd.read_csv(tmp_path / "clouds" / "log.csv")
    first, last = log.iloc[0], log.iloc[-1]
    for part in ("", "val_"):
        assert last[f"{part}glimpses_loss"] < 0.75 * first[f"{part}glimpses_loss"], "glimpses are drawn to the joints"
        assert last[f"{part}pose_loss"] < first[f"{part}pose_loss"]
        assert last[f"{part}loss"] < first[f"{part}loss"]
    assert (tmp_path / "export" / "saved_model.pb").is_file()
