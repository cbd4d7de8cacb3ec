"""A VPN small enough for a test, over a video network of one convolution."""

from __future__ import annotations

import keras
import numpy as np

from keras_actrec.models.vpn import vpn
from keras_actrec.models.vpn_config import VPNConfig
from keras_actrec.skeletons.clip_sampling import ClipSamplingConfig

SAMPLING = ClipSamplingConfig(frames=4, stride=2, poses=5, views=2)
VARIANTS = {
    "coupled": {},
    "spatial": {"attention": "spatial", "embedding": "none"},
    "official": {"code": "official", "classification_weight": 99.9},
    "none": {"attention": "none", "embedding": "none"},
}
"""Name → fields of VPNConfig: with everything, without temporal attention, the published code's, without poses."""


def small_vpn(
    *, side: int = 12, classes: int = 3, frames: int = 4, time: int = 2, joints: str = "kinect_v2", **fields
) -> keras.Model:
    """A VPN of maps (time, 3, 3, 6), the backbone's at side 12; every weight, the attentions' too, is drawn from a seed."""
    config = VPNConfig(
        classes=classes, layout=joints, poses=SAMPLING.poses, map_shape=(time, 3, 3, 6), graph_units=3, pose_filters=(4, 5),
        spatial_units=7, temporal_units=6, embedding_units=8, **fields,
    )  # fmt: skip
    clip = keras.Input((frames, side, side, 3), name="clip")
    steps = frames // time
    maps = keras.layers.Conv3D(6, (steps, 4, 4), strides=(steps, 4, 4), activation="relu")(clip)
    model = vpn(config, keras.Model(clip, maps, name="one_convolution"))
    rng = np.random.default_rng(8)
    model.set_weights([rng.normal(0.2, 0.4, weight.shape).astype(np.float32) ** 2 for weight in model.get_weights()])
    return model
