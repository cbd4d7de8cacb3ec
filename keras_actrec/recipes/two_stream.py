"""The main job: NTU RGB+D files → caches → two-stage training → test → exported classifier (paper sections 3 to 5)."""

from __future__ import annotations

import logging
import time
import warnings
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import keras

from keras_actrec.backbones.sensors import SensorConfig, build_sensor
from keras_actrec.cache.reader import FeatureCache, PoseCache
from keras_actrec.cache.schema import load_index
from keras_actrec.datasets.ntu import NTURGBD
from keras_actrec.datasets.record import ActionDataset, LeftOut, Split
from keras_actrec.errors import ConfigError, DatasetError, WeightsError
from keras_actrec.export import export_saved_model
from keras_actrec.extraction.hand_features import extract_hand_features
from keras_actrec.extraction.poses import extract_poses
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
from keras_actrec.skeletons.cleaning import CleaningConfig
from keras_actrec.skeletons.layout import KINECT_V2
from keras_actrec.skeletons.pose_tensor import PoseTensorConfig, pose_tensor_width
from keras_actrec.skeletons.sampling import SamplingConfig
from keras_actrec.synthetic.actions import SYNTHETIC_ACTIONS, synthetic_class_names
from keras_actrec.synthetic.dataset import SyntheticConfig, write_synthetic_ntu
from keras_actrec.training.config import StageConfig
from keras_actrec.training.evaluation import Evaluation, evaluate, save_scores
from keras_actrec.training.holdout import hold_out
from keras_actrec.training.results import RunDescription, write_left_out, write_metrics
from keras_actrec.training.stages import StageHistory, run_stage
from keras_actrec.training.strategies import build_strategy
from keras_actrec.visualize.plots import confusion_matrix_png, curves_png

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class TwoStreamExperiment:
    """Everything that decides the result of one run.

    Attributes:
        workdir: results: checkpoints, logs, metrics, pictures, export; and caches, unless `cache_dir` is given.
        data_root: folder of the NTU RGB+D files; None makes the synthetic data set of `synthetic` below the caches.
        protocol: "cross_subject" or "cross_view".
        preset: preset of `keras_actrec.models.sta_hands`.
        sensor: image network for the hand crops.
        crop_size: side in pixels of the square cut around each hand (paper section 5: 50 for NTU).
        cleaning, tensor, sampling: options of the pose cache.
        pose_stage, rgb_stage: stage 1 trains the pose stream, stage 2 the RGB stream with the pose network frozen.
        holdout: share of the training clips held out for early stopping (paper section 5: 5 %).
        strategy: "mirrored" or "none".
        workers: processes of the extraction.
        seed: initial weights and hold-out; the stages have seeds of their own, see `with_seed`.
        resume: go on with a training that was stopped.
        retry_left_out: try clips again that an earlier extraction left out, after their files were mended.
        cache_dir: folder of the caches, which several runs can share.
        synthetic: what the synthetic data set is, where there is no data root.

    Raises:
        ConfigError: a value out of range.
    """

    workdir: Path
    data_root: Path | None = None
    protocol: str = "cross_subject"
    preset: str = "sta_hands_paper"
    sensor: SensorConfig = SensorConfig()
    crop_size: int = 50
    cleaning: CleaningConfig = CleaningConfig()
    tensor: PoseTensorConfig = PoseTensorConfig()
    sampling: SamplingConfig = SamplingConfig()
    pose_stage: StageConfig = StageConfig(name="pose")
    rgb_stage: StageConfig = StageConfig(name="rgb")
    holdout: float = 0.05
    strategy: str = "mirrored"
    workers: int = 1
    seed: int = 0
    resume: bool = False
    retry_left_out: bool = False
    cache_dir: Path | None = None
    synthetic: SyntheticConfig = SyntheticConfig()

    def __post_init__(self):
        if not 0 < self.holdout < 1:
            raise ConfigError("holdout is a share of the training clips", found=self.holdout, expected="0 < holdout < 1")
        if self.crop_size < 1:
            raise ConfigError("crop_size is out of range", found=self.crop_size, expected="at least 1 pixel")

    def model(self, classes: int) -> STAHandsConfig:
        """Configuration of the network: the preset with the sizes that the data decide."""
        width = pose_tensor_width(KINECT_V2, self.tensor)
        return replace(preset(self.preset, classes), pose_width=width, frames=self.sampling.frames)

    @property
    def uses_video(self) -> bool:
        """Whether hand features are needed; a pose-only preset reads skeletons alone."""
        return self.model(classes=2).has_rgb_stream

    @property
    def caches(self) -> Path:
        """Folder of the caches and of the synthetic data set."""
        return self.cache_dir or self.workdir / "cache"


def with_seed(experiment: TwoStreamExperiment, seed: int) -> TwoStreamExperiment:
    """The same experiment from another seed, stages included; the data, its test sub-sequences and the sensor stay."""
    stages = {name: replace(getattr(experiment, name), seed=seed) for name in ("pose_stage", "rgb_stage")}
    return replace(experiment, seed=seed, **stages)


def embedded_default(workdir: Path) -> TwoStreamExperiment:
    """The experiment without a data root: same path, sized for two CPU cores and a few minutes.

    What differs from the paper's settings: crops are resized to 91×91 instead of 299×299, a larger learning rate for fewer
    epochs, smaller batches, and a larger hold-out, as 5 % of so few clips say nothing.
    """
    return TwoStreamExperiment(
        workdir=workdir,
        sensor=SensorConfig(image_size=91),
        pose_stage=StageConfig(name="pose", learning_rate=5e-4, batch_size=32, epochs=20, patience=8, checkpoint_seconds=60),
        rgb_stage=StageConfig(name="rgb", learning_rate=3e-4, batch_size=32, epochs=24, patience=8, checkpoint_seconds=60),
        holdout=0.1,
    )


@dataclass(frozen=True, eq=False)
class TwoStreamResult:
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


def run_two_stream(experiment: TwoStreamExperiment) -> TwoStreamResult:
    """Runs the whole job; see `TwoStreamExperiment` for what decides it.

    Files below `workdir`: metrics.json, left_out.csv, scores.npz, confusion_<stream>.png, curves.png, export/, and one folder
    per training stage.

    Raises:
        ActrecError: bad files that leave nothing to train on, options that do not fit each other or an existing cache,
            weights that cannot be had, a full disk. Single bad clips are left out and listed instead.
    """
    started = time.monotonic()
    experiment = _with_available_weights(experiment)
    dataset = _open_dataset(experiment)
    split = _split(dataset, experiment.protocol)
    source, left_out = _extract(dataset, experiment)
    left_out = (*dataset.left_out, *left_out)
    experiment.workdir.mkdir(parents=True, exist_ok=True)
    write_left_out(experiment.workdir / "left_out.csv", left_out)
    parts = _parts(split, source, experiment)
    log.info("clips: " + ", ".join(f"{len(ids)} {name}" for name, ids in parts.items()) + f"; {len(left_out)} left out")

    model, histories = _train(dataset, source, parts, experiment)
    evaluation = evaluate(model, source, parts["test"])
    metrics = _write_results(dataset, experiment, evaluation, parts, left_out, histories, time.monotonic() - started)
    export = _export(model, dataset, experiment)
    return TwoStreamResult(metrics, evaluation, left_out, export)


def _with_available_weights(experiment: TwoStreamExperiment) -> TwoStreamExperiment:
    """Tries the sensor's weights before anything long starts; the synthetic data set alone may fall back to random ones."""
    if not experiment.uses_video or experiment.sensor.weights == "random":
        return experiment  # nothing to find; the extraction builds the network
    try:
        build_sensor(experiment.sensor)
        return experiment
    except WeightsError as error:
        if experiment.data_root is not None or experiment.sensor.weights != "imagenet":
            raise
        warnings.warn(
            f"the synthetic default goes on with RANDOM sensor weights, which say nothing about real data: {error}",
            stacklevel=3,
        )
        return replace(experiment, sensor=replace(experiment.sensor, weights="random"))
    finally:
        keras.backend.clear_session()


def _open_dataset(experiment: TwoStreamExperiment) -> NTURGBD:
    if experiment.data_root is not None:
        dataset = NTURGBD(experiment.data_root, modality="both" if experiment.uses_video else "skeleton")
    else:
        root = write_synthetic_ntu(experiment.caches / "synthetic_ntu", experiment.synthetic, workers=2)
        dataset = NTURGBD(root, class_names=synthetic_class_names())
    log.info("%s\n%s", dataset.root, dataset.counts().to_string(na_rep="-"))
    return dataset


def _split(dataset: ActionDataset, protocol: str) -> Split:
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


def _extract(dataset: ActionDataset, experiment: TwoStreamExperiment) -> tuple[SubsequenceSource, tuple[LeftOut, ...]]:
    """Writes what is missing of the caches and opens them."""
    poses, hands = experiment.caches / "poses", experiment.caches / "hand_features"
    report = extract_poses(
        dataset, poses,
        cleaning=experiment.cleaning, tensor=experiment.tensor, sampling=experiment.sampling,
        workers=experiment.workers, progress=True, retry_left_out=experiment.retry_left_out,
    )  # fmt: skip
    left_out = list(report.left_out)
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
        layout=KINECT_V2,
    )
    return source, tuple(left_out)


def _parts(split: Split, source: SubsequenceSource, experiment: TwoStreamExperiment) -> dict[str, tuple[str, ...]]:
    """Clips of training, validation (held out of the training clips) and test, without those that were left out."""
    usable = set(source.clip_ids)
    sides = {side: tuple(clip for clip in getattr(split, side) if clip in usable) for side in ("train", "test")}
    for side, clips in sides.items():
        if not clips:
            raise DatasetError(
                f"protocol {experiment.protocol} has no clip to {side} on: all of them were left out",
                file=experiment.workdir / "left_out.csv", fix="mend the files that left_out.csv lists, or leave them out",
            )  # fmt: skip
    train, validation = hold_out(sides["train"], source.label, fraction=experiment.holdout, seed=experiment.seed)
    return {"train": train, "validation": validation, "test": sides["test"]}


def _train(
    dataset: ActionDataset, source: SubsequenceSource, parts: Mapping[str, tuple[str, ...]], experiment: TwoStreamExperiment
) -> tuple[keras.Model, list[StageHistory]]:
    """Stage 1: the pose stream. Stage 2: the RGB stream with the pose network frozen (paper section 4)."""
    config = experiment.model(len(dataset.class_names))
    # "RGB only" conditioned on pose (rows E and G of Table 6) needs a trained pose network: it trains in the full model too.
    rgb_only = config.streams == "rgb" and config.pose_conditioning
    strategy = build_strategy(experiment.strategy)
    keras.utils.set_random_seed(experiment.seed)
    with strategy.scope():
        model = sta_hands(replace(config, streams="both") if rgb_only else config)
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


def _write_results(
    dataset: ActionDataset,
    experiment: TwoStreamExperiment,
    evaluation: Evaluation,
    parts: Mapping[str, tuple[str, ...]],
    left_out: tuple[LeftOut, ...],
    histories: list[StageHistory],
    seconds: float,
) -> dict[str, object]:
    workdir = experiment.workdir
    run = RunDescription(
        dataset=dataset.name if experiment.data_root else "synthetic_ntu",
        protocol=experiment.protocol,
        model="sta_hands",
        preset=experiment.preset,
        seed=experiment.seed,
        clips={name: len(ids) for name, ids in parts.items()},
        weights=_sensor_description(experiment),
    )
    extra: dict[str, object] = {
        "stages": [
            {"name": history.weights.parent.name, "epochs": len(history.epochs), "best_epoch": history.best_epoch}
            for history in histories
        ],
        "seconds": round(seconds, 1),
    }
    if experiment.data_root is None:
        extra["accuracy_by_kind"] = _accuracy_by_kind(evaluation)
    metrics = write_metrics(workdir / "metrics.json", run, evaluation, dataset.class_names, left_out, extra=extra)
    save_scores(workdir / "scores.npz", evaluation)
    for stream in evaluation.scores:
        confusion_matrix_png(evaluation.confusion_matrix(stream), dataset.class_names, workdir / f"confusion_{stream}.png")
    curves_png({history.weights.parent.name: history.csv for history in histories}, workdir / "curves.png")
    return metrics


def _accuracy_by_kind(evaluation: Evaluation) -> dict[str, dict[str, float]]:
    """Accuracy on the synthetic classes by what tells them apart: stream → kind → accuracy."""
    kinds = [SYNTHETIC_ACTIONS[label].kind for label in evaluation.labels]
    table: dict[str, dict[str, float]] = {}
    for stream in evaluation.scores:
        hits = evaluation.predictions(stream) == evaluation.labels
        table[stream] = {
            kind: float(sum(hit for hit, k in zip(hits, kinds, strict=True) if k == kind) / kinds.count(kind))
            for kind in dict.fromkeys(kinds)
        }
    return table


def _sensor_description(experiment: TwoStreamExperiment) -> dict[str, object]:
    """The image network, with the checksum of the weights that the cached features were made with."""
    if not experiment.uses_video:
        return {}
    options = load_index(experiment.caches / "hand_features").options
    return {**asdict(experiment.sensor), "weights_checksum": options.weights_checksum}


def _export(model: keras.Model, dataset: ActionDataset, experiment: TwoStreamExperiment) -> Path:
    return export_saved_model(
        model,
        experiment.workdir / "export",
        class_names=dataset.class_names,
        layout=KINECT_V2,
        tensor=experiment.tensor,
        sampling=experiment.sampling,
        sensor=_sensor_description(experiment),
        crop_size=experiment.crop_size,
        cleaning=asdict(experiment.cleaning),
    )
