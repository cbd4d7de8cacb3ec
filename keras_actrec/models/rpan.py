"""RPAN: an LSTM that attends to the joints of the body, whose maps are taught by poses and need none in use.

Paper: Du, Wang, Qiao, "RPAN: An End-to-End Recurrent Pose-Attention Network for Action Recognition in Videos", ICCV 2017.
Written for this project from the paper, MIT licence. What the paper leaves open is listed in docs/fidelity.md.

    clip ── CNN ── cubes C_t ── pose attention ── parts F^P ── pooling S_t ── LSTM h_t ── step logits ── those of the last step
                                  │      ↑                                     │
                                heat     └───────────── h_{t-1} ───────────────┘
                                maps (training: joints)
"""

from __future__ import annotations

from collections.abc import Mapping

import keras
from keras import ops

from keras_actrec.errors import ConfigError
from keras_actrec.layers.pose_attention_lstm import PoseAttentionLSTM
from keras_actrec.models.rpan_config import PRESETS, RPANConfig, preset
from keras_actrec.skeletons.joint_groups import joint_groups
from keras_actrec.skeletons.layouts import LAYOUTS

__all__ = ["BACKBONE", "PRESETS", "RPANConfig", "attention_parts", "preset", "rpan", "with_backbone"]

BACKBONE = "backbone"
"""Name of the CNN inside of a model."""


def rpan(config: RPANConfig, backbone: keras.Model | None = None) -> keras.Model:
    """Builds the network as a functional Keras model with named inputs and outputs.

    Args:
        config: sizes and variant.
        backbone: a model from pictures (B, H, W, channels) to {"cube": (B, K1, K2, d), "pooled": (B, d')}, e.g. of
            `keras_actrec.backbones.frame_networks`; it becomes a part of the model. None builds the network that runs on cubes
            which were computed before.

    Returns:
        A model on a dict of inputs:
            clip: (B, T, H, W, channels) in [-1, 1]; or, where there is no backbone, cube: C, (B, T, K1, K2, d) — for attention
            "none" pooled: (B, T, d').
        and a dict of outputs:
            logits: (B, classes), those of the last step, which the test takes (section 4.1).
            step_logits: (B, T, classes), eq. 10.
            attention: α, (B, T, J, K1, K2), each map adds up to 1; J = 1 for "share_all", absent for "none".

    Raises:
        ConfigError: the cubes do not fit the configuration.
    """
    inputs, features = _inputs(config, backbone)
    expected = (config.frames, *config.cube_shape) if config.has_attention else (config.frames, config.pooled_size)
    if tuple(features.shape[1:]) != expected:
        raise ConfigError(
            "RPAN: the features do not fit the configuration", found=tuple(features.shape[1:]), expected=expected,
            fix="set frames, cube_shape and pooled_size to those of the backbone",
        )  # fmt: skip
    maps = {}
    if config.has_attention:
        states, maps["attention"] = PoseAttentionLSTM(
            config.units,
            attention_units=config.attention_units,
            parts=attention_parts(config),
            pooling=config.pooling,
            name="pose_attention_lstm",
        )(features)
    else:
        states = keras.layers.LSTM(config.units, return_sequences=True, name="lstm")(features)
    step_logits = keras.layers.Dense(config.classes, dtype="float32", name="classifier")(states)
    return keras.Model(inputs, {"logits": step_logits[:, -1], "step_logits": step_logits, **maps}, name="rpan")


def attention_parts(config: RPANConfig) -> tuple[tuple[int, ...], ...]:
    """The joints that share attention parameters; for "share_all" one map, of no joint.

    Raises:
        ConfigError: the configuration has no attention.
    """
    if not config.has_attention:
        raise ConfigError("RPAN without attention has no parts", found=config.attention)
    if config.attention == "share_all":
        return ((0,),)
    return tuple(joints for _, joints in joint_groups(LAYOUTS[config.layout], config.attention))


def with_backbone(config: RPANConfig, head: keras.Model, backbone: keras.Model) -> keras.Model:
    """The whole network from a head that was trained on cubes: `rpan(config, backbone)` with the head's weights."""
    model = rpan(config, backbone)
    for layer in head.layers:
        if layer.weights:
            model.get_layer(layer.name).set_weights(layer.get_weights())
    return model


def _inputs(config: RPANConfig, backbone: keras.Model | None):
    """Inputs by name, and C (B, T, K1, K2, d) or the pooled features (B, T, d')."""
    if backbone is None:
        name, shape = ("cube", config.cube_shape) if config.has_attention else ("pooled", (config.pooled_size,))
        inputs = {name: keras.Input((config.frames, *shape), name=name)}
        return inputs, inputs[name]
    found = backbone.output
    name = "cube" if config.has_attention else "pooled"
    if not isinstance(found, Mapping) or name not in found:
        raise ConfigError(
            "the backbone of RPAN gives a feature cube and a pooled feature",
            found=list(found) if isinstance(found, Mapping) else found, expected=name,
            fix="take a model of keras_actrec.backbones.frame_networks",
        )  # fmt: skip
    picture = tuple(backbone.input_shape[1:])
    clip = keras.Input((config.frames, *picture), name="clip")
    # Only what is used: a BN-Inception that gives cubes ends at layer 5a.
    renamed = keras.Model(backbone.input, found[name], name=BACKBONE)
    if not backbone.trainable:  # never True, which would thaw layers that were frozen one by one
        renamed.trainable = False
    frames = renamed(ops.reshape(clip, (-1, *picture)))
    return {"clip": clip}, ops.reshape(frames, (-1, config.frames, *frames.shape[1:]))
