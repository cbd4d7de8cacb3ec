"""Run by test_multiworker.py, once per worker: trains tiny models and leaves weights and numbers in a file for each worker."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from dataclasses import replace
from pathlib import Path

from keras_actrec.errors import ActrecError
from keras_actrec.training.strategies import build_strategy


def wait_for_epoch(checkpoint: Path, epochs: int) -> None:
    """Waits until the chief has written the checkpoint of an epoch."""
    from keras_actrec.training.checkpoints import read_checkpoint

    while not (checkpoint.exists() and read_checkpoint(checkpoint).progress.epochs == epochs):
        time.sleep(0.1)


def main(strategy_name: str, folder: Path, mode: str) -> None:
    """Trains under a strategy, below `folder`.

    Args:
        strategy_name: as `build_strategy` takes it.
        folder: of the stages, and of <mode>-<worker>.npz and <mode>-<worker>.json.
        mode: "whole" trains and tests everything; "die", "freeze", "fail" a stage up to its third epoch, in which worker 1 is
            killed, stands still, or has an error of its loader; "resume" goes on with that stage.
    """
    strategy = build_strategy(strategy_name)

    import numpy as np

    from keras_actrec.errors import CacheError, ConfigError
    from keras_actrec.pipelines.tf_data import epoch_rows
    from keras_actrec.training.checkpoints import arrays_of
    from keras_actrec.training.config import StageConfig
    from keras_actrec.training.evaluation import evaluate
    from keras_actrec.training.stages import run_stage
    from keras_actrec.training.workers import Workers
    from tests.training.tiny import (
        FRAMES,
        JointSource,
        MemorySource,
        tiny_glimpse_model,
        tiny_glimpse_objective,
        tiny_model,
    )

    workers = Workers.of(strategy)
    config = StageConfig("rgb", learning_rate=0.02, batch_size=8, epochs=5, patience=1, seed=5)
    clips = MemorySource().clip_ids
    train, held_out, test = clips[:30], clips[30:35], clips[35:]

    class Failing(MemorySource):
        """Worker 1 fails at the second batch of the third epoch."""

        def training_batch(self, clip_ids, uniforms):
            if workers.index == 1 and np.array_equal(uniforms, epoch_rows(30, 8, 5, 2, 1, FRAMES)[1][4:]):
                wait_for_epoch(folder / "stopped" / "rgb" / "checkpoint.npys", 2)  # batches are loaded ahead
                if mode == "fail":
                    raise CacheError("the shard is damaged", file="poses-00001.h5")
                os.kill(os.getpid(), signal.SIGKILL if mode == "die" else signal.SIGSTOP)
            return super().training_batch(clip_ids, uniforms)

    class Contrary(MemorySource):
        def test_batch(self, clip_ids):
            inputs, labels = super().test_batch(clip_ids)
            return inputs, (labels + 1) % 3

    def stage(name, *, config=config, source=None, dropout=0.0, norm=False, seed=3, resume=False):
        with strategy.scope():
            model, _, stream = tiny_model(dropout=dropout, norm=norm, seed=seed)
        history = run_stage(
            model, stream, source or MemorySource(), train, held_out, config, folder / name, strategy=strategy, resume=resume
        )
        return model, history

    refusals = {}

    def leave(histories, **arrays):
        own = folder / f"{mode}-{workers.index}"
        rows = {name: list(history.epochs) for name, history in histories.items()}
        own.with_suffix(".json").write_text(json.dumps(rows | refusals))
        np.savez(own.with_suffix(".npz"), **arrays)

    def named(name, model):
        return {f"{name}{index}": array for index, array in enumerate(arrays_of(model.weights))}

    if mode in ("die", "freeze", "fail"):
        stage("stopped", source=Failing(), dropout=0.5, norm=True)
    elif mode == "resume":
        # Other initial weights, and files of the chief alone: all comes from its checkpoint.
        model, history = stage("stopped", dropout=0.5, norm=True, seed=3 + workers.index, resume=True)
        again, same = stage("stopped", dropout=0.5, norm=True, seed=7, resume=True)
        leave({"stopped": history, "again": same}, **named("stopped", model), **named("again", again))
    else:
        model, history = stage("rgb", seed=3 + workers.index)
        evaluation = evaluate(model, MemorySource(), test, batch_rows=8)
        steps = replace(config, name="glimpses", optimizer="sgd", weight_decay=0.1, decay="coupled", label_smoothing=0.1)
        with strategy.scope():
            glimpses = tiny_glimpse_model(dropout=0.0)
        joints = run_stage(
            glimpses, glimpses, JointSource(), train, held_out, replace(steps, schedule="cosine"), folder / "glimpses",
            objective=tiny_glimpse_objective(),
        )  # fmt: skip
        # Held-out clips with wrong labels: the better the model, the higher the loss.
        wrong, early = stage("early", source=Contrary())
        both, random = stage("random", dropout=0.5, norm=True)
        if workers.count > 1:
            for name, change in (("settings", {"batch_size": 8 + 2 * workers.index}), ("odd", {"batch_size": 9})):
                try:
                    stage(name, config=replace(config, **change))
                except ConfigError as error:
                    refusals[name] = str(error)
        leave(
            {"rgb": history, "glimpses": joints, "random": random, "early": early},
            **named("rgb", model), **named("glimpses", glimpses), **named("random", both), **named("early", wrong),
            **evaluation.scores,
        )  # fmt: skip


if __name__ == "__main__":
    try:
        main(sys.argv[1], Path(sys.argv[2]), sys.argv[3])
    except ActrecError as error:
        sys.exit(f"{type(error).__name__}: {error}")
