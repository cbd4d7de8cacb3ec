"""Training stages: early stopping, resuming after kills, frozen layers, refusals."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import keras
import numpy as np
import pandas as pd
import pytest
import tensorflow as tf

from keras_actrec.errors import CacheError, ConfigError, DiskFullError, WeightsError
from keras_actrec.pipelines.tf_data import LoaderErrors
from keras_actrec.training import checkpoints, stages
from keras_actrec.training.callbacks import EveryBatch
from keras_actrec.training.checkpoints import arrays_of
from keras_actrec.training.config import StageConfig
from keras_actrec.training.stages import run_stage
from keras_actrec.training.strategies import build_strategy
from tests.training.tiny import MemorySource, tiny_model

CONFIG = StageConfig("rgb", learning_rate=1e-2, batch_size=8, epochs=4, seed=5)
TRAIN, HELD_OUT = MemorySource().clip_ids[:30], MemorySource().clip_ids[30:35]


class Untouched(MemorySource):
    """A source that must not be asked for training batches."""

    def training_batch(self, clip_ids, uniforms):
        raise AssertionError("trained again")


def train(workdir: Path, *, source=None, config=CONFIG, resume=False, classes=3, held_out=HELD_OUT):
    """Trains the RGB stream of a fresh tiny model; weights after the stage, history."""
    model, _, stream = tiny_model(classes=classes)
    history = run_stage(model, stream, source or MemorySource(), TRAIN, held_out, config, workdir, resume=resume)
    return arrays_of(model.weights), history


def interrupt(workdir: Path):
    """Trains until a loader fails in the third epoch."""
    with pytest.raises(CacheError, match=r"poses-00001.h5: the shard is damaged"):
        failure = CacheError("the shard is damaged", file="poses-00001.h5")
        train(workdir, source=MemorySource(fail_at=(CONFIG.seed, 2, 1), failure=failure))


def without_seconds(history):
    return [{name: value for name, value in row.items() if name != "seconds"} for row in history.epochs]


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    """Weights and history of a run that nothing stopped."""
    return train(tmp_path_factory.mktemp("uninterrupted"))


def assert_same_end(found, expected):
    for weight, wanted in zip(found[0], expected[0], strict=True):
        np.testing.assert_allclose(weight, wanted, rtol=0, atol=1e-6)
    for row, wanted in zip(without_seconds(found[1]), without_seconds(expected[1]), strict=True):
        assert row == pytest.approx(wanted, abs=1e-6)


def test_training_lowers_the_loss_and_leaves_the_named_files(tmp_path):
    _, history = train(tmp_path)
    assert [row["epoch"] for row in history.epochs] == [1, 2, 3, 4]
    assert history.epochs[-1]["loss"] < history.epochs[0]["loss"]
    table = pd.read_csv(history.csv)
    assert list(table["epoch"]) == [1, 2, 3, 4]
    assert {"loss", "accuracy", "val_loss", "val_accuracy"} <= set(table.columns)
    files = {path.name for path in (tmp_path / "rgb").iterdir()} - {"tensorboard"}
    assert files == {"log.csv", "model.weights.h5", "finished.json"}


def test_validation_loss_is_the_mean_over_the_real_rows_of_a_padded_batch(tmp_path):
    # 5 clips with 2 rows each in batches of 4 clips: the second batch holds 1 clip and 3 of padding.
    model, _, stream = tiny_model()
    source = MemorySource()
    history = run_stage(model, stream, source, TRAIN, HELD_OUT, CONFIG, tmp_path)
    inputs, labels = source.test_batch(HELD_OUT)
    logits = np.array(stream(inputs, training=False), np.float64)
    losses = np.log(np.exp(logits).sum(axis=1)) - logits[np.arange(10), labels]
    kept = history.epochs[history.best_epoch - 1]
    assert kept["val_loss"] == pytest.approx(losses.mean(), rel=1e-5)
    assert kept["val_accuracy"] == pytest.approx((logits.argmax(axis=1) == labels).mean(), abs=1e-6)


def test_resumed_after_an_error_in_the_loader_ends_as_if_uninterrupted(tmp_path, uninterrupted):
    interrupt(tmp_path)
    assert checkpoints.read_checkpoint(tmp_path / "rgb" / "checkpoint.npys").progress.epochs == 2
    assert_same_end(train(tmp_path, resume=True), uninterrupted)


KILLED = """
import os, signal, sys
from tests.training.test_stages import MemorySource, train
kill = lambda: os.kill(os.getpid(), signal.SIGKILL)
train(sys.argv[1], source=MemorySource(fail_at=(5, 3, 1), failure=kill))
"""


def test_resumed_after_a_kill_ends_as_if_uninterrupted(tmp_path, uninterrupted):
    root = Path(__file__).resolve().parents[2]
    command = [sys.executable, "-c", KILLED, str(tmp_path)]
    killed = subprocess.run(command, cwd=root, env={**os.environ, "PYTHONPATH": str(root)}, capture_output=True, timeout=120)
    assert killed.returncode == -signal.SIGKILL, killed.stderr.decode()
    assert not (tmp_path / "rgb" / "finished.json").exists()
    assert_same_end(train(tmp_path, resume=True), uninterrupted)


def test_checkpoints_are_not_more_frequent_than_asked(tmp_path, uninterrupted):
    config = replace(CONFIG, checkpoint_seconds=1e6)
    with pytest.raises(CacheError):
        train(tmp_path, config=config, source=MemorySource(fail_at=(CONFIG.seed, 2, 1), failure=CacheError("no")))
    assert not (tmp_path / "rgb" / "checkpoint.npys").exists()
    assert_same_end(train(tmp_path, config=config, resume=True), uninterrupted)


def test_resumed_before_the_first_checkpoint_starts_anew(tmp_path, uninterrupted):
    with pytest.raises(CacheError):
        train(tmp_path, source=MemorySource(fail_at=(CONFIG.seed, 0, 2), failure=CacheError("no")))
    assert_same_end(train(tmp_path, resume=True), uninterrupted)


def test_killed_between_last_epoch_and_end_trains_no_more(tmp_path, uninterrupted, monkeypatch):
    def killed(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(stages, "save_weights", killed)
        with pytest.raises(KeyboardInterrupt):
            train(tmp_path)
    assert_same_end(train(tmp_path, source=Untouched(), resume=True), uninterrupted)


def test_killed_while_writing_a_checkpoint_goes_on_from_the_one_before(tmp_path, uninterrupted, monkeypatch):
    replace, written = os.replace, []

    def killed_in_epoch_3(part, path):
        written.append(str(path))
        if sum(name.endswith("checkpoint.npys") for name in written) == 3:
            raise KeyboardInterrupt
        replace(part, path)

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", killed_in_epoch_3)
        with pytest.raises(KeyboardInterrupt):
            train(tmp_path)
    assert checkpoints.read_checkpoint(tmp_path / "rgb" / "checkpoint.npys").progress.epochs == 2
    assert_same_end(train(tmp_path, resume=True), uninterrupted)


def test_a_finished_stage_is_skipped(tmp_path):
    first = train(tmp_path)
    again = train(tmp_path, source=Untouched(), resume=True)
    assert_same_end(again, first)


def test_without_resume_an_earlier_run_is_forgotten(tmp_path):
    train(tmp_path)
    _, history = train(tmp_path, config=StageConfig("rgb", batch_size=8, epochs=1))
    assert len(history.epochs) == 1


def test_early_stopping_keeps_the_best_weights(tmp_path):
    # A learning rate that overshoots: the loss on the held-out clips rises again.
    config = StageConfig("rgb", learning_rate=0.5, batch_size=8, epochs=30, patience=2)
    weights, history = train(tmp_path, config=config)
    losses = [row["val_loss"] for row in history.epochs]
    assert history.best_epoch == int(np.argmin(losses)) + 1
    assert len(losses) == history.best_epoch + 2 < 30
    model, _, stream = tiny_model()
    for weight, value in zip(model.weights, weights, strict=True):
        weight.assign(value)
    inputs, labels = MemorySource().test_batch(HELD_OUT)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)(labels, stream(inputs, training=False))
    assert float(loss) == pytest.approx(history.best_loss, rel=1e-5)


def test_progress_counts_epochs_without_a_lower_loss():
    progress = checkpoints.Progress()
    for loss in (3.0, 2.0, 2.0, 2.5):
        progress = progress.after({"loss": 1.0, "val_loss": loss})
    assert (progress.epochs, progress.best_epoch, progress.best_loss, progress.wait) == (4, 2, 2.0, 2)


def test_diverged_training_is_refused():
    with pytest.raises(ConfigError, match=r"val_loss of epoch 1 .*learning rate"):
        checkpoints.Progress().after({"loss": 1.0, "val_loss": float("nan")})


def test_frozen_pose_layers_stay_bit_identical(tmp_path):
    model, _, stream = tiny_model()
    frozen = [layer for layer in model.layers if layer.name.startswith("pose_")]
    for layer in frozen:
        layer.trainable = False
    weights = [weight for layer in frozen for weight in layer.weights]
    before, (kernel, *_) = arrays_of(weights), arrays_of(stream.get_layer("lstm").weights)
    run_stage(model, stream, MemorySource(), TRAIN, HELD_OUT, CONFIG, tmp_path)
    for weight, old in zip(arrays_of(weights), before, strict=True):
        np.testing.assert_array_equal(weight, old)
    assert not np.array_equal(arrays_of(stream.get_layer("lstm").weights)[0], kernel)


def test_pose_stage_asks_for_no_hands(tmp_path):
    class NoHands(MemorySource):
        def _rows(self, clip_ids, uniforms):
            assert self.inputs == ("pose",)
            return super()._rows(clip_ids, uniforms)

    model, stream, _ = tiny_model()
    run_stage(model, stream, NoHands(), TRAIN, HELD_OUT, StageConfig("pose", batch_size=8, epochs=1), tmp_path)


def test_weight_decay_is_decoupled(tmp_path):
    # The hands are 0, so the kernel of the LSTM has no gradient. AdamW then gives w · (1 - learning rate · decay) per step;
    # decay inside of the gradient (L2) would move each weight by about the learning rate.
    class NoHands(MemorySource):
        def _rows(self, clip_ids, uniforms):
            inputs, labels = super()._rows(clip_ids, uniforms)
            return {**inputs, "hands": np.zeros_like(inputs["hands"])}, labels

    config = StageConfig("rgb", learning_rate=0.01, batch_size=16, epochs=1, weight_decay=0.5)
    model, _, stream = tiny_model()
    kernel = stream.get_layer("lstm").weights[0]
    (before,) = arrays_of([kernel])
    run_stage(model, stream, NoHands(), TRAIN, HELD_OUT, config, tmp_path)
    np.testing.assert_allclose(arrays_of([kernel])[0], before * (1 - 0.01 * 0.5) ** 2, rtol=1e-5)


def test_a_checkpoint_of_other_settings_names_the_fields(tmp_path):
    interrupt(tmp_path)
    other = StageConfig("rgb", learning_rate=1e-3, batch_size=8, epochs=9, seed=5)
    with pytest.raises(ConfigError, match=r"checkpoint.npys: .*settings: epochs, learning_rate .*without --resume") as caught:
        train(tmp_path, config=other, resume=True)
    assert "batch_size" not in str(caught.value)
    with pytest.raises(ConfigError, match=r"validation_clips"):
        train(tmp_path, held_out=HELD_OUT[:3], resume=True)


def test_a_checkpoint_of_another_class_count_is_refused(tmp_path):
    interrupt(tmp_path)
    with pytest.raises(
        WeightsError, match=r"checkpoint.npys, .*logits/kernel: .*found shape \(8, 3\), expected shape \(8, 5\).*classes"
    ):
        train(tmp_path, classes=5, resume=True)


def test_a_damaged_checkpoint_is_refused(tmp_path):
    interrupt(tmp_path)
    file = tmp_path / "rgb" / "checkpoint.npys"
    file.write_bytes(file.read_bytes()[:-100])
    with pytest.raises(WeightsError, match=r"checkpoint.npys: cannot be read .*without --resume"):
        train(tmp_path, resume=True)


def test_a_damaged_record_of_a_finished_stage_is_refused(tmp_path):
    train(tmp_path, config=StageConfig("rgb", batch_size=8, epochs=1))
    (tmp_path / "rgb" / "finished.json").write_text("{")
    with pytest.raises(WeightsError, match=r"finished.json: cannot be read .*without --resume"):
        train(tmp_path, config=StageConfig("rgb", batch_size=8, epochs=1), resume=True)


def test_full_disk_keeps_the_checkpoint_before(tmp_path, uninterrupted, monkeypatch):
    save, calls = np.save, []

    def full_in_epoch_2(file, array, **options):
        calls.append(Path(file.name).name)
        if Path(file.name).parent.joinpath("checkpoint.npys").exists():
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        save(file, array, **options)

    with monkeypatch.context() as patch:
        patch.setattr(np, "save", full_in_epoch_2)
        with pytest.raises(DiskFullError, match=r"checkpoint.npys: no space left .*--resume"):
            train(tmp_path)
    assert not list(tmp_path.rglob("*.part*"))
    assert_same_end(train(tmp_path, resume=True), uninterrupted)


def test_full_disk_that_tensorboard_meets_first(tmp_path, uninterrupted, monkeypatch):
    # TensorFlow's summary writer raises an error of its own, with the operating system's words in it.
    def full(*_, **__):
        raise tf.errors.ResourceExhaustedError(None, None, f"events.out.tfevents; {os.strerror(errno.ENOSPC)}\nCould not flush")

    with monkeypatch.context() as patch:
        patch.setattr(keras.callbacks.TensorBoard, "on_epoch_end", full)
        with pytest.raises(DiskFullError, match=r"rgb/tensorboard: no space left .*--resume"):
            train(tmp_path)
    assert not list(tmp_path.rglob("*.part*"))
    assert_same_end(train(tmp_path, resume=True), uninterrupted)


def test_run_states_what_it_was_started_with(tmp_path):
    train(tmp_path, config=StageConfig("rgb", batch_size=8, epochs=1))
    run = json.loads((tmp_path / "rgb" / "finished.json").read_text())["run"]
    assert run["batch_size"] == 8 and run["training_clips"].startswith("30 clips")


def test_models_outside_of_the_strategy_are_refused(tmp_path):
    model, _, stream = tiny_model()
    strategy = build_strategy("mirrored", devices=["/cpu:0"])
    with pytest.raises(ConfigError, match=r"strategy.scope"):
        run_stage(model, stream, MemorySource(), TRAIN, HELD_OUT, CONFIG, tmp_path, strategy=strategy)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("name", "a/b"),
        ("batch_size", 0),
        ("epochs", 0),
        ("patience", 0),
        ("seed", -1),
        ("learning_rate", 0.0),
        ("weight_decay", -1.0),
        ("checkpoint_seconds", -1.0),
        ("jit_compile", "yes"),
        ("schedule", "linear"),
        ("keep", "first"),
        ("optimizer", "rmsprop"),
        ("decay", "l2"),
        ("momentum", 1.0),
        ("momentum", -0.1),
        ("momentum", float("nan")),
        ("step_epochs", 0),
        ("falls", -1),
        ("step_factor", 0.0),
        ("step_factor", 1.5),
        ("step_factor", float("nan")),
        ("label_smoothing", 1.0),
        ("label_smoothing", -0.1),
        ("label_smoothing", float("nan")),
        ("warmup_epochs", -1),
        ("warmup_epochs", 1.5),
        ("warmup_epochs", 3),  # of a constant rate
    ],
)
def test_config_out_of_range(field, value):
    with pytest.raises(ConfigError, match=field if field != "name" else "folder name"):
        StageConfig(**{"name": "pose", field: value})


def test_tensorboard_log_is_written(tmp_path):
    train(tmp_path, config=StageConfig("rgb", batch_size=8, epochs=1))
    assert list((tmp_path / "rgb" / "tensorboard").rglob("events.out.tfevents.*"))


def test_an_epoch_that_ends_early_is_refused():
    # Keras says "Your input ran out of data" and goes on; one replica of two may see the end in place of the loader's error.
    callback = EveryBatch(training=2, validation=1)
    callback.on_epoch_begin(0)
    callback.on_train_batch_end(0)
    callback.on_test_batch_end(0)
    with pytest.raises(CacheError, match="damaged"), LoaderErrors() as errors:
        errors.first = CacheError("damaged")
        callback.on_epoch_end(0)
    callback.on_train_batch_end(1)
    callback.on_epoch_end(0)


def test_a_stage_of_an_earlier_version_goes_on(tmp_path, uninterrupted):
    # Its record lacks the fields that came later.
    interrupt(tmp_path)
    file = tmp_path / "rgb" / "checkpoint.npys"
    checkpoint = checkpoints.read_checkpoint(file)
    added = (
        *("schedule", "warmup_epochs", "label_smoothing", "keep"),
        *("optimizer", "momentum", "step_epochs", "step_factor", "falls", "decay"),
    )
    run = {name: value for name, value in checkpoint.run.items() if name not in added}
    assert len(run) == len(checkpoint.run) - 10
    checkpoints.save_checkpoint(file, replace(checkpoint, run=run))
    with pytest.raises(ConfigError, match="other settings: keep "):
        train(tmp_path, config=replace(CONFIG, keep="last"), resume=True)
    assert_same_end(train(tmp_path, resume=True), uninterrupted)
