"""Inflated ResNet-50: maps of keras.applications and of the published code, weights of every origin, freezing, errors.

tests/reference/generate_inflated_resnet.py ran the published code; weights and clips are drawn here again from the same seeds.
"""

from __future__ import annotations

import functools
import os
import re
import subprocess
import sys
from pathlib import Path

import h5py
import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_actrec.backbones import inflated_resnet
from keras_actrec.backbones.dtypes import weighted_layers, with_dtype
from keras_actrec.backbones.folded_resnet import folded_for_inference
from keras_actrec.backbones.inflated_resnet import (
    ImageNetNormalisation,
    InflatedResNetConfig,
    assign_torch_backbone,
    build_inflated_resnet,
    inflate_imagenet_weights,
    inflated_resnet50,
    torch_backbone_tensors,
)
from keras_actrec.backbones.inflated_weights import load_inflated_weights
from keras_actrec.backbones.random_weights import randomise
from keras_actrec.errors import ConfigError, WeightsError
from tests.harness import make_nonzero, run_model_test
from tests.reference.generate_inflated_resnet import CASES, clip_of
from tests.reference.seeded import torch_weight, weight

ROOT = Path(__file__).resolve().parents[2]
SIZE = 64
TINY = {"blocks": (1, 1, 1, 1), "widths": (2, 3, 4, 5)}
CONFIG = InflatedResNetConfig(frames=3, image_size=32, weights="random")


def tiny(**options) -> keras.Model:
    return inflated_resnet50(**({"frames": 3, "image_size": 32} | TINY | options))


@pytest.fixture
def small_networks(monkeypatch):
    """`build_inflated_resnet` builds tiny networks."""
    monkeypatch.setattr(inflated_resnet, "inflated_resnet50", functools.partial(inflated_resnet50, **TINY))


# The network.


@pytest.mark.parametrize("structure", ["keras", "torchvision"])
def test_shapes_of_the_maps(structure):
    model = inflated_resnet50(structure=structure)
    assert model.input.name == "clip"
    assert model.input_shape == (None, 8, 224, 224, 3)
    assert {name: output.shape[1:] for name, output in model.output.items()} == {
        "map": (8, 7, 7, 2048),
        "pose_map": (8, 14, 14, 1024),
    }
    strides = {"keras": ((1, 2, 2), (1, 1, 1)), "torchvision": ((1, 1, 1), (1, 2, 2))}[structure]
    assert tuple(model.get_layer(f"conv4_block1_{number}_conv").strides for number in (1, 2)) == strides
    assert sum(layer.kernel.shape[0] == 3 for layer in model.layers if layer.name.endswith("_conv")) == 16


def test_normalisation_by_hand():
    pixel = np.array([255, 0, 51], np.float32).reshape(1, 1, 1, 1, 3) / 127.5 - 1  # R, G, B
    caffe = np.asarray(ImageNetNormalisation("keras")(pixel)).reshape(3)
    np.testing.assert_allclose(caffe, [255 - 123.68, 0 - 116.779, 51 - 103.939], atol=1e-4)
    by_deviation = np.asarray(ImageNetNormalisation("torchvision")(pixel)).reshape(3)
    np.testing.assert_allclose(by_deviation, [(1 - 0.485) / 0.229, (0 - 0.456) / 0.224, (0.2 - 0.406) / 0.225], rtol=1e-5)
    again = ImageNetNormalisation.from_config(ImageNetNormalisation("torchvision", name="x").get_config())
    assert (again.structure, again.name) == ("torchvision", "x")
    half = with_dtype(tiny(), "mixed_bfloat16")
    assert half.get_layer("preprocessing").compute_dtype == "float32"
    assert half.get_layer("conv2_block1_2_conv").compute_dtype == "bfloat16"


def calibrate(model: keras.Model) -> None:
    """Weights that all count, with maps near 0.1, so that the harness's tolerances mean what they say."""
    clip = clip_of(*model.input_shape[1:3])
    randomise(model, 0, np.concatenate([clip, clip[:, ::-1]]))
    make_nonzero(model.weights)
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            gamma, beta, mean, variance = layer.get_weights()
            share = 0.1 if re.fullmatch(r"conv[45]_block\d_[03]_bn", layer.name) else 1.0  # at the ends of the last blocks
            layer.set_weights([share * gamma, beta, mean, np.maximum(variance, 0.2)])


@pytest.fixture(scope="module", params=["keras", "torchvision"])
def calibrated(request):
    model = tiny(structure=request.param)
    calibrate(model)
    return keras.Model({"clip": model.input}, model.output)


def clips(frames: int, size: int) -> dict[str, np.ndarray]:
    clip = clip_of(frames, size)
    return {"clip": np.concatenate([clip, 0.7 * clip[:, ::-1]])}


def test_the_network(calibrated, tmp_path):
    structure = calibrated.get_layer("preprocessing").structure

    def build():
        model = tiny(structure=structure)
        return keras.Model({"clip": model.input}, model.output)

    shapes = {"map": (2, 3, 1, 1, 20), "pose_map": (2, 3, 2, 2, 16)}
    run_model_test(build, clips(3, 32), model=calibrated, tmp_path=tmp_path, expected_output_shapes=shapes)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"structure": "caffe"}, "unknown structure.*found caffe.*keras or torchvision"),
        ({"frames": 0}, "has frames"),
        ({"image_size": 31}, "too small.*found side 31.*at least 32"),
        ({"blocks": (3, 4, 6)}, "blocks in each of its stages.*four numbers"),
        ({"widths": (1, 0, 1, 1)}, "widths in each"),
    ],
)
def test_networks_that_make_no_sense(options, message):
    with pytest.raises(ConfigError, match=message):
        inflated_resnet50(**options)


# ImageNet weights.


@pytest.fixture(scope="module")
def seeded_images():
    """keras.applications' ResNet-50 with seeded weights: biases and batch norms count."""
    source = keras.applications.ResNet50(weights=None, include_top=False, input_shape=(SIZE, SIZE, 3))
    for layer in weighted_layers(source):
        layer.set_weights([weight(layer.name, value.name, value.shape) for value in layer.weights])
    scale, *others = source.get_layer("conv1_bn").get_weights()  # the first convolution sees values up to 150
    source.get_layer("conv1_bn").set_weights([0.01 * scale, *others])
    return source


@pytest.fixture(scope="module")
def imagenet(tmp_path_factory):
    """keras.applications' ResNet-50 with its ImageNet weights, of ACTREC_RESNET50 or of a script beside the checkout."""
    path = os.environ.get("ACTREC_RESNET50")
    if path is None:
        script = ROOT.parent / "shared" / "tools" / "resnet50_imagenet.py"
        if not script.is_file():
            pytest.skip("no ImageNet weights: set ACTREC_RESNET50 to a .weights.h5 of keras.applications.ResNet50 without top")
        path = tmp_path_factory.mktemp("imagenet") / "resnet50.weights.h5"
        done = subprocess.run([sys.executable, str(script), str(path)], capture_output=True, text=True)
        if done.returncode:
            pytest.skip(f"{script.name} got no ImageNet weights: {done.stderr.strip().splitlines()[-1]}")
    source = keras.applications.ResNet50(weights=None, include_top=False, input_shape=(SIZE, SIZE, 3))
    source.load_weights(path)
    return source


def check_still_picture(source: keras.Model, inflation: str) -> None:
    """A clip of one picture has the picture's maps: with the centre in all frames, with the mean where no end is near.

    16 convolutions in a row see 16 frames to each side, those before the penultimate map 13.
    """
    frames = 3 if inflation == "center" else 35
    model = inflated_resnet50(frames=frames, image_size=SIZE)
    inflate_imagenet_weights(model, source, inflation=inflation)
    picture = (clip_of(1, SIZE)[0] + 1) * 127.5
    ends = {"map": "conv5_block3_out", "pose_map": "conv4_block6_out"}
    images = keras.Model(source.input, {name: source.get_layer(layer).output for name, layer in ends.items()})
    expected = images(keras.applications.resnet50.preprocess_input(picture.copy()))
    found = model(np.repeat(picture[None] / 127.5 - 1, frames, axis=1))
    for name, reach in (("map", 16), ("pose_map", 13)):
        maps, wanted = np.asarray(found[name])[0], np.asarray(expected[name])
        inner = maps if inflation == "center" else maps[reach : frames - reach]
        assert len(inner) == {"center": 3, "mean": frames - 2 * reach}[inflation]
        np.testing.assert_allclose(inner, np.repeat(wanted, len(inner), axis=0), rtol=1e-4, atol=1e-5 * wanted.max())
        if inflation == "mean":
            assert np.abs(maps[0] - wanted[0]).max() > 1e-3 * wanted.max()  # beyond the ends are zeros


@pytest.mark.parametrize("inflation", ["center", "mean"])
def test_a_still_picture_has_the_maps_of_the_image_network(inflation, seeded_images):
    check_still_picture(seeded_images, inflation)


@pytest.mark.parametrize("inflation", ["center", "mean"])
def test_a_still_picture_with_imagenet_weights(inflation, imagenet):
    check_still_picture(imagenet, inflation)


def test_every_weight_by_hand(seeded_images):
    model = inflated_resnet50(frames=2, image_size=32)
    inflate_imagenet_weights(model, seeded_images, inflation="mean")
    images = {layer.name: layer.get_weights() for layer in weighted_layers(seeded_images)}
    assert list(images) == [layer.name for layer in weighted_layers(model)]
    (cube,), (stem,) = (model.get_layer(name).get_weights() for name in ("conv3_block2_2_conv", "conv1_conv"))
    np.testing.assert_allclose(cube, np.repeat(images["conv3_block2_2_conv"][0][None], 3, axis=0) / 3, rtol=1e-6)
    np.testing.assert_array_equal(stem[0][:, :, ::-1], images["conv1_conv"][0])  # BGR there
    gamma, beta, mean, variance = model.get_layer("conv3_block2_2_bn").get_weights()
    theirs = images["conv3_block2_2_bn"]
    np.testing.assert_allclose(mean, theirs[2] - images["conv3_block2_2_conv"][1], rtol=1e-6)
    for found, expected in zip((gamma, beta, variance), (theirs[0], theirs[1], theirs[3]), strict=True):
        np.testing.assert_array_equal(found, expected)
    inflate_imagenet_weights(model, seeded_images)
    (cube,) = model.get_layer("conv3_block2_2_conv").get_weights()
    assert not cube[[0, 2]].any()
    np.testing.assert_array_equal(cube[1], images["conv3_block2_2_conv"][0])


def test_a_file_of_image_weights_and_one_of_ones_own(seeded_images, tmp_path):
    seeded_images.save_weights(tmp_path / "images.weights.h5")
    model = build_inflated_resnet(InflatedResNetConfig(frames=2, image_size=32, weights=str(tmp_path / "images.weights.h5")))
    expected = inflated_resnet50(frames=2, image_size=32)
    inflate_imagenet_weights(expected, seeded_images)
    assert all(np.array_equal(a, b) for a, b in zip(model.get_weights(), expected.get_weights(), strict=True))
    assert not model.trainable_weights

    small = tiny()
    make_nonzero(small.weights)
    small.save_weights(tmp_path / "own.weights.h5")
    again = tiny(image_size=48)
    load_inflated_weights(again, tmp_path / "own.weights.h5")
    assert all(np.array_equal(a, b) for a, b in zip(again.get_weights(), small.get_weights(), strict=True))
    with pytest.raises(WeightsError, match=r"own\.weights\.h5: the weights do not fit inflated_resnet50.*keras/models"):
        load_inflated_weights(tiny(widths=(2, 3, 4, 6)), tmp_path / "own.weights.h5")
    (tmp_path / "own.weights.h5").rename(tmp_path / "own.h5")
    with pytest.raises(WeightsError, match=r"own\.h5: .*ends in \.weights\.h5"):
        load_inflated_weights(again, tmp_path / "own.h5")


def test_files_that_hold_no_such_weights(seeded_images, tmp_path):
    model = tiny()
    before = model.get_weights()
    (tmp_path / "text.h5").write_text("no weights")
    with h5py.File(tmp_path / "data.h5", "w") as file:
        file["x"] = np.zeros((2, 2))
    for name, message in {
        "text.h5": "the file is no HDF5 file",
        "data.h5": "the file holds no Keras weights",
        "none.h5": "there is no such weights file",
    }.items():
        with pytest.raises(WeightsError, match=f"{name}: {message}") as error:
            load_inflated_weights(model, tmp_path / name)
        for way in ("keras/models/resnet50", "save_weights", "random"):
            assert way in error.value.fix
    with pytest.raises(WeightsError, match=r"another network than inflated_resnet50.*|layer conv2_block1_1_conv"):
        inflate_imagenet_weights(model, seeded_images)
    with pytest.raises(WeightsError, match=r"layer conv1_conv: weights of another network.*found no such layer"):
        inflate_imagenet_weights(model, keras.Sequential([keras.Input((4,)), keras.layers.Dense(2, name="dense")]))
    assert all(np.array_equal(a, b) for a, b in zip(before, model.get_weights(), strict=True))


def test_no_network_names_the_ways_out(small_networks, monkeypatch):
    def offline(**options):
        raise Exception("URL fetch failure on https://…: Name or service not known")

    monkeypatch.setattr(keras.applications, "ResNet50", offline)
    with pytest.raises(WeightsError, match=r"ImageNet weights of ResNet-50.*URL fetch failure") as error:
        build_inflated_resnet(InflatedResNetConfig(frames=3, image_size=32))
    for way in ("download", "save_weights", "random"):
        assert way in error.value.fix


def test_imagenet_weights_come_from_keras_applications(seeded_images, monkeypatch):
    monkeypatch.setattr(keras.applications, "ResNet50", lambda *, weights, **options: {"imagenet": seeded_images}[weights])
    model = build_inflated_resnet(InflatedResNetConfig(frames=2, image_size=32, inflation="mean"))
    (cube,) = model.get_layer("conv2_block1_2_conv").get_weights()
    own = seeded_images.get_layer("conv2_block1_2_conv").get_weights()[0]
    np.testing.assert_allclose(cube, np.repeat(own[None], 3, axis=0) / 3, rtol=1e-6)


def test_inflations_that_make_no_sense(seeded_images):
    with pytest.raises(ConfigError, match=r"unknown inflation.*found edge.*center or mean"):
        inflate_imagenet_weights(tiny(), seeded_images, inflation="edge")
    with pytest.raises(ConfigError, match=r"structure keras.*found torchvision"):
        inflate_imagenet_weights(tiny(structure="torchvision"), seeded_images)
    with pytest.raises(ConfigError, match="no inflated ResNet"):
        inflate_imagenet_weights(keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)]), seeded_images)


# The published code.


@pytest.fixture(scope="module")
def reference():
    with np.load(ROOT / "tests" / "reference" / "inflated_resnet.npz") as stored:
        return dict(stored)


def published_shapes(reference, case: str) -> dict[str, tuple[int, ...]]:
    shapes = (tuple(int(size) for size in row if size) for row in reference[f"{case}/shapes"])
    return dict(zip(reference[f"{case}/names"].tolist(), shapes, strict=True))


@pytest.mark.parametrize("case", list(CASES))
def test_maps_are_those_of_the_published_code(case, reference):
    blocks, frames, size = CASES[case]
    model = inflated_resnet50(frames=frames, image_size=size, structure="torchvision", blocks=blocks)
    shapes = published_shapes(reference, case)
    assert torch_backbone_tensors(model) == shapes
    assign_torch_backbone(model, {name: torch_weight(name, shape) for name, shape in shapes.items()})
    for network in (model, folded_for_inference(model)):
        for name, maps in network(clip_of(frames, size)).items():
            maps, expected = np.asarray(maps)[0], reference[f"{case}/{name}/values"]
            assert maps.shape == tuple(reference[f"{case}/{name}/shape"])
            found = maps[tuple(reference[f"{case}/{name}/places"].T)]
            np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5 * expected.max())


@pytest.fixture
def tensors():
    model = tiny(structure="torchvision")
    return model, {name: torch_weight(name, shape) for name, shape in torch_backbone_tensors(model).items()}


def test_every_tensor_reaches_its_place(tensors):
    model, arrays = tensors
    counters = {"cnn.bn1.num_batches_tracked": np.array(3)}
    for given in (arrays | counters, {name.removeprefix("cnn."): value for name, value in arrays.items()}):
        make_nonzero(model.weights)
        assign_torch_backbone(model, given)
        (cube,), (stem,), (shortcut,) = (
            model.get_layer(f"{name}_conv").get_weights() for name in ("conv3_block1_2", "conv1", "conv5_block1_0")
        )
        np.testing.assert_array_equal(cube[0, 1, 2], arrays["cnn.layer2.0.conv2.weight"][:, :, 0, 1, 2].T)
        np.testing.assert_array_equal(stem[0, 5, 6], arrays["cnn.conv1.weight"][:, :, 5, 6].T)
        np.testing.assert_array_equal(shortcut[0, 0, 0].T, arrays["cnn.layer4.0.downsample.0.weight"][:, :, 0, 0, 0])
        parts = ("weight", "bias", "running_mean", "running_var")
        for layer, name in (("conv5_block1_0_bn", "layer4.0.downsample.1"), ("conv3_block1_3_bn", "layer2.0.bn3")):
            for found, part in zip(model.get_layer(layer).get_weights(), parts, strict=True):
                np.testing.assert_array_equal(found, arrays[f"cnn.{name}.{part}"])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.pop("cnn.layer3.0.bn2.running_var"), "1 tensors missing, 0 unexp.*also cnn.layer3.0.bn2.running_var"),
        (lambda t: t.update({"cnn.layer3.1.bn1.bias": np.zeros(4)}), "0 tensors missing, 1 unexp.*cnn.layer3.1.bn1.bias"),
        (lambda t: t.update({"cnn.bn1.bias": np.zeros(5)}), r"tensor cnn.bn1.bias: .*found \(5,\), expected \(64,\)"),
        (lambda t: t["cnn.layer1.0.bn1.bias"].fill(np.nan), "tensor cnn.layer1.0.bn1.bias: values that are not finite"),
    ],
)
def test_tensors_that_do_not_fit(change, message, tensors):
    model, arrays = tensors
    before = model.get_weights()
    change(arrays)
    with pytest.raises(WeightsError, match=message):
        assign_torch_backbone(model, arrays)
    assert all(np.array_equal(a, b) for a, b in zip(before, model.get_weights(), strict=True))


def test_published_tensors_do_not_fit_the_other_structure(tensors):
    with pytest.raises(ConfigError, match=r"structure torchvision.*found keras"):
        assign_torch_backbone(tiny(), tensors[1])


# The network with its weights.


def test_a_frozen_network_is_the_same_in_training(small_networks):
    model = build_inflated_resnet(CONFIG)
    assert not model.trainable_weights
    clip, before = tf.constant(clip_of(3, 32)), model.get_weights()
    exact, training = model(clip, training=False), model(clip, training=True)
    for name in exact:
        np.testing.assert_array_equal(exact[name], training[name])
    assert all(np.array_equal(a, b) for a, b in zip(before, model.get_weights(), strict=True))
    model.trainable = True
    assert len(model.trainable_weights) == 3 * 17  # of the stem, 12 convolutions in blocks and 4 shortcuts
    model(clip, training=True)
    changed = [w.name for w, old in zip(model.weights, before, strict=True) if not np.array_equal(w, old)]
    assert set(changed) == {"moving_mean", "moving_variance"}


def test_random_weights(small_networks):
    """Of one seed they are the same at every size; maps have a scale that float16 holds, and tell clips apart."""
    first, larger = (build_inflated_resnet(InflatedResNetConfig(3, size, weights="random")) for size in (64, 224))
    again, other = (build_inflated_resnet(InflatedResNetConfig(3, 64, weights="random", seed=seed)) for seed in (0, 1))
    for found, also, different in zip(first.get_weights(), again.get_weights(), other.get_weights(), strict=True):
        np.testing.assert_array_equal(found, also)
        assert found.ndim < 2 or not np.array_equal(found, different)
    kernels = [[array for array in model.get_weights() if array.ndim > 1] for model in (first, larger)]
    assert all(np.array_equal(a, b) for a, b in zip(*kernels, strict=True))
    for maps in first(clips(3, 64)["clip"]).values():
        maps = np.asarray(maps)
        assert 0.05 < maps.std() < 20
        assert np.abs(maps[0] - maps[1]).mean() > 0.05 * maps.std()


def test_weights_of_another_process(small_networks):
    model = build_inflated_resnet(CONFIG)
    moved = [array + 1 for array in model.get_weights()]
    again = build_inflated_resnet(InflatedResNetConfig(3, 32, weights="imagenet"), weights=moved)
    assert all(np.array_equal(a, b) for a, b in zip(again.get_weights(), moved, strict=True))
    with pytest.raises(WeightsError, match=r"do not fit the inflated ResNet.*found 2 arrays"):
        build_inflated_resnet(CONFIG, weights=moved[:2])


def test_bfloat16_computes_about_the_same(small_networks):
    exact = build_inflated_resnet(CONFIG)
    half = build_inflated_resnet(InflatedResNetConfig(3, 32, weights="random", dtype="bfloat16"), weights=exact.get_weights())
    assert {layer.compute_dtype for layer in half.layers if layer.weights} == {"bfloat16"}
    assert {variable.dtype for variable in half.weights} == {"float32"}
    assert not half.trainable_weights
    wanted = exact(clip_of(3, 32))
    for name, maps in half(clip_of(3, 32)).items():
        assert maps.dtype == "float32"
        assert 0 < np.abs(maps - wanted[name]).mean() / np.std(wanted[name]) < 0.2


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"frames": 0}, "has frames"),
        ({"image_size": 16}, "too small"),
        ({"structure": "vgg"}, "unknown structure.*found vgg"),
        ({"inflation": "edge"}, "unknown inflation"),
        ({"dtype": "float16"}, "unknown dtype"),
        ({"seed": -1}, "seed"),
        ({"structure": "torchvision"}, "ImageNet weights are those of keras.applications.*found torchvision"),
    ],
)
def test_configurations_that_make_no_sense(options, message):
    with pytest.raises(ConfigError, match=message):
        InflatedResNetConfig(**options)
