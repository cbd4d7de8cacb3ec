"""Weights of an inflated ResNet: still pictures have the maps of keras.applications' network, files of both kinds, errors."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import h5py
import keras
import numpy as np
import pytest

from keras_actrec.backbones.dtypes import weighted_layers
from keras_actrec.backbones.inflated_resnet import InflatedResNetConfig, build_inflated_resnet, inflated_resnet50
from keras_actrec.backbones.inflated_weights import inflate_imagenet_weights, load_inflated_weights
from keras_actrec.errors import ConfigError, WeightsError
from tests.backbones.test_inflated_resnet import tiny
from tests.harness import make_nonzero
from tests.reference.generate_inflated_resnet import clip_of
from tests.reference.seeded import weight

ROOT = Path(__file__).resolve().parents[2]
SIZE = 64


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


def test_no_network_names_the_ways_out(monkeypatch):
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
