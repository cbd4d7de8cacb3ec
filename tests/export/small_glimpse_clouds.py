"""A Glimpse Clouds small enough for a test, over a video network of two convolutions."""

from __future__ import annotations

import keras
import numpy as np

from keras_actrec.models.glimpse_clouds import glimpse_clouds
from keras_actrec.models.glimpse_clouds_config import GlimpseCloudsConfig
from keras_actrec.video.rgb_clips import RGBClipConfig

SAMPLING = RGBClipConfig(frames=4, image_size=16, views=3, seed=2)
PICTURE = 20
"""Side of the pictures that crops of 16 are taken from."""
VARIANTS = {
    "clouds": {},
    "both": {"model": "clouds_and_global", "encoding": "concat"},
    "tubes": {"attention": "tubes"},
    "random": {"attention": "random", "glimpse_loss": False},
    "global": {"model": "global", "glimpse_loss": False},
}
"""Name → fields of GlimpseCloudsConfig: with everything, without workers, without glimpses …"""


def small_backbone(*, frames: int = 4, side: int = 16) -> keras.Model:
    """Clips (frames, side, side, 3) → maps (side/4, side/4, 6) and penultimate maps (side/2, side/2, 5)."""
    clip = keras.Input((frames, side, side, 3), name="clip")
    penultimate = keras.layers.Conv3D(5, (3, 2, 2), strides=(1, 2, 2), padding="same", activation="relu")(clip)
    maps = keras.layers.Conv3D(6, (3, 2, 2), strides=(1, 2, 2), padding="same", activation="relu")(penultimate)
    return keras.Model(clip, {"map": maps, "pose_map": penultimate}, name="two_convolutions")


def small_config(*, classes: int = 3, **fields) -> GlimpseCloudsConfig:
    sizes = {"frames": 4, "map_shape": (4, 4, 6), "context_size": 5, "memory_slots": 4}
    units = {"glimpse_units": 7, "worker_units": 6, "location_units": 5}
    return GlimpseCloudsConfig(**{"classes": classes, **sizes, **units, **fields})


def small_glimpse_clouds(**fields) -> keras.Model:
    """Fields of `small_config`; every weight is drawn from a seed, and large enough that clips differ."""
    config = small_config(**fields)
    model = glimpse_clouds(config, small_backbone(frames=config.frames))
    rng = np.random.default_rng(5)
    model.set_weights([rng.normal(0, 0.8, weight.shape).astype(np.float32) for weight in model.get_weights()])
    return model
