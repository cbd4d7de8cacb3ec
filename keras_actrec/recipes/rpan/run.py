"""Runs one experiment with RPAN: caches, training of each stream, test, fusion, pose estimation, result files, export."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import keras
import numpy as np
from scipy.special import softmax

from keras_actrec.backbones.frame_networks import FrameBackboneConfig, build_frame_backbone
from keras_actrec.backbones.sensors import weights_checksum
from keras_actrec.cache.flow import FlowCache
from keras_actrec.cache.frame_cubes import FrameCubeCache
from keras_actrec.cache.reader import PoseCache
from keras_actrec.datasets.record import ActionDataset, LeftOut
from keras_actrec.export import export_rpan
from keras_actrec.extraction.flow import extract_flow, flow_videos
from keras_actrec.extraction.frame_cubes import extract_frame_cubes
from keras_actrec.extraction.pictures import dataset_pictures, readable_videos
from keras_actrec.extraction.run import ExtractionReport
from keras_actrec.models.rpan import RPANConfig, rpan, with_backbone
from keras_actrec.pipelines.frame_clips import FrameClipSource, FrameCubeSource
from keras_actrec.pipelines.tf_data import clips_per_batch
from keras_actrec.recipes.parts import Parts
from keras_actrec.recipes.reports import ExperimentResult, Extra
from keras_actrec.recipes.rpan.experiment import FLOW, RGB, STREAMS, RPANExperiment
from keras_actrec.recipes.video.run import VideoRun, available_backbone, begin_run, check_same_backbone, with_checksum
from keras_actrec.skeletons.pck import PCK, PCKCounter, attention_joints
from keras_actrec.training.evaluation import Evaluation, evaluate
from keras_actrec.training.rpan_objective import JOINTS, rpan_objective
from keras_actrec.training.stages import StageHistory, run_stage
from keras_actrec.video.clip_pictures import Pictures, VideoPictures

log = logging.getLogger(__name__)

FUSED = "rgb+flow"
_TEST_ROWS = {"end_to_end": 16, "on_maps": 32}  # rows of a test batch: 8 frames of 240×320 take 7 MB, their cubes 5 MB

RPANRun = VideoRun[RPANExperiment]
Source = FrameClipSource | FrameCubeSource


@dataclass(frozen=True, eq=False)
class _Stream:
    """What one stream is trained on.

    Attributes:
        name: "rgb" or "flow".
        backbone: configuration of its CNN, with the weights that it has.
        network: the CNN.
        checksum: of its weights before any training.
        source: of its batches.
    """

    name: str
    backbone: FrameBackboneConfig
    network: keras.Model
    checksum: str
    source: Source


@dataclass(frozen=True, eq=False)
class _Trained:
    """A finished training of a stream.

    Attributes:
        model: with its CNN inside, or on cubes.
        config: that it was built from.
        history: of its stage.
    """

    model: keras.Model
    config: RPANConfig
    history: StageHistory


def run_rpan_experiment(
    dataset: ActionDataset, experiment: RPANExperiment, *, extra: Extra | None = None, export: bool = True
) -> ExperimentResult:
    """Runs the whole job on one protocol; see `RPANExperiment` for what decides it.

    Joints are used where every clip of the data set has them: as targets of the attention in training, and in the test to
    score the joints that the attention finds (section 4.4). Without them the attention learns from the actions alone.

    Files below `workdir`: metrics.json, left_out.csv, scores.npz, confusion_STREAM.png, curves.png, attention.npz (where the
    variant has attention), report.html, a folder per stream with its training, export/ (and export_flow/ where there are both
    streams).

    Args:
        dataset: the clips, with videos.
        experiment: what is done with them.
        extra: further numbers for metrics.json, from the scores of the test.
        export: False leaves the exported models out, as for the rows of a table.

    Raises:
        ActrecError: bad files that leave nothing to train on, options that do not fit each other or an existing cache,
            weights that cannot be had, a full disk. Single bad clips are left out and listed instead.
    """
    run = begin_run(dataset, experiment)
    with run.workers.watched():
        return _run(run, extra, export=export)


def _run(run: RPANRun, extra: Extra | None, *, export: bool) -> ExperimentResult:
    dataset, experiment = run.dataset, run.experiment
    joints = has_joints(dataset)
    # First: weights that cannot be had end the run before anything long.
    built = {name: _build_backbone(run, name) for name in STREAMS if name in experiment.streams}
    streams, left_out = _open_caches(run, built, joints=joints)
    everywhere = set.intersection(*(set(stream.source.clip_ids) for stream in streams))
    parts = run.parts(streams[0].source.limited(everywhere), left_out)

    trained = {stream.name: _train(run, stream, parts, joints=joints) for stream in streams}
    evaluation = _evaluate(run, streams, trained, parts["test"])
    found = {stream.name: _score_joints(trained[stream.name], stream, parts["test"]) for stream in streams} if joints else {}
    metrics = run.write_results(
        evaluation, parts, left_out, [one.history for one in trained.values()], model="rpan",
        weights={stream.name: with_checksum(stream.backbone, stream.checksum) for stream in streams},
        configuration=_configuration(experiment, trained),
        extra=_with_pose_estimation(extra, {name: pck for name, pck in found.items() if pck is not None}, dataset, experiment),
    )  # fmt: skip
    exports = [_export(run, stream, trained[stream.name]) for stream in streams] if export else [experiment.workdir / "export"]
    return ExperimentResult(metrics, evaluation, left_out, exports[0])


def has_joints(dataset: ActionDataset) -> bool:
    """Whether every clip has them: then they guide the attention in training."""
    return all(record.skeleton is not None for record in dataset.records)


# Before anything long ---------------------------------------------------------------------------------------------------------


def _build_backbone(run: RPANRun, stream: str) -> tuple[FrameBackboneConfig, keras.Model]:
    with run.strategy.scope():
        return available_backbone(
            run.experiment.backbone_of(stream), build_frame_backbone, synthetic=run.experiment.data_root is None
        )


def _open_caches(
    run: RPANRun, built: Mapping[str, tuple[FrameBackboneConfig, keras.Model]], *, joints: bool
) -> tuple[list[_Stream], tuple[LeftOut, ...]]:
    """Writes what is missing of the caches and opens them; also gives the clips without what the run needs, and why."""
    experiment, caches = run.experiment, run.experiment.caches
    reports = [run.extract_poses()] if joints else []
    poses, flow = run.poses if joints else None, caches / FLOW
    videos, lengths = flow_videos(run.dataset, poses)
    unread: tuple[LeftOut, ...] = ()
    if FLOW in built:
        report = extract_flow(videos, flow, dataset=run.dataset.name, flow=experiment.flow, lengths=lengths, **run.extraction)
        reports.append(run.whole(report))
        lengths = FlowCache(flow).lengths  # of the videos that read
    elif experiment.train == "end_to_end":
        lengths, unread = readable_videos(videos, lengths)
    size, streams = experiment.clips.picture_size, []
    for name, (backbone, network) in built.items():
        pictures: Pictures
        if name == RGB and experiment.train == "end_to_end":
            pictures = VideoPictures(videos, size, lengths=lengths)
        else:
            pictures = dataset_pictures(run.dataset, size, pose_directory=poses, flow_directory=flow if name == FLOW else None)
        layout, checksum = experiment.joint_layout(run.dataset), weights_checksum(network)
        source: Source
        if experiment.train == "on_maps":
            cubes = caches / f"cubes_{name}"
            reports.append(_extract_cubes(run, pictures, cubes, poses, backbone))
            check_same_backbone(
                cubes, checksum, problem="the backbone's weights changed while the cubes were made of them",
                fix="run the same command again",
            )  # fmt: skip
            source = FrameCubeSource(FrameCubeCache(cubes), run.labels, experiment.clips, layout=layout)
        else:
            cache = PoseCache(poses) if joints else None
            source = FrameClipSource(
                pictures, cache, run.labels, experiment.clips, layout=layout, pixel_size=experiment.pixel_size
            )
        streams.append(_Stream(name, backbone, network, checksum, source))
    return streams, (*run.left_out(reports), *unread)


def _extract_cubes(
    run: RPANRun, pictures: Pictures, cubes: Path, poses: Path | None, backbone: FrameBackboneConfig
) -> ExtractionReport:
    experiment = run.experiment
    report = extract_frame_cubes(
        pictures,
        cubes,
        dataset=run.dataset.name,
        layout=experiment.joint_layout(run.dataset),
        pose_directory=poses,
        pixel_size=experiment.pixel_size,
        backbone=backbone,
        views=experiment.clips,
        training_views=experiment.training_views,
        **run.extraction,
    )
    return run.whole(report)


# Training and test ------------------------------------------------------------------------------------------------------------


def _train(run: RPANRun, stream: _Stream, parts: Parts, *, joints: bool) -> _Trained:
    """Section 3.4."""
    experiment = run.experiment
    end_to_end = experiment.train == "end_to_end"
    keras.utils.set_random_seed(experiment.seed)
    with run.strategy.scope():
        stream.network.trainable = end_to_end
        config = experiment.model(run.dataset, stream.network, joints=joints)
        model = rpan(config, stream.network if end_to_end else None)
    log.info("stream %s: %s, %s", stream.name, experiment.preset, experiment.train)
    history = run_stage(
        model, model, stream.source, parts["train"], parts["validation"], experiment.stage_of(stream.name), experiment.workdir,
        strategy=run.strategy, resume=experiment.resume, objective=rpan_objective(config),
        settings=_decisive(run, stream, config),
    )  # fmt: skip
    return _Trained(model, config, history)


def _evaluate(run: RPANRun, streams: list[_Stream], trained: Mapping[str, _Trained], clip_ids: tuple[str, ...]) -> Evaluation:
    """The scores of each stream, logits averaged over the test views, and of both together."""
    scores, attention, last = {}, {}, None
    for stream in streams:
        last = evaluate(
            trained[stream.name].model, stream.source, clip_ids, streams={stream.name: "logits"}, pooling="mean",
            batch_rows=_TEST_ROWS[run.experiment.train],
        )  # fmt: skip
        scores |= last.scores
        attention |= {f"{stream.name}.{name}": array for name, array in last.attention.items()}
    if len(streams) == 2:
        scores[FUSED] = fused_scores(scores[RGB], scores[FLOW], run.experiment.fusion)
    return Evaluation(last.clip_ids, last.labels, scores, last.subsequences, last.pooling, attention)


def fused_scores(rgb: np.ndarray, flow: np.ndarray, weights: tuple[float, float]) -> np.ndarray:
    """The weighted mean of the class probabilities of both streams (section 4.2, "S:T is 1:2").

    Args:
        rgb, flow: logits (n, classes).
        weights: of RGB and flow.

    Returns:
        float32 (n, classes), each row adds up to 1.
    """
    share = weights[0] / sum(weights)
    return (share * softmax(rgb, axis=1) + (1 - share) * softmax(flow, axis=1)).astype(np.float32)


def _score_joints(trained: _Trained, stream: _Stream, clip_ids: tuple[str, ...]) -> PCK | None:
    """Section 4.4: the places of highest attention against the joints; None where the variant has no map per joint."""
    if not trained.config.has_joint_maps:
        return None
    model, names = trained.model, tuple(trained.model.input)
    attention = keras.Model(model.input, model.output["attention"])
    source = stream.source.select((*names, JOINTS))
    counter = PCKCounter(trained.config.joints, picture_size=trained.config.picture_size)
    clips = clips_per_batch(source, _TEST_ROWS["end_to_end"], 1)
    for start in range(0, len(clip_ids), clips):
        arrays, _ = source.test_batch(clip_ids[start : start + clips])
        maps = attention.predict_on_batch({name: arrays[name] for name in names})
        counter.add(attention_joints(np.asarray(maps)), arrays[JOINTS])
    return counter.result()


# What is left behind ----------------------------------------------------------------------------------------------------------


def _with_pose_estimation(
    extra: Extra | None, found: Mapping[str, PCK], dataset: ActionDataset, experiment: RPANExperiment
) -> Extra:
    names = experiment.joint_layout(dataset).joints

    def numbers(evaluation: Evaluation) -> Mapping[str, object]:
        pose = {
            name: {
                "pck": _number(pck.mean),
                "by_joint": {joint: _number(value) for joint, value in zip(names, pck.per_joint, strict=True)},
                "joints_counted": pck.counted,
            }
            for name, pck in found.items()
        }
        given = {} if extra is None else extra(evaluation)
        return {**given, **({"pose_estimation": pose} if pose else {})}

    return numbers


def _number(value: float) -> float | None:
    """JSON has no NaN: the share of a joint that is never known, or of all where none is."""
    return None if np.isnan(value) else float(value)


def _configuration(experiment: RPANExperiment, trained: Mapping[str, _Trained]) -> dict[str, object]:
    return {
        **_inputs(experiment),
        "model": {name: asdict(one.config) for name, one in trained.items()},
        "stage": experiment.stage.as_json(),
        "streams": list(experiment.streams),
        "fusion": list(experiment.fusion),
    }


def _inputs(experiment: RPANExperiment) -> dict[str, object]:
    return {
        "clips": asdict(experiment.clips),
        "flow": asdict(experiment.flow) if FLOW in experiment.streams else None,
        "pixel_size": experiment.pixel_size,
        "train": experiment.train,
        "training_views": experiment.training_views if experiment.train == "on_maps" else None,
    }


def _decisive(run: RPANRun, stream: _Stream, config: RPANConfig) -> dict[str, object]:
    inputs = _inputs(run.experiment)
    if stream.name == RGB:
        del inputs["flow"]  # a second stream beside it changes nothing
    backbone = {**asdict(stream.backbone), "weights": stream.checksum}  # wherever the file lies now
    return run.decisive({**inputs, "model": asdict(config), "backbone": backbone})


def _export(run: RPANRun, stream: _Stream, trained: _Trained) -> Path:
    experiment, model = run.experiment, trained.model
    if experiment.train == "on_maps":
        with run.strategy.scope():
            model = with_backbone(trained.config, model, stream.network)
    folder = "export" if stream.name == experiment.streams[0] else f"export_{stream.name}"
    return run.export(lambda: export_rpan(
        model,
        experiment.workdir / folder,
        class_names=run.dataset.class_names,
        layout=experiment.joint_layout(run.dataset),
        sampling=experiment.clips,
        stream=stream.name,
        backbone=with_checksum(stream.backbone, weights_checksum(stream.network)),
        flow=asdict(experiment.flow) if stream.name == FLOW else None,
        attention=trained.config.attention,
        guided=trained.config.has_pose_loss,
    ))  # fmt: skip
