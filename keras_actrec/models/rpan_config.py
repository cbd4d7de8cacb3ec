"""What decides the graph and the loss of RPAN, and the rows of the paper's tables as presets.

Paper: Du, Wang, Qiao, "RPAN: An End-to-End Recurrent Pose-Attention Network for Action Recognition in Videos", ICCV 2017.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import isfinite
from types import MappingProxyType

from keras_actrec.errors import ConfigError
from keras_actrec.layers.pose_attention_lstm import POOLINGS
from keras_actrec.skeletons.layouts import LAYOUTS

ATTENTIONS = ("human_part", "separate_joint", "share_all", "none")


@dataclass(frozen=True)
class RPANConfig:
    """Everything that decides the graph and the loss of RPAN; the defaults are the paper's for Sub-JHMDB (section 4.1).

    Attributes:
        classes: number of action classes.
        layout: joint layout whose joints are attended to, see `keras_actrec.skeletons.layouts`.
        attention: rows of Table 1: "human_part" (eq. 2), "separate_joint" (every joint a part of its own), "share_all" (one
            map, without guidance of joints), or "none" (the pooled feature of the CNN into the LSTM).
        pooling: of the parts (eq. 5, Table 2): "concat", "max" or "mean"; without effect on "share_all" and "none".
        frames: T.
        cube_shape: (K1, K2, d) of the feature cube of a frame.
        pooled_size: values of the CNN's pooled feature, the input of attention "none".
        units: of the LSTM.
        attention_units: size of v^J, rows of A_h, A_c, b.
        picture_size: (height, width) in pixels of the frames that joints lie in: what `heat_map_std` is measured in.
        heat_map_std: standard deviation in pixels of the Gaussian at a joint (section 4.1; 1 and 10 in 4.2).
        action_weight, pose_weight: λ_action and λ_pose of eq. 11. pose_weight 0 trains without joints.

    Raises:
        ConfigError: a value out of range.
    """

    classes: int
    layout: str = "jhmdb_15"
    attention: str = "human_part"
    pooling: str = "concat"
    frames: int = 8
    cube_shape: tuple[int, int, int] = (8, 10, 1024)
    pooled_size: int = 1024
    units: int = 512
    attention_units: int = 32
    picture_size: tuple[int, int] = (240, 320)
    heat_map_std: float = 5.0
    action_weight: float = 1.0
    pose_weight: float = 1.0

    def __post_init__(self):
        for field, count, form in (("cube_shape", 3, "(K1, K2, d)"), ("picture_size", 2, "(height, width)")):
            value = tuple(getattr(self, field))  # a list, as JSON gives it, is welcome
            object.__setattr__(self, field, value)
            if len(value) != count:
                raise ConfigError(f"RPANConfig: {field} is {form}", found=value)
            for number in value:
                self._check_integer(field, number, 1)
        for field, known in (("attention", ATTENTIONS), ("pooling", POOLINGS), ("layout", tuple(LAYOUTS))):
            value = getattr(self, field)
            if value not in known:
                raise ConfigError(f"RPANConfig: unknown {field}", found=repr(value), expected=" | ".join(known))
        for field in ("classes", "frames", "pooled_size", "units", "attention_units"):
            self._check_integer(field, getattr(self, field), 2 if field == "classes" else 1)
        if not (isfinite(self.heat_map_std) and self.heat_map_std > 0):
            raise ConfigError("RPANConfig: heat_map_std is out of range", found=self.heat_map_std, expected="above 0 pixels")
        for field in ("action_weight", "pose_weight"):
            value = getattr(self, field)
            if not (isfinite(value) and value >= 0):
                raise ConfigError(f"RPANConfig: {field} is out of range", found=value, expected="at least 0")

    @property
    def joints(self) -> int:
        """J, joints of the layout."""
        return len(LAYOUTS[self.layout])

    @property
    def has_attention(self) -> bool:
        """Whether the network sees feature cubes."""
        return self.attention != "none"

    @property
    def has_joint_maps(self) -> bool:
        """Whether there is a map per joint."""
        return self.attention in ("human_part", "separate_joint")

    @property
    def has_pose_loss(self) -> bool:
        """Whether joints guide the maps in training (eq. 13)."""
        return self.has_joint_maps and self.pose_weight > 0

    def _check_integer(self, field: str, value: object, least: int) -> None:
        if isinstance(value, bool) or not isinstance(value, int) or value < least:
            raise ConfigError(
                f"RPANConfig: {field} is out of range", found=repr(value), expected=f"an integer of at least {least}"
            )


_DATA: dict[str, dict[str, object]] = {
    "sub_jhmdb": {},
    "penn_action": {
        "layout": "penn_13", "units": 1024, "attention_units": 128, "cube_shape": (9, 15, 1024), "picture_size": (270, 480),
    },
}  # fmt: skip
_VARIANTS: dict[str, dict[str, object]] = {
    "": {},
    # Table 1; its last row is the model itself.
    "_without": {"attention": "none"},
    "_share_all": {"attention": "share_all"},
    "_separate_joint": {"attention": "separate_joint"},
    # Table 2; its last row is the model itself.
    "_max": {"pooling": "max"},
    "_mean": {"pooling": "mean"},
}
# Preset name → fields of RPANConfig that differ from the default: rpan_sub_jhmdb, rpan_penn_action, and the rows of Tables 1
# and 2 of each. Tables 3 and 4 change the CNN and the stream, which are no part of this configuration.
PRESETS: Mapping[str, Mapping[str, object]] = MappingProxyType({
    f"rpan_{data}{variant}": MappingProxyType({**sizes, **changes})
    for data, sizes in _DATA.items()
    for variant, changes in _VARIANTS.items()
})  # fmt: skip


def preset(name: str, classes: int) -> RPANConfig:
    """The configuration of one row of the paper's tables.

    Args:
        name: a key of `PRESETS`: "rpan_sub_jhmdb", "rpan_penn_action_max" …
        classes: number of action classes. Change further fields with `dataclasses.replace`.

    Raises:
        ConfigError: no such preset.
    """
    if name not in PRESETS:
        raise ConfigError("no such preset of RPAN", found=repr(name), expected=", ".join(PRESETS))
    return RPANConfig(classes=classes, **PRESETS[name])
