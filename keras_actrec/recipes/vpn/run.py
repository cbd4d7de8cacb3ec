"""Runs one VPN experiment: caches, training end to end or on cached maps, test, result files, export."""

from __future__ import annotations

import logging
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import keras

from keras_actrec.backbones.sensors import weights_checksum
from keras_actrec.backbones.visual import build_backbone, map_shape
from keras_actrec.cache.clip_maps import ClipMapCache
from keras_actrec.cache.person_clips import open_person_clips
from keras_actrec.cache.reader import PoseCache
from keras_actrec.datasets.record import ActionDataset, LeftOut
from keras_actrec.export import export_vpn
from keras_actrec.extraction.clip_maps import extract_clip_maps
from keras_actrec.extraction.poses import dataset_layout
from keras_actrec.models.vpn import BACKBONE, VPNConfig, vpn, with_backbone
from keras_actrec.pipelines.person_clips import ClipMapSource, PersonClipSource
from keras_actrec.recipes.parts import Parts
from keras_actrec.recipes.reports import ExperimentResult, Extra
from keras_actrec.recipes.video.run import VideoRun, begin_run, check_same_backbone, with_checksum
from keras_actrec.recipes.vpn.experiment import VPNExperiment
from keras_actrec.recipes.vpn.initial import copy_vpn_weights
from keras_actrec.training.evaluation import evaluate
from keras_actrec.training.stages import StageHistory, run_stage
from keras_actrec.training.vpn_objective import vpn_objective

log = logging.getLogger(__name__)

VPNRun = VideoRun[VPNExperiment]

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

    Files below `workdir`: metrics.json, left_out.csv, scores.npz, confusion_vpn.png, curves.png, attention.npz (where the
    variant has attention), report.html, export/, and the folder of the training stage.

    Args:
        dataset: the clips, with videos.
        experiment: what is done with them.
        extra: further numbers for metrics.json, from the scores of the test.

    Raises:
        ActrecError: bad files that leave nothing to train on, options that do not fit each other or an existing cache,
            weights that cannot be had, a full disk. Single bad clips are left out and listed instead.
    """
    run = begin_run(dataset, experiment)
    with run.workers.watched():
        return _run(run, extra)


def _run(run: VPNRun, extra: Extra | None) -> ExperimentResult:
    experiment = run.experiment
    backbones = _build_backbones(run)  # first: weights that cannot be had end the run before anything long
    opened = _open_caches(run, backbones)
    parts = run.parts(opened.source, opened.left_out)

    trained = _train(run, opened, backbones, parts)
    with run.strategy.scope():
        tested, whole = _tested_models(trained, experiment, backbones)
    rows = _TEST_ROWS[opened.tested.video]
    evaluation = evaluate(tested, opened.tested, parts["test"], streams=STREAMS, pooling="max", batch_rows=rows)
    metrics = run.write_results(
        evaluation, parts, opened.left_out, [trained.history], model="vpn",
        weights=with_checksum(experiment.backbone, trained.checksum),
        configuration=_configuration(experiment, trained.config), extra=extra,
    )  # fmt: skip
    return ExperimentResult(metrics, evaluation, opened.left_out, run.export(lambda: _export(run, whole)))


def _build_backbones(run: VPNRun) -> _Backbones:
    experiment, config = run.experiment, run.experiment.backbone
    keras.utils.set_random_seed(experiment.seed)  # for a function whose model has random weights of its own
    with run.strategy.scope():
        trained = tested = build_backbone(config)
        if experiment.tested_size > config.image_size:
            # Not built anew: random weights depend on the size of the clips that they are calibrated on.
            tested = build_backbone(replace(config, image_size=experiment.tested_size), weights=trained.get_weights())
    return _Backbones(trained, tested, weights_checksum(trained))


def _open_caches(run: VPNRun, backbones: _Backbones) -> _Opened:
    """Writes what is missing of the caches and opens them."""
    experiment = run.experiment
    clips, maps = (experiment.caches / name for name in ("person_clips", "clip_maps"))
    reports = [run.extract_poses(), run.extract_person_clips(clips, experiment.crop)]
    on_maps = experiment.train == "on_maps"
    if on_maps:
        sampling = experiment.sampling
        report = extract_clip_maps(clips, maps, backbone=experiment.backbone, sampling=sampling, **run.extraction)
        reports.append(run.whole(report))
        check_same_backbone(
            maps, backbones.checksum,
            problem="the backbone's function gives other weights each time, so that no network fits the maps",
            fix="load its weights from a file, draw them from config.seed, or take the weights random",
        )  # fmt: skip
    shared = (PoseCache(run.poses), run.labels, experiment.sampling)
    joints = experiment.joint_layout(run.dataset)

    def person_clips(size: int) -> PersonClipSource:
        return PersonClipSource(open_person_clips(clips), *shared, layout=joints, image_size=size)

    larger = backbones.tested is not backbones.trained
    source = (
        ClipMapSource(ClipMapCache(maps), *shared, layout=joints) if on_maps else person_clips(experiment.backbone.image_size)
    )
    return _Opened(source, person_clips(experiment.tested_size) if larger else source, run.left_out(reports))


def _train(run: VPNRun, opened: _Opened, backbones: _Backbones, parts: Parts) -> _Trained:
    """Section 3.3."""
    experiment = run.experiment
    keras.utils.set_random_seed(experiment.seed)
    end_to_end = experiment.train == "end_to_end"
    with run.strategy.scope():
        backbones.trained.trainable = end_to_end
        config = experiment.model(run.dataset, map_shape(backbones.trained))
        model = vpn(config, backbones.trained if end_to_end else None)
        if experiment.initial is not None:
            copy_vpn_weights(model, config, experiment.initial)
    checksum = weights_checksum(model.get_layer(BACKBONE)) if end_to_end else backbones.checksum
    log.info("stage %s: %s, %s", experiment.stage.name, experiment.preset, experiment.train)
    history = run_stage(
        model, model, opened.source, parts["train"], parts["validation"], experiment.stage, experiment.workdir,
        strategy=run.strategy, resume=experiment.resume, objective=vpn_objective(config),
        settings=_decisive(run, config, checksum),
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


def _configuration(experiment: VPNExperiment, config: VPNConfig) -> dict[str, object]:
    return {
        **_inputs_and_model(experiment, config),
        "stage": experiment.stage.as_json(),
        "test_image_size": experiment.tested_size,
    }


def _inputs_and_model(experiment: VPNExperiment, config: VPNConfig) -> dict[str, object]:
    return {
        "model": asdict(config),
        "sampling": asdict(experiment.sampling),
        "crop": asdict(experiment.crop),
        "pixel_size": experiment.pixel_size,
        "train": experiment.train,
    }


def _decisive(run: VPNRun, config: VPNConfig, checksum: str) -> dict[str, object]:
    backbone = {**asdict(run.experiment.backbone), "weights": checksum}  # wherever the file lies now
    return run.decisive({**_inputs_and_model(run.experiment, config), "backbone": backbone})


def _export(run: VPNRun, whole: keras.Model) -> Path:
    experiment = run.experiment
    return export_vpn(
        whole,
        experiment.workdir / "export",
        class_names=run.dataset.class_names,
        layout=experiment.joint_layout(run.dataset),
        sampling=experiment.sampling,
        crop=asdict(experiment.crop),
        cleaning=run.cleaning,
        backbone=with_checksum(experiment.backbone, weights_checksum(whole.get_layer(BACKBONE))),
        source_layout=dataset_layout(run.dataset).name,
    )
