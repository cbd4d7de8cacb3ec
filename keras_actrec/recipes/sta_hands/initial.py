"""Starts a network from the weights of another run (paper section 5.4: transfer from NTU to smaller data sets)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import keras

from keras_actrec.errors import WeightsError
from keras_actrec.models.sta_hands import STAHandsConfig, sta_hands
from keras_actrec.training.checkpoints import load_weights

_FIX = "give the working directory of a finished run of the same preset, joint layout, pose tensors and number of frames"


def copy_initial_weights(model: keras.Model, config: STAHandsConfig, run: Path, *, inputs: Mapping[str, object]) -> None:
    """Copies the weights of a finished run into every layer of a model but its classifiers, whose classes differ.

    Args:
        model: an STA-Hands model built from `config`, changed in place.
        config: its configuration.
        run: working directory of the other run: metrics.json and the weights of its last stage.
        inputs: what the model's inputs mean ("layout", "tensor": JSON values), as in the "configuration" of metrics.json:
            shapes alone do not tell metres from body sizes.

    Raises:
        WeightsError: the run is not finished, its inputs mean something else, or its network has other layers or sizes than
            the model.
    """
    file = run / "metrics.json"
    try:
        metrics = json.loads(file.read_text(encoding="utf-8"))
        classes, stage = len(metrics["per_class"]), metrics["stages"][-1]["name"]
        theirs = {name: metrics["configuration"][name] for name in inputs}
    except (OSError, ValueError, KeyError, IndexError, TypeError) as error:
        raise WeightsError("no finished run to take weights from", file=file, found=error, fix=_FIX) from error
    for name, value in inputs.items():
        if theirs[name] != value:
            raise WeightsError(
                f"the run was trained on other inputs: {name}", file=file, found=theirs[name], expected=value, fix=_FIX
            )
    other = sta_hands(replace(config, classes=classes))
    weights = run / stage / "model.weights.h5"
    load_weights(other, weights)
    layers = {layer.name: layer for layer in other.layers}
    for layer in model.layers:
        if layer.weights and not layer.name.endswith("_logits"):
            layer.set_weights(layers[layer.name].get_weights())
