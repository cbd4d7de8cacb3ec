"""3D ResNeXt-101: grouped convolutions, preprocessing, shapes of the endpoints. The published numbers: tests/convert."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_actrec.backbones.dtypes import with_dtype
from keras_actrec.backbones.random_weights import randomise
from keras_actrec.backbones.resnext3d import GroupedConv3D, SubtractMean, resnext101_3d
from keras_actrec.errors import ConfigError
from tests.harness import (
    assert_same_outputs,
    layer_model,
    make_nonzero,
    numpy_outputs,
    outputs_on_jax,
    random_array,
    run_layer_test,
    run_model_test,
)

# Channels of a group: 3 are joined with an odd number of groups left, 4 up to 16, 16 not at all.
GROUPED = [
    pytest.param({"filters": 12, "groups": 6, "kernel_size": [3, 3, 3]}, 18, id="joined to an odd number"),
    pytest.param({"filters": 16, "groups": 8, "kernel_size": [1, 3, 2], "strides": [2, 1, 2]}, 32, id="joined"),
    pytest.param({"filters": 8, "groups": 2, "kernel_size": [2, 2, 2]}, 32, id="apart"),
]


def clip_of(frames: int, size: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).uniform(-1, 1, (2, frames, size, size, 3)).astype(np.float32)


@pytest.mark.parametrize(("options", "channels"), GROUPED)
def test_grouped_convolution(options, channels, tmp_path):
    inputs = random_array((2, 3, 4, 5, channels), 1)
    strides = options.get("strides", [1, 1, 1])
    sizes = [(n - k) // s + 1 for n, k, s in zip((3, 4, 5), options["kernel_size"], strides, strict=True)]
    run_layer_test(
        GroupedConv3D,
        init_kwargs=options,
        inputs={"inputs": inputs},
        expected_output_shapes=((2, *sizes, options["filters"]),),
        expected_weights={"kernel": (*options["kernel_size"], channels // options["groups"], options["filters"])},
        tmp_path=tmp_path,
    )


@pytest.mark.parametrize(("options", "channels"), GROUPED)
def test_grouped_convolution_is_keras_own_forward_and_backward(options, channels):
    inputs = tf.constant(random_array((1, 3, 4, 5, channels), 2))
    ours, keras_own = GroupedConv3D(**options), keras.layers.Conv3D(**options, use_bias=False)
    keras_own.build(inputs.shape)
    ours.build(inputs.shape)
    keras_own.set_weights(ours.get_weights())
    results = []
    for layer in (ours, keras_own):
        with tf.GradientTape() as tape:
            tape.watch(inputs)
            outputs = layer(inputs)
            loss = tf.reduce_sum(outputs * random_array(tuple(outputs.shape), 3))
        results.append([outputs, *tape.gradient(loss, [inputs, layer.kernel.value])])
    for found, expected in zip(*results, strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


def test_grouped_convolution_by_hand():
    layer = GroupedConv3D(4, 1, groups=2)
    layer.build((None, 1, 1, 1, 4))
    # Filters 0 and 1 see channels 0 and 1; filters 2 and 3 see channels 2 and 3.
    layer.kernel.assign(np.array([[1, 2, 3, 4], [10, 20, 30, 40]], np.float32).reshape(1, 1, 1, 2, 4))
    outputs = np.asarray(layer(np.array([1, 2, 3, 4], np.float32).reshape(1, 1, 1, 1, 4))).reshape(4)
    np.testing.assert_array_equal(outputs, [1 + 2 * 10, 2 + 2 * 20, 3 * 3 + 4 * 30, 3 * 4 + 4 * 40])


def test_kernels_begin_as_in_the_published_network():
    layer = GroupedConv3D(64, 3, groups=8)
    layer.build((None, 4, 4, 4, 128))
    deviation = np.sqrt(2 / (64 * 27))  # fan-out of a PyTorch weight: its first axis times the window
    assert np.std(layer.get_weights()[0]) == pytest.approx(deviation, rel=0.05)


def test_preprocessing_by_hand():
    layer = SubtractMean()
    pixel = np.array([255, 0, 51], np.float32).reshape(1, 1, 1, 1, 3) / 127.5 - 1  # R, G, B
    expected = [255 - 114.7748, 0 - 107.7354, 51 - 99.4750]  # get_mean(norm_value=1, dataset="activitynet")
    np.testing.assert_allclose(np.asarray(layer(pixel)).reshape(3), expected, atol=1e-4)
    assert SubtractMean.from_config(SubtractMean((1, 2, 3), name="x").get_config()).mean == (1.0, 2.0, 3.0)
    with pytest.raises(ConfigError, match="three channels"):
        SubtractMean((1.0, 2.0))


def test_preprocessing_stays_float32_where_the_network_does_not():
    half = with_dtype(resnext101_3d(frames=2, image_size=8, endpoint="layer1", cardinality=1), "mixed_bfloat16")
    assert half.get_layer("preprocessing").compute_dtype == "float32"
    assert half.get_layer("conv1").compute_dtype == half.get_layer("layer1_0_conv2").compute_dtype == "bfloat16"


@pytest.mark.parametrize(
    ("frames", "size", "shape"), [(64, 112, (4, 4, 4, 2048)), (16, 224, (1, 7, 7, 2048)), (13, 45, (1, 2, 2, 2048))]
)
def test_shape_of_the_map(frames, size, shape):
    model = resnext101_3d(frames=frames, image_size=size, blocks=(1, 1, 1, 1), cardinality=1)
    assert model.input.name == "clip"
    assert model.input_shape == (None, frames, size, size, 3)
    assert model.output_shape == (None, *shape)


def test_endpoints_and_free_sides():
    options = {"frames": 8, "blocks": (1, 2, 1, 1), "cardinality": 1}
    whole = resnext101_3d(**options, image_size=32, endpoint="Logits", classes=7)
    assert whole.output_shape == (None, 7)
    for endpoint, channels in (("layer1", 256), ("layer2", 512), ("layer3", 1024), ("layer4", 2048)):
        part = resnext101_3d(**options, image_size=None, endpoint=endpoint)
        assert part.output_shape[2:] == (None, None, channels)
        count = len(part.get_weights())
        part.set_weights(whole.get_weights()[:count])
        cut = keras.Model(whole.input, whole.get_layer(endpoint).output)
        np.testing.assert_array_equal(np.asarray(part(clip_of(8, 32))), np.asarray(cut(clip_of(8, 32))))
        stride = {256: 4, 512: 8, 1024: 16, 2048: 32}[channels]
        assert part(clip_of(8, 48)).shape[2] == -(-48 // stride)


def named(model: keras.Model) -> keras.Model:
    """With a dictionary of outputs, as the harness takes models."""
    return keras.Model({"clip": model.input}, {"map": model.output})


def small() -> keras.Model:
    return resnext101_3d(frames=3, image_size=9, endpoint="layer1", blocks=(1, 1, 1, 1), cardinality=4)


@pytest.fixture(scope="module")
def calibrated():
    """Values of all layers near 1 and of the map near 0.1, so that the harness's tolerances mean what they say."""
    model = small()
    randomise(model, 0, clip_of(3, 9, seed=1))
    make_nonzero(model.weights)
    for name in ("layer1_0_bn3", "layer1_0_downsample_1"):
        scale, *others = model.get_layer(name).get_weights()
        model.get_layer(name).set_weights([0.1 * scale, *others])
    return named(model)


def test_the_network(calibrated, tmp_path):
    shapes = {"map": (2, 2, 3, 3, 256)}
    clips = {"clip": clip_of(3, 9)}
    run_model_test(lambda: named(small()), clips, model=calibrated, tmp_path=tmp_path, expected_output_shapes=shapes)


def test_on_jax(calibrated, tmp_path):
    inputs = {"inputs": random_array((2, 3, 4, 5, 32), 1)}
    grouped = layer_model(GroupedConv3D(16, 3, groups=8), inputs)
    cases = {"grouped": (grouped, inputs), "network": (calibrated, {"clip": clip_of(3, 9)})}
    for name, outputs in outputs_on_jax(cases, tmp_path).items():
        assert_same_outputs(outputs, numpy_outputs(*cases[name]), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"endpoint": "layer5"}, "unknown endpoint.*found layer5.*layer1, layer2"),
        ({"frames": 0}, "has frames"),
        ({"image_size": 0}, "has frames, and these have pixels"),
        ({"classes": 0}, "at least one class"),
        ({"blocks": (3, 4, 23)}, "four numbers"),
        ({"blocks": (3, 4, 0, 3)}, "blocks in each"),
        ({"cardinality": 0}, "at least one group"),
    ],
)
def test_networks_that_make_no_sense(options, message):
    with pytest.raises(ConfigError, match=message):
        resnext101_3d(**options)
