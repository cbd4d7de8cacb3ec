"""What decides the result of one experiment with Glimpse Clouds, and the paper's settings for each data set.

Paper: Baradel, Wolf, Mille, Taylor, "Glimpse Clouds: Human Activity Recognition from Unstructured Feature Points", CVPR 2018,
sections 6 and 7.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType

import keras

from keras_actrec.backbones.inflated_resnet import InflatedResNetConfig
from keras_actrec.datasets.record import ActionDataset
from keras_actrec.errors import ConfigError
from keras_actrec.extraction.person_clips import PersonCropConfig
from keras_actrec.models.glimpse_clouds_config import GlimpseCloudsConfig, preset
from keras_actrec.recipes.video.experiment import VideoExperiment, paper_task
from keras_actrec.training.config import StageConfig
from keras_actrec.video.rgb_clips import RGBClipConfig

OFFICIAL = "glimpse_clouds_official"
PAPER_GLOBAL_STAGE = StageConfig(name="global", learning_rate=1e-4, batch_size=40)
PAPER_CLOUDS_STAGE = StageConfig(name="clouds", learning_rate=1e-4, batch_size=40)
"""Section 7: Adam, 0.0001, 10 clips on each of 4 devices, early stopping on 5 % of the training clips. The number of epochs is
not in the paper."""

TASKS: Mapping[str, str] = MappingProxyType({"ntu_rgbd": "cross_subject", "nucla": "view3"})
"""Name in `keras_actrec.datasets.catalogue` of the paper's data sets → the default protocol."""


@dataclass(frozen=True)
class GlimpseExperiment(VideoExperiment):
    """Everything that decides the result of one run of Glimpse Clouds on a data set that is at hand.

    Attributes:
        preset: preset of `keras_actrec.models.glimpse_clouds`.
        train: see `VideoExperiment`. "end_to_end" is from frames (the paper): stage "global" trains the backbone with a
            classifier on top (section 6), then stage "clouds" the whole network from it. "on_maps" has one stage for the rest.
            Presets of the global model have stage "global" alone.
        initial: working directory of a finished run of Glimpse Clouds that takes the place of stage "global": that stage alone
            (preset "global"), or the whole model of another data set ("we used the model trained on NTU as a pre-trained model
            and fine-tuned it on N-UCLA"). If its backbone was trained, `train` "on_maps" takes the maps of that one.
        backbone: the inflated ResNet-50; frames and image size are those of `clips`.
        clips: frames, crops, test views.
        crop: which part of the videos is seen: whole frames of 256×256 in the paper.
        training_views: views of a clip that `train` "on_maps" trains on, drawn for each clip by itself.
        global_stage, clouds_stage: the training.
        freeze_backbone: whether the backbone stays as stage "global" left it, as in the published code.

    The others are those of `VideoExperiment`.

    Raises:
        ConfigError: a value out of range, or values that do not fit each other.
    """

    preset: str = "glimpse_clouds_paper"
    backbone: InflatedResNetConfig = InflatedResNetConfig()
    clips: RGBClipConfig = RGBClipConfig()
    crop: PersonCropConfig = PersonCropConfig(size=256, box="whole")
    training_views: int = 5
    global_stage: StageConfig = PAPER_GLOBAL_STAGE
    clouds_stage: StageConfig = PAPER_CLOUDS_STAGE
    freeze_backbone: bool = False

    def __post_init__(self):
        super().__post_init__()
        preset(self.preset, classes=2)  # an unknown one is refused before anything long
        for name in ("frames", "image_size"):
            found, expected = getattr(self.backbone, name), getattr(self.clips, name)
            if found != expected:
                raise ConfigError(f"the backbone sees other clips: {name}", found=found, expected=expected)
        if self.crop.size < self.clips.image_size:
            raise ConfigError(
                "the stored pictures are smaller than their crops", found=self.crop.size,
                expected=f"at least {self.clips.image_size}",
            )  # fmt: skip
        if isinstance(self.training_views, bool) or not isinstance(self.training_views, int) or self.training_views < 1:
            raise ConfigError("training_views is out of range", found=repr(self.training_views), expected="at least 1")
        if self.global_stage.name == self.clouds_stage.name:
            raise ConfigError(
                "both stages have one name, and so one folder", found=repr(self.clouds_stage.name), expected="two names"
            )

    def model(self, dataset: ActionDataset, backbone: keras.Model) -> GlimpseCloudsConfig:
        """Configuration of the network: the preset with the sizes that the data and the backbone decide."""
        return replace(
            preset(self.preset, len(dataset.class_names)),
            layout=self.joint_layout(dataset).name, frames=self.clips.frames,
            map_shape=tuple(backbone.output["map"].shape[2:]), context_size=backbone.output["pose_map"].shape[-1],
        )  # fmt: skip

    def stages(self, config: GlimpseCloudsConfig) -> tuple[tuple[StageConfig, GlimpseCloudsConfig], ...]:
        """The stages of the training with the networks that they train, of which the last one is `config`.

        Stage "global" has the losses of the network that it is for, without that of its glimpses.
        """
        last = (self.clouds_stage if config.has_glimpses else self.global_stage, config)
        if self.train == "on_maps" or self.initial is not None or not config.has_glimpses:
            return (last,)
        return (self.global_stage, replace(config, model="global", glimpse_loss=False)), last


def glimpse_experiment(name: str, workdir: Path, *, preset: str = "glimpse_clouds_paper") -> GlimpseExperiment:
    """The paper's settings for a data set; those of the published code freeze the backbone in stage "clouds".

    Args:
        name: key of `TASKS`.
        workdir: of the run.
        preset: preset of `keras_actrec.models.glimpse_clouds`.

    Raises:
        ConfigError: a data set that the paper does not use.
    """
    protocol = paper_task(TASKS, name)
    return GlimpseExperiment(workdir=workdir, protocol=protocol, preset=preset, freeze_backbone=preset == OFFICIAL)


def embedded_default(workdir: Path, *, preset: str = "glimpse_clouds_paper") -> GlimpseExperiment:
    """The experiment without a data root: the same path on the synthetic data, sized for two CPU cores and a few minutes.

    What differs from the paper's settings: crops of 96×96 around the people in place of whole frames of 224×224, where the
    people of the synthetic videos would be small; a frozen backbone, with random weights where those of ImageNet cannot be had,
    whose maps of a few views are computed once; smaller batches, few epochs, and a larger hold-out. The learning rate is the
    paper's: with three times as much the attraction to the joints drives the glimpses to the border, where tanh holds them.
    """
    stages = {
        f"{name}_stage": StageConfig(
            name=name, learning_rate=1e-4, batch_size=16, epochs=16, checkpoint_seconds=60, jit_compile=True
        )
        for name in ("global", "clouds")
    }
    clips = RGBClipConfig(image_size=96, views=2)
    return GlimpseExperiment(
        workdir=workdir,
        preset=preset,
        backbone=InflatedResNetConfig(frames=clips.frames, image_size=clips.image_size),
        clips=clips,
        crop=PersonCropConfig(size=96, box="clip"),
        train="on_maps",
        training_views=2,
        freeze_backbone=preset == OFFICIAL,
        holdout=0.1,
        strategy="none",  # XLA, which halves the time of a step, compiles for one device
        **stages,
    )
