"""Starting Glimpse Clouds from another run's weights: what is copied, what is not, and runs that do not fit."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path

import keras
import numpy as np
import pytest

from keras_actrec.backbones.inflated_resnet import InflatedResNetConfig
from keras_actrec.backbones.sensors import weights_checksum
from keras_actrec.cache.schema import load_index
from keras_actrec.errors import WeightsError
from keras_actrec.export import read_description
from keras_actrec.models.glimpse_clouds import BACKBONE, RECURRENCE, GlimpseCloudsConfig, glimpse_clouds
from keras_actrec.recipes.glimpse_clouds.initial import POSE, open_initial_run
from keras_actrec.recipes.glimpse_clouds.run import BACKBONE_FILE, run_glimpse_experiment
from keras_actrec.training.checkpoints import save_weights
from tests.recipes.tiny_glimpse import (
    CONTEXT,
    FRAMES,
    MAP,
    NETWORK,
    STAGE,
    TRAINED,
    build_tiny,
    small_preset,
    tiny_glimpse,
)

SIZES = {"layout": "lcrnet_13", "frames": FRAMES, "map_shape": MAP, "context_size": CONTEXT}
ONE_EPOCH = {f"{name}_stage": replace(STAGE, name=name, epochs=1, batch_size=len(TRAINED)) for name in ("global", "clouds")}
START = "5" * 64

pytestmark = pytest.mark.usefixtures("small_networks")


def config(name: str = "glimpse_clouds_paper", classes: int = 3, **fields) -> GlimpseCloudsConfig:
    return replace(small_preset(name, classes), **{**SIZES, **fields})


def build(made: GlimpseCloudsConfig, backbone: InflatedResNetConfig | None, seed: int) -> keras.Model:
    """A model in which no two weights are alike, moving averages of batch normalisation included."""
    model, rng = glimpse_clouds(made, backbone and build_tiny(backbone)), np.random.default_rng(seed)
    model.set_weights([rng.uniform(0.1, 1, weight.shape) for weight in model.weights])
    return model


def finished_run(folder: Path, made: GlimpseCloudsConfig, backbone: InflatedResNetConfig | None = None) -> keras.Model:
    """Writes what `open_initial_run` reads of a run: metrics.json and weights."""
    model = build(made, backbone, seed=1)
    save_weights(model, folder / "last" / "model.weights.h5")
    metrics = {
        "stages": [{"name": "first"}, {"name": "last"}],
        "weights": {**asdict(backbone or NETWORK), "weights_checksum": START},
        "configuration": {"model": asdict(made), "train": "on_maps" if backbone is None else "end_to_end"},
    }
    (folder / "metrics.json").write_text(json.dumps(metrics))
    return model


def weights(model: keras.Model) -> dict[str, list[np.ndarray]]:
    return {layer.name: layer.get_weights() for layer in model.layers if layer.weights}


def copied(
    run: Path, theirs: keras.Model, made: GlimpseCloudsConfig, backbone: InflatedResNetConfig | None = None, *,
    checksum: str = START,
) -> set[str]:  # fmt: skip
    """Copies, and gives the layers that have the run's weights now; all others have to be as they were."""
    model = build(made, backbone, seed=2)
    before, other = weights(model), weights(theirs)
    told = open_initial_run(run).copy(model, made, checksum)
    found = set()
    for name, arrays in weights(model).items():
        if all(np.array_equal(one, two) for one, two in zip(arrays, before[name], strict=True)):
            continue
        found.add(name)
        for one, two in zip(arrays, other[name], strict=True):
            np.testing.assert_array_equal(one, two, err_msg=name)
    assert found == set(told)
    return found


# What is copied ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("classes", [3, 5])
@pytest.mark.parametrize("backbone", [None, NETWORK], ids=["on maps", "end to end"])
def test_all_but_the_classifiers(tmp_path, classes, backbone):
    theirs = finished_run(tmp_path, config("table3_clouds_and_global", classes), backbone)
    assert copied(tmp_path, theirs, config("table3_clouds_and_global"), backbone) == {POSE, RECURRENCE}


def test_a_trained_backbone_is_there_to_build_the_network_with(tmp_path):
    theirs = finished_run(tmp_path, config(), NETWORK)
    found = open_initial_run(tmp_path).weights_for(replace(NETWORK, image_size=48, weights="imagenet"))
    expected = build_tiny(NETWORK, weights=found)
    for one, two in zip(theirs.get_layer(BACKBONE).get_weights(), expected.get_weights(), strict=True):
        np.testing.assert_array_equal(one, two)


def test_maps_leave_no_trained_backbone(tmp_path):
    finished_run(tmp_path, config())
    assert open_initial_run(tmp_path).weights_for(NETWORK) is None


def test_the_global_model_starts_the_pose_regression(tmp_path):
    theirs = finished_run(tmp_path, config("global"), NETWORK)
    assert copied(tmp_path, theirs, config(), NETWORK, checksum="of the trained backbone") == {POSE}


@pytest.mark.parametrize("fields", [{"layout": "penn_13"}, {"layout": "coco_17"}, {"people": 1}], ids=str)
def test_other_poses_are_regressed_anew(tmp_path, fields):
    """penn_13 has as many joints as lcrnet_13: the shapes of all layers are the same."""
    theirs = finished_run(tmp_path, config(**fields))
    assert copied(tmp_path, theirs, config()) == {RECURRENCE}


@pytest.mark.parametrize(
    "fields",
    [
        {"distance": "fixed"}, {"distance": "random"}, {"encoding": "concat"}, {"attention": "saliency"}, {"workers": 2},
        {"glimpse_units": 6}, {"code": "official"}, {"attention": "tubes"},
    ],
    ids=str,
)  # fmt: skip
def test_another_recurrence_is_new(tmp_path, fields):
    theirs = finished_run(tmp_path, config(**fields))
    assert copied(tmp_path, theirs, config()) == {POSE}


@pytest.mark.parametrize("fields", [{"frames": 4}, {"temperature": 0.1}, {"normalise_over": "clip"}], ids=str)
def test_what_needs_no_weights_can_differ(tmp_path, fields):
    theirs = finished_run(tmp_path, config(**fields))
    assert copied(tmp_path, theirs, config()) == {POSE, RECURRENCE}


def test_the_same_layers_have_the_same_digest(tmp_path):
    digests = set()
    for number, made in enumerate((config(), config(), config(glimpse_units=6))):
        finished_run(tmp_path / str(number), made)
        digests.add(open_initial_run(tmp_path / str(number)).digest)
    assert len(digests) == 2


# Runs that do not fit ---------------------------------------------------------------------------------------------------------

_WEIGHTS = ' "weights": {"frames": 2, "weights_checksum": "0"}'


@pytest.mark.parametrize(
    "content",
    [
        None, "", '{"stages": [', "[]", '"run"', '{"stages": [], "configuration": {}}',
        '{"stages": [{"name": "vpn"}], "configuration": {"model": {"classes": 3, "poses": 4}}}',
        '{"stages": [{"name": "last"}], "configuration": {"model": {"classes": 3, "heads": 8}, "train": "on_maps"},' + _WEIGHTS
        + "}",
        '{"stages": [{"name": "last"}], "configuration": {"model": {"classes": 3, "code": "new"}, "train": "on_maps"},'
        + _WEIGHTS + "}",
        '{"stages": [{"name": "last"}], "configuration": {"model": {"classes": 3}, "train": "on_maps"}}',
        '{"stages": [{"name": "last"}], "configuration": {"model": {"classes": 3}, "train": "on_maps"},'
        ' "weights": {"name": "i3d", "weights_checksum": "0"}}',
        '{"stages": [{"name": "last"}], "configuration": {"model": {"classes": 3}, "train": "end_to_end"},' + _WEIGHTS + "}",
    ],
    ids=["absent", "empty", "cut", "no object", "text", "no stages", "of another model", "of another version",
         "unknown variant", "no backbone", "another backbone", "maps that do not fit"],
)  # fmt: skip
def test_a_run_that_is_not_finished_or_none_of_glimpse_clouds(tmp_path, content):
    finished_run(tmp_path, config())
    if content is None:
        (tmp_path / "metrics.json").unlink()
    else:
        (tmp_path / "metrics.json").write_text(content)
    with pytest.raises(WeightsError, match=r"metrics\.json: no finished run of Glimpse Clouds to take weights from") as error:
        open_initial_run(tmp_path)
    assert "working directory of a finished run of experiments/*_glimpse_clouds.py" in error.value.fix


@pytest.mark.parametrize("damage", ["gone", "cut", "of another network"])
def test_weights_that_do_not_read(tmp_path, damage):
    finished_run(tmp_path, config())
    file = tmp_path / "last" / "model.weights.h5"
    content = file.read_bytes()
    file.unlink()
    if damage == "cut":
        file.write_bytes(content[: len(content) // 2])
    elif damage != "gone":
        save_weights(build(config(classes=4), None, 1), file)
    words = "the weights do not fit the model" if damage == "of another network" else "the weights cannot be read"
    with pytest.raises(WeightsError, match=rf"last/model\.weights\.h5.*: {words}"):
        open_initial_run(tmp_path)


def test_a_backbone_of_the_other_structure(tmp_path):
    """The shapes are the same; the strides are not."""
    finished_run(tmp_path, config(), NETWORK)
    with pytest.raises(WeightsError, match=r"of another structure \(found keras, expected torchvision\)"):
        open_initial_run(tmp_path).weights_for(replace(NETWORK, structure="torchvision"))


def test_a_head_trained_on_the_maps_of_another_backbone(tmp_path):
    finished_run(tmp_path, config())
    model = build(config(), None, 2)
    before = model.get_weights()
    with pytest.raises(WeightsError, match=r"the maps of another backbone \(found 555555555555, expected 777777777777\)"):
        open_initial_run(tmp_path).copy(model, config(), "7" * 64)
    for found, expected in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(found, expected)


def test_nothing_in_common(tmp_path):
    finished_run(tmp_path, config("global", layout="penn_13"))
    with pytest.raises(WeightsError, match=r"no layer of the run fits the model \(found pose_regression, global_classifier\)"):
        open_initial_run(tmp_path).copy(build(config(), None, 2), config(), START)


# Whole runs -------------------------------------------------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore:Even though the `tf.config")
def test_stage_2_on_maps_of_the_backbone_that_stage_1_trained(glimpse_data, glimpse_end_to_end, tmp_path, eagerly):
    """Stage 1 on a GPU, then stage 2 without one, then another one from it."""
    shared = {"strategy": "none", **ONE_EPOCH}
    alone = tiny_glimpse(tmp_path / "global", cache_dir=glimpse_end_to_end.experiment.caches, preset="global", **shared)
    trained = read_description(run_glimpse_experiment(glimpse_data, alone).export).backbone["weights_checksum"]
    assert trained != weights_checksum(build_tiny(NETWORK))
    # The weights that the backbone is configured with are not asked for: they may not be there.
    experiment = tiny_glimpse(
        tmp_path / "clouds", initial=tmp_path / "global", train="on_maps", backbone=replace(NETWORK, weights="gone.weights.h5"),
        **shared,
    )  # fmt: skip
    clouds = run_glimpse_experiment(glimpse_data, experiment)
    assert clouds.metrics["configuration"]["initial"] == str(tmp_path / "global")
    assert [stage["name"] for stage in clouds.metrics["stages"]] == ["clouds"]
    assert load_index(experiment.caches / "glimpse_maps").options.weights_checksum == trained
    assert read_description(clouds.export).backbone["weights_checksum"] == trained
    own = str(tmp_path / "clouds" / BACKBONE_FILE)
    assert (clouds.metrics["weights"]["weights"], clouds.metrics["weights"]["weights_checksum"]) == (own, trained)
    third = tiny_glimpse(
        tmp_path / "third", cache_dir=experiment.caches, initial=tmp_path / "clouds", train="on_maps",
        backbone=replace(NETWORK, weights=own), **shared,
    )  # fmt: skip
    assert run_glimpse_experiment(glimpse_data, third).metrics["weights"]["weights_checksum"] == trained
    with pytest.raises(WeightsError, match="trained on the maps of another backbone"):
        run_glimpse_experiment(
            glimpse_data, replace(third, workdir=tmp_path / "fourth", cache_dir=None, backbone=replace(NETWORK, seed=1))
        )


@pytest.mark.filterwarnings("ignore:Even though the `tf.config")
def test_fine_tuning_goes_on_with_the_whole_network(glimpse_data, glimpse_end_to_end, tmp_path, eagerly, monkeypatch):
    begun = []
    from keras_actrec.recipes.glimpse_clouds import run as recipe

    def noted(model, *arguments, **options):
        begun.append(weights(model))
        return run_stage(model, *arguments, **options)

    run_stage = recipe.run_stage
    monkeypatch.setattr(recipe, "run_stage", noted)
    experiment = tiny_glimpse(
        tmp_path, cache_dir=glimpse_end_to_end.experiment.caches, initial=glimpse_end_to_end.workdir, strategy="none",
        **ONE_EPOCH,
    )  # fmt: skip
    result = run_glimpse_experiment(glimpse_data, experiment)
    theirs = open_initial_run(glimpse_end_to_end.workdir)
    (start,) = begun
    for name, expected in ((BACKBONE, theirs.backbone_weights), *((name, theirs.layers[name]) for name in (POSE, RECURRENCE))):
        for found, array in zip(start[name], expected, strict=True):
            np.testing.assert_array_equal(found, array, err_msg=name)
    before = read_description(glimpse_end_to_end.result.export).backbone["weights_checksum"]
    assert result.metrics["weights"]["weights_checksum"] == before, "the training began with the trained backbone"
    assert read_description(result.export).backbone["weights_checksum"] != before, "and went on with it"
