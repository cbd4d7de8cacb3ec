"""A training step of the two-stream network from the caches against the same step on arrays in memory."""

from __future__ import annotations

import time

import keras
import numpy as np
import tensorflow as tf

from keras_actrec.models.sta_hands import freeze_pose_network, pose_stream, preset, rgb_stream, sta_hands
from keras_actrec.pipelines.subsequences import SubsequenceSource
from keras_actrec.pipelines.tf_data import training_dataset
from keras_actrec.training.config import StageConfig
from suite.figures import Figure, Must, Settings, in_turns, median_figure, ratio_figure
from suite.made_caches import CLASSES, make_caches, open_source

BATCH = StageConfig("benchmark").batch_size
STEPS, ROUNDS = 4, 5
MUST = Must("<=", 1.1)


def measure(settings: Settings) -> list[Figure]:
    """`fit` over one epoch, in turns: A, batches of `training_dataset` from the caches; B, the same batches in memory.

    Both stages of the paper's training: the pose stream, then the RGB stream with the pose network frozen, which needs the hand
    features. Default batch size; the page cache is warm. B keeps the arrays as float32 and slices them by tf.data. The ratio of
    wall-clock times is what counts; that of processor times says what loading costs where the step leaves no core idle.
    """
    steps, rounds = (2, 5) if settings.quick else (STEPS, ROUNDS)
    make_caches(settings.folder, BATCH * steps)
    keras.utils.set_random_seed(0)
    model = sta_hands(preset("sta_hands_paper", CLASSES))
    figures = _stage("pose stage", pose_stream(model), open_source(settings.folder, hands=False), rounds)
    freeze_pose_network(model)
    return figures + _stage("RGB stage", rgb_stream(model), open_source(settings.folder), rounds)


def _stage(name: str, stream: keras.Model, source: SubsequenceSource, rounds: int) -> list[Figure]:
    stream.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True))

    def cache() -> tf.data.Dataset:
        return training_dataset(source, source.clip_ids, batch_size=BATCH, seed=0, epochs=1)

    batches = [(inputs, labels.numpy()) for inputs, labels in cache()]
    arrays = {key: np.stack([inputs[key].numpy() for inputs, _ in batches]) for key in source.inputs}
    memory = tf.data.Dataset.from_tensor_slices((arrays, np.stack([labels for _, labels in batches]))).prefetch(2)
    datasets = {"cache": cache, "memory": lambda: memory}
    processor: dict[str, list[float]] = {key: [] for key in datasets}

    def epoch(key: str) -> None:
        start = time.process_time()
        stream.fit(datasets[key](), steps_per_epoch=len(batches), shuffle=False, verbose=0)
        processor[key].append((time.process_time() - start) / len(batches))

    seconds = in_turns({key: lambda key=key: epoch(key) for key in datasets}, rounds, warm_up=1)
    for times in processor.values():
        del times[0]
    figures = [
        median_figure(f"training_step: {name}, from {key}", [1e3 * each / len(batches) for each in times], "ms")
        for key, times in seconds.items()
    ]
    return [
        *figures,
        ratio_figure(f"training_step: {name}, cache / memory", seconds["cache"], seconds["memory"], MUST),
        ratio_figure(f"training_step: {name}, cache / memory, processor time", processor["cache"], processor["memory"]),
    ]
