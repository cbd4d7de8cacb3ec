"""The exported two-stream network: loaded by a process that knows TensorFlow only, it gives the numbers of the package."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_actrec.export.sta_hands
from keras_actrec.errors import ConfigError, DiskFullError
from keras_actrec.export import export_saved_model, read_description
from keras_actrec.models.sta_hands import STAHandsConfig, sta_hands
from keras_actrec.skeletons.layout import KINECT_V2
from keras_actrec.skeletons.pose_tensor import PoseTensorConfig, clip_pose_tensor, pose_tensor_width
from keras_actrec.skeletons.sampling import SamplingConfig, test_subsequences
from keras_actrec.skeletons.views import VIEWS, view, view_hands

TENSOR, SAMPLING = PoseTensorConfig(), SamplingConfig(seed=5)
CLASSES = ("wave", "clap", "drink")
LENGTHS = (1, 7, 57)  # one frame, fewer than 20, more than 20

# A stranger's program: TensorFlow and NumPy, and this package made impossible to import.
STRANGER = """
import json, sys
sys.modules["keras_actrec"] = None
sys.modules["keras"] = None
import numpy as np, tensorflow as tf
directory, inputs, results = sys.argv[1:]
served = tf.saved_model.load(directory).signatures
arrays, found = np.load(inputs), {}
names = sorted(served["serve"].structured_input_signature[1])
for size in (1, 3):
    rows = {name: tf.constant(arrays[f"serve_{name}"][:size]) for name in names}
    found |= {f"serve{size}/{name}": value.numpy() for name, value in served["serve"](**rows).items()}
names = sorted(served["classify_clip"].structured_input_signature[1])
for length in %r:
    clip = {name: tf.constant(arrays[f"clip{length}_{name}"]) for name in names}
    found |= {f"clip{length}/{name}": value.numpy() for name, value in served["classify_clip"](**clip).items()}
np.savez(results, **found)
""" % (LENGTHS,)  # noqa: UP031 - the program is full of braces


def small_config(**changes) -> STAHandsConfig:
    sizes = {"lstm_units": 8, "spatial_attention_units": 6, "temporal_attention_units": 7, "temporal_features": 5}
    return STAHandsConfig(classes=3, pose_filters=(3, 4), pose_features=9, feature_size=16, **sizes, **changes)


def export(model, directory, class_names=CLASSES, tensor=TENSOR):
    return export_saved_model(
        model, directory, class_names=class_names, layout=KINECT_V2, tensor=tensor, sampling=SAMPLING,
        sensor={"name": "inception_v3", "weights": "random"}, crop_size=50, cleaning={},
    )  # fmt: skip


def clips() -> dict[str, np.ndarray]:
    """Joints and hand features of one clip per length; the second person leaves in the middle of the clip."""
    rng = np.random.default_rng(3)
    arrays = {}
    for length in LENGTHS:
        joints = rng.normal(0, 0.5, (length, 2, 25, 3)).astype(np.float32)
        joints[length // 2 :, 1] = np.nan
        arrays[f"clip{length}_joints"] = joints
        arrays[f"clip{length}_hands"] = rng.random((length, 4, 16), np.float32)
    arrays["serve_pose"] = rng.normal(0, 1, (3, 20, 300, 3)).astype(np.float32)
    arrays["serve_hands"] = rng.random((3, 20, 4, 16), np.float32)
    return arrays


@pytest.mark.parametrize("streams", ["both", "pose"])
def test_a_stranger_finds_the_same_numbers(tmp_path, streams):
    keras.utils.set_random_seed(1)
    model, arrays = sta_hands(small_config(streams=streams)), clips()
    directory = export(model, tmp_path / "export")
    np.savez(tmp_path / "inputs.npz", **arrays)
    command = [sys.executable, "-c", STRANGER, str(directory), str(tmp_path / "inputs.npz"), str(tmp_path / "found.npz")]
    finished = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert finished.returncode == 0, finished.stderr[-3000:]
    found = np.load(tmp_path / "found.npz")

    inputs = [tensor.name for tensor in model.inputs]
    for size in (1, 3):
        expected = model.predict({name: arrays[f"serve_{name}"][:size] for name in inputs}, verbose=0)
        assert set(found.files) >= {f"serve{size}/{name}" for name in (*expected, "probabilities")}
        for name, value in expected.items():
            np.testing.assert_allclose(found[f"serve{size}/{name}"], value, atol=1e-5)
        assert found[f"serve{size}/probabilities"].sum(axis=1) == pytest.approx(1)

    for length in LENGTHS:
        frames = test_subsequences(length, SAMPLING)
        batch = {"pose": clip_pose_tensor(arrays[f"clip{length}_joints"], KINECT_V2, TENSOR)[frames]}
        batch["hands"] = arrays[f"clip{length}_hands"][frames]
        expected = model.predict({name: batch[name] for name in inputs}, verbose=0)
        logits = expected["logits"].mean(axis=0)
        np.testing.assert_array_equal(found[f"clip{length}/frames"], frames)
        np.testing.assert_allclose(found[f"clip{length}/logits"], logits, atol=1e-5)
        softmax = np.exp(logits) / np.exp(logits).sum()
        np.testing.assert_allclose(found[f"clip{length}/probabilities"], softmax, atol=1e-5)
        for name in ("spatial_attention", "temporal_attention"):
            assert (f"clip{length}/{name}" in found.files) == (name in expected)
            if name in expected:
                np.testing.assert_allclose(found[f"clip{length}/{name}"], expected[name], atol=1e-5)


@pytest.mark.parametrize("options", [{"people": 1}, {"scale": "body"}, {"people": 1, "scale": "body"}], ids=str)
def test_classify_clip_makes_the_pose_tensors_that_were_trained_on(tmp_path, options):
    tensor, arrays = PoseTensorConfig(**options), clips()
    model = sta_hands(small_config(streams="pose", pose_width=pose_tensor_width(KINECT_V2, tensor)))
    directory = export(model, tmp_path / "export", tensor=tensor)
    assert PoseTensorConfig(**read_description(directory).tensor) == tensor
    classify_clip = tf.saved_model.load(str(directory)).signatures["classify_clip"]
    for length in LENGTHS:
        joints = arrays[f"clip{length}_joints"]
        if options.get("scale") == "body":
            joints = joints * np.float32(300)
        batch = {"pose": clip_pose_tensor(joints, KINECT_V2, tensor)[test_subsequences(length, SAMPLING)]}
        expected = model.predict(batch, verbose=0)["logits"].mean(axis=0)
        found = classify_clip(joints=tf.constant(joints))["logits"].numpy()
        np.testing.assert_allclose(found, expected, atol=1e-5)
        assert np.abs(expected).max() > 1e-3


@pytest.mark.parametrize("streams", ["both", "pose"])
def test_classify_clip_averages_over_the_test_views(tmp_path, streams):
    model, arrays = sta_hands(small_config(streams=streams)), clips()
    directory = export_saved_model(
        model, tmp_path / "export", class_names=CLASSES, layout=KINECT_V2, tensor=TENSOR, sampling=SAMPLING,
        sensor={}, crop_size=50, cleaning={}, views=VIEWS,
    )  # fmt: skip
    assert read_description(directory).views == VIEWS
    arguments = ("joints", "hands") if streams == "both" else ("joints",)
    classify_clip = tf.saved_model.load(str(directory)).signatures["classify_clip"]
    for length in LENGTHS:
        pair = arrays[f"clip{length}_joints"]
        alone = np.where(np.arange(2)[:, None, None] == 1, np.nan, pair).astype(np.float32)
        for joints in (pair, alone):
            clip = {"joints": joints, "hands": arrays[f"clip{length}_hands"]}
            frames, logits = test_subsequences(length, SAMPLING), []
            swapped = not np.isnan(joints[:, 1]).all()
            for name in VIEWS:
                batch = {"pose": clip_pose_tensor(view(joints, KINECT_V2, name), KINECT_V2, TENSOR)[frames]}
                batch["hands"] = clip["hands"][frames][:, :, list(view_hands(name, swapped))]
                logits.append(model.predict({tensor.name: batch[tensor.name] for tensor in model.inputs}, verbose=0)["logits"])
            found = classify_clip(**{name: tf.constant(clip[name]) for name in arguments})
            np.testing.assert_allclose(found["logits"].numpy(), np.mean(logits, axis=(0, 1)), atol=1e-5)
            assert len(found["frames"]) == SAMPLING.subsequences == len(found.get("temporal_attention", found["frames"]))


def test_description_comes_back_and_nothing_unfinished_stays(tmp_path):
    directory = export(sta_hands(small_config()), tmp_path / "export")
    description = read_description(directory)
    assert description.class_names == CLASSES
    assert description.joints == KINECT_V2.joints
    assert description.sampling["seed"] == 5
    assert json.loads((directory / "actrec.json").read_text())["model"] == "sta_hands"
    assert [path.name for path in tmp_path.iterdir()] == ["export"]


def test_class_names_that_do_not_fit_are_refused(tmp_path):
    with pytest.raises(ConfigError, match=r"found 2, expected 3.*class names of the data set"):
        export(sta_hands(small_config()), tmp_path / "export", class_names=CLASSES[:2])
    assert not (tmp_path / "export").exists()


def test_a_full_disk_keeps_the_older_export_and_leaves_nothing_else(tmp_path, full_disk):
    model = sta_hands(small_config())
    directory = export(model, tmp_path / "export")
    before = {path: path.stat().st_mtime_ns for path in directory.rglob("*")}
    with full_disk(20_000), pytest.raises(DiskFullError, match=r"export: no space left .*Free some space") as error:
        export(model, directory)
    assert error.value.file == str(directory)
    assert {path: path.stat().st_mtime_ns for path in directory.rglob("*")} == before
    assert [path.name for path in tmp_path.iterdir()] == ["export"]


def test_the_package_may_change_while_a_long_run_is_on(tmp_path, monkeypatch):
    # AutoGraph reads functions from their file again when they are traced, at the end of the run, and finds other lines there.
    source = Path(keras_actrec.export.sta_hands.__file__).read_text()
    (tmp_path / "exporter.py").write_text(source)
    monkeypatch.syspath_prepend(tmp_path)
    exporter = importlib.import_module("exporter")
    (tmp_path / "exporter.py").write_text(source.replace("    def _specs(self)", "\n\n\n    def _specs(self)"))
    monkeypatch.setitem(globals(), "export_saved_model", exporter.export_saved_model)
    assert read_description(export(sta_hands(small_config()), tmp_path / "export")).class_names == CLASSES
    monkeypatch.delitem(sys.modules, "exporter")


def test_an_error_while_exporting_leaves_nothing(tmp_path, monkeypatch):
    def fail(*_, **__):
        raise ZeroDivisionError

    monkeypatch.setattr("keras_actrec.export.saved_model.json.dumps", fail)
    with pytest.raises(ZeroDivisionError):
        export(sta_hands(small_config()), tmp_path / "export")
    assert not list(tmp_path.iterdir())
