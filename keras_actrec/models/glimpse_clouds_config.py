"""What decides the graph and the loss of Glimpse Clouds, and the rows of the paper's tables as presets.

Paper: Baradel, Wolf, Mille, Taylor, "Glimpse Clouds: Human Activity Recognition from Unstructured Feature Points", CVPR 2018.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import isfinite
from types import MappingProxyType

from keras_actrec.errors import ConfigError
from keras_actrec.skeletons.layouts import LAYOUTS

_CHOICES = {
    "code": ("paper", "official"),
    "model": ("clouds", "global", "summed", "clouds_and_global"),
    "attention": ("sequential", "saliency", "random", "tubes"),
    "encoding": ("product", "concat"),
    "distance": ("learned", "fixed", "random"),
}


@dataclass(frozen=True)
class GlimpseCloudsConfig:
    """Everything that decides the graph and the loss of Glimpse Clouds; the defaults are the paper's (sections 6 and 7).

    Attributes:
        classes: number of action classes.
        code: "paper", or "official": the recurrent part as the published code computes it (docs/fidelity.md).
        model: "clouds" (glimpses, memory, workers), "global" (the global model, stage 1 and the first rows of Table 3),
            "summed" ("Global model + Σ Glimpses + GRU"), "clouds_and_global" (last row of Table 3).
        attention: where glimpses come from: "sequential" (section 3.2), "saliency" (all places of a frame at once), "random",
            or "tubes" over the whole clip, without workers (Table 4).
        encoding: "product", what and where (eq. 5), or "concat" of features and places ("the joint encoding", section 7).
        distance: matrix D of eq. 9: "learned" from the inverse covariance, "fixed" to it, or learned from a "random" start.
        layout: joint layout of the poses that training regresses, see `keras_actrec.skeletons.layouts`.
        people: people whose poses are regressed.
        frames: T.
        glimpses: G per frame.
        workers: C.
        map_shape: (h, w, c) of the last feature map, of each frame.
        context_size: channels of the penultimate map, size of c_t.
        glimpse_units, worker_units: of the GRUs over glimpses and of the workers.
        location_units: hidden units of Λ.
        memory_slots: K.
        temperature: α of eq. 10 (not in the paper: that of the code).
        normalise_over: what φ is scaled to [0, 1] over (eq. 9): "batch", as the paper says; "clip"; or "training_batch": the
            batch in training, and each clip by itself in use, so that a clip's answer does not depend on its neighbours.
        align_corners: meaning of the borders in bilinear crops: False as in PyTorch 2, True as in PyTorch 0.4.
        pose_loss, glimpse_loss: whether L_P and L_G are part of the loss.
        pose_weight, glimpse_weight: their weights (not in the paper: those of the code).

    Raises:
        ConfigError: a value out of range, or a combination that has no meaning.
    """

    classes: int
    code: str = "paper"
    model: str = "clouds"
    attention: str = "sequential"
    encoding: str = "product"
    distance: str = "learned"
    layout: str = "kinect_v2"
    people: int = 2
    frames: int = 8
    glimpses: int = 3
    workers: int = 3
    map_shape: tuple[int, int, int] = (7, 7, 2048)
    context_size: int = 1024
    glimpse_units: int = 1024
    worker_units: int = 512
    location_units: int = 256
    memory_slots: int = 8
    temperature: float = 0.5
    normalise_over: str = "training_batch"
    align_corners: bool = False
    pose_loss: bool = True
    glimpse_loss: bool = True
    pose_weight: float = 0.1
    glimpse_weight: float = 1.0

    def __post_init__(self):
        object.__setattr__(self, "map_shape", tuple(self.map_shape))  # a list, as JSON gives it, is welcome
        choices = {**_CHOICES, "layout": tuple(LAYOUTS), "normalise_over": ("batch", "clip", "training_batch")}
        for field, known in choices.items():
            value = getattr(self, field)
            if value not in known:
                raise ConfigError(f"GlimpseCloudsConfig: unknown {field}", found=repr(value), expected=" | ".join(known))
        self._check_numbers()
        if self.code == "official":
            self._check_official()
        if self.glimpse_loss and not self.has_glimpses:
            raise ConfigError(
                "GlimpseCloudsConfig: the global model has no glimpses to attract", found="glimpse_loss True",
                fix="set glimpse_loss=False",
            )  # fmt: skip

    @property
    def has_glimpses(self) -> bool:
        return self.model != "global"

    @property
    def has_workers(self) -> bool:
        """Whether glimpses are assigned to workers by the memory."""
        return self.model in ("clouds", "clouds_and_global") and self.attention != "tubes"

    @property
    def has_global_classifier(self) -> bool:
        return self.model in ("global", "summed", "clouds_and_global")

    @property
    def joints(self) -> int:
        """J, joints of the layout."""
        return len(LAYOUTS[self.layout])

    def _check_numbers(self) -> None:
        least = {"classes": 2}
        fields = ("classes", "people", "frames", "glimpses", "workers", "context_size", "glimpse_units", "worker_units")
        for field in (*fields, "location_units", "memory_slots"):
            self._check_integer(field, getattr(self, field), least.get(field, 1))
        if len(self.map_shape) != 3:
            raise ConfigError("GlimpseCloudsConfig: map_shape is (h, w, c)", found=self.map_shape, expected="e.g. (7, 7, 2048)")
        for value in self.map_shape:
            self._check_integer("map_shape", value, 1)
        if not (isfinite(self.temperature) and self.temperature > 0):
            raise ConfigError("GlimpseCloudsConfig: temperature is out of range", found=self.temperature, expected="above 0")
        for field in ("pose_weight", "glimpse_weight"):
            value = getattr(self, field)
            if not (isfinite(value) and value >= 0):
                raise ConfigError(f"GlimpseCloudsConfig: {field} is out of range", found=value, expected="at least 0")

    def _check_integer(self, field: str, value: object, least: int) -> None:
        if isinstance(value, bool) or not isinstance(value, int) or value < least:
            raise ConfigError(
                f"GlimpseCloudsConfig: {field} is out of range", found=repr(value), expected=f"an integer of at least {least}"
            )

    def _check_official(self) -> None:
        for field, value in (("attention", "sequential"), ("encoding", "product")):
            if getattr(self, field) != value:
                raise ConfigError(
                    f"GlimpseCloudsConfig: the published code knows one {field}", found=repr(getattr(self, field)),
                    expected=repr(value), fix="take code='paper' for the other variants",
                )  # fmt: skip
        if self.model not in ("clouds", "global"):
            raise ConfigError(
                "GlimpseCloudsConfig: the published code has no such model",
                found=repr(self.model), expected="clouds or global",
                fix="take code='paper' for the other variants",
            )  # fmt: skip


_GLOBAL = {"model": "global", "glimpse_loss": False}
_PRESETS: dict[str, dict[str, object]] = {
    "glimpse_clouds_paper": {},
    "glimpse_clouds_official": {
        "code": "official", "glimpse_units": 512, "location_units": 256, "distance": "fixed", "normalise_over": "batch",
    },
    # Stage 1 of the training.
    "global": _GLOBAL,
    # Table 3, in the order of its rows.
    "table3_global": {**_GLOBAL, "pose_loss": False},
    "table3_global_pose": _GLOBAL,
    "table3_summed": {"model": "summed", "glimpse_loss": False},
    "table3_clouds": {"pose_loss": False, "glimpse_loss": False},
    "table3_clouds_pose": {"glimpse_loss": False},
    "table3_clouds_glimpse": {"pose_loss": False},
    "table3_clouds_pose_glimpse": {},
    "table3_clouds_and_global": {"model": "clouds_and_global"},
    # Table 4.
    "table4_tubes": {"attention": "tubes"},
    "table4_random": {"attention": "random", "glimpse_loss": False},
    "table4_saliency": {"attention": "saliency"},
    "table4_attention": {},
    # Section 7, "Learned weight matrix" and "The joint encoding".
    "distance_random": {"distance": "random"},
    "distance_fixed": {"distance": "fixed"},
    "encoding_concat": {"encoding": "concat"},
}  # fmt: skip
# Preset name → fields of GlimpseCloudsConfig that differ from the default. All sizes are those of NTU RGB+D.
PRESETS: Mapping[str, Mapping[str, object]] = MappingProxyType({k: MappingProxyType(v) for k, v in _PRESETS.items()})


def preset(name: str, classes: int) -> GlimpseCloudsConfig:
    """The configuration of one row of the paper's tables, or of the published code.

    Args:
        name: a key of `PRESETS`: "glimpse_clouds_paper", "glimpse_clouds_official", "global", "table3_global" …
        classes: number of action classes. Change further fields with `dataclasses.replace`.

    Raises:
        ConfigError: no such preset.
    """
    if name not in PRESETS:
        raise ConfigError("no such preset of Glimpse Clouds", found=repr(name), expected=", ".join(PRESETS))
    return GlimpseCloudsConfig(classes=classes, **PRESETS[name])
