"""What is measured of the networks: the sizes of the papers, steps that train, and compiled calls that say what Keras says."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from suite import compiled, models, prediction
from suite.figures import Settings

from keras_actrec.models.sta_hands import STAHandsConfig, sta_hands

SMALL = {
    "frames": 4, "pose_width": 8, "feature_size": 3, "pose_filters": (2,), "pose_features": 4, "lstm_units": 3,
    "spatial_attention_units": 2, "temporal_attention_units": 2, "temporal_features": 3,
}  # fmt: skip


@pytest.fixture
def model():
    return sta_hands(STAHandsConfig(5, **SMALL))


@pytest.fixture
def small(monkeypatch):
    """The preset's network with small layers, wherever the benchmarks build it."""
    for place in ("suite.prediction.preset", "keras_actrec.models.sta_hands.preset"):
        monkeypatch.setattr(place, lambda name, classes: STAHandsConfig(classes, **SMALL))


@pytest.mark.parametrize("xla", [False, True])
def test_a_compiled_call_is_the_models(model, xla):
    inputs = prediction.example(model, 2, people=2)
    found, expected = compiled.forward(model, inputs, xla=xla)(), model(inputs, training=False)
    assert set(found) == set(expected)
    for name, value in expected.items():
        np.testing.assert_allclose(found[name], value, atol=1e-6)


def test_one_person_has_two_hands(model):
    hands = prediction.example(model, 3, people=1)["hands"]
    assert hands.shape == (3, 4, 4, 3)
    assert (hands[:, :, :2] > 0).all() and not hands[:, :, 2:].any()


def test_figures_of_a_network(small):
    name = "STA-Hands, sub-sequences of features"
    figures = {figure.name: figure for figure in models.measure_case(name, quick=True)}
    assert {f"models: {name}, {what}" for what in ("forward", "training step", "peak memory")} <= set(figures)
    assert all(figure.value > 0 for figure in figures.values())


def test_the_step_trains_the_rgb_stream_alone(small):
    network = models.CASES["STA-Hands, sub-sequences of features"].build(True)
    before = {weight.path: np.array(weight) for weight in network.stream.weights}
    inputs = prediction.example(network.stream, 2, people=2)
    network.stream.train_on_batch(inputs, network.targets(np.array([0, 1]), {}))
    for weight in network.stream.weights:
        if "seed" not in weight.path:
            moved = bool(np.any(np.array(weight) != before[weight.path]))
            assert moved != weight.path.split("/")[0].startswith("pose_"), weight.path


@pytest.mark.parametrize("name", ["VPN on maps", "Glimpse Clouds on maps", "RPAN on cubes"])
def test_heads_have_targets_for_each_term(name):
    network = models.CASES[name].build(True)
    arrays = {key: np.zeros((2, *shape), np.float32) for key, shape in network.shapes.items()}
    assert set(network.targets(np.array([0, 1]), arrays)) == set(network.stream.output)


def test_only_one_row_of_one_person_has_a_bound(small, tmp_path):
    figures = prediction.measure(Settings(quick=True, folder=tmp_path))
    bounds = {figure.name: str(figure.must) for figure in figures if figure.must}
    assert bounds == {"prediction: 1 row, XLA": "<= 15"}
    assert {figure.unit for figure in figures} == {"ms"}
    assert keras.backend.backend() != "tensorflow" or "prediction: 64 rows, graph" in {figure.name for figure in figures}
