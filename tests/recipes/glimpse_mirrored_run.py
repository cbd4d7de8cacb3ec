"""Run by test_glimpse_clouds.py in a process of its own: the CPU is split before TensorFlow starts. Prints one line of JSON."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path
from unittest.mock import patch

from keras_actrec.errors import ConfigError
from keras_actrec.training.strategies import build_strategy, logical_cpus


def main(root: Path, place: Path) -> dict:
    """Both ways to train on two devices, the same tested on one, and a batch that does not divide."""
    strategy = build_strategy("mirrored", devices=logical_cpus(2))

    import tensorflow as tf

    from keras_actrec.recipes.glimpse_clouds.run import run_glimpse_experiment
    from keras_actrec.recipes.sta_hands.two_stream import SyntheticNTU
    from tests.recipes.tiny_glimpse import STAGE, small, tiny_glimpse

    tf.config.run_functions_eagerly(True)  # tracing for two devices takes most of the time
    stages = {f"{name}_stage": replace(STAGE, name=name, epochs=1) for name in ("global", "clouds")}
    dataset, found = SyntheticNTU(root), {}
    exports = patch("keras_actrec.recipes.glimpse_clouds.run.export_glimpse_clouds", lambda model, directory, **_: directory)
    mirrored = patch("keras_actrec.recipes.video.run.build_strategy", lambda name: strategy)
    with small(), exports:
        for train in ("end_to_end", "on_maps"):
            experiment = tiny_glimpse(place / train, cache_dir=place / "cache", train=train, **stages)
            with mirrored:
                result = run_glimpse_experiment(dataset, experiment)
            again = run_glimpse_experiment(dataset, replace(experiment, resume=True, strategy="none"))
            found[train] = {
                "devices": result.metrics["configuration"]["devices"],
                "stages": [stage["name"] for stage in result.metrics["stages"]],
                "tested": result.evaluation.scores["glimpse_clouds"].tolist(),
                "again": again.evaluation.scores["glimpse_clouds"].tolist(),
            }
        try:
            with mirrored:
                odd = replace(experiment.clouds_stage, batch_size=7)
                run_glimpse_experiment(dataset, replace(experiment, clouds_stage=odd))
        except ConfigError as error:
            found["odd_batch"] = str(error)
    return found


if __name__ == "__main__":
    print(json.dumps(main(*map(Path, sys.argv[1:]))))
