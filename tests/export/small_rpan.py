"""An RPAN small enough for a test, over a frame network of one convolution."""

from __future__ import annotations

import keras
import numpy as np

from keras_actrec.models.rpan import rpan
from keras_actrec.models.rpan_config import RPANConfig
from keras_actrec.video.frame_clips import FrameClipConfig

SAMPLING = FrameClipConfig(frames=4, picture_size=(24, 32), views=3)
FLOW = {"method": "dis", "picture_size": [24, 32], "bound": 20.0, "preset": "ultrafast"}
"""Options of the flow of `small_rpan(channels=10)`, as JSON has them."""
BACKBONE = {"name": "small"}


def small_backbone(channels: int = 3, picture_size: tuple[int, int] = SAMPLING.picture_size) -> keras.Model:
    """Pictures (H, W, channels) → cube (H / 8, W / 8, 5), pooled (6,)."""
    picture = keras.Input((*picture_size, channels), name="picture")
    cube = keras.layers.Conv2D(5, 8, strides=8, activation="tanh")(picture)
    pooled = keras.layers.Dense(6)(keras.ops.mean(cube, axis=(1, 2)))
    return keras.Model(picture, {"cube": cube, "pooled": pooled}, name="small")


def small_config(*, classes: int = 3, picture_size: tuple[int, int] = SAMPLING.picture_size, **fields) -> RPANConfig:
    sizes = {"frames": SAMPLING.frames, "cube_shape": (picture_size[0] // 8, picture_size[1] // 8, 5), "pooled_size": 6}
    return RPANConfig(**{"classes": classes, "picture_size": picture_size, **sizes, "units": 7, "attention_units": 4, **fields})


def small_rpan(channels: int = 3, **fields) -> keras.Model:
    """Fields of `small_config`; every weight is drawn from a seed, so that clips, joints and steps differ."""
    config = small_config(**fields)
    model = rpan(config, small_backbone(channels, config.picture_size))
    rng = np.random.default_rng(5)
    scale = {4: 0.1}  # of convolutions, so that tanh tells pictures apart
    model.set_weights([rng.normal(0, scale.get(w.ndim, 0.8), w.shape).astype(np.float32) for w in model.get_weights()])
    return model
