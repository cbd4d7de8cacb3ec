"""What decides the result of one experiment."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from keras_actrec.backbones.sensors import SensorConfig
from keras_actrec.datasets.record import ActionDataset
from keras_actrec.errors import ConfigError
from keras_actrec.extraction.poses import dataset_layout
from keras_actrec.models.sta_hands import STAHandsConfig, preset
from keras_actrec.recipes.parts import check_holdout
from keras_actrec.skeletons.augmentation import NO_AUGMENTATION, AugmentationConfig
from keras_actrec.skeletons.cleaning import CleaningConfig
from keras_actrec.skeletons.layout import SkeletonLayout
from keras_actrec.skeletons.layouts import LAYOUTS
from keras_actrec.skeletons.pose_tensor import PoseTensorConfig, pose_tensor_width
from keras_actrec.skeletons.sampling import SamplingConfig
from keras_actrec.skeletons.views import PLAIN
from keras_actrec.training.config import StageConfig


@dataclass(frozen=True)
class Experiment:
    """Everything that decides the result of one run on a data set that is at hand.

    Attributes:
        workdir: results: checkpoints, logs, metrics, pictures, export; and caches, unless `cache_dir` is given.
        protocol: one of the data set's protocols, e.g. "cross_subject".
        preset: preset of `keras_actrec.models.sta_hands`.
        settings: name of the settings that all of this came from, e.g. "paper"; stands for the preset in result files.
        layout: name of the joint layout that clips are retargeted to; None keeps the data set's own.
        sensor: image network for the hand crops.
        crop_size: side in pixels of the square cut around each hand (paper section 5: 50 for NTU).
        cleaning: of the skeletons; None takes the data set's.
        tensor, sampling: options of the pose cache.
        augmentation: of training clips (the paper has none).
        test_views: views of every test sub-sequence whose logits are averaged, see `keras_actrec.skeletons.views` (the paper
            has the plain one). Validation during training sees the plain view only.
        pose_stage, rgb_stage: stage 1 trains the pose stream, stage 2 the RGB stream with the pose network frozen.
        holdout: share of the training clips held out for early stopping (paper section 5: 5 %).
        holdout_unit: what is held out as a whole: a "clip", all clips of a "subject", a "camera" or a "setup".
        initial: working directory of a finished run whose weights, classifiers excepted, training starts from.
        strategy: of `keras_actrec.training.strategies.STRATEGIES`; with "multiworker" all workers run the same experiment.
        workers: processes of the extraction.
        seed: initial weights and hold-out; the stages have seeds of their own, see `with_seed`.
        resume: go on with a training that was stopped.
        retry_left_out: try clips again that an earlier extraction left out, after their files were mended.
        cache_dir: folder of the caches, which several runs can share.

    Raises:
        ConfigError: a value out of range.
    """

    workdir: Path
    protocol: str = "cross_subject"
    preset: str = "sta_hands_paper"
    settings: str = ""
    layout: str | None = None
    sensor: SensorConfig = SensorConfig()
    crop_size: int = 50
    cleaning: CleaningConfig | None = None
    tensor: PoseTensorConfig = PoseTensorConfig()
    sampling: SamplingConfig = SamplingConfig()
    augmentation: AugmentationConfig = NO_AUGMENTATION
    test_views: tuple[str, ...] = (PLAIN,)
    pose_stage: StageConfig = StageConfig(name="pose")
    rgb_stage: StageConfig = StageConfig(name="rgb")
    holdout: float = 0.05
    holdout_unit: str = "clip"
    initial: Path | None = None
    strategy: str = "mirrored"
    workers: int = 1
    seed: int = 0
    resume: bool = False
    retry_left_out: bool = False
    cache_dir: Path | None = None

    def __post_init__(self):
        check_holdout(self)
        if self.crop_size < 1:
            raise ConfigError("crop_size is out of range", found=self.crop_size, expected="at least 1 pixel")
        if self.layout not in (None, *LAYOUTS):
            raise ConfigError("unknown layout", found=repr(self.layout), expected=f"None or one of {', '.join(LAYOUTS)}")

    def joint_layout(self, dataset: ActionDataset) -> SkeletonLayout:
        """The layout that the model sees."""
        return LAYOUTS[self.layout] if self.layout else dataset_layout(dataset)

    def model(self, classes: int, layout: SkeletonLayout) -> STAHandsConfig:
        """Configuration of the network: the preset with the sizes that the data decide."""
        width = pose_tensor_width(layout, self.tensor)
        return replace(preset(self.preset, classes), pose_width=width, frames=self.sampling.frames)

    @property
    def uses_video(self) -> bool:
        """Whether hand features are needed; a pose-only preset reads skeletons alone."""
        return preset(self.preset, classes=2).has_rgb_stream

    @property
    def caches(self) -> Path:
        """Folder of the caches."""
        return self.cache_dir or self.workdir / "cache"
