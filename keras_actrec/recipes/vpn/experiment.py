"""What decides the result of one VPN experiment, and the paper's settings for each data set.

Paper: Das et al., "VPN: Learning Video-Pose Embedding for Activities of Daily Living", ECCV 2020, section 4.1.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType

from keras_actrec.backbones.visual import BackboneConfig
from keras_actrec.datasets.record import ActionDataset
from keras_actrec.errors import ConfigError
from keras_actrec.extraction.person_clips import PersonCropConfig
from keras_actrec.models.vpn_config import VPNConfig, preset
from keras_actrec.recipes.video.experiment import VideoExperiment, paper_task
from keras_actrec.skeletons.clip_sampling import ClipSamplingConfig
from keras_actrec.training.config import StageConfig

PAPER_STAGE = StageConfig(
    name="vpn", optimizer="sgd", momentum=0.9, learning_rate=0.01, batch_size=16, epochs=30, schedule="step", step_epochs=10,
)  # fmt: skip
"""Section 4.1: SGD, 0.01, × 0.1 every 10 epochs, 30 epochs, 4 clips on each of 4 devices. The momentum is that of the published
code: the paper names none."""


@dataclass(frozen=True)
class VPNTask:
    """How the paper uses a data set.

    Attributes:
        protocol: the default one.
        poses: t_p.
    """

    protocol: str
    poses: int


TASKS: Mapping[str, VPNTask] = MappingProxyType({
    "ntu_rgbd": VPNTask("cross_subject", 20),
    "ntu_rgbd_120": VPNTask("cross_subject", 20),
    "smarthome": VPNTask("cross_subject", 30),
    "smarthome_cross_view": VPNTask("cross_view2", 30),
    "nucla": VPNTask("view3", 5),
})  # fmt: skip
"""Name in `keras_actrec.datasets.catalogue` → how it is used (section 4.1)."""


@dataclass(frozen=True)
class VPNExperiment(VideoExperiment):
    """Everything that decides the result of one VPN run on a data set that is at hand.

    Attributes:
        preset: preset of `keras_actrec.models.vpn`.
        train: see `VideoExperiment`; "end_to_end" is from person clips (the paper).
        initial: working directory of a finished VPN run: the paper's backbone was trained for classification before, on NTU-60
            for Northwestern-UCLA.
        backbone: the visual backbone; its frames are those of `sampling`.
        sampling: frames, stride, poses, test views.
        crop: how people are cut out of the videos.
        stage: the training.
        test_image_size: side of the frames in the test, at least that of the backbone: larger ones are classified at every
            place ("fully convolutional inference in space"). None: that of the backbone. A finished run that is resumed is
            tested anew, e.g. on images of another size.

    The others are those of `VideoExperiment`.

    Raises:
        ConfigError: a value out of range, or values that do not fit each other.
    """

    preset: str = "vpn_paper"
    backbone: BackboneConfig = BackboneConfig()
    sampling: ClipSamplingConfig = ClipSamplingConfig()
    crop: PersonCropConfig = PersonCropConfig()
    stage: StageConfig = PAPER_STAGE
    test_image_size: int | None = None

    def __post_init__(self):
        super().__post_init__()
        replace(preset(self.preset, classes=2), poses=self.sampling.poses)  # an unknown one is refused before anything long
        if self.backbone.frames != self.sampling.frames:
            raise ConfigError(
                "the backbone sees another number of frames than are sampled",
                found=self.backbone.frames, expected=self.sampling.frames,
            )  # fmt: skip
        if self.tested_size < self.backbone.image_size:
            raise ConfigError(
                "test_image_size is smaller than the images that the network is trained on",
                found=self.tested_size, expected=f"at least {self.backbone.image_size}",
            )  # fmt: skip

    @property
    def tested_size(self) -> int:
        """Side of the frames in the test."""
        return self.backbone.image_size if self.test_image_size is None else self.test_image_size

    def model(self, dataset: ActionDataset, map_shape: tuple[int, int, int, int]) -> VPNConfig:
        """Configuration of the network: the preset with the sizes that the data and the backbone decide."""
        return replace(
            preset(self.preset, len(dataset.class_names)),
            layout=self.joint_layout(dataset).name, poses=self.sampling.poses, map_shape=map_shape,
        )  # fmt: skip


def vpn_experiment(name: str, workdir: Path, *, preset: str = "vpn_paper") -> VPNExperiment:
    """The paper's settings for a data set, or those of the published code: 16 frames and 16 poses of preset "vpn_official".

    Args:
        name: key of `TASKS`.
        workdir: of the run.
        preset: preset of `keras_actrec.models.vpn`.

    Raises:
        ConfigError: a data set that the paper does not use.
    """
    task = paper_task(TASKS, name)
    official = preset == "vpn_official"
    sampling = ClipSamplingConfig(frames=16 if official else 64, poses=16 if official else task.poses)
    return VPNExperiment(
        workdir=workdir, protocol=task.protocol, preset=preset, sampling=sampling,
        backbone=BackboneConfig(frames=sampling.frames),
    )  # fmt: skip


def embedded_default(workdir: Path, *, preset: str = "vpn_paper") -> VPNExperiment:
    """The experiment without a data root: the same path on the synthetic data, sized for two CPU cores and a few minutes.

    What differs from the paper's settings: 16 frames of 112×112, a frozen I3D with random weights whose maps are computed
    once, three views of each clip for training and for testing, twice the epochs with one fall of the rate, the weights of the
    last one (16 held-out clips cannot choose), and a larger hold-out.
    """
    return VPNExperiment(
        workdir=workdir,
        preset=preset,
        backbone=BackboneConfig(frames=16, image_size=112),
        sampling=ClipSamplingConfig(frames=16, poses=16 if preset == "vpn_official" else 20, views=3),
        crop=PersonCropConfig(size=112),
        train="on_maps",
        stage=replace(PAPER_STAGE, epochs=60, step_epochs=45, keep="last", checkpoint_seconds=60),
        holdout=0.1,
    )
