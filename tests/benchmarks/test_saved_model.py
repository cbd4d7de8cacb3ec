"""The export is compared with the Keras model on outputs of one name, and a difference shows."""

from __future__ import annotations

import numpy as np
from suite import saved_model
from suite.figures import Settings

from keras_actrec.models.sta_hands import STAHandsConfig
from tests.benchmarks.test_models import SMALL


def test_the_same_answers(monkeypatch, tmp_path):
    # The export's pose tensors are 300 wide and its sub-sequences 20 long.
    sizes = SMALL | {"frames": 20, "pose_width": 300}
    monkeypatch.setattr(saved_model, "preset", lambda name, classes: STAHandsConfig(classes, **sizes))
    figures = {figure.name: figure for figure in saved_model.measure(Settings(quick=True, folder=tmp_path))}
    for what in ("serve, 1 row", "serve, 10 rows", "classify_clip"):
        assert not figures[f"saved_model: {what}, difference from Keras"].missed
        assert figures[f"saved_model: {what}, time / Keras"].unit == "ratio"


def test_a_difference_is_the_largest_of_any_output():
    served = {"logits": np.array([1.0, 2.0]), "attention": np.array([0.5]), "probabilities": np.array([9.0])}
    own = {"logits": np.array([1.0, 2.5]), "attention": np.array([0.25])}
    difference = saved_model._compared("x", lambda: served, lambda: own, repetitions=1)[0]
    assert difference.value == 0.5 and difference.missed
