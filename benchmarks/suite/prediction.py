"""Time from the features of a clip's hands and its pose tensors to the answer of the two-stream network."""

from __future__ import annotations

from collections.abc import Callable

import keras
import numpy as np

from keras_actrec.models.sta_hands import preset, sta_hands
from suite.compiled import forward
from suite.figures import Figure, Must, Settings, in_turns, median_figure

CLASSES = 60
CLIP_ROWS = 10
"""Test sub-sequences of a clip: K of section 4."""
MOST = Must("<=", 15.0)


def measure(settings: Settings) -> list[Figure]:
    """The network of the paper (38.7 million weights, random) in float32. A row is one sub-sequence of 20 frames; a clip is its
    10 test sub-sequences at once. Most actions of NTU RGB+D are of one person, whose two hands are there; rows of two people
    have four. "XLA" is one function compiled by XLA, "graph" one of TensorFlow, the way an export serves it, both on inputs
    that are on the device; "predict_on_batch" is that of Keras, from NumPy arrays.
    """
    keras.utils.set_random_seed(0)
    model = sta_hands(preset("sta_hands_paper", CLASSES))
    figures = []
    for text, rows, people, must in (
        ("1 row", 1, 1, MOST),
        ("1 row of two people", 1, 2, None),
        ("1 clip", CLIP_ROWS, 1, None),
        ("64 rows", 64, 1, None),
    ):
        repetitions = (10 if settings.quick else 50) if rows == 1 else (3 if settings.quick else 10)
        for how, seconds in in_turns(_jobs(model, example(model, rows, people)), repetitions, warm_up=3).items():
            milliseconds = [each * 1e3 for each in seconds]
            figures.append(median_figure(f"prediction: {text}, {how}", milliseconds, "ms", must if how == "XLA" else None))
    return figures


def _jobs(model: keras.Model, inputs: dict[str, np.ndarray]) -> dict[str, Callable[[], object]]:
    jobs = {"XLA": forward(model, inputs, xla=True), "predict_on_batch": lambda: model.predict_on_batch(inputs)}
    if keras.backend.backend() == "tensorflow":
        jobs["graph"] = forward(model, inputs)
    return jobs


def example(model: keras.Model, rows: int, people: int) -> dict[str, np.ndarray]:
    """Inputs such as a cache gives them: hand features are averages behind a ReLU, and 0 for hands that are not there."""
    draw = np.random.default_rng(0)
    arrays = {name: draw.standard_normal((rows, *tensor.shape[1:])).astype(np.float32) for name, tensor in model.input.items()}
    arrays["hands"] = np.abs(arrays["hands"])
    arrays["hands"][:, :, 2 * people :] = 0
    return arrays
