"""What decides the graph and the loss of VPN, and the rows of the paper's tables as presets.

Paper: Das, Sharma, Dai, Bremond, Thonnat, "VPN: Learning Video-Pose Embedding for Activities of Daily Living", ECCV 2020.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import isfinite
from types import MappingProxyType

from keras_actrec.errors import ConfigError
from keras_actrec.skeletons.layout import SkeletonLayout
from keras_actrec.skeletons.layouts import LAYOUTS

_CHOICES = {
    "code": ("paper", "official"),
    "attention": ("coupled", "dissociated", "spatial", "none"),
    "pose_backbone": ("gcn", "lstm"),
    "embedding": ("euclidean", "kl_visual_pose", "kl_pose_visual", "kl_both", "none"),
}
_OFFICIAL = {"attention": "coupled", "pose_backbone": "gcn"}


@dataclass(frozen=True)
class VPNConfig:
    """Everything that decides the graph and the loss of VPN; the defaults are the paper's for NTU RGB+D (section 4.1).

    Attributes:
        classes: number of action classes.
        code: "paper", or "official": the network that the published code builds, which differs from the paper in many places
            (docs/fidelity.md). It knows one variant: attention "coupled", pose backbone "gcn"; the embedding can be left out.
        layout: name of the joint layout, see `keras_actrec.skeletons.layouts`; decides the graph.
        poses: t_p, poses per clip (20 for NTU, 30 for Smarthome, 5 for Northwestern-UCLA).
        map_shape: (t_c, m, n, c), shape of the visual backbone's feature map f that one attention map covers.
        attention: "coupled" (A_ST, the paper's), "dissociated" (A_S and A_T apart: l4 and l5 of Table 2), "spatial" (A_S alone,
            Table 4) or "none" (the visual backbone alone, l1 of Table 1).
        pose_backbone: "gcn" or "lstm" (Tables 2 and 4).
        embedding: loss of the spatial embedding: "euclidean" (eq. 4), the divergences of Table 3, or "none".
        bone_weight, other_weight: α and β of the adjacency.
        graph_units: values per joint that a graph convolution gives.
        pose_filters: of the 3×3 convolutions behind the graph convolutions.
        lstm_units, lstm_layers: of the LSTM pose backbone.
        spatial_units, temporal_units: hidden units of the mappings to z_1 and z_2 (not in the paper: those of the code).
        embedding_units: D_e (not in the paper: that of the code).
        dropout: rate before the classifier; "official" also has it behind each graph convolution and at the end of the pose
            backbone.
        classification_weight: λ1; the embedding loss has 1 - λ1. "official" has 99.9 and 0.1.
        attention_penalty: λ2.

    Raises:
        ConfigError: a value out of range, or a combination that has no meaning.
    """

    classes: int
    code: str = "paper"
    layout: str = "kinect_v2"
    poses: int = 20
    map_shape: tuple[int, int, int, int] = (8, 7, 7, 1024)
    attention: str = "coupled"
    pose_backbone: str = "gcn"
    embedding: str = "euclidean"
    bone_weight: float = 5.0
    other_weight: float = 2.0
    graph_units: int = 64
    pose_filters: tuple[int, ...] = (64, 64, 128)
    lstm_units: int = 128
    lstm_layers: int = 3
    spatial_units: int = 256
    temporal_units: int = 128
    embedding_units: int = 256
    dropout: float = 0.3
    classification_weight: float = 0.8
    attention_penalty: float = 1e-5

    def __post_init__(self):
        for field in ("map_shape", "pose_filters"):
            object.__setattr__(self, field, tuple(getattr(self, field)))  # a list, as JSON gives it, is welcome
        for field, choices in {**_CHOICES, "layout": tuple(LAYOUTS)}.items():
            value = getattr(self, field)
            if value not in choices:
                raise ConfigError(f"VPNConfig: unknown {field}", found=repr(value), expected=" | ".join(choices))
        self._check_numbers()
        self._check_variant()

    @property
    def has_pose(self) -> bool:
        """Whether the variant reads poses at all."""
        return self.attention != "none"

    @property
    def has_temporal_attention(self) -> bool:
        return self.attention in ("coupled", "dissociated")

    @property
    def joints(self) -> SkeletonLayout:
        """The joint layout itself."""
        return LAYOUTS[self.layout]

    def _check_numbers(self) -> None:
        least = {"classes": 2}
        for field in (
            *("classes", "poses", "graph_units", "lstm_units", "lstm_layers", "spatial_units", "temporal_units"),
            "embedding_units",
        ):
            self._check_integer(field, getattr(self, field), least.get(field, 1))
        if len(self.map_shape) != 4:
            raise ConfigError("VPNConfig: map_shape is (t, h, w, c)", found=self.map_shape, expected="e.g. (8, 7, 7, 1024)")
        if not self.pose_filters:
            raise ConfigError("VPNConfig: pose_filters needs at least one number", found="()", expected="(64, 64, 128)")
        for field in ("map_shape", "pose_filters"):
            for value in getattr(self, field):
                self._check_integer(field, value, 1)
        if not 0 <= self.dropout < 1:
            raise ConfigError("VPNConfig: dropout is out of range", found=self.dropout, expected="0 ≤ dropout < 1")
        for field in ("bone_weight", "other_weight", "attention_penalty", "classification_weight"):
            value = getattr(self, field)
            if not (isfinite(value) and value >= 0):
                raise ConfigError(f"VPNConfig: {field} is out of range", found=value, expected="a number of at least 0")
        if self.code == "paper" and self.classification_weight > 1:
            raise ConfigError(
                "VPNConfig: classification_weight is λ1 of eq. 5", found=self.classification_weight, expected="0 ≤ λ1 ≤ 1"
            )

    def _check_integer(self, field: str, value: object, least: int) -> None:
        if isinstance(value, bool) or not isinstance(value, int) or value < least:
            raise ConfigError(
                f"VPNConfig: {field} is out of range", found=repr(value), expected=f"an integer of at least {least}"
            )

    def _check_variant(self) -> None:
        if self.attention == "none" and self.embedding != "none":
            raise ConfigError(
                "VPNConfig: without attention there is no pose to embed",
                found=f"attention 'none', embedding {self.embedding!r}", fix="set embedding='none' (l1 of Table 1)",
            )  # fmt: skip
        if self.code != "official":
            return
        for field, value in _OFFICIAL.items():
            if getattr(self, field) != value:
                raise ConfigError(
                    f"VPNConfig: the published code knows one {field}",
                    found=repr(getattr(self, field)), expected=repr(value), fix="take code='paper' for the other variants",
                )  # fmt: skip
        if self.embedding not in ("euclidean", "none"):
            raise ConfigError(
                "VPNConfig: the published code knows one embedding loss, of its own", found=repr(self.embedding),
                expected="'euclidean' (stands for it) or 'none'", fix="take code='paper' for the losses of Table 3",
            )  # fmt: skip
        if self.poses < 4:
            raise ConfigError("VPNConfig: the published code halves the poses twice", found=self.poses, expected="at least 4")


_LSTM, _APART = {"pose_backbone": "lstm"}, {"attention": "dissociated"}
_PRESETS: dict[str, dict[str, object]] = {
    "vpn_paper": {},
    "vpn_official": {
        "code": "official", "poses": 16, "map_shape": (2, 7, 7, 1024), "classification_weight": 99.9,
    },
    # Table 1: what each component brings.
    "table1_l1": {"attention": "none", "embedding": "none"},
    "table1_l2": {"embedding": "none"},
    "table1_l3": {},
    # Table 2: pose backbone and coupler.
    "table2_l4": {**_LSTM, **_APART},
    "table2_l5": _APART,
    "table2_l6": _LSTM,
    "table2_l7": {},
    # Table 3: loss of the embedding.
    "table3_kl_visual_pose": {"embedding": "kl_visual_pose"},
    "table3_kl_pose_visual": {"embedding": "kl_pose_visual"},
    "table3_kl_both": {"embedding": "kl_both"},
    "table3_euclidean": {},
    # Table 4: spatial attention alone, with and without the embedding.
    "table4_lstm_without": {**_LSTM, "attention": "spatial", "embedding": "none"},
    "table4_lstm_with": {**_LSTM, "attention": "spatial"},
    "table4_gcn_without": {"attention": "spatial", "embedding": "none"},
    "table4_gcn_with": {"attention": "spatial"},
}  # fmt: skip
# Preset name → fields of VPNConfig that differ from the default. All sizes are those of NTU RGB+D.
PRESETS: Mapping[str, Mapping[str, object]] = MappingProxyType({k: MappingProxyType(v) for k, v in _PRESETS.items()})


def preset(name: str, classes: int) -> VPNConfig:
    """The configuration of one row of the paper's tables, or of the published code.

    Args:
        name: a key of `PRESETS`: "vpn_paper", "vpn_official", "table1_l1" … "table4_gcn_with".
        classes: number of action classes. Change further fields with `dataclasses.replace`.

    Raises:
        ConfigError: no such preset.
    """
    if name not in PRESETS:
        raise ConfigError("no such preset of VPN", found=repr(name), expected=", ".join(PRESETS))
    return VPNConfig(classes=classes, **PRESETS[name])
