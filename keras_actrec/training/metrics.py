"""Numbers from predictions: confusion matrix, accuracy per class, mean class accuracy, macro F1."""

from __future__ import annotations

import numpy as np

from keras_actrec.errors import ConfigError


def confusion_matrix(labels: np.ndarray, predictions: np.ndarray, classes: int) -> np.ndarray:
    """Counts clips: entry [i, j] is the number of clips of class i that were taken for class j.

    Args:
        labels, predictions: int (clips,), class indices.
        classes: number of classes.

    Returns:
        int64 (classes, classes).

    Raises:
        ConfigError: arrays of different length, or an index that is no class.
    """
    labels, predictions = np.asarray(labels), np.asarray(predictions)
    if labels.shape != predictions.shape:
        raise ConfigError("one prediction per label is needed", found=predictions.shape, expected=labels.shape)
    for name, values in (("label", labels), ("prediction", predictions)):
        if len(values) and (values.min() < 0 or values.max() >= classes):
            wrong = values[(values < 0) | (values >= classes)][0]
            raise ConfigError(f"a {name} is no class", found=int(wrong), expected=f"0..{classes - 1}")
    return np.bincount(labels * classes + predictions, minlength=classes * classes).reshape(classes, classes)


def accuracy(matrix: np.ndarray) -> float:
    """Top-1 accuracy: the share of clips on the diagonal; NaN without clips."""
    return _ratio(np.trace(matrix), matrix.sum())


def per_class_accuracy(matrix: np.ndarray) -> np.ndarray:
    """Share of each class's clips that were recognised (recall); NaN for classes without clips. float64 (classes,)."""
    return np.array([_ratio(matrix[i, i], matrix[i].sum()) for i in range(len(matrix))])


def mean_class_accuracy(matrix: np.ndarray) -> float:
    """Mean of `per_class_accuracy` over the classes that have clips; NaN without clips."""
    values = per_class_accuracy(matrix)
    values = values[~np.isnan(values)]
    return float(values.mean()) if len(values) else float("nan")


def macro_f1(matrix: np.ndarray) -> float:
    """Mean F1 = 2 TP / (2 TP + FP + FN) over the classes that have clips or were predicted (as scikit-learn counts them)."""
    hits = np.diag(matrix)
    seen = matrix.sum(axis=0) + matrix.sum(axis=1)  # 2 TP + FP + FN
    values = 2 * hits[seen > 0] / seen[seen > 0]
    return float(values.mean()) if len(values) else float("nan")


def _ratio(part, whole) -> float:
    return float(part / whole) if whole else float("nan")
