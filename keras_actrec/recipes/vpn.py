"""Runs one VPN experiment: caches, training end to end or on cached maps, test, result files, export."""

from __future__ import annotations

import json
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
from keras_actrec.cache.schema import flatten, load_index
from keras_actrec.datasets.record import ActionDataset, LeftOut
from keras_actrec.errors import WeightsError
from keras_actrec.export import export_vpn
from keras_actrec.extraction.clip_maps import extract_clip_maps
from keras_actrec.extraction.person_clips import extract_person_clips
from keras_actrec.extraction.poses import extract_poses
from keras_actrec.extraction.workers import share_gpus
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
class _Backbones:
    """The visual backbone, for clips of the size that it is trained on and of the size that is tested; with equal weights.

    Attributes:
        trained, tested: the models; one model where the sizes are equal.
        checksum: of their weights (`weights_checksum`).
    """

    trained: keras.Model
    tested: keras.Model
    checksum: str


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


@dataclass(frozen=True, eq=False)
class _Trained:
    """A finished training.

    Attributes:
        model: with its backbone inside, or on maps.
        config: that it was built from.
        history: of its stage.
        checksum: of the backbone's weights that the training began with.
    """

    model: keras.Model
    config: VPNConfig
    history: StageHistory
    checksum: str


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
    if experiment.workers > 1:
        share_gpus()  # with the workers of the extraction: too late once the strategy has them
    strategy = build_strategy(experiment.strategy)
    backbones = _build_backbones(experiment, strategy)  # first: weights that cannot be had end the run before anything long
    opened = _open_caches(dataset, experiment, backbones)
    experiment.workdir.mkdir(parents=True, exist_ok=True)
    write_left_out(experiment.workdir / "left_out.csv", opened.left_out)
    parts = clip_parts(dataset, split, opened.source, experiment)
    clips = ", ".join(f"{len(ids)} {name}" for name, ids in parts.items())
    log.info("%s %s: clips: %s; %d left out", dataset.name, experiment.protocol, clips, len(opened.left_out))

    trained = _train(dataset, experiment, opened, backbones, parts, strategy)
    with strategy.scope():
        tested, whole = _tested_models(trained, experiment, backbones)
    rows = _TEST_ROWS[opened.tested.video]
    evaluation = evaluate(tested, opened.tested, parts["test"], streams=STREAMS, pooling="max", batch_rows=rows)
    metrics = write_results(
        experiment.workdir, _description(dataset, experiment, parts, trained), evaluation, dataset.class_names,
        opened.left_out, [trained.history],
        configuration=_configuration(experiment, trained.config, strategy.num_replicas_in_sync),
        seconds=time.monotonic() - started, extra={} if extra is None else extra(evaluation),
    )  # fmt: skip
    export = _export(dataset, experiment, whole)
    return ExperimentResult(metrics, evaluation, opened.left_out, export)


def _build_backbones(experiment: VPNExperiment, strategy: tf.distribute.Strategy) -> _Backbones:
    config = experiment.backbone
    keras.utils.set_random_seed(experiment.seed)  # for a function whose model has random weights of its own
    with strategy.scope():
        trained = tested = build_backbone(config)
        if experiment.tested_size > config.image_size:
            # Not built anew: random weights depend on the size of the clips that they are calibrated on.
            tested = build_backbone(replace(config, image_size=experiment.tested_size), weights=trained.get_weights())
    return _Backbones(trained, tested, weights_checksum(trained))


def _open_caches(dataset: ActionDataset, experiment: VPNExperiment, backbones: _Backbones) -> _Opened:
    """Writes what is missing of the caches and opens them."""
    poses, clips, maps = (experiment.caches / name for name in ("poses", "person_clips", "clip_maps"))
    run = {"workers": experiment.workers, "progress": True, "retry_left_out": experiment.retry_left_out}
    layout = LAYOUTS[experiment.layout] if experiment.layout else None
    reports = [extract_poses(dataset, poses, layout=layout, **run)]
    reports.append(extract_person_clips(dataset, poses, clips, crop=experiment.crop, pixel_size=experiment.pixel_size, **run))
    on_maps = experiment.train == "on_maps"
    if on_maps:
        reports.append(extract_clip_maps(clips, maps, backbone=experiment.backbone, sampling=experiment.sampling, **run))
        _check_same_backbone(maps, backbones)
    labels = {record.clip_id: record.label for record in dataset.records}
    shared = (PoseCache(poses), labels, experiment.sampling)
    joints = experiment.joint_layout(dataset)

    def person_clips(size: int) -> PersonClipSource:
        return PersonClipSource(open_person_clips(clips), *shared, layout=joints, image_size=size)

    larger = backbones.tested is not backbones.trained
    source = (
        ClipMapSource(ClipMapCache(maps), *shared, layout=joints) if on_maps else person_clips(experiment.backbone.image_size)
    )
    left_out = (*dataset.left_out, *(clip for report in reports for clip in report.left_out))
    return _Opened(source, person_clips(experiment.tested_size) if larger else source, left_out)


def _check_same_backbone(maps: Path, backbones: _Backbones) -> None:
    """The exported network has to see what the maps show."""
    found = load_index(maps).options.weights_checksum
    if found != backbones.checksum:
        raise WeightsError(
            "the backbone's function gives other weights each time, so that no network fits the maps", file=maps,
            found=found[:12], expected=backbones.checksum[:12],
            fix="load its weights from a file, draw them from config.seed, or take the weights random",
        )  # fmt: skip


def _train(
    dataset: ActionDataset,
    experiment: VPNExperiment,
    opened: _Opened,
    backbones: _Backbones,
    parts: Parts,
    strategy: tf.distribute.Strategy,
) -> _Trained:
    """Section 3.3."""
    keras.utils.set_random_seed(experiment.seed)
    end_to_end = experiment.train == "end_to_end"
    with strategy.scope():
        backbones.trained.trainable = end_to_end
        config = experiment.model(dataset, map_shape(backbones.trained))
        model = vpn(config, backbones.trained if end_to_end else None)
        if experiment.initial is not None:
            copy_vpn_weights(model, config, experiment.initial)
    checksum = weights_checksum(model.get_layer(BACKBONE)) if end_to_end else backbones.checksum
    log.info("stage %s: %s, %s", experiment.stage.name, experiment.preset, experiment.train)
    history = run_stage(
        model, model, opened.source, parts["train"], parts["validation"], experiment.stage, experiment.workdir,
        strategy=strategy, resume=experiment.resume, objective=vpn_objective(config),
        settings=_decisive(experiment, config, checksum),
    )  # fmt: skip
    return _Trained(model, config, history, checksum)


def _tested_models(
    trained: _Trained, experiment: VPNExperiment, backbones: _Backbones
) -> tuple[keras.Model, keras.Model]:  # fmt: skip
    """The model that is tested, and the whole network with its backbone for clips of the tested size."""
    larger = backbones.tested is not backbones.trained
    if experiment.train == "end_to_end" and not larger:
        return trained.model, trained.model
    whole = with_backbone(trained.config, trained.model, backbones.tested)  # a backbone inside of the model goes with it
    return (whole if larger else trained.model), whole


def _description(dataset: ActionDataset, experiment: VPNExperiment, parts: Parts, trained: _Trained) -> RunDescription:
    return RunDescription(
        dataset=dataset.name,
        protocol=experiment.protocol,
        model="vpn",
        preset=experiment.preset,
        seed=experiment.seed,
        clips={name: len(ids) for name, ids in parts.items()},
        # As the training began: with `initial` not those that `backbone` names.
        weights={**asdict(experiment.backbone), "weights_checksum": trained.checksum},
    )


def _configuration(experiment: VPNExperiment, config: VPNConfig, devices: int) -> dict[str, object]:
    return {
        **_inputs_and_model(experiment, config),
        "stage": experiment.stage.as_json(),
        "test_image_size": experiment.tested_size,
        "holdout": experiment.holdout,
        "holdout_unit": experiment.holdout_unit,
        "initial": None if experiment.initial is None else str(experiment.initial),
        "devices": devices,
    }


def _inputs_and_model(experiment: VPNExperiment, config: VPNConfig) -> dict[str, object]:
    return {
        "model": asdict(config),
        "sampling": asdict(experiment.sampling),
        "crop": asdict(experiment.crop),
        "pixel_size": experiment.pixel_size,
        "train": experiment.train,
    }


def _decisive(experiment: VPNExperiment, config: VPNConfig, checksum: str) -> dict[str, object]:
    """What a resumed training has to share beside what `run_stage` knows: else one preset's weights went by another's name."""
    backbone = {**asdict(experiment.backbone), "weights": checksum}  # wherever the file lies now
    settings = {**_inputs_and_model(experiment, config), "backbone": backbone, "experiment_seed": experiment.seed}
    return flatten(json.loads(json.dumps(settings)))


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
        backbone={**asdict(experiment.backbone), "weights_checksum": weights_checksum(whole.get_layer(BACKBONE))},
    )
