"""Pose networks of STA-Hands: a pose tensor X (B, T, W, 3) → pose features s (B, pose_features).

`convolutional` is the paper's (Baradel, Wolf, Mille 2017, section 3.1 and 4). `res_tcn` convolves over time only, each frame's
columns being its channels, in residual blocks, after T. S. Kim, A. Reiter, "Interpretable 3D Human Action Analysis with
Temporal Convolutional Networks", CVPR Workshops 2017, in post-activation blocks and far
fewer layers, as clips come as 20 frames.
"""

from __future__ import annotations

import keras

from keras_actrec.layers.dense import Dense
from keras_actrec.models.sta_hands_config import STAHandsConfig

POSE_PREFIX = "pose_"
"""Every layer of a pose network has a name that starts so, its classifier `pose_logits` included."""


def pose_network(pose, config: STAHandsConfig):
    """f_sk, eq. 1, in the variant that the configuration names: X (B, T, W, 3) → s (B, pose_features)."""
    features = _res_tcn(pose, config) if config.pose_network == "res_tcn" else _convolutional(pose, config)
    return Dense(config.pose_features, activation="relu", name=f"{POSE_PREFIX}features")(features)


def _convolutional(pose, config: STAHandsConfig):
    """Section 4: 20×300 → 10×150 → 5×75, flat.

    The last convolution (5×75) covers its whole map, which makes it a matrix product. It is written as one, because XLA on CPUs
    computes the gradient of such a convolution more than ten times slower.
    """
    maps = pose
    for index, filters in enumerate(config.pose_filters, start=1):
        maps = keras.layers.Conv2D(filters, (8, 3), padding="same", activation="relu", name=f"{POSE_PREFIX}conv{index}")(maps)
        maps = keras.layers.MaxPooling2D(2, name=f"{POSE_PREFIX}pool{index}")(maps)
    return keras.layers.Flatten(name=f"{POSE_PREFIX}flatten")(maps)


def _res_tcn(pose, config: STAHandsConfig):
    """(B, T, W · 3) → residual blocks of two temporal convolutions, halving T after every second → mean over time."""
    units, kernel = config.tcn_units, config.tcn_kernel
    steps = keras.layers.Reshape((config.frames, config.pose_width * 3), name=f"{POSE_PREFIX}columns")(pose)
    # Metres and metres per frame come to one magnitude; whole columns are dropped, so that no single joint decides.
    steps = keras.layers.BatchNormalization(name=f"{POSE_PREFIX}input_norm")(steps)
    steps = keras.layers.SpatialDropout1D(config.tcn_input_dropout, name=f"{POSE_PREFIX}input_dropout")(steps)
    steps = _temporal_convolution(steps, units, 3, "stem")
    steps = keras.layers.ReLU(name=f"{POSE_PREFIX}stem_relu")(steps)
    for block in range(1, config.tcn_blocks + 1):
        inner = _temporal_convolution(steps, units, kernel, f"block{block}a")
        inner = keras.layers.ReLU(name=f"{POSE_PREFIX}block{block}a_relu")(inner)
        inner = keras.layers.Dropout(config.dropout / 2, name=f"{POSE_PREFIX}block{block}_dropout")(inner)
        inner = _temporal_convolution(inner, units, kernel, f"block{block}b")
        steps = keras.layers.Add(name=f"{POSE_PREFIX}block{block}_add")([steps, inner])
        steps = keras.layers.ReLU(name=f"{POSE_PREFIX}block{block}_relu")(steps)
        if block % 2 == 0 and block < config.tcn_blocks:
            steps = keras.layers.MaxPooling1D(2, name=f"{POSE_PREFIX}pool{block // 2}")(steps)
    return keras.layers.GlobalAveragePooling1D(name=f"{POSE_PREFIX}mean")(steps)


def _temporal_convolution(steps, units: int, kernel: int, name: str):
    steps = keras.layers.Conv1D(units, kernel, padding="same", use_bias=False, name=f"{POSE_PREFIX}{name}_conv")(steps)
    return keras.layers.BatchNormalization(name=f"{POSE_PREFIX}{name}_norm")(steps)
