"""Glimpse Clouds: every variant of the paper's tables, size, what stands around the recurrence, backbones, configurations."""

from __future__ import annotations

import dataclasses

import keras
import numpy as np
import pytest

from keras_actrec.errors import ConfigError
from keras_actrec.layers.glimpse_sampler import GlimpseSampler
from keras_actrec.models.glimpse_clouds import (
    PRESETS,
    RECURRENCE,
    GlimpseCloudsConfig,
    glimpse_clouds,
    glimpse_features,
    preset,
    with_backbone,
)
from tests.harness import assert_same_outputs, make_nonzero, numpy_outputs, outputs_on_jax, random_array, run_model_test

# Small, and every size different, so that a swapped axis shows; more glimpses than slots.
BATCH, CLASSES, FRAMES, GLIMPSES, WORKERS, JOINTS = 5, 6, 3, 2, 4, 13
SMALL = {
    "layout": "lcrnet_13",
    "frames": FRAMES,
    "glimpses": GLIMPSES,
    "workers": WORKERS,
    "map_shape": (3, 4, 7),
    "context_size": 8,
    "glimpse_units": 9,
    "worker_units": 10,
    "location_units": 11,
    "memory_slots": 3,
}


def small(name: str, **fields) -> GlimpseCloudsConfig:
    """`normalise_over="batch"` mixes the samples of a batch by definition, which the harness takes for a mistake."""
    config = preset(name, CLASSES)
    over = "clip" if config.normalise_over == "batch" else config.normalise_over
    return dataclasses.replace(config, **{**SMALL, "normalise_over": over, **fields})


def inputs_for(config: GlimpseCloudsConfig, batch: int = BATCH) -> dict[str, np.ndarray]:
    maps = random_array((batch, config.frames, *config.map_shape), 1)
    maps += random_array((batch, config.frames, 1, 1, config.map_shape[2]), 2)  # frames differ in their means too
    return {"map": maps, "context": random_array((batch, config.frames, config.context_size), 3)}


def built(config: GlimpseCloudsConfig, backbone: keras.Model | None = None) -> keras.Model:
    """With seeded weights."""
    model = glimpse_clouds(config, backbone)
    for index, weight in enumerate(model.weights):
        weight.assign(random_array(tuple(weight.shape), 10 + index, scale=0.35))
    return model


def weights_of(model: keras.Model, name: str) -> list[np.ndarray]:
    return [np.array(w, np.float64) for w in model.get_layer(name).get_weights()]


def expected_shapes(name: str) -> dict[str, tuple[int, ...]]:
    """Outputs by the rows of the tables, written apart from the builder."""
    shapes = {"logits": (BATCH, CLASSES), "pose": (BATCH, FRAMES, 2, JOINTS, 2)}
    if name not in ("global", "table3_global", "table3_global_pose"):
        workers = 1 if name in ("table3_summed", "table4_tubes") else WORKERS
        shapes["glimpses"] = (BATCH, FRAMES, GLIMPSES, 4)
        shapes["worker_logits"] = (BATCH, workers, CLASSES)
        if workers > 1:
            shapes["assignment"] = (BATCH, FRAMES, WORKERS, GLIMPSES)
    return shapes


def graph_of(name: str) -> str:
    """What decides the graph: without fields of the loss, and of the distance only whether it is trained."""
    fields = dataclasses.asdict(preset(name, CLASSES))
    fields["distance"] = fields["distance"] != "fixed"
    return str({k: v for k, v in fields.items() if k not in ("pose_loss", "glimpse_loss")})


@pytest.mark.parametrize("name", sorted({graph_of(name): name for name in reversed(PRESETS)}.values()))
def test_variant(name, tmp_path):
    """Every variant that is not another one's double, through the harness: shapes, graph, XLA, gradients, saving, bfloat16."""
    config = small(name)
    run_model_test(
        lambda: glimpse_clouds(config), inputs_for(config), tmp_path=tmp_path, model=built(config),
        expected_output_shapes=expected_shapes(name),
    )  # fmt: skip


def test_variants_on_jax(tmp_path):
    cases = {}
    names = ("glimpse_clouds_paper", "glimpse_clouds_official", "table3_clouds_and_global", "table4_tubes", "table4_random")
    for name in (*names, "encoding_concat"):
        cases[name] = (built(small(name)), inputs_for(small(name)))
    found = outputs_on_jax(cases, tmp_path)
    for name, (model, inputs) in cases.items():
        assert_same_outputs(found[name], numpy_outputs(model, inputs), atol=1e-5)


def test_tables_list_the_rows_of_the_paper():
    """Tables 3 and 4: 8 rows (the two of the whole network are one variant) and 4."""
    rows = {table: [name for name in PRESETS if name.startswith(f"table{table}")] for table in (3, 4)}
    assert {table: len(names) for table, names in rows.items()} == {3: 8, 4: 4}
    whole = preset("glimpse_clouds_paper", 60)
    assert all(preset(name, 60) == whole for name in ("table3_clouds_pose_glimpse", "table4_attention"))


def test_parameter_count_of_the_default():
    """Section 6 for maps of 7×7×2048, 60 classes, 2 people of 25 joints; by hand."""
    parts = {
        "pose_regression": (1024 + 1) * 2 * 25 * 2,
        RECURRENCE: (
            3 * (2048 + 512 + 1024 + 2) * 1024  # Ω, with both of Keras's biases
            + (1024 + 1024 + 1) * 4  # locations
            + (4 + 1) * 256 + (256 + 1) * 2048  # Λ
            + 3 * 3 * (2048 + 512 + 2) * 512  # Ψ
            + 3 * 3  # weights of the first frame
            + 2048 * 2048  # D
        ),
        "worker1_classifier": (512 + 1) * 60, "worker2_classifier": (512 + 1) * 60, "worker3_classifier": (512 + 1) * 60,
    }  # fmt: skip
    model = glimpse_clouds(preset("glimpse_clouds_paper", 60))
    assert {layer.name: layer.count_params() for layer in model.layers if layer.weights} == parts
    assert model.count_params() == sum(parts.values()) == 27_746_853
    assert model.input["map"].shape[1:] == (8, 7, 7, 2048) and model.input["context"].shape[1:] == (8, 1024)
    assert model.output["glimpses"].shape[1:] == (8, 3, 4)


def test_pose_and_global_model():
    """Eq. 13 squashed by tanh, order person, joint, x and y; logits from the mean over places and frames."""
    model, inputs = built(small("global")), inputs_for(small("global"))
    found = numpy_outputs(model, inputs)
    kernel, bias = weights_of(model, "pose_regression")
    pose = np.tanh(inputs["context"].astype(np.float64) @ kernel + bias)
    np.testing.assert_allclose(found["pose"], pose.reshape(BATCH, FRAMES, 2, JOINTS, 2), atol=1e-6)
    kernel, bias = weights_of(model, "global_classifier")
    mean = inputs["map"].astype(np.float64).mean(axis=(1, 2, 3))
    np.testing.assert_allclose(found["logits"], mean @ kernel + bias, atol=1e-5)


@pytest.mark.parametrize(
    "name", ["glimpse_clouds_paper", "glimpse_clouds_official", "table3_summed", "table3_clouds_and_global"]
)
def test_classifiers(name):
    """Eq. 11, q_c = W_c r_c of the last frame, for the published code the mean over frames; logits are means."""
    config = small(name)
    model, inputs = built(config), inputs_for(config)
    found = numpy_outputs(model, inputs)
    states = keras.Model(model.input, model.get_layer(RECURRENCE).output[2])(inputs)
    states = np.array(states, np.float64)
    q = []
    for c in range(states.shape[2]):
        kernel, bias = weights_of(model, f"worker{c + 1}_classifier")
        each = states[:, :, c] @ kernel + bias
        q.append(each.mean(axis=1) if config.code == "official" else each[:, -1])
    np.testing.assert_allclose(found["worker_logits"], np.stack(q, axis=1), atol=1e-5)
    logits = np.mean(q, axis=0)
    if config.has_global_classifier:
        kernel, bias = weights_of(model, "global_classifier")
        logits = (logits + inputs["map"].astype(np.float64).mean(axis=(1, 2, 3)) @ kernel + bias) / 2
    np.testing.assert_allclose(found["logits"], logits, atol=1e-5)
    assert len(q) == (1 if name == "table3_summed" else WORKERS)


def test_tubes():
    """A tube is the same crop of every frame; its feature is the mean over all frames' crops times Λ."""
    config = small("table4_tubes")
    model, inputs = built(config), inputs_for(config)
    glimpses = numpy_outputs(model, inputs)["glimpses"]
    np.testing.assert_array_equal(glimpses, np.repeat(glimpses[:, :1], FRAMES, axis=1))
    assert np.abs(glimpses[:, :, 0] - glimpses[:, :, 1]).max() > 1e-3
    layer = model.get_layer(RECURRENCE)
    crop = GlimpseSampler(3, 4)
    features = np.array(glimpse_features(model)(inputs))
    assert features.shape == (BATCH, GLIMPSES, 1, 7)
    for g in range(GLIMPSES):
        place = glimpses[:, 0, g]
        pooled = np.mean([np.array(crop(inputs["map"][:, t], place)).mean(axis=(1, 2)) for t in range(FRAMES)], axis=0)
        expected = pooled * np.array(layer.where(layer.where_hidden(place)))
        np.testing.assert_allclose(features[:, g, 0], expected, atol=1e-5)


def test_glimpse_features():
    """v of every glimpse, from the model's inputs, by the model's weights."""
    config = small("glimpse_clouds_paper")
    model, inputs = built(config), inputs_for(config)
    features = glimpse_features(model)
    found = np.array(features(inputs))
    assert found.shape == (BATCH, FRAMES, GLIMPSES, 7)
    layer = model.get_layer(RECURRENCE)
    layer.where.kernel.assign(layer.where.kernel * 0)
    layer.where.bias.assign(layer.where.bias * 0)
    assert np.abs(found).max() > 0.1 and np.abs(features(inputs)).max() == 0
    with pytest.raises(ConfigError, match=r"has no glimpses.*another variant than the global model"):
        glimpse_features(glimpse_clouds(small("global")))


def test_presets_decide_the_recurrence():
    """What a row of the tables says reaches the layer."""
    layers = {name: glimpse_clouds(small(name)).get_layer(RECURRENCE) for name in (
        "glimpse_clouds_official", "table3_summed", "table4_saliency", "distance_fixed", "encoding_concat", "table4_tubes",
    )}  # fmt: skip
    official = layers["glimpse_clouds_official"]
    assert official.official and official.metric.squared and official.metric.maximum == 1e5
    assert not any("distance" in weight.path for weight in official.trainable_weights)
    assert not any("distance" in weight.path for weight in layers["distance_fixed"].trainable_weights)
    assert layers["table3_summed"].pooling == "sum" and layers["table3_summed"].workers == 1
    assert layers["table4_saliency"].attention == "saliency" and layers["encoding_concat"].encoding == "concat"
    tubes = layers["table4_tubes"]
    assert (tubes.attention, tubes.pooling, tubes.glimpses, tubes.workers) == ("sequential", "sum", 1, 1)
    config = preset("glimpse_clouds_official", 60)
    assert (config.glimpse_units, config.worker_units, config.temperature, config.normalise_over) == (512, 512, 0.5, "batch")
    aligned = glimpse_clouds(small("glimpse_clouds_paper", align_corners=True, memory_slots=2, temperature=0.25))
    layer = aligned.get_layer(RECURRENCE)
    assert (layer.align_corners, layer.memory_slots, layer.temperature) == (True, 2, 0.25)


# Backbones.


def tiny_backbone(frames: int = FRAMES) -> keras.Model:
    """(B, T, 12, 16, 3) → maps (B, T, 3, 4, 7) and (B, T, 6, 8, 8)."""
    clip = keras.Input((frames, 12, 16, 3), name="clip")
    early = keras.layers.Conv3D(8, (1, 2, 2), strides=(1, 2, 2), activation="relu", name="early")(clip)
    late = keras.layers.Conv3D(7, (1, 2, 2), strides=(1, 2, 2), name="late")(
        keras.layers.BatchNormalization(name="norm")(early)
    )
    return keras.Model(clip, {"map": late, "pose_map": early}, name="tiny")


def backbone_config(name: str = "glimpse_clouds_paper") -> GlimpseCloudsConfig:
    return small(name)


@pytest.mark.parametrize("name", ["glimpse_clouds_paper", "global"])
def test_backbone_becomes_a_part_of_the_model(name):
    """The whole network has all weights of head and backbone, and takes RGB alone."""
    config, backbone = small(name), tiny_backbone()
    head = built(config)
    make_nonzero(backbone.weights)
    whole = with_backbone(config, head, backbone)
    assert list(whole.input) == ["clip"]
    clip = random_array((BATCH, FRAMES, 12, 16, 3), 4)
    maps = backbone(clip)
    context = np.array(maps["pose_map"]).mean(axis=(2, 3))  # section 4.4
    on_maps = numpy_outputs(head, {"map": np.array(maps["map"]), "context": context})
    assert_same_outputs(numpy_outputs(whole, {"clip": clip}), on_maps, atol=1e-5)
    by_path = {weight.path: np.array(weight) for weight in whole.weights}
    for weight in head.weights:
        np.testing.assert_array_equal(by_path.pop(weight.path), np.array(weight), err_msg=weight.path)
    assert len(by_path) == len(backbone.weights)  # whose values were compared through the outputs


def test_whole_network(tmp_path):
    """With a backbone inside, through the harness."""
    config = small("glimpse_clouds_paper")
    clip = random_array((2, FRAMES, 12, 16, 3), 4)
    run_model_test(lambda: glimpse_clouds(config, tiny_backbone()), {"clip": clip}, tmp_path=tmp_path)


def test_frozen_backbone_stays_frozen():
    config, backbone = small("glimpse_clouds_paper"), tiny_backbone()
    head = len(glimpse_clouds(config).trainable_weights)
    assert len(glimpse_clouds(config, backbone).trainable_weights) == head + 6
    backbone.get_layer("norm").trainable = False  # one layer alone
    assert len(glimpse_clouds(config, backbone).trainable_weights) == head + 4
    backbone.trainable = False
    whole = glimpse_clouds(config, backbone)
    assert len(whole.trainable_weights) == head and not whole.get_layer("backbone").trainable


def test_backbones_of_wrong_outputs():
    config = small("glimpse_clouds_paper")
    clip = keras.Input((FRAMES, 12, 16, 3))
    maps = tiny_backbone()(clip)
    for output, found in (
        (maps["map"], "KerasTensor"),
        ({"map": maps["map"]}, r"\['map'\]"),
        (list(maps.values()), "KerasTensor"),
    ):
        with pytest.raises(ConfigError, match=rf"gives two maps \(found .*{found}.*expected map and pose_map"):
            glimpse_clouds(config, keras.Model(clip, output))
    for fields, backbone in (
        ({"map_shape": (3, 4, 6)}, tiny_backbone()), ({"map_shape": (4, 3, 7)}, tiny_backbone()),
        ({"context_size": 7}, tiny_backbone()), ({}, tiny_backbone(frames=4)),
    ):  # fmt: skip
        with pytest.raises(ConfigError, match=r"do not fit the configuration.*Set frames, map_shape and context_size"):
            glimpse_clouds(dataclasses.replace(config, **fields), backbone)


# Configurations.


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"classes": 1}, r"classes is out of range.*at least 2"),
        ({"classes": 2.0}, "classes is out of range"),
        ({"glimpses": 0}, "glimpses is out of range"),
        ({"workers": True}, "workers is out of range"),
        ({"memory_slots": 0}, "memory_slots is out of range"),
        ({"frames": 0}, "frames is out of range"),
        ({"people": 0}, "people is out of range"),
        ({"location_units": -1}, "location_units is out of range"),
        ({"code": "fork"}, r"unknown code.*paper \| official"),
        ({"model": "local"}, "unknown model"),
        ({"attention": "soft"}, "unknown attention"),
        ({"encoding": "sum"}, "unknown encoding"),
        ({"distance": "euclidean"}, "unknown distance"),
        ({"normalise_over": "sample"}, "unknown normalise_over"),
        ({"layout": "kinect"}, "unknown layout"),
        ({"map_shape": (7, 7)}, "map_shape is"),
        ({"map_shape": (7, 0, 2048)}, "map_shape is out of range"),
        ({"temperature": 0.0}, "temperature is out of range"),
        ({"temperature": float("nan")}, "temperature is out of range"),
        ({"pose_weight": -0.1}, "pose_weight is out of range"),
        ({"glimpse_weight": float("inf")}, "glimpse_weight is out of range"),
        ({"model": "global"}, r"no glimpses to attract.*Set glimpse_loss=False"),
        ({"code": "official", "attention": "saliency"}, "the published code knows one attention"),
        ({"code": "official", "encoding": "concat"}, "the published code knows one encoding"),
        ({"code": "official", "model": "summed"}, r"no such model.*Take code='paper'"),
    ],
)
def test_bad_configurations(fields, words):
    with pytest.raises(ConfigError, match=words):
        GlimpseCloudsConfig(**{"classes": CLASSES, **fields})


def test_configuration_from_lists():
    assert GlimpseCloudsConfig(classes=3, map_shape=[7, 7, 2048]) == GlimpseCloudsConfig(classes=3)
    assert GlimpseCloudsConfig(classes=3).joints == 25


def test_unknown_preset():
    with pytest.raises(ConfigError, match=r"no such preset of Glimpse Clouds.*glimpse_clouds_paper"):
        preset("glimpse_clouds", 60)
