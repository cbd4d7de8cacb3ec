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
from keras_actrec.extraction.poses import dataset_layout
from keras_actrec.models.vpn_config import VPNConfig, preset
from keras_actrec.recipes.parts import check_holdout
from keras_actrec.skeletons.clip_sampling import ClipSamplingConfig
from keras_actrec.skeletons.layouts import LAYOUTS
from keras_actrec.synthetic.dataset import SyntheticConfig
from keras_actrec.training.config import StageConfig

TRAINS = ("end_to_end", "on_maps")
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
class VPNExperiment:
    """Everything that decides the result of one VPN run on a data set that is at hand.

    Attributes:
        workdir: results: checkpoints, logs, metrics, pictures, export; and caches, unless `cache_dir` is given.
        protocol: one of the data set's protocols.
        preset: preset of `keras_actrec.models.vpn`.
        layout: name of the joint layout that clips are retargeted to; None keeps the data set's own.
        backbone: the visual backbone; its frames are those of `sampling`.
        sampling: frames, stride, poses, test views.
        crop: how people are cut out of the videos.
        pixel_size: (width, height) of the frame that the skeleton's pixels refer to, where the videos have another size.
        train: "end_to_end" trains the visual backbone too, from person clips (the paper); "on_maps" computes its maps once,
            frozen, and trains the rest on them, which takes no GPU.
        stage: the training.
        test_image_size: side of the frames in the test, at least that of the backbone: larger ones are classified at every
            place ("fully convolutional inference in space"). None: that of the backbone.
        initial: working directory of a finished VPN run whose weights, classifiers excepted, training starts from: the paper's
            backbone was trained for classification before, on NTU-60 for Northwestern-UCLA.
        holdout, holdout_unit: see `keras_actrec.recipes.experiment.Experiment`.
        strategy: "mirrored" or "none".
        workers: processes of the extraction.
        seed: initial weights and hold-out; the stage has one of its own, see `with_seed`.
        resume: go on with a training that was stopped. A finished one is tested anew, e.g. on images of another size.
        retry_left_out: try clips again that an earlier extraction left out.
        cache_dir: folder of the caches, which several runs can share.
        data_root: folder of the data set; None makes the synthetic one of `synthetic` below the caches.
        synthetic: what the synthetic data set is, where there is no data root.

    Raises:
        ConfigError: a value out of range, or values that do not fit each other.
    """

    workdir: Path
    protocol: str = "cross_subject"
    preset: str = "vpn_paper"
    layout: str | None = None
    backbone: BackboneConfig = BackboneConfig()
    sampling: ClipSamplingConfig = ClipSamplingConfig()
    crop: PersonCropConfig = PersonCropConfig()
    pixel_size: tuple[int, int] | None = None
    train: str = "end_to_end"
    stage: StageConfig = PAPER_STAGE
    test_image_size: int | None = None
    initial: Path | None = None
    holdout: float = 0.05
    holdout_unit: str = "clip"
    strategy: str = "mirrored"
    workers: int = 1
    seed: int = 0
    resume: bool = False
    retry_left_out: bool = False
    cache_dir: Path | None = None
    data_root: Path | None = None
    synthetic: SyntheticConfig = SyntheticConfig()

    def __post_init__(self):
        check_holdout(self)
        replace(preset(self.preset, classes=2), poses=self.sampling.poses)  # an unknown one is refused before anything long
        for name, choices in (("train", TRAINS), ("layout", (None, *LAYOUTS))):
            value = getattr(self, name)
            if value not in choices:
                raise ConfigError(f"unknown {name}", found=repr(value), expected=f"one of {', '.join(map(str, choices))}")
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

    @property
    def caches(self) -> Path:
        """Folder of the caches."""
        return self.cache_dir or self.workdir / "cache"

    def joint_layout(self, dataset: ActionDataset):
        """The layout that the model sees."""
        return LAYOUTS[self.layout] if self.layout else dataset_layout(dataset)

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
    if name not in TASKS:
        raise ConfigError("the paper has no settings for this data set", found=repr(name), expected=", ".join(TASKS))
    task = TASKS[name]
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


def with_seed(experiment: VPNExperiment, seed: int) -> VPNExperiment:
    """The same experiment from another seed, its stage included; the data, their views and the backbone stay."""
    return replace(experiment, seed=seed, stage=replace(experiment.stage, seed=seed))
