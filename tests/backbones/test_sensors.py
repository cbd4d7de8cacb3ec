"""Sensors: preprocessing, weights of every origin, reproducible random ones, errors that name the ways out."""

from __future__ import annotations

import shutil
import subprocess
import sys

import h5py
import keras
import numpy as np
import pytest

from keras_actrec.backbones import sensors
from keras_actrec.backbones.sensors import ImagePreprocessing, SensorConfig, build_sensor, load_sensor_weights, weights_checksum
from keras_actrec.errors import ConfigError, WeightsError

SIZE = 32
RESNET = SensorConfig("resnet50", "random", SIZE)


@pytest.fixture(scope="module")
def sensor():
    return build_sensor(RESNET)


@pytest.fixture(scope="module")
def reference():
    """keras.applications' own ResNet-50 with the classifier, on its own random weights."""
    return keras.applications.ResNet50(weights=None, input_shape=(SIZE, SIZE, 3), classes=7)


@pytest.fixture(scope="module")
def images():
    """Images with structure, unlike those of the calibration."""
    rng = np.random.default_rng(5)
    return np.kron(rng.integers(0, 256, (6, 4, 4, 3)), np.ones((1, 8, 8, 1))).astype(np.uint8)


@pytest.mark.parametrize(
    ("mode", "expected"),
    [("scaled", keras.applications.inception_v3.preprocess_input), ("caffe", keras.applications.resnet50.preprocess_input)],
)
def test_preprocessing_is_that_of_keras_applications(mode, expected, images):
    ours = np.asarray(ImagePreprocessing(mode)(images))
    assert ours.dtype == np.float32
    np.testing.assert_allclose(ours, expected(images.astype(np.float32)), atol=1e-5)


def test_preprocessing_by_hand():
    pixel = np.array([[[[255, 0, 51]]]], np.uint8)  # R, G, B
    np.testing.assert_allclose(np.asarray(ImagePreprocessing("scaled")(pixel))[0, 0, 0], [1, -1, -0.6], atol=1e-6)
    caffe = np.asarray(ImagePreprocessing("caffe")(pixel))[0, 0, 0]
    np.testing.assert_allclose(caffe, [51 - 103.939, 0 - 116.779, 255 - 123.68], rtol=1e-6)


@pytest.mark.parametrize(("name", "size"), [("inception_v3", 75), ("resnet50", 32)])
def test_shapes_and_names(name, size):
    model = sensors._architecture(SensorConfig(name, "random", size))
    assert model.input_shape == (None, size, size, 3)
    assert model.inputs[0].dtype == "uint8"
    assert model.output_shape == (None, 2048)


def test_features_are_those_of_keras_applications_with_the_same_weights(reference, images, tmp_path):
    path = tmp_path / "whole.weights.h5"
    reference.save_weights(path)
    model = build_sensor(SensorConfig("resnet50", str(path), SIZE))
    headless = keras.Model(reference.input, reference.layers[-2].output)
    expected = headless(keras.applications.resnet50.preprocess_input(images.astype(np.float32)), training=False)
    np.testing.assert_allclose(np.asarray(model(images)), np.asarray(expected), rtol=1e-4, atol=1e-5)
    assert not model.trainable_weights


def test_random_features_have_a_scale_that_float16_holds(sensor, images):
    features = np.asarray(sensor(images))
    assert features.dtype == np.float32
    assert 0.05 < features.mean() < 20
    assert features.max() < 1000
    # Images differ from each other by about as much as the features vary at all.
    assert features.std(axis=0).mean() > 0.1 * features.std()


def test_the_same_seed_gives_the_same_weights_in_another_process_with_other_threads(sensor):
    script = (
        "import tensorflow as tf; tf.config.threading.set_intra_op_parallelism_threads(1)\n"
        "from keras_actrec.backbones.sensors import *\n"
        f"print(weights_checksum(build_sensor(SensorConfig('resnet50', 'random', {SIZE}))))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == weights_checksum(sensor)
    assert weights_checksum(build_sensor(SensorConfig("resnet50", "random", SIZE, seed=1))) != weights_checksum(sensor)


def test_global_random_state_is_left_alone():
    np.random.seed(3)
    keras.utils.set_random_seed(3)
    before = np.random.get_state()[1].copy()
    build_sensor(RESNET)
    assert np.array_equal(before, np.random.get_state()[1])


def test_caches_know_which_convolutions_were_float32():
    plain = {"name": "resnet50", "image_size": SIZE, "dtype": "float32"}
    assert SensorConfig("resnet50", "random", SIZE).computation == plain
    half = SensorConfig("resnet50", "random", SIZE, "bfloat16").computation
    assert half == plain | {"dtype": "bfloat16", "float32_convolutions": 5}


def test_bfloat16_computes_about_the_same(sensor, images):
    half = build_sensor(SensorConfig("resnet50", "random", SIZE, "bfloat16"), weights=sensor.get_weights())
    exact, rough = np.asarray(sensor(images)), np.asarray(half(images))
    assert rough.dtype == np.float32
    assert weights_checksum(half) == weights_checksum(sensor)
    # bfloat16 keeps 8 bits: about 0.4 % per operation, over some 50 layers.
    assert 0 < np.abs(rough - exact).mean() / exact.std() < 0.2


@pytest.mark.parametrize(("name", "size", "layers", "convolutions"), [("resnet50", 32, 20, 5), ("inception_v3", 75, 19, 5)])
def test_bfloat16_begins_behind_the_first_layers(name, size, layers, convolutions):
    """ResNet-50: behind the stem and the first block; Inception V3: behind the second pooling."""
    model = build_sensor(SensorConfig(name, "random", size, "bfloat16"))
    exact = [layer.compute_dtype == "float32" for layer in model.layers]
    assert exact == [True] * layers + [False] * (len(exact) - layers - 1) + [True]  # the last one is the mean
    assert sum(isinstance(layer, keras.layers.Conv2D) for layer in model.layers[:layers]) == convolutions
    last = model.layers[layers - 1]
    assert last.name == "conv2_block1_out" or isinstance(last, keras.layers.MaxPooling2D)


def test_a_sensors_own_weights_come_back(sensor, tmp_path):
    path = tmp_path / "sensor.weights.h5"
    sensor.save_weights(path)
    assert weights_checksum(build_sensor(SensorConfig("resnet50", str(path), SIZE))) == weights_checksum(sensor)


@pytest.fixture(scope="module")
def older(reference, tmp_path_factory):
    """The form in which keras.applications distributes weights: layer_names and weight_names."""
    path = tmp_path_factory.mktemp("older") / "resnet50_weights.h5"
    with h5py.File(path, "w") as file:
        layers = [layer for layer in reference.layers if layer.weights]
        file.attrs["layer_names"] = [layer.name.encode() for layer in layers]
        for layer in layers:
            group = file.create_group(layer.name)
            names = [f"{layer.name}/{weight.name}:0" for weight in layer.weights]
            group.attrs["weight_names"] = [name.encode() for name in names]
            for name, array in zip(names, layer.get_weights(), strict=True):
                group[name] = array
    return path


def test_the_older_form_with_its_classifier(reference, older):
    model = build_sensor(SensorConfig("resnet50", str(older), SIZE))
    expected = reference.get_weights()[:-2]
    assert all(np.array_equal(a, b) for a, b in zip(model.get_weights(), expected, strict=True))


def test_a_layer_of_another_shape_is_named(sensor, older, tmp_path):
    path = shutil.copy(older, tmp_path / "odd.h5")
    with h5py.File(path, "r+") as file:
        group = file["conv2_block1_1_conv"]
        name = group.attrs["weight_names"][0]
        del group[name]
        group[name] = np.zeros((3, 3, 64, 64), np.float32)
    before = weights_checksum(sensor)
    with pytest.raises(WeightsError, match=r"odd\.h5, layer conv2_block1_1_conv: .*--sensor-weights"):
        load_sensor_weights(sensor, path)
    assert weights_checksum(sensor) == before


def test_a_file_of_another_network(sensor, older, tmp_path):
    other = keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Conv2D(2, 3), keras.layers.Conv2D(2, 3)], name="other")
    with pytest.raises(WeightsError, match=r"resnet50_weights\.h5: the file is of another network than other .*expected 2"):
        load_sensor_weights(other, older)
    path = tmp_path / "resnet.weights.h5"
    sensor.save_weights(path)
    with pytest.raises(WeightsError, match=r"resnet\.weights\.h5: the weights do not fit other.*--sensor-weights"):
        load_sensor_weights(other, path)


def test_files_that_hold_no_weights(sensor, tmp_path):
    (tmp_path / "text.h5").write_text("no weights")
    with h5py.File(tmp_path / "data.h5", "w") as file:
        file["x"] = 1
    with h5py.File(tmp_path / "name.h5", "w") as file:
        file.create_group("layers")
    for name, message in {
        "text.h5": "the file is no HDF5 file",
        "data.h5": "the file holds no Keras weights",
        "name.h5": r"ends in \.weights\.h5",
        "none.h5": "there is no such weights file.*--sensor-weights random",
    }.items():
        with pytest.raises(WeightsError, match=f"{name}: (.* )?{message}"):
            load_sensor_weights(sensor, tmp_path / name)


def test_no_network_names_the_three_ways_out(monkeypatch):
    real = sensors._NETWORKS["resnet50"]

    def offline(*, weights, **options):
        if weights == "imagenet":
            raise Exception("URL fetch failure on https://…: Name or service not known")
        return real.build(weights=weights, **options)

    monkeypatch.setitem(sensors._NETWORKS, "resnet50", sensors._Network(offline, real.preprocessing, real.least_size, 5))
    with pytest.raises(WeightsError, match=r"resnet50.*URL fetch failure") as error:
        build_sensor(SensorConfig("resnet50", "imagenet", SIZE))
    for way in ("download them once", "--sensor-weights FILE", "--sensor-weights random"):
        assert way in error.value.fix


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"name": "vgg"}, "unknown sensor.*found vgg"),
        ({"dtype": "float16"}, "unknown dtype"),
        ({"image_size": 74}, "too small for inception_v3.*at least 75"),
        ({"seed": -1}, "seed"),
    ],
)
def test_configurations_that_make_no_sense(options, message):
    with pytest.raises(ConfigError, match=message):
        SensorConfig(**options)


def test_the_checksum_depends_on_every_weight(sensor):
    weights = sensor.get_weights()
    before = weights_checksum(sensor)
    changed = [*weights[:-1], weights[-1] + 1e-3]
    assert weights_checksum(build_sensor(RESNET, weights=changed)) != before
    assert weights_checksum(build_sensor(RESNET, weights=weights)) == before
