"""SIGKILL at random instants of a training stage: its checkpoint reads, and the resumed stage ends as if nothing had been."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import keras
import numpy as np
import pytest

from keras_actrec.training import checkpoints, stages
from keras_actrec.training.checkpoints import arrays_of, load_weights, read_checkpoint
from keras_actrec.training.config import StageConfig
from tests.faults.cache_kinds import left_over
from tests.faults.kills import Life, kill, noted
from tests.training.test_stages import CONFIG, HELD_OUT, TRAIN, assert_same_end
from tests.training.tiny import CLASSES, FRAMES, POSE, MemorySource

EPOCHS = 5
STAGE = replace(CONFIG, name="pose", epochs=EPOCHS)


def tiny_model(seed: int = 3) -> keras.Model:
    """Dropout and batch normalisation, which have states beside the weights; small, as each process compiles it anew."""
    keras.utils.set_random_seed(seed)
    pose = keras.Input((FRAMES, POSE), name="pose")
    s = keras.layers.BatchNormalization(name="norm")(keras.layers.Dense(8, name="dense")(keras.layers.Flatten()(pose)))
    return keras.Model({"pose": pose}, keras.layers.Dense(CLASSES, name="logits")(keras.layers.Dropout(0.5)(s)))


def train(workdir: Path, *, resume: bool = True, config: StageConfig = STAGE):
    """Trains the network, or goes on with it; weights after the stage, history."""
    model = tiny_model()
    history = stages.run_stage(model, model, MemorySource(), TRAIN, HELD_OUT, config, workdir, resume=resume)
    return arrays_of(model.weights), history


def run(workdir: Path, note) -> None:
    """What is killed. Batches, arrays of a checkpoint and weights are steps, too."""
    noted(note, MemorySource, "training_batch", "test_batch")
    noted(note, checkpoints.np, "save")
    noted(note, stages, "save_weights", "assign")
    train(workdir)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    return train(tmp_path_factory.mktemp("undisturbed"))


def check_files(folder: Path) -> int:
    """What has a final name is whole; gives the number of finished epochs that the stage goes on after."""
    epochs = 0
    if (folder / "checkpoint.npys").exists():
        checkpoint = read_checkpoint(folder / "checkpoint.npys")
        epochs = checkpoint.progress.epochs
        assert len(checkpoint.progress.history) == epochs > 0
        assert all(np.isfinite(array).all() for array in checkpoint.weights)
    if (folder / "log.csv").exists():
        rows = (folder / "log.csv").read_text().splitlines()
        assert epochs <= len(rows) - 1 <= epochs + 1 or (folder / "finished.json").exists()
    if (folder / "model.weights.h5").exists():
        load_weights(tiny_model(seed=9), folder / "model.weights.h5")
        assert epochs == EPOCHS or (folder / "finished.json").exists()
    if (folder / "finished.json").exists():
        assert (folder / "model.weights.h5").exists()
        epochs = EPOCHS
    return epochs


def survive(undisturbed, place: Path, *, count: int, seed: int) -> None:
    epochs_left: list[int] = []

    def check(workdir: Path, life: Life) -> None:
        epochs_left.append(check_files(workdir / STAGE.name))
        assert_same_end(train(workdir), undisturbed)
        assert not left_over(workdir)
        files = {path.name for path in (workdir / STAGE.name).iterdir()} - {"tensorboard"}
        assert files == {"log.csv", "model.weights.h5", "finished.json"}

    lives = kill(run, place, count=count, seed=seed, check=check, begin="training_batch")
    assert len(lives) == count
    assert len(set(epochs_left)) > min(EPOCHS, count // 3), f"kills fell after epochs {sorted(epochs_left)}"


def test_a_checkpoint_that_was_not_finished_does_not_stay(tmp_path):
    """The resumed run may be over before its next checkpoint is due."""
    part = tmp_path / STAGE.name / "checkpoint.npys.part"
    part.parent.mkdir()
    part.write_bytes(b"half")
    train(tmp_path, config=replace(STAGE, epochs=1, checkpoint_seconds=1e6))
    assert not left_over(tmp_path)


def test_killed_before_it_deletes_its_checkpoint(tmp_path):
    config = replace(STAGE, epochs=1)
    folder = tmp_path / STAGE.name
    with pytest.MonkeyPatch.context() as patch, pytest.raises(KeyboardInterrupt):
        unlink = Path.unlink

        def killed(path, **options):
            if path.name == "checkpoint.npys" and (folder / "finished.json").exists():
                raise KeyboardInterrupt
            unlink(path, **options)

        patch.setattr(Path, "unlink", killed)
        train(tmp_path, config=config)
    assert (folder / "finished.json").exists() and (folder / "checkpoint.npys").exists()
    train(tmp_path, config=config)
    assert not (folder / "checkpoint.npys").exists()


def test_killed_while_it_deletes_an_earlier_run(tmp_path, monkeypatch):
    config = replace(STAGE, epochs=1)
    first = train(tmp_path, config=config)

    def killed(folder, **_):
        (folder / "model.weights.h5").unlink()
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(stages.shutil, "rmtree", killed)
        train(tmp_path, config=config, resume=False)
    assert_same_end(train(tmp_path, config=config), first)


def test_kills(undisturbed, tmp_path):
    survive(undisturbed, tmp_path, count=8, seed=11)


@pytest.mark.slow
def test_fifty_kills(undisturbed, tmp_path):
    survive(undisturbed, tmp_path, count=50, seed=12)
