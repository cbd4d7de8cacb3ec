"""VPN: every variant of the paper's tables, size, the equations, larger maps, the loss, bad configurations."""

from __future__ import annotations

import dataclasses

import keras
import numpy as np
import pytest

from keras_actrec.errors import ConfigError
from keras_actrec.models.vpn import PRESETS, VPNConfig, preset, vpn, with_backbone
from keras_actrec.skeletons.graph import bone_graph, normalised_adjacency
from keras_actrec.training.vpn_objective import vpn_objective
from tests.harness import assert_same_outputs, make_nonzero, numpy_outputs, outputs_on_jax, random_array, run_model_test

BATCH, CLASSES = 3, 5
# Small, and every size different, so that a swapped axis shows.
SMALL = {
    "layout": "lcrnet_13",
    "poses": 7,
    "map_shape": (4, 2, 3, 6),
    "graph_units": 8,
    "pose_filters": (9, 10, 11),
    "lstm_units": 12,
    "lstm_layers": 2,
    "spatial_units": 14,
    "temporal_units": 15,
    "embedding_units": 16,
}
JOINTS = 13


def small(name: str) -> VPNConfig:
    return dataclasses.replace(preset(name, CLASSES), **SMALL)


def inputs_for(config: VPNConfig, batch: int = BATCH, **extra: tuple[int, ...]) -> dict[str, np.ndarray]:
    arrays = {"map": random_array((batch, *extra.get("map_shape", config.map_shape)), 1)}
    if config.attention != "none":
        arrays["pose"] = random_array((batch, config.poses, JOINTS, 3), 2)
    return arrays


def expected_shapes(name: str) -> dict[str, tuple[int, ...]]:
    """Outputs by the rows of the tables, written apart from the builder."""
    shapes = {"logits": (BATCH, CLASSES), "scores": (BATCH, CLASSES)}
    if name != "table1_l1":
        shapes["spatial_attention"] = (BATCH, 2, 3)
        shapes["attention"] = (BATCH, 4, 2, 3)
        if not name.startswith("table4"):
            shapes["temporal_attention"] = (BATCH, 4)
        if name not in ("table1_l2", "table4_lstm_without", "table4_gcn_without"):
            shapes["embedding_distance"] = (BATCH,)
    return shapes


@pytest.mark.parametrize("name", sorted({str(sorted(fields.items())): name for name, fields in PRESETS.items()}.values()))
def test_variant(name, tmp_path):
    """Every variant that is not another one's double, through the harness: shapes, graph, XLA, gradients, saving, bfloat16."""
    config = small(name)
    run_model_test(
        lambda: vpn(config), inputs_for(config), tmp_path=tmp_path, expected_output_shapes=expected_shapes(name)
    )  # fmt: skip


def test_variants_on_jax(tmp_path):
    cases = {}
    for name in ("vpn_paper", "vpn_official", "table1_l1", "table2_l4", "table3_kl_both", "table4_gcn_with"):
        model = vpn(small(name))
        make_nonzero(model.weights)
        cases[name] = (model, inputs_for(small(name)))
    found = outputs_on_jax(cases, tmp_path)
    for name, (model, inputs) in cases.items():
        assert_same_outputs(found[name], numpy_outputs(model, inputs), atol=1e-4)


def test_tables_list_the_rows_of_the_paper():
    """Tables 1 to 4: 3, 4, 4 and 4 rows; l3, l7 and the Euclidean loss are the whole network."""
    rows = {table: [name for name in PRESETS if name.startswith(f"table{table}")] for table in (1, 2, 3, 4)}
    assert {table: len(names) for table, names in rows.items()} == {1: 3, 2: 4, 3: 4, 4: 4}
    whole = preset("vpn_paper", 60)
    assert all(preset(name, 60) == whole for name in ("table1_l3", "table2_l7", "table3_euclidean"))


def test_parameter_count_of_the_default():
    """Section 4.1 for 25 joints, 20 poses and a map of 8×7×7×1024, 60 classes; by hand."""
    parts = {
        "pose_graph": 20 * 3 * 64,
        "pose_conv1": 9 * 67 * 64, "pose_norm1": 4 * 64,  # 64 values of the graph and 3 coordinates
        "pose_conv2": 9 * 64 * 64, "pose_norm2": 4 * 64,
        "pose_conv3": 9 * 64 * 128, "pose_norm3": 4 * 128,
        "spatial_hidden": (20 * 25 * 128 + 1) * 256, "spatial_latent": (256 + 1) * 49,
        "temporal_hidden": (20 * 25 * 128 + 1) * 128, "temporal_latent": (128 + 1) * 8,
        "embedding_distance": 7 * 7 * 1024 * 256 + 49 * 256,
        "classifier": (1024 + 1) * 60,
    }  # fmt: skip
    model = vpn(preset("vpn_paper", 60))
    assert {layer.name: layer.count_params() for layer in model.layers if layer.weights} == parts
    assert model.count_params() == sum(parts.values()) == 37_663_157


def test_equations():
    """Eq. 1 to 4 in plain numpy, at inference."""
    config = small("vpn_paper")
    model = vpn(config)
    make_nonzero(model.weights)
    w = {layer.name: [np.array(x, np.float64) for x in layer.get_weights()] for layer in model.layers if layer.weights}
    inputs = inputs_for(config)
    f, poses = inputs["map"].astype(np.float64), inputs["pose"].astype(np.float64)

    a = normalised_adjacency(bone_graph(config.joints))
    graph = np.einsum("ij,btjc,tcu->btiu", a, poses, w["pose_graph"][0])  # eq. 1
    x = np.concatenate([graph, poses], axis=-1)
    for number in (1, 2, 3):
        kernel = w[f"pose_conv{number}"][0]
        padded = np.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
        x = sum(
            padded[:, i : i + x.shape[1], j : j + x.shape[2]] @ kernel[i, j] for i in range(3) for j in range(3)
        )  # fmt: skip
        gamma, beta, mean, variance = w[f"pose_norm{number}"]
        x = np.maximum((x - mean) / np.sqrt(variance + 1e-3) * gamma + beta, 0)
    h = x.reshape(BATCH, -1)

    def z(name):
        (wh, bh), (wz, bz) = w[f"{name}_hidden"], w[f"{name}_latent"]
        return np.tanh(h @ wh + bh) @ wz + bz

    z1, z2 = z("spatial"), z("temporal")
    a_s = 1 / (1 + np.exp(-z1))
    a_t = np.exp(z2) / np.exp(z2).sum(axis=1, keepdims=True)  # eq. 2
    a_st = a_t[:, :, None, None] * a_s.reshape(BATCH, 1, 2, 3)
    modulated = a_st[..., None] * f + f
    features = modulated.mean(axis=(1, 2, 3))
    logits = features @ w["classifier"][0] + w["classifier"][1]
    scores = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    tv, tp = w["embedding_distance"]
    fe, pe = f.sum(axis=1).reshape(BATCH, -1) @ tv, z1 @ tp  # eq. 3
    unit = [v / np.linalg.norm(v, axis=1, keepdims=True) for v in (fe, pe)]
    distance = ((unit[0] - unit[1]) ** 2).sum(axis=1)  # eq. 4

    expected = {
        "logits": logits, "scores": scores, "spatial_attention": a_s.reshape(BATCH, 2, 3), "temporal_attention": a_t,
        "attention": a_st, "embedding_distance": distance,
    }  # fmt: skip
    assert_same_outputs(numpy_outputs(model, inputs), expected, atol=1e-5, rtol=1e-5)


def test_larger_maps_are_classified_at_every_place():
    """ "Fully convolutional inference in space": each window as if it were the map, softmax scores max-pooled."""
    for name in ("vpn_paper", "vpn_official"):
        config = small(name)
        model = vpn(config)
        make_nonzero(model.weights)
        larger = vpn(config, map_shape=(4, 3, 5, 6))
        larger.set_weights(model.get_weights())
        inputs = inputs_for(config, map_shape=(4, 3, 5, 6))
        found = numpy_outputs(larger, inputs)
        windows = [
            numpy_outputs(model, {**inputs, "map": inputs["map"][:, :, i : i + 2, j : j + 3]})
            for i in range(2) for j in range(3)
        ]  # fmt: skip
        scores = np.max([window["scores"] for window in windows], axis=0)
        np.testing.assert_allclose(found["scores"], scores, atol=1e-6)
        np.testing.assert_allclose(found["logits"], np.log(scores), atol=1e-5)
        distance = np.mean([window["embedding_distance"] for window in windows], axis=0)
        np.testing.assert_allclose(found["embedding_distance"], distance, atol=1e-5)
        assert np.abs(windows[0]["scores"] - windows[-1]["scores"]).max() > 1e-3  # the windows do differ


def tiny_backbone(side: int) -> keras.Model:
    """(B, 8, side, side, 3) → (B, 4, side / 4, side / 4, 6)."""
    clip = keras.Input((8, side, side, 3))
    x = keras.layers.Conv3D(6, 4, strides=(2, 4, 4), padding="same", activation="relu")(clip)
    return keras.Model(clip, keras.layers.BatchNormalization()(x))


def test_backbone_becomes_a_part_of_the_model():
    config = dataclasses.replace(small("vpn_paper"), map_shape=(4, 2, 2, 6))
    backbone = tiny_backbone(8)
    head = vpn(config)
    make_nonzero([*head.weights, *backbone.weights])
    clip, pose = random_array((BATCH, 8, 8, 8, 3), 3), random_array((BATCH, 7, JOINTS, 3), 4)
    whole = with_backbone(config, head, backbone)
    assert sorted(whole.input) == ["clip", "pose"]
    on_map = numpy_outputs(head, {"map": np.array(backbone(clip)), "pose": pose})
    assert_same_outputs(numpy_outputs(whole, {"clip": clip, "pose": pose}), on_map, atol=1e-6)
    # Larger clips for testing: the same weights.
    frame = tiny_backbone(12)
    frame.set_weights(backbone.get_weights())
    larger = with_backbone(config, head, frame)
    found = numpy_outputs(larger, {"clip": random_array((1, 8, 12, 12, 3), 5), "pose": pose[:1]})
    assert found["scores"].sum() > 1  # maxima of several places


def test_frozen_backbone_stays_frozen():
    backbone = tiny_backbone(8)
    backbone.trainable = False
    config = dataclasses.replace(small("vpn_paper"), map_shape=(4, 2, 2, 6))
    trainable = {weight.path for weight in vpn(config, backbone).trainable_weights}
    assert trainable and not any("backbone" in path for path in trainable)
    backbone.trainable = True
    assert len(vpn(config, backbone).trainable_weights) == len(trainable) + 4


@pytest.mark.parametrize(
    ("shape", "words"),
    [((4, 1, 3, 6), "does not fit"), ((5, 2, 3, 6), "does not fit"), ((4, 2, 3, 7), "does not fit")],
)
def test_maps_that_do_not_fit(shape, words):
    with pytest.raises(ConfigError, match=words) as error:
        vpn(small("vpn_paper"), map_shape=shape)
    assert str(shape) in str(error.value)


def test_loss_of_the_paper():
    """Eq. 5 and 6 by hand: λ1 L_C + (1 - λ1) L_e + λ2 L_a, λ1 = 0.8, λ2 = 1e-5."""
    objective = vpn_objective(preset("vpn_paper", 60))
    assert objective.weights == pytest.approx(
        {"logits": 0.8, "embedding_distance": 0.2, "spatial_attention": 1e-5, "temporal_attention": 1e-5}
    )
    zeros = np.zeros(2, np.float32)
    a_s = np.array([[[0.5, 1.0]], [[0.0, 0.25]]], np.float32)
    a_t = np.array([[0.25, 0.75], [1.0, 0.0]], np.float32)
    values = {name: float(loss(zeros, y)) for (name, loss), y in zip(
        objective.losses.items(), (np.array([0.5, 1.5], np.float32), a_s, a_t), strict=True
    )}  # fmt: skip
    spatial = ((0.5**2 + 1.0**2) + (0.25**2)) / 2
    temporal = ((0.75**2 + 0.25**2) + (0.0 + 1.0)) / 2
    assert values == pytest.approx({"embedding_distance": 1.0, "spatial_attention": spatial, "temporal_attention": temporal})


def test_loss_of_the_published_code():
    """99.9 · cross-entropy + 0.1 · mean of d² + 1e-5 · (1 - sum of the batch's attention)² for both attentions."""
    objective = vpn_objective(preset("vpn_official", 60))
    assert objective.weights == pytest.approx(
        {"logits": 99.9, "embedding_distance": 0.1, "spatial_attention": 1e-5, "temporal_attention": 1e-5}
    )
    zeros = np.zeros(2, np.float32)
    assert float(objective.losses["embedding_distance"](zeros, np.array([1.0, 3.0], np.float32))) == pytest.approx(5.0)
    attention = np.array([[0.5, 1.0], [0.0, 2.0]], np.float32)
    assert float(objective.losses["spatial_attention"](zeros, attention)) == pytest.approx((1 - 3.5) ** 2)


def test_loss_has_the_terms_of_the_variant():
    assert list(vpn_objective(preset("table1_l1", 60)).weights) == ["logits"]
    assert list(vpn_objective(preset("table1_l2", 60)).weights) == ["logits", "spatial_attention", "temporal_attention"]
    assert list(vpn_objective(preset("table4_gcn_with", 60)).weights) == ["logits", "embedding_distance", "spatial_attention"]


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"classes": 1}, "classes is out of range"),
        ({"poses": 0}, "poses is out of range"),
        ({"attention": "both"}, "unknown attention"),
        ({"pose_backbone": "gru"}, "unknown pose_backbone"),
        ({"embedding": "cosine"}, "unknown embedding"),
        ({"layout": "kinect"}, "unknown layout"),
        ({"code": "fork"}, "unknown code"),
        ({"map_shape": (8, 7, 7)}, "map_shape is"),
        ({"map_shape": (8, 7, 0, 1024)}, "map_shape is out of range"),
        ({"pose_filters": ()}, "pose_filters"),
        ({"pose_filters": (64, 0)}, "pose_filters is out of range"),
        ({"dropout": 1.0}, "dropout is out of range"),
        ({"bone_weight": -1.0}, "bone_weight is out of range"),
        ({"attention_penalty": float("nan")}, "attention_penalty is out of range"),
        ({"classification_weight": 1.5}, "λ1"),
        ({"attention": "none"}, "without attention there is no pose to embed"),
        ({"code": "official", "attention": "spatial"}, "one attention"),
        ({"code": "official", "pose_backbone": "lstm"}, "one pose_backbone"),
        ({"code": "official", "embedding": "kl_both"}, "one embedding loss"),
        ({"code": "official", "poses": 3}, "halves the poses"),
    ],
)
def test_bad_configurations(fields, words):
    with pytest.raises(ConfigError, match=words):
        VPNConfig(**{"classes": CLASSES, **fields})


def test_unknown_preset():
    with pytest.raises(ConfigError, match=r"no such preset of VPN.*vpn_paper"):
        preset("vpn", 60)
