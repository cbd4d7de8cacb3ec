"""Run by test_vpn.py in a process of its own: the CPU is split before TensorFlow starts. Prints one line of JSON."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path
from unittest.mock import patch

import numpy as np

from keras_actrec.errors import ConfigError
from keras_actrec.training.strategies import build_strategy, logical_cpus


def main(root: Path, place: Path) -> dict:
    """Both ways to train on two devices, tested on larger images, and a batch that does not divide."""
    strategy = build_strategy("mirrored", devices=logical_cpus(2))

    import tensorflow as tf

    from keras_actrec.recipes.sta_hands.two_stream import SyntheticNTU
    from keras_actrec.recipes.vpn.run import run_vpn_experiment
    from tests.recipes.tiny_vpn import LARGER, TESTED, tiny_vpn
    from tests.recipes.vpn.test_run import ONE_EPOCH, views_of

    tf.config.run_functions_eagerly(True)  # tracing for two devices takes most of the time
    dataset, found = SyntheticNTU(root), {}
    with patch("keras_actrec.recipes.video.run.build_strategy", lambda name: strategy):
        for train in ("end_to_end", "on_maps"):
            experiment = tiny_vpn(
                place / train, cache_dir=place / "cache", train=train, stage=ONE_EPOCH, test_image_size=LARGER
            )  # fmt: skip
            result = run_vpn_experiment(dataset, experiment)
            served = tf.saved_model.load(str(result.export)).signatures["serve"]
            views = views_of(experiment, TESTED[0], LARGER)
            exported = served(**{name: tf.constant(rows) for name, rows in views.items()})["scores"]
            found[train] = {
                "devices": result.metrics["configuration"]["devices"],
                "exported": np.max(exported, axis=0).tolist(),
                "tested": result.evaluation.scores["vpn"][result.evaluation.clip_ids.index(TESTED[0])].tolist(),
            }
        try:
            run_vpn_experiment(dataset, replace(experiment, stage=replace(ONE_EPOCH, batch_size=7)))
        except ConfigError as error:
            found["odd_batch"] = str(error)
    return found


if __name__ == "__main__":
    print(json.dumps(main(*map(Path, sys.argv[1:]))))
