"""Frame networks: cubes of keras.applications and of TSN's network, weights of every origin, RGB weights for flow, errors."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import h5py
import keras
import numpy as np
import pytest

from keras_actrec.backbones import frame_networks
from keras_actrec.backbones.bn_inception import bn_inception
from keras_actrec.backbones.dtypes import weighted_layers
from keras_actrec.backbones.frame_networks import LAYERS, FrameBackboneConfig, GreyValues, build_frame_backbone
from keras_actrec.backbones.sensors import weights_checksum
from keras_actrec.errors import ConfigError, WeightsError
from tests.harness import dtype_policy, layer_model, make_nonzero, numpy_outputs, outputs_on_jax, random_array, run_layer_test

SMALL = (32, 64)
APPLICATIONS = {
    "resnet50": (keras.applications.ResNet50, keras.applications.resnet50.preprocess_input),
    "inception_v3": (keras.applications.InceptionV3, keras.applications.inception_v3.preprocess_input),
    "vgg16": (keras.applications.VGG16, keras.applications.vgg16.preprocess_input),
}


def pictures(size: tuple[int, int], channels: int = 3, seed: int = 5) -> np.ndarray:
    """Grey values 0..255 with structure, two pictures."""
    cells = np.random.default_rng(seed).integers(0, 256, (2, size[0] // 4 + 1, size[1] // 4 + 1, channels))
    return np.kron(cells, np.ones((1, 4, 4, 1)))[:, : size[0], : size[1]].astype(np.float32)


def in_range(grey: np.ndarray) -> np.ndarray:
    return grey / np.float32(127.5) - 1


def application(name: str, size: tuple[int, int]) -> keras.Model:
    return APPLICATIONS[name][0](weights=None, include_top=False, input_shape=(*size, 3))


def values(model: keras.Model) -> list[tuple[str, list[np.ndarray]]]:
    return [(layer.name, layer.get_weights()) for layer in weighted_layers(model)]


def assert_same_values(found: keras.Model, expected: keras.Model, *, but_first: bool = False) -> None:
    pairs = list(zip(values(found), values(expected), strict=True))
    for (name, arrays), (other, wanted) in pairs[but_first:]:
        assert len(arrays) == len(wanted), (name, other)
        for array, want in zip(arrays, wanted, strict=True):
            np.testing.assert_array_equal(array, want, err_msg=f"{name} / {other}")


def write_older_form(layers: Sequence[tuple[str, list[np.ndarray]]], path: Path) -> Path:
    """The form in which keras.applications distributes weights: layer_names and weight_names."""
    with h5py.File(path, "w") as file:
        file.attrs["layer_names"] = [name.encode() for name, _ in layers]
        for name, arrays in layers:
            group = file.create_group(name)
            group.attrs["weight_names"] = [f"{name}/weight_{number}:0".encode() for number in range(len(arrays))]
            for number, array in enumerate(arrays):
                group[f"{name}/weight_{number}:0"] = array
    return path


@pytest.fixture(scope="module")
def resnet():
    """keras.applications' ResNet-50 on weights that all count."""
    model = application("resnet50", SMALL)
    make_nonzero([weight for layer in weighted_layers(model) for weight in layer.weights if len(weight.shape) == 1])
    return model


@pytest.fixture(scope="module")
def resnet_file(resnet, tmp_path_factory):
    path = tmp_path_factory.mktemp("resnet") / "resnet50.weights.h5"
    resnet.save_weights(path)
    return str(path)


# Preprocessing.


def test_grey_values_by_hand():
    pixel = np.array([0, 128, 255], np.float32).reshape(1, 1, 1, 3)
    np.testing.assert_allclose(np.asarray(GreyValues()(in_range(pixel))), pixel, atol=1e-4)
    np.testing.assert_allclose(np.asarray(GreyValues(128.0)(in_range(pixel))).reshape(3), [-128, 0, 127], atol=1e-4)


def test_grey_values_as_a_layer(tmp_path):
    run_layer_test(
        GreyValues,
        init_kwargs={"offset": 128.0},
        inputs={"pictures": random_array((2, 3, 4, 10), 1)},
        expected_output_shapes=((2, 3, 4, 10),),
        expected_weights={},
        tmp_path=tmp_path,
    )


def test_grey_values_on_jax(tmp_path):
    inputs = {"pictures": random_array((2, 3, 4, 2), 2)}
    model = layer_model(GreyValues(3.0), inputs)
    np.testing.assert_allclose(
        outputs_on_jax({"grey": (model, inputs)}, tmp_path)["grey"]["output0"],
        numpy_outputs(model, inputs)["output0"],
        atol=1e-5,
    )


# Cubes.


@pytest.mark.parametrize(
    ("name", "layer", "size", "cube", "pooled"),
    [
        ("resnet50", "", (270, 480), (9, 15, 2048), 2048),
        ("inception_v3", "mixed7", (240, 320), (13, 18, 768), 2048),
        ("vgg16", "", (240, 320), (7, 10, 512), 512),
        ("vgg16", "", (270, 480), (8, 15, 512), 512),
        ("bn_inception", "", (270, 480), (9, 15, 1024), 1024),
    ],
)
def test_shapes_and_names(name, layer, size, cube, pooled):
    model = frame_networks._architecture(FrameBackboneConfig(name, size, layer=layer, weights="random"))
    assert model.name == "backbone"
    assert model.input.name == "picture"
    assert model.input_shape == (None, *size, 3)
    assert {key: tensor.shape for key, tensor in model.output.items()} == {"cube": (None, *cube), "pooled": (None, pooled)}


@pytest.mark.parametrize(
    ("name", "layer", "end", "size"),
    [
        ("inception_v3", "mixed7", "mixed7", (76, 107)),
        ("resnet50", "", "conv5_block3_out", (65, 64)),
        ("vgg16", "", "block5_pool", (70, 64)),
    ],
)
def test_cubes_are_maps_of_keras_applications_on_its_own_preprocessing(name, layer, end, size, tmp_path):
    reference = application(name, size)
    path = str(tmp_path / "weights.weights.h5")
    reference.save_weights(path)
    model = build_frame_backbone(FrameBackboneConfig(name, size, layer=layer, weights=path))
    grey = pictures(size)
    ends = keras.Model(reference.input, [reference.get_layer(end).output, reference.output])
    cube, last = (np.asarray(maps) for maps in ends(APPLICATIONS[name][1](grey.copy()), training=False))
    found = model(in_range(grey))
    np.testing.assert_allclose(np.asarray(found["cube"]), cube, rtol=1e-4, atol=1e-4 * cube.max())
    np.testing.assert_allclose(np.asarray(found["pooled"]), last.mean(axis=(1, 2)), rtol=1e-4, atol=1e-4 * last.max())
    assert not model.trainable_weights


def test_the_configuration_decides_the_type_and_not_what_keras_is_set_to():
    with dtype_policy("mixed_bfloat16"):
        model = frame_networks._architecture(FrameBackboneConfig("vgg16", SMALL, weights="random"))
    assert model.input.dtype == "float32"
    assert {layer.compute_dtype for layer in model.layers[1:]} == {"float32"}


def test_flow_meets_the_first_convolution_with_128_at_zero():
    model = frame_networks._architecture(FrameBackboneConfig("resnet50", SMALL, 10, weights="random"))
    stem = keras.Model(model.input, model.get_layer("conv1_pad").output)
    still = in_range(np.full((1, *SMALL, 10), 128, np.float32))
    np.testing.assert_allclose(np.asarray(stem(still)), 0.0, atol=1e-4)


def test_the_cube_of_bn_inception_is_its_own(tmp_path):
    own = bn_inception(picture_size=SMALL)
    make_nonzero([weight for weight in own.weights if weight.name == "bias"])
    path = tmp_path / "tsn.weights.h5"
    own.save_weights(path)
    model = build_frame_backbone(FrameBackboneConfig("bn_inception", SMALL, weights=str(path)))
    picture = in_range(pictures(SMALL))
    for key, expected in own(picture).items():
        np.testing.assert_array_equal(np.asarray(model(picture)[key]), np.asarray(expected))
    flow = build_frame_backbone(FrameBackboneConfig("bn_inception", SMALL, 4, weights=str(path)))
    (_, (kernel, bias)), (_, (of_rgb, bias_of_rgb)) = values(flow)[0], values(own)[0]
    np.testing.assert_allclose(kernel, np.stack([of_rgb.mean(axis=2)] * 4, axis=2), rtol=1e-6)
    np.testing.assert_array_equal(bias, bias_of_rgb)
    assert_same_values(flow, own, but_first=True)


# Weights.


def test_the_older_form_fills_layers_in_the_order_of_keras_applications(resnet, tmp_path):
    path = write_older_form(values(resnet), tmp_path / "older.h5")
    model = build_frame_backbone(FrameBackboneConfig("resnet50", SMALL, weights=str(path)))
    assert_same_values(model, resnet)
    assert [layer.name for layer in weighted_layers(model)] == [layer.name for layer in weighted_layers(resnet)]


def test_classifiers_are_passed_over(resnet, tmp_path):
    vgg = application("vgg16", SMALL)
    dense = [(f"fc{number}", [np.ones((3, 3), np.float32), np.ones(3, np.float32)]) for number in range(3)]
    path = write_older_form([*values(vgg), *dense], tmp_path / "vgg16.h5")
    assert_same_values(build_frame_backbone(FrameBackboneConfig("vgg16", SMALL, weights=str(path))), vgg)
    whole = keras.applications.ResNet50(weights=None, input_shape=(*SMALL, 3), classes=2)
    for layer in weighted_layers(resnet):
        whole.get_layer(layer.name).set_weights(layer.get_weights())
    whole.save_weights(tmp_path / "whole.weights.h5")
    model = build_frame_backbone(FrameBackboneConfig("resnet50", SMALL, weights=str(tmp_path / "whole.weights.h5")))
    assert_same_values(model, resnet)


def test_weights_of_rgb_for_flow(resnet, resnet_file, tmp_path):
    flow = build_frame_backbone(FrameBackboneConfig("resnet50", SMALL, 10, weights=resnet_file))
    kernel, of_rgb = flow.get_layer("conv1_conv").get_weights()[0], resnet.get_layer("conv1_conv").get_weights()[0]
    assert kernel.shape == (7, 7, 10, 64)
    for channel in range(10):
        np.testing.assert_allclose(kernel[:, :, channel], (of_rgb[:, :, 0] + of_rgb[:, :, 1] + of_rgb[:, :, 2]) / 3, atol=1e-7)
    np.testing.assert_array_equal(
        flow.get_layer("conv1_conv").get_weights()[1], resnet.get_layer("conv1_conv").get_weights()[1]
    )
    assert_same_values(flow, resnet, but_first=True)
    # A file of flow is taken as it is.
    flow.get_layer("conv1_conv").set_weights([random_array(kernel.shape, 3), random_array((64,), 4)])
    path = tmp_path / "flow.weights.h5"
    flow.save_weights(path)
    again = build_frame_backbone(FrameBackboneConfig("resnet50", SMALL, 10, weights=str(path)))
    assert weights_checksum(again) == weights_checksum(flow)
    with pytest.raises(WeightsError, match=r"flow\.weights\.h5: the weights do not fit backbone"):
        build_frame_backbone(FrameBackboneConfig("resnet50", SMALL, weights=str(path)))


@pytest.fixture
def downloads(monkeypatch, resnet):
    """keras.applications.ResNet50 whose ImageNet weights are those of `resnet`, or cannot be had."""
    state = {"error": None}

    def build(*, weights, **options):
        if weights != "imagenet":
            return keras.applications.ResNet50(weights=weights, **options)
        if state["error"]:
            raise Exception(state["error"])
        assert options == {"include_top": False, "input_shape": (*SMALL, 3)}
        return resnet

    network = frame_networks.replace(frame_networks._NETWORKS["resnet50"], application=build)
    monkeypatch.setitem(frame_networks._NETWORKS, "resnet50", network)
    return state


def test_imagenet_weights(downloads, resnet):
    assert_same_values(build_frame_backbone(FrameBackboneConfig("resnet50", SMALL)), resnet)
    flow = build_frame_backbone(FrameBackboneConfig("resnet50", SMALL, channels=2))
    assert_same_values(flow, resnet, but_first=True)
    of_rgb = resnet.get_layer("conv1_conv").get_weights()[0]
    np.testing.assert_allclose(flow.get_layer("conv1_conv").get_weights()[0][:, :, 1], of_rgb.mean(axis=2), atol=1e-7)


def test_no_download_names_the_ways_out(downloads):
    downloads["error"] = "URL fetch failure on https://…: Name or service not known\nand more"
    with pytest.raises(
        WeightsError, match=r"weights of resnet50 cannot be had: URL fetch failure.*not known\. Either"
    ) as error:
        build_frame_backbone(FrameBackboneConfig("resnet50", SMALL))
    for way in ("download them once", "a local file", "random for trials"):
        assert way in error.value.fix


@pytest.fixture(scope="module")
def random_resnet():
    return build_frame_backbone(FrameBackboneConfig("resnet50", SMALL, weights="random"))


def test_random_weights_come_from_the_seed_in_every_dtype(random_resnet):
    config = FrameBackboneConfig("resnet50", SMALL, weights="random", dtype="bfloat16")
    half = build_frame_backbone(config)
    assert weights_checksum(half) == weights_checksum(random_resnet)
    other = frame_networks.replace(config, seed=1)
    assert weights_checksum(build_frame_backbone(other)) != weights_checksum(random_resnet)
    picture = in_range(pictures(SMALL))
    for key, exact in random_resnet(picture).items():
        rough, exact = np.asarray(half(picture)[key]), np.asarray(exact)
        assert rough.dtype == np.float32
        # bfloat16 keeps 8 bits: about 0.4 % per operation, over some 50 layers.
        assert 0 < np.abs(rough - exact).mean() / exact.std() < 0.2
    types = {name: half.get_layer(name).compute_dtype for name in ("grey_values", "preprocessing", "conv1_conv", "pooled")}
    assert types == {"grey_values": "float32", "preprocessing": "float32", "conv1_conv": "bfloat16", "pooled": "float32"}


@pytest.mark.parametrize("name", ["resnet50", "vgg16"])
def test_random_cubes_have_a_scale_for_an_lstm_and_float16(name, random_resnet):
    model = random_resnet if name == "resnet50" else build_frame_backbone(FrameBackboneConfig(name, SMALL, weights="random"))
    cube = np.asarray(model(in_range(pictures(SMALL)))["cube"])
    assert 0.1 < cube.mean() < 5
    assert cube.max() < 100


def test_weights_of_another_process(random_resnet):
    config = FrameBackboneConfig("resnet50", SMALL, weights="no file, and none is read")
    assert weights_checksum(build_frame_backbone(config, random_resnet.get_weights())) == weights_checksum(random_resnet)


def test_files_that_do_not_fit_name_the_ways_out(resnet_file, tmp_path):
    (tmp_path / "text.h5").write_text("no weights")
    for name, channels, path, message in (
        (
            "vgg16",
            3,
            resnet_file,
            r"resnet50\.weights\.h5: the weights do not fit backbone.*copy the file from ~/\.keras/models",
        ),
        ("resnet50", 10, "none.h5", r"none\.h5: there is no such weights file\. Either let Keras"),
        ("bn_inception", 3, "none.h5", r"such weights file\. Convert TSN's models by preprocessing/convert_tsn_checkpoint\.py"),
    ):
        with pytest.raises(WeightsError, match=message):
            build_frame_backbone(FrameBackboneConfig(name, SMALL, channels, weights=path))
    with pytest.raises(WeightsError, match=r"text\.h5: the file is no HDF5 file"):
        build_frame_backbone(FrameBackboneConfig("resnet50", SMALL, 10, weights=str(tmp_path / "text.h5")))


# Configurations.


def test_equal_networks_have_equal_configurations():
    assert FrameBackboneConfig("inception_v3") == FrameBackboneConfig("inception_v3", [240, 320], layer="mixed10")
    assert FrameBackboneConfig("inception_v3", layer="mixed7").layer == "mixed7"
    assert LAYERS["inception_v3"] == ("mixed10", "mixed7")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"name": "alexnet"},
            "unknown frame network.*found alexnet, expected one of resnet50, inception_v3, vgg16, bn_inception",
        ),
        ({"layer": "mixed7"}, "resnet50 gives no such cube.*found mixed7, expected one of conv5"),
        ({"dtype": "float16"}, "unknown dtype of the frame network"),
        ({"picture_size": (240, 31)}, r"no such pictures for resnet50.*found picture_size \(240, 31\).*at least 32"),
        ({"picture_size": (240,)}, r"\(height, width\)"),
        ({"name": "inception_v3", "picture_size": (74, 320)}, "at least 75"),
        ({"channels": 5}, "no such channels.*found 5, expected 3"),
        ({"channels": 0}, "no such channels"),
        ({"seed": -1}, "a seed must not be negative"),
        ({"name": "bn_inception"}, "no ImageNet weights of bn_inception.*convert_tsn_checkpoint.*random for trials"),
    ],
)
def test_configurations_that_make_no_sense(options, message):
    with pytest.raises(ConfigError, match=message):
        FrameBackboneConfig(**options)
