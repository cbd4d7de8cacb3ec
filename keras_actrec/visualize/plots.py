"""Confusion matrices and training curves as PNG."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from keras_actrec.errors import ConfigError
from keras_actrec.files import whole_file

COUNTED_CLASSES = 20
"""Up to so many classes every cell that is not empty holds its percentage; beyond, those of at least 5 %."""


def confusion_matrix_png(matrix: np.ndarray, class_names: Sequence[str], path: str | Path, *, title: str = "") -> None:
    """Draws a confusion matrix: rows are true classes, columns predicted ones, colour is the share of the row's clips.

    Args:
        matrix: int (classes, classes), see `training.metrics.confusion_matrix`.
        class_names: names in its order.
        path: PNG file.
        title: above the picture.

    Raises:
        ConfigError: the names do not fit the matrix.
        DiskFullError: no space left.
    """
    matrix, classes = np.asarray(matrix), len(class_names)
    if matrix.shape != (classes, classes):
        raise ConfigError("the class names do not fit the matrix", found=f"{classes} names", expected=f"{matrix.shape} matrix")
    clips = matrix.sum(axis=1, keepdims=True)
    shares = matrix / np.maximum(clips, 1)
    side = max(5.0, 0.24 * classes + 3.5) if classes > COUNTED_CLASSES else max(5.0, 0.55 * classes + 2.5)
    figure = _figure(side, side)
    axes = figure.add_subplot()
    image = axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    size = 7 if classes > COUNTED_CLASSES else 9
    axes.set_xticks(range(classes), class_names, rotation=90, fontsize=size)
    axes.set_yticks(range(classes), [f"{n} ({c})" for n, c in zip(class_names, clips[:, 0], strict=True)], fontsize=size)
    axes.set_xlabel("predicted class")
    axes.set_ylabel("true class (clips)")
    axes.set_title(title)
    axes.set_xticks(np.arange(classes - 1) + 0.5, minor=True)
    axes.set_yticks(np.arange(classes - 1) + 0.5, minor=True)
    axes.grid(which="minor", color="0.9", linewidth=0.5)
    axes.tick_params(which="minor", length=0)
    many = classes > COUNTED_CLASSES
    for (row, column), share in np.ndenumerate(shares):
        if matrix[row, column] and (share >= 0.05 or not many):
            colour = "white" if share > 0.5 else "black"
            size = 6 if many else 8
            axes.text(column, row, f"{100 * share:.0f}", ha="center", va="center", fontsize=size, color=colour)
    bar = figure.colorbar(image, ax=axes, fraction=0.046, pad=0.03)
    bar.set_label("share of the true class's clips, % in the cells")
    _save(figure, path)


def curves_png(logs: Mapping[str, str | Path], path: str | Path) -> None:
    """Draws loss and accuracy over epochs, one row of panels per stage; the kept epoch is marked.

    Args:
        logs: stage name → its log.csv, with the columns epoch, loss, val_loss, accuracy, val_accuracy.
        path: PNG file.

    Raises:
        ConfigError: no logs, or a log that does not read or lacks a column.
        DiskFullError: no space left.
    """
    if not logs:
        raise ConfigError("no logs to draw", fix="give the log.csv of at least one stage")
    figure = _figure(9, 3.2 * len(logs))
    panels = figure.subplots(len(logs), 2, squeeze=False)
    for row, (stage, file) in zip(panels, logs.items(), strict=True):
        table = _read_log(file)
        best = table["epoch"][table["val_loss"].idxmin()]
        for axes, quantity in zip(row, ("loss", "accuracy"), strict=True):
            axes.plot(table["epoch"], table[quantity], marker=".", label="training")
            axes.plot(table["epoch"], table[f"val_{quantity}"], marker=".", label="held out")
            axes.axvline(best, color="gray", linewidth=1, linestyle=":", label=f"kept: epoch {best}")
            axes.set_title(f"{stage}: {quantity}", fontsize=10)
            axes.set_xlabel("epoch")
            axes.xaxis.set_major_locator(MaxNLocator(integer=True))
            axes.grid(alpha=0.3)
            axes.legend(fontsize=8)
        row[1].set_ylim(-0.02, 1.02)
    _save(figure, path)


def _read_log(file: str | Path) -> pd.DataFrame:
    needed = ("epoch", "loss", "val_loss", "accuracy", "val_accuracy")
    try:
        table = pd.read_csv(file)
    except (OSError, ValueError) as error:
        raise ConfigError("the training log does not read", file=file, found=error, fix="train the stage again") from error
    missing = [name for name in needed if name not in table]
    if missing or table.empty:
        raise ConfigError(
            "the training log has no rows or lacks columns",
            file=file,
            found=", ".join(table.columns),
            expected=", ".join(needed),
            fix="give the log.csv of a stage",
        )
    return table


def _figure(width: float, height: float) -> Figure:
    """A figure in inches that draws without a display and without pyplot's global state."""
    figure = Figure((width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def _save(figure: Figure, path: str | Path) -> None:
    with whole_file(path) as part:
        figure.savefig(part, format="png", dpi=120, bbox_inches="tight")
