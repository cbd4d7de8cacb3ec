"""What tensorflow-addons once gave, against what stands in its place: Keras 3, and this package's metrics.

| tensorflow-addons 0.23                | here                                                    | difference |
|---------------------------------------|---------------------------------------------------------|------------|
| tfa.optimizers.AdamW                  | keras.optimizers.AdamW                                  | weight decay: see below |
| tfa.optimizers.SGDW                   | keras.optimizers.SGD(weight_decay=)                     | weight decay: see below |
| tfa.metrics.F1Score                   | keras.metrics.F1Score; training.metrics.macro_f1        | none |
| tfa.metrics.MultiLabelConfusionMatrix | training.metrics.confusion_matrix, per_class_accuracy   | one matrix of all classes |
| tfa.image.interpolate_bilinear        | keras.ops.image.map_coordinates(fill_mode="nearest")    | none |
| tfa.image.resampler                   | keras.ops.image.map_coordinates(fill_mode="constant")   | row before column |

tensorflow-addons takes `weight_decay · variable` off at each step, Keras `learning_rate · weight_decay · variable`. So
weight_decay of Keras = weight_decay of tensorflow-addons / learning_rate.

The reference values were computed once, by tests/reference/generate_tfa_reference.py.
"""

from __future__ import annotations

from pathlib import Path

import keras
import numpy as np
import pytest

from keras_actrec.training.metrics import confusion_matrix, macro_f1, per_class_accuracy

REFERENCE = Path(__file__).with_name("reference") / "tfa_reference.npz"


@pytest.fixture(scope="module")
def reference() -> dict[str, np.ndarray]:
    with np.load(REFERENCE) as stored:
        return dict(stored)


def test_reference_names_its_versions(reference):
    assert list(reference["versions"]) == ["tensorflow 2.15.1", "tensorflow-addons 0.23.0", "numpy 1.26.4"]


def keras_steps(optimizer: keras.optimizers.Optimizer, reference) -> np.ndarray:
    """The variable after each step, (steps, 3, 4)."""
    variable = keras.Variable(reference["optimizer/start"])
    values = []
    for gradient in reference["optimizer/gradients"]:
        optimizer.apply([keras.ops.convert_to_tensor(gradient)], [variable])
        values.append(np.array(variable))
    return np.stack(values)


def optimizer_with(name: str, weight_decay: float, hyperparameter) -> keras.optimizers.Optimizer:
    if name == "adamw":
        adam = {key: hyperparameter(key) for key in ("beta_1", "beta_2", "epsilon")}
        return keras.optimizers.AdamW(hyperparameter("learning_rate"), weight_decay=weight_decay, **adam)
    return keras.optimizers.SGD(hyperparameter("learning_rate"), momentum=hyperparameter("momentum"), weight_decay=weight_decay)


@pytest.mark.parametrize("name", ["adamw", "sgdw"])
def test_decoupled_weight_decay(name, reference):
    def hyperparameter(key):
        return float(reference[f"optimizer/{key}"])

    decay, rate = hyperparameter("weight_decay"), hyperparameter("learning_rate")
    converted = keras_steps(optimizer_with(name, decay / rate, hyperparameter), reference)
    np.testing.assert_allclose(converted, reference[f"{name}/values"], atol=1e-6)
    # The same number without the conversion is another optimizer.
    plain = keras_steps(optimizer_with(name, decay, hyperparameter), reference)
    assert np.abs(plain - reference[f"{name}/values"]).max() > 1e-3


@pytest.mark.parametrize("average", ["macro", "micro", "weighted", None])
def test_f1_score(average, reference):
    classes = reference["metrics/scores"].shape[-1]
    f1 = keras.metrics.F1Score(average=average)
    for labels, scores in zip(reference["metrics/labels"], reference["metrics/scores"], strict=True):
        f1.update_state(keras.ops.one_hot(labels, classes), scores)
    np.testing.assert_allclose(f1.result(), reference[f"f1/{average or 'none'}"], atol=1e-6)


def test_metrics_of_this_package(reference):
    classes = reference["metrics/scores"].shape[-1]
    labels, predictions = reference["metrics/labels"].ravel(), reference["metrics/scores"].argmax(axis=-1).ravel()
    matrix = confusion_matrix(labels, predictions, classes)
    assert macro_f1(matrix) == pytest.approx(float(reference["f1/macro"]), abs=1e-6)
    for index, ((_, false_positive), (false_negative, true_positive)) in enumerate(reference["confusion/per_class"]):
        assert matrix[index, index] == true_positive
        assert matrix[index].sum() - matrix[index, index] == false_negative
        assert matrix[:, index].sum() - matrix[index, index] == false_positive
        recall = true_positive / (true_positive + false_negative)
        assert per_class_accuracy(matrix)[index] == pytest.approx(recall, abs=1e-6)


def bilinear(image: np.ndarray, points: np.ndarray, fill_mode: str) -> np.ndarray:
    """Samples each image (H, W, C) at its points (n, 2), row and column: (B, n, C)."""
    samples = []
    for pixels, places in zip(image, points, strict=True):
        channels = [
            keras.ops.image.map_coordinates(pixels[..., c], places.T, order=1, fill_mode=fill_mode)
            for c in range(pixels.shape[-1])
        ]
        samples.append(np.stack([np.array(channel) for channel in channels], axis=-1))
    return np.stack(samples)


@pytest.mark.parametrize(("name", "fill_mode"), [("interpolate_bilinear", "nearest"), ("resampler", "constant")])
def test_bilinear_sampling(name, fill_mode, reference):
    image, points = reference["sampling/image"], reference["sampling/points"]
    outside = np.any((points < 0) | (points > np.array(image.shape[1:3]) - 1), axis=-1)
    assert 10 < outside.sum() < outside.size - 10  # both kinds of points are there
    np.testing.assert_allclose(bilinear(image, points, fill_mode), reference[f"sampling/{name}"], atol=1e-5)


def test_the_two_samplers_differ_outside_only(reference):
    image, points = reference["sampling/image"], reference["sampling/points"]
    inside = np.all((points >= 0) & (points <= np.array(image.shape[1:3]) - 1), axis=-1)
    a, b = reference["sampling/interpolate_bilinear"], reference["sampling/resampler"]
    np.testing.assert_allclose(a[inside], b[inside], atol=1e-5)
    assert np.abs(a[~inside] - b[~inside]).max() > 0.1
