"""RPAN: every variant through the shared checks, both backends, the sizes of the paper, and what is refused."""

from __future__ import annotations

from dataclasses import asdict, replace

import keras
import numpy as np
import pytest

from keras_actrec.errors import ConfigError
from keras_actrec.models.rpan import BACKBONE, PRESETS, RPANConfig, attention_parts, preset, rpan, with_backbone
from tests.harness import make_nonzero, numpy_outputs, outputs_on_jax, random_array, run_model_test

BATCH, CLASSES, FRAMES, CUBE, POOLED, UNITS = 2, 3, 3, (2, 3, 5), 7, 4
SMALL = {"frames": FRAMES, "cube_shape": CUBE, "pooled_size": POOLED, "units": UNITS, "attention_units": 6}
VARIANTS = tuple(name for name in PRESETS if name.startswith("rpan_sub_jhmdb"))
HEIGHT, WIDTH = 4, 6


def small(name: str = "rpan_sub_jhmdb", **fields) -> RPANConfig:
    return replace(preset(name, CLASSES), **SMALL | fields)


def inputs_for(config: RPANConfig, batch: int = BATCH) -> dict[str, np.ndarray]:
    if config.has_attention:
        return {"cube": random_array((batch, config.frames, *config.cube_shape), 1)}
    return {"pooled": random_array((batch, config.frames, config.pooled_size), 1)}


def built(config: RPANConfig, backbone: keras.Model | None = None) -> keras.Model:
    keras.utils.set_random_seed(0)
    model = rpan(config, backbone)
    make_nonzero(model.weights)
    return model


def shapes(config: RPANConfig, batch: int = BATCH) -> dict[str, tuple[int, ...]]:
    maps = {"none": {}, "share_all": {"attention": 1}}.get(config.attention, {"attention": 15})
    found = {"logits": (batch, CLASSES), "step_logits": (batch, FRAMES, CLASSES)}
    return found | {name: (batch, FRAMES, joints, *CUBE[:2]) for name, joints in maps.items()}


@pytest.mark.parametrize("name", VARIANTS)
def test_variant(name, tmp_path):
    config = small(name)
    run_model_test(lambda: rpan(config), inputs_for(config), tmp_path=tmp_path, expected_output_shapes=shapes(config))


def test_variants_on_jax(tmp_path):
    models = {name: (built(small(name)), inputs_for(small(name))) for name in VARIANTS}
    found = outputs_on_jax(models, tmp_path)
    for name, (model, inputs) in models.items():
        for output, value in numpy_outputs(model, inputs).items():
            np.testing.assert_allclose(found[name][output], value, atol=1e-4, err_msg=f"{name}: {output}")


def test_presets_are_the_rows_of_tables_1_and_2():
    base = {name: asdict(preset(name, CLASSES)) for name in PRESETS}
    for data in ("sub_jhmdb", "penn_action"):
        whole = base[f"rpan_{data}"]
        changes = {
            row: {k: v for k, v in base[f"rpan_{data}_{row}"].items() if v != whole[k]}
            for row in ("without", "share_all", "separate_joint", "max", "mean")
        }
        assert changes == {
            "without": {"attention": "none"},
            "share_all": {"attention": "share_all"},
            "separate_joint": {"attention": "separate_joint"},
            "max": {"pooling": "max"},
            "mean": {"pooling": "mean"},
        }
        assert (whole["attention"], whole["pooling"]) == ("human_part", "concat")
    assert len(PRESETS) == 12


@pytest.mark.parametrize(
    ("name", "units", "attention_units", "places", "joints"),
    [("rpan_sub_jhmdb", 512, 32, (8, 10), 15), ("rpan_penn_action", 1024, 128, (9, 15), 13)],
)
def test_sizes_of_section_4_1(name, units, attention_units, places, joints):
    """v 1×32, A_h 32×512, A_c 32×1024, b 32×1 per part; 128, 1024 for Penn Action; 5 parts; gates of [S_t, h] in concat."""
    model = rpan(preset(name, 12))
    shape = {weight.path.split("/", 1)[1]: tuple(weight.shape) for weight in model.get_layer("pose_attention_lstm").weights}
    assert shape == {
        "cell/hidden_kernel": (units, 5 * attention_units),
        "cell/cube_kernel": (1024, 5 * attention_units),
        "cell/bias": (5 * attention_units,),
        "cell/joint_vectors": (joints, attention_units),
        "cell/cell/kernel": (5 * 1024, 4 * units),
        "cell/cell/recurrent_kernel": (units, 4 * units),
        "cell/cell/bias": (4 * units,),
    }
    assert model.output["attention"].shape == (None, 8, joints, *places)


@pytest.mark.parametrize("layout", ["jhmdb_15", "penn_13", "openpose_18", "coco_17", "kinect_v2"])
def test_parts_come_from_the_layout(layout):
    config = small(layout=layout)
    assert len(attention_parts(config)) == 5
    assert built(config).output["attention"].shape[2] == config.joints
    assert len(attention_parts(replace(config, attention="separate_joint"))) == config.joints
    assert attention_parts(replace(config, attention="share_all")) == ((0,),)


def test_logits_are_those_of_the_last_step():
    config = small()
    outputs = numpy_outputs(built(config), inputs_for(config))
    np.testing.assert_array_equal(outputs["logits"], outputs["step_logits"][:, -1])


def test_a_step_knows_nothing_of_later_frames():
    config = small()
    model, inputs = built(config), inputs_for(config)
    changed = {"cube": inputs["cube"].copy()}
    changed["cube"][:, -1] += 1
    one, other = numpy_outputs(model, inputs), numpy_outputs(model, changed)
    np.testing.assert_array_equal(one["step_logits"][:, :-1], other["step_logits"][:, :-1])
    assert np.abs(one["logits"] - other["logits"]).max() > 1e-4


# With a backbone --------------------------------------------------------------------------------------------------------------


def tiny_backbone(channels: int = 3) -> keras.Model:
    """(B, 4, 6, channels) → cube (B, 2, 3, 5), pooled (B, 7)."""
    picture = keras.Input((HEIGHT, WIDTH, channels), name="picture")
    cube = keras.layers.Conv2D(CUBE[2], 2, strides=2, name="conv")(picture)
    pooled = keras.layers.Dense(POOLED, name="after")(keras.ops.mean(cube, axis=(1, 2)))
    return keras.Model(picture, {"cube": cube, "pooled": pooled}, name="tiny")


@pytest.mark.parametrize("name", ["rpan_sub_jhmdb", "rpan_sub_jhmdb_without"])
@pytest.mark.parametrize("channels", [3, 10])
def test_backbone_becomes_a_part_of_the_model(name, channels):
    """Its cube or pooled feature frame by frame is what the head alone gets."""
    config, backbone = small(name), tiny_backbone(channels)
    head = built(config)
    model = with_backbone(config, head, backbone)
    clip = random_array((BATCH, FRAMES, HEIGHT, WIDTH, channels), 2)
    frames = [{name: np.asarray(value) for name, value in backbone(clip[:, t]).items()} for t in range(FRAMES)]
    used = "cube" if config.has_attention else "pooled"
    expected = numpy_outputs(head, {used: np.stack([frame[used] for frame in frames], axis=1)})
    found = numpy_outputs(model, {"clip": clip})
    for output, value in expected.items():
        np.testing.assert_allclose(found[output], value, atol=1e-5)
    after = any(layer.name == "after" for layer in model.get_layer(BACKBONE).layers)
    assert after == (used == "pooled")  # nothing is computed that is not used


def test_whole_network(tmp_path):
    config = small()
    inputs = {"clip": random_array((BATCH, FRAMES, HEIGHT, WIDTH, 3), 2)}
    run_model_test(
        lambda: rpan(config, tiny_backbone()), inputs, tmp_path=tmp_path, expected_output_shapes=shapes(config)
    )  # fmt: skip


def test_frozen_backbone_stays_frozen():
    backbone = tiny_backbone()
    backbone.trainable = False
    assert not rpan(small(), backbone).get_layer(BACKBONE).trainable_weights
    backbone = tiny_backbone()
    backbone.get_layer("conv").trainable = False
    assert not rpan(small(), backbone).get_layer(BACKBONE).trainable_weights


# Refused ----------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"classes": 1}, "classes is out of range"),
        ({"frames": 0}, "frames is out of range"),
        ({"units": 2.5}, "units is out of range"),
        ({"attention_units": True}, "attention_units is out of range"),
        ({"cube_shape": (8, 10)}, "cube_shape is"),
        ({"cube_shape": (8, 0, 5)}, "cube_shape is out of range"),
        ({"picture_size": (240,)}, "picture_size is"),
        ({"attention": "all"}, "unknown attention"),
        ({"pooling": "sum"}, "unknown pooling"),
        ({"layout": "fish"}, "unknown layout"),
        ({"heat_map_std": 0}, "heat_map_std is out of range"),
        ({"pose_weight": -1}, "pose_weight is out of range"),
        ({"action_weight": float("nan")}, "action_weight is out of range"),
    ],
)
def test_bad_configurations(fields, words):
    with pytest.raises(ConfigError, match=words):
        RPANConfig(**{"classes": CLASSES} | fields)


def test_unknown_preset():
    with pytest.raises(ConfigError, match="no such preset of RPAN"):
        preset("rpan", CLASSES)


def test_configuration_from_lists():
    assert RPANConfig(3, cube_shape=[1, 2, 3], picture_size=[4, 5]) == RPANConfig(3, cube_shape=(1, 2, 3), picture_size=(4, 5))


def test_what_has_a_pose_loss():
    found = {name: preset(name, 3).has_pose_loss for name in VARIANTS}
    assert [name for name, has in found.items() if not has] == ["rpan_sub_jhmdb_without", "rpan_sub_jhmdb_share_all"]
    assert not small(pose_weight=0.0).has_pose_loss


def test_features_that_do_not_fit():
    with pytest.raises(ConfigError, match="features do not fit"):
        rpan(small(cube_shape=(2, 2, 5)), tiny_backbone())
    backbone = tiny_backbone()
    with pytest.raises(ConfigError, match="gives a feature cube"):
        rpan(small(), keras.Model(backbone.input, {"pooled": backbone.output["pooled"]}))
    with pytest.raises(ConfigError, match="gives a feature cube"):
        rpan(small(), keras.Model(backbone.input, backbone.output["cube"]))
    with pytest.raises(ConfigError, match="without attention has no parts"):
        attention_parts(small(attention="none"))
