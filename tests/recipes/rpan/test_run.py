"""RPAN as an experiment: what a run of both streams leaves behind, and how it goes on."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, replace

import cv2
import keras
import numpy as np
import pandas as pd
import pytest
import tensorflow as tf

from keras_actrec.backbones.sensors import weights_checksum
from keras_actrec.cache.flow import FlowCache
from keras_actrec.cache.frame_cubes import FrameCubeCache
from keras_actrec.cache.reader import PoseCache
from keras_actrec.cache.schema import load_index
from keras_actrec.cache.verify import verify_cache
from keras_actrec.errors import CacheError, ConfigError
from keras_actrec.export import read_description
from keras_actrec.models.rpan import RPANConfig, rpan
from keras_actrec.pipelines.frame_clips import FrameClipSource, FrameCubeSource
from keras_actrec.recipes.rpan.run import fused_scores, run_rpan_experiment
from keras_actrec.skeletons.layouts import JHMDB_15
from keras_actrec.training.callbacks import StageCheckpoint
from keras_actrec.training.checkpoints import load_weights
from keras_actrec.training.evaluation import load_scores
from keras_actrec.video.clip_pictures import VideoPictures
from keras_actrec.video.decode import VideoReader
from keras_actrec.video.optical_flow import flow_frames
from tests.recipes import runs
from tests.recipes.predicting import predict_clip
from tests.recipes.tiny import video_file
from tests.recipes.tiny_rpan import (
    CUBE,
    FAULTS,
    FRAMES,
    HELD_OUT,
    LAYOUT,
    NETWORK,
    ONE_STEP,
    PICTURE,
    POOLED,
    SYNTHETIC,
    TESTED,
    TRAINED,
    UNPLACED,
    VIEWS,
    build_tiny,
    small_preset,
)

pytestmark = [
    pytest.mark.usefixtures("small_rpan"),
    pytest.mark.filterwarnings("ignore:Even though the `tf.config"),  # see `quickly`
]

STREAMS, FUSED = ("rgb", "flow"), "rgb+flow"
EXPORTS = {"rgb": "export", "flow": "export_flow"}


@pytest.fixture(params=["end_to_end", "on_maps"])
def run(request):
    """Each of the two shared runs."""
    return request.getfixturevalue(f"rpan_{request.param}")


def softmax(logits: np.ndarray) -> np.ndarray:
    powers = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return powers / powers.sum(axis=-1, keepdims=True)


# What a run leaves behind -----------------------------------------------------------------------------------------------------


def test_files(run):
    found = {name for name in runs.files(run.workdir) if not name.startswith("cache/")}
    exported = {name for name in found if name.startswith(("export/", "export_flow/"))}
    logs = {name for name in found if "/tensorboard/" in name}
    stages = {f"{stream}/{name}" for stream in STREAMS for name in ("log.csv", "model.weights.h5", "finished.json")}
    pictures = {*(f"confusion_{stream}.png" for stream in (*STREAMS, FUSED)), "curves.png"}
    assert found - exported - logs == stages | pictures | {
        "metrics.json", "left_out.csv", "scores.npz", "attention.npz", "report.html"
    }  # fmt: skip
    assert {f"{export}/{name}" for export in EXPORTS.values() for name in ("saved_model.pb", "actrec.json")} <= exported
    assert {name.split("/")[0] for name in logs} == {*STREAMS}
    caches = {"poses", "flow"} | ({"cubes_rgb", "cubes_flow"} if run.experiment.train == "on_maps" else set())
    assert {path.name for path in run.experiment.caches.iterdir()} == caches
    assert all(verify_cache(run.experiment.caches / name).ok for name in caches)
    assert not [*run.workdir.rglob("*.part*"), *run.experiment.caches.rglob("*.part*")]
    for name in pictures:
        assert cv2.imread(str(run.workdir / name)).std() > 1
    assert run.result.export == run.workdir / "export"


def test_metrics_say_what_was_tested_and_how(run):
    metrics = json.loads((run.workdir / "metrics.json").read_text())
    assert metrics == json.loads(json.dumps(run.result.metrics))
    expected = {
        "dataset": "synthetic_ntu", "protocol": "cross_subject", "fold": None, "model": "rpan", "preset": "rpan_sub_jhmdb",
        "seed": 0, "pooling": "mean", "subsequences_per_clip": VIEWS,
    }  # fmt: skip
    assert {name: metrics[name] for name in expected} == expected
    for metric in ("accuracy", "mean_class_accuracy", "macro_f1"):
        assert set(metrics[metric]) == {*STREAMS, FUSED} and all(0 <= value <= 1 for value in metrics[metric].values())
    clips = metrics["clips"]
    assert (clips["train"], clips["validation"], clips["test"]) == (len(TRAINED) - HELD_OUT, HELD_OUT, len(TESTED))
    assert clips["left_out"] == len(FAULTS) == sum(clips["left_out_reasons"].values())
    assert [(stage["name"], stage["epochs"]) for stage in metrics["stages"]] == [("rgb", 2), ("flow", 2)]
    assert metrics["seconds"] > 0 and {"tensorflow", "keras", "keras_actrec"} <= set(metrics["versions"])
    assert ("accuracy_by_kind" in metrics) == (run.experiment.train == "end_to_end")  # it was asked for there alone


def test_configuration_holds_every_option_that_decided_the_result(run):
    experiment, configuration = run.experiment, run.result.metrics["configuration"]
    assert set(configuration) == {
        "model", "clips", "flow", "pixel_size", "train", "training_views", "stage", "streams", "fusion", "holdout",
        "holdout_unit", "initial", "devices",
    }  # fmt: skip
    network = replace(
        small_preset("rpan_sub_jhmdb", 9), frames=FRAMES, picture_size=PICTURE, cube_shape=CUBE, pooled_size=POOLED
    )
    assert {name: RPANConfig(**found) for name, found in configuration["model"].items()} == dict.fromkeys(STREAMS, network)
    expected = {
        "clips": {"frames": FRAMES, "picture_size": [*PICTURE], "views": VIEWS, "mirror": True, "seed": 0},
        "flow": {"method": "dis", "picture_size": [*PICTURE], "bound": 20.0, "preset": "ultrafast"},
        "stage": experiment.stage.as_json(), "train": experiment.train, "streams": ["rgb", "flow"], "fusion": [1.0, 2.0],
        "training_views": 2 if experiment.train == "on_maps" else None, "pixel_size": None, "holdout": 0.15,
        "holdout_unit": "clip", "initial": None, "devices": 1,
    }  # fmt: skip
    assert {name: configuration[name] for name in expected} == expected


def test_weights_of_the_networks_before_and_after(run):
    """metrics.json names those that the training began with, the exports have those that it ended with."""
    for stream, channels in (("rgb", 3), ("flow", 10)):
        network = replace(NETWORK, channels=channels)
        start = weights_checksum(build_tiny(network))
        expected = {**asdict(network), "picture_size": [*PICTURE], "weights_checksum": start}
        assert run.result.metrics["weights"][stream] == expected
        exported = read_description(run.workdir / EXPORTS[stream]).backbone["weights_checksum"]
        if run.experiment.train == "on_maps":
            assert exported == start == load_index(run.experiment.caches / f"cubes_{stream}").options.weights_checksum
        else:
            assert exported != start


# Scores and joints by hand ----------------------------------------------------------------------------------------------------


def frames_of(length: int) -> np.ndarray:
    """Frames of the test views, (V, T): floor((i + u) n / T), u = (v + 1/2) / V."""
    return np.array([[int((i + (v + 0.5) / VIEWS) * length / FRAMES) for i in range(FRAMES)] for v in range(VIEWS)])


def trained_network(run, stream: str) -> keras.Model:
    """The network of a finished stream, on clips or on cubes."""
    config = RPANConfig(**run.result.metrics["configuration"]["model"][stream])
    network = build_tiny(replace(NETWORK, channels=3 if stream == "rgb" else 10))
    model = rpan(config, network if run.experiment.train == "end_to_end" else None)
    load_weights(model, run.workdir / stream / "model.weights.h5")
    return model


def outputs_of(run, stream: str, clips: Sequence[str]) -> list[dict[str, np.ndarray]]:
    """What the trained network says to the test views of each clip."""
    model = trained_network(run, stream)
    answers = [model(views_of(run, stream, clip), training=False) for clip in clips]
    return [{name: keras.ops.convert_to_numpy(value) for name, value in answer.items()} for answer in answers]


def views_of(run, stream: str, clip: str) -> dict[str, np.ndarray]:
    """What the network is given of a test clip."""
    caches, video = run.experiment.caches, video_file(run.dataset.root, clip)
    if run.experiment.train == "on_maps":
        cubes = FrameCubeCache(caches / f"cubes_{stream}").cubes([clip] * VIEWS, np.arange(VIEWS))
        return {"cube": cubes.astype(np.float32)}
    pictures = VideoPictures({clip: video}, PICTURE) if stream == "rgb" else FlowCache(caches / "flow")
    frames = frames_of(pictures.lengths[clip])
    chosen = pictures.pictures(clip, frames.ravel()).reshape(*frames.shape, *PICTURE, -1)
    return {"clip": chosen / np.float32(127.5) - 1}


def test_scores_are_mean_logits_of_each_stream_fused_one_to_two(run):
    scores = load_scores(run.workdir / "scores.npz")
    assert set(scores.clip_ids) == set(TESTED) and (scores.pooling, scores.subsequences) == ("mean", VIEWS)
    assert set(scores.scores) == {*STREAMS, FUSED} and scores.accuracy == run.result.metrics["accuracy"]
    for stream in STREAMS:
        (outputs,) = outputs_of(run, stream, scores.clip_ids[2:3])
        np.testing.assert_array_equal(outputs["logits"], outputs["step_logits"][:, -1])
        np.testing.assert_allclose(scores.scores[stream][2], outputs["logits"].mean(axis=0), atol=1e-4)
    rgb, flow = (scores.scores[stream] for stream in STREAMS)
    np.testing.assert_allclose(scores.scores[FUSED], (softmax(rgb) + 2 * softmax(flow)) / 3, atol=1e-6)
    hits = scores.scores[FUSED].argmax(axis=1) == scores.labels
    assert run.result.metrics["accuracy"][FUSED] == pytest.approx(hits.mean())


def test_fused_scores_by_hand():
    # e^log p = p: softmax gives back probabilities.
    rgb, flow = np.log([[0.5, 0.3, 0.2]]), np.log([[0.2, 0.2, 0.6]])
    np.testing.assert_allclose(fused_scores(rgb, flow, (1.0, 2.0)), [[0.3, 7 / 30, 14 / 30]], rtol=1e-6)
    np.testing.assert_allclose(fused_scores(rgb, flow, (3.0, 1.0)), [[0.425, 0.275, 0.3]], rtol=1e-6)
    assert fused_scores(rgb, flow, (1.0, 2.0)).dtype == np.float32


def joints_found(run, stream: str) -> tuple[np.ndarray, np.ndarray]:
    """Joints that the attention of the trained network finds, and joints counted, both by joint of the layout (section 4.4).

    A joint is found within 0.2 times the longer side of the box around the joints of its frame, in pixels of the picture.
    """
    poses, (height, width) = PoseCache(run.experiment.caches / "poses"), PICTURE
    right, counted = (np.zeros(len(JHMDB_15), int) for _ in range(2))
    for clip, outputs in zip(TESTED, outputs_of(run, stream, TESTED), strict=True):
        pixels, maps = poses.pixels(clip)[:, 0], outputs["attention"]
        for frame, joint_maps in zip(frames_of(len(pixels)).ravel(), maps.reshape(-1, *maps.shape[2:]), strict=True):
            places = pixels[frame] / (SYNTHETIC.width, SYNTHETIC.height) * (width, height)
            known = [j for j, (x, y) in enumerate(places) if 0 <= x <= width and 0 <= y <= height]
            if not known:
                continue
            side = np.ptp(places[known], axis=0).max()
            for joint in known:
                row, column = np.unravel_index(joint_maps[joint].argmax(), CUBE[:2])
                place = (column + 0.5) * width / CUBE[1], (row + 0.5) * height / CUBE[0]
                right[joint] += np.hypot(*(place - places[joint])) <= 0.2 * side
                counted[joint] += 1
    return right, counted


@pytest.mark.parametrize("stream", STREAMS)
def test_joints_are_found_where_the_attention_is_highest(run, stream):
    found = run.result.metrics["pose_estimation"][stream]
    right, counted = joints_found(run, stream)
    assert found["joints_counted"] == counted.sum() > 100
    assert found["pck"] == pytest.approx(right.sum() / counted.sum())
    assert list(found["by_joint"]) == list(JHMDB_15.joints)
    np.testing.assert_allclose(list(found["by_joint"].values()), right / counted)


# Exports ----------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("stream", STREAMS)
def test_the_exports_classify_clips_like_the_test(run, stream):
    served = tf.saved_model.load(str(run.workdir / EXPORTS[stream])).signatures["classify_clip"]
    description = read_description(run.workdir / EXPORTS[stream])
    assert (description.stream, description.guided, description.layout) == (stream, True, LAYOUT)
    scores = load_scores(run.workdir / "scores.npz")
    # Cached cubes are float16.
    tolerance = 1e-4 if run.experiment.train == "end_to_end" else 2e-3
    for row, clip in enumerate(scores.clip_ids[:2]):
        video = video_file(run.dataset.root, clip)
        pictures = VideoPictures({clip: video}, PICTURE)
        if stream == "rgb":
            inputs = {"images": pictures.pictures(clip, np.arange(pictures.lengths[clip]))}
        else:
            with VideoReader(video) as reader:
                inputs = {"flow": np.stack(list(flow_frames(reader.frames(), run.experiment.flow)))}
        found = served(**{name: tf.constant(value) for name, value in inputs.items()})
        np.testing.assert_array_equal(found["frames"], frames_of(pictures.lengths[clip]))
        np.testing.assert_allclose(np.mean(found["logits"], axis=0), scores.scores[stream][row], atol=tolerance)
        np.testing.assert_allclose(found["probabilities"], softmax(scores.scores[stream][row]), atol=tolerance)


def test_both_exports_classify_a_video_together(rpan_end_to_end):
    """From the video file to the fused scores of the test, of a clip whose skeleton says nothing of the video."""
    workdir, clip = rpan_end_to_end.workdir, UNPLACED[1]
    video = video_file(rpan_end_to_end.dataset.root, clip)
    prediction = predict_clip(workdir / "export", video, flow_model=workdir / "export_flow")
    scores = load_scores(workdir / "scores.npz")
    expected = scores.scores[FUSED][scores.clip_ids.index(clip)]
    np.testing.assert_allclose(prediction.probabilities, expected, atol=1e-4)


# Clips without joints in the video, and clips that cannot be used -------------------------------------------------------------


def test_clips_without_joints_in_the_video_train_and_are_tested(run):
    poses = PoseCache(run.experiment.caches / "poses")
    for clip in UNPLACED:
        assert np.isfinite(poses.joints(clip)).any() and np.isnan(poses.pixels(clip)).all()
    assert UNPLACED[0] in TRAINED and UNPLACED[1] in run.result.evaluation.clip_ids
    for stream in STREAMS:
        log = pd.read_csv(run.workdir / stream / "log.csv")
        assert list(log["epoch"]) == [1, 2]
        assert np.isfinite(log[["loss", "val_loss", "attention_loss", "step_logits_loss"]]).all(axis=None)


def test_bad_clips_alone_are_left_out_and_listed_once(run):
    """One of them has a frame too few, which the cubes of RGB need not show."""
    runs.assert_left_out(run, FAULTS)
    assert len(run.result.left_out) == len(FAULTS)


# Again ------------------------------------------------------------------------------------------------------------------------


def test_a_resumed_run_repeats_no_work_and_finds_the_same(run, tmp_path, monkeypatch, rpan_exports, quickly):
    """Nor has its test more rows at once than memory is bounded by."""

    def never(*_, **__):
        raise AssertionError("work was repeated")

    rows = []
    for source in (FrameClipSource, FrameCubeSource):
        test_batch = source.test_batch
        monkeypatch.setattr(
            source, "test_batch", lambda self, ids, test=test_batch: rows.append(len(ids) * VIEWS) or test(self, ids)
        )
    for train in ("end_to_end", "on_maps"):
        monkeypatch.setitem(sys.modules["keras_actrec.recipes.rpan.run"]._TEST_ROWS, train, 6)
    before = runs.modified(run.experiment.caches)
    monkeypatch.setattr(keras.Model, "fit", never)
    for name in ("poses.clean", "flow.flow_frames", "frame_cubes.frame_network"):
        monkeypatch.setattr(f"keras_actrec.extraction.{name}", never)
    again = run_rpan_experiment(run.dataset, runs.copied(run, tmp_path / "run", *STREAMS))
    changing = {"seconds": 0, "accuracy_by_kind": 0}
    assert {**again.metrics, **changing} == {**run.result.metrics, **changing}
    for stream in (*STREAMS, FUSED):
        np.testing.assert_allclose(again.evaluation.scores[stream], run.result.evaluation.scores[stream], atol=1e-5)
    assert again.left_out == run.result.left_out and runs.modified(run.experiment.caches) == before
    assert max(rows) == 6 and sum(rows) == 2 * 2 * len(TESTED) * VIEWS, "logits and attention of both streams"


def test_an_interrupted_run_ends_as_an_uninterrupted_one(rpan_on_maps, tmp_path, monkeypatch, rpan_exports, quickly):
    """Stopped after the first epoch of the second stream."""
    on_epoch_end, ended = StageCheckpoint.on_epoch_end, []

    def stops(self, epoch, logs=None):
        on_epoch_end(self, epoch, logs)
        ended.append(epoch)
        if len(ended) == 3:
            raise KeyboardInterrupt

    monkeypatch.setattr(StageCheckpoint, "on_epoch_end", stops)
    experiment = replace(rpan_on_maps.experiment, workdir=tmp_path, cache_dir=rpan_on_maps.experiment.caches, strategy="none")
    with pytest.raises(KeyboardInterrupt):
        run_rpan_experiment(rpan_on_maps.dataset, experiment)
    assert (tmp_path / "rgb" / "finished.json").is_file() and (tmp_path / "flow" / "checkpoint.npys").is_file()
    assert not (tmp_path / "metrics.json").exists()
    result = run_rpan_experiment(rpan_on_maps.dataset, replace(experiment, resume=True))
    assert ended == [0, 1, 0, 1]
    for stream in STREAMS:
        expected = rpan_on_maps.result.evaluation.scores[stream]
        np.testing.assert_allclose(result.evaluation.scores[stream], expected, atol=1e-4)


@pytest.mark.parametrize(
    ("changes", "names"),
    [
        ({"preset": "rpan_sub_jhmdb_max"}, "model.pooling"),
        ({"backbone": replace(NETWORK, seed=1)}, "backbone.seed, backbone.weights"),
        ({"seed": 1, "holdout": 0.2}, "experiment_seed, training_clips, validation_clips"),
        ({"pose_weight": 0.5}, "model.pose_weight, objective"),
        ({"stage": replace(ONE_STEP, epochs=2)}, "batch_size"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_a_resumed_run_of_other_settings_is_refused(rpan_end_to_end, tmp_path, changes, names):
    experiment = runs.copied(rpan_end_to_end, tmp_path, *STREAMS, **changes)
    with pytest.raises(ConfigError, match=f"the stage was started with other settings: {names}"):
        run_rpan_experiment(rpan_end_to_end.dataset, experiment)
    assert not (tmp_path / "metrics.json").exists()


def test_caches_made_with_other_options_are_refused_and_kept(rpan_on_maps, tmp_path):
    experiment = replace(rpan_on_maps.experiment, workdir=tmp_path / "run")
    before = runs.modified(experiment.caches)
    for changes, option in (
        ({"flow": replace(experiment.flow, bound=10.0)}, "bound: found 20.0, expected 10.0"),
        ({"backbone": replace(NETWORK, seed=1)}, "weights_checksum: found"),
        ({"clips": replace(experiment.clips, views=3)}, "views.views: found 2, expected 3"),
        ({"training_views": 3}, "views.training: found 2, expected 3"),
        ({"layout": None}, "layout: found 'jhmdb_15', expected 'kinect_v2'"),
    ):
        with pytest.raises(CacheError) as error:
            run_rpan_experiment(rpan_on_maps.dataset, replace(experiment, **changes))
        assert option in str(error.value) and "give another folder" in str(error.value)
    assert runs.modified(experiment.caches) == before and not (tmp_path / "run").exists()


# Devices ----------------------------------------------------------------------------------------------------------------------


def test_two_devices(rpan_data, tmp_path):
    found = runs.on_two_devices("rpan_mirrored_run", rpan_data.root, tmp_path)
    for train, stream in (("end_to_end", "rgb"), ("on_maps", "flow")):
        assert (found[train]["devices"], found[train]["stages"]) == (2, [stream])
        np.testing.assert_allclose(found[train]["again"], found[train]["tested"], atol=1e-3)
        assert found[train]["joints"] == found[train]["joints_again"]
