"""Weight files: what fits, what does not, and what is said then."""

from __future__ import annotations

import errno
import os
import shutil

import numpy as np
import pytest

from keras_actrec.errors import DiskFullError, WeightsError
from keras_actrec.files import whole_file
from keras_actrec.training.checkpoints import arrays_of, load_weights, save_weights
from tests.training.tiny import tiny_model


def test_weights_survive_a_file(tmp_path):
    first, other = tiny_model(seed=1)[0], tiny_model(seed=2)[0]
    save_weights(first, tmp_path / "model.weights.h5")
    load_weights(other, tmp_path / "model.weights.h5")
    for a, b in zip(arrays_of(first.weights), arrays_of(other.weights), strict=True):
        np.testing.assert_array_equal(a, b)
    assert [path.name for path in tmp_path.iterdir()] == ["model.weights.h5"]


def test_the_file_is_an_ordinary_keras_file(tmp_path):
    first, other = tiny_model(seed=1)[0], tiny_model(seed=2)[0]
    save_weights(first, tmp_path / "model.weights.h5")
    other.load_weights(tmp_path / "model.weights.h5")
    np.testing.assert_array_equal(arrays_of(other.weights)[0], arrays_of(first.weights)[0])


@pytest.mark.parametrize("by_keras", [False, True])
def test_another_class_count_names_file_values_and_way_out(tmp_path, by_keras):
    model = tiny_model(classes=60)[0]
    path = tmp_path / "model.weights.h5"
    model.save_weights(path) if by_keras else save_weights(model, path)
    with pytest.raises(WeightsError, match=r"model.weights.h5.*do not fit the model.*60.*Build the model with the classes"):
        load_weights(tiny_model(classes=9)[0], path)


def test_missing_and_damaged_files(tmp_path):
    model = tiny_model()[0]
    with pytest.raises(WeightsError, match=r"none.weights.h5: the weights cannot be read"):
        load_weights(model, tmp_path / "none.weights.h5")
    save_weights(model, tmp_path / "cut.weights.h5")
    content = (tmp_path / "cut.weights.h5").read_bytes()
    (tmp_path / "cut.weights.h5").write_bytes(content[: len(content) // 2])
    with pytest.raises(WeightsError, match=r"cut.weights.h5"):
        load_weights(model, tmp_path / "cut.weights.h5")


def test_a_full_disk_is_noticed_before_hdf5_starts(tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(100, 100, 0))
    with pytest.raises(DiskFullError, match=r"model.weights.h5: no space left .*Free some space"):
        save_weights(tiny_model()[0], tmp_path / "model.weights.h5")
    assert not list(tmp_path.iterdir())


def test_a_quota_is_noticed_before_hdf5_starts(tmp_path, full_disk):
    # HDF5 crashes the interpreter where it cannot flush a file, and Keras raises a NameError.
    with (
        full_disk(200),
        pytest.raises(DiskFullError, match=r"weights.h5: no space left .*too large.*Free some space"),
    ):
        save_weights(tiny_model()[0], tmp_path / "model.weights.h5")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("error", "raised"),
    [
        (OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)), DiskFullError),
        (PermissionError("no"), PermissionError),
        (KeyboardInterrupt(), KeyboardInterrupt),
    ],
)
def test_a_failed_write_leaves_the_old_file_and_no_other(tmp_path, error, raised):
    path = tmp_path / "result.txt"
    path.write_text("old")
    with pytest.raises(raised), whole_file(path) as part:
        part.write_text("half")
        raise error
    assert path.read_text() == "old" and list(tmp_path.iterdir()) == [path]
