"""Pictures of results: written whole, of a sensible size, and refused for what does not fit."""

from __future__ import annotations

import cv2
import numpy as np
import pandas as pd
import pytest

from keras_actrec.errors import ConfigError
from keras_actrec.visualize.plots import confusion_matrix_png, curves_png


def read(path) -> np.ndarray:
    picture = cv2.imread(str(path))
    assert picture is not None
    return picture


@pytest.mark.parametrize(("classes", "least"), [(9, 500), (60, 1400)])
def test_confusion_matrix_has_room_for_its_names(tmp_path, classes, least):
    matrix = np.diag(np.arange(classes))  # class 0 without clips
    confusion_matrix_png(matrix, [f"class {i}" for i in range(classes)], tmp_path / "confusion.png", title="fused")
    picture = read(tmp_path / "confusion.png")
    assert min(picture.shape[:2]) >= least
    assert [path.name for path in tmp_path.iterdir()] == ["confusion.png"]


def test_colour_is_the_share_of_the_row(tmp_path):
    # All clips of either class taken for class 1: the right column is dark, whatever the counts; the left one is white.
    confusion_matrix_png(np.array([[0, 2], [0, 200]]), ["a", "b"], tmp_path / "confusion.png")
    dark = (read(tmp_path / "confusion.png") == np.array([107, 48, 8])).all(axis=2)  # end of the colour map "Blues", BGR
    columns = np.flatnonzero(dark.sum(axis=0) > 100)
    assert dark[:, columns[0] + 20].sum() > 2 * 100  # both rows, top to bottom


def test_class_names_have_to_fit(tmp_path):
    with pytest.raises(ConfigError, match="class names do not fit"):
        confusion_matrix_png(np.zeros((2, 2)), ["a"], tmp_path / "confusion.png")
    assert not list(tmp_path.iterdir())


def log(path, **columns):
    table = {"epoch": [1, 2], "loss": [2.0, 1.0], "val_loss": [2.0, 3.0], "accuracy": [0.1, 0.9], "val_accuracy": [0.1, 0.2]}
    pd.DataFrame({**table, **columns}).to_csv(path, index=False)
    return path


def test_curves_have_a_row_per_stage(tmp_path):
    one, two = log(tmp_path / "pose.csv"), log(tmp_path / "rgb.csv")
    curves_png({"pose": one}, tmp_path / "one.png")
    curves_png({"pose": one, "rgb": two}, tmp_path / "two.png")
    heights = [read(tmp_path / name).shape[0] for name in ("one.png", "two.png")]
    assert 1.8 < heights[1] / heights[0] < 2.2


def test_logs_that_do_not_read(tmp_path):
    pd.DataFrame({"epoch": [1], "loss": [1.0]}).to_csv(tmp_path / "short.csv", index=False)
    (tmp_path / "empty.csv").write_text("")
    with pytest.raises(ConfigError, match=r"short.csv: .*lacks columns .*val_loss"):
        curves_png({"pose": tmp_path / "short.csv"}, tmp_path / "curves.png")
    for name in ("empty.csv", "none.csv"):
        with pytest.raises(ConfigError, match=rf"{name}: the training log does not read .*again"):
            curves_png({"pose": tmp_path / name}, tmp_path / "curves.png")
    with pytest.raises(ConfigError, match="no logs"):
        curves_png({}, tmp_path / "curves.png")
    assert not (tmp_path / "curves.png").exists()
