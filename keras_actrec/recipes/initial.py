"""Starts a network from the weights of another run (paper section 5.4: transfer from NTU to smaller data sets)."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import keras

from keras_actrec.errors import WeightsError
from keras_actrec.models.sta_hands import STAHandsConfig, sta_hands
from keras_actrec.training.checkpoints import load_weights

_FIX = "give the working directory of a finished run of the same preset, joint layout and number of frames"


def copy_initial_weights(model: keras.Model, config: STAHandsConfig, run: Path) -> None:
    """Copies the weights of a finished run into every layer of a model but its classifiers, whose classes differ.

    Args:
        model: an STA-Hands model built from `config`, changed in place.
        config: its configuration.
        run: working directory of the other run: metrics.json and the weights of its last stage.

    Raises:
        WeightsError: the run is not finished, or its network has other layers or sizes than the model.
    """
    file = run / "metrics.json"
    try:
        metrics = json.loads(file.read_text(encoding="utf-8"))
        classes, stage = len(metrics["per_class"]), metrics["stages"][-1]["name"]
    except (OSError, ValueError, KeyError, IndexError, TypeError) as error:
        raise WeightsError("no finished run to take weights from", file=file, found=error, fix=_FIX) from error
    other = sta_hands(replace(config, classes=classes))
    weights = run / stage / "model.weights.h5"
    load_weights(other, weights)
    layers = {layer.name: layer for layer in other.layers}
    for layer in model.layers:
        if layer.weights and not layer.name.endswith("_logits"):
            layer.set_weights(layers[layer.name].get_weights())
