"""I3D: shapes of all endpoints, the classifier by hand, weights files by the names of layers, TensorFlow and JAX.

Its numbers against DeepMind's own code stand in tests/convert/test_i3d.py.
"""

from __future__ import annotations

import h5py
import keras
import numpy as np
import pytest

from keras_actrec.backbones.i3d import ENDPOINTS, i3d, i3d_units, load_i3d_weights
from keras_actrec.errors import ConfigError, WeightsError
from tests.harness import make_nonzero, outputs_on_jax, random_array, run_model_test

MAPS = dict(
    zip(
        ENDPOINTS[:16],
        [
            *((32, 112, 112, 64), (32, 56, 56, 64), (32, 56, 56, 64), (32, 56, 56, 192), (32, 28, 28, 192)),
            *((32, 28, 28, 256), (32, 28, 28, 480), (16, 14, 14, 480), (16, 14, 14, 512), (16, 14, 14, 512)),
            *((16, 14, 14, 512), (16, 14, 14, 528), (16, 14, 14, 832), (8, 7, 7, 832), (8, 7, 7, 832), (8, 7, 7, 1024)),
        ],
        strict=True,
    )
)


def small(inputs: str = "rgb", frames: int = 4) -> keras.Model:
    """The network up to its first block with named inputs and outputs, as the harness wants them, and no batch norm trivial."""
    model = i3d(inputs=inputs, endpoint="Mixed_3b", frames=frames, image_size=30)  # odd on the way: SAME padding has two sides
    make_nonzero([weight for layer in model.layers if layer.name.endswith("batch_norm") for weight in layer.weights])
    return keras.Model({"clip": model.input}, {"map": model.output})


@pytest.fixture(scope="module")
def whole():
    return i3d(endpoint="Predictions", classes=7)


@pytest.fixture(scope="module")
def low():
    model = i3d(endpoint="Conv3d_2c_3x3", frames=2, image_size=8)
    make_nonzero(model.weights)
    return model


def test_every_endpoint_is_a_layer_with_its_shape(whole):
    """The paper's figure 3 for 64 frames of 224."""
    for name, shape in MAPS.items():
        assert whole.get_layer(name).output.shape == (None, *shape), name
    assert whole.get_layer("Logits").output.shape == whole.get_layer("Predictions").output.shape == (None, 7)
    assert whole.input.name == "clip" and whole.input_shape == (None, 64, 224, 224, 3)


@pytest.mark.parametrize("endpoint", ["Conv3d_1a_7x7", "MaxPool3d_3a_3x3", "Mixed_3c"])
def test_a_model_ends_at_its_endpoint(endpoint):
    model = i3d(inputs="flow", endpoint=endpoint, frames=16)
    assert model.input_shape == (None, 16, 224, 224, 2)
    assert model.layers[-1].name == endpoint
    frames, *rest = MAPS[endpoint]
    assert model.output_shape == (None, frames // 4, *rest)


def test_mixed_5c_is_the_default_and_sides_may_be_free():
    model = i3d(frames=9, image_size=None)
    assert model.layers[-1].name == "Mixed_5c" and model.output_shape == (None, 2, None, None, 1024)
    assert model(np.zeros((1, 9, 33, 64, 3), np.float32)).shape == (1, 2, 2, 2, 1024)


def test_units_name_the_oddity_of_the_published_network():
    units = i3d_units()
    assert len(units) == 58 and len({unit.name for unit in units}) == 58
    named_0a = {unit.name for unit in units if unit.name.endswith("Conv3d_0a_3x3")}
    assert named_0a == {"Mixed_5b/Branch_2/Conv3d_0a_3x3"}
    assert [unit.channels for unit in i3d_units(inputs="flow")][:2] == [2, 64]


def test_layers_have_the_names_of_the_units(whole):
    names = {layer.name for layer in whole.layers if layer.weights}
    expected = {f"{unit.layer}.conv_3d" for unit in i3d_units()}
    expected |= {f"{unit.layer}.batch_norm" for unit in i3d_units() if unit.normalised}
    assert names == expected
    norm = whole.get_layer("Mixed_4f.Branch_1.Conv3d_0b_3x3.batch_norm")
    assert (norm.epsilon, norm.scale, norm.center) == (1e-3, False, True)


def test_the_classifier_by_hand():
    """17 frames leave a map of 3×7×7: two windows in time, whose logits are averaged."""
    model = i3d(endpoint="Predictions", frames=17, image_size=193, classes=5, dropout=0.5)
    layers = ("Mixed_5c", "Logits", "Predictions")
    outputs = keras.Model(model.input, [model.get_layer(name).output for name in layers])
    features, logits, scores = map(np.asarray, outputs(random_array((1, 17, 193, 193, 3), 0)))
    assert features.shape == (1, 3, 7, 7, 1024) and features.std() > 0
    kernel, bias = model.get_layer("Logits.Conv3d_0c_1x1.conv_3d").get_weights()
    windows = [features[0, t : t + 2].mean(axis=(0, 1, 2)) @ kernel[0, 0, 0] + bias for t in (0, 1)]
    np.testing.assert_allclose(logits[0], np.mean(windows, axis=0), rtol=1e-4, atol=1e-7)
    exponential = np.exp(logits - logits.max())
    np.testing.assert_allclose(scores, exponential / exponential.sum(), rtol=1e-5)


def test_dropout_is_before_the_classifier(whole):
    model = i3d(endpoint="Logits", frames=9, image_size=193, dropout=0.25)
    assert model.get_layer("Logits.Dropout_0b").rate == 0.25
    assert whole.get_layer("Logits.Dropout_0b").rate == 0


def test_logits_are_float32_under_every_policy():
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        model = i3d(endpoint="Predictions", frames=9, image_size=193)
    finally:
        keras.config.set_dtype_policy("float32")
    assert model.get_layer("Mixed_5c").output.dtype == "bfloat16"
    assert model.get_layer("Logits").output.dtype == model.output.dtype == "float32"


def test_model(tmp_path):
    clip = {"clip": random_array((2, 4, 30, 30, 3), 1)}
    shapes = {"map": (2, 2, 4, 4, 256)}
    model = small()
    run_model_test(small, clip, model=model, tmp_path=tmp_path, expected_output_shapes=shapes)


def test_outputs_on_jax(tmp_path):
    model, inputs = small("flow", frames=5), {"clip": random_array((1, 5, 30, 30, 2), 2)}
    found = outputs_on_jax({"small": (model, inputs)}, tmp_path)["small"]["map"]
    expected = np.asarray(model(inputs)["map"])
    np.testing.assert_allclose(found, expected, atol=1e-4 * np.abs(expected).max())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"inputs": "depth"}, "unknown inputs of I3D .found depth, expected rgb or flow"),
        ({"endpoint": "Mixed_6a"}, "unknown endpoint.*found Mixed_6a.*Mixed_5c, Logits, Predictions"),
        ({"frames": 0}, "found frames 0"),
        ({"image_size": 0}, "side 0"),
        ({"endpoint": "Logits", "classes": 0}, "at least one class"),
        ({"endpoint": "Logits", "dropout": 1.0}, r"dropout.*found 1\.0"),
        ({"endpoint": "Logits", "dropout": -0.1}, "dropout"),
        ({"endpoint": "Logits", "frames": 8}, "classifier.*Logits .found 8 frames.*at least 9 frames.*Mixed_5c"),
        ({"endpoint": "Logits", "image_size": 192}, "side 192, expected at least 9 frames, side 193 to 224"),
        ({"endpoint": "Predictions", "image_size": 225}, "side 225"),
        ({"endpoint": "Predictions", "image_size": None}, "side None"),
    ],
)
def test_models_that_make_no_sense(options, message):
    with pytest.raises(ConfigError, match=message):
        i3d(**options)


# Weights files ----------------------------------------------------------------------------------------------------------------


def test_weights_go_by_name_into_a_lower_endpoint(low, tmp_path):
    path = tmp_path / "low.weights.h5"
    low.save_weights(path)
    lower = i3d(endpoint="Conv3d_2b_1x1", frames=4, image_size=16)
    load_i3d_weights(lower, path)
    assert len(lower.get_weights()) == 8
    for found, expected in zip(lower.get_weights(), low.get_weights(), strict=False):
        np.testing.assert_array_equal(found, expected)
    # Names decide, not the order: with two names exchanged the values go to the other layer, which has another shape.
    with h5py.File(path, "r+") as file:
        groups = [group["vars"] for name, group in file["layers"].items() if name.startswith("conv3d")]
        first, second = groups[0].attrs["name"], groups[1].attrs["name"]
        groups[0].attrs["name"], groups[1].attrs["name"] = second, first
    with pytest.raises(WeightsError, match=r"layer Conv3d_1a_7x7\.conv_3d: .*found \[\(1, 1, 1, 64, 64\)\]"):
        load_i3d_weights(lower, path)


def test_files_that_do_not_fit(low, tmp_path):
    path = tmp_path / "low.weights.h5"
    low.save_weights(path)
    higher = i3d(endpoint="Mixed_3b", frames=2, image_size=8)
    before = higher.get_weights()
    message = r"low\.weights\.h5: the file lacks 12 of the 18 layers .*no layer Mixed_3b\.Branch_\d\.Conv3d_0a_1x1\.conv_3d"
    with pytest.raises(WeightsError, match=message):
        load_i3d_weights(higher, path)
    for found, expected in zip(higher.get_weights(), before, strict=True):
        np.testing.assert_array_equal(found, expected)  # nothing was assigned
    flow = i3d(inputs="flow", endpoint="Conv3d_1a_7x7", frames=2, image_size=8)
    with pytest.raises(WeightsError, match=r"layer Conv3d_1a_7x7\.conv_3d: .*found \[\(7, 7, 7, 3, 64\)\], expected .*2, 64"):
        load_i3d_weights(flow, path)


def test_files_that_hold_no_weights(low, tmp_path):
    path = tmp_path / "x.weights.h5"
    with pytest.raises(WeightsError, match=r"x\.weights\.h5: there is no such weights file.*convert_i3d_checkpoint"):
        load_i3d_weights(low, path)
    path.write_text("no weights")
    with pytest.raises(WeightsError, match=r"x\.weights\.h5: the file is damaged or no HDF5 file"):
        load_i3d_weights(low, path)
    with h5py.File(path, "w") as file:
        file.create_group("layers/conv3d")
    with pytest.raises(WeightsError, match="lacks 6 of the 6 layers"):
        load_i3d_weights(low, path)
    low.save_weights(path)
    path.write_bytes(path.read_bytes()[:-4000])
    with pytest.raises(WeightsError, match="the file is damaged"):
        load_i3d_weights(low, path)
