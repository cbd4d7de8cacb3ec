"""One experiment on one protocol of any data set: caches, training in stages, test, result files, export."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TypeVar

import keras

from keras_actrec.backbones.sensors import SensorConfig
from keras_actrec.cache.reader import FeatureCache, PoseCache
from keras_actrec.datasets.record import ActionDataset, LeftOut, Split
from keras_actrec.errors import ConfigError, DatasetError
from keras_actrec.extraction.hand_features import extract_hand_features
from keras_actrec.extraction.poses import dataset_layout, extract_poses
from keras_actrec.models.sta_hands import (
    STAHandsConfig,
    freeze_pose_network,
    pose_stream,
    preset,
    rgb_stream,
    sta_hands,
    without_pose_classifier,
)
from keras_actrec.pipelines.subsequences import SubsequenceSource
from keras_actrec.recipes.initial import copy_initial_weights
from keras_actrec.recipes.reports import Parts, write_report
from keras_actrec.skeletons.augmentation import NO_AUGMENTATION, AugmentationConfig
from keras_actrec.skeletons.cleaning import CleaningConfig
from keras_actrec.skeletons.layout import SkeletonLayout
from keras_actrec.skeletons.layouts import LAYOUTS
from keras_actrec.skeletons.pose_tensor import PoseTensorConfig, pose_tensor_width
from keras_actrec.skeletons.sampling import SamplingConfig
from keras_actrec.skeletons.views import PLAIN
from keras_actrec.training.config import StageConfig
from keras_actrec.training.evaluation import Evaluation, evaluate
from keras_actrec.training.holdout import hold_out
from keras_actrec.training.results import write_left_out
from keras_actrec.training.stages import StageHistory, run_stage
from keras_actrec.training.strategies import build_strategy

log = logging.getLogger(__name__)

HOLDOUT_UNITS = ("clip", "subject", "setup")
Extra = Callable[[Evaluation], Mapping[str, object]]


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
        holdout_unit: what is held out as a whole: a "clip", all clips of a "subject", or all clips of a "setup".
        initial: working directory of a finished run whose weights, classifiers excepted, training starts from.
        strategy: "mirrored" or "none".
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
        if not 0 < self.holdout < 1:
            raise ConfigError("holdout is a share of the training clips", found=self.holdout, expected="0 < holdout < 1")
        if self.crop_size < 1:
            raise ConfigError("crop_size is out of range", found=self.crop_size, expected="at least 1 pixel")
        for name, choices in (("holdout_unit", HOLDOUT_UNITS), ("layout", (None, *LAYOUTS))):
            value = getattr(self, name)
            if value not in choices:
                raise ConfigError(f"unknown {name}", found=repr(value), expected=f"one of {', '.join(map(str, choices))}")

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


AnyExperiment = TypeVar("AnyExperiment", bound=Experiment)


def with_seed(experiment: AnyExperiment, seed: int) -> AnyExperiment:
    """The same experiment from another seed, stages included; the data, its test sub-sequences and the sensor stay."""
    stages = {name: replace(getattr(experiment, name), seed=seed) for name in ("pose_stage", "rgb_stage")}
    return replace(experiment, seed=seed, **stages)


@dataclass(frozen=True, eq=False)
class ExperimentResult:
    """What a run found and where it left it.

    Attributes:
        metrics: content of metrics.json.
        evaluation: scores of the test clips.
        left_out: clips that were not used.
        export: directory of the SavedModel.
    """

    metrics: Mapping[str, object]
    evaluation: Evaluation
    left_out: tuple[LeftOut, ...]
    export: Path


def run_experiment(dataset: ActionDataset, experiment: Experiment, *, extra: Extra | None = None) -> ExperimentResult:
    """Runs the whole job on one protocol; see `Experiment` for what decides it.

    Files below `workdir`: metrics.json, left_out.csv, scores.npz, confusion_<stream>.png, curves.png, export/, and one folder
    per training stage.

    Args:
        dataset: the clips.
        experiment: what is done with them.
        extra: further numbers for metrics.json, from the scores of the test.

    Raises:
        ActrecError: bad files that leave nothing to train on, options that do not fit each other or an existing cache,
            weights that cannot be had, a full disk. Single bad clips are left out and listed instead.
    """
    started = time.monotonic()
    split = _split(dataset, experiment.protocol)
    source, left_out = prepare_source(dataset, experiment)
    experiment.workdir.mkdir(parents=True, exist_ok=True)
    write_left_out(experiment.workdir / "left_out.csv", left_out)
    parts = _parts(dataset, split, source, experiment)
    clips = ", ".join(f"{len(ids)} {name}" for name, ids in parts.items())
    log.info("%s %s: clips: %s; %d left out", dataset.name, experiment.protocol, clips, len(left_out))

    model, histories = _train(dataset, source, parts, experiment)
    evaluation = evaluate(model, source.with_views(experiment.test_views), parts["test"])
    metrics, export = write_report(
        dataset, experiment, model, evaluation, parts, left_out, histories,
        seconds=time.monotonic() - started, extra={} if extra is None else extra(evaluation),
    )  # fmt: skip
    return ExperimentResult(metrics, evaluation, left_out, export)


def _split(dataset: ActionDataset, protocol: str) -> Split:
    for mismatch in dataset.count_mismatches():
        if mismatch.protocol == protocol:
            log.warning("not the published clips: %s", mismatch)
    protocols = dataset.protocols()
    if protocol not in protocols:
        raise ConfigError("unknown protocol", found=repr(protocol), expected=f"one of {', '.join(protocols)}")
    split = protocols[protocol]
    for side in ("train", "test"):
        if not getattr(split, side):
            raise DatasetError(
                f"protocol {protocol} has no clip to {side} on", found=f"{len(dataset.records)} usable clips",
                fix="give a data root with the clips of both sides, or choose the other protocol",
            )  # fmt: skip
    return split


def prepare_source(dataset: ActionDataset, experiment: Experiment) -> tuple[SubsequenceSource, tuple[LeftOut, ...]]:
    """Writes what is missing of the caches and opens them; also gives the clips that were left out so far."""
    poses, hands = experiment.caches / "poses", experiment.caches / "hand_features"
    layout = experiment.joint_layout(dataset)
    report = extract_poses(
        dataset, poses, layout=LAYOUTS[experiment.layout] if experiment.layout else None,
        cleaning=experiment.cleaning, tensor=experiment.tensor, sampling=experiment.sampling,
        workers=experiment.workers, progress=True, retry_left_out=experiment.retry_left_out,
    )  # fmt: skip
    left_out = [*dataset.left_out, *report.left_out]
    if experiment.uses_video:
        report = extract_hand_features(
            dataset, poses, hands,
            sensor=experiment.sensor, crop_size=experiment.crop_size,
            workers=experiment.workers, progress=True, retry_left_out=experiment.retry_left_out,
        )  # fmt: skip
        left_out += report.left_out
    source = SubsequenceSource(
        PoseCache(poses),
        FeatureCache(hands) if experiment.uses_video else None,
        {record.clip_id: record.label for record in dataset.records},
        experiment.tensor,
        experiment.sampling,
        layout=layout,
        augmentation=experiment.augmentation,
    )
    return source, tuple(left_out)


def _parts(dataset: ActionDataset, split: Split, source: SubsequenceSource, experiment: Experiment) -> Parts:
    """Clips of training, validation (held out of the training clips) and test, without those that were left out."""
    usable = set(source.clip_ids)
    sides = {side: tuple(clip for clip in getattr(split, side) if clip in usable) for side in ("train", "test")}
    for side, clips in sides.items():
        if not clips:
            raise DatasetError(
                f"protocol {experiment.protocol} has no clip to {side} on: all of them were left out",
                file=experiment.workdir / "left_out.csv", fix="mend the files that left_out.csv lists, or leave them out",
            )  # fmt: skip
    groups = None
    if experiment.holdout_unit != "clip":
        unit_of = {record.clip_id: getattr(record, experiment.holdout_unit) for record in dataset.records}
        groups = unit_of.__getitem__
    train, validation = hold_out(
        sides["train"], source.label, fraction=experiment.holdout, seed=experiment.seed, groups=groups
    )  # fmt: skip
    return {"train": train, "validation": validation, "test": sides["test"]}


def _train(
    dataset: ActionDataset, source: SubsequenceSource, parts: Parts, experiment: Experiment
) -> tuple[keras.Model, list[StageHistory]]:
    """Stage 1: the pose stream. Stage 2: the RGB stream with the pose network frozen (paper section 4)."""
    config = experiment.model(len(dataset.class_names), experiment.joint_layout(dataset))
    # "RGB only" conditioned on pose (rows E and G of Table 6) needs a trained pose network: it trains in the full model too.
    rgb_only = config.streams == "rgb" and config.pose_conditioning
    strategy = build_strategy(experiment.strategy)
    keras.utils.set_random_seed(experiment.seed)
    with strategy.scope():
        built = replace(config, streams="both") if rgb_only else config
        model = sta_hands(built)
        if experiment.initial is not None:
            inputs = {"layout": experiment.joint_layout(dataset).name, "tensor": asdict(experiment.tensor)}
            copy_initial_weights(model, built, experiment.initial, inputs=inputs)
        stages = []
        if config.has_pose_network:
            stages.append((pose_stream(model), experiment.pose_stage))
        if config.has_rgb_stream:
            stages.append((rgb_stream(model), experiment.rgb_stage))
    histories = []
    for stream, stage in stages:
        if stream.name == "rgb_stream" and config.has_pose_network:
            freeze_pose_network(model)
        log.info("stage %s: %s", stage.name, stream.name)
        history = run_stage(
            model, stream, source, parts["train"], parts["validation"], stage, experiment.workdir,
            strategy=strategy, resume=experiment.resume,
        )  # fmt: skip
        histories.append(history)
    if rgb_only:
        with strategy.scope():
            model = without_pose_classifier(model)
    return model, histories
