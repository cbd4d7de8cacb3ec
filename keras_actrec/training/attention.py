"""What the networks attended to in the test: a few numbers of each test row, their mean by clip and by class, their file."""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np
from keras import ops

from keras_actrec.errors import ConfigError, WeightsError
from keras_actrec.files import whole_file

GLIMPSE_GRID = 12
"""Cells on each side of the map that the middles of glimpses are counted on."""
_CLIPS = "clips"


@dataclass(frozen=True, eq=False)
class ClassAttention:
    """Mean attention over the test clips of each class.

    Attributes:
        clips: int64 (classes,): test clips of each class.
        values: name → float32 (classes, …), NaN for classes without clips. Names are those of `attention_summaries`; of several
            networks STREAM.NAME.

    Raises:
        ConfigError: an array without a row per class.
    """

    clips: np.ndarray
    values: Mapping[str, np.ndarray]

    def __post_init__(self):
        for name, array in self.values.items():
            if array.ndim < 2 or len(array) != len(self.clips):
                found = f"{name} of shape {array.shape}"
                raise ConfigError("attention without a row per class", found=found, expected=f"({len(self.clips)}, …)")


def attention_summaries(model: keras.Model) -> dict[str, keras.KerasTensor]:
    """What a network's attention comes to for a test row, small enough to be kept for every row of a large data set.

    Args:
        model: a network of this package with a dict of outputs; it is known by its name.

    Returns:
        Name → float32 tensor (B, …) on the inputs of the model; empty for other models and for variants without attention.
            sta_hands: hands (T, N), the share of each hand at each step; time (T,), the weight of each step.
            vpn: time (t_c,), A_T; places (m, n), A_S.
            glimpse_clouds: places (12, 12), the share of the glimpses whose middle is in each cell of the picture, counted in
                proportion between the cells nearest to it; workers (C, G), the share of the g-th glimpse in what each
                worker takes in.
            rpan: places (K1, K2), the mean map of all joints and steps; joints (J,), the highest share of a single place
                in each joint's map, mean over steps: 1 / (K1 K2) for a map without any preference, 1 for a single place.
    """
    outputs = model.output if isinstance(model.output, dict) else {}
    wanted = _SUMMARIES.get(model.name, {})
    return {
        name: _Summary(make, name=f"summary_of_{name}")(outputs[output])
        for name, (output, make) in wanted.items() if output in outputs
    }  # fmt: skip


class _Summary(keras.layers.Layer):
    """One function of one output. As a layer its steps have no names in the model, where "clip" may be an input's."""

    def __init__(self, make: Callable, *, name: str):
        super().__init__(name=name, dtype="float32")
        self._make = make

    def call(self, output):
        return self._make(output)


def _as_it_is(attention):
    return attention


def _glimpse_places(glimpses):
    """(B, T, G, 4), x and y in [-1, 1] first → (B, rows, columns), 1 in sum."""
    cells = ops.clip((glimpses[..., :2] + 1.0) * (GLIMPSE_GRID / 2) - 0.5, 0.0, GLIMPSE_GRID - 1.0)
    shares = ops.relu(1.0 - ops.abs(cells[..., None] - np.arange(GLIMPSE_GRID, dtype=np.float32)))  # (B, T, G, 2, cells)
    steps, count = glimpses.shape[1:3]
    return ops.einsum("btgi,btgj->bij", shares[..., 1, :], shares[..., 0, :]) / (steps * count)


_SUMMARIES = {
    "sta_hands": {
        "hands": ("spatial_attention", _as_it_is),
        "time": ("temporal_attention", _as_it_is),
    },
    "vpn": {
        "time": ("temporal_attention", _as_it_is),
        "places": ("spatial_attention", _as_it_is),
    },
    "glimpse_clouds": {
        "places": ("glimpses", _glimpse_places),
        "workers": ("assignment", lambda assignment: ops.mean(assignment, axis=1)),
    },
    "rpan": {
        "places": ("attention", lambda maps: ops.mean(maps, axis=(1, 2))),
        "joints": ("attention", lambda maps: ops.mean(ops.max(maps, axis=(3, 4)), axis=1)),
    },
}
"""Name of the model → name of the summary → the output that it is of, and how it is made."""


def attention_by_class(attention: Mapping[str, np.ndarray], labels: np.ndarray, classes: int) -> ClassAttention:
    """The mean over the clips of each class.

    Args:
        attention: name → (n, …), one row per clip: `Evaluation.attention`.
        labels: int (n,).
        classes: number of classes.

    Raises:
        ConfigError: an array without a row per clip.
    """
    clips = np.bincount(labels, minlength=classes)
    values = {}
    for name, rows in attention.items():
        if len(rows) != len(labels):
            raise ConfigError("attention without a row per clip", found=f"{name}: {len(rows)}", expected=len(labels))
        sums = np.zeros((classes, *rows.shape[1:]))
        np.add.at(sums, labels, rows)
        values[name] = _divided(sums, clips)
    return ClassAttention(clips, values)


def joined(parts: Sequence[ClassAttention]) -> ClassAttention:
    """The mean over the clips of several tests, as of folds. What not all of them have in the same shape is left out.

    Raises:
        ConfigError: nothing to join, or tests of other numbers of classes.
    """
    if len({len(part.clips) for part in parts}) != 1:
        found = [len(part.clips) for part in parts]
        raise ConfigError("attention of different classes cannot be joined", found=found, expected="one number of classes")
    first, clips = parts[0], np.sum([part.clips for part in parts], axis=0)
    values = {}
    for name, array in first.values.items():
        same = [part.values[name] for part in parts if name in part.values and part.values[name].shape == array.shape]
        if len(same) == len(parts):
            weights = [_beside(part.clips, array) for part in parts]
            values[name] = _divided(sum(np.nan_to_num(one) * w for one, w in zip(same, weights, strict=True)), clips)
    return ClassAttention(clips, values)


def _beside(clips: np.ndarray, array: np.ndarray) -> np.ndarray:
    return clips.reshape(-1, *(1,) * (array.ndim - 1))


def _divided(sums: np.ndarray, clips: np.ndarray) -> np.ndarray:
    counts = _beside(clips, sums)
    return np.where(counts > 0, sums / np.maximum(counts, 1), np.nan).astype(np.float32)


def save_attention(path: str | Path, attention: ClassAttention) -> None:
    """Writes `.npz` without pickle: clips, and an array for each name.

    Raises:
        DiskFullError: no space left.
    """
    with whole_file(path) as part, part.open("wb") as file:
        np.savez_compressed(file, **{_CLIPS: attention.clips}, **attention.values)


def load_attention(path: str | Path) -> ClassAttention:
    """Reads a file that `save_attention` wrote.

    Raises:
        WeightsError: the file is damaged or holds no attention.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            return ClassAttention(file[_CLIPS], {name: file[name] for name in file.files if name != _CLIPS})
    except (OSError, ValueError, KeyError, zipfile.BadZipFile, ConfigError) as error:
        raise WeightsError("cannot be read as attention", file=path, found=error, fix="run the test again") from error
