"""STA-Hands: a pose stream and an RGB stream that attends to hands, conditioned on pose.

Paper: Baradel, Wolf, Mille, "Pose-conditioned Spatio-Temporal Attention for Human Action Recognition", 2017 (no public code by
the authors). Written from the paper for this project, MIT licence. What the paper leaves open is listed in docs/fidelity.md.

    pose X ── conv, pool, conv, pool, conv ── s ──────────────── dropout ── linear ── pose_logits ─┐
                                              │                                                    + ── logits
    hands V ── spatial attention LSTM (s) ── h_t ── u_t ── temporal attention (P, s) ── ũ ──
                                                           dropout ── linear ── rgb_logits ────────┘
"""

from __future__ import annotations

import keras
from keras import ops

from keras_actrec.errors import ConfigError
from keras_actrec.layers.spatial_attention_lstm import SpatialAttentionLSTM
from keras_actrec.layers.temporal_attention import TemporalAttentionPooling
from keras_actrec.models.pose_networks import POSE_PREFIX, pose_network
from keras_actrec.models.sta_hands_config import PRESETS, STAHandsConfig, preset

__all__ = [
    "PRESETS",
    "STAHandsConfig",
    "freeze_pose_network",
    "pose_network_layers",
    "pose_stream",
    "preset",
    "rgb_stream",
    "sta_hands",
    "without_pose_classifier",
]


def sta_hands(config: STAHandsConfig) -> keras.Model:
    """Builds the network as a functional Keras model with named inputs and outputs.

    Args:
        config: sizes and variant.

    Returns:
        A model on a dict of inputs, those that the variant needs:
            pose: X, (B, T, pose_width, 3): coordinates, velocities, accelerations.
            hands: V, (B, T, N, feature_size).
        and a dict of outputs, those that the variant has (logits and attention stay float32 under reduced precision):
            logits: (B, classes), the sum of the streams' logits (section 3.4), or the only stream's.
            pose_logits, rgb_logits: (B, classes).
            spatial_attention: p_t, (B, T, N).
            temporal_attention: p', (B, T).
            pose_features: s, (B, pose_features).
    """
    inputs, outputs, stream_logits = {}, {}, []
    s = None

    # Pose stream (section 3.1)
    if config.has_pose_network:
        inputs["pose"] = keras.Input((config.frames, config.pose_width, 3), name="pose")
        s = outputs["pose_features"] = pose_network(inputs["pose"], config)
    if config.has_pose_classifier:
        outputs["pose_logits"] = _classifier(s, config, "pose")
        stream_logits.append(outputs["pose_logits"])

    # RGB stream (sections 3.2 and 3.3)
    if config.has_rgb_stream:
        inputs["hands"] = keras.Input((config.frames, config.hands, config.feature_size), name="hands")
        features, attention = _rgb_network(inputs["hands"], s if config.pose_conditioning else None, config)
        outputs |= attention
        outputs["rgb_logits"] = _classifier(features, config, "rgb")
        stream_logits.append(outputs["rgb_logits"])

    # Fusion (section 3.4)
    fused = len(stream_logits) == 2
    outputs["logits"] = keras.layers.Add(name="logits", dtype="float32")(stream_logits) if fused else stream_logits[0]
    return keras.Model(inputs, outputs, name="sta_hands")


def _rgb_network(hands, s, config: STAHandsConfig):
    """f_h, f_p, f_u, f'_p, eq. 3 to 7: V (B, T, N, D) and s or None → ũ (B, temporal_features), attention outputs by name."""
    attention = {}
    if config.hand_pooling == "attention":
        states, attention["spatial_attention"] = SpatialAttentionLSTM(
            config.lstm_units,
            attention_units=config.spatial_attention_units,
            mask_absent_hands=config.mask_absent_hands,
            name="spatial_attention_lstm",
        )(hands, s)
    else:
        # No cuDNN kernel: an exported model has to run on machines without a GPU.
        lstm = keras.layers.LSTM(config.lstm_units, return_sequences=True, use_cudnn=False, name="lstm")
        states = lstm(_pool_without_attention(hands, config))

    u = keras.layers.Dense(config.temporal_features, activation="relu", name="step_features")(states)  # eq. 6
    if config.temporal_pooling == "attention":
        pooled, attention["temporal_attention"] = TemporalAttentionPooling(
            attention_units=config.temporal_attention_units, name="temporal_attention"
        )(u, attention.get("spatial_attention"), s)
    else:
        pooled = keras.layers.GlobalAveragePooling1D(name="temporal_mean")(u)
    return pooled, attention


def _pool_without_attention(hands, config: STAHandsConfig):
    """The baselines of section 3.2 and Table 6: (B, T, N, D) → sum (B, T, D) or concatenation (B, T, N · D)."""
    if config.hand_pooling == "sum":
        return ops.sum(hands, axis=2)
    return keras.layers.Reshape((config.frames, config.hands * config.feature_size), name="hand_concat")(hands)


def _classifier(features, config: STAHandsConfig, stream: str):
    """Dropout and the stream's own linear classifier (B, classes); the softmax is left to the loss. Logits stay float32."""
    features = keras.layers.Dropout(config.dropout, name=f"{stream}_dropout")(features)
    return keras.layers.Dense(config.classes, dtype="float32", name=f"{stream}_logits")(features)


def pose_stream(model: keras.Model) -> keras.Model:
    """The pose stream of an STA-Hands model, for stage 1 of the training: {"pose"} → pose_logits (B, classes).

    Layers and weights are shared with `model`.

    Raises:
        ConfigError: the model has no pose classifier.
    """
    return _stream(model, "pose", ("pose",))


def rgb_stream(model: keras.Model) -> keras.Model:
    """The RGB stream of an STA-Hands model, for stage 2: the model's own inputs → rgb_logits (B, classes).

    Layers and weights are shared with `model`, the pose network that conditions the attention included; call
    `freeze_pose_network` first to train the RGB stream alone (section 4). Without pose conditioning `pose` is not read.

    Raises:
        ConfigError: the model has no RGB stream.
    """
    return _stream(model, "rgb", tuple(model.input))


def without_pose_classifier(model: keras.Model) -> keras.Model:
    """A trained two-stream model as an "RGB only" one whose attention still sees the pose (rows E and G of Table 6).

    Its `logits` are the RGB stream's; layers and weights are shared with `model`, which needs both streams.

    Raises:
        ConfigError: the model has no RGB stream.
    """
    logits = _stream(model, "rgb", tuple(model.input)).output
    kept = {name: tensor for name, tensor in model.output.items() if name not in ("pose_logits", "logits")}
    return keras.Model(model.input, {**kept, "logits": logits}, name=model.name)


def _stream(model: keras.Model, stream: str, input_names: tuple[str, ...]) -> keras.Model:
    names = {layer.name for layer in model.layers}
    if f"{stream}_logits" not in names:
        raise ConfigError(
            f"model {model.name} has no {stream} stream",
            found=sorted(name for name in names if name.endswith("_logits")),
            expected=f"{stream}_logits",
            fix=f"build it with streams='both' or streams={stream!r}",
        )
    inputs = {name: model.input[name] for name in input_names}
    return keras.Model(inputs, model.get_layer(f"{stream}_logits").output, name=f"{stream}_stream")


def pose_network_layers(model: keras.Model) -> list[keras.layers.Layer]:
    """The layers of the pose network, its classifier included: those whose name starts with `POSE_PREFIX`."""
    return [layer for layer in model.layers if layer.name.startswith(POSE_PREFIX)]


def freeze_pose_network(model: keras.Model) -> None:
    """Makes the pose network's weights (θ_sk and its classifier) untrainable, as for stage 2 of section 4.

    Works on the full model and on streams made from it, which share its layers. Compile after this call, not before.

    Raises:
        ConfigError: the model holds no pose network.
    """
    layers = pose_network_layers(model)
    if not layers:
        raise ConfigError(
            f"model {model.name} has no pose network to freeze", fix="skip freezing for models without pose conditioning"
        )
    for layer in layers:
        layer.trainable = False
