"""Starting from another run's weights: what is copied, what is not, and runs that do not fit."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import keras
import numpy as np
import pytest

from keras_actrec.errors import WeightsError
from keras_actrec.models.sta_hands import STAHandsConfig, sta_hands
from keras_actrec.recipes.sta_hands.initial import copy_initial_weights
from keras_actrec.training.checkpoints import save_weights

SMALL = STAHandsConfig(
    classes=3, frames=4, pose_width=12, feature_size=8, pose_filters=(2, 3), tcn_units=5, tcn_blocks=2, tcn_kernel=3,
    pose_features=6, lstm_units=7, spatial_attention_units=4, temporal_attention_units=4, temporal_features=5,
)  # fmt: skip
POSE = replace(SMALL, streams="pose")
INPUTS = {"layout": "kinect_v2", "tensor": {"scale": "body", "people": 2}}
CLASSIFIERS = {"pose_logits", "rgb_logits"}


def scrambled(config: STAHandsConfig, seed: int = 0) -> keras.Model:
    """A model in which no two weights are alike, moving averages of batch normalisation included."""
    model, rng = sta_hands(config), np.random.default_rng(seed)
    model.set_weights([rng.uniform(0.1, 1, weight.shape) for weight in model.weights])
    return model


def finished_run(folder: Path, config: STAHandsConfig, stages=("pose",), seed: int = 0) -> keras.Model:
    """Writes what `copy_initial_weights` reads of a run: metrics.json and weights; each stage has weights of its own."""
    for number, stage in enumerate(stages):
        (folder / stage).mkdir(parents=True)
        model = scrambled(config, seed + number)
        save_weights(model, folder / stage / "model.weights.h5")
    metrics = {"per_class": {f"class {k}": {} for k in range(config.classes)}, "stages": [{"name": name} for name in stages]}
    metrics["configuration"] = {**INPUTS, "holdout": 0.05}
    (folder / "metrics.json").write_text(json.dumps(metrics))
    return model


def weights(model: keras.Model) -> dict[str, list[np.ndarray]]:
    return {layer.name: layer.get_weights() for layer in model.layers if layer.weights}


@pytest.mark.parametrize(
    ("config", "stages"),
    [(POSE, ("pose",)), (replace(POSE, pose_network="res_tcn"), ("pose",)), (SMALL, ("pose", "rgb"))],
    ids=["convolutional", "res_tcn", "two streams"],
)
def test_all_weights_but_the_classifiers_are_those_of_the_last_stage(tmp_path, config, stages):
    other = weights(finished_run(tmp_path, replace(config, classes=5), stages))
    model = sta_hands(config)
    before = weights(model)
    copy_initial_weights(model, config, tmp_path, inputs=INPUTS)
    after = weights(model)
    assert set(after) == set(other) and set(after) & CLASSIFIERS == {f"{stage}_logits" for stage in stages}
    for name, arrays in after.items():
        for found, expected in zip(arrays, (before if name in CLASSIFIERS else other)[name], strict=True):
            np.testing.assert_array_equal(found, expected, err_msg=name)
    if config.pose_network == "res_tcn":
        assert len(after["pose_input_norm"]) == 4, "scale, offset, and the moving mean and variance are copied"


def test_classifiers_are_new_even_for_as_many_classes(tmp_path):
    other = weights(finished_run(tmp_path, POSE))
    model = sta_hands(POSE)
    copy_initial_weights(model, POSE, tmp_path, inputs=INPUTS)
    assert not np.array_equal(model.get_layer("pose_logits").kernel, other["pose_logits"][0])


@pytest.mark.parametrize(
    "content",
    [None, "", '{"per_class": {"a": {}', "[]", '{"stages": [{"name": "pose"}]}', '{"per_class": {}, "stages": []}'],
    ids=["absent", "empty", "cut", "no object", "no classes", "no stages"],
)
def test_a_run_that_is_not_finished(tmp_path, content):
    finished_run(tmp_path, POSE)
    if content is None:
        (tmp_path / "metrics.json").unlink()
    else:
        (tmp_path / "metrics.json").write_text(content)
    with pytest.raises(WeightsError, match=r"metrics\.json: no finished run to take weights from") as error:
        copy_initial_weights(sta_hands(POSE), POSE, tmp_path, inputs=INPUTS)
    assert "working directory of a finished run" in error.value.fix


@pytest.mark.parametrize("damage", ["gone", "cut"])
def test_weights_that_do_not_read(tmp_path, damage):
    finished_run(tmp_path, POSE)
    file = tmp_path / "pose" / "model.weights.h5"
    content = file.read_bytes()
    file.unlink()
    if damage == "cut":
        file.write_bytes(content[: len(content) // 2])
    with pytest.raises(WeightsError, match=r"pose/model\.weights\.h5: the weights cannot be read"):
        copy_initial_weights(sta_hands(POSE), POSE, tmp_path, inputs=INPUTS)


@pytest.mark.parametrize(
    "change",
    [{"pose_network": "res_tcn"}, {"pose_width": 24}, {"frames": 8}, {"pose_features": 9}, {"streams": "both"}],
    ids=lambda change: next(iter(change)),
)
def test_a_run_of_another_preset_or_other_tensors_is_refused_and_changes_nothing(tmp_path, change):
    finished_run(tmp_path, replace(POSE, **change))
    model = sta_hands(POSE)
    before = model.get_weights()
    with pytest.raises(WeightsError, match=r"pose/model\.weights\.h5.*do not fit the model"):
        copy_initial_weights(model, POSE, tmp_path, inputs=INPUTS)
    for found, expected in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("changes", [{"layout": "sbu_15"}, {"tensor": {"scale": "none", "people": 2}}], ids=str)
def test_a_run_on_other_inputs_of_the_same_shape(tmp_path, changes):
    finished_run(tmp_path, POSE)
    (name,) = changes
    with pytest.raises(WeightsError, match=f"the run was trained on other inputs: {name} .found .*, expected"):
        copy_initial_weights(sta_hands(POSE), POSE, tmp_path, inputs={**INPUTS, **changes})
