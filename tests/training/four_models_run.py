"""Run by test_four_models.py in a process of its own: the CPU is split before TensorFlow starts. Prints one line of JSON."""

from __future__ import annotations

import copy
import json
import sys
import tempfile
from collections.abc import Mapping, Sequence

import numpy as np

from keras_actrec.training.strategies import build_strategy, logical_cpus

CLASSES, EPOCHS = 3, 3


class NoiseSource:
    """A `BatchSource` over 20 clips "c00" … "c19" with labels 0, 1, 2, 0, …; arrays are noise of clip and draw."""

    draws, test_rows = 1, 1

    def __init__(self, shapes: Mapping[str, tuple[int, ...]]):
        self.shapes, self.inputs = dict(shapes), tuple(shapes)
        self.clip_ids = tuple(f"c{i:02d}" for i in range(20))

    @property
    def dtypes(self):
        return dict.fromkeys(self.inputs, np.float32)

    def select(self, inputs: Sequence[str]):
        chosen = copy.copy(self)
        chosen.inputs = tuple(name for name in self.inputs if name in inputs)
        chosen.shapes = {name: self.shapes[name] for name in chosen.inputs}
        return chosen

    def label(self, clip_id: str) -> int:
        return int(clip_id[1:]) % CLASSES

    def training_batch(self, clip_ids, uniforms):
        labels = np.array([self.label(clip) for clip in clip_ids], np.int32)
        seeds = [[int(clip[1:]), int(1e6 * draw[0])] for clip, draw in zip(clip_ids, uniforms, strict=True)]
        arrays = {}
        for number, (name, shape) in enumerate(sorted(self.shapes.items())):
            rows = [np.random.default_rng([number, *seed]).uniform(-0.9, 0.9, shape) for seed in seeds]
            arrays[name] = np.array(rows, np.float32) + (0.1 * labels).reshape(-1, *(1 for _ in shape)).astype(np.float32)
        return arrays, labels

    def test_batch(self, clip_ids):
        return self.training_batch(clip_ids, np.full((len(clip_ids), 1), 0.5))


def models() -> dict:
    """Name → function that builds the model of a few units, its objective, and the joints among its targets. What a device
    does with its own rows alone is left out: dropout, statistics of batch normalisation, φ scaled over a batch."""
    import keras

    from keras_actrec.models.glimpse_clouds import GlimpseCloudsConfig, glimpse_clouds
    from keras_actrec.models.rpan import RPANConfig, rpan
    from keras_actrec.models.sta_hands import STAHandsConfig, rgb_stream, sta_hands
    from keras_actrec.models.vpn import VPNConfig, vpn
    from keras_actrec.training.glimpse_objective import glimpse_clouds_objective
    from keras_actrec.training.rpan_objective import rpan_objective
    from keras_actrec.training.vpn_objective import vpn_objective

    def of_sta_hands():
        config = STAHandsConfig(
            CLASSES, frames=8, pose_width=12, feature_size=10, pose_filters=(3, 4), pose_features=6, lstm_units=5,
            spatial_attention_units=4, temporal_attention_units=4, temporal_features=5, dropout=0.0,
        )  # fmt: skip
        return rgb_stream(sta_hands(config)), None, {}

    def of_vpn():
        config = VPNConfig(
            CLASSES, poses=4, map_shape=(2, 3, 3, 6), graph_units=4, pose_filters=(3, 4), spatial_units=5, temporal_units=4,
            embedding_units=6, dropout=0.0,
        )  # fmt: skip
        model = vpn(config)
        for layer in model.layers:
            if isinstance(layer, keras.layers.BatchNormalization):
                layer.trainable = False
        return model, vpn_objective(config), {}

    def of_glimpse_clouds():
        config = GlimpseCloudsConfig(
            CLASSES, frames=2, map_shape=(4, 4, 6), context_size=5, glimpse_units=7, worker_units=5, location_units=4,
            normalise_over="clip", distance="random",
        )  # fmt: skip
        return glimpse_clouds(config), glimpse_clouds_objective(config), {"joints": (2, 2, 25, 2)}

    def of_rpan():
        config = RPANConfig(
            CLASSES, frames=3, cube_shape=(3, 4, 5), pooled_size=7, units=6, attention_units=4, picture_size=(24, 32)
        )  # fmt: skip
        return rpan(config), rpan_objective(config), {"joints": (3, 15, 2)}

    return {"sta_hands": of_sta_hands, "vpn": of_vpn, "glimpse_clouds": of_glimpse_clouds, "rpan": of_rpan}


def main() -> dict:
    """Name of a model → on one device and on two: rows of the history; and the largest difference of their weights."""
    two = build_strategy("mirrored", devices=logical_cpus(2))

    import keras

    from keras_actrec.training.checkpoints import arrays_of
    from keras_actrec.training.config import StageConfig
    from keras_actrec.training.stages import run_stage

    config = StageConfig("stage", learning_rate=1e-2, batch_size=6, epochs=EPOCHS, patience=EPOCHS)
    found = {}
    for name, build in models().items():
        histories, weights = [], []
        for strategy in (build_strategy("none"), two):
            keras.utils.set_random_seed(1)
            with strategy.scope():
                model, objective, targets = build()
            source = NoiseSource({key: tuple(tensor.shape[1:]) for key, tensor in model.input.items()} | targets)
            with tempfile.TemporaryDirectory() as folder:
                history = run_stage(
                    model, model, source, source.clip_ids[:15], source.clip_ids[15:], config, folder, strategy=strategy,
                    objective=objective,
                )  # fmt: skip
            histories.append(history.epochs)
            weights.append(arrays_of(model.weights))
        difference = max(float(np.abs(one - other).max()) for one, other in zip(*weights, strict=True))
        found[name] = {"one": histories[0], "two": histories[1], "difference": difference}
    return found


if __name__ == "__main__":
    print(json.dumps(main()))
    sys.exit(0)
