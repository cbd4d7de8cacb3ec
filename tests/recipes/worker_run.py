"""Run by test_together.py, once per worker: whole experiments on tiny data, whose results stand in a file for each worker."""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from unittest.mock import patch

import numpy as np

from keras_actrec.cache import schema
from keras_actrec.errors import ActrecError

CLIPS_PER_SHARD = 4


def worker_index() -> int:
    """Number of this worker, as TensorFlow will have it; 0 where there is but one."""
    return json.loads(os.environ.get("TF_CONFIG", "{}")).get("task", {}).get("index", 0)


def main(strategy: str, folder: Path, mode: str) -> None:
    """Runs experiments under a strategy, below `folder`. Nothing but they connects the workers.

    Args:
        strategy: name as `build_strategy` takes it.
        folder: of the runs, and of <run>-<worker>.npz and <run>-<worker>.json.
        mode: "whole" runs the two-stream network and RPAN, "further" the pose stream, folds of it, VPN and Glimpse Clouds;
            "extracting" and "training" the pose stream, whose worker 1 is killed while it writes poses, or in the third
            epoch, both with resume, as has "resume", which goes on to the end; "apart" gives worker 1 caches of its own;
            "different" other options.
    """
    if strategy == "multiworker":
        schema.CLIPS_PER_SHARD = CLIPS_PER_SHARD  # before it becomes the default of the extractions: each worker has shards

    from keras_actrec.models.sta_hands import preset
    from keras_actrec.recipes.sta_hands.experiment import Experiment
    from keras_actrec.training.config import StageConfig
    from tests.recipes.tiny_rpan import SYNTHETIC

    def small_preset(name: str, classes: int):
        return replace(
            preset(name, classes), pose_filters=(3,), pose_features=12, lstm_units=8, spatial_attention_units=4,
            temporal_attention_units=4, temporal_features=6, dropout=0.0,
        )  # fmt: skip

    stage = partial(StageConfig, batch_size=8, learning_rate=0.003)
    shared = {"cache_dir": folder / "cache", "strategy": strategy, "holdout": 0.1}
    pose = Experiment(folder / "pose", preset="table6_a", pose_stage=stage("pose", epochs=4, patience=9), **shared)
    with patch("keras_actrec.recipes.sta_hands.experiment.preset", small_preset):
        if mode == "whole":
            _run_two_stream(folder, SYNTHETIC, stage, shared)
            _run_rpan(folder, strategy)
        elif mode == "further":
            _run_pose(folder, pose)
            _run_selection(folder, pose)
            if strategy == "multiworker":  # batch normalisation and dropout are of each worker's rows: nothing to compare with
                _run_vpn_and_glimpse_clouds(folder, strategy)
        else:
            _run_interrupted(folder, pose, mode)


def _leave(folder: Path, name: str, result) -> None:
    """What an `ExperimentResult` holds."""
    own = folder / f"{name}-{worker_index()}"
    np.savez(own.with_suffix(".npz"), clip_ids=np.array(result.evaluation.clip_ids), **result.evaluation.scores)
    left_out = [[clip.clip_id, clip.stage, clip.reason] for clip in result.left_out]
    content = {"metrics": result.metrics, "left_out": left_out, "export": str(result.export)}
    own.with_suffix(".json").write_text(json.dumps(content))


def _run_two_stream(folder: Path, synthetic, stage: Callable, shared: dict) -> None:
    """From nothing: the data set is made first. The image network is a small one."""
    import keras

    from keras_actrec.recipes.sta_hands.two_stream import TwoStreamExperiment, run_two_stream
    from tests.recipes.tiny import SENSOR

    def small_sensor(config, *, weights=None) -> keras.Model:
        image = keras.Input((config.image_size, config.image_size, 3))
        kernels = [keras.initializers.HeNormal(seed) for seed in (0, 1)]
        x = keras.layers.Rescaling(1 / 255)(image)
        x = keras.layers.Conv2D(6, 8, 8, activation="relu", kernel_initializer=kernels[0])(x)
        x = keras.layers.GlobalAveragePooling2D()(x)
        return keras.Model(image, keras.layers.Dense(2048, "relu", kernel_initializer=kernels[1])(x))

    stages = {"pose_stage": stage("pose", epochs=2), "rgb_stage": stage("rgb", epochs=2)}
    experiment = TwoStreamExperiment(
        folder / "two_stream", synthetic=synthetic, sensor=SENSOR, crop_size=8, **stages, **shared
    )  # fmt: skip
    with patch("keras_actrec.extraction.hand_features.build_sensor", small_sensor):
        _leave(folder, "two_stream", run_two_stream(experiment))


def _run_pose(folder: Path, pose, **changes) -> None:
    from keras_actrec.recipes.sta_hands.run import run_experiment
    from keras_actrec.recipes.sta_hands.two_stream import open_synthetic
    from tests.recipes.tiny_rpan import SYNTHETIC

    dataset = open_synthetic(pose.caches, SYNTHETIC, strategy=pose.strategy)
    _leave(folder, "pose", run_experiment(dataset, replace(pose, **changes)))


def _run_selection(folder: Path, pose) -> None:
    """Two folds, one after the other."""
    from keras_actrec.recipes.sta_hands.selection import run_selection
    from keras_actrec.recipes.sta_hands.two_stream import open_synthetic
    from tests.recipes.tiny_rpan import SYNTHETIC

    dataset = open_synthetic(pose.caches, SYNTHETIC, strategy=pose.strategy)
    folds = replace(pose, workdir=folder / "folds", pose_stage=replace(pose.pose_stage, epochs=1))
    metrics = run_selection(dataset, folds, "cross_subject", "subject")
    (folder / f"folds-{worker_index()}.json").write_text(json.dumps({"metrics": metrics}))


def _bad_clips(folder: Path, strategy: str):
    """A data set with bad clips among the good ones."""
    from keras_actrec.recipes.sta_hands.two_stream import SyntheticNTU
    from keras_actrec.recipes.together import chief_alone
    from tests.recipes import tiny_rpan

    chief_alone(strategy, lambda: tiny_rpan.write_root(folder / "ntu"))
    return SyntheticNTU(folder / "ntu")


def _run_rpan(folder: Path, strategy: str) -> None:
    """Both streams on cubes."""
    from keras_actrec.recipes.rpan.run import run_rpan_experiment
    from tests.recipes import tiny_rpan

    stage = replace(tiny_rpan.STAGE, jit_compile=False)
    with tiny_rpan.small():
        experiment = tiny_rpan.tiny_rpan(folder / "rpan", train="on_maps", stage=stage, strategy=strategy)
        _leave(folder, "rpan", run_rpan_experiment(_bad_clips(folder, strategy), experiment))


def _run_vpn_and_glimpse_clouds(folder: Path, strategy: str) -> None:
    """On maps."""
    from keras_actrec.recipes.glimpse_clouds.run import run_glimpse_experiment
    from keras_actrec.recipes.vpn.run import run_vpn_experiment
    from tests.recipes import tiny_glimpse, tiny_vpn

    dataset, shared = _bad_clips(folder, strategy), {"train": "on_maps", "strategy": strategy}
    _leave(folder, "vpn", run_vpn_experiment(dataset, tiny_vpn.tiny_vpn(folder / "vpn", **shared)))
    with tiny_glimpse.small():
        experiment = tiny_glimpse.tiny_glimpse(folder / "glimpse_clouds", **shared)
        _leave(folder, "glimpse_clouds", run_glimpse_experiment(dataset, experiment))


def _run_interrupted(folder: Path, pose, mode: str) -> None:
    from keras_actrec.cache.writer import PoseShardWriter
    from keras_actrec.training import multiworker
    from tests.training.worker_run import wait_for_epoch

    shards, passes, last = [], [], worker_index() == 1
    finish, one_pass = PoseShardWriter.finish, multiworker._pass

    def finish_or_end(writer):
        shards.append(writer)
        if last and mode == "extracting" and len(shards) == 2:
            os.kill(os.getpid(), signal.SIGKILL)
        return finish(writer)

    def pass_or_end(*arguments):
        passes.append(arguments)
        if last and mode == "training" and len(passes) == 5:  # two of an epoch: training and validation
            wait_for_epoch(folder / "pose" / "pose" / "checkpoint.npys", 2)
            os.kill(os.getpid(), signal.SIGKILL)
        return one_pass(*arguments)

    own = {"apart": {"cache_dir": folder / "elsewhere"}, "different": {"holdout": 0.2}}.get(mode, {}) if last else {}
    with (
        patch.object(PoseShardWriter, "finish", finish_or_end),
        patch.object(multiworker, "_pass", pass_or_end),
        patch("keras_actrec.recipes.together._SETTLE_SECONDS", 0),
    ):
        _run_pose(folder, pose, resume=True, **own)


if __name__ == "__main__":
    try:
        main(sys.argv[1], Path(sys.argv[2]), sys.argv[3])
    except ActrecError as error:
        sys.exit(f"{type(error).__name__}: {error}")
