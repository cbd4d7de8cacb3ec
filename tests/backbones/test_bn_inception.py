"""BN-Inception: preprocessing, Caffe's geometry, shapes. The published numbers: tests/convert/test_tsn_bn_inception.py."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from keras_actrec.backbones.bn_inception import BLOCKS, TSNNormalisation, bn_inception
from keras_actrec.backbones.dtypes import with_dtype
from keras_actrec.backbones.random_weights import randomise
from keras_actrec.errors import ConfigError
from tests.harness import (
    assert_same_outputs,
    make_nonzero,
    numpy_outputs,
    outputs_on_jax,
    random_array,
    run_layer_test,
    run_model_test,
)

SIZE = (37, 50)  # rows and columns: 19 × 25 before the first pooling, 9 × 12, 4 × 6 at 3b, 2 × 3 at 4d, 1 × 2 at the end


def pictures(size: tuple[int, int] = SIZE, channels: int = 3, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).uniform(-1, 1, (2, *size, channels)).astype(np.float32)


def small(channels: int = 3) -> keras.Model:
    return bn_inception(channels=channels, picture_size=SIZE, narrowing=16)


def named(model: keras.Model) -> keras.Model:
    """With a dictionary of inputs, as the harness takes models."""
    return keras.Model({"picture": model.input}, model.output)


@pytest.fixture(scope="module")
def calibrated():
    """Cube and features below 1, so that the harness's tolerances mean what they say."""
    model = small()
    randomise(model, 0, pictures(seed=1))
    make_nonzero([weight for weight in model.weights if "variance" not in weight.name])
    for name in ("1x1", "3x3", "double_3x3_2", "pool_proj"):
        layer = model.get_layer(f"inception_5a_{name}_bn")
        layer.gamma.assign(0.01 * layer.gamma)
    return model


# Preprocessing.


def test_colours_by_hand():
    pixel = np.array([255, 0, 51], np.float32).reshape(1, 1, 1, 3) / 127.5 - 1  # R, G, B
    found = np.asarray(TSNNormalisation()(pixel)).reshape(3)
    np.testing.assert_allclose(found, [51 - 104, 0 - 117, 255 - 123], atol=1e-4)


def test_flow_by_hand():
    planes = np.array([0, 128, 255, 1], np.float32).reshape(1, 1, 1, 4) / 127.5 - 1
    np.testing.assert_allclose(np.asarray(TSNNormalisation()(planes)).reshape(4), [-128, 0, 127, -127], atol=1e-4)


@pytest.mark.parametrize("channels", [3, 10])
def test_preprocessing_as_a_layer(channels, tmp_path):
    run_layer_test(
        TSNNormalisation,
        init_kwargs={},
        inputs={"picture": random_array((2, 3, 4, channels), 1)},
        expected_output_shapes=((2, 3, 4, channels),),
        expected_weights={},
        tmp_path=tmp_path,
    )


def test_preprocessing_and_the_mean_stay_float32_where_the_network_does_not():
    half = with_dtype(small(), "mixed_bfloat16")
    types = {name: half.get_layer(name).compute_dtype for name in ("preprocessing", "conv1_7x7_s2", "global_pool")}
    assert types == {"preprocessing": "float32", "conv1_7x7_s2": "bfloat16", "global_pool": "float32"}


# Shapes and geometry.


@pytest.mark.parametrize(
    ("channels", "size", "places"),
    [(3, (224, 224), (7, 7)), (3, (240, 320), (8, 10)), (10, (270, 480), (9, 15)), (3, (32, 32), (1, 1))],
)
def test_shapes(channels, size, places):
    model = bn_inception(channels=channels, picture_size=size)
    assert model.input.name == "picture" and model.name == "bn_inception"
    assert model.input_shape == (None, *size, channels)
    shapes = {name: output.shape for name, output in model.output.items()}
    assert shapes == {"cube": (None, *places, 1024), "pooled": (None, 1024)}
    # 3a to 5b, as the published model counts them.
    widths = [model.get_layer(f"inception_{block}_output").output.shape[-1] for block in BLOCKS]
    assert widths == [256, 320, 576, 576, 576, 608, 608, 1056, 1024, 1024]


def pooled(values: np.ndarray, places: int) -> np.ndarray:
    """3×3 maxima at every second place from the corner, of what lies inside."""
    rows, columns = values.shape[:2]
    out = np.zeros((places, -(-columns // 2), values.shape[2]))
    for i in range(out.shape[0]):
        for j in range(out.shape[1]):
            out[i, j] = values[2 * i : min(2 * i + 3, rows), 2 * j : min(2 * j + 3, columns)].max((0, 1))
    return out


def test_max_poolings_reach_over_the_border(calibrated):
    """The stem's as Caffe rounds: 19 rows become 9, 25 columns 12. That of 4e: as long as the convolutions beside it."""
    names = ("conv1_relu_7x7", "pool1_3x3_s2", "inception_3b_output", "inception_3c_pool", "inception_4d_output")
    names += ("inception_4e_pool", "inception_3c_relu_3x3", "inception_4e_relu_3x3")
    part = keras.Model(calibrated.input, {name: calibrated.get_layer(name).output for name in names})
    maps = {name: np.asarray(value)[0] for name, value in part(pictures()).items()}
    assert maps["conv1_relu_7x7"].shape[:2] == (19, 25) and maps["pool1_3x3_s2"].shape[:2] == (9, 12)
    np.testing.assert_array_equal(maps["pool1_3x3_s2"], pooled(maps["conv1_relu_7x7"], 10)[:9, :12])
    for before, block in (("inception_3b_output", "inception_3c"), ("inception_4d_output", "inception_4e")):
        rows, columns = maps[before].shape[:2]
        halved = (-(-rows // 2), -(-columns // 2))
        assert maps[f"{block}_pool"].shape[:2] == maps[f"{block}_relu_3x3"].shape[:2] == halved
        np.testing.assert_array_equal(maps[f"{block}_pool"], pooled(maps[before], halved[0]))
    assert maps["inception_3b_output"].shape[:2] == (4, 6) and maps["inception_4d_output"].shape[:2] == (2, 3)


def test_means_count_the_padding_and_the_last_block_takes_maxima(calibrated):
    names = ("pool2_3x3_s2", "inception_3a_pool", "inception_5a_output", "inception_5b_pool")
    part = keras.Model(calibrated.input, {name: calibrated.get_layer(name).output for name in names})
    maps = {name: np.asarray(value)[0] for name, value in part(pictures()).items()}
    corner = maps["pool2_3x3_s2"][:2, :2].sum((0, 1)) / 9
    np.testing.assert_allclose(maps["inception_3a_pool"][0, 0], corner, rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(maps["inception_5b_pool"][0, 0], maps["inception_5a_output"][:2, :2].max((0, 1)))


def test_pooled_features_are_the_mean_of_the_last_block(calibrated):
    last = keras.Model(calibrated.input, calibrated.get_layer("inception_5b_output").output)
    found = np.asarray(calibrated(pictures())["pooled"])
    np.testing.assert_allclose(found, np.asarray(last(pictures())).mean((1, 2)), rtol=1e-5, atol=1e-6)


def test_the_same_weights_at_another_size():
    ours, larger = small(channels=4), bn_inception(channels=4, picture_size=(64, 96), narrowing=16, name="large")
    larger.set_weights(ours.get_weights())
    assert larger.name == "large"
    assert larger(pictures((64, 96), 4))["cube"].shape == (2, 2, 3, 64)


# The harness.


def test_the_network(calibrated, tmp_path):
    run_model_test(
        lambda: named(small()),
        {"picture": pictures()},
        model=named(calibrated),
        tmp_path=tmp_path,
        expected_output_shapes={"cube": (2, 1, 2, 64), "pooled": (2, 64)},
    )


def test_on_jax(calibrated, tmp_path):
    """As far as the first block, which has a layer of every kind."""
    part = keras.Model({"picture": calibrated.input}, {"block": calibrated.get_layer("inception_3a_output").output})
    cases = {"first block": (part, {"picture": pictures()})}
    for name, outputs in outputs_on_jax(cases, tmp_path).items():
        assert_same_outputs(outputs, numpy_outputs(*cases[name]), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"channels": 1}, "RGB or optical flow.*found 1 channels"),
        ({"channels": 5}, "found 5 channels, expected 3, or two per frame"),
        ({"picture_size": (31, 224)}, r"too small.*found \(31, 224\).*at least 32"),
        ({"picture_size": (224,)}, r"found \(224,\)"),
        ({"narrowing": 0}, "cannot be narrowed so.*found 0"),
        ({"narrowing": 3}, "divides 32"),
    ],
)
def test_networks_that_make_no_sense(options, message):
    with pytest.raises(ConfigError, match=message):
        bn_inception(**options)
