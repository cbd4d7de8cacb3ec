"""Glimpse Clouds as an experiment: how its stages follow each other, where D starts, and every preset."""

from __future__ import annotations

import shutil
from dataclasses import replace

import keras
import numpy as np
import pandas as pd
import pytest

from keras_actrec.backbones.sensors import weights_checksum
from keras_actrec.errors import ConfigError
from keras_actrec.layers.soft_assignment import MahalanobisDistance
from keras_actrec.models.glimpse_clouds import RECURRENCE, GlimpseCloudsConfig, glimpse_clouds, glimpse_features
from keras_actrec.models.glimpse_clouds_config import PRESETS
from keras_actrec.pipelines.tf_data import epoch_rows
from keras_actrec.recipes.glimpse_clouds.run import run_glimpse_experiment
from keras_actrec.training.checkpoints import load_weights
from keras_actrec.training.stages import run_stage
from tests.recipes import runs
from tests.recipes.tiny_glimpse import (
    CONTEXT,
    FRAMES,
    MAP,
    NETWORK,
    ONE_EPOCH,
    SIZE,
    STAGE,
    UNPLACED,
    build_tiny,
    small_preset,
    tiny_glimpse,
)

STREAM = "glimpse_clouds"

pytestmark = [
    pytest.mark.usefixtures("small_networks"),
    pytest.mark.filterwarnings("ignore:Even though the `tf.config"),  # see `quickly`
]


def network_of(run, name: str, *, stage: str = "clouds") -> keras.Model:
    """The network of a finished stage, on clips or on maps."""
    config = GlimpseCloudsConfig(**run.result.metrics["configuration"]["model"])
    if stage == "global":
        config = replace(config, model="global", glimpse_loss=False)
    model = glimpse_clouds(config, build_tiny(NETWORK) if run.experiment.train == "end_to_end" else None)
    load_weights(model, run.workdir / stage / name)
    return model


# Stages -----------------------------------------------------------------------------------------------------------------------


@pytest.fixture
def begun(monkeypatch) -> list[dict]:
    """How each stage began: its model, what trains of it, its weights, and its history's terms."""
    found = []

    def noted(model, stream, source, train, validation, config, workdir, **options):
        backbone = next((layer for layer in model.layers if layer.name == "backbone"), None)
        found.append({
            "name": config.name, "model": model, "weights": {w.path: w.numpy() for w in model.weights},
            "terms": set(options["objective"].weights), "trains": backbone is not None and bool(backbone.trainable_weights),
            "train": train, "source": source,
        })  # fmt: skip
        return run_stage(model, stream, source, train, validation, config, workdir, **options)

    monkeypatch.setattr("keras_actrec.recipes.glimpse_clouds.run.run_stage", noted)
    return found


def backbone_of(weights: dict[str, np.ndarray]) -> list[np.ndarray]:
    """Weights of the layers of `tiny_network`."""
    return [array for path, array in weights.items() if path.split("/")[-2] in ("first", "norm", "second")]


def of_layer(weights: dict[str, np.ndarray], name: str) -> list[np.ndarray]:
    return [array for path, array in weights.items() if name in path]


def differ(ones: list[np.ndarray], others: list[np.ndarray]) -> bool:
    assert len(ones) == len(others) > 0
    return any(not np.array_equal(one, two) for one, two in zip(ones, others, strict=True))


@pytest.mark.parametrize("freeze", [False, True], ids=["paper", "frozen"])
def test_the_second_stage_goes_on_from_the_first(glimpse_end_to_end, tmp_path, quickly, glimpse_export, begun, freeze):
    caches = glimpse_end_to_end.experiment.caches
    experiment = tiny_glimpse(tmp_path, cache_dir=caches, freeze_backbone=freeze, strategy="none", **ONE_EPOCH)
    run_glimpse_experiment(glimpse_end_to_end.dataset, experiment)
    first, second = begun
    assert (first["name"], first["trains"], first["terms"]) == ("global", True, {"logits", "pose"})
    assert (second["name"], second["trains"], second["terms"]) == ("clouds", not freeze, {"logits", "pose", "glimpses"})
    after = {weight.path: weight.numpy() for weight in first["model"].weights if "backbone" not in weight.path}
    start, between = backbone_of(first["weights"]), backbone_of(second["weights"])
    assert differ(start, between), "stage 1 trains the backbone"
    assert not differ(of_layer(after, "pose_regression"), of_layer(second["weights"], "pose_regression"))
    end = {weight.path: weight.numpy() for weight in second["model"].weights}
    assert differ(between, backbone_of(end)) != freeze, "and stage 2 does unless it is frozen, statistics included"
    assert differ(of_layer(second["weights"], "pose_regression"), of_layer(end, "pose_regression"))
    assert glimpse_export["backbone"]["weights_checksum"] != weights_checksum(build_tiny(NETWORK))


@pytest.mark.parametrize("train", ["end_to_end", "on_maps"])
def test_the_distance_starts_at_the_inverse_covariance(
    glimpse_end_to_end, glimpse_on_maps, tmp_path, quickly, glimpse_export, begun, train
):  # fmt: skip
    """Of the glimpses in the stage's first training batches, with the weights that the stage starts from."""
    base = {"end_to_end": glimpse_end_to_end, "on_maps": glimpse_on_maps}[train]
    experiment = replace(
        base.experiment, workdir=tmp_path, cache_dir=base.experiment.caches, preset="distance_fixed", strategy="none",
        clouds_stage=replace(STAGE, name="clouds", epochs=1, seed=4),
    )  # fmt: skip
    run_glimpse_experiment(base.dataset, experiment)
    stage = begun[-1]
    model, source, clips = stage["model"], stage["source"], stage["train"]
    for weight in model.weights:
        weight.assign(stage["weights"][weight.path])
    rows, uniforms = epoch_rows(len(clips), 6, 4, 0, 0, source.draws)
    batch, _ = source.training_batch([clips[row] for row in rows], uniforms)
    features = glimpse_features(model)({name: batch[name] for name in model.input}).numpy()
    assert features.shape == (6, FRAMES, 3, MAP[2]), "one batch has twice as many glimpses as features have dimensions"
    expected = MahalanobisDistance()
    expected.build((None, None, MAP[2]), (None, None, MAP[2]))
    expected.set_inverse_covariance(features.reshape(-1, MAP[2]))
    found = model.get_layer(RECURRENCE).metric.matrix()
    np.testing.assert_allclose(found, expected.matrix(), rtol=1e-3, atol=1e-3 * np.abs(found).max())
    end = network_of(base, "model.weights.h5")
    learned = end.get_layer(RECURRENCE).metric.matrix()
    assert not np.allclose(learned, found), "the other run has learned it"


def test_a_random_distance_stays_random(glimpse_on_maps, tmp_path, quickly, glimpse_export, begun, monkeypatch):
    monkeypatch.setattr(MahalanobisDistance, "set_inverse_covariance", lambda *_: pytest.fail("a start was given"))
    experiment = replace(glimpse_on_maps.experiment, workdir=tmp_path, preset="distance_random", strategy="none", **ONE_EPOCH)
    run_glimpse_experiment(glimpse_on_maps.dataset, experiment)
    assert [stage["name"] for stage in begun] == ["clouds"]


def test_a_run_stopped_between_its_stages_ends_as_an_uninterrupted_one(glimpse_end_to_end, tmp_path, glimpse_export):
    experiment = runs.copied(glimpse_end_to_end, tmp_path, "global")
    result = run_glimpse_experiment(glimpse_end_to_end.dataset, experiment)
    assert result.metrics["stages"] == glimpse_end_to_end.result.metrics["stages"]
    found, expected = (one.evaluation.scores[STREAM] for one in (result, glimpse_end_to_end.result))
    np.testing.assert_allclose(found, expected, atol=1e-4)


def test_a_second_stage_of_another_first_one_is_refused(glimpse_end_to_end, tmp_path, quickly):
    """As where a run was started anew with another first stage and stopped in it: its second stage is of the run before."""
    experiment = runs.copied(glimpse_end_to_end, tmp_path, "clouds", global_stage=replace(STAGE, epochs=1), strategy="none")
    with pytest.raises(ConfigError, match="the stage was started with other settings: stages_before"):
        run_glimpse_experiment(glimpse_end_to_end.dataset, experiment)


# Variants ---------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_trains_on_the_same_maps(glimpse_on_maps, tmp_path, quickly, glimpse_export, name):
    experiment = replace(glimpse_on_maps.experiment, workdir=tmp_path, preset=name, strategy="none", **ONE_EPOCH)
    before = runs.modified(experiment.caches)
    metrics = run_glimpse_experiment(glimpse_on_maps.dataset, experiment).metrics
    sizes = {"layout": "lcrnet_13", "frames": FRAMES, "map_shape": MAP, "context_size": CONTEXT}
    network = replace(small_preset(name, 9), **sizes)
    assert metrics["preset"] == name and GlimpseCloudsConfig(**metrics["configuration"]["model"]) == network
    (stage,) = metrics["stages"]
    assert stage["name"] == ("clouds" if network.has_glimpses else "global")
    (epoch,) = pd.read_csv(tmp_path / stage["name"] / "log.csv").to_dict("records")
    terms = {column.removesuffix("_loss") for column in epoch if column.endswith("_loss") and not column.startswith("val_")}
    wanted = {"pose"} if network.pose_loss else set()
    wanted |= {"glimpses"} if network.glimpse_loss else set()
    assert terms - {"logits", "val"} == wanted and all(np.isfinite(value) for value in epoch.values())
    assert glimpse_export["inputs"] == {"clip"} and {"logits", *wanted} <= glimpse_export["outputs"]
    assert runs.modified(experiment.caches) == before


def test_the_global_model_alone_is_stage_1(glimpse_end_to_end, tmp_path, quickly, glimpse_export, begun):
    caches = glimpse_end_to_end.experiment.caches
    experiment = tiny_glimpse(tmp_path, cache_dir=caches, preset="global", strategy="none", freeze_backbone=True, **ONE_EPOCH)
    metrics = run_glimpse_experiment(glimpse_end_to_end.dataset, experiment).metrics
    assert [(stage["name"], stage["trains"]) for stage in begun] == [("global", True)]
    assert [stage["name"] for stage in metrics["stages"]] == ["global"] and glimpse_export["outputs"] == {"logits", "pose"}


def test_crops_around_people_are_exported_with_what_says_where_they_are(glimpse_end_to_end, tmp_path, quickly, glimpse_export):
    caches = tmp_path / "cache"
    caches.mkdir()
    shutil.copytree(glimpse_end_to_end.experiment.caches / "poses", caches / "poses")
    crop = replace(glimpse_end_to_end.experiment.crop, box="clip", size=SIZE)
    experiment = tiny_glimpse(tmp_path, crop=crop, preset="global", strategy="none", **ONE_EPOCH)
    result = run_glimpse_experiment(glimpse_end_to_end.dataset, experiment)
    assert (glimpse_export["picture_size"], glimpse_export["crop"]["box"]) == (SIZE, "clip")
    assert glimpse_export["cleaning"]["min_frames"]
    assert set(UNPLACED) <= {entry.clip_id for entry in result.left_out}, "without joints there is nothing to cut around"
