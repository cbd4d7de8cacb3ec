"""VPN: a video network whose feature map is weighted over space and time by poses, and embedded beside them.

Paper: Das, Sharma, Dai, Bremond, Thonnat, "VPN: Learning Video-Pose Embedding for Activities of Daily Living", ECCV 2020. The
authors' code, github.com/srijandas07/VPN, differs from it (preset "vpn_official"). Written for this project from the paper, MIT
licence. What the paper leaves open, and where the two differ, is listed in docs/fidelity.md.

    clip ── visual backbone ── f ─────┬──────────── A_ST · f + f ── mean ── dropout ── linear ── logits
                                      │                  │
                                      ├─ f_s ─ T_v ─┐    A_ST = A_S ∘ A_T
                                      │             ├─ distance L_e
    poses ── pose backbone ── h* ──┬─ z_1 ── T_p ───┘    A_S = σ(z_1)
                                   └─ z_2                A_T = softmax(z_2)
"""

from __future__ import annotations

from typing import NamedTuple

import keras
import numpy as np
from keras import ops

from keras_actrec.errors import ConfigError
from keras_actrec.layers.attention_coupling import SpatioTemporalCoupling
from keras_actrec.layers.map_windows import MapWindows
from keras_actrec.layers.spatial_embedding import SpatialEmbedding
from keras_actrec.models.vpn_config import PRESETS, VPNConfig, preset
from keras_actrec.models.vpn_pose import pose_backbone

__all__ = ["PRESETS", "VPNConfig", "preset", "vpn", "with_backbone"]

BACKBONE = "backbone"
"""Name of the visual backbone inside of a VPN model."""


class _Attention(NamedTuple):
    """z_1 (B, m·n), A_S (B, m·n), A_T (B, t_c) or None."""

    latent: keras.KerasTensor
    spatial: keras.KerasTensor
    temporal: keras.KerasTensor | None


def vpn(
    config: VPNConfig, backbone: keras.Model | None = None, *, map_shape: tuple[int, int, int, int] | None = None
) -> keras.Model:
    """Builds the network as a functional Keras model with named inputs and outputs.

    The map may be larger in space than `config.map_shape`: then the head runs at every place where its attention map fits, and
    the softmax scores of all places are max-pooled (section 4.1: "fully convolutional inference in space").

    Args:
        config: sizes and variant.
        backbone: a model from clips (B, F, S, S, channels) to feature maps (B, t, h, w, c), e.g. of
            `keras_actrec.backbones.visual.build_backbone`; it becomes a part of the model. None builds the network that runs
            on maps which were computed before.
        map_shape: (t, h, w, c) of the maps where there is no backbone; None: `config.map_shape`.

    Returns:
        A model on a dict of inputs:
            clip: (B, F, S, S, channels); or map: f, (B, t, h, w, c), where there is no backbone.
            pose: P, (B, t_p, J, 3), for all variants but "none".
        and a dict of outputs, those that the variant has (all but the maps inside are float32 under reduced precision):
            logits: (B, classes). Over several places: the logarithm of the scores.
            scores: (B, classes), softmax, max-pooled over places.
            spatial_attention: A_S, (B, m, n).
            temporal_attention: A_T, (B, t_c).
            attention: A_ST, (B, t_c, m, n).
            embedding_distance: L_e of each clip, (B,).

    Raises:
        ConfigError: the backbone's map does not fit the configuration.
    """
    inputs = {}
    if backbone is None:
        inputs["map"] = f = keras.Input(map_shape or config.map_shape, name="map")
    else:
        inputs["clip"] = keras.Input(backbone.input_shape[1:], name="clip")
        f = _renamed(backbone)(inputs["clip"])
    _check_map(tuple(f.shape[1:]), config)
    _, rows, columns, _ = config.map_shape
    windows = MapWindows(rows, columns, name="windows")(f)
    if not config.has_pose:
        return keras.Model(inputs, _classify(_pooled(windows), config), name="vpn")

    inputs["pose"] = keras.Input((config.poses, len(config.joints), 3), name="pose")
    attention = _attention(pose_backbone(inputs["pose"], config), config)
    modulate, embed = (_official_modulate, _official_embed) if config.code == "official" else (_modulate, _embed)
    modulated, weights = modulate(windows, attention, config)
    outputs = _classify(_pooled(modulated), config)
    outputs["spatial_attention"] = keras.layers.Reshape((rows, columns), name="spatial_attention", dtype="float32")(
        attention.spatial
    )
    if attention.temporal is not None:
        outputs["temporal_attention"] = attention.temporal
    outputs["attention"] = weights
    if config.embedding != "none":
        outputs["embedding_distance"] = embed(windows, attention, config)
    return keras.Model(inputs, outputs, name="vpn")


def with_backbone(config: VPNConfig, head: keras.Model, backbone: keras.Model) -> keras.Model:
    """The whole network from a head that was trained on maps: `vpn(config, backbone)` with the head's weights.

    Args:
        config: that the head was built from.
        head: `vpn(config)`.
        backbone: what the maps were computed with; its clips may be larger than those, for fully convolutional inference.
    """
    model = vpn(config, backbone)
    for layer in head.layers:
        if layer.weights:
            model.get_layer(layer.name).set_weights(layer.get_weights())
    return model


def _renamed(backbone: keras.Model) -> keras.Model:
    """The same graph and weights as a model with the one name under which checkpoints know it."""
    renamed = keras.Model(backbone.input, backbone.output, name=BACKBONE)
    if not backbone.trainable:  # never True: that would thaw layers which were frozen one by one
        renamed.trainable = False
    return renamed


def _check_map(shape: tuple[int | None, ...], config: VPNConfig) -> None:
    time, rows, columns, channels = config.map_shape
    fits = len(shape) == 4 and None not in shape and (shape[0], shape[3]) == (time, channels)
    if not (fits and shape[1] >= rows and shape[2] >= columns):
        raise ConfigError(
            "VPN: the feature map does not fit the configuration",
            found=shape, expected=f"({time}, at least {rows}, at least {columns}, {channels})",
            fix="set map_shape to the (t, h, w, c) of the backbone's map for the clips that the network is trained on",
        )  # fmt: skip


def _attention(h, config: VPNConfig) -> _Attention:
    """Eq. 2: z_r = W_z tanh(W_h h* + b_h) + b_z; A_S = σ(z_1), A_T = softmax(z_2)."""
    # The published code begins with the same attention everywhere.
    initial = "zeros" if config.code == "official" else "glorot_uniform"
    time, rows, columns, _ = config.map_shape

    def latent(name: str, units: int, values: int):
        hidden = keras.layers.Dense(units, activation="tanh", name=f"{name}_hidden")(h)
        return keras.layers.Dense(values, kernel_initializer=initial, dtype="float32", name=f"{name}_latent")(hidden)

    z1 = latent("spatial", config.spatial_units, rows * columns)
    spatial = keras.layers.Activation("sigmoid", dtype="float32", name="spatial_weights")(z1)
    if not config.has_temporal_attention:
        return _Attention(z1, spatial, None)
    z2 = latent("temporal", config.temporal_units, time)
    return _Attention(z1, spatial, keras.layers.Activation("softmax", dtype="float32", name="temporal_attention")(z2))


def _modulate(windows, attention: _Attention, config: VPNConfig):
    """f' = A_ST · f + f → (B, n, t, m, n, c or 2c), A_ST (B, t, m, n)."""
    return SpatioTemporalCoupling(config.attention, name="coupler")(windows, attention.spatial, attention.temporal)


def _embed(windows, attention: _Attention, config: VPNConfig):
    """Eq. 3 and 4, or the divergences of Table 3 → (B,)."""
    embedding = SpatialEmbedding(config.embedding_units, config.embedding, name="embedding_distance")
    return embedding(windows, attention.latent)


def _official_modulate(windows, attention: _Attention, config: VPNConfig):
    """The published code's f', with its own way to spread the 49 weights over (t, m, n).

    It repeats every weight t · c times and folds the result into the shape of the map, which puts weight ⌊(τ·m·n + i) / t⌋, not
    weight i, on place i of step τ. The trained weights of that code depend on it.
    """
    time, rows, columns, _ = config.map_shape
    places = np.arange(time * rows * columns) // time
    spatial = ops.reshape(ops.take(attention.spatial, places, axis=1), (-1, time, rows, columns))
    weights = keras.layers.Multiply(name="attention", dtype="float32")(
        [spatial, ops.reshape(attention.temporal, (-1, time, 1, 1))]
    )
    inflated = ops.cast(ops.reshape(weights, (-1, 1, time, rows, columns, 1)), windows.dtype)
    return windows * inflated + windows, weights


def _official_embed(windows, attention: _Attention, config: VPNConfig):
    """The published code's embedding: Manhattan distance of sigmoid projections of the whole map and of A_S → (B,)."""
    _, places, *shape = windows.shape
    flat = keras.layers.Reshape((places, int(np.prod(shape))), name="embedding_flat")(windows)
    projections = [
        keras.layers.Dense(config.embedding_units, activation="sigmoid", dtype="float32", name=f"embedding_{name}")(values)
        for name, values in (("visual", flat), ("pose", attention.spatial))
    ]
    distance = ops.sum(ops.abs(projections[0] - ops.expand_dims(projections[1], 1)), axis=2)
    return ops.mean(distance, axis=1)


def _pooled(maps):
    """Global average pooling of every window: (B, n, t, m, n, c) → (B, n, c)."""
    return ops.mean(maps, axis=(2, 3, 4))


def _classify(features, config: VPNConfig) -> dict[str, keras.KerasTensor]:
    """Dropout and linear classifier at every place, softmax scores max-pooled over places: (B, n, c) → logits and scores."""
    features = keras.layers.Dropout(config.dropout, name="dropout")(features)
    if config.code == "official":  # two linear layers, one after the other
        features = keras.layers.Dense(config.classes, name="features")(features)
    logits = keras.layers.Dense(config.classes, dtype="float32", name="classifier")(features)
    pooled = ops.max(ops.log_softmax(logits, axis=-1), axis=1)
    one = logits.shape[1] == 1
    # The largest logarithm is that of the largest score. Raw logits where there is one place: those that people fuse.
    return {
        "logits": keras.layers.Reshape((config.classes,), name="logits", dtype="float32")(logits) if one else pooled,
        "scores": ops.exp(pooled),
    }
