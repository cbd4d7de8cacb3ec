"""VPN as an experiment: what a run leaves behind, what it leaves out, how it goes on, its variants, and what it refuses."""

from __future__ import annotations

import json
import shutil
import sys
from dataclasses import replace

import cv2
import keras
import numpy as np
import pandas as pd
import pytest
import tensorflow as tf

from keras_actrec.backbones.sensors import weights_checksum
from keras_actrec.backbones.visual import BackboneConfig, build_backbone
from keras_actrec.cache.person_clips import open_person_clips
from keras_actrec.cache.reader import PoseCache
from keras_actrec.cache.schema import load_index
from keras_actrec.cache.verify import verify_cache
from keras_actrec.errors import CacheError, ConfigError, WeightsError
from keras_actrec.export import read_description
from keras_actrec.models.vpn import PRESETS, VPNConfig, preset, vpn
from keras_actrec.pipelines.person_clips import ClipMapSource, PersonClipSource
from keras_actrec.recipes.vpn.run import run_vpn_experiment
from keras_actrec.skeletons.clip_sampling import clip_frames, clip_poses, pose_frames, view_uniforms
from keras_actrec.skeletons.layouts import LAYOUTS
from keras_actrec.training.checkpoints import load_weights
from keras_actrec.training.config import StageConfig
from keras_actrec.training.evaluation import load_scores
from tests.recipes import runs
from tests.recipes.predicting import predict_clip
from tests.recipes.tiny import skeleton_file, video_file
from tests.recipes.tiny_vpn import FAULTS, JUNK_VIDEO, LARGER, MAP, NETWORK, SIZE, TESTED, TRAINED, VIEWS, tiny_vpn

pytestmark = pytest.mark.filterwarnings("ignore:Even though the `tf.config")  # see `quickly`

HELD_OUT = 2  # 15 % of 16
ONE_EPOCH = StageConfig("vpn", learning_rate=1e-3, batch_size=6, epochs=1)


@pytest.fixture(params=["end_to_end", "on_maps"])
def run(request):
    """Each of the two shared runs."""
    return request.getfixturevalue(f"vpn_{request.param}")


def views_of(experiment, clip: str, size: int) -> dict[str, np.ndarray]:
    """What the network is given of a test clip, by hand: images (V, F, S, S, 3) in [-1, 1] and poses (V, P, J, 3)."""
    sampling, layout = experiment.sampling, LAYOUTS[experiment.layout or "kinect_v2"]
    poses = PoseCache(experiment.caches / "poses")
    joints = poses.joints(clip)
    with open_person_clips(experiment.caches / "person_clips") as clips:
        images = clips.images(clip, np.arange(len(joints)))
    if size != images.shape[1]:
        images = np.stack([cv2.resize(image, (size, size), interpolation=cv2.INTER_AREA) for image in images])
    frames = [clip_frames(len(joints), start, sampling) for start in view_uniforms(sampling.views)]
    middles = pose_frames(len(joints), np.full(sampling.poses, 0.5), sampling)
    pose = np.stack([clip_poses(joints, layout)[middles]] * sampling.views)
    return {"clip": images[np.stack(frames)].astype(np.float32) / 127.5 - 1, "pose": pose}


# What a run leaves behind -----------------------------------------------------------------------------------------------------


def test_files(run):
    found = {name for name in runs.files(run.workdir) if not name.startswith("cache/")}
    exported = {name for name in found if name.startswith("export/")}
    logs = {name for name in found if name.startswith("vpn/tensorboard/")}
    assert found - exported - logs == {
        "metrics.json", "left_out.csv", "scores.npz", "confusion_vpn.png", "curves.png", "attention.npz", "report.html",
        "vpn/log.csv", "vpn/model.weights.h5", "vpn/finished.json",
    }  # fmt: skip
    assert {"export/saved_model.pb", "export/actrec.json"} <= exported and logs
    caches = {"poses", "person_clips"} | ({"clip_maps"} if run.experiment.train == "on_maps" else set())
    assert {path.name for path in run.experiment.caches.iterdir()} == caches
    assert all(verify_cache(run.experiment.caches / name).ok for name in caches)
    assert not [*run.workdir.rglob("*.part*"), *run.experiment.caches.rglob("*.part*")]
    for name in ("confusion_vpn.png", "curves.png"):
        assert cv2.imread(str(run.workdir / name)).std() > 1
    log = pd.read_csv(run.workdir / "vpn" / "log.csv")
    assert list(log["epoch"]) == [1, 2] and np.isfinite(log[["loss", "val_loss"]]).all(axis=None)


def test_metrics_say_what_was_tested_and_how(run):
    metrics = json.loads((run.workdir / "metrics.json").read_text())
    assert metrics == json.loads(json.dumps(run.result.metrics))
    expected = {
        "dataset": "synthetic_ntu", "protocol": "cross_subject", "fold": None, "model": "vpn", "preset": "vpn_paper", "seed": 0,
        "pooling": "max", "subsequences_per_clip": VIEWS,
    }  # fmt: skip
    assert {name: metrics[name] for name in expected} == expected
    for metric in ("accuracy", "mean_class_accuracy", "macro_f1"):
        assert set(metrics[metric]) == {"vpn"} and 0 <= metrics[metric]["vpn"] <= 1
    clips = metrics["clips"]
    assert (clips["train"], clips["validation"], clips["test"]) == (len(TRAINED) - HELD_OUT, HELD_OUT, len(TESTED))
    assert clips["left_out"] == len(FAULTS) == sum(clips["left_out_reasons"].values())
    (stage,) = metrics["stages"]
    assert (stage["name"], stage["epochs"]) == ("vpn", 2) and stage["best_epoch"] in (1, 2)
    assert metrics["seconds"] > 0 and {"tensorflow", "keras", "keras_actrec"} <= set(metrics["versions"])
    assert ("accuracy_by_kind" in metrics) == (run.experiment.train == "end_to_end")  # it was asked for there alone


def test_configuration_holds_every_option_that_decided_the_result(run):
    experiment, metrics = run.experiment, run.result.metrics
    configuration = metrics["configuration"]
    assert set(configuration) == {
        "model", "sampling", "crop", "pixel_size", "train", "stage", "test_image_size", "holdout", "holdout_unit", "initial",
        "devices",
    }  # fmt: skip
    layout = "kinect_v2" if experiment.train == "end_to_end" else "lcrnet_13"
    assert VPNConfig(**configuration["model"]) == replace(preset("vpn_paper", 9), layout=layout, poses=4, map_shape=MAP)
    assert configuration["sampling"] == {"frames": 4, "stride": 2, "poses": 4, "views": VIEWS}
    assert configuration["crop"] == {"size": LARGER, "margin": 0.15, "box": "clip", "quality": 95}
    assert configuration["stage"] == experiment.stage.as_json()
    expected = {
        "train": experiment.train, "test_image_size": SIZE, "holdout": 0.15, "holdout_unit": "clip", "initial": None,
        "pixel_size": None, "devices": 1,
    }  # fmt: skip
    assert {name: configuration[name] for name in expected} == expected


def test_weights_of_the_backbone_before_and_after(run):
    """metrics.json names those that the training began with, the export has those that it ended with."""
    experiment = run.experiment
    start = weights_checksum(build_backbone(experiment.backbone))
    assert run.result.metrics["weights"] == {
        "name": NETWORK, "weights": "random", "frames": 4, "image_size": SIZE, "dtype": "float32", "seed": 0,
        "weights_checksum": start,
    }  # fmt: skip
    exported = read_description(run.result.export).backbone["weights_checksum"]
    if experiment.train == "on_maps":
        assert exported == start == load_index(experiment.caches / "clip_maps").options.weights_checksum
    else:
        assert exported != start


def test_scores_are_those_of_the_test_clips(run):
    scores = load_scores(run.workdir / "scores.npz")
    assert set(scores.clip_ids) == set(TESTED)
    assert (scores.pooling, scores.subsequences) == ("max", VIEWS)
    assert scores.scores["vpn"].shape == (len(TESTED), 9) and scores.accuracy == run.result.metrics["accuracy"]
    # The highest of softmax scores over views: they can exceed 1 together, and no one of them falls short of the mean.
    assert (scores.scores["vpn"].sum(axis=1) >= 1 - 1e-5).all()
    np.testing.assert_array_equal(scores.scores["vpn"], run.result.evaluation.scores["vpn"])


def test_the_export_classifies_a_cached_clip_like_the_test(run):
    served = tf.saved_model.load(str(run.result.export)).signatures["classify_clip"]
    scores = load_scores(run.workdir / "scores.npz")
    poses = PoseCache(run.experiment.caches / "poses")
    # Cached maps are float16.
    tolerance = 1e-5 if run.experiment.train == "end_to_end" else 2e-4
    assert np.ptp(scores.scores["vpn"], axis=0).max() > 10 * tolerance, "the clips differ by more than is tolerated"
    for row, clip in enumerate(scores.clip_ids[:3]):
        joints = poses.joints(clip)
        with open_person_clips(run.experiment.caches / "person_clips") as clips:
            images = clips.images(clip, np.arange(len(joints)))
        images = np.stack([cv2.resize(image, (SIZE, SIZE), interpolation=cv2.INTER_AREA) for image in images])
        found = served(images=tf.constant(images), joints=tf.constant(joints))["probabilities"]
        np.testing.assert_allclose(found, scores.scores["vpn"][row], atol=tolerance)


def test_the_export_classifies_a_clip_from_its_files(vpn_end_to_end):
    """From video and skeleton to the scores of the test, through everything that lies between."""
    scores, clip = load_scores(vpn_end_to_end.workdir / "scores.npz"), TESTED[0]
    root = vpn_end_to_end.dataset.root
    prediction = predict_clip(vpn_end_to_end.result.export, video_file(root, clip), skeleton_file(root, clip))
    np.testing.assert_allclose(prediction.probabilities, scores.scores["vpn"][scores.clip_ids.index(clip)], atol=1e-5)


# Clips that cannot be used ----------------------------------------------------------------------------------------------------


def test_bad_clips_alone_are_left_out_and_listed(run):
    runs.assert_left_out(run, FAULTS)


# Again ------------------------------------------------------------------------------------------------------------------------


def test_a_resumed_run_repeats_no_work_and_finds_the_same(run, tmp_path, monkeypatch):
    def never(*_, **__):
        raise AssertionError("work was repeated")

    before = runs.modified(run.experiment.caches)
    monkeypatch.setattr(keras.Model, "fit", never)
    for name in ("poses.clean", "person_clips._PersonVideo", "clip_maps.map_network"):
        monkeypatch.setattr(f"keras_actrec.extraction.{name}", never)
    again = run_vpn_experiment(run.dataset, runs.copied(run, tmp_path / "run", "vpn"))
    changing = {"seconds": 0, "accuracy_by_kind": 0}
    assert {**again.metrics, **changing} == {**run.result.metrics, **changing}
    np.testing.assert_array_equal(again.evaluation.scores["vpn"], run.result.evaluation.scores["vpn"])
    assert again.left_out == run.result.left_out and runs.modified(run.experiment.caches) == before


@pytest.mark.parametrize(
    ("changes", "names"),
    [
        ({"preset": "table3_kl_both"}, "model.embedding"),  # the same shapes, the same terms of the loss
        ({"initial": "run"}, "backbone.weights"),
        ({"backbone": BackboneConfig(NETWORK, frames=4, image_size=SIZE, seed=1)}, "backbone.seed, backbone.weights"),
        ({"seed": 1, "holdout": 0.2}, "experiment_seed, training_clips, validation_clips"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_a_resumed_run_of_other_settings_is_refused(vpn_end_to_end, tmp_path, changes, names):
    changes = {**changes, **({"initial": vpn_end_to_end.workdir} if "initial" in changes else {})}
    with pytest.raises(ConfigError, match=f"the stage was started with other settings: {names} "):
        run_vpn_experiment(vpn_end_to_end.dataset, runs.copied(vpn_end_to_end, tmp_path, "vpn", **changes))
    assert not (tmp_path / "metrics.json").exists()


def test_caches_made_with_other_options_are_refused_and_kept(vpn_on_maps, tmp_path):
    experiment = replace(vpn_on_maps.experiment, workdir=tmp_path / "run")
    before = runs.modified(experiment.caches)
    backbone, sampling = experiment.backbone, experiment.sampling
    for changes, option in (
        ({"crop": replace(experiment.crop, margin=0.3)}, "margin: found 0.15, expected 0.3"),
        ({"backbone": replace(backbone, seed=1)}, "weights_checksum: found"),
        ({"sampling": replace(sampling, views=3)}, "sampling.views: found 2, expected 3"),
        ({"layout": None}, "layout: found 'lcrnet_13', expected 'kinect_v2'"),
    ):
        with pytest.raises(CacheError) as error:
            run_vpn_experiment(vpn_on_maps.dataset, replace(experiment, **changes))
        assert option in str(error.value) and "give another folder" in str(error.value)
    assert runs.modified(experiment.caches) == before and not (tmp_path / "run").exists()


# Larger images in the test ----------------------------------------------------------------------------------------------------


def by_hand(run, clip: str) -> np.ndarray:
    """Scores of a clip of LARGER images: the trained head at every place of the larger map, highest scores, (9,)."""
    experiment, weights = run.experiment, run.workdir / "vpn" / "model.weights.h5"
    config = VPNConfig(**run.result.metrics["configuration"]["model"])
    small, head = build_backbone(experiment.backbone), vpn(config)
    if experiment.train == "end_to_end":
        whole = vpn(config, small)
        load_weights(whole, weights)  # the layers of `small` are those of the model
        for layer in head.layers:
            if layer.weights:
                layer.set_weights(whole.get_layer(layer.name).get_weights())
    else:
        load_weights(head, weights)
    larger = build_backbone(replace(experiment.backbone, image_size=LARGER), weights=small.get_weights())
    views = views_of(experiment, clip, LARGER)
    maps = np.array(larger(views["clip"]))
    rows, columns = MAP[1:3]
    assert maps.shape == (VIEWS, MAP[0], 6, 6, MAP[3])
    places = [maps[:, :, y : y + rows, x : x + columns] for y in range(7 - rows) for x in range(7 - columns)]
    scores = [np.array(head({"map": place, "pose": views["pose"]}, training=False)["scores"]) for place in places]
    assert len(scores) == 9 and np.ptp(scores, axis=0).max() > 1e-4, "the places differ"
    return np.max(scores, axis=(0, 1))


def test_larger_images_are_classified_at_every_place(run, tmp_path, monkeypatch):
    rows = []
    test_batch = PersonClipSource.test_batch
    monkeypatch.setattr(
        PersonClipSource, "test_batch", lambda self, clips: rows.append(len(clips) * VIEWS) or test_batch(self, clips)
    )
    result = run_vpn_experiment(run.dataset, runs.copied(run, tmp_path, "vpn", test_image_size=LARGER))
    assert result.metrics["configuration"]["test_image_size"] == LARGER
    assert result.metrics["weights"] == run.result.metrics["weights"]
    scores = result.evaluation.scores["vpn"][result.evaluation.clip_ids.index(TESTED[0])]
    np.testing.assert_allclose(scores, by_hand(run, TESTED[0]), atol=1e-5)
    assert np.abs(result.evaluation.scores["vpn"] - run.result.evaluation.scores["vpn"]).max() > 1e-4
    assert max(rows) == 4, "a batch holds few clips: they take much memory"
    description = read_description(result.export)
    assert (description.image_size, description.map_size) == (LARGER, (6, 6))
    served = tf.saved_model.load(str(result.export)).signatures["serve"]
    views = views_of(run.experiment, TESTED[0], LARGER)
    found = served(**{name: tf.constant(rows) for name, rows in views.items()})["scores"]
    np.testing.assert_allclose(np.max(found, axis=0), scores, atol=1e-5)


# Variants ---------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_trains_on_the_same_maps(vpn_on_maps, tmp_path, monkeypatch, quickly, name):
    exported = {}

    def export(model, directory, **options):  # tests/export has the variants
        exported.update(options, inputs=set(model.input), outputs=set(model.output))
        return directory

    monkeypatch.setattr("keras_actrec.recipes.vpn.run.export_vpn", export)
    experiment = replace(vpn_on_maps.experiment, workdir=tmp_path, preset=name, stage=ONE_EPOCH, strategy="none")
    before = runs.modified(experiment.caches)
    result = run_vpn_experiment(vpn_on_maps.dataset, experiment)
    metrics = result.metrics
    expected = replace(preset(name, 9), layout="lcrnet_13", poses=4, map_shape=MAP)
    assert metrics["preset"] == name and VPNConfig(**metrics["configuration"]["model"]) == expected
    (epoch,) = pd.read_csv(tmp_path / "vpn" / "log.csv").to_dict("records")
    terms = {column.removesuffix("_loss") for column in epoch if column.endswith("_loss") and not column.startswith("val_")}
    terms -= {"logits", "val"}
    wanted = set() if name == "table1_l1" else {"spatial_attention"}
    if wanted and not name.startswith("table4"):
        wanted.add("temporal_attention")
    if wanted and not name.endswith(("_l2", "_without")):
        wanted.add("embedding_distance")
    assert terms == wanted and all(np.isfinite(value) for value in epoch.values())
    assert exported["inputs"] == ({"clip"} if name == "table1_l1" else {"clip", "pose"}) and wanted <= exported["outputs"]
    assert runs.modified(experiment.caches) == before


def test_the_backbone_alone_is_exported_without_poses(vpn_on_maps, tmp_path):
    experiment = replace(vpn_on_maps.experiment, workdir=tmp_path, preset="table1_l1", stage=ONE_EPOCH)
    result = run_vpn_experiment(vpn_on_maps.dataset, experiment)
    served = tf.saved_model.load(str(result.export)).signatures["classify_clip"]
    assert set(served.structured_input_signature[1]) == {"images"}
    scores = result.evaluation.scores["vpn"][result.evaluation.clip_ids.index(TESTED[0])]
    with open_person_clips(experiment.caches / "person_clips") as clips:
        images = clips.images(TESTED[0], np.arange(clips.lengths[TESTED[0]]))
    images = np.stack([cv2.resize(image, (SIZE, SIZE), interpolation=cv2.INTER_AREA) for image in images])
    np.testing.assert_allclose(served(images=tf.constant(images))["probabilities"], scores, atol=2e-4)


@pytest.mark.parametrize("train", ["end_to_end", "on_maps"])
def test_a_function_s_own_weights(vpn_data, vpn_end_to_end, tmp_path, quickly, train):
    experiment = tiny_vpn(tmp_path, train=train, stage=ONE_EPOCH, strategy="none")
    experiment = replace(experiment, backbone=replace(experiment.backbone, weights="own", seed=3))
    metrics = run_vpn_experiment(vpn_data, experiment).metrics
    own = weights_checksum(build_backbone(experiment.backbone))
    assert (metrics["weights"]["weights"], metrics["weights"]["weights_checksum"]) == ("own", own)
    assert own != vpn_end_to_end.result.metrics["weights"]["weights_checksum"]


def test_a_weights_file_is_taken_and_named(vpn_data, tmp_path, quickly):
    small = BackboneConfig(NETWORK, frames=4, image_size=SIZE, seed=5)
    backbone = build_backbone(small)
    backbone.save_weights(tmp_path / "tiny.weights.h5")
    file = str(tmp_path / "tiny.weights.h5")
    experiment = tiny_vpn(tmp_path / "run", backbone=replace(small, weights=file, seed=0), stage=ONE_EPOCH, strategy="none")
    metrics = run_vpn_experiment(vpn_data, experiment).metrics
    assert metrics["weights"]["weights"] == file
    assert metrics["weights"]["weights_checksum"] == weights_checksum(backbone)


def test_the_batches_of_maps_are_larger_and_bounded_too(vpn_on_maps, tmp_path, monkeypatch):
    clips = []
    test_batch = ClipMapSource.test_batch
    monkeypatch.setattr(ClipMapSource, "test_batch", lambda self, ids: clips.append(len(ids)) or test_batch(self, ids))
    monkeypatch.setitem(sys.modules["keras_actrec.recipes.vpn.run"]._TEST_ROWS, "map", 6)
    run_vpn_experiment(vpn_on_maps.dataset, runs.copied(vpn_on_maps, tmp_path, "vpn"))
    assert max(clips) == 3 and sum(clips) == len(TESTED)


# Devices ----------------------------------------------------------------------------------------------------------------------


def test_two_devices(vpn_data, tmp_path):
    found = runs.on_two_devices("vpn_mirrored_run", vpn_data.root, tmp_path)
    for train in ("end_to_end", "on_maps"):
        assert found[train]["devices"] == 2
        np.testing.assert_allclose(found[train]["exported"], found[train]["tested"], atol=1e-5)


# What cannot begin ------------------------------------------------------------------------------------------------------------


def test_an_unknown_protocol_names_those_that_exist(vpn_data, tmp_path):
    runs.assert_unknown_protocol(run_vpn_experiment, vpn_data, tiny_vpn(tmp_path / "run", protocol="view3"))


@pytest.mark.parametrize("train", ["end_to_end", "on_maps"])
def test_weights_that_are_not_there_end_the_run_before_anything_long(vpn_data, tmp_path, train):
    backbone = BackboneConfig(NETWORK, weights=str(tmp_path / "i3d.weights.h5"), frames=4, image_size=SIZE)
    with pytest.raises(WeightsError, match=r"i3d\.weights\.h5: there is no such weights file"):
        run_vpn_experiment(vpn_data, tiny_vpn(tmp_path / "run", backbone=backbone, train=train))
    assert not (tmp_path / "run").exists()


def test_a_function_that_gives_other_weights_each_time_is_refused_for_maps(vpn_data, tmp_path, monkeypatch):
    monkeypatch.setattr(keras.Model, "fit", lambda *_, **__: pytest.fail("the head was trained"))
    backbone = BackboneConfig("tests.recipes.tiny_vpn:unseeded_network", weights="own", frames=4, image_size=SIZE)
    with pytest.raises(WeightsError, match=r"other weights each time.*draw them from config\.seed"):
        run_vpn_experiment(vpn_data, tiny_vpn(tmp_path, backbone=backbone, train="on_maps"))


@pytest.mark.parametrize("train", ["end_to_end", "on_maps"])
def test_a_data_set_without_videos(tmp_path, monkeypatch, train):
    experiment = tiny_vpn(tmp_path / "run", protocol="view3", train=train)
    runs.assert_without_videos(run_vpn_experiment, experiment, tmp_path / "nucla", monkeypatch)


def test_a_mended_video_is_tried_again_when_asked(vpn_data, vpn_end_to_end, tmp_path, quickly):
    root = shutil.copytree(vpn_data.root, tmp_path / "ntu")
    shutil.copy(video_file(root, TRAINED[-1]), video_file(root, JUNK_VIDEO))
    caches = shutil.copytree(vpn_end_to_end.experiment.caches, tmp_path / "cache")
    changes = {"cache_dir": caches, "stage": ONE_EPOCH, "strategy": "none"}
    experiment = replace(vpn_end_to_end.experiment, workdir=tmp_path / "run", retry_left_out=True, **changes)
    result = run_vpn_experiment(type(vpn_data)(root), experiment)
    assert {entry.clip_id for entry in result.left_out} == FAULTS.keys() - {JUNK_VIDEO}
    clips = result.metrics["clips"]
    assert clips["train"] + clips["validation"] == len(TRAINED) + 1
