"""Starting a VPN from another run's weights: what is copied, what is not, and runs that do not fit."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path

import keras
import numpy as np
import pytest

from keras_actrec.backbones.sensors import weights_checksum
from keras_actrec.backbones.visual import BackboneConfig, build_backbone
from keras_actrec.errors import WeightsError
from keras_actrec.export import read_description
from keras_actrec.models.vpn import VPNConfig, preset, vpn
from keras_actrec.recipes.vpn.initial import copy_vpn_weights
from keras_actrec.recipes.vpn.run import run_vpn_experiment
from keras_actrec.training.checkpoints import save_weights
from keras_actrec.training.config import StageConfig
from tests.recipes.tiny_vpn import FRAMES, MAP, NETWORK, SIZE, tiny_vpn

BACKBONE = BackboneConfig(NETWORK, frames=FRAMES, image_size=SIZE)
SMALL = {
    "layout": "lcrnet_13", "poses": 4, "map_shape": MAP, "graph_units": 3, "pose_filters": (4, 5), "lstm_units": 6,
    "spatial_units": 7, "temporal_units": 8, "embedding_units": 9,
}  # fmt: skip
POSE_BACKBONE = {"pose_graph", "pose_conv1", "pose_norm1", "pose_conv2", "pose_norm2"}
LATENTS = {f"{kind}_{part}" for kind in ("spatial", "temporal") for part in ("hidden", "latent")}
ATTENTION = POSE_BACKBONE | LATENTS


def config(name: str = "vpn_paper", classes: int = 3, **fields) -> VPNConfig:
    return replace(preset(name, classes), **{**SMALL, **fields})


def build(made: VPNConfig, backbone: BackboneConfig | None, seed: int) -> keras.Model:
    """A model in which no two weights are alike, moving averages of batch normalisation included."""
    model, rng = vpn(made, backbone and build_backbone(backbone)), np.random.default_rng(seed)
    model.set_weights([rng.uniform(0.1, 1, weight.shape) for weight in model.weights])
    return model


def finished_run(folder: Path, made: VPNConfig, backbone: BackboneConfig | None = None) -> keras.Model:
    """Writes what `copy_vpn_weights` reads of a run: metrics.json and weights."""
    model = build(made, backbone, seed=1)
    save_weights(model, folder / "first" / "model.weights.h5")
    metrics = {
        "stages": [{"name": "first"}],
        "weights": {**asdict(backbone or BackboneConfig()), "weights_checksum": "0"},
        "configuration": {"model": asdict(made), "train": "on_maps" if backbone is None else "end_to_end"},
    }
    (folder / "metrics.json").write_text(json.dumps(metrics))
    return model


def weights(model: keras.Model) -> dict[str, list[np.ndarray]]:
    return {layer.name: layer.get_weights() for layer in model.layers if layer.weights}


def copied(run: Path, theirs: keras.Model, made: VPNConfig, backbone: BackboneConfig | None = None) -> set[str]:
    """Copies, and gives the layers that have the run's weights now; all others have to be as they were."""
    model = build(made, backbone, seed=2)
    before, other = weights(model), weights(theirs)
    copy_vpn_weights(model, made, run)
    found = set()
    for name, arrays in weights(model).items():
        if all(np.array_equal(one, two) for one, two in zip(arrays, before[name], strict=True)):
            continue
        found.add(name)
        for one, two in zip(arrays, other[name], strict=True):
            np.testing.assert_array_equal(one, two, err_msg=name)
    return found


# What is copied ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("classes", [3, 5])
def test_all_but_the_classifiers(tmp_path, classes):
    theirs = finished_run(tmp_path, config(classes=classes), BACKBONE)
    assert copied(tmp_path, theirs, config(), BACKBONE) == {"backbone", "embedding_distance"} | ATTENTION


def test_both_classifiers_of_the_published_code_are_new(tmp_path):
    made = config("vpn_official", pose_filters=(4, 5, 6))
    theirs = finished_run(tmp_path, made)
    assert set(weights(theirs)) - copied(tmp_path, theirs, made) == {"features", "classifier"}


def test_a_backbone_trained_alone_starts_the_whole_network(tmp_path):
    theirs = finished_run(tmp_path, config("table1_l1"), BACKBONE)
    assert copied(tmp_path, theirs, config(), replace(BACKBONE, image_size=24)) == {"backbone"}


def test_a_head_trained_on_maps_starts_the_training_end_to_end(tmp_path):
    theirs = finished_run(tmp_path, config())
    assert copied(tmp_path, theirs, config(), BACKBONE) == {"embedding_distance"} | ATTENTION


@pytest.mark.parametrize("fields", [{"poses": 5}, {"layout": "penn_13"}, {"layout": "coco_17"}, {"other_weight": 1.0}], ids=str)
def test_other_poses_leave_the_pose_backbone_and_what_it_steers(tmp_path, fields):
    """penn_13 has as many joints as lcrnet_13: the shapes of all layers are the same."""
    theirs = finished_run(tmp_path, config(**fields), BACKBONE)
    assert copied(tmp_path, theirs, config(), BACKBONE) == {"backbone", "embedding_distance"}


def test_another_pose_backbone(tmp_path):
    theirs = finished_run(tmp_path, config("table2_l6"))
    assert copied(tmp_path, theirs, config()) == {"embedding_distance"}


def test_a_variant_without_temporal_attention_starts_the_rest(tmp_path):
    theirs = finished_run(tmp_path, config("table4_gcn_without"))
    assert copied(tmp_path, theirs, config()) == POSE_BACKBONE | {"spatial_hidden", "spatial_latent"}


def test_the_run_s_backbone_is_rebuilt_without_its_files(tmp_path):
    """Its weights lie in the stage: the file that it began with may be gone; a function's may be its own."""
    for weights_of in ("gone.weights.h5", "own"):
        run = tmp_path / weights_of
        theirs = finished_run(run, config("table1_l1"), BACKBONE)
        metrics = json.loads((run / "metrics.json").read_text())
        metrics["weights"]["weights"] = weights_of
        (run / "metrics.json").write_text(json.dumps(metrics))
        assert copied(run, theirs, config(), BACKBONE) == {"backbone"}


# Runs that do not fit ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "content",
    [
        None, "", '{"stages": [', "[]", '"run"', '{"stages": [], "configuration": {}}',
        '{"stages": [{"name": "rgb"}], "configuration": {"model_preset": "sta_hands_paper"}}',
        '{"stages": [{"name": "first"}], "configuration": {"model": {"classes": 3, "heads": 8}, "train": "on_maps"}}',
        '{"stages": [{"name": "first"}], "configuration": {"model": {"classes": 3, "attention": "soft"}, "train": "on_maps"}}',
        '{"stages": [{"name": "first"}], "configuration": {"model": {"classes": 3}, "train": "end_to_end"}}',
        '{"stages": [{"name": "first"}], "configuration": {"model": {"classes": 3}, "train": "end_to_end"},'
        ' "weights": {"name": "no.such:network", "weights": "own", "frames": 4, "image_size": 16, "dtype": "float32",'
        ' "seed": 0}}',
    ],
    ids=["absent", "empty", "cut", "no object", "text", "no stages", "of another model", "of another version",
         "unknown variant", "no backbone", "a function that is gone"],
)  # fmt: skip
def test_a_run_that_is_not_finished_or_none_of_vpn(tmp_path, content):
    finished_run(tmp_path, config())
    if content is None:
        (tmp_path / "metrics.json").unlink()
    else:
        (tmp_path / "metrics.json").write_text(content)
    with pytest.raises(WeightsError, match=r"metrics\.json: no finished VPN run to take weights from") as error:
        copy_vpn_weights(build(config(), None, 2), config(), tmp_path)
    assert "working directory of a finished run of experiments/*_vpn.py" in error.value.fix


@pytest.mark.parametrize("damage", ["gone", "cut", "of another network"])
def test_weights_that_do_not_read(tmp_path, damage):
    finished_run(tmp_path, config())
    file = tmp_path / "first" / "model.weights.h5"
    content = file.read_bytes()
    file.unlink()
    if damage == "cut":
        file.write_bytes(content[: len(content) // 2])
    elif damage != "gone":
        save_weights(build(config(classes=4), None, 1), file)
    words = "the weights do not fit the model" if damage == "of another network" else "the weights cannot be read"
    with pytest.raises(WeightsError, match=rf"first/model\.weights\.h5.*: {words}"):
        copy_vpn_weights(build(config(), None, 2), config(), tmp_path)


def refused(run: Path, made: VPNConfig, backbone: BackboneConfig | None, words: str) -> None:
    model = build(made, backbone, 2)
    before = model.get_weights()
    with pytest.raises(WeightsError, match=words):
        copy_vpn_weights(model, made, run)
    for found, expected in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(found, expected)


def test_another_backbone_changes_nothing(tmp_path):
    finished_run(tmp_path, config(), BACKBONE)
    other = replace(BACKBONE, name="tests.recipes.tiny_vpn:other_network")
    refused(tmp_path, config(), other, r"metrics\.json: the backbone of the run is another network \(found 7 w.*, expected 2 w")


@pytest.mark.parametrize("name", ["vpn_paper", "table1_l1"])
def test_a_trained_backbone_has_no_place_before_maps(tmp_path, name):
    finished_run(tmp_path, config(name), BACKBONE)
    refused(tmp_path, config(), None, r"the run was trained, and maps are of another one.*start from a run on maps")


def test_nothing_in_common(tmp_path):
    finished_run(tmp_path, config("table1_l1"))
    refused(tmp_path, config(), None, r"no layer of the run fits the model .found classifier\)")


# Whole runs -------------------------------------------------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore:Even though the `tf.config")
def test_stages_of_section_3_3(vpn_data, vpn_end_to_end, tmp_path, eagerly):
    """The backbone is trained for classification, then the whole network from it."""
    stage = StageConfig("vpn", learning_rate=1e-2, batch_size=8, epochs=1)
    shared = {"cache_dir": vpn_end_to_end.experiment.caches, "stage": stage, "strategy": "none"}
    alone = run_vpn_experiment(vpn_data, tiny_vpn(tmp_path / "alone", preset="table1_l1", **shared))
    trained = read_description(alone.export).backbone["weights_checksum"]
    assert trained != weights_checksum(build_backbone(BACKBONE)) == alone.metrics["weights"]["weights_checksum"]
    experiment = tiny_vpn(tmp_path / "whole", initial=tmp_path / "alone", **shared)
    whole = run_vpn_experiment(vpn_data, experiment)
    assert whole.metrics["weights"]["weights_checksum"] == trained, "the training began with the trained backbone"
    assert whole.metrics["configuration"]["initial"] == str(tmp_path / "alone")
    assert read_description(whole.export).backbone["weights_checksum"] != trained, "and went on with it"
    with pytest.raises(WeightsError, match="no finished VPN run to take weights from"):
        run_vpn_experiment(vpn_data, replace(experiment, workdir=tmp_path / "third", initial=tmp_path))
