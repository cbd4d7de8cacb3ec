"""Inflated ResNet-50: structures, maps of the published code, freezing, dtypes, errors.

tests/reference/generate_inflated_resnet.py ran the published code; weights and clips are drawn here again from the same seeds.
"""

from __future__ import annotations

import functools
import re
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_actrec.backbones import inflated_resnet
from keras_actrec.backbones.dtypes import with_dtype
from keras_actrec.backbones.folded_resnet import folded_for_inference
from keras_actrec.backbones.inflated_resnet import (
    ImageNetNormalisation,
    InflatedResNetConfig,
    assign_torch_backbone,
    build_inflated_resnet,
    inflated_resnet50,
    torch_backbone_tensors,
)
from keras_actrec.backbones.random_weights import randomise
from keras_actrec.errors import ConfigError, WeightsError
from tests.harness import make_nonzero, run_model_test
from tests.reference.generate_inflated_resnet import CASES, clip_of
from tests.reference.seeded import torch_weight

ROOT = Path(__file__).resolve().parents[2]
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
