"""Runs one experiment with Glimpse Clouds: caches, training in stages or on cached maps, test, result files, export."""

from __future__ import annotations

import logging
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import keras

from keras_actrec.backbones.inflated_resnet import build_inflated_resnet
from keras_actrec.backbones.sensors import weights_checksum
from keras_actrec.cache.glimpse_maps import GlimpseMapCache
from keras_actrec.cache.person_clips import open_person_clips
from keras_actrec.cache.reader import PoseCache
from keras_actrec.datasets.record import ActionDataset, LeftOut
from keras_actrec.export import export_glimpse_clouds
from keras_actrec.extraction.glimpse_maps import extract_glimpse_maps
from keras_actrec.models.glimpse_clouds import (
    BACKBONE,
    RECURRENCE,
    GlimpseCloudsConfig,
    glimpse_clouds,
    glimpse_features,
    with_backbone,
)
from keras_actrec.pipelines.glimpse_clips import GlimpseMapSource, RGBClipSource
from keras_actrec.pipelines.tf_data import LoaderErrors, steps_per_epoch, training_dataset
from keras_actrec.recipes.glimpse_clouds.experiment import GlimpseExperiment
from keras_actrec.recipes.glimpse_clouds.initial import InitialRun, open_initial_run
from keras_actrec.recipes.parts import Parts
from keras_actrec.recipes.reports import ExperimentResult, Extra
from keras_actrec.recipes.video.run import VideoRun, available_backbone, begin_run, check_same_backbone, with_checksum
from keras_actrec.training.checkpoints import save_weights
from keras_actrec.training.config import StageConfig
from keras_actrec.training.evaluation import evaluate
from keras_actrec.training.glimpse_objective import glimpse_clouds_objective
from keras_actrec.training.multiworker import predict_workers
from keras_actrec.training.stages import StageHistory, is_begun, run_stage

log = logging.getLogger(__name__)

GlimpseRun = VideoRun[GlimpseExperiment]

STREAMS = {"glimpse_clouds": "logits"}
_TEST_ROWS = {"end_to_end": 20, "on_maps": 80}  # rows of a test batch: frames take 5 MB and their activations more, maps 3 MB
_GLIMPSES_PER_FEATURE = 2
"""Glimpses that D starts from, per dimension of theirs; more of them take long in an end-to-end run without a GPU."""
BACKBONE_FILE = "backbone.weights.h5"

Source = RGBClipSource | GlimpseMapSource


@dataclass(frozen=True, eq=False)
class _Backbone:
    """The backbone that a run begins with.

    Attributes:
        model: the network.
        initial: the run that training starts from, whose backbone it may be.
        checksum: of its weights before any training.
    """

    model: keras.Model
    initial: InitialRun | None
    checksum: str


@dataclass(frozen=True, eq=False)
class _Trained:
    """A finished training.

    Attributes:
        model: with its backbone inside, or on maps.
        config: that it was built from.
        histories: of its stages.
    """

    model: keras.Model
    config: GlimpseCloudsConfig
    histories: tuple[StageHistory, ...]


def run_glimpse_experiment(
    dataset: ActionDataset, experiment: GlimpseExperiment, *, extra: Extra | None = None
) -> ExperimentResult:
    """Runs the whole job on one protocol; see `GlimpseExperiment` for what decides it.

    Files below `workdir`: metrics.json, left_out.csv, scores.npz, confusion_glimpse_clouds.png, curves.png, attention.npz
    (where the variant has glimpses), report.html, export/, and one folder per training stage; backbone.weights.h5 where maps
    are those of another run's trained backbone.

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


def _run(run: GlimpseRun, extra: Extra | None) -> ExperimentResult:
    run, backbone = _build_backbone(run)  # first: weights that cannot be had end the run here
    experiment = run.experiment
    source, left_out = _open_caches(run, backbone)
    parts = run.parts(source, left_out)

    trained = _train(run, source, backbone, parts)
    evaluation = evaluate(
        trained.model, source, parts["test"], streams=STREAMS, pooling="mean", batch_rows=_TEST_ROWS[experiment.train]
    )
    metrics = run.write_results(
        evaluation, parts, left_out, trained.histories, model="glimpse_clouds",
        weights=with_checksum(experiment.backbone, backbone.checksum),
        configuration=_configuration(experiment, trained.config), extra=extra,
    )  # fmt: skip
    whole = _whole_model(run, trained, backbone)
    return ExperimentResult(metrics, evaluation, left_out, run.export(lambda: _export(run, whole, backbone)))


# Before anything long ---------------------------------------------------------------------------------------------------------


def _build_backbone(run: GlimpseRun) -> tuple[GlimpseRun, _Backbone]:
    """The backbone that the run begins with, and the run with the weights that it has then."""
    experiment = run.experiment
    initial = None if experiment.initial is None else open_initial_run(experiment.initial)
    weights = None if initial is None else initial.weights_for(experiment.backbone)
    with run.strategy.scope():
        config, model = available_backbone(
            experiment.backbone,
            lambda config: build_inflated_resnet(config, weights=weights),
            synthetic=experiment.data_root is None,
        )
    if weights is not None and experiment.train == "on_maps":  # for the extraction, and for runs that start from this one
        run.workers.chief_does(lambda: save_weights(model, experiment.workdir / BACKBONE_FILE))
        config = replace(config, weights=str(experiment.workdir / BACKBONE_FILE))
    run = replace(run, experiment=replace(experiment, backbone=config))
    return run, _Backbone(model, initial, weights_checksum(model))


def _open_caches(run: GlimpseRun, backbone: _Backbone) -> tuple[Source, tuple[LeftOut, ...]]:
    """Writes what is missing of the caches and opens them; also gives the clips without what the run needs, and why."""
    experiment = run.experiment
    clips, maps = (experiment.caches / name for name in ("rgb_clips", "glimpse_maps"))
    reports = [run.extract_poses(), run.extract_person_clips(clips, experiment.crop)]
    joints = experiment.joint_layout(run.dataset)
    if experiment.train == "on_maps":
        views = {"views": experiment.clips, "training_views": experiment.training_views}
        report = extract_glimpse_maps(clips, run.poses, maps, backbone=experiment.backbone, **views, **run.extraction)
        reports.append(run.whole(report))
        check_same_backbone(
            maps, backbone.checksum, problem="the backbone's weights changed while the maps were made of them",
            fix="run the same command again",
        )  # fmt: skip
        source = GlimpseMapSource(GlimpseMapCache(maps), run.labels, experiment.clips, layout=joints)
    else:
        source = RGBClipSource(
            open_person_clips(clips), PoseCache(run.poses), run.labels, experiment.clips, layout=joints
        )  # fmt: skip
    return source, run.left_out(reports)


# Training ---------------------------------------------------------------------------------------------------------------------


def _train(run: GlimpseRun, source: Source, backbone: _Backbone, parts: Parts) -> _Trained:
    """Section 6: the global model, then the whole network from its backbone and its regression of poses."""
    experiment = run.experiment
    end_to_end = experiment.train == "end_to_end"
    stages = experiment.stages(experiment.model(run.dataset, backbone.model))
    model, histories = None, []
    for stage, config in stages:
        keras.utils.set_random_seed(experiment.seed)  # for each: a resumed run may begin with the second
        with run.strategy.scope():
            backbone.model.trainable = end_to_end and not (experiment.freeze_backbone and stage is experiment.clouds_stage)
            previous, model = model, glimpse_clouds(config, backbone.model if end_to_end else None)
        copied: tuple[str, ...] = ()
        if previous is not None:
            copied = _go_on(previous, model)
        elif backbone.initial is not None:
            copied = backbone.initial.copy(model, config, backbone.checksum)
        goes_on = run.workers.chief_does(lambda stage=stage: experiment.resume and is_begun(stage, experiment.workdir))
        if RECURRENCE not in copied and not goes_on:
            _start_distance(run, model, config, source, parts["train"], stage)
        log.info("stage %s: %s, %s", stage.name, experiment.preset, experiment.train)
        history = run_stage(
            model, model, source, parts["train"], parts["validation"], stage, experiment.workdir,
            strategy=run.strategy, resume=experiment.resume, objective=glimpse_clouds_objective(config),
            settings=_decisive(run, config, backbone, [one for one, _ in stages[: len(histories)]]),
        )  # fmt: skip
        histories.append(history)
    return _Trained(model, stages[-1][1], tuple(histories))


def _go_on(previous: keras.Model, model: keras.Model) -> tuple[str, ...]:
    """Copies the layers that stage "global" and the network have in common; the backbone is the same object in both."""
    theirs = {layer.name: layer for layer in previous.layers if layer.weights and layer.name != BACKBONE}
    copied = tuple(layer.name for layer in model.layers if layer.name in theirs)
    for name in copied:
        model.get_layer(name).set_weights(theirs[name].get_weights())
    return copied


def _start_distance(
    run: GlimpseRun,
    model: keras.Model,
    config: GlimpseCloudsConfig,
    source: Source,
    train: tuple[str, ...],
    stage: StageConfig,
) -> None:
    """Section 4.2: D starts at the inverse covariance of glimpse features, those of the first training batches."""
    if not config.has_workers or config.distance == "random" or config.frames == 1:
        return
    with run.strategy.scope():
        features = glimpse_features(model)
        named = keras.Model(features.input, {"glimpses": features.output})
    frames, glimpses, dimensions = features.output.shape[1:]
    wanted = -(-_GLIMPSES_PER_FEATURE * dimensions // (stage.batch_size * frames * glimpses))
    batches = min(wanted, steps_per_epoch(len(train), stage.batch_size))
    workers = run.workers
    with LoaderErrors() as errors:
        rows = training_dataset(
            source.select(tuple(model.input)), train, batch_size=stage.batch_size, seed=stage.seed, epochs=1, errors=errors,
            worker=(workers.index, workers.count),
        ).take(batches).map(lambda inputs, labels: inputs)  # fmt: skip
        if workers.count > 1:
            found = predict_workers(named, rows, workers=workers, steps=batches)["glimpses"]
        else:
            found = named.predict(rows, verbose=0)["glimpses"]
    shrinkage = model.get_layer(RECURRENCE).metric.set_inverse_covariance(found.reshape(-1, dimensions))
    log.info("D: inverse covariance of the glimpses of %d clips, shrunk by %.3f", batches * stage.batch_size, shrinkage)


# What is left behind ----------------------------------------------------------------------------------------------------------


def _configuration(experiment: GlimpseExperiment, config: GlimpseCloudsConfig) -> dict[str, object]:
    return {
        **_inputs_and_model(experiment, config),
        **{f"{name}_stage": getattr(experiment, f"{name}_stage").as_json() for name in ("global", "clouds")},
        "freeze_backbone": experiment.freeze_backbone,
    }


def _inputs_and_model(experiment: GlimpseExperiment, config: GlimpseCloudsConfig) -> dict[str, object]:
    return {
        "model": asdict(config),
        "clips": asdict(experiment.clips),
        "crop": asdict(experiment.crop),
        "pixel_size": experiment.pixel_size,
        "train": experiment.train,
        "training_views": experiment.training_views if experiment.train == "on_maps" else None,
    }


def _decisive(
    run: GlimpseRun, config: GlimpseCloudsConfig, backbone: _Backbone, before: list[StageConfig]
) -> dict[str, object]:  # fmt: skip
    return run.decisive({
        **_inputs_and_model(run.experiment, config),
        # Its weights are known by their checksum, wherever the file lies now.
        "backbone": {**asdict(run.experiment.backbone), "weights": backbone.checksum, "trains": backbone.model.trainable},
        "initial": None if backbone.initial is None else backbone.initial.digest,
        "stages_before": [stage.as_json() for stage in before],
    })  # fmt: skip


def _whole_model(run: GlimpseRun, trained: _Trained, backbone: _Backbone) -> keras.Model:
    """With its backbone inside."""
    if run.experiment.train == "end_to_end":
        return trained.model
    with run.strategy.scope():
        return with_backbone(trained.config, trained.model, backbone.model)


def _export(run: GlimpseRun, whole: keras.Model, backbone: _Backbone) -> Path:
    experiment = run.experiment
    return export_glimpse_clouds(
        whole,
        experiment.workdir / "export",
        class_names=run.dataset.class_names,
        layout=experiment.joint_layout(run.dataset),
        sampling=experiment.clips,
        picture_size=experiment.crop.size,
        crop=asdict(experiment.crop),
        backbone=with_checksum(experiment.backbone, weights_checksum(backbone.model)),
        cleaning=run.cleaning,
    )
