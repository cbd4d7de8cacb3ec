"""What decides the result of one experiment with RPAN, and the paper's settings for each data set.

Paper: Du, Wang, Qiao, "RPAN: An End-to-End Recurrent Pose-Attention Network for Action Recognition in Videos", ICCV 2017,
section 4.1.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import isfinite
from pathlib import Path
from types import MappingProxyType

import keras

from keras_actrec.backbones.frame_networks import FrameBackboneConfig
from keras_actrec.datasets.catalogue import open_dataset, open_videos
from keras_actrec.datasets.record import ActionDataset
from keras_actrec.errors import ConfigError, DatasetError
from keras_actrec.models.rpan_config import RPANConfig, preset
from keras_actrec.recipes.video.experiment import VideoExperiment, paper_task
from keras_actrec.skeletons.layouts import JHMDB_15
from keras_actrec.training.config import StageConfig
from keras_actrec.video.frame_clips import FrameClipConfig
from keras_actrec.video.optical_flow import PLANES, FlowConfig

log = logging.getLogger(__name__)

RGB, FLOW = "rgb", "flow"
STREAMS = (RGB, FLOW)
PAPER_STAGE = StageConfig(
    name="rpan", optimizer="sgd", momentum=0.9, learning_rate=0.1, batch_size=16, epochs=100, schedule="step", step_epochs=40,
    falls=1, weight_decay=5e-4, decay="coupled", keep="last",
)  # fmt: skip
"""Section 4.1: momentum 0.9, 16 videos, learning rate 0.1 and 10^-2 after 40 epochs (Penn Action: 50), 100 epochs, weight decay
5·10^-4; nothing is chosen by validation."""
PAPER_BACKBONE = "bn_inception"
OTHER_RATE = 0.003
"""First learning rate on the features of other CNNs than TSN's: with 0.1 training on ResNet-50's diverges (docs/results.md)."""


@dataclass(frozen=True)
class RPANTask:
    """How the paper uses a data set.

    Attributes:
        protocols: all of them are averaged; a run takes the first.
        preset: of `keras_actrec.models.rpan`.
        picture_size: (height, width) of the frames.
        step_epochs: after which the learning rate falls.
    """

    protocols: tuple[str, ...]
    preset: str
    picture_size: tuple[int, int]
    step_epochs: int


_SPLITS = ("split1", "split2", "split3")
TASKS: Mapping[str, RPANTask] = MappingProxyType({
    "sub_jhmdb": RPANTask(_SPLITS, "rpan_sub_jhmdb", (240, 320), 40),
    "jhmdb": RPANTask(_SPLITS, "rpan_sub_jhmdb", (240, 320), 40),  # not in the paper: with the settings of its part
    "penn_action": RPANTask(("official",), "rpan_penn_action", (270, 480), 50),
})  # fmt: skip
"""Name in `keras_actrec.datasets.catalogue` → what the paper does with it."""


@dataclass(frozen=True)
class RPANExperiment(VideoExperiment):
    """Everything that decides the result of one run of RPAN on a data set that is at hand.

    Attributes:
        preset: preset of `keras_actrec.models.rpan`.
        train: see `VideoExperiment`. "end_to_end" is from videos and flow (the paper); "on_maps" from cached feature cubes.
        initial: has to be None: training starts from the backbone's weights.
        streams: "rgb", "flow" or both, each with a network of its own, trained one after the other.
        fusion: weights of RGB and flow in the sum of their class probabilities (section 4.2: 1 and 2).
        backbone: the CNN of RGB. That of flow is the same on stacks of flow.
        flow_weights: weights of the CNN of flow; "" takes those of `backbone`, adapted as in TSN, see
            `keras_actrec.backbones.frame_networks`.
        clips: frames, size, test views, mirrored copies.
        flow: how optical flow is computed.
        training_views: views of a clip that `train` "on_maps" trains on, every second one mirrored.
        pose_weight: λ_pose in the place of the preset's; None keeps that.
        stage: the training of each stream.

    The others are those of `VideoExperiment`.

    Raises:
        ConfigError: a value out of range, or values that do not fit each other.
    """

    preset: str = "rpan_sub_jhmdb"
    streams: tuple[str, ...] = STREAMS
    fusion: tuple[float, float] = (1.0, 2.0)
    backbone: FrameBackboneConfig = FrameBackboneConfig()
    flow_weights: str = ""
    clips: FrameClipConfig = FrameClipConfig()
    flow: FlowConfig = FlowConfig()
    training_views: int = 2
    pose_weight: float | None = None
    stage: StageConfig = PAPER_STAGE

    def __post_init__(self):
        super().__post_init__()
        self.paper_model(classes=2)  # what the model refuses is refused before anything long
        if not self.streams or len(set(self.streams)) < len(self.streams) or not set(self.streams) <= set(STREAMS):
            raise ConfigError("unknown streams", found=" ".join(self.streams) or "none", expected="rgb, flow, or rgb flow")
        # In one order, whatever the command line has: the first is the one in export/.
        object.__setattr__(self, "streams", tuple(name for name in STREAMS if name in self.streams))
        if len(self.fusion) != 2 or not all(isfinite(weight) and weight > 0 for weight in self.fusion):
            raise ConfigError("fusion is a weight of RGB and one of flow", found=self.fusion, expected="two numbers above 0")
        for name in ("backbone", "flow"):
            found = getattr(self, name).picture_size
            if found != self.clips.picture_size:
                raise ConfigError(f"the {name} sees other pictures", found=found, expected=self.clips.picture_size)
        if self.backbone.channels != 3:
            raise ConfigError("the backbone is that of RGB", found=f"{self.backbone.channels} channels", expected="3")
        if isinstance(self.training_views, bool) or not isinstance(self.training_views, int) or self.training_views < 1:
            raise ConfigError("training_views is out of range", found=repr(self.training_views), expected="at least 1")
        if self.initial is not None:
            raise ConfigError(
                "RPAN does not start from another run", found=self.initial, fix="give the CNN's weights: backbone, flow_weights"
            )

    def backbone_of(self, stream: str) -> FrameBackboneConfig:
        """The CNN of a stream."""
        if stream == RGB:
            return self.backbone
        return replace(self.backbone, channels=PLANES, weights=self.flow_weights or self.backbone.weights)

    def model(self, dataset: ActionDataset, backbone: keras.Model, *, joints: bool) -> RPANConfig:
        """Configuration of the network: the preset with the sizes that the data and the backbone decide.

        Args:
            dataset: the clips.
            backbone: the CNN.
            joints: whether there are joints to learn from.
        """
        config = self.paper_model(len(dataset.class_names))
        return replace(
            config,
            layout=self.joint_layout(dataset).name, frames=self.clips.frames, picture_size=self.clips.picture_size,
            cube_shape=tuple(backbone.output["cube"].shape[1:]), pooled_size=backbone.output["pooled"].shape[-1],
            pose_weight=config.pose_weight if joints else 0.0,
        )  # fmt: skip

    def paper_model(self, classes: int) -> RPANConfig:
        """The preset, with the weight of the joints' loss that was given in its place; sizes are the paper's."""
        config = preset(self.preset, classes)
        return config if self.pose_weight is None else replace(config, pose_weight=self.pose_weight)

    def stage_of(self, stream: str) -> StageConfig:
        """The training of a stream; its files are in the folder of that name.

        On cubes and one device XLA is on unless the stage says otherwise: without it a step takes 1.6 times as long on CPUs.
        """
        xla = self.stage.jit_compile == "auto" and self.train == "on_maps" and self.strategy == "none"
        return replace(self.stage, name=stream, jit_compile=xla or self.stage.jit_compile)


def rpan_experiment(
    name: str, workdir: Path, *, preset: str | None = None, backbone: str = "resnet50", weights: str = "imagenet"
) -> RPANExperiment:
    """The paper's settings for a data set; with another CNN than TSN's the learning rate is `OTHER_RATE`.

    Args:
        name: key of `TASKS`.
        workdir: of the run.
        preset: preset of `keras_actrec.models.rpan`; None takes the paper's for the data set.
        backbone: CNN of both streams. The paper's is "bn_inception", whose weights have to be converted first.
        weights: of the CNN, see `FrameBackboneConfig`.

    Raises:
        ConfigError: a data set that the paper does not use, or a CNN that does not exist or has no such weights.
    """
    task = paper_task(TASKS, name)
    stage = replace(PAPER_STAGE, step_epochs=task.step_epochs)
    return RPANExperiment(
        workdir=workdir,
        protocol=task.protocols[0],
        preset=preset or task.preset,
        backbone=FrameBackboneConfig(name=backbone, picture_size=task.picture_size, weights=weights),
        clips=FrameClipConfig(picture_size=task.picture_size),
        flow=FlowConfig(picture_size=task.picture_size),
        stage=stage if backbone == PAPER_BACKBONE else replace(stage, learning_rate=OTHER_RATE),
    )


def open_clips(name: str, root: Path) -> ActionDataset:
    """Opens a data set with its joints; without them where the root has videos alone, as joints only guide the training.

    Raises:
        DatasetError: a data root that does not fit the data set.
    """
    try:
        return open_dataset(name, root, video=True)
    except DatasetError as error:
        dataset = open_videos(name, root)  # fails again where the root itself is at fault
        log.warning("goes on without joints, which guide the attention in training: %s", error)
        return dataset


def embedded_default(workdir: Path, *, preset: str = "rpan_sub_jhmdb") -> RPANExperiment:
    """The experiment without a data root: the same path on the synthetic data, sized for two CPU cores and a few minutes.

    What differs from the paper's settings: the bodies of the synthetic data are retargeted to JHMDB's joints; pictures of
    96×128; a frozen ResNet-50, with random weights where those of ImageNet cannot be had, whose cubes of a few views are
    computed once; the learning rate of such CNNs; fewer epochs.
    """
    size = (96, 128)
    return RPANExperiment(
        workdir=workdir,
        preset=preset,
        layout=JHMDB_15.name,
        backbone=FrameBackboneConfig(picture_size=size),
        clips=FrameClipConfig(picture_size=size),
        flow=FlowConfig(picture_size=size),
        train="on_maps",
        holdout=0.1,
        strategy="none",
        stage=replace(PAPER_STAGE, learning_rate=OTHER_RATE, epochs=14, step_epochs=10, checkpoint_seconds=60),
    )
