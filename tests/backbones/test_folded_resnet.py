"""The folded ResNet: the same maps as the network it is made of, frame order, convolutions by tiles of frames."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from keras_actrec.backbones.folded_resnet import (
    ClipsFirst,
    FramesFirst,
    TemporalWinograd,
    fastest_for_inference,
    folded_for_inference,
    temporal_matrices,
)
from keras_actrec.backbones.inflated_resnet import inflated_resnet50
from keras_actrec.backbones.inflated_weights import structure_of
from keras_actrec.errors import ConfigError
from tests.backbones.test_inflated_resnet import calibrate
from tests.harness import (
    assert_same_outputs,
    check_batch_size_free,
    check_compiled_equals_eager,
    check_config,
    check_saving,
    check_symbolic_shapes,
    dtype_policy,
    make_nonzero,
    numpy_outputs,
    outputs_on_jax,
    random_array,
    run_model_test,
)
from tests.reference.generate_inflated_resnet import clip_of


@pytest.mark.parametrize("frames", [1, 3, 4, 5, 8, 9])
def test_convolutions_along_time(frames):
    inwards, of_kernel, outwards = temporal_matrices(frames)
    tiles = -(-frames // 4)
    assert (inwards.shape, of_kernel.shape, outwards.shape) == ((6 * tiles, frames), (6, 3), (frames, 6 * tiles))
    values, taps = random_array((frames,), 1), random_array((3,), 2)
    found = outwards @ (np.repeat(of_kernel @ taps, tiles) * (inwards @ values))
    np.testing.assert_allclose(found, np.correlate(np.pad(values, 1), taps, "valid"), atol=1e-6)


def test_the_order_of_frames():
    clips = np.arange(2 * 3).reshape(2, 3, 1, 1, 1).astype(np.float32)
    images = FramesFirst()(clips)
    np.testing.assert_array_equal(np.asarray(images).ravel(), [0, 3, 1, 4, 2, 5])
    np.testing.assert_array_equal(ClipsFirst(3)(images), clips)
    check_config(FramesFirst, {})
    check_config(ClipsFirst, {"frames": 3})


def around(clip, layer: keras.layers.Layer):
    return ClipsFirst(layer.frames)(layer(FramesFirst()(clip)))


def convolution(**options) -> keras.Model:
    clip = keras.Input((options["frames"], 5, 4, 3), name="clip")
    return keras.Model({"clip": clip}, {"maps": around(clip, TemporalWinograd(**options))})


@pytest.mark.parametrize("options", [{"frames": 5, "filters": 2, "strides": 2}, {"frames": 8, "filters": 2}])
def test_the_layer(options, tmp_path):
    check_config(TemporalWinograd, options)
    shape = (2, options["frames"], *((3, 2) if "strides" in options else (5, 4)), 2)
    inputs = {"clip": random_array((2, options["frames"], 5, 4, 3), 1)}
    model = convolution(**options)
    make_nonzero(model.weights)
    run_model_test(
        lambda: convolution(**options), inputs, model=model, tmp_path=tmp_path, expected_output_shapes={"maps": shape}
    )
    assert [tuple(weight.shape) for weight in model.weights] == [(6, 3, 3, 3, 2), (2,)]


@pytest.mark.parametrize("frames", [1, 2, 4, 7, 8])
@pytest.mark.parametrize(("strides", "height", "width"), [(1, 5, 6), (2, 5, 6)])
def test_the_layer_is_keras_convolution(frames, strides, height, width):
    clips, bias = random_array((2, frames, height, width, 16), 1), random_array((8,), 2)
    padded = np.pad(clips, ((0, 0), (1, 1), (1, 1), (1, 1), (0, 0)))
    expected = keras.layers.Conv3D(8, 3, strides=(1, strides, strides), activation="relu")
    expected.build(padded.shape)
    kernel = random_array((3, 3, 3, 16, 8), 3, scale=0.1)
    expected.set_weights([kernel, bias])
    layer = TemporalWinograd(frames, 8, strides=strides)
    layer.build((None, height, width, 16))
    layer.set_convolution(kernel, bias)
    np.testing.assert_allclose(around(clips, layer), expected(padded), atol=1e-5)


@pytest.fixture(scope="module", params=["keras", "torchvision"])
def network(request):
    """Small, with blocks that have no shortcut, an odd side, and frames that fill no whole tile."""
    model = inflated_resnet50(
        frames=6, image_size=45, structure=request.param, blocks=(1, 2, 1, 2), widths=(4, 6, 8, 10)
    )  # fmt: skip
    calibrate(model)
    return model


CLIPS = {"clip": np.clip(random_array((2, 6, 45, 45, 3), 5, scale=0.5), -1, 1)}


def named(model: keras.Model) -> keras.Model:
    return keras.Model({"clip": model.input}, model.output)


def test_maps_are_those_of_the_network(network):
    before = network.get_weights()
    folded = folded_for_inference(network)
    assert structure_of(folded) == structure_of(network)
    assert folded.input_shape == network.input_shape
    assert not any(isinstance(layer, keras.layers.BatchNormalization) for layer in folded.layers)
    assert not folded.trainable_weights
    expected = numpy_outputs(named(network), CLIPS)
    assert set(expected) == {"map", "pose_map"}
    for name, maps in numpy_outputs(named(folded), CLIPS).items():
        assert 0.01 < expected[name].std() < 1
        np.testing.assert_allclose(maps, expected[name], atol=1e-5 * expected[name].max())
    assert all(np.array_equal(a, b) for a, b in zip(before, network.get_weights(), strict=True))


def test_as_a_part_of_exports(network, tmp_path):
    model = named(folded_for_inference(network))
    outputs = numpy_outputs(model, CLIPS)
    check_symbolic_shapes(model, outputs)
    check_compiled_equals_eager(model, CLIPS, outputs)
    check_batch_size_free(model, CLIPS, outputs)
    check_saving(model, CLIPS, outputs, tmp_path / "model.keras")


def test_on_jax(tmp_path):
    """The network and its folded twin, in one other process."""
    model = inflated_resnet50(frames=3, image_size=32, structure="torchvision", blocks=(1, 1, 1, 1), widths=(2, 3, 4, 5))
    calibrate(model)
    clips = {"clip": clip_of(3, 32)}
    cases = {"network": (named(model), clips), "folded": (named(folded_for_inference(model)), clips)}
    for name, outputs in outputs_on_jax(cases, tmp_path).items():
        assert_same_outputs(outputs, numpy_outputs(*cases[name]), atol=1e-4, rtol=1e-4)


def test_in_float32_under_every_policy(network):
    expected = numpy_outputs(named(network), CLIPS)
    with dtype_policy("mixed_bfloat16"):
        folded = folded_for_inference(network)
    assert {layer.compute_dtype for layer in folded.layers[1:]} == {"float32"}
    assert_same_outputs(numpy_outputs(named(folded), CLIPS), expected, atol=1e-5 * expected["map"].max(), rtol=1e-4)


def test_what_cannot_be_folded():
    with pytest.raises(ConfigError, match="no inflated ResNet"):
        folded_for_inference(keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)]))
    with dtype_policy("mixed_bfloat16"):
        half = inflated_resnet50(frames=2, image_size=32, blocks=(1, 1, 1, 1), widths=(1, 1, 1, 1))
    with pytest.raises(ConfigError, match=r"float32 can be folded.*found bfloat16"):
        folded_for_inference(half)


def test_what_runs_on_a_cpu(monkeypatch):
    """The folded twin where there is one; on a machine with a GPU, and for other networks, the model itself."""
    small = inflated_resnet50(frames=2, image_size=32, blocks=(1, 1, 1, 1), widths=(4, 4, 4, 4))
    monkeypatch.setattr("tensorflow.config.list_physical_devices", lambda kind: [])
    assert any(isinstance(layer, TemporalWinograd) for layer in fastest_for_inference(small).layers)
    clip = keras.Input((2, 8, 8, 3))
    other = keras.Model(clip, {"map": keras.layers.Conv3D(2, 1)(clip)})
    assert fastest_for_inference(other) is other
    monkeypatch.setattr("tensorflow.config.list_physical_devices", lambda kind: [kind])
    assert fastest_for_inference(small) is small
