"""Loading an export as a program: what serves, converts or runs it asks here."""

from __future__ import annotations

from pathlib import Path

import tensorflow as tf

from keras_actrec.errors import WeightsError
from keras_actrec.export.saved_model import read_description


def load_export(directory: str | Path):
    """Loads the SavedModel of an export; its functions are under `signatures` and live as long as what is returned.

    A SavedModel is a program: load only what you trust.

    Raises:
        WeightsError: the directory is no export of this package, or its SavedModel is damaged.
    """
    read_description(directory)
    try:
        return tf.saved_model.load(str(directory))
    except (OSError, ValueError, tf.errors.OpError) as error:
        raise WeightsError(
            "the exported model does not load", file=directory, found=(str(error).splitlines() or [type(error).__name__])[0],
            fix="export again, or give the directory that an experiment wrote as WORKDIR/export",
        ) from error  # fmt: skip
