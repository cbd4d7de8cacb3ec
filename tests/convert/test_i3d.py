"""Published I3D weights: names and shapes of the checkpoints, numbers against the published code, and files that do not fit.

tests/reference/i3d_tensorflow.npz and i3d_pytorch.npz were computed by DeepMind's code and by the PyTorch port, with weights
and clips that follow from seeds (tests/reference/i3d_seeds.py); here both are drawn again.

ACTREC_I3D_DIR may name a checkout of github.com/google-deepmind/kinetics-i3d: its indexes are compared then, and, where the
checkpoints themselves are in it, the published scores of its sample clip.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from math import prod
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_actrec.backbones.i3d import ENDPOINTS, i3d, load_i3d_weights
from keras_actrec.convert.i3d import (
    assign_checkpoint_variables,
    assign_state_dict,
    checkpoint_variables,
    convert_i3d,
    convert_state_dict,
    convert_tensorflow_checkpoint,
    state_dict_tensors,
)
from keras_actrec.errors import ConfigError, WeightsError
from tests.convert.torch_writer import write_state_dict
from tests.reference import i3d_seeds

REPOSITORY = Path(__file__).resolve().parents[2]
REFERENCE = REPOSITORY / "tests" / "reference"
TOLERANCE = 1e-4  # share of the largest value
# SHA-256 over the lines "name shape" of the checkpoints' indexes, sorted; ImageNet and scratch checkpoints have the same.
INDEX_DIGESTS = {
    "rgb": "1df0a25d0e04c4b566157a372d47951e2dd6f4ff2384dbc525a73e3a320ab0d5",
    "flow": "46740562905fe1a3d49bf5842dcb13158be783e5aaaed5523282018144fb6d9c",
}
CHECKPOINTS = {
    "rgb_imagenet": ("rgb", 400, None),
    "rgb_scratch": ("rgb", 400, None),
    "flow_imagenet": ("flow", 400, None),
    "flow_scratch": ("flow", 400, None),
    "rgb_scratch_kin600": ("rgb", 600, ""),
}


def drawn_variables(inputs: str) -> dict[str, np.ndarray]:
    return {
        name: i3d_seeds.draw(name, shape, (0, 1, 2, 3) if name.endswith("conv_3d/w") else None)
        for name, shape in checkpoint_variables(inputs).items()
    }


def drawn_tensors(inputs: str) -> dict[str, np.ndarray]:
    return {
        name: i3d_seeds.draw(f"{inputs}/{name}", shape, (1, 2, 3, 4) if name.endswith("conv3d.weight") else None)
        for name, shape in state_dict_tensors(inputs).items()
    }


def zeros(shapes) -> dict[str, np.ndarray]:
    """Arrays that take no memory."""
    return {name: np.broadcast_to(np.float32(0), shape) for name, shape in shapes.items()}


def write_checkpoint(prefix: Path, variables) -> None:
    names = list(variables)
    tf.raw_ops.SaveV2(
        prefix=str(prefix), tensor_names=names, shape_and_slices=[""] * len(names), tensors=[variables[name] for name in names]
    )


@pytest.fixture(scope="module")
def low():
    """Up to the first convolution: what a file holds beyond that is checked all the same."""
    return i3d(endpoint="Conv3d_1a_7x7", frames=2, image_size=8)


# Names and shapes -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("inputs", ["rgb", "flow"])
def test_all_230_variables_have_the_names_and_shapes_of_the_published_index(inputs):
    variables = checkpoint_variables(inputs)
    assert len(variables) == 230
    lines = "\n".join(f"{name} {shape}" for name, shape in sorted(variables.items()))
    assert hashlib.sha256(lines.encode()).hexdigest() == INDEX_DIGESTS[inputs]
    kernel = (7, 7, 7, 3 if inputs == "rgb" else 2, 64)
    assert variables[f"{'RGB' if inputs == 'rgb' else 'Flow'}/inception_i3d/Conv3d_1a_7x7/conv_3d/w"] == kernel


@pytest.mark.parametrize("name", CHECKPOINTS)
def test_variables_against_the_index_of_a_checkout(name):
    folder = os.environ.get("ACTREC_I3D_DIR")
    if not folder:
        pytest.skip("set ACTREC_I3D_DIR to a checkout of github.com/google-deepmind/kinetics-i3d to compare with its indexes")
    prefix = Path(folder) / "data" / "checkpoints" / name / "model.ckpt"
    found = {key: tuple(shape) for key, shape in tf.train.list_variables(str(prefix)) if not key.endswith("/Momentum")}
    if name == "rgb_scratch_kin600":  # as Sonnet keeps them
        found = {key: shape[-1:] if "/batch_norm/" in key else shape for key, shape in found.items()}
    inputs, classes, scope = CHECKPOINTS[name]
    assert found == checkpoint_variables(inputs, classes, scope=scope)


def test_unknown_inputs():
    for function in (checkpoint_variables, state_dict_tensors):
        with pytest.raises(ConfigError, match=r"unknown inputs of I3D \(found depth"):
            function("depth")


def test_names_of_the_pytorch_port():
    tensors = state_dict_tensors("rgb", 157)
    assert len(tensors) == 57 * 5 + 2
    assert tensors["Mixed_5b.b2b.conv3d.weight"] == (128, 32, 3, 3, 3)
    assert tensors["Mixed_3c.b3b.bn.running_var"] == (64,)
    assert tensors["logits.conv3d.weight"] == (157, 1024, 1, 1, 1)


# Numbers ----------------------------------------------------------------------------------------------------------------------


def assert_reference(model: keras.Model, inputs: str, file: str) -> None:
    """All endpoints in the file, on the seeded clip."""
    with np.load(REFERENCE / file) as stored:
        expected = {name.removeprefix(f"{inputs}/"): stored[name] for name in stored.files if name.startswith(f"{inputs}/")}
    endpoints = [name for name in ENDPOINTS if name in expected]
    assert len(endpoints) >= 17 and "Logits" in endpoints
    outputs = keras.Model(model.input, {name: model.get_layer(name).output for name in endpoints})
    for name, value in outputs(i3d_seeds.clip(inputs)).items():
        found = i3d_seeds.summary(name, value)
        scale = np.abs(expected[name]).max()
        assert scale > 0.5  # the network is alive
        np.testing.assert_allclose(found / scale, expected[name] / scale, atol=TOLERANCE, err_msg=name)


@pytest.mark.parametrize("inputs", ["rgb", "flow"])
def test_endpoints_of_deepminds_code(inputs, tmp_path):
    model = i3d(inputs=inputs, endpoint="Predictions", frames=i3d_seeds.FRAMES)
    write_checkpoint(tmp_path / "model.ckpt", drawn_variables(inputs))
    convert_tensorflow_checkpoint(tmp_path / "model.ckpt", model)
    assert_reference(model, inputs, "i3d_tensorflow.npz")


@pytest.mark.parametrize("inputs", ["rgb", "flow"])
def test_endpoints_of_the_pytorch_port(inputs, tmp_path):
    """Its batch norms have a scale here, unlike in the published files: it has to end up in the kernels."""
    model = i3d(inputs=inputs, endpoint="Logits", frames=i3d_seeds.FRAMES)
    convert_state_dict(write_state_dict(tmp_path / "net.pt", drawn_tensors(inputs)), model)
    assert_reference(model, inputs, "i3d_pytorch.npz")


def test_references_name_their_versions():
    with np.load(REFERENCE / "i3d_tensorflow.npz") as stored:
        assert list(stored["versions"]) == ["dm-sonnet 1.36", "numpy 1.16.6", "tensorflow 1.14.0"]
        assert stored["rgb/variables"] == stored["flow/variables"] == 230
    with np.load(REFERENCE / "i3d_pytorch.npz") as stored:
        assert "torch 2.13.0+cpu" in stored["versions"]
        assert stored["rgb/tensors"] == stored["flow/tensors"] == 287


# Assigning --------------------------------------------------------------------------------------------------------------------


def test_a_lower_endpoint_takes_its_part(low):
    variables = zeros(checkpoint_variables("rgb"))
    name = "RGB/inception_i3d/Conv3d_1a_7x7"
    arrays = {"conv_3d/w": (7, 7, 7, 3, 64)} | {
        f"batch_norm/{part}": (64,) for part in ("beta", "moving_mean", "moving_variance")
    }
    values = {part: np.random.default_rng(i).random(shape, np.float32) for i, (part, shape) in enumerate(arrays.items())}
    assign_checkpoint_variables(low, variables | {f"{name}/{part}": value for part, value in values.items()})
    for found, expected in zip(low.get_weights(), values.values(), strict=True):
        np.testing.assert_array_equal(found, expected)


def test_the_checkpoint_with_600_classes(low):
    """No scope, batch norms as Sonnet keeps them, and the optimizer's variables beside."""
    variables = zeros(checkpoint_variables("rgb", 600, scope=""))
    beta = np.arange(64, dtype=np.float32).reshape(1, 1, 1, 1, 64)
    variables |= {"Conv3d_1a_7x7/batch_norm/beta": beta, "Conv3d_1a_7x7/batch_norm/beta/Momentum": beta * np.nan}
    assign_checkpoint_variables(low, variables)
    np.testing.assert_array_equal(low.layers[2].beta, beta.ravel())


def test_the_scale_of_a_batch_norm_goes_into_the_kernel(low):
    tensors = zeros(state_dict_tensors("rgb"))
    kernel = np.random.default_rng(0).standard_normal((64, 3, 7, 7, 7)).astype(np.float32)
    scale = np.linspace(-2, 2, 64, dtype=np.float32)
    tensors |= {"Conv3d_1a_7x7.conv3d.weight": kernel, "Conv3d_1a_7x7.bn.weight": scale}
    tensors |= {"Conv3d_1a_7x7.bn.running_mean": np.full(64, 3, np.float32), "Conv3d_1a_7x7.bn.bias": np.ones(64, np.float32)}
    tensors["Conv3d_1a_7x7.bn.num_batches_tracked"] = np.array(9)
    assign_state_dict(low, tensors)
    found, beta, mean, variance = low.get_weights()
    np.testing.assert_array_equal(found[1, 2, 3, 0], kernel[:, 0, 1, 2, 3] * scale)
    np.testing.assert_array_equal(mean, 3 * scale)
    assert np.all(beta == 1) and np.all(variance == 0)


@pytest.mark.parametrize(
    ("assign", "shapes", "kind", "some", "other"),
    [
        (
            *(assign_checkpoint_variables, checkpoint_variables, "variable"),
            *("RGB/inception_i3d/Mixed_5b/Branch_2/Conv3d_0a_3x3/conv_3d/w", "RGB/inception_i3d/Mixed_5b/extra"),
        ),
        (assign_state_dict, state_dict_tensors, "tensor", "Mixed_5b.b2b.conv3d.weight", "Mixed_5b.extra"),
    ],
)
def test_every_name_and_shape_is_checked_before_anything_is_assigned(assign, shapes, kind, some, other, low):
    whole = zeros(shapes("rgb"))
    before = low.get_weights()
    wrong = {
        rf"net: .*1 {kind}s missing, 0 unexpected .*also {some}": {k: v for k, v in whole.items() if k != some},
        rf"0 {kind}s missing, 1 unexpected .found unexpected {other}": whole | {other: np.zeros(1)},
        rf"net, {kind} {some}: a {kind} of another shape .found \(2,\), expected .*3, 3": whole | {some: np.zeros(2)},
        rf"net, {kind} {some}: values that are not finite": whole | {some: np.broadcast_to(np.nan, whole[some].shape)},
        rf"(230|287) {kind}s missing, 0 unexpected .*found 0 {kind}s": {},
        r"found \(64, 2, 7, 7, 7\), expected \(64, 3, 7|RGB/inception_i3d": zeros(shapes("flow")),
    }
    for message, arrays in wrong.items():
        with pytest.raises(WeightsError, match=message):
            assign(low, arrays, file="net")
    for found, expected in zip(low.get_weights(), before, strict=True):
        np.testing.assert_array_equal(found, expected)


def test_the_number_of_classes_is_checked():
    model = i3d(endpoint="Logits", frames=9, classes=5)
    with pytest.raises(
        WeightsError, match=r"Logits/Conv3d_0c_1x1/conv_3d/w: .*found \(1, 1, 1, 1024, 400\), expected .*1024, 5\)"
    ):
        assign_checkpoint_variables(model, zeros(checkpoint_variables("rgb")))
    with pytest.raises(WeightsError, match=r"logits\.conv3d\.weight: .*number of classes"):
        assign_state_dict(model, zeros(state_dict_tensors("rgb")))


# Files ------------------------------------------------------------------------------------------------------------------------


def test_checkpoints_that_are_not_whole(low, tmp_path):
    prefix = tmp_path / "model.ckpt"
    with pytest.raises(WeightsError, match=r"model\.ckpt\.index: there is no such TensorFlow checkpoint"):
        convert_tensorflow_checkpoint(prefix, low)
    write_checkpoint(prefix, {"x": np.ones(1000, np.float32)})
    with pytest.raises(WeightsError, match=r"model\.ckpt: .*230 variables missing, 1 unexpected .found unexpected x"):
        convert_tensorflow_checkpoint(prefix, low)
    values = tmp_path / "model.ckpt.data-00000-of-00001"
    whole = values.read_bytes()
    for damaged in (whole[:1000], bytes(len(whole))):
        values.write_bytes(damaged)
        with pytest.raises(WeightsError, match=r"model\.ckpt: the checkpoint cannot be read"):
            convert_tensorflow_checkpoint(prefix, low)
    values.unlink()
    with pytest.raises(WeightsError, match=r"values are not beside its index .expected model\.ckpt\.data-00000"):
        convert_tensorflow_checkpoint(prefix, low)
    prefix.with_name("model.ckpt.index").write_bytes(b"no index")
    values.write_bytes(whole)
    with pytest.raises(WeightsError, match="the checkpoint cannot be read"):
        convert_tensorflow_checkpoint(prefix, low)


def script(*arguments: object) -> subprocess.CompletedProcess:
    command = [sys.executable, REPOSITORY / "preprocessing" / "convert_i3d_checkpoint.py", *arguments]
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY), "TF_CPP_MIN_LOG_LEVEL": "2"}
    return subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False, env=environment)


def test_the_script_writes_a_file_that_every_endpoint_loads(tmp_path):
    shapes = checkpoint_variables("flow", 4)
    variables = {name: np.full(shape, index, np.float32) for index, (name, shape) in enumerate(shapes.items())}
    write_checkpoint(tmp_path / "model.ckpt", variables)
    out = tmp_path / "flow.weights.h5"
    done = script(tmp_path / "model.ckpt.index", out, "--inputs", "flow", "--classes", 4)
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"{out}: {sum(map(prod, shapes.values())):,} values in 115 layers\n"
    assert sorted(path.name for path in tmp_path.iterdir() if "flow" in path.name) == ["flow.weights.h5"]
    model = i3d(inputs="flow", frames=8, image_size=32)
    load_i3d_weights(model, out)
    mean = model.get_layer("Mixed_5c.Branch_3.Conv3d_0b_1x1.batch_norm").moving_mean
    assert np.all(
        np.asarray(mean) == list(shapes).index("Flow/inception_i3d/Mixed_5c/Branch_3/Conv3d_0b_1x1/batch_norm/moving_mean")
    )


def test_the_script_says_what_is_wrong(tmp_path):
    done = script(tmp_path / "model.ckpt", tmp_path / "out.h5")
    assert done.returncode == 1 and done.stdout == ""
    assert (
        done.stderr == "error: a Keras weights file needs another name (found out.h5, expected one that ends in .weights.h5)\n"
    )


@pytest.mark.parametrize("ending", ["pt", "pth"])
def test_nothing_is_written_where_the_source_does_not_fit(ending, tmp_path):
    source = write_state_dict(tmp_path / f"net.{ending}", {"logits.conv3d.bias": np.zeros(400)})
    with pytest.raises(WeightsError, match=rf"net\.{ending}: .*286 tensors missing"):
        convert_i3d(source, tmp_path / "out" / "net.weights.h5")
    assert not (tmp_path / "out").exists()


# Published scores -------------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_published_scores_of_the_sample_clip(tmp_path):
    """README and out/ of github.com/google-deepmind/kinetics-i3d: "playing cricket", ImageNet and Kinetics weights."""
    folder = Path(os.environ.get("ACTREC_I3D_DIR", "kinetics-i3d"))
    names = {"rgb": "rgb_imagenet", "flow": "flow_imagenet"}
    needed = [f"data/v_CricketShot_g04_c01_{inputs}.npy" for inputs in names]
    needed += [f"data/checkpoints/{name}/model.ckpt.data-00000-of-00001" for name in names.values()]
    absent = [name for name in needed if not (folder / name).is_file()]
    if absent:
        pytest.skip(f"set ACTREC_I3D_DIR to a whole checkout of github.com/google-deepmind/kinetics-i3d; absent: {absent}")
    label = (folder / "data" / "label_map.txt").read_text().split("\n").index("playing cricket")
    logits = {}
    for inputs, name in names.items():
        clip = np.load(folder / "data" / f"v_CricketShot_g04_c01_{inputs}.npy").astype(np.float32)
        assert clip.shape[2:4] == (224, 224)
        file = tmp_path / f"{inputs}.weights.h5"
        convert_i3d(folder / "data" / "checkpoints" / name / "model.ckpt", file, inputs=inputs)
        model = i3d(inputs=inputs, endpoint="Logits", frames=clip.shape[1])
        load_i3d_weights(model, file)
        logits[inputs] = np.asarray(model(clip))[0]
    joint = logits["rgb"] + logits["flow"]
    assert label == joint.argmax() == logits["rgb"].argmax()
    assert logits["rgb"][label] == pytest.approx(25.856646, abs=1e-3)
    assert logits["flow"][label] == pytest.approx(15.957031, abs=1e-3)
    assert joint[label] == pytest.approx(41.813675, abs=1e-3)
