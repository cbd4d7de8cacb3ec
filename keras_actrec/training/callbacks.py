"""What happens after each epoch: early stopping, the CSV log, and a checkpoint that a killed run goes on from."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

import keras
import numpy as np
import pandas as pd
import tensorflow as tf

from keras_actrec.files import whole_file
from keras_actrec.training.checkpoints import ON_FULL_DISK, Checkpoint, Progress, arrays_of, save_checkpoint


class StageCheckpoint(keras.callbacks.Callback):
    """Early stopping on the validation loss whose state survives a kill.

    Keras's own EarlyStopping forgets its counters and best weights when `fit` is called again, and its CSVLogger would write
    the epochs after the last checkpoint twice; here both follow from `Progress`, which is part of the checkpoint.

    Args:
        checkpoint: file to write after each epoch, but not more often than `seconds`.
        csv: table to write after each epoch.
        run: what the stage was started with, see `Checkpoint.run`.
        weights: weights of the whole model.
        seeds: states of the seed generators.
        patience: epochs without a lower validation loss after which training stops; None for never.
        keep_last: whether each epoch counts as the best so far.
        progress: where the stage stands.
        best: weights of the stream at the best epoch so far.
        seconds: fewest seconds between two checkpoints.
        names: number of an epoch as Keras calls it → name in the history; others keep theirs.
        writes: False for the workers whose chief writes the files.
    """

    def __init__(
        self,
        checkpoint: Path,
        csv: Path,
        run: dict[str, object],
        weights: Sequence[keras.Variable],
        seeds: Sequence[keras.Variable],
        *,
        patience: int | None,
        keep_last: bool = False,
        progress: Progress,
        best: Sequence[np.ndarray] = (),
        seconds: float = 0.0,
        names: Mapping[str, str] = MappingProxyType({}),
        writes: bool = True,
    ):
        super().__init__()
        self.progress, self.best = progress, best
        self._checkpoint, self._csv, self._run, self._patience = checkpoint, csv, run, patience
        self._weights, self._seeds, self._keep_last = weights, seeds, keep_last
        self._started, self._seconds, self._written = 0.0, seconds, time.monotonic()
        self._names, self._writes = names, writes

    @property
    def finished(self) -> bool:
        """Whether patience has run out."""
        return self._patience is not None and self.progress.wait >= self._patience

    @property
    def _is_best(self) -> bool:
        """Whether the last epoch is the one to keep."""
        return self._keep_last or self.progress.wait == 0

    def on_epoch_begin(self, epoch, logs=None):
        self._started = time.monotonic()

    def on_epoch_end(self, epoch, logs=None):
        numbers = {self._names.get(name, name): value for name, value in logs.items()}
        self.progress = self.progress.after({**numbers, "seconds": time.monotonic() - self._started})
        if self._is_best and self._writes:
            self.best = arrays_of(self.model.weights)
        if self._writes:
            write_history(self._csv, self.progress)
        if self._writes and time.monotonic() - self._written >= self._seconds:
            self._write()
            self._written = time.monotonic()
        if self.finished:
            self.model.stop_training = True

    def _write(self) -> None:
        save_checkpoint(
            self._checkpoint,
            Checkpoint(
                run=self._run,
                progress=self.progress,
                weights=arrays_of(self._weights),
                optimizer=arrays_of(self.model.optimizer.variables),
                seeds=arrays_of(self._seeds),
                best=() if self._is_best else self.best,
            ),
        )


class EveryBatch(keras.callbacks.Callback):
    """Refuses an epoch that saw fewer batches than it should.

    With several replicas, one may meet the loader's error and another the end of the data behind it; where the end comes
    first, Keras takes the epoch for a complete one. The exception is one of TensorFlow's, for which `LoaderErrors` puts the
    loader's own.

    Args:
        training, validation: batches of an epoch.
    """

    def __init__(self, *, training: int, validation: int):
        super().__init__()
        self._expected = {"training": training, "validation": validation}
        self._seen = dict.fromkeys(self._expected, 0)

    def on_epoch_begin(self, epoch, logs=None):
        self._seen = dict.fromkeys(self._expected, 0)

    def on_train_batch_end(self, batch, logs=None):
        self._seen["training"] += 1

    def on_test_batch_end(self, batch, logs=None):
        self._seen["validation"] += 1

    def on_epoch_end(self, epoch, logs=None):
        if self._seen != self._expected:
            message = f"epoch {epoch + 1} ended early: batches seen {self._seen}, expected {self._expected}"
            raise tf.errors.DataLossError(None, None, message)


def write_history(path: Path, progress: Progress) -> None:
    """Writes the table of epochs, one row each, as CSV."""
    with whole_file(path, fix=ON_FULL_DISK) as part:
        pd.DataFrame(list(progress.history)).to_csv(part, index=False)
