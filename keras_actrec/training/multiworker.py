"""What `fit` does, for several training processes: Keras's own fails under `tf.distribute.MultiWorkerMirroredStrategy`."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import keras
import numpy as np
import tensorflow as tf

from keras_actrec.training.workers import Workers


def fit_workers(
    stream: keras.Model,
    batches: tf.data.Dataset,
    held_out: tf.data.Dataset,
    *,
    workers: Workers,
    first_epoch: int,
    epochs: int,
    steps: int,
    validation_steps: int,
    callbacks: Sequence[keras.callbacks.Callback],
) -> None:
    """Trains a compiled model, epoch by epoch, as `fit` does: the same steps of the same model, the same numbers of an epoch.

    After each epoch, all workers have the chief's weights: those of batch normalisation that no gradient changes are of one
    worker's rows, as they are of one device's where a single process has several. All see the same numbers, too, and so stop
    after the same epoch.

    Args:
        stream: the model, built and compiled under the strategy of the workers.
        batches, held_out: this worker's rows of batches, as `training_dataset` and `evaluation_dataset` give them.
        workers: who trains.
        first_epoch: epochs that are done already.
        epochs: number of the last epoch.
        steps, validation_steps: batches of an epoch.
        callbacks: as for `fit`, of which they see beginnings and ends of training and of epochs.

    Raises:
        tf.errors.OpError: a loader failed, or a worker has stopped; see `LoaderErrors` and `Workers.watched`.
    """
    strategy = stream.distribute_strategy
    train, test = _on_all_devices(stream.train_step, strategy), _on_all_devices(stream.test_step, strategy)
    split, results = _splitter(workers), tf.function(stream.get_metrics_result)  # sums over all workers
    listed = keras.callbacks.CallbackList(
        list(callbacks), add_progbar=workers.is_chief, model=stream, verbose=2, epochs=epochs, steps=steps
    )
    rows = iter(batches)
    stream.stop_training = False
    listed.on_train_begin()
    for epoch in range(first_epoch, epochs):
        listed.on_epoch_begin(epoch)
        numbers = _pass(stream, train, results, split, rows, steps)
        workers.share(stream.weights)
        validation = _pass(stream, test, results, split, iter(held_out), validation_steps)
        numbers |= {f"val_{name}": value for name, value in validation.items()}
        listed.on_epoch_end(epoch, workers.chief_does(lambda numbers=numbers: numbers))
        if stream.stop_training:
            break
    listed.on_train_end()


def predict_workers(model: keras.Model, inputs: tf.data.Dataset, *, workers: Workers, steps: int) -> dict[str, np.ndarray]:
    """Outputs of a model, on all workers those of all.

    Args:
        model: with a dict of outputs, built under the strategy of the workers.
        inputs: this worker's rows of batches.
        workers: who computes.
        steps: number of batches.

    Returns:
        Name → rows (B · steps, …), in the order of the whole batches.
    """
    strategy = model.distribute_strategy

    @tf.function
    def predict(data):
        outputs = strategy.run(lambda rows: model(rows, training=False), args=(data,))
        return {name: strategy.gather(outputs[name], axis=0) for name in sorted(outputs)}

    split, rows = _splitter(workers), iter(inputs)
    results = [{name: values.numpy() for name, values in predict(split(next(rows))).items()} for _ in range(steps)]
    return {name: np.concatenate([result[name] for result in results]) for name in results[0]}


def _on_all_devices(step: Callable, strategy: tf.distribute.Strategy) -> Callable:
    """A step of one device → the same on the devices of all workers, as one graph."""
    return tf.function(lambda data: strategy.run(step, args=(data,)), reduce_retracing=True)


def _pass(stream: keras.Model, step: Callable, results: Callable, split: Callable, rows, steps: int) -> dict[str, float]:
    """One pass over some batches; the numbers of Keras over the rows of all workers, in the order in which `fit` has them."""
    stream.reset_metrics()
    for _ in range(steps):
        step(split(next(rows)))
    return {name: float(value) for name, value in sorted(results().items())}


def _splitter(workers: Workers) -> Callable:
    """Function from the rows of this worker to those of each of its devices: of all workers' devices by position."""
    strategy = workers.strategy
    devices = strategy.num_replicas_in_sync // workers.count

    def split(data):
        def of_device(context):
            device = context.replica_id_in_sync_group % devices
            return tf.nest.map_structure(lambda array: tf.split(array, devices)[device], data)

        return strategy.experimental_distribute_values_from_function(of_device)

    return split
