"""Metrics against hand counts."""

from __future__ import annotations

import numpy as np
import pytest

from keras_actrec.errors import ConfigError
from keras_actrec.training import metrics

# Class 0: 3 clips, 2 right, 1 taken for 1. Class 1: 1 clip, right. Class 2: no clips. Class 3: 2 clips, both taken for 0.
LABELS = np.array([0, 0, 0, 1, 3, 3])
PREDICTIONS = np.array([0, 0, 1, 1, 0, 0])
MATRIX = np.array([[2, 1, 0, 0], [0, 1, 0, 0], [0, 0, 0, 0], [2, 0, 0, 0]])


def test_confusion_matrix():
    np.testing.assert_array_equal(metrics.confusion_matrix(LABELS, PREDICTIONS, 4), MATRIX)


def test_accuracies():
    assert metrics.accuracy(MATRIX) == 3 / 6
    np.testing.assert_allclose(metrics.per_class_accuracy(MATRIX), [2 / 3, 1, np.nan, 0])
    assert metrics.mean_class_accuracy(MATRIX) == pytest.approx((2 / 3 + 1 + 0) / 3)


def test_macro_f1():
    # F1 = 2 TP / (2 TP + FP + FN): class 0: 4 / (4 + 2 + 1), class 1: 2 / (2 + 1 + 0), class 3: 0; class 2 never occurs.
    assert metrics.macro_f1(MATRIX) == pytest.approx((4 / 7 + 2 / 3 + 0) / 3)


def test_no_clips_give_no_numbers():
    empty = np.zeros((2, 2), int)
    assert all(np.isnan(f(empty)) for f in (metrics.accuracy, metrics.mean_class_accuracy, metrics.macro_f1))


@pytest.mark.parametrize(("labels", "predictions"), [([0, 4], [0, 0]), ([0, 0], [0, -1])])
def test_an_index_that_is_no_class(labels, predictions):
    with pytest.raises(ConfigError, match=r"is no class .*expected 0..3"):
        metrics.confusion_matrix(np.array(labels), np.array(predictions), 4)


def test_arrays_of_different_length():
    with pytest.raises(ConfigError, match="one prediction per label"):
        metrics.confusion_matrix(np.array([0]), np.array([0, 1]), 2)
