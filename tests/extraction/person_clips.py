"""Small person clips, and a small video network over them."""

from __future__ import annotations

from pathlib import Path

import cv2
import keras
import numpy as np

from keras_actrec.cache.person_clip_writer import person_clip_writer
from keras_actrec.cache.schema import PERSON_CLIPS, CacheOptions, plan_cache

SIZE, FRAMES = 16, 4
LENGTHS = {"a": 12, "b": 3, "c": 9, "d": 5, "e": 20}
NETWORK = "tests.extraction.person_clips:tiny_network"


def tiny_network(config) -> keras.Model:
    """Two convolutions: (F, S, S, 3) → (F / 2, S / 4, S / 4, 5)."""
    clip = keras.Input((config.frames, config.image_size, config.image_size, 3), name="clip")
    first = keras.layers.Conv3D(
        4, 3, strides=(1, 2, 2), padding="same", activation="relu",
        kernel_initializer=keras.initializers.HeNormal(config.seed),
    )  # fmt: skip
    second = keras.layers.Conv3D(
        5, 3, strides=2, padding="same", kernel_initializer=keras.initializers.HeNormal(config.seed + 1)
    )
    return keras.Model(clip, second(first(clip)), name="tiny")


def write_person_clips(folder: Path, lengths: dict[str, int] = LENGTHS, *, storage: str = "hdf5", margin: float = 0.1) -> Path:
    """Images of coloured blocks that change from frame to frame."""
    options = {"storage": storage, "size": SIZE, "margin": margin}
    index = plan_cache(folder, CacheOptions(PERSON_CLIPS, "test", "kinect_v2", options), lengths)
    for shard, clips in enumerate(index.shards):
        with person_clip_writer(folder, index, shard) as writer:
            for clip in clips:
                rng = np.random.default_rng(ord(clip[-1]))
                writer.begin_clip(clip)
                for _ in range(lengths[clip]):
                    image = np.kron(rng.integers(0, 256, (4, 4, 3)), np.ones((SIZE // 4, SIZE // 4, 1))).astype(np.uint8)
                    writer.write(cv2.imencode(".jpg", image)[1].tobytes())
                writer.end_clip(np.zeros((lengths[clip], 4), np.float32))
            writer.finish()
    return folder
