"""Published BN-Inception weights: cubes and features of the published PyTorch network, from files of all three formats.

tests/reference/generate_bn_inception.py ran that network; weights and pictures are drawn here again from the same seeds.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from keras_actrec.backbones.bn_inception import bn_inception
from keras_actrec.convert.tsn_bn_inception import assign_tsn, convert_tsn, load_tsn_weights, read_tsn, tsn_tensors
from keras_actrec.errors import ConfigError, WeightsError
from tests.convert.caffe_writer import write_caffemodel
from tests.convert.test_safetensors_files import write_tensors
from tests.convert.torch_writer import write_state_dict
from tests.reference.bn_inception_draws import CASES, draw_picture, draw_tensor

REPOSITORY = Path(__file__).parents[2]
REFERENCE = REPOSITORY / "tests" / "reference" / "bn_inception.npz"
SMALL = {"picture_size": (32, 32), "narrowing": 32}
NORM = ("weight", "bias", "running_mean", "running_var")


@pytest.fixture(scope="module")
def reference():
    with np.load(REFERENCE) as file:
        return dict(file)


@pytest.fixture(scope="module")
def model():
    return bn_inception(**SMALL)


@pytest.fixture
def tensors(model):
    return {name: draw_tensor(name, shape) for name, shape in tsn_tensors(model).items()}


def caffe_layers(tensors: dict[str, np.ndarray]) -> dict[str, list[np.ndarray]]:
    """As the Caffe release has them: its names, statistics of shape (1, C), a classifier behind."""
    layers: dict[str, list[np.ndarray]] = {}
    for name, value in tensors.items():
        layer = name.rpartition(".")[0]
        block = "inception_" + layer.split("_")[1] if layer.startswith("inception") else layer.split("_")[0]
        layer = block + "/" + layer.removeprefix(block + "_")
        layers.setdefault(layer, []).append(value[None] if layer.endswith("_bn") else value)
    return layers | {"fc-action": [np.zeros((101, 32), np.float32), np.zeros(101, np.float32)]}


def write_caffe(path: Path, tensors: dict[str, np.ndarray]) -> Path:
    return write_caffemodel(path, caffe_layers(tensors))


def write_torch(path: Path, tensors: dict[str, np.ndarray]) -> Path:
    """As tsn-pytorch saves them, batch norms of its oldest files included."""
    saved = {f"module.base_model.{name}": value[None] if "_bn." in name else value for name, value in tensors.items()}
    saved |= {"module.base_model.conv2_3x3_bn.num_batches_tracked": np.zeros(1)}
    return write_state_dict(path, saved | {"module.new_fc.weight": np.zeros((101, 32)), "module.new_fc.bias": np.zeros(101)})


def write_safetensors(path: Path, tensors: dict[str, np.ndarray]) -> Path:
    return write_tensors(path, tensors | {"fc.bias": np.zeros(1000, np.float32)})


FORMATS = {"net.caffemodel.v5": write_caffe, "net.pth.tar": write_torch, "net.safetensors": write_safetensors}


def assert_weights(model, tensors):
    for layer in model.layers:
        for weight, part in zip(layer.get_weights(), NORM, strict=False):
            expected = tensors[f"{layer.name}.{part}"]
            np.testing.assert_array_equal(weight, expected.transpose(2, 3, 1, 0) if expected.ndim == 4 else expected)


# The published network.


def published_shapes(reference, case: str) -> dict[str, tuple[int, ...]]:
    shapes = (tuple(int(size) for size in row if size) for row in reference[f"{case}/shapes"])
    return dict(zip(reference[f"{case}/names"].tolist(), shapes, strict=True))


@pytest.mark.parametrize("case", list(CASES))
def test_cubes_and_features_are_those_of_the_published_network(case, reference):
    channels, height, width, _ = CASES[case]
    network = bn_inception(channels=channels, picture_size=(height, width))
    shapes = published_shapes(reference, case)
    assert tsn_tensors(network) == shapes and len(shapes) == 414
    assign_tsn(network, {name: draw_tensor(name, shape) for name, shape in shapes.items()})

    picture = draw_picture(case).astype(np.float32) / 127.5 - 1
    found = {name: np.asarray(value)[0] for name, value in network(picture[None]).items()}
    assert found["cube"].shape == tuple(reference[f"{case}/cube/shape"])
    expected = reference[f"{case}/cube/values"]
    values = found["cube"][tuple(reference[f"{case}/cube/places"].T)]
    np.testing.assert_allclose(values, expected, rtol=1e-4, atol=1e-4 * expected.max())
    expected = reference[f"{case}/pooled"]
    np.testing.assert_allclose(found["pooled"], expected, rtol=1e-4, atol=1e-4 * expected.max())


# Files.


@pytest.mark.parametrize("name", list(FORMATS))
def test_every_value_of_a_file_reaches_its_place(name, model, tensors, tmp_path):
    path = FORMATS[name](tmp_path / name, tensors)
    model.set_weights([np.zeros_like(weight) for weight in model.get_weights()])
    load_tsn_weights(model, path)
    assert_weights(model, tensors)


def test_caffe_names_in_the_file(tensors):
    names = list(caffe_layers(tensors))
    assert names[:3] == ["conv1/7x7_s2", "conv1/7x7_s2_bn", "conv2/3x3_reduce"]
    assert "inception_4e/double_3x3_2_bn" in names and len(names) == 139


def test_old_caffe_files_hold_inverse_deviations(model, tensors, tmp_path):
    layers = caffe_layers(tensors)
    for name, blobs in layers.items():
        if name.endswith("_bn"):
            blobs[3] = (1 / np.sqrt(blobs[3] + np.float32(1e-5))).astype(np.float32)
    path = write_caffemodel(tmp_path / "old.caffemodel", layers)
    load_tsn_weights(model, path, inverse_deviation=True)
    for name in ("conv1_7x7_s2", "inception_5b_pool_proj"):
        found = model.get_layer(f"{name}_bn").get_weights()[3]
        np.testing.assert_allclose(found, tensors[f"{name}_bn.running_var"], rtol=1e-5)
    with pytest.raises(WeightsError, match="only Caffe's files ever held inverse deviations"):
        read_tsn(write_torch(tmp_path / "net.pth", tensors), inverse_deviation=True)
    layers["conv1/7x7_s2_bn"][3][0, 0] = 0.0
    with pytest.raises(WeightsError, match=r"conv1_7x7_s2_bn\.running_var: values that are not finite"):
        load_tsn_weights(model, write_caffemodel(path, layers), inverse_deviation=True)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda t: t.pop("inception_4a_1x1_bn.bias"),
            "BN-Inception: 1 tensors missing, 0 .*also inception_4a_1x1_bn.bias",
        ),
        (lambda t: t.update({"inception_6a_1x1.bias": np.zeros(4)}), "0 tensors missing, 1 unexpected.*inception_6a_1x1.bias"),
        (lambda t: t.update({"conv2_3x3.bias": np.zeros(7)}), r"x.pth, tensor conv2_3x3.bias: .*found \(7,\), expected \(6,\)"),
        (lambda t: t.update({"conv2_3x3_bn.bias": np.zeros((2, 3))}), r"found \(2, 3\), expected \(6,\)"),
        (lambda t: t["conv2_3x3.bias"].fill(np.nan), "x.pth, tensor conv2_3x3.bias: values that are not finite"),
        (lambda t: t["conv2_3x3_bn.running_var"].fill(-0.1), "tensor conv2_3x3_bn.running_var: a variance below 0"),
    ],
)
def test_files_that_do_not_fit(change, message, model, tensors):
    before = model.get_weights()
    change(tensors)
    with pytest.raises(WeightsError, match=message):
        assign_tsn(model, tensors, file="x.pth")
    assert all(np.array_equal(a, b) for a, b in zip(before, model.get_weights(), strict=True))


def test_files_of_the_wrong_form(tensors, tmp_path):
    with pytest.raises(WeightsError, match=r"none\.pth: there is no such weights file"):
        read_tsn(tmp_path / "none.pth")
    layers = caffe_layers(tensors)
    layers["conv1/7x7_s2_bn"].pop()
    with pytest.raises(WeightsError, match=r"layer conv1/7x7_s2_bn: a layer with another number of blobs.*found 3, expected 4"):
        read_tsn(write_caffemodel(tmp_path / "net.caffemodel", layers))
    twice = {"base_model.fc.bias": np.zeros(2), "fc.bias": np.zeros(2)}
    with pytest.raises(WeightsError, match=r"tensor fc\.bias: some tensors are there with and without"):
        read_tsn(write_state_dict(tmp_path / "net.pth", twice))
    (tmp_path / "empty.caffemodel").write_bytes(b"")
    with pytest.raises(WeightsError, match="empty"):
        read_tsn(tmp_path / "empty.caffemodel")


# The Keras file.


@pytest.fixture
def narrow(monkeypatch):
    def build(*, channels):
        return bn_inception(channels=channels, **SMALL)

    monkeypatch.setattr("keras_actrec.convert.tsn_bn_inception.bn_inception", build)


def test_the_keras_file_of_a_published_one(narrow, tmp_path):
    flow = bn_inception(channels=10, **SMALL)
    tensors = {name: draw_tensor(name, shape) for name, shape in tsn_tensors(flow).items()}
    source = write_caffe(tmp_path / "flow.caffemodel", tensors)
    written = convert_tsn(source, tmp_path / "flow.weights.h5")
    assert written.input_shape[-1] == 10  # the file's own
    again = bn_inception(channels=10, picture_size=(64, 96), narrowing=32)
    again.load_weights(tmp_path / "flow.weights.h5")
    assert_weights(again, tensors)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["flow.caffemodel", "flow.weights.h5"]


def test_channels_that_are_not_the_files(narrow, tensors, tmp_path):
    out = tmp_path / "out.weights.h5"
    source = write_torch(tmp_path / "rgb.pth", tensors)
    with pytest.raises(WeightsError, match=r"conv1_7x7_s2.weight: .*found \(2, 3, 7, 7\), expected \(2, 10, 7, 7\).*channels"):
        convert_tsn(source, out, channels=10)
    with pytest.raises(WeightsError, match="found no first convolution"):
        convert_tsn(write_state_dict(tmp_path / "other.pth", {"conv1.weight": np.zeros((1, 1, 1, 1))}), out)
    with pytest.raises(WeightsError, match=r"a first kernel of shape \(2, 3\)"):
        convert_tsn(write_state_dict(tmp_path / "other.pth", {"conv1_7x7_s2.weight": np.zeros((2, 3))}), out)
    with pytest.raises(ConfigError, match="found 5 channels"):
        convert_tsn(write_state_dict(tmp_path / "odd.pth", {"conv1_7x7_s2.weight": np.zeros((2, 5, 7, 7))}), out)
    assert not out.exists()


def script(*arguments) -> subprocess.CompletedProcess:
    command = [sys.executable, REPOSITORY / "preprocessing" / "convert_tsn_checkpoint.py", *arguments]
    return subprocess.run(list(map(str, command)), capture_output=True, text=True, cwd=REPOSITORY)


def test_the_script(reference, tmp_path):
    shapes = published_shapes(reference, "rgb")
    whole = {name: draw_tensor(name, shape) for name, shape in shapes.items()}
    source = write_caffe(tmp_path / "tsn.caffemodel.v5", whole)
    done = script(source, tmp_path / "tsn.weights.h5", "--channels", 3)
    assert done.returncode == 0, done.stderr
    assert "tsn.weights.h5: 10,290,272 values in 138 layers, for pictures of 3 channels" in done.stdout
    model = bn_inception()
    model.load_weights(tmp_path / "tsn.weights.h5")
    assert_weights(model, whole)
    done = script(source, tmp_path / "tsn.h5")
    assert done.returncode == 1 and "one that ends in .weights.h5" in done.stderr and "Traceback" not in done.stderr
