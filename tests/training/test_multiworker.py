"""Training over several processes: two workers on this machine give what one process gives with the same global batch."""

from __future__ import annotations

import json
import re
import signal
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import tensorflow as tf

from keras_actrec.errors import ConfigError
from keras_actrec.pipelines.tf_data import evaluation_dataset, training_dataset
from keras_actrec.training.checkpoints import read_checkpoint
from keras_actrec.training.strategies import build_strategy
from tests.training.tiny import MemorySource
from tests.training.worker_run import main
from tests.two_workers import run

MODULE = "tests.training.worker_run"


def left(folder: Path, name: str) -> tuple[dict[str, np.ndarray], dict[str, list[dict]]]:
    """What a worker left: arrays, and rows of numbers."""
    with np.load(folder / f"{name}.npz") as file:
        return dict(file), json.loads((folder / f"{name}.json").read_text())


def same_rows(found: list[dict], expected: list[dict], tolerance: float) -> None:
    assert [list(row) for row in found] == [list(row) for row in expected]  # the columns and their order
    for row, wanted in zip(found, expected, strict=True):
        for name in set(wanted) - {"seconds"}:
            assert row[name] == pytest.approx(wanted[name], abs=tolerance), name


@pytest.fixture(scope="module")
def one_process(tmp_path_factory):
    folder = tmp_path_factory.mktemp("one")
    main("none", folder, "whole")
    return left(folder, "whole-0")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Where two workers have trained."""
    folder = tmp_path_factory.mktemp("two")
    for status, text in run(MODULE, folder, "whole"):
        assert status == 0, text[-3000:]
    return folder


@pytest.mark.parametrize("worker", [0, 1])
def test_same_weights_and_numbers_as_one_process(one_process, folder, worker):
    arrays, rows = left(folder, f"whole-{worker}")
    for name in ("rgb", "glimpses", "early"):
        weights = [key for key in one_process[0] if key.startswith(name) and key[len(name) :].isdigit()]
        assert len(weights) >= 8
        for key in weights:
            np.testing.assert_allclose(arrays[key], one_process[0][key], rtol=0, atol=1e-5, err_msg=key)
        same_rows(rows[name], one_process[1][name], 1e-5)
    assert len({row["loss"] for row in rows["rgb"]}) == len(rows["rgb"]) >= 2
    assert len(rows["early"]) < 5


@pytest.mark.parametrize("worker", [0, 1])
def test_same_scores_as_one_process(one_process, folder, worker):
    arrays, _ = left(folder, f"whole-{worker}")
    for stream in ("pose", "rgb", "fused"):
        assert arrays[stream].shape == (5, 3)
        np.testing.assert_allclose(arrays[stream], one_process[0][stream], rtol=0, atol=1e-5)


def test_workers_end_with_equal_weights(folder):
    # To the bit, even those of batch normalisation, which each worker takes of its own rows.
    (one, _), (other, _) = left(folder, "whole-0"), left(folder, "whole-1")
    for key, array in one.items():
        np.testing.assert_array_equal(other[key], array, err_msg=key)


def test_the_chief_leaves_the_files_of_a_stage(folder):
    files = {path.name for path in (folder / "rgb" / "rgb").iterdir()}
    assert files == {"log.csv", "model.weights.h5", "finished.json", "tensorboard"}
    table = pd.read_csv(folder / "rgb" / "rgb" / "log.csv")
    assert list(table["val_loss"]) == pytest.approx([row["val_loss"] for row in left(folder, "whole-1")[1]["rgb"]])
    assert len(list((folder / "rgb" / "rgb" / "tensorboard").rglob("events.out.tfevents.*"))) == 2  # train, validation


def test_workers_with_different_settings_are_refused(folder):
    for worker in range(2):
        _, said = left(folder, f"whole-{worker}")
        assert re.match(r"worker 1 \(127.0.0.1:\d+\): .*different settings: batch_size .*same command", said["settings"])
        assert "batch size 9" in said["odd"] and "a multiple of 2" in said["odd"]
    assert not (folder / "settings").exists() and not (folder / "odd").exists()


@pytest.mark.parametrize(
    "mode", ["die", pytest.param("fail", marks=pytest.mark.slow), pytest.param("freeze", marks=pytest.mark.slow)]
)
def test_a_worker_that_stops_ends_the_job_which_goes_on_where_it_was(folder, tmp_path, mode):
    (status, text), (other, reason) = run(MODULE, tmp_path, mode, stands_still=mode == "freeze")
    assert status == 1 and other == (1 if mode == "fail" else -signal.SIGKILL)
    assert re.search(r"TrainingError: worker 1 \(127.0.0.1:\d+\) stopped: .*start all workers again.*--resume", text)
    assert mode != "fail" or "CacheError: poses-00001.h5: the shard is damaged" in reason
    assert read_checkpoint(tmp_path / "stopped" / "rgb" / "checkpoint.npys").progress.epochs == 2
    for status, text in run(MODULE, tmp_path, "resume"):
        assert status == 0, text[-3000:]
    for worker in range(2):
        whole, resumed = left(folder, f"whole-{worker}"), left(tmp_path, f"resume-{worker}")
        for name in ("stopped", "again"):  # the finished stage is read by the chief alone, too
            same_rows(resumed[1][name], whole[1]["random"], 1e-6)
            weights = {key.replace("random", name): array for key, array in whole[0].items() if key.startswith("random")}
            assert len(weights) == 13
            for key, array in weights.items():
                np.testing.assert_allclose(resumed[0][key], array, rtol=0, atol=1e-6, err_msg=key)


@pytest.mark.parametrize(
    ("config", "words"),
    [
        (None, "found nothing"),
        ("{", "JSONDecodeError"),
        ({"cluster": {"chief": ["a:1"], "worker": ["b:1"]}, "task": {"type": "worker", "index": 0}}, "ValueError"),
        ({"cluster": {"worker": ["a:1", "b:1"]}, "task": {"type": "worker", "index": 2}}, "index 2 of 2 workers"),
        ({"cluster": {"worker": ["a:1", "b:1"]}, "task": {"type": "evaluator", "index": 0}}, 'one job, "worker"'),
        ({"cluster": {"worker": ["a:1", "a:1"]}, "task": {"type": "worker", "index": 0}}, "different addresses"),
        ({"cluster": {"worker": ["a:1", "b"]}, "task": {"type": "worker", "index": 0}}, "IndexError"),
        ({"cluster": {"worker": ["a:1", "b:0"]}, "task": {"type": "worker", "index": 0}}, "port of b:0"),
    ],
)
def test_workers_need_the_addresses_of_all(monkeypatch, config, words):
    if config is None:
        monkeypatch.delenv("TF_CONFIG", raising=False)
    else:
        monkeypatch.setenv("TF_CONFIG", config if isinstance(config, str) else json.dumps(config))
    with pytest.raises(ConfigError, match=r"addresses of all workers .*TF_CONFIG .*HOST:PORT") as caught:
        build_strategy("multiworker")
    assert words in str(caught.value)


def test_workers_are_connected_before_anything_else(monkeypatch):
    tf.constant(1.0)  # TensorFlow runs now
    config = {"cluster": {"worker": ["127.0.0.1:1", "127.0.0.1:2"]}, "task": {"type": "worker", "index": 0}}
    monkeypatch.setenv("TF_CONFIG", json.dumps(config))
    with pytest.raises(ConfigError, match=r"already running .*before anything else"):
        build_strategy("multiworker")


def test_every_worker_loads_its_rows_of_the_batches_of_one_process():
    source, clips = MemorySource(), MemorySource().clip_ids[:10]
    whole = list(training_dataset(source, clips, batch_size=4, seed=1, epochs=2))
    shares = [list(training_dataset(source, clips, batch_size=4, seed=1, epochs=2, worker=(index, 2))) for index in range(2)]
    assert len(whole) == 6
    for (inputs, labels), *parts in zip(whole, *shares, strict=True):
        np.testing.assert_array_equal(np.concatenate([part[1] for part in parts]), labels)
        for name, array in inputs.items():
            np.testing.assert_array_equal(np.concatenate([part[0][name] for part in parts]), array)
    # 5 held-out clips in batches of 4: of the last batch the second worker has nothing but padding.
    whole = list(evaluation_dataset(source, clips[:5], clips_per_batch=4))
    shares = [list(evaluation_dataset(source, clips[:5], clips_per_batch=4, worker=(index, 2))) for index in range(2)]
    for (inputs, labels, weights), *parts in zip(whole, *shares, strict=True):
        np.testing.assert_array_equal(np.concatenate([part[1] for part in parts]), labels)
        np.testing.assert_array_equal(np.concatenate([part[2] for part in parts]), weights)
        real = weights.numpy() > 0
        for name, array in inputs.items():
            np.testing.assert_array_equal(np.concatenate([part[0][name] for part in parts])[real], array.numpy()[real])
    assert not shares[1][1][2].numpy().any()


def test_a_batch_that_does_not_divide_among_the_workers():
    with pytest.raises(ConfigError, match=r"workers .*found 5, expected a multiple of 2"):
        training_dataset(MemorySource(), ["c00"], batch_size=5, seed=1, epochs=1, worker=(0, 2))
