"""Weights and training state on disk: whole files, no pickle, and clear words where they do not fit."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from math import isfinite, prod
from pathlib import Path

import h5py
import keras
import numpy as np
import tensorflow as tf

from keras_actrec.errors import ConfigError, WeightsError
from keras_actrec.files import whole_file

SCHEMA = 1
ON_FULL_DISK = "free some space and run the same command with --resume: without it the stage would start anew"
_VARIABLES = "keras_actrec_variables"


@dataclass(frozen=True)
class Progress:
    """How far a stage is.

    Attributes:
        epochs: finished epochs.
        best_epoch: epoch of the lowest validation loss, counted from 1; 0 before the first.
        best_loss: that loss.
        wait: epochs since then.
        history: one row of numbers per finished epoch, "epoch" (from 1) first.
    """

    epochs: int = 0
    best_epoch: int = 0
    best_loss: float = float("inf")
    wait: int = 0
    history: tuple[dict[str, float], ...] = ()

    def after(self, logs: dict[str, float]) -> Progress:
        """The progress after one more epoch with these numbers, "val_loss" among them.

        Raises:
            ConfigError: the loss or the validation loss is not a finite number.
        """
        epoch = self.epochs + 1
        for name in ("loss", "val_loss"):
            if not isfinite(logs[name]):
                raise ConfigError(
                    f"training has diverged: {name} of epoch {epoch} is no number",
                    found=logs[name],
                    fix="lower the learning rate, or check the caches with the verify command",
                )
        history = (*self.history, {"epoch": epoch, **{name: float(value) for name, value in logs.items()}})
        if logs["val_loss"] < self.best_loss:
            return Progress(epoch, epoch, float(logs["val_loss"]), 0, history)
        return Progress(epoch, self.best_epoch, self.best_loss, self.wait + 1, history)

    @classmethod
    def from_json(cls, values: dict) -> Progress:
        """Reads what `dataclasses.asdict` gave."""
        return cls(**{**values, "history": tuple(values["history"])})


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """Everything that the next epoch depends on.

    Attributes:
        run: what the stage was started with; a checkpoint of another run is refused.
        progress: epochs, early stopping, history.
        weights: arrays of the model's weights.
        optimizer: arrays of the optimizer's variables.
        seeds: states of the seed generators (dropout).
        best: weights of the trained stream at the best epoch; empty where that is the last one, whose weights are in `weights`.
    """

    run: dict[str, object]
    progress: Progress
    weights: Sequence[np.ndarray]
    optimizer: Sequence[np.ndarray]
    seeds: Sequence[np.ndarray]
    best: Sequence[np.ndarray]


_GROUPS = ("weights", "optimizer", "seeds", "best")


def save_checkpoint(path: str | Path, checkpoint: Checkpoint) -> None:
    """Writes one file: weights, optimizer, seeds and counters can never be of different epochs.

    The file is a row of `.npy` arrays: first a JSON text, then the arrays of `_GROUPS`. A zip (`.npz`) would add a checksum
    that takes longer than the writing, and HDF5 fails badly on a full disk.

    Raises:
        DiskFullError: no space left; an earlier checkpoint of that name stays.
    """
    groups = {name: getattr(checkpoint, name) for name in _GROUPS}
    state = {
        "schema": SCHEMA,
        "run": checkpoint.run,
        "progress": asdict(checkpoint.progress),
        "arrays": {name: len(arrays) for name, arrays in groups.items()},
    }
    with whole_file(path, fix=ON_FULL_DISK) as part, part.open("wb") as file:
        np.save(file, np.frombuffer(json.dumps(state).encode(), np.uint8))
        for arrays in groups.values():
            for array in arrays:
                np.save(file, array, allow_pickle=False)


def read_checkpoint(path: str | Path) -> Checkpoint:
    """Reads a file that `save_checkpoint` wrote.

    Raises:
        WeightsError: the file is damaged, no checkpoint, or of another schema.
    """
    try:
        with Path(path).open("rb") as file:
            state = json.loads(np.load(file, allow_pickle=False).tobytes())
            if state["schema"] != SCHEMA:
                raise ValueError(f"schema {state['schema']} instead of {SCHEMA}: written by another version of this package")
            groups = {name: [np.load(file, allow_pickle=False) for _ in range(state["arrays"][name])] for name in _GROUPS}
        return Checkpoint(run=state["run"], progress=Progress.from_json(state["progress"]), **groups)
    except (OSError, EOFError, ValueError, KeyError, TypeError, AttributeError, zipfile.BadZipFile) as error:
        raise WeightsError(
            "cannot be read as a checkpoint", file=path, found=error, fix="delete it, or train without --resume"
        ) from error


def check_same_run(found: dict[str, object], expected: dict[str, object], file: str | Path) -> None:
    """Refuses to go on with a stage that was started with something else.

    Raises:
        ConfigError: names the fields that differ.
    """
    differing = sorted(name for name in found.keys() | expected.keys() if found.get(name) != expected.get(name))
    if differing:
        raise ConfigError(
            f"the stage was started with other settings: {', '.join(differing)}",
            file=file,
            found={name: found.get(name) for name in differing},
            expected={name: expected.get(name) for name in differing},
            fix="go on with the settings of the first run, or train without --resume or in another --workdir",
        )


def arrays_of(variables: Sequence[keras.Variable]) -> list[np.ndarray]:
    """Copies the values of variables."""
    return [keras.ops.convert_to_numpy(keras.ops.convert_to_tensor(variable)) for variable in variables]


def assign(variables: Sequence[keras.Variable], arrays: Sequence[np.ndarray], file: str | Path) -> None:
    """Gives variables the values that a file holds.

    Raises:
        WeightsError: another number of arrays, or another shape; then no variable is changed.
    """
    found = [(None, array.shape) for array in arrays]
    _check_fit(found, [(variable.path, tuple(variable.shape)) for variable in variables], file)
    for variable, array in zip(variables, arrays, strict=True):
        variable.assign(array)


def save_weights(model: keras.Model, path: str | Path) -> None:
    """Writes a Keras `.weights.h5` file, with the variables' paths and shapes as an attribute for `load_weights`.

    Raises:
        DiskFullError: no space left; an earlier file of that name stays.
    """
    listed = json.dumps([(weight.path, tuple(weight.shape)) for weight in model.weights])
    size = sum(prod(weight.shape) * tf.as_dtype(weight.dtype).size for weight in model.weights)
    with whole_file(path, ending=".weights.h5", size=size, fix=ON_FULL_DISK) as part:
        model.save_weights(part)
        with h5py.File(part, "a") as file:
            # A dataset, as an attribute holds no more than 64 kB.
            file.create_dataset(_VARIABLES, data=np.frombuffer(listed.encode(), np.uint8))


def load_weights(model: keras.Model, path: str | Path) -> None:
    """Loads a `.weights.h5` file into a model.

    Raises:
        WeightsError: the file is missing, damaged, or made for another network (as one with another number of classes).
    """
    try:
        with h5py.File(path, "r") as file:
            listed = json.loads(file[_VARIABLES][()].tobytes()) if _VARIABLES in file else None
    except OSError as error:
        raise WeightsError(
            "the weights cannot be read", file=path, found=error, fix="check the path, or train again"
        ) from error
    if listed is not None:
        expected = [(weight.path, tuple(weight.shape)) for weight in model.weights]
        _check_fit([(name, tuple(shape)) for name, shape in listed], expected, path)
    try:
        model.load_weights(path)
    except (ValueError, KeyError) as error:  # weights saved by other means than save_weights
        reason = " ".join(str(error).split("Target variable:")[0].split())  # behind it Keras prints the values of the weights
        raise WeightsError("the weights do not fit the model", file=path, found=reason, fix=_FIX) from error


_FIX = "build the model with the classes and the preset that the weights were trained with, or train from the start"


def _check_fit(found: Sequence[tuple[str | None, tuple]], expected: Sequence[tuple[str, tuple]], file: str | Path) -> None:
    for (_, shape), (name, wanted) in zip(found, expected, strict=False):
        if tuple(shape) != tuple(wanted):
            raise WeightsError(
                "the weights do not fit the model", file=file, place=name, found=f"shape {tuple(shape)}",
                expected=f"shape {tuple(wanted)}", fix=_FIX,
            )  # fmt: skip
    if len(found) != len(expected):
        raise WeightsError(
            "the weights do not fit the model", file=file, found=f"{len(found)} variables",
            expected=f"{len(expected)} variables", fix=_FIX,
        )  # fmt: skip
