"""Settings for videos of one's own, for each of the four models: sensible for a few hundred short clips and no GPU."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType

from keras_actrec.backbones.frame_networks import FrameBackboneConfig
from keras_actrec.backbones.inflated_resnet import InflatedResNetConfig
from keras_actrec.backbones.sensors import SensorConfig
from keras_actrec.backbones.visual import BackboneConfig
from keras_actrec.datasets.own import OwnDataset
from keras_actrec.datasets.record import ActionDataset
from keras_actrec.errors import ConfigError
from keras_actrec.extraction.person_clips import PersonCropConfig
from keras_actrec.models.sta_hands import preset
from keras_actrec.recipes.glimpse_clouds.experiment import GlimpseExperiment
from keras_actrec.recipes.glimpse_clouds.run import run_glimpse_experiment
from keras_actrec.recipes.own.videos import usual_height
from keras_actrec.recipes.reports import ExperimentResult
from keras_actrec.recipes.rpan.experiment import OTHER_RATE, RGB, RPANExperiment
from keras_actrec.recipes.rpan.experiment import PAPER_STAGE as RPAN_STAGE
from keras_actrec.recipes.rpan.run import run_rpan_experiment
from keras_actrec.recipes.seeds import with_seed
from keras_actrec.recipes.sta_hands.experiment import Experiment
from keras_actrec.recipes.sta_hands.run import run_experiment
from keras_actrec.recipes.video.experiment import VideoExperiment
from keras_actrec.recipes.vpn.experiment import PAPER_STAGE as VPN_STAGE
from keras_actrec.recipes.vpn.experiment import VPNExperiment
from keras_actrec.recipes.vpn.run import run_vpn_experiment
from keras_actrec.scripts import given
from keras_actrec.skeletons.augmentation import AugmentationConfig
from keras_actrec.skeletons.clip_sampling import ClipSamplingConfig
from keras_actrec.skeletons.layouts import JHMDB_15, KINECT_V2
from keras_actrec.skeletons.pose_tensor import PoseTensorConfig
from keras_actrec.skeletons.views import PLAIN
from keras_actrec.training.config import StageConfig
from keras_actrec.video.frame_clips import FrameClipConfig
from keras_actrec.video.optical_flow import FlowConfig

SETTINGS = "own"
CROP_SHARE = 1 / 3
"""Side of the squares around the hands, of the videos' height: hands of people who fill half of the picture, and what they
hold. The paper's 50 pixels are of 1080, of people who are small in the picture."""
_PICTURE = (240, 320)


@dataclass(frozen=True)
class OwnTraining:
    """What a user can say about a training on videos of one's own; None leaves a value to the model's settings.

    Attributes:
        workdir: results, and caches unless `cache_dir` is given.
        model: key of `MODELS`.
        preset: variant of the model.
        weights: of the image network: "imagenet" (Keras downloads them), a file, or "random" for trials.
        sensor: two-stream network: "resnet50" or "inception_v3".
        image_size: side in pixels of what the image network sees.
        crop_size: two-stream network: side in pixels of the squares around the hands; None: a third of the videos' height.
        epochs: of every stage.
        batch_size, learning_rate: of the last stage.
        workers: processes of the extraction.
        seed: initial weights, order, hold-out.
        resume, retry_left_out, cache_dir, strategy: see `Experiment`.
    """

    workdir: Path
    model: str = "sta_hands"
    preset: str | None = None
    weights: str = "imagenet"
    sensor: str = "resnet50"
    image_size: int | None = None
    crop_size: int | None = None
    epochs: int | None = None
    batch_size: int | None = None
    learning_rate: float | None = None
    workers: int = 1
    seed: int = 0
    strategy: str = "none"
    resume: bool = False
    retry_left_out: bool = False
    cache_dir: Path | None = None

    def __post_init__(self):
        if self.model not in MODELS:
            raise ConfigError("unknown model", found=repr(self.model), expected=f"one of {', '.join(MODELS)}")
        if self.model == "vpn" and self.weights == "imagenet":
            raise ConfigError(
                "VPN's video network has no weights of ImageNet", found="--weights imagenet",
                expected="a file of converted I3D weights, or random for trials",
                fix="convert the published ones by preprocessing/convert_i3d_checkpoint.py, and give the file by --weights",
            )  # fmt: skip

    @property
    def common(self) -> dict[str, object]:
        """Fields that the experiments of all models share."""
        names = ("workdir", "workers", "strategy", "resume", "retry_left_out", "cache_dir")
        return {name: getattr(self, name) for name in names} | {"holdout": 0.1}

    def stage(self, stage: StageConfig) -> StageConfig:
        """A stage with what was given in the place of its own."""
        stage = stage if self.epochs is None else stage.with_epochs(self.epochs)
        return given(stage, batch_size=self.batch_size, learning_rate=self.learning_rate)


def two_stream(training: OwnTraining, dataset: OwnDataset | None, protocol: str) -> Experiment:
    """STA-Hands: the temporal pose network of the tuned settings, the paper's attention over hands and time."""
    schedule = {"schedule": "cosine", "weight_decay": 0.05, "label_smoothing": 0.1, "keep": "last", "checkpoint_seconds": 60.0}
    pose = StageConfig(name="pose", learning_rate=1e-3, batch_size=32, epochs=80, warmup_epochs=5, **schedule)
    rgb = StageConfig(name="rgb", learning_rate=5e-4, batch_size=32, epochs=30, warmup_epochs=2, **schedule)
    pose = pose if training.epochs is None else pose.with_epochs(training.epochs)
    size = training.image_size or (224 if training.sensor == "resnet50" else 299)
    return with_seed(Experiment(
        **training.common,
        protocol=protocol,
        preset=training.preset or "sta_hands_res_tcn",
        settings=f"{SETTINGS}_{training.preset or 'sta_hands_res_tcn'}",
        layout=KINECT_V2.name,
        sensor=SensorConfig(name=training.sensor, weights=training.weights, image_size=size),
        crop_size=training.crop_size or max(1, round(CROP_SHARE * usual_height(dataset))),
        tensor=PoseTensorConfig(order="no_repeats", scale="body"),
        augmentation=AugmentationConfig(),
        test_views=(PLAIN, "mirrored"),
        pose_stage=pose,
        rgb_stage=training.stage(rgb),
    ), training.seed)  # fmt: skip


def vpn(training: OwnTraining, dataset: OwnDataset | None, protocol: str) -> VPNExperiment:
    """VPN on the maps of a frozen I3D: 16 frames, three views of each clip."""
    size = training.image_size or 224
    return with_seed(VPNExperiment(
        **training.common,
        protocol=protocol,
        preset=training.preset or "vpn_paper",
        layout=KINECT_V2.name,
        backbone=BackboneConfig(frames=16, image_size=size, weights=training.weights),
        sampling=ClipSamplingConfig(frames=16, poses=16 if training.preset == "vpn_official" else 20, views=3),
        crop=PersonCropConfig(size=size),
        train="on_maps",
        stage=training.stage(replace(VPN_STAGE, epochs=60, step_epochs=45, keep="last", checkpoint_seconds=60.0)),
    ), training.seed)  # fmt: skip


def glimpse_clouds(training: OwnTraining, dataset: OwnDataset | None, protocol: str) -> GlimpseExperiment:
    """Glimpse Clouds on the maps of a frozen ResNet-50, of whole frames: the trained model needs no poses."""
    clips_size = training.image_size or 224
    experiment = GlimpseExperiment(workdir=training.workdir)
    clips = replace(experiment.clips, image_size=clips_size, views=2)
    return with_seed(replace(
        experiment,
        **training.common,
        protocol=protocol,
        preset=training.preset or "glimpse_clouds_paper",
        layout=KINECT_V2.name,
        clips=clips,
        backbone=InflatedResNetConfig(frames=clips.frames, image_size=clips_size, weights=training.weights),
        crop=PersonCropConfig(size=round(clips_size * 256 / 224), box="whole"),
        train="on_maps",
        training_views=2,
        clouds_stage=training.stage(replace(experiment.clouds_stage, batch_size=16, epochs=30, checkpoint_seconds=60.0)),
        global_stage=training.stage(replace(experiment.global_stage, batch_size=16, epochs=30, checkpoint_seconds=60.0)),
    ), training.seed)  # fmt: skip


def rpan(training: OwnTraining, dataset: OwnDataset | None, protocol: str) -> RPANExperiment:
    """RPAN of RGB on the cubes of a frozen ResNet-50, guided by JHMDB's joints; the trained model needs no poses."""
    side = training.image_size
    size = _PICTURE if side is None else (side, round(side * _PICTURE[1] / _PICTURE[0]))
    stage = replace(RPAN_STAGE, learning_rate=OTHER_RATE, epochs=40, step_epochs=30, checkpoint_seconds=60.0)
    return with_seed(RPANExperiment(
        **training.common,
        protocol=protocol,
        preset=training.preset or "rpan_sub_jhmdb",
        layout=JHMDB_15.name,
        streams=(RGB,),
        backbone=FrameBackboneConfig(picture_size=size, weights=training.weights),
        clips=FrameClipConfig(picture_size=size),
        flow=FlowConfig(picture_size=size),
        train="on_maps",
        stage=training.stage(stage),
    ), training.seed)  # fmt: skip


AnyExperiment = Experiment | VideoExperiment


@dataclass(frozen=True)
class OwnModel:
    """How one of the models is trained on videos of one's own: its settings, and what runs them."""

    settings: Callable[[OwnTraining, OwnDataset | None, str], AnyExperiment]
    run: Callable[[ActionDataset, AnyExperiment], ExperimentResult]

    def check(self, training: OwnTraining, protocol: str) -> None:
        """Raises ConfigError for settings that make no sense, without a data set."""
        experiment = self.settings(replace(training, crop_size=training.crop_size or 1), None, protocol)
        if isinstance(experiment, Experiment):
            preset(experiment.preset, classes=2)


MODELS: Mapping[str, OwnModel] = MappingProxyType({
    "sta_hands": OwnModel(two_stream, run_experiment),
    "vpn": OwnModel(vpn, run_vpn_experiment),
    "glimpse_clouds": OwnModel(glimpse_clouds, run_glimpse_experiment),
    "rpan": OwnModel(rpan, run_rpan_experiment),
})  # fmt: skip
"""Every model by name."""
