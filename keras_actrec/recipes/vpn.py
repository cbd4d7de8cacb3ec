"""Runs one VPN experiment: caches, training end to end or on cached maps, test, result files, export."""

from __future__ import annotations

import logging
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import keras
import tensorflow as tf

from keras_actrec.backbones.sensors import weights_checksum
from keras_actrec.backbones.visual import build_backbone, map_shape
from keras_actrec.cache.clip_maps import ClipMapCache
from keras_actrec.cache.person_clips import open_person_clips
from keras_actrec.cache.reader import PoseCache
from keras_actrec.cache.schema import load_index
from keras_actrec.datasets.record import ActionDataset, LeftOut
from keras_actrec.export import export_vpn
from keras_actrec.extraction.clip_maps import extract_clip_maps
from keras_actrec.extraction.person_clips import extract_person_clips
from keras_actrec.extraction.poses import extract_poses
from keras_actrec.models.vpn import BACKBONE, VPNConfig, vpn, with_backbone
from keras_actrec.pipelines.person_clips import ClipMapSource, PersonClipSource
from keras_actrec.recipes.parts import Parts, clip_parts, protocol_split
from keras_actrec.recipes.reports import write_results
from keras_actrec.recipes.run import ExperimentResult, Extra
from keras_actrec.recipes.vpn_experiment import VPNExperiment
from keras_actrec.recipes.vpn_initial import copy_vpn_weights
from keras_actrec.skeletons.layouts import LAYOUTS
from keras_actrec.training.evaluation import evaluate
from keras_actrec.training.results import RunDescription, write_left_out
from keras_actrec.training.stages import StageHistory, run_stage
from keras_actrec.training.strategies import build_strategy
from keras_actrec.training.vpn_objective import vpn_objective

log = logging.getLogger(__name__)

STREAMS = {"vpn": "scores"}
_TEST_ROWS = {"clip": 4, "map": 64}  # rows of a test batch: a clip of 64 frames of 224 takes 39 MB, its map 1.6 MB


@dataclass(frozen=True, eq=False)
class _Opened:
    """The caches of a run.

    Attributes:
        source: batches of training, validation and test.
        tested: where the test batches come from: `source`, or clips of another size.
        left_out: clips without what the run needs, and why.
    """

    source: ClipMapSource | PersonClipSource
    tested: ClipMapSource | PersonClipSource
    left_out: tuple[LeftOut, ...]


def run_vpn_experiment(dataset: ActionDataset, experiment: VPNExperiment, *, extra: Extra | None = None) -> ExperimentResult:
    """Runs the whole job on one protocol; see `VPNExperiment` for what decides it.

    Files below `workdir`: metrics.json, left_out.csv, scores.npz, confusion_vpn.png, curves.png, export/, and the folder of the
    training stage.

    Args:
        dataset: the clips, with videos.
        experiment: what is done with them.
        extra: further numbers for metrics.json, from the scores of the test.

    Raises:
        ActrecError: bad files that leave nothing to train on, options that do not fit each other or an existing cache,
            weights that cannot be had, a full disk. Single bad clips are left out and listed instead.
    """
    started = time.monotonic()
    split = protocol_split(dataset, experiment.protocol)
    strategy = build_strategy(experiment.strategy)
    opened = _open_caches(dataset, experiment)
    experiment.workdir.mkdir(parents=True, exist_ok=True)
    write_left_out(experiment.workdir / "left_out.csv", opened.left_out)
    parts = clip_parts(dataset, split, opened.source, experiment)
    clips = ", ".join(f"{len(ids)} {name}" for name, ids in parts.items())
    log.info("%s %s: clips: %s; %d left out", dataset.name, experiment.protocol, clips, len(opened.left_out))

    model, config, history = _train(dataset, experiment, opened, parts, strategy)
    with strategy.scope():
        tested, whole = _tested_models(model, config, experiment)
    rows = _TEST_ROWS[opened.tested.video]
    evaluation = evaluate(tested, opened.tested, parts["test"], streams=STREAMS, pooling="max", batch_rows=rows)
    metrics = write_results(
        experiment.workdir, _description(dataset, experiment, parts, whole), evaluation, dataset.class_names,
        opened.left_out, [history], configuration=_configuration(experiment, config),
        seconds=time.monotonic() - started, extra={} if extra is None else extra(evaluation),
    )  # fmt: skip
    export = _export(dataset, experiment, whole)
    return ExperimentResult(metrics, evaluation, opened.left_out, export)


def _open_caches(dataset: ActionDataset, experiment: VPNExperiment) -> _Opened:
    """Writes what is missing of the caches and opens them."""
    poses, clips, maps = (experiment.caches / name for name in ("poses", "person_clips", "clip_maps"))
    run = {"workers": experiment.workers, "progress": True, "retry_left_out": experiment.retry_left_out}
    layout = LAYOUTS[experiment.layout] if experiment.layout else None
    reports = [extract_poses(dataset, poses, layout=layout, **run)]
    reports.append(extract_person_clips(dataset, poses, clips, crop=experiment.crop, pixel_size=experiment.pixel_size, **run))
    on_maps = experiment.train == "on_maps"
    if on_maps:
        reports.append(extract_clip_maps(clips, maps, backbone=experiment.backbone, sampling=experiment.sampling, **run))
    labels = {record.clip_id: record.label for record in dataset.records}
    shared = (PoseCache(poses), labels, experiment.sampling)
    joints = experiment.joint_layout(dataset)

    def person_clips(size: int) -> PersonClipSource:
        return PersonClipSource(open_person_clips(clips), *shared, layout=joints, image_size=size)

    larger = experiment.tested_size > experiment.backbone.image_size
    source = (
        ClipMapSource(ClipMapCache(maps), *shared, layout=joints) if on_maps else person_clips(experiment.backbone.image_size)
    )
    left_out = (*dataset.left_out, *(clip for report in reports for clip in report.left_out))
    return _Opened(source, person_clips(experiment.tested_size) if larger else source, left_out)


def _train(
    dataset: ActionDataset, experiment: VPNExperiment, opened: _Opened, parts: Parts, strategy: tf.distribute.Strategy
) -> tuple[keras.Model, VPNConfig, StageHistory]:
    """Section 3.3. The model that was trained: with its backbone inside, or on maps."""
    keras.utils.set_random_seed(experiment.seed)
    with strategy.scope():
        backbone = None
        if experiment.train == "end_to_end":
            backbone = build_backbone(experiment.backbone)
            backbone.trainable = True
        shape = opened.source.shapes["map"] if backbone is None else map_shape(backbone)
        config = experiment.model(dataset, shape)
        model = vpn(config, backbone)
        if experiment.initial is not None:
            copy_vpn_weights(model, experiment.initial)
    log.info("stage %s: %s, %s", experiment.stage.name, experiment.preset, experiment.train)
    history = run_stage(
        model, model, opened.source, parts["train"], parts["validation"], experiment.stage, experiment.workdir,
        strategy=strategy, resume=experiment.resume, objective=vpn_objective(config),
    )  # fmt: skip
    return model, config, history


def _tested_models(model: keras.Model, config: VPNConfig, experiment: VPNExperiment) -> tuple[keras.Model, keras.Model]:
    """The model that is tested, and the whole network with its backbone for clips of the tested size."""
    on_maps = experiment.train == "on_maps"
    larger = experiment.tested_size > experiment.backbone.image_size
    if not on_maps and not larger:
        return model, model
    weights = None if on_maps else model.get_layer(BACKBONE).get_weights()
    backbone = build_backbone(replace(experiment.backbone, image_size=experiment.tested_size), weights=weights)
    whole = with_backbone(config, model, backbone)
    return (whole if larger else model), whole


def _description(dataset: ActionDataset, experiment: VPNExperiment, parts: Parts, whole: keras.Model) -> RunDescription:
    return RunDescription(
        dataset=dataset.name,
        protocol=experiment.protocol,
        model="vpn",
        preset=experiment.preset,
        seed=experiment.seed,
        clips={name: len(ids) for name, ids in parts.items()},
        weights=_backbone_description(experiment, whole),
    )


def _backbone_description(experiment: VPNExperiment, whole: keras.Model) -> dict[str, object]:
    return {**asdict(experiment.backbone), "weights_checksum": weights_checksum(whole.get_layer(BACKBONE))}


def _configuration(experiment: VPNExperiment, config: VPNConfig) -> dict[str, object]:
    names = ("sampling", "crop")
    return {
        "model": asdict(config),
        **{name: asdict(getattr(experiment, name)) for name in names},
        "stage": experiment.stage.as_json(),
        "pixel_size": experiment.pixel_size,
        "train": experiment.train,
        "test_image_size": experiment.tested_size,
        "holdout": experiment.holdout,
        "holdout_unit": experiment.holdout_unit,
        "initial": None if experiment.initial is None else str(experiment.initial),
    }


def _export(dataset: ActionDataset, experiment: VPNExperiment, whole: keras.Model) -> Path:
    poses = load_index(experiment.caches / "poses").options
    return export_vpn(
        whole,
        experiment.workdir / "export",
        class_names=dataset.class_names,
        layout=experiment.joint_layout(dataset),
        sampling=experiment.sampling,
        crop=asdict(experiment.crop),
        cleaning=dict(poses.options["cleaning"]),
        backbone=_backbone_description(experiment, whole),
    )
