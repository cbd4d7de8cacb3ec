"""STA-Hands: size, every variant of the paper's tables, the equations, the two stages, bad configurations."""

from __future__ import annotations

import dataclasses
from math import prod

import keras
import numpy as np
import pytest

from keras_actrec.errors import ConfigError
from keras_actrec.models.sta_hands import (
    PRESETS,
    STAHandsConfig,
    freeze_pose_network,
    pose_network_layers,
    pose_stream,
    preset,
    rgb_stream,
    sta_hands,
    without_pose_classifier,
)
from tests.harness import make_nonzero, numpy_outputs, outputs_on_jax, random_array, run_model_test

BATCH, CLASSES = 3, 5
# Small, and every size different, so that a swapped axis shows. 9 → 4 → 2 frames: pooling rounds down on the way.
SMALL = {
    "frames": 9,
    "feature_size": 6,
    "pose_filters": (2, 3),
    "tcn_units": 4,
    "tcn_blocks": 3,
    "pose_features": 10,
    "lstm_units": 7,
    "spatial_attention_units": 8,
    "temporal_attention_units": 11,
    "temporal_features": 12,
}


def small(name: str) -> STAHandsConfig:
    """A preset with small layers; the pose tensor keeps the paper's ratio of widths, 30 and 15 columns for 300 and 150."""
    config = preset(name, CLASSES)
    return dataclasses.replace(config, **SMALL, pose_width=config.pose_width // 10)


def inputs_for(config: STAHandsConfig, batch: int = BATCH) -> dict[str, np.ndarray]:
    arrays = {}
    if config.has_pose_network:
        arrays["pose"] = random_array((batch, config.frames, config.pose_width, 3), 1)
    if config.has_rgb_stream:
        arrays["hands"] = random_array((batch, config.frames, config.hands, config.feature_size), 2)
    return arrays


def expected_shapes(config: STAHandsConfig) -> dict[str, tuple[int, ...]]:
    """Outputs by the rules of the tables, written apart from the builder."""
    shapes = {"logits": (BATCH, CLASSES)}
    if config.streams != "rgb":
        shapes["pose_logits"] = (BATCH, CLASSES)
    if config.streams != "rgb" or config.pose_conditioning:
        shapes["pose_features"] = (BATCH, config.pose_features)
    if config.streams != "pose":
        shapes["rgb_logits"] = (BATCH, CLASSES)
        if config.hand_pooling == "attention":
            shapes["spatial_attention"] = (BATCH, config.frames, config.hands)
        if config.temporal_pooling == "attention":
            shapes["temporal_attention"] = (BATCH, config.frames)
    return shapes


def test_parameter_count_of_the_default():
    """Section 4: "The full model (without glimpse sensor) has 38 millions trainable parameters"."""
    parts = {
        "pose_conv1": 8 * 3 * 3 * 32 + 32,  # 2,336
        "pose_conv2": 8 * 3 * 32 * 64 + 64,  # 49,216
        "pose_features": 5 * 75 * 64 * 1024 + 1024,  # 24,577,024: the 5×75 convolution
        "pose_logits": 1024 * 60 + 60,  # 61,500
        # attention MLP 525,572: [h, s] 2048 → 256 → 4 hands; LSTM 12,587,008: 4 gates, 2048 inputs, 1024 states, 1 bias
        "spatial_attention_lstm": (2048 * 256 + 256 + 256 * 4 + 4) + 4 * 1024 * (2048 + 1024 + 1),
        "temporal_attention": (20 * 4 + 1024) * 512 + 512 + 512 * 20 + 20,  # 576,020: [P, s] 1104 → 512 → 20 steps
        "step_features": 1024 * 256 + 256,  # 262,400
        "rgb_logits": 256 * 60 + 60,  # 15,420
    }
    model = sta_hands(STAHandsConfig(classes=60))
    assert {layer.name: layer.count_params() for layer in model.layers if layer.weights} == parts
    assert sum(parts.values()) == 38_656_496
    assert sum(prod(weight.shape) for weight in model.trainable_weights) == 38_656_496


def test_feature_maps_of_the_default():
    """Section 4: inputs 20×300×3, feature maps 10×150, 5×75 and 1×1×1024."""
    model = pose_stream(sta_hands(preset("table6_a", 60)))
    assert model.input["pose"].shape == (None, 20, 300, 3)
    assert model.get_layer("pose_pool1").output.shape == (None, 10, 150, 32)
    assert model.get_layer("pose_pool2").output.shape == (None, 5, 75, 64)
    assert model.get_layer("pose_features").output.shape == (None, 1024)
    assert model.get_layer("pose_conv1").kernel_size == model.get_layer("pose_conv2").kernel_size == (8, 3)


def test_odd_maps_are_pooled_with_rounding_down():
    """Without repeated joints: 25 joints · 2 people · 3 = 150 columns → 75 → 37."""
    model = sta_hands(preset("table4_no_repeats", 60))
    assert model.input["pose"].shape == (None, 20, 150, 3)
    assert model.get_layer("pose_pool2").output.shape == (None, 5, 37, 64)


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset(name, tmp_path):
    config = small(name)
    run_model_test(
        lambda: sta_hands(config), inputs_for(config), expected_output_shapes=expected_shapes(config), tmp_path=tmp_path
    )


def test_presets_cover_the_tables():
    """Three rows of Table 4, four of Table 5, eight of Table 6; the ticks of Table 6 read off the paper."""
    assert sorted(PRESETS) == sorted(
        ["sta_hands_paper"]
        + ["table4_random", "table4_no_repeats", "table4_topological"]
        + [f"table5_{modality}_{c}" for modality in ("rgb", "multimodal") for c in ("conditioned", "unconditioned")]
        + [f"table6_{row}" for row in "abceghik"]
        + ["pose_res_tcn", *(f"sta_hands_res_tcn{end}" for end in ("", "_no_attention", "_unconditioned"))]
    )
    assert preset("sta_hands_paper", 60) == preset("table6_k", 60) == STAHandsConfig(classes=60)
    # row: pose stream, RGB stream, spatial attention, temporal attention, pose network (its own stream, or "o")
    ticks = {
        "a": (True, False, False, False, True),
        "b": (False, True, False, False, False),
        "c": (False, True, False, False, False),
        "e": (False, True, True, False, True),
        "g": (False, True, True, True, True),
        "h": (True, True, False, False, True),
        "i": (True, True, True, False, True),
        "k": (True, True, True, True, True),
    }
    for row, expected in ticks.items():
        outputs = sta_hands(small(f"table6_{row}")).output
        names = ("pose_logits", "rgb_logits", "spatial_attention", "temporal_attention", "pose_features")
        assert tuple(name in outputs for name in names) == expected, row


def test_res_tcn_sees_a_column_as_a_channel_and_halves_the_time_after_every_second_block():
    """20 frames → 10; the mean over time is left out of it: a clip that is the same in every frame gives the same anywhere."""
    model = sta_hands(dataclasses.replace(preset("pose_res_tcn", 60), tcn_blocks=4))
    assert model.get_layer("pose_columns").output.shape == (None, 20, 900)
    assert [model.get_layer(f"pose_block{b}_relu").output.shape[1:] for b in (2, 3, 4)] == [(20, 128), (10, 128), (10, 128)]
    assert model.output["pose_features"].shape == (None, 1024)


def test_res_tcn_equals_its_definition_in_numpy():
    """Written out with plain loops: stem, one block of two convolutions with an identity beside it, mean over time."""
    config = dataclasses.replace(small("pose_res_tcn"), tcn_units=3, tcn_blocks=1, tcn_kernel=5)
    model = sta_hands(config)
    make_nonzero(model.weights)
    pose = inputs_for(config)["pose"]

    def norm(values, name):
        gamma, beta, mean, variance = (np.asarray(w) for w in model.get_layer(f"pose_{name}_norm").weights)
        return (values - mean) / np.sqrt(variance + 1e-3) * gamma + beta

    def convolve(values, name):
        (kernel,) = (np.asarray(w) for w in model.get_layer(f"pose_{name}_conv").weights)
        reach = len(kernel) // 2
        padded = np.pad(values, ((0, 0), (reach, reach), (0, 0)))
        length = values.shape[1]
        return norm(sum(padded[:, k : k + length] @ kernel[k] for k in range(len(kernel))), name)

    steps = norm(pose.reshape(*pose.shape[:2], -1), "input")
    steps = np.maximum(convolve(steps, "stem"), 0)
    steps = np.maximum(steps + convolve(np.maximum(convolve(steps, "block1a"), 0), "block1b"), 0)
    kernel, bias = (np.asarray(w) for w in model.get_layer("pose_features").weights)
    expected = np.maximum(steps.mean(axis=1) @ kernel + bias, 0)
    np.testing.assert_allclose(numpy_outputs(model, {"pose": pose})["pose_features"], expected, rtol=1e-4, atol=1e-4)


def test_variants_between_the_presets(tmp_path):
    """Sum of hands under temporal attention, allowed by pose features alone: no P to read."""
    config = dataclasses.replace(small("table6_g"), hand_pooling="sum")
    run_model_test(
        lambda: sta_hands(config), inputs_for(config), expected_output_shapes=expected_shapes(config), tmp_path=tmp_path
    )


@pytest.mark.parametrize("name", ["table6_b", "table6_c"])
def test_hands_are_summed_or_concatenated(name):
    """Hands in another order: the same for the sum, another result for the concatenation."""
    config = small(name)
    model = sta_hands(config)
    hands = inputs_for(config)["hands"]
    logits = numpy_outputs(model, {"hands": hands})["logits"]
    swapped = numpy_outputs(model, {"hands": hands[:, :, ::-1]})["logits"]
    assert np.allclose(logits, swapped, atol=1e-6) == (name == "table6_b")


def relu(x):
    return np.maximum(x, 0)


def convolution_8x3(maps, kernel, bias):
    """'same' padding of TensorFlow: an 8-row kernel takes 3 rows above and 4 below, a 3-column one 1 and 1."""
    rows, columns, _ = maps.shape
    padded = np.pad(maps, ((3, 4), (1, 1), (0, 0)))
    out = np.empty((rows, columns, kernel.shape[-1]))
    for r in range(rows):
        for c in range(columns):
            out[r, c] = np.tensordot(padded[r : r + 8, c : c + 3], kernel, axes=3) + bias
    return out


def max_pool(maps):
    rows, columns, filters = maps.shape[0] // 2, maps.shape[1] // 2, maps.shape[2]
    return maps[: 2 * rows, : 2 * columns].reshape(rows, 2, columns, 2, filters).max(axis=(1, 3))


def test_whole_network_equals_the_equations_of_the_paper():
    """Equations 1, 6 and 7, pooling, classifiers and fusion in plain numpy; equations 3 to 5 have their own test."""
    config = small("sta_hands_paper")
    model = sta_hands(config)
    make_nonzero(model.weights)
    inputs = inputs_for(config)
    outputs = numpy_outputs(model, inputs)
    weights = {layer.name: [np.array(w, "float64") for w in layer.weights] for layer in model.layers}
    states, p = model.get_layer("spatial_attention_lstm")(inputs["hands"], outputs["pose_features"])
    states, p = np.array(states, "float64"), np.array(p, "float64")

    for b in range(BATCH):
        # eq. 1: s = f_sk(X): conv 8×3, pool, conv 8×3, pool, conv over the whole map, ReLU after each convolution
        maps = max_pool(relu(convolution_8x3(inputs["pose"][b], *weights["pose_conv1"])))
        maps = max_pool(relu(convolution_8x3(maps, *weights["pose_conv2"])))
        kernel, bias = weights["pose_features"]
        s = relu(np.tensordot(maps, kernel.reshape(*maps.shape, -1), axes=3) + bias)
        # eq. 6: u_t = f_u(h_t), one linear layer with ReLU
        u = relu(states[b] @ weights["step_features"][0] + weights["step_features"][1])
        # eq. 7: p' = f'_p(P, s), one sigmoid hidden layer; ũ = U p'
        w1, b1, w2, b2 = weights["temporal_attention"]
        scores = 1 / (1 + np.exp(-(np.concatenate([p[b].ravel(), s]) @ w1 + b1))) @ w2 + b2
        p_time = np.exp(scores) / np.exp(scores).sum()
        u_pooled = u.T @ p_time
        # section 3.4: a linear classifier each, logits added
        pose_logits = s @ weights["pose_logits"][0] + weights["pose_logits"][1]
        rgb_logits = u_pooled @ weights["rgb_logits"][0] + weights["rgb_logits"][1]

        for name, expected in {
            "pose_features": s,
            "spatial_attention": p[b],
            "temporal_attention": p_time,
            "pose_logits": pose_logits,
            "rgb_logits": rgb_logits,
            "logits": pose_logits + rgb_logits,
        }.items():
            np.testing.assert_allclose(outputs[name][b], expected, atol=1e-5, rtol=1e-5, err_msg=name)


def test_last_pose_convolution_is_the_dense_layer():
    """A 'valid' Keras convolution over the whole map with the same numbers gives the same s."""
    config = small("table6_a")
    model = sta_hands(config)
    make_nonzero(model.weights)
    inputs = inputs_for(config)
    maps = keras.Model(model.input, model.get_layer("pose_pool2").output)(inputs)
    kernel, bias = model.get_layer("pose_features").get_weights()
    convolution = keras.layers.Conv2D(config.pose_features, maps.shape[1:3], activation="relu")
    convolution.build(maps.shape)
    convolution.set_weights([kernel.reshape(convolution.kernel.shape), bias])
    s = np.array(convolution(maps))[:, 0, 0]
    np.testing.assert_allclose(numpy_outputs(model, inputs)["pose_features"], s, atol=1e-5)


def test_streams_share_layers_with_the_model():
    config = small("sta_hands_paper")
    model = sta_hands(config)
    inputs = inputs_for(config)
    outputs = numpy_outputs(model, inputs)
    pose, rgb = pose_stream(model), rgb_stream(model)
    np.testing.assert_array_equal(pose({"pose": inputs["pose"]}), outputs["pose_logits"])
    np.testing.assert_array_equal(rgb(inputs), outputs["rgb_logits"])
    assert (pose.output_names, rgb.output_names) == (["pose_logits"], ["rgb_logits"])
    of_model = {id(weight) for weight in model.weights}
    assert {id(weight) for weight in (*pose.weights, *rgb.weights)} == of_model


def test_streams_that_a_variant_lacks_are_refused():
    with pytest.raises(ConfigError, match=r"no rgb stream.*Build it with streams='both'"):
        rgb_stream(sta_hands(small("table6_a")))
    with pytest.raises(ConfigError, match=r"no pose stream.*Build it with streams='both'"):
        pose_stream(sta_hands(small("table6_g")))
    with pytest.raises(ConfigError, match="no pose network to freeze"):
        freeze_pose_network(sta_hands(small("table6_b")))


def train_two_steps(stream: keras.Model, inputs) -> None:
    keras.utils.set_random_seed(3)
    stream.compile(keras.optimizers.Adam(0.01), keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    for _ in range(2):
        stream.train_on_batch(inputs, np.arange(len(inputs["pose"])) % CLASSES)


def test_stage_two_leaves_the_pose_network_alone():
    """Section 4: "The RGB stream model is trained with pose parameters θ_sk and glimpse parameters θ_g frozen"."""
    config = small("sta_hands_paper")
    model = sta_hands(config)
    frozen = {id(weight) for layer in pose_network_layers(model) for weight in layer.weights}
    assert len(frozen) == 8  # kernel and bias of two convolutions, of s, of the classifier
    freeze_pose_network(model)
    before = [np.array(weight) for weight in model.weights]
    train_two_steps(rgb_stream(model), inputs_for(config, batch=8))
    for weight, old in zip(model.weights, before, strict=True):
        if "float" in weight.dtype:
            assert bool(np.any(np.array(weight) != old)) == (id(weight) not in frozen), weight.path


def test_without_freezing_stage_two_would_move_the_pose_network():
    """The counterpart: s carries a gradient, so that the test above can fail."""
    config = small("sta_hands_paper")
    model = sta_hands(config)
    kernel = model.get_layer("pose_conv1").kernel
    before = np.array(kernel)
    train_two_steps(rgb_stream(model), inputs_for(config, batch=8))
    assert np.any(np.array(kernel) != before)


def test_dropout_sits_before_the_classifiers_only():
    """In training mode pose features and attention stay as they are; both logits change."""
    config = small("sta_hands_paper")
    model = sta_hands(config)
    inputs = inputs_for(config)
    keras.utils.set_random_seed(0)
    training = {name: np.array(value) for name, value in model(inputs, training=True).items()}
    for name, value in numpy_outputs(model, inputs).items():
        same = np.allclose(training[name], value, atol=1e-6)
        assert same == (not name.endswith("logits")), name


def test_logits_stay_float32_under_mixed_precision():
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        outputs = sta_hands(small("sta_hands_paper")).output
    finally:
        keras.config.set_dtype_policy("float32")
    dtypes = {name: tensor.dtype for name, tensor in outputs.items()}
    assert dtypes.pop("pose_features") == "bfloat16"
    assert set(dtypes.values()) == {"float32"}


def test_jax_gives_the_same_outputs(tmp_path):
    """Every variant with small layers, and the paper's sizes once, within 1e-4 of TensorFlow."""
    cases = {}
    for config, name in {small(name): name for name in PRESETS}.items():  # presets of different tables may be one variant
        model = sta_hands(config)
        make_nonzero(model.weights)
        cases[name] = (model, inputs_for(config))
    config = STAHandsConfig(classes=60)
    cases["full_size"] = (sta_hands(config), inputs_for(config))
    found = outputs_on_jax(cases, tmp_path)
    for case, (model, inputs) in cases.items():
        expected = numpy_outputs(model, inputs)
        assert sorted(found[case]) == sorted(expected)
        for name, value in expected.items():
            np.testing.assert_allclose(found[case][name], value, rtol=1e-5, atol=1e-4, err_msg=f"{case}: {name}")


def test_unknown_preset_names_those_that_exist():
    with pytest.raises(ConfigError, match=r"found 'table6_z', expected sta_hands_paper, table4_random"):
        preset("table6_z", 60)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"classes": 1}, "classes is out of range .found 1, expected an integer of at least 2"),
        ({"classes": 60.0}, "classes is out of range .found 60.0"),
        ({"frames": 3}, "frames is out of range .found 3, expected an integer of at least 4"),
        ({"pose_width": 0}, "pose_width is out of range"),
        ({"lstm_units": -1}, "lstm_units is out of range"),
        ({"hands": True}, "hands is out of range"),
        ({"pose_filters": ()}, "pose_filters needs at least one positive number"),
        ({"pose_filters": (32, 0)}, "pose_filters needs at least one positive number"),
        ({"dropout": 1.0}, "dropout is out of range"),
        ({"tcn_input_dropout": -0.1}, "tcn_input_dropout is out of range"),
        ({"pose_network": "res_tcn", "tcn_blocks": 0}, "tcn_blocks is out of range"),
        (
            {"pose_network": "res_tcn", "tcn_blocks": 5, "frames": 3},
            "frames is out of range .found 3, expected an integer of at",
        ),
        ({"pose_network": "gcn"}, r"unknown pose_network .found 'gcn', expected convolutional \| res_tcn"),
        ({"streams": "depth"}, r"unknown streams .found 'depth', expected both \| pose \| rgb"),
        ({"hand_pooling": "max"}, r"unknown hand_pooling .found 'max', expected attention \| sum \| concat"),
        ({"temporal_pooling": "max"}, "unknown temporal_pooling"),
        (
            {"hand_pooling": "sum", "pose_conditioning": False},
            "temporal attention has no input.*Set temporal_pooling='mean', or pose_conditioning=True",
        ),
        (
            {"hand_pooling": "concat", "temporal_pooling": "mean"},
            "pose_conditioning without any attention to condition.*Set pose_conditioning=False",
        ),
    ],
)
def test_bad_configurations_are_refused(changes, message):
    with pytest.raises(ConfigError, match=message):
        STAHandsConfig(**({"classes": 60} | changes))


def test_filters_may_come_as_a_list():
    assert STAHandsConfig(classes=60, pose_filters=[32, 64]) == STAHandsConfig(classes=60)


def test_rgb_only_model_of_a_trained_one_keeps_its_numbers():
    """Rows E and G of Table 6: the pose steers the attention, its classifier has no say."""
    config = dataclasses.replace(small("table6_k"), streams="both")
    model, inputs = sta_hands(config), inputs_for(config)
    whole, alone = numpy_outputs(model, inputs), numpy_outputs(without_pose_classifier(model), inputs)
    assert set(alone) == set(expected_shapes(dataclasses.replace(config, streams="rgb")))
    np.testing.assert_array_equal(alone["logits"], whole["rgb_logits"])
    np.testing.assert_array_equal(alone["spatial_attention"], whole["spatial_attention"])


def test_pose_only_model_has_no_rgb_stream_to_keep():
    with pytest.raises(ConfigError, match="has no rgb stream"):
        without_pose_classifier(sta_hands(small("table6_a")))
