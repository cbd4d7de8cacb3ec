"""What decides the graph of STA-Hands, and the rows of the paper's tables as presets.

Paper: Baradel, Wolf, Mille, "Pose-conditioned Spatio-Temporal Attention for Human Action Recognition", 2017.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from keras_actrec.errors import ConfigError

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
    # Not the paper's: the pose stream that recognises best, see docs/results.md, alone, in the whole network, and in that one
    # without attention (as row H) and with attention that does not see the pose (as in Table 5).
    "pose_res_tcn": {"streams": "pose", "pose_network": "res_tcn"},
    "sta_hands_res_tcn": {"pose_network": "res_tcn"},
    "sta_hands_res_tcn_no_attention": {"pose_network": "res_tcn", "hand_pooling": "sum", **_NO_ATTENTION},
    "sta_hands_res_tcn_unconditioned": {"pose_network": "res_tcn", "pose_conditioning": False},
}
# Preset name → fields of STAHandsConfig that differ from the default. All sizes are those of NTU RGB+D.
PRESETS: Mapping[str, Mapping[str, object]] = MappingProxyType({k: MappingProxyType(v) for k, v in _PRESETS.items()})


def preset(name: str, classes: int) -> STAHandsConfig:
    """The configuration of one row of the paper's tables.

    Args:
        name: a key of `PRESETS`: "sta_hands_paper", "table4_…", "table5_…", "table6_a" … "table6_k", and four that are not
            the paper's, "pose_res_tcn" and "sta_hands_res_tcn", the latter also with _no_attention and _unconditioned.
        classes: number of action classes (60 for NTU RGB+D). Change further fields with `dataclasses.replace`.

    Raises:
        ConfigError: no such preset.
    """
    if name not in PRESETS:
        raise ConfigError("no such preset of STA-Hands", found=repr(name), expected=", ".join(PRESETS))
    return STAHandsConfig(classes=classes, **PRESETS[name])
