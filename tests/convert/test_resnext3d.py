"""Published 3D ResNeXt weights: the same maps and logits as the authors' PyTorch code, and every fault of a file named.

tests/reference/generate_resnext3d_reference.py ran that code; weights and clips are drawn here again from the same seeds.
"""

from __future__ import annotations

from pathlib import Path

import keras
import numpy as np
import pytest

from keras_actrec.backbones.resnext3d import ENDPOINTS, resnext101_3d
from keras_actrec.convert.resnext3d import (
    assign_state_dict,
    convert_resnext3d,
    load_resnext3d_weights,
    state_dict_tensors,
)
from keras_actrec.errors import WeightsError
from tests.convert.torch_writer import write_state_dict
from tests.reference.resnext3d_draws import CASES, CLASSES, draw_clip, draw_tensor

REFERENCE = Path(__file__).parents[1] / "reference" / "resnext3d_reference.npz"
# Depth, width and classes of files for the tests that look at names and shapes alone.
TINY = {"frames": 2, "image_size": 8, "blocks": (1, 1, 1, 1), "cardinality": 1, "classes": 3}


@pytest.fixture(scope="module")
def reference():
    with np.load(REFERENCE) as file:
        return dict(file)


@pytest.fixture(scope="module")
def model():
    return resnext101_3d(**TINY, endpoint="Logits")


@pytest.fixture
def tensors(model):
    return {name: draw_tensor(name, shape) for name, shape in state_dict_tensors(model).items()}


def published_shapes(reference, case: str) -> dict[str, tuple[int, ...]]:
    shapes = (tuple(int(size) for size in row if size) for row in reference[f"{case}/shapes"])
    return dict(zip(reference[f"{case}/names"].tolist(), shapes, strict=True))


@pytest.mark.parametrize("case", list(CASES))
def test_maps_and_logits_are_those_of_the_published_code(case, reference):
    blocks, clip = CASES[case]
    frames, size, *_ = clip
    network = resnext101_3d(frames=frames, image_size=size, endpoint="Logits", classes=CLASSES, blocks=blocks)
    shapes = published_shapes(reference, case)
    assert state_dict_tensors(network) == shapes
    assign_state_dict(network, {name: draw_tensor(name, shape) for name, shape in shapes.items()})

    outputs = keras.Model(network.input, {name: network.get_layer(name).output for name in ENDPOINTS})
    found = {name: np.asarray(value)[0] for name, value in outputs(draw_clip(clip)[None]).items()}
    for stage in ENDPOINTS[:-1]:
        assert found[stage].shape == tuple(reference[f"{case}/{stage}/shape"])
        values = found[stage][tuple(reference[f"{case}/{stage}/places"].T)]
        expected = reference[f"{case}/{stage}/values"]
        np.testing.assert_allclose(values, expected, rtol=1e-4, atol=1e-4 * expected.max())
    expected = reference[f"{case}/logits"]
    np.testing.assert_allclose(found["Logits"], expected, rtol=1e-4, atol=1e-4 * np.abs(expected).max())


def test_the_whole_network_has_the_published_tensors(reference):
    """All 522 names and shapes; their sizes sum to what PyTorch counts."""
    shapes = published_shapes(reference, "whole")
    network = resnext101_3d(frames=2, image_size=8, endpoint="Logits")
    assert state_dict_tensors(network) == shapes
    assert len(shapes) == 522
    assert network.count_params() == sum(np.prod(shape) for shape in shapes.values())


def test_every_value_reaches_its_place(model, tensors):
    assign_state_dict(model, tensors)
    block = {name: model.get_layer(f"layer2_0_{name}").get_weights() for name in ("conv2", "downsample_0", "bn3")}
    np.testing.assert_array_equal(block["conv2"][0][0, 1, 2], tensors["layer2.0.conv2.weight"][:, :, 0, 1, 2].T)
    np.testing.assert_array_equal(block["downsample_0"][0][0, 0, 0].T, tensors["layer2.0.downsample.0.weight"][:, :, 0, 0, 0])
    for found, part in zip(block["bn3"], ("weight", "bias", "running_mean", "running_var"), strict=True):
        np.testing.assert_array_equal(found, tensors[f"layer2.0.bn3.{part}"])
    kernel, bias = model.get_layer("Logits").get_weights()
    np.testing.assert_array_equal(kernel.T, tensors["fc.weight"])
    np.testing.assert_array_equal(bias, tensors["fc.bias"])


def test_a_file_with_the_names_of_data_parallel_and_counters(model, tensors, tmp_path):
    saved = {f"module.{name}": value for name, value in tensors.items()}
    saved["module.bn1.num_batches_tracked"] = np.zeros(1)
    path = write_state_dict(tmp_path / "resnext.pth", saved)
    assign_state_dict(model, {name: np.zeros_like(value) for name, value in tensors.items()})
    load_resnext3d_weights(model, path)
    np.testing.assert_array_equal(model.get_layer("bn1").get_weights()[0], tensors["bn1.weight"])


def test_a_network_that_ends_early_takes_its_part_of_the_file(model, tensors):
    part = resnext101_3d(**TINY, endpoint="layer2")
    assign_state_dict(model, tensors)
    assign_state_dict(part, tensors)
    for found, expected in zip(part.get_weights(), model.get_weights(), strict=False):
        np.testing.assert_array_equal(found, expected)
    with pytest.raises(WeightsError, match=r"1 unexpected.*layer2\.1\.conv1\.weight"):
        assign_state_dict(part, tensors | {"layer2.1.conv1.weight": np.zeros((1, 1, 1, 1, 1))})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.pop("layer3.0.bn2.running_var"), "another network.*1 tensors missing, 0.*also layer3.0.bn2.running_var"),
        (lambda t: t.update({"layer3.1.bn1.bias": np.zeros(4)}), "0 tensors missing, 1 unexpected.*layer3.1.bn1.bias"),
        (lambda t: t.update({"fc.bias": np.zeros(101)}), r"x.pth, tensor fc.bias: .*found \(101,\), expected \(3,\).*classes"),
        (lambda t: t["bn1.bias"].fill(np.nan), "x.pth, tensor bn1.bias: values that are not finite"),
    ],
)
def test_files_that_do_not_fit(change, message, model, tensors):
    before = model.get_weights()
    change(tensors)
    with pytest.raises(WeightsError, match=message):
        assign_state_dict(model, tensors, file="x.pth")
    assert all(np.array_equal(a, b) for a, b in zip(before, model.get_weights(), strict=True))


def test_a_file_that_is_not_there(model, tmp_path):
    with pytest.raises(WeightsError, match=r"none\.pth: there is no such weights file"):
        load_resnext3d_weights(model, tmp_path / "none.pth")


def test_the_keras_file_of_a_published_one(model, tensors, tmp_path, monkeypatch):
    monkeypatch.setattr("keras_actrec.convert.resnext3d.resnext101_3d", lambda **options: resnext101_3d(**(TINY | options)))
    source = write_state_dict(tmp_path / "resnext.pth", tensors)
    written = convert_resnext3d(source, tmp_path / "out.weights.h5", classes=3)
    part = resnext101_3d(**TINY, endpoint="layer4")
    part.load_weights(tmp_path / "out.weights.h5")
    for found, expected in zip(part.get_weights(), written.get_weights(), strict=False):
        np.testing.assert_array_equal(found, expected)
    assert [path.name for path in sorted(tmp_path.iterdir())] == ["out.weights.h5", "resnext.pth"]
