"""STA-Hands: a pose stream and an RGB stream that attends to hands, conditioned on pose.

Paper: Baradel, Wolf, Mille, "Pose-conditioned Spatio-Temporal Attention for Human Action Recognition", 2017 (no public code by
the authors). Written from the paper for this project, MIT licence. What the paper leaves open is listed in docs/fidelity.md.

    pose X ── conv, pool, conv, pool, conv ── s ──────────────── dropout ── linear ── pose_logits ─┐
                                              │                                                    + ── logits
    hands V ── spatial attention LSTM (s) ── h_t ── u_t ── temporal attention (P, s) ── ũ ──
                                                           dropout ── linear ── rgb_logits ────────┘
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import keras
from keras import ops

from keras_actrec.errors import ConfigError
from keras_actrec.layers.spatial_attention_lstm import SpatialAttentionLSTM
from keras_actrec.layers.temporal_attention import TemporalAttentionPooling
from keras_actrec.models.pose_networks import POSE_PREFIX, pose_network

_CHOICES = {
    "streams": ("both", "pose", "rgb"),
    "pose_network": ("convolutional", "res_tcn"),
    "hand_pooling": ("attention", "sum", "concat"),
    "temporal_pooling": ("attention", "mean"),
}


@dataclass(frozen=True)
class STAHandsConfig:
    """Everything that decides the graph of STA-Hands; the defaults are the paper's (section 4).

    Attributes:
        classes: number of action classes.
        frames: T, frames of a sub-sequence.
        pose_width: columns of the pose tensor: people · joint visits · 3 (300 for Kinect v2, 150 without repeated joints).
        hands: N, hands of all people in one frame.
        feature_size: values of the glimpse sensor per hand.
        pose_network: "convolutional", the paper's, or "res_tcn", see `keras_actrec.models.pose_networks`.
        pose_filters: filters of the 8×3 convolutions, each followed by 2×2 max-pooling (not in the paper: 32 and 64).
        pose_features: size of s, the filters of the last convolution, which covers the whole map that remains.
        tcn_units, tcn_blocks, tcn_kernel: channels, residual blocks and width in frames of the convolutions of "res_tcn".
        tcn_input_dropout: rate at which "res_tcn" drops whole columns of a pose tensor.
        lstm_units: size of h_t.
        spatial_attention_units, temporal_attention_units: hidden layers of the two attention networks.
        temporal_features: size of u_t (not in the paper: 256).
        dropout: rate before each linear classifier.
        streams: "both" (logits added), "pose" or "rgb" (then `logits` are that stream's).
        hand_pooling: "attention" (eq. 4 and 5), or the baselines "sum" and "concat" of Table 6.
        temporal_pooling: "attention" (eq. 7) or "mean" of u_t over time.
        mask_absent_hands: an absent hand (features of 0) gets no spatial attention; see `SpatialAttentionLSTM`.
        pose_conditioning: whether both attention networks see s. An "rgb" model then holds the pose network too, but not its
            classifier ("o" in Table 6).

    Raises:
        ConfigError: a value out of range, or a combination that has no meaning.
    """

    classes: int
    frames: int = 20
    pose_width: int = 300
    hands: int = 4
    feature_size: int = 2048
    pose_network: str = "convolutional"
    pose_filters: tuple[int, ...] = (32, 64)
    tcn_units: int = 128
    tcn_blocks: int = 2
    tcn_kernel: int = 5
    tcn_input_dropout: float = 0.2
    pose_features: int = 1024
    lstm_units: int = 1024
    spatial_attention_units: int = 256
    temporal_attention_units: int = 512
    temporal_features: int = 256
    dropout: float = 0.5
    streams: str = "both"
    hand_pooling: str = "attention"
    temporal_pooling: str = "attention"
    mask_absent_hands: bool = True
    pose_conditioning: bool = True

    def __post_init__(self):
        object.__setattr__(self, "pose_filters", tuple(self.pose_filters))  # a list, as JSON gives it, is welcome
        for field, choices in _CHOICES.items():
            value = getattr(self, field)
            if value not in choices:
                raise ConfigError(f"STAHandsConfig: unknown {field}", found=repr(value), expected=" | ".join(choices))
        self._check_sizes()
        if self.has_rgb_stream:
            self._check_conditioning()

    @property
    def has_rgb_stream(self) -> bool:
        return self.streams in ("both", "rgb")

    @property
    def has_pose_classifier(self) -> bool:
        return self.streams in ("both", "pose")

    @property
    def has_pose_network(self) -> bool:
        return self.has_pose_classifier or self.pose_conditioning

    def _check_sizes(self):
        minimum = {"classes": 2, "frames": 1, "pose_width": 1}
        if self.has_pose_network:  # every pooling halves the map and rounds down; something has to remain
            if self.pose_network == "res_tcn":
                minimum["frames"] = 2 ** max(0, (self.tcn_blocks - 1) // 2)
            else:
                minimum |= dict.fromkeys(("frames", "pose_width"), 2 ** len(self.pose_filters))
        for field in (
            *("classes", "frames", "pose_width", "hands", "feature_size", "pose_features", "lstm_units"),
            *("tcn_units", "tcn_blocks", "tcn_kernel"),
            *("spatial_attention_units", "temporal_attention_units", "temporal_features"),
        ):
            value, least = getattr(self, field), minimum.get(field, 1)
            if isinstance(value, bool) or not isinstance(value, int) or value < least:
                raise ConfigError(
                    f"STAHandsConfig: {field} is out of range", found=repr(value), expected=f"an integer of at least {least}"
                )
        if not self.pose_filters or min(self.pose_filters) < 1:
            raise ConfigError(
                "STAHandsConfig: pose_filters needs at least one positive number", found=self.pose_filters, expected="(32, 64)"
            )
        for field in ("dropout", "tcn_input_dropout"):
            rate = getattr(self, field)
            if not 0 <= rate < 1:
                raise ConfigError(f"STAHandsConfig: {field} is out of range", found=rate, expected=f"0 ≤ {field} < 1")

    def _check_conditioning(self):
        spatial, temporal = self.hand_pooling == "attention", self.temporal_pooling == "attention"
        if temporal and not spatial and not self.pose_conditioning:
            raise ConfigError(
                "STAHandsConfig: temporal attention has no input: it reads the spatial attention and the pose features",
                found=f"hand_pooling {self.hand_pooling!r}, temporal_pooling 'attention', pose_conditioning False",
                fix="set temporal_pooling='mean', or pose_conditioning=True, or hand_pooling='attention'",
            )
        if self.pose_conditioning and not spatial and not temporal:
            raise ConfigError(
                "STAHandsConfig: pose_conditioning without any attention to condition",
                found=f"hand_pooling {self.hand_pooling!r}, temporal_pooling 'mean'",
                fix="set pose_conditioning=False, or choose attention for hand_pooling or temporal_pooling",
            )


_NO_ATTENTION = {"temporal_pooling": "mean", "pose_conditioning": False}
_PRESETS: dict[str, dict[str, object]] = {
    "sta_hands_paper": {},
    # Table 4, pose only. The order itself is a field of PoseTensorConfig; only the width shows here.
    "table4_random": {"streams": "pose"},
    "table4_no_repeats": {"streams": "pose", "pose_width": 150},
    "table4_topological": {"streams": "pose"},
    # Table 5, spatio-temporal attention with and without pose.
    "table5_rgb_unconditioned": {"streams": "rgb", "pose_conditioning": False},
    "table5_rgb_conditioned": {"streams": "rgb"},
    "table5_multimodal_unconditioned": {"pose_conditioning": False},
    "table5_multimodal_conditioned": {},
    # Table 6, by the letters of its rows.
    "table6_a": {"streams": "pose"},
    "table6_b": {"streams": "rgb", "hand_pooling": "sum", **_NO_ATTENTION},
    "table6_c": {"streams": "rgb", "hand_pooling": "concat", **_NO_ATTENTION},
    "table6_e": {"streams": "rgb", "temporal_pooling": "mean"},
    "table6_g": {"streams": "rgb"},
    "table6_h": {"hand_pooling": "sum", **_NO_ATTENTION},
    "table6_i": {"temporal_pooling": "mean"},
    "table6_k": {},
    # Not the paper's: the pose stream that recognises best, see docs/results.md, alone and in the whole network.
    "pose_res_tcn": {"streams": "pose", "pose_network": "res_tcn"},
    "sta_hands_res_tcn": {"pose_network": "res_tcn"},
}
# Preset name → fields of STAHandsConfig that differ from the default. All sizes are those of NTU RGB+D.
PRESETS: Mapping[str, Mapping[str, object]] = MappingProxyType({k: MappingProxyType(v) for k, v in _PRESETS.items()})


def preset(name: str, classes: int) -> STAHandsConfig:
    """The configuration of one row of the paper's tables.

    Args:
        name: a key of `PRESETS`: "sta_hands_paper", "table4_…", "table5_…", "table6_a" … "table6_k", and two that are not the
            paper's, "pose_res_tcn" and "sta_hands_res_tcn".
        classes: number of action classes (60 for NTU RGB+D). Change further fields with `dataclasses.replace`.

    Raises:
        ConfigError: no such preset.
    """
    if name not in PRESETS:
        raise ConfigError("no such preset of STA-Hands", found=repr(name), expected=", ".join(PRESETS))
    return STAHandsConfig(classes=classes, **PRESETS[name])


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
