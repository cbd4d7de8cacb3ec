"""One training stage: Keras `fit` with early stopping on held-out clips, which a killed run can go on with."""

from __future__ import annotations

import hashlib
import json
import logging
import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from keras_actrec.errors import ConfigError, DiskFullError, WeightsError
from keras_actrec.files import says_disk_full, whole_file
from keras_actrec.pipelines.tf_data import (
    BatchSource,
    LoaderErrors,
    clips_per_batch,
    evaluation_dataset,
    steps_per_epoch,
    training_dataset,
)
from keras_actrec.training.callbacks import EveryBatch, StageCheckpoint, write_history
from keras_actrec.training.checkpoints import (
    ON_FULL_DISK,
    Progress,
    arrays_of,
    assign,
    check_same_run,
    load_weights,
    read_checkpoint,
    save_weights,
)
from keras_actrec.training.config import StageConfig, with_added_fields
from keras_actrec.training.multiworker import fit_workers
from keras_actrec.training.objective import LOGITS, Objective
from keras_actrec.training.optimizers import build_optimizer
from keras_actrec.training.workers import Workers

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class StageHistory:
    """How a finished stage went.

    Attributes:
        epochs: one row of numbers per epoch: "epoch" (from 1), "loss", "accuracy", "val_loss", "val_accuracy", "seconds"; of an
            objective with terms beside the classification also "<name>_loss" and "val_<name>_loss" for each of its terms,
            "logits" among them, before they are weighted.
        best_epoch: the epoch whose weights were kept.
        best_loss: its validation loss, not the lowest one where `keep` is "last".
        csv: the same rows as a file.
        weights: `.weights.h5` file of the whole model after the stage.
    """

    epochs: tuple[dict[str, float], ...]
    best_epoch: int
    best_loss: float
    csv: Path
    weights: Path


class _Files:
    """The files of a stage."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.checkpoint = folder / "checkpoint.npys"
        self.csv = folder / "log.csv"
        self.weights = folder / "model.weights.h5"
        self.finished = folder / "finished.json"
        self.tensorboard = folder / "tensorboard"

    def history(self, progress: Progress, config: StageConfig) -> StageHistory:
        epoch, loss = progress.best_epoch, progress.best_loss
        if config.keep == "last":
            epoch, loss = progress.epochs, progress.history[-1]["val_loss"]
        return StageHistory(progress.history, epoch, loss, self.csv, self.weights)


def is_begun(config: StageConfig, workdir: str | Path) -> bool:
    """Whether an earlier call of `run_stage` left what a resumed one takes all weights from: then it needs no initial ones."""
    files = _Files(Path(workdir) / config.name)
    return files.finished.exists() or files.checkpoint.exists()


def run_stage(
    model: keras.Model,
    stream: keras.Model,
    source: BatchSource,
    train: Sequence[str],
    validation: Sequence[str],
    config: StageConfig,
    workdir: str | Path,
    *,
    strategy: tf.distribute.Strategy | None = None,
    resume: bool = False,
    objective: Objective | None = None,
    settings: Mapping[str, object] | None = None,
) -> StageHistory:
    """Trains one stream of a model and leaves the weights of its best epoch in the model, or of its last: `config.keep`.

    Training draws one random sub-sequence per clip and epoch; the validation loss is the mean over the cached test
    sub-sequences of the held-out clips. Which layers train is the caller's choice (`layer.trainable`), made before the call.
    Everything random follows from config.seed, so that a run that was killed at any instant and resumed ends with the weights
    of an uninterrupted one.

    Files below `workdir`/`config.name`: checkpoint.npys (deleted at the end), log.csv, model.weights.h5, finished.json,
    tensorboard/. Of several workers (`build_strategy("multiworker")`) the first, the chief, reads and writes them, and the
    others have from it what they need: weights, where to go on, when to stop.

    Args:
        model: the whole model, whose weights are saved.
        stream: a model on layers of `model` with a single output, logits (B, classes); with an `objective` a dict of outputs,
            "logits" and those of its terms among them.
        source: where batches come from; it is asked for the stream's inputs only, and for the arrays that are targets of the
            objective.
        train, validation: clip ids, see `hold_out`.
        config: optimizer, batches, epochs.
        workdir: folder for the results of the run.
        strategy: what the caller built the models under, as a check; None for no check.
        resume: go on with what an earlier call left, and skip a finished stage. Otherwise its files are deleted.
        objective: what the loss is; None for the cross-entropy alone.
        settings: name → JSON value of what else decides the result and cannot be seen in the weights' shapes: a resumed stage
            has to have the same.

    Returns:
        The epochs, those before a resume included.

    Raises:
        ConfigError: a resumed stage was started with other settings, clips or another objective; the batch does not divide
            among the devices; the models were not built under `strategy`; the stream has not the outputs, or the source
            not the arrays, of the objective; the loss is no number; workers differ in settings or clips.
        TrainingError: one of several workers has stopped; nothing is lost but the epoch it stopped in.
        WeightsError: what an earlier call left does not fit the model.
        DiskFullError: no space left.
        ActrecError: whatever the source raises.
    """
    _check_strategy(model, stream, strategy, config)
    files = _Files(Path(workdir) / config.name)
    run = {**config.as_json(), "training_clips": _digest(train), "validation_clips": _digest(validation)}
    if objective is not None:
        run["objective"] = objective.as_json()
    run |= settings or {}
    workers = Workers.of(stream.distribute_strategy)
    with workers.watched():
        workers.check_same({**run, "resume": resume})
        if workers.chief_does(lambda: _is_finished(files, resume=resume)):
            progress = workers.chief_does(lambda: asdict(_read_finished(model, files, run)))
            workers.share(model.weights)
            return files.history(Progress.from_json(progress), config)

        with stream.distribute_strategy.scope():
            stream = _with_outputs(stream, objective)
            steps = steps_per_epoch(len(train), config.batch_size)
            callback = _prepare(model, stream, objective, files, run, config, steps, workers)
            if callback.progress.epochs:
                log.info("stage %s goes on after epoch %d", config.name, callback.progress.epochs)
            if callback.progress.epochs < config.epochs and not callback.finished:
                try:
                    selected = source.select(_arrays(stream, objective, source))
                    _fit(stream, objective, selected, train, validation, config, files, callback, workers)
                except tf.errors.OpError as error:  # the only file that TensorFlow itself writes here is TensorBoard's
                    if not says_disk_full(error):
                        raise
                    problem = "no space left to write the log of TensorBoard"
                    raise DiskFullError(problem, file=files.tensorboard, fix=ON_FULL_DISK) from error
            if workers.is_chief:
                assign(stream.weights, callback.best, files.checkpoint)
            workers.share(stream.weights)
        workers.chief_does(lambda: _finish(model, files, run, callback.progress))
    return files.history(callback.progress, config)


def _is_finished(files: _Files, *, resume: bool) -> bool:
    """Whether an earlier call left nothing to do; what it left that is not wanted is deleted."""
    if not resume:
        files.finished.unlink(missing_ok=True)  # first: a run that is killed here must not leave it without its weights
        shutil.rmtree(files.folder, ignore_errors=True)
    return resume and files.finished.exists()


def _finish(model: keras.Model, files: _Files, run: dict, progress: Progress) -> None:
    save_weights(model, files.weights)
    write_history(files.csv, progress)
    with whole_file(files.finished, fix=ON_FULL_DISK) as part:
        part.write_text(json.dumps({"run": run, "progress": asdict(progress)}, indent=1))
    for left in files.folder.glob(f"{files.checkpoint.name}*"):  # an unfinished one too, of a run that was killed
        left.unlink()


def _with_outputs(stream: keras.Model, objective: Objective | None) -> keras.Model:
    """The stream with the outputs that it is trained on."""
    if objective is not None:
        return objective.select(stream)
    if not isinstance(stream.output, keras.KerasTensor):
        raise ConfigError(f"model {stream.name} has several outputs", expected="logits alone, or an objective over them")
    return stream


def _arrays(stream: keras.Model, objective: Objective | None, source: BatchSource) -> tuple[str, ...]:
    """What a batch has to hold: the stream's inputs, and the targets beside them."""
    targets = () if objective is None else objective.arrays
    missing = [name for name in targets if name not in source.inputs]
    if missing:
        problem = f"the source lacks arrays that are targets of the objective: {', '.join(missing)}"
        raise ConfigError(problem, found=", ".join(source.inputs))
    return tuple(dict.fromkeys((*stream.input, *targets)))


def _compile(stream: keras.Model, objective: Objective | None, config: StageConfig, steps: int) -> None:
    losses, metrics = keras.losses, keras.metrics
    if config.label_smoothing:  # targets are distributions over the classes, see _fit
        loss, accuracy = losses.CategoricalCrossentropy(from_logits=True), metrics.CategoricalAccuracy(name="accuracy")
    else:
        loss = losses.SparseCategoricalCrossentropy(from_logits=True)
        accuracy = metrics.SparseCategoricalAccuracy(name="accuracy")
    stream.compile(
        optimizer=build_optimizer(config, steps),
        loss=loss if objective is None else {LOGITS: loss, **objective.losses},
        loss_weights=None if objective is None else {name: float(weight) for name, weight in objective.weights.items()},
        weighted_metrics=[accuracy] if objective is None else {LOGITS: [accuracy]},  # weights: see evaluation_dataset
        jit_compile=config.jit_compile,
    )
    stream.optimizer.build(stream.trainable_variables)  # under mixed_float16 Keras puts another around the one given


def _prepare(
    model: keras.Model,
    stream: keras.Model,
    objective: Objective | None,
    files: _Files,
    run: dict,
    config: StageConfig,
    steps: int,
    workers: Workers,
) -> StageCheckpoint:
    """Compiles the stream and puts it where the stage begins or where its checkpoint stands."""
    _compile(stream, objective, config, steps)
    seeds = _seed_states(stream)
    callback = StageCheckpoint(
        files.checkpoint, files.csv, run, model.weights, seeds,
        patience=config.patience if config.stops_early else None, keep_last=config.keep == "last", progress=Progress(),
        seconds=config.checkpoint_seconds, names={} if objective is None else objective.history_names(),
        writes=workers.is_chief,
    )  # fmt: skip

    def restore() -> dict:
        _restore(model, stream, files, run, config, seeds, callback)
        return asdict(callback.progress)

    callback.progress = Progress.from_json(workers.chief_does(restore))
    workers.share([*model.weights, *stream.optimizer.variables, *seeds])
    return callback


def _restore(
    model: keras.Model,
    stream: keras.Model,
    files: _Files,
    run: dict,
    config: StageConfig,
    seeds: Sequence[keras.Variable],
    callback: StageCheckpoint,
) -> None:
    """Gives all variables the values of the checkpoint, or those that the stage begins with."""
    callback.best = arrays_of(stream.weights)
    if files.checkpoint.exists():
        checkpoint = read_checkpoint(files.checkpoint)
        check_same_run(with_added_fields(checkpoint.run), run, files.checkpoint)
        for variables, arrays in (
            (model.weights, checkpoint.weights),
            (stream.optimizer.variables, checkpoint.optimizer),
            (seeds, checkpoint.seeds),
        ):
            assign(variables, arrays, files.checkpoint)
        callback.progress, callback.best = checkpoint.progress, checkpoint.best or arrays_of(stream.weights)
    else:
        # Dropout starts each stage from the stage's own seed: a resumed run that skips the stages before finds it the same.
        rng = np.random.default_rng((config.seed, 1))
        assign(seeds, [np.array([rng.integers(2**31), 0], np.uint32) for _ in seeds], files.folder)


def _fit(
    stream: keras.Model,
    objective: Objective | None,
    source: BatchSource,
    train: Sequence[str],
    validation: Sequence[str],
    config: StageConfig,
    files: _Files,
    callback: StageCheckpoint,
    workers: Workers,
) -> None:
    done = callback.progress.epochs
    steps = steps_per_epoch(len(train), config.batch_size)
    clips = clips_per_batch(source, config.batch_size, stream.distribute_strategy.num_replicas_in_sync)
    validation_steps, own = steps_per_epoch(len(validation), clips), (workers.index, workers.count)
    with LoaderErrors() as errors:
        batches = training_dataset(
            source, train, batch_size=config.batch_size, seed=config.seed, first_epoch=done, epochs=config.epochs,
            errors=errors, worker=own,
        )  # fmt: skip
        held_out = evaluation_dataset(source, validation, clips_per_batch=clips, errors=errors, worker=own)
        if config.label_smoothing:  # in the targets: Keras has one loss for training and validation
            classes = (stream.output if objective is None else stream.output[LOGITS]).shape[-1]
            batches = batches.map(lambda inputs, labels: (inputs, smoothed_targets(labels, classes, config.label_smoothing)))
            held_out = held_out.map(lambda inputs, labels, weights: (inputs, smoothed_targets(labels, classes, 0.0), weights))
        if objective is not None:
            split = _inputs_and_targets(stream, objective)
            batches = batches.map(split)
            held_out = held_out.map(lambda arrays, labels, weights: (*split(arrays, labels), weights))
        board = [keras.callbacks.TensorBoard(files.tensorboard, write_graph=False)] if workers.is_chief else []
        if workers.count > 1:
            fit_workers(
                stream, batches, held_out, workers=workers, first_epoch=done, epochs=config.epochs, steps=steps,
                validation_steps=validation_steps, callbacks=[callback, *board],
            )  # fmt: skip
            return
        stream.fit(
            batches,
            initial_epoch=done,
            epochs=config.epochs,
            steps_per_epoch=steps,
            validation_data=held_out,
            callbacks=[EveryBatch(training=steps, validation=validation_steps), callback, *board],
            shuffle=False,  # the batches come shuffled
            verbose=1 if sys.stdout.isatty() else 2,
        )


def _inputs_and_targets(stream: keras.Model, objective: Objective) -> Callable:
    """Function (arrays of a batch, targets of the logits) → what the stream takes, and targets of all its terms."""
    names = tuple(stream.input)

    def split(arrays: dict[str, tf.Tensor], labels: tf.Tensor) -> tuple[dict[str, tf.Tensor], dict[str, tf.Tensor]]:
        return {name: arrays[name] for name in names}, objective.batch_targets(labels, arrays)

    return split


def smoothed_targets(labels: tf.Tensor, classes: int, smoothing: float) -> tf.Tensor:
    """Class indices (B,) → what the stream learns, float32 (B, classes), rows of sum 1; see `StageConfig.label_smoothing`."""
    return tf.one_hot(labels, classes) * (1 - smoothing) + smoothing / classes


def _seed_states(model: keras.Model) -> list[keras.Variable]:
    """The states of the seed generators of a model's layers: variables, but not weights."""
    weights = {id(weight) for weight in model.weights}
    return [v for v in model.variables if id(v) not in weights and v.name == "seed_generator_state"]


def _read_finished(model: keras.Model, files: _Files, run: dict) -> Progress:
    try:
        state = json.loads(files.finished.read_text())
        progress = Progress.from_json(state["progress"])
    except (ValueError, KeyError, TypeError) as error:
        problem, fix = "cannot be read as the record of a finished stage", "delete it, or train without --resume"
        raise WeightsError(problem, file=files.finished, found=error, fix=fix) from error
    check_same_run(with_added_fields(state["run"]), run, files.finished)
    load_weights(model, files.weights)
    for left in files.folder.glob(f"{files.checkpoint.name}*"):  # by a run that was killed before it could delete it
        left.unlink()
    return progress


def _check_strategy(
    model: keras.Model, stream: keras.Model, strategy: tf.distribute.Strategy | None, config: StageConfig
) -> None:
    for part in (model, stream):
        if strategy is not None and part.distribute_strategy is not strategy:
            raise ConfigError(
                f"model {part.name} was not built under the strategy that it is to train with",
                found=type(part.distribute_strategy).__name__,
                expected=type(strategy).__name__,
                fix="build the model and its streams inside `with strategy.scope():`",
            )
    devices = stream.distribute_strategy.num_replicas_in_sync
    if config.batch_size % devices:
        raise ConfigError(
            f"stage {config.name}: the batch does not divide among the devices",
            found=f"batch size {config.batch_size}",
            expected=f"a multiple of {devices}",
        )
    if config.jit_compile is True and devices > 1:
        # "Trying to access resource … located in device …": XLA reaches the variables of one device only.
        raise ConfigError(
            f"stage {config.name}: XLA does not compile a step that spans {devices} devices", fix='set jit_compile to "auto"'
        )


def _digest(clip_ids: Sequence[str]) -> str:
    """Number and short checksum of a list of clips."""
    return f"{len(clip_ids)} clips, {hashlib.sha256(' '.join(clip_ids).encode()).hexdigest()[:12]}"
