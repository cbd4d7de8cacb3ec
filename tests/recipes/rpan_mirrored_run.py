"""Run by test_rpan.py in a process of its own: the CPU is split before TensorFlow starts. Prints one line of JSON."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path
from unittest.mock import patch

from keras_actrec.errors import ConfigError
from keras_actrec.training.strategies import build_strategy, logical_cpus


def main(root: Path, place: Path) -> dict:
    """Both ways to train on two devices, each with one stream; the same tested on one; and a batch that does not divide."""
    strategy = build_strategy("mirrored", devices=logical_cpus(2))

    import tensorflow as tf

    from keras_actrec.recipes.rpan.run import run_rpan_experiment
    from keras_actrec.recipes.sta_hands.two_stream import SyntheticNTU
    from tests.recipes.tiny_rpan import STAGE, small, tiny_rpan

    tf.config.run_functions_eagerly(True)  # tracing for two devices takes most of the time
    dataset, found = SyntheticNTU(root), {}
    mirrored = patch("keras_actrec.recipes.video.run.build_strategy", lambda name: strategy)
    stage = replace(STAGE, epochs=1, jit_compile=False)
    with small():
        for train, stream in (("end_to_end", "rgb"), ("on_maps", "flow")):
            experiment = tiny_rpan(
                place / train, cache_dir=place / "cache", train=train, streams=(stream,), stage=stage
            )  # fmt: skip
            with mirrored:
                result = run_rpan_experiment(dataset, experiment, export=False)
            again = run_rpan_experiment(dataset, replace(experiment, resume=True, strategy="none"), export=False)
            found[train] = {
                "devices": result.metrics["configuration"]["devices"],
                "stages": [one["name"] for one in result.metrics["stages"]],
                "tested": result.evaluation.scores[stream].tolist(),
                "again": again.evaluation.scores[stream].tolist(),
                "joints": result.metrics["pose_estimation"],
                "joints_again": again.metrics["pose_estimation"],
            }
        try:
            with mirrored:
                run_rpan_experiment(dataset, replace(experiment, stage=replace(stage, batch_size=7)), export=False)
        except ConfigError as error:
            found["odd_batch"] = str(error)
    return found


if __name__ == "__main__":
    print(json.dumps(main(*map(Path, sys.argv[1:]))))
