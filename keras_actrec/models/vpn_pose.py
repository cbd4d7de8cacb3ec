"""Pose backbones of VPN: poses of a clip → the pose features h* that steer its attention.

Paper: Das et al., "VPN: Learning Video-Pose Embedding for Activities of Daily Living", ECCV 2020, section 3.2 (I) and Table 2.
"""

from __future__ import annotations

import keras
import numpy as np

from keras_actrec.layers.graph_convolution import PoseGraphConvolution
from keras_actrec.models.vpn_config import VPNConfig
from keras_actrec.skeletons.graph import bone_graph, normalised_adjacency, official_graph

_OFFICIAL_DROPOUT = 0.5  # behind the last convolution; a constant of the published code


def pose_backbone(poses: keras.KerasTensor, config: VPNConfig) -> keras.KerasTensor:
    """Poses P (B, t_p, J, 3) → h*, (B, D), by the variant of the configuration."""
    if config.code == "official":
        return _official(poses, config)
    return {"gcn": _gcn, "lstm": _lstm}[config.pose_backbone](poses, config)


def _gcn(poses, config: VPNConfig):
    """Eq. 1, one graph convolution per pose, the residual connection to the poses, three convolutions over (t_p, J)."""
    graph = bone_graph(config.joints, bone=config.bone_weight, other=config.other_weight)
    x = PoseGraphConvolution(config.graph_units, normalised_adjacency(graph)[None], name="pose_graph")(poses)
    x = keras.layers.Concatenate(name="pose_residual")([x, poses])
    for number, filters in enumerate(config.pose_filters, 1):
        x = keras.layers.Conv2D(filters, 3, padding="same", use_bias=False, name=f"pose_conv{number}")(x)
        x = keras.layers.BatchNormalization(name=f"pose_norm{number}")(x)
        x = keras.layers.ReLU(name=f"pose_relu{number}")(x)
    return keras.layers.Flatten(name="pose_features")(x)


def _lstm(poses, config: VPNConfig):
    """Table 2, l4 and l6: stacked LSTMs over the poses, joints side by side; the last state."""
    x = keras.layers.Reshape((config.poses, len(config.joints) * 3), name="pose_rows")(poses)
    for number in range(1, config.lstm_layers + 1):
        last = number == config.lstm_layers
        # No cuDNN kernel: an exported model has to run on machines without a GPU.
        x = keras.layers.LSTM(
            config.lstm_units,
            return_sequences=not last,
            use_cudnn=False,
            name="pose_features" if last else f"pose_lstm{number}",
        )(x)
    return x


def _official(poses, config: VPNConfig):
    """What the published code builds: filters [I, Â], ELU, batch norm before each convolution, two poolings, dense layers."""
    graph = official_graph(config.joints, bone=config.bone_weight, pair=config.other_weight)
    filters = np.stack([np.eye(len(config.joints)), normalised_adjacency(graph)])
    x = PoseGraphConvolution(config.graph_units, filters, activation="elu", use_bias=True, name="pose_graph")(poses)
    x = keras.layers.Dropout(config.dropout, name="pose_graph_dropout")(x)
    x = keras.layers.Concatenate(name="pose_residual")([x, poses])
    for number, units in enumerate(config.pose_filters, 1):
        x = keras.layers.BatchNormalization(name=f"pose_norm{number}")(x)
        x = keras.layers.Conv2D(units, 3, padding="same", activation="relu", name=f"pose_conv{number}")(x)
        if number > 1:
            x = keras.layers.MaxPooling2D(name=f"pose_pool{number}")(x)
    x = keras.layers.BatchNormalization(name=f"pose_norm{len(config.pose_filters) + 1}")(x)
    x = keras.layers.Dropout(_OFFICIAL_DROPOUT, name="pose_conv_dropout")(x)
    x = keras.layers.Flatten(name="pose_flat")(x)
    for number, units in enumerate((256, 128), 1):
        x = keras.layers.Dense(units, activation="relu", name=f"pose_dense{number}")(x)
    return keras.layers.Dropout(config.dropout, name="pose_features")(x)
