"""Runs one experiment on one protocol of any data set: caches, training in stages, test, result files, export."""

from __future__ import annotations

import logging
import time
from dataclasses import asdict, replace
from pathlib import Path

import keras
import tensorflow as tf

from keras_actrec.cache.reader import FeatureCache, PoseCache
from keras_actrec.datasets.record import ActionDataset, LeftOut
from keras_actrec.extraction.hand_features import extract_hand_features
from keras_actrec.extraction.poses import extract_poses
from keras_actrec.extraction.workers import share_gpus
from keras_actrec.models.sta_hands import (
    freeze_pose_network,
    pose_stream,
    rgb_stream,
    sta_hands,
    without_pose_classifier,
)
from keras_actrec.pipelines.subsequences import SubsequenceSource
from keras_actrec.recipes.parts import Parts, listed_parts, protocol_split
from keras_actrec.recipes.reports import ExperimentResult, Extra
from keras_actrec.recipes.sta_hands.experiment import Experiment
from keras_actrec.recipes.sta_hands.initial import copy_initial_weights
from keras_actrec.recipes.sta_hands.report import write_report
from keras_actrec.recipes.together import check_same_run, connected, whole_report
from keras_actrec.skeletons.layouts import LAYOUTS
from keras_actrec.training.evaluation import evaluate
from keras_actrec.training.stages import StageHistory, run_stage
from keras_actrec.training.strategies import build_strategy
from keras_actrec.training.workers import Workers

log = logging.getLogger(__name__)


def run_experiment(dataset: ActionDataset, experiment: Experiment, *, extra: Extra | None = None) -> ExperimentResult:
    """Runs the whole job on one protocol; see `Experiment` for what decides it.

    Files below `workdir`: metrics.json, left_out.csv, scores.npz, confusion_<stream>.png, curves.png, attention.npz (where
    the variant has attention), report.html, export/, and one folder per training stage.

    Args:
        dataset: the clips.
        experiment: what is done with them.
        extra: further numbers for metrics.json, from the scores of the test.

    Raises:
        ActrecError: bad files that leave nothing to train on, options that do not fit each other or an existing cache,
            weights that cannot be had, a full disk. Single bad clips are left out and listed instead.
    """
    started = time.monotonic()
    split = protocol_split(dataset, experiment.protocol)
    if experiment.workers > 1:
        share_gpus()  # with the workers of the extraction: too late once the strategy has them
    strategy = build_strategy(experiment.strategy)
    workers = Workers.of(strategy)
    with workers.watched():
        check_same_run(workers, dataset, experiment)
        source, left_out = prepare_source(dataset, experiment)
        parts = listed_parts(dataset, split, source, left_out, experiment, workers)
        model, histories = _train(dataset, source, parts, experiment, strategy)
        evaluation = evaluate(model, source.with_views(experiment.test_views), parts["test"])
        metrics, export = workers.chief_does(lambda: write_report(
            dataset, experiment, model, evaluation, parts, left_out, histories,
            seconds=time.monotonic() - started, extra={} if extra is None else extra(evaluation),
        ))  # fmt: skip
    return ExperimentResult(metrics, evaluation, left_out, Path(export))


def prepare_source(dataset: ActionDataset, experiment: Experiment) -> tuple[SubsequenceSource, tuple[LeftOut, ...]]:
    """Writes what is missing of the caches and opens them; also gives the clips that were left out so far."""
    workers, clips = connected(experiment.strategy), {record.clip_id for record in dataset.records}
    share = (workers.index, workers.count)
    poses, hands = experiment.caches / "poses", experiment.caches / "hand_features"
    layout = experiment.joint_layout(dataset)
    report = extract_poses(
        dataset, poses, layout=LAYOUTS[experiment.layout] if experiment.layout else None,
        cleaning=experiment.cleaning, tensor=experiment.tensor, sampling=experiment.sampling,
        workers=experiment.workers, progress=True, share=share, retry_left_out=experiment.retry_left_out,
    )  # fmt: skip
    left_out = [*dataset.left_out, *whole_report(workers, report, clips).left_out]
    if experiment.uses_video:
        report = extract_hand_features(
            dataset, poses, hands,
            sensor=experiment.sensor, crop_size=experiment.crop_size,
            workers=experiment.workers, progress=True, share=share, retry_left_out=experiment.retry_left_out,
        )  # fmt: skip
        left_out += whole_report(workers, report, clips).left_out
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


def _train(
    dataset: ActionDataset,
    source: SubsequenceSource,
    parts: Parts,
    experiment: Experiment,
    strategy: tf.distribute.Strategy,
) -> tuple[keras.Model, list[StageHistory]]:
    """Stage 1: the pose stream. Stage 2: the RGB stream with the pose network frozen (paper section 4)."""
    config = experiment.model(len(dataset.class_names), experiment.joint_layout(dataset))
    # "RGB only" conditioned on pose (rows E and G of Table 6) needs a trained pose network: it trains in the full model too.
    rgb_only = config.streams == "rgb" and config.pose_conditioning
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
