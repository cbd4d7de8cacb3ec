"""ONNX files of all four models: onnxruntime gives the SavedModel's numbers for any batch, and what cannot be written."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np
import onnx
import onnxruntime
import pytest
import tensorflow as tf

import keras_actrec.export.onnx as module
from keras_actrec.errors import ConfigError, DiskFullError, WeightsError
from keras_actrec.export import export_glimpse_clouds, export_rpan, export_saved_model, export_vpn
from keras_actrec.export.onnx import export_onnx
from keras_actrec.models.sta_hands import STAHandsConfig, preset, sta_hands
from keras_actrec.skeletons.layouts import JHMDB_15, KINECT_V2
from keras_actrec.skeletons.pose_tensor import PoseTensorConfig
from keras_actrec.skeletons.sampling import SamplingConfig
from tests.export import small_glimpse_clouds, small_rpan, small_vpn

CLASSES = ("wave", "clap", "drink – é")
SIZES = {"lstm_units": 8, "spatial_attention_units": 6, "temporal_attention_units": 7, "temporal_features": 5}


def sta_model(directory: Path, **fields) -> Path:
    keras.utils.set_random_seed(1)
    config = STAHandsConfig(classes=3, pose_filters=(3, 4), pose_features=9, feature_size=16, **SIZES, **fields)
    return export_sta(sta_hands(config), directory, CLASSES)


def export_sta(model: keras.Model, directory: Path, class_names: tuple[str, ...]) -> Path:
    return export_saved_model(
        model, directory, class_names=class_names, layout=KINECT_V2, tensor=PoseTensorConfig(), sampling=SamplingConfig(seed=5),
        sensor={"name": "inception_v3"}, crop_size=50, cleaning={},
    )  # fmt: skip


def vpn_model(directory: Path, *, side: int = 12, **fields) -> Path:
    model, rng = small_vpn.small_vpn(side=side, **fields), np.random.default_rng(4)
    for weight in model.weights:  # attentions that are neither flat nor full
        scale = 1 / np.sqrt(max(1, np.prod(weight.shape[:-1])))
        weight.assign(rng.uniform(0.5, 1.5, weight.shape) if "variance" in weight.path else rng.normal(0, scale, weight.shape))
    return export_vpn(
        model, directory, class_names=CLASSES, layout=KINECT_V2, sampling=small_vpn.SAMPLING,
        crop={"size": side}, cleaning={}, backbone={},
    )  # fmt: skip


def glimpse_model(directory: Path, **fields) -> Path:
    return export_glimpse_clouds(
        small_glimpse_clouds.small_glimpse_clouds(**fields), directory, class_names=CLASSES, layout=KINECT_V2,
        sampling=small_glimpse_clouds.SAMPLING, picture_size=small_glimpse_clouds.PICTURE, crop={"box": "whole"}, backbone={},
    )  # fmt: skip


def rpan_model(directory: Path, *, channels: int = 3, **fields) -> Path:
    flow = {"stream": "flow", "flow": small_rpan.FLOW} if channels > 3 else {"stream": "rgb"}
    return export_rpan(
        small_rpan.small_rpan(channels, **fields), directory, class_names=CLASSES, layout=JHMDB_15,
        sampling=small_rpan.SAMPLING, backbone=small_rpan.BACKBONE, attention=fields.get("attention", "human_part"), **flow,
    )  # fmt: skip


MODELS: dict[str, Callable[[Path], Path]] = {
    "sta_hands": sta_model,
    "pose alone": lambda directory: sta_model(directory, streams="pose"),
    "vpn": vpn_model,
    "vpn, larger images": lambda directory: vpn_model(directory, side=20),  # its windows slide over the map
    "vpn, published code": lambda directory: vpn_model(directory, **small_vpn.VARIANTS["official"]),
    "glimpse_clouds": glimpse_model,
    "random glimpses": lambda directory: glimpse_model(directory, **small_glimpse_clouds.VARIANTS["random"]),
    "rpan": rpan_model,
    "rpan of flow": lambda directory: rpan_model(directory, channels=10, attention="share_all"),
}


FOUR = ("sta_hands", "vpn", "glimpse_clouds", "rpan")


def inputs_of(session: onnxruntime.InferenceSession, rows: int) -> dict[str, np.ndarray]:
    """Random rows; the second person's hands of the first one are absent, which takes another path through the network."""
    rng = np.random.default_rng(rows)
    arrays = {entry.name: rng.uniform(-1, 1, (rows, *entry.shape[1:])).astype(np.float32) for entry in session.get_inputs()}
    if "hands" in arrays:
        arrays["hands"][0, :, 2:] = 0
    return arrays


def compare(exported: Path, file: Path, batches: tuple[int, ...], *, constant: tuple[str, ...] = ()) -> None:
    """Of every batch; all outputs but the constant ones differ from row to row of the last."""
    session, loaded = onnxruntime.InferenceSession(file), tf.saved_model.load(str(exported))
    names = [output.name for output in session.get_outputs()]
    for rows in batches:
        arrays = inputs_of(session, rows)
        expected = loaded.signatures["serve"](**{name: tf.constant(array) for name, array in arrays.items()})
        assert names[0] == "probabilities" and set(names) == set(expected)
        for name, found in zip(names, session.run(names, arrays), strict=True):
            np.testing.assert_allclose(found, expected[name].numpy(), rtol=1e-4, atol=1e-4, err_msg=f"{name} of {rows} rows")
    # Otherwise the comparison says nothing.
    differ = {name: np.ptp(values.numpy(), axis=0).max() > 1e-3 for name, values in expected.items()}
    assert {name for name, differs in differ.items() if not differs} <= set(constant)


@pytest.mark.parametrize("name", [name if name in FOUR else pytest.param(name, marks=pytest.mark.slow) for name in MODELS])
def test_onnxruntime_gives_the_saved_model_s_numbers(tmp_path, name):
    exported = MODELS[name](tmp_path / "export")
    file = export_onnx(exported, tmp_path / "model.onnx")
    onnx.checker.check_model(str(file), full_check=True)
    # Up to 4 rows the SavedModel of the two-stream network computes in another order.
    compare(exported, file, (1, 4, 6), constant=("glimpses",) if name == "random glimpses" else ())
    assert sorted(path.name for path in tmp_path.iterdir()) == ["export", "model.onnx"]


@pytest.mark.slow
def test_the_two_stream_network_at_the_paper_s_sizes(tmp_path):
    keras.utils.set_random_seed(0)
    model = sta_hands(preset("sta_hands_paper", 60))
    assert model.count_params() > 38_000_000
    exported = export_sta(model, tmp_path / "export", tuple(str(index) for index in range(60)))
    file = export_onnx(exported, tmp_path / "model.onnx")
    assert file.stat().st_size < 4.1 * model.count_params()  # every weight once
    compare(exported, file, (1, 5))


@pytest.fixture(scope="module")
def exported(tmp_path_factory) -> Path:
    return vpn_model(tmp_path_factory.mktemp("vpn") / "export")


def test_the_file_says_what_a_program_needs_to_know(exported, tmp_path):
    session = onnxruntime.InferenceSession(export_onnx(exported, tmp_path / "models" / "vpn.onnx"))
    found = session.get_modelmeta().custom_metadata_map
    assert json.loads(found["class_names"]) == list(CLASSES)
    assert json.loads(found["actrec.json"]) == json.loads((exported / "actrec.json").read_text(encoding="utf-8"))
    assert [(entry.name, entry.shape[0]) for entry in session.get_inputs()] == [("clip", "batch"), ("pose", "batch")]
    assert {entry.shape[0] for entry in session.get_outputs()} == {"batch"}


# What is refused --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("missing", ["onnx", "onnxruntime", "tf2onnx"])
def test_without_the_extra_packages(exported, tmp_path, monkeypatch, missing):
    monkeypatch.setitem(sys.modules, missing, None)
    for name in [name for name in sys.modules if name.startswith(f"{missing}.")]:
        monkeypatch.delitem(sys.modules, name)
    with pytest.raises(ConfigError, match=rf"needs further packages \(found no {missing}.*pip install 'keras_actrec\[onnx\]'"):
        export_onnx(exported, tmp_path / "vpn.onnx")
    assert not list(tmp_path.iterdir())


def test_what_is_no_export(tmp_path):
    with pytest.raises(WeightsError, match="no description of an exported model"):
        export_onnx(tmp_path, tmp_path / "vpn.onnx")


def test_a_file_with_other_numbers_is_not_written(exported, tmp_path, monkeypatch):
    convert = module._converted

    def converted(*arguments, **options):
        model = convert(*arguments, **options)
        for tensor in model.graph.initializer:
            if "/classifier" in tensor.name and len(tensor.dims) == 2:
                tensor.CopyFrom(onnx.numpy_helper.from_array(2 * onnx.numpy_helper.to_array(tensor), tensor.name))
        return model

    monkeypatch.setattr(module, "_converted", converted)
    with pytest.raises(
        ConfigError, match=r"differs from the SavedModel's, so it is not written \(found a difference of .*0\.0001"
    ):
        export_onnx(exported, tmp_path / "vpn.onnx")
    assert not list(tmp_path.iterdir())


def test_operations_that_onnx_has_not(exported, tmp_path, monkeypatch):
    def served(inputs):
        return {"probabilities": tf.raw_ops.Betainc(a=inputs["clip"], b=inputs["clip"], x=inputs["clip"])}

    owner = tf.Module()
    clip = {"clip": tf.TensorSpec((None, 2), tf.float32, "clip")}
    owner.serve = tf.function(served, input_signature=[clip], autograph=False)
    tf.saved_model.save(owner, str(tmp_path / "export"), signatures={"serve": owner.serve})
    (tmp_path / "export" / "actrec.json").write_bytes((exported / "actrec.json").read_bytes())
    with pytest.raises(ConfigError, match=r"this model has no form in ONNX \(found .*keras-actrec serve"):
        export_onnx(tmp_path / "export", tmp_path / "vpn.onnx")
    assert not (tmp_path / "vpn.onnx").exists()


def test_a_full_disk_keeps_the_older_file(exported, tmp_path, full_disk):
    file = tmp_path / "vpn.onnx"
    file.write_bytes(b"older")
    with full_disk(20_000), pytest.raises(DiskFullError, match=r"vpn\.onnx: no space left"):
        export_onnx(exported, file)
    assert file.read_bytes() == b"older" and [path.name for path in tmp_path.iterdir()] == ["vpn.onnx"]
