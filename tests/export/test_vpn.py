"""The exported VPN: loaded by a process that knows TensorFlow only, it gives the numbers of the package."""

from __future__ import annotations

import json
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_actrec.errors import ConfigError, DiskFullError
from keras_actrec.export import VPNDescription, export_vpn, read_description
from keras_actrec.models.vpn import vpn
from keras_actrec.models.vpn_config import VPNConfig
from keras_actrec.skeletons.clip_sampling import ClipSamplingConfig, clip_frames, clip_poses, pose_frames, view_uniforms
from keras_actrec.skeletons.layouts import JHMDB_15, KINECT_V2
from keras_actrec.video.view_images import resize_images
from tests.export.small_vpn import SAMPLING, VARIANTS, small_vpn

CLASSES = ("wave", "clap", "drink")
LENGTHS = (1, 3, 7, 23)  # one frame, fewer than F, between F and F strides, more
PER_VIEW = ("scores", "spatial_attention", "temporal_attention", "attention", "embedding_distance")

# A stranger's program: TensorFlow and NumPy, and this package and Keras made impossible to import.
STRANGER = """
import sys
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


def export(model, directory, **changes):
    options = {"class_names": CLASSES, "layout": KINECT_V2, "sampling": SAMPLING, "crop": {"size": 12, "margin": 0.15}}
    return export_vpn(model, directory, **{**options, "cleaning": {}, "backbone": {"name": "small"}, **changes})


def clips(side: int) -> dict[str, np.ndarray]:
    """Images and joints of one clip per length; the person comes after a frame and has one joint that is not known."""
    rng = np.random.default_rng(3)
    arrays = {}
    for length in LENGTHS:
        arrays[f"clip{length}_images"] = rng.integers(0, 256, (length, side, side, 3), np.uint8)
        joints = rng.normal(0, 0.5, (length, 2, 25, 3)).astype(np.float32)
        joints[: length // 3], joints[:, :, 7] = np.nan, np.nan
        arrays[f"clip{length}_joints"] = joints
    arrays["serve_clip"] = rng.uniform(-1, 1, (3, 4, side, side, 3)).astype(np.float32)
    arrays["serve_pose"] = rng.normal(0, 1, (3, SAMPLING.poses, 25, 3)).astype(np.float32)
    return arrays


def as_tested(images, joints, sampling=SAMPLING) -> dict[str, np.ndarray]:
    """A clip's views by the NumPy functions: frames, pose frames, and the model's inputs."""
    starts, middles = view_uniforms(sampling.views), np.full(sampling.poses, 0.5)
    frames = np.stack([clip_frames(len(images), start, sampling) for start in starts])
    poses = np.stack([pose_frames(len(images), middles, sampling)] * sampling.views)
    pose = clip_poses(joints, KINECT_V2)[poses]
    return {"frames": frames, "pose_frames": poses, "clip": images[frames] / np.float32(127.5) - 1, "pose": pose}


@pytest.mark.parametrize(
    ("variant", "side"), [("coupled", 12), ("coupled", 20), ("spatial", 12), ("official", 12), ("none", 16)]
)
def test_a_stranger_finds_the_same_numbers(tmp_path, variant, side):
    model, arrays = small_vpn(side=side, **VARIANTS[variant]), clips(side)
    directory = export(model, tmp_path / "export")
    np.savez(tmp_path / "inputs.npz", **arrays)
    command = [sys.executable, "-c", STRANGER, str(directory), str(tmp_path / "inputs.npz"), str(tmp_path / "found.npz")]
    finished = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert finished.returncode == 0, finished.stderr[-3000:]
    found = np.load(tmp_path / "found.npz")

    for size in (1, 3):
        expected = model.predict({name: arrays[f"serve_{name}"][:size] for name in model.input}, verbose=0)
        expected["probabilities"] = expected["scores"]
        assert {name for name in found.files if name.startswith(f"serve{size}/")} == {
            f"serve{size}/{name}" for name in expected
        }
        for name, value in expected.items():
            np.testing.assert_allclose(found[f"serve{size}/{name}"], value, atol=1e-5)

    for length in LENGTHS:
        views = as_tested(arrays[f"clip{length}_images"], arrays[f"clip{length}_joints"])
        expected = model.predict({name: views[name] for name in model.input}, verbose=0)
        kept = {name: expected[name] for name in PER_VIEW if name in expected}
        kept |= {"probabilities": expected["scores"].max(axis=0), "frames": views["frames"]}
        if "pose" in model.input:
            kept["pose_frames"] = views["pose_frames"]
        assert {name for name in found.files if name.startswith(f"clip{length}/")} == {f"clip{length}/{name}" for name in kept}
        for name, value in kept.items():
            np.testing.assert_allclose(found[f"clip{length}/{name}"], value, atol=1e-5, err_msg=name)


def test_the_two_views_of_a_long_clip_differ():
    # Otherwise the comparison above says nothing about views.
    model, arrays = small_vpn(), clips(12)
    views = as_tested(arrays["clip23_images"], arrays["clip23_joints"])
    scores = model.predict({name: views[name] for name in model.input}, verbose=0)["scores"]
    assert np.abs(scores[0] - scores[1]).max() > 1e-3
    assert np.abs(scores - 1 / 3).max() > 1e-2


@pytest.mark.parametrize("side", [24, 6])
def test_images_of_another_side_are_resized_inside_the_graph(tmp_path, side):
    directory = export(small_vpn(), tmp_path / "export")
    classify_clip = tf.saved_model.load(str(directory)).signatures["classify_clip"]
    # Smooth images: ways of resizing agree on them.
    rows, columns = np.mgrid[:side, :side] / (side - 1)
    images = (
        np.stack([255 * rows, 255 * columns, 127 * (rows + columns)], axis=2)[None]
        * np.linspace(0.2, 1, 9)[:, None, None, None]
    )
    images, joints = images.astype(np.uint8), clips(12)["clip23_joints"][:9]
    found = classify_clip(images=tf.constant(images), joints=tf.constant(joints))
    expected = classify_clip(images=tf.constant(resize_images(images, 12)), joints=tf.constant(joints))
    np.testing.assert_allclose(found["scores"], expected["scores"], atol=0.02)
    black = classify_clip(images=tf.zeros_like(images), joints=tf.constant(joints))
    assert np.abs(black["scores"] - expected["scores"]).max() > 0.1


def test_clips_that_make_no_sense_are_refused(tmp_path):
    directory = export(small_vpn(), tmp_path / "export")
    classify_clip = tf.saved_model.load(str(directory)).signatures["classify_clip"]
    images, joints = np.zeros((3, 12, 12, 3), np.uint8), np.zeros((3, 2, 25, 3), np.float32)
    with pytest.raises(tf.errors.InvalidArgumentError, match="the clip has no frames"):
        classify_clip(images=tf.constant(images[:0]), joints=tf.constant(joints[:0]))
    with pytest.raises(tf.errors.InvalidArgumentError, match="images and joints must have the same number of frames"):
        classify_clip(images=tf.constant(images), joints=tf.constant(joints[:2]))


def test_description_comes_back_and_nothing_unfinished_stays(tmp_path):
    directory = export(small_vpn(side=20), tmp_path / "export")
    description = read_description(directory)
    assert isinstance(description, VPNDescription)
    assert description.class_names == CLASSES and description.joints == KINECT_V2.joints
    assert ClipSamplingConfig(**description.sampling) == SAMPLING
    assert description.crop == {"size": 12, "margin": 0.15} and description.backbone == {"name": "small"}
    assert (description.image_size, description.map_size) == (20, (5, 5))
    assert json.loads((directory / "actrec.json").read_text())["model"] == "vpn"
    assert [path.name for path in tmp_path.iterdir()] == ["export"]


def test_a_full_disk_keeps_the_older_export(tmp_path, full_disk):
    directory = export(small_vpn(), tmp_path / "export")
    before = {path: path.stat().st_mtime_ns for path in directory.rglob("*")}
    with full_disk(20_000), pytest.raises(DiskFullError, match=r"export: no space left "):
        export(small_vpn(), directory)
    assert {path: path.stat().st_mtime_ns for path in directory.rglob("*")} == before
    assert [path.name for path in tmp_path.iterdir()] == ["export"]


# What is refused --------------------------------------------------------------------------------------------------------------


def test_class_names_that_do_not_fit(tmp_path):
    with pytest.raises(ConfigError, match=r"found 2, expected 3.*class names of the data set"):
        export(small_vpn(), tmp_path / "export", class_names=CLASSES[:2])
    assert not (tmp_path / "export").exists()


def test_a_head_without_its_backbone(tmp_path):
    head = vpn(VPNConfig(classes=3, map_shape=(2, 3, 3, 6)))
    with pytest.raises(
        ConfigError, match=r"with its visual backbone \(found inputs map, pose, expected clip, pose\).*with_backbone"
    ):
        export(head, tmp_path / "export")


def test_sampling_and_layout_of_another_model(tmp_path):
    model = small_vpn()
    with pytest.raises(ConfigError, match=r"clips do not fit.*found \(4, 12, 12, 3\), expected \(8, S, S, 3\).*RGB"):
        export(model, tmp_path / "export", sampling=ClipSamplingConfig(frames=8, poses=5))
    with pytest.raises(ConfigError, match=r"poses do not fit.*found \(5, 25, 3\), expected \(6, 25, 3\)"):
        export(model, tmp_path / "export", sampling=ClipSamplingConfig(frames=4, poses=6))
    with pytest.raises(ConfigError, match=r"poses do not fit.*expected \(5, 15, 3\).*joint layout"):
        export(model, tmp_path / "export", layout=JHMDB_15)


def test_a_network_that_sees_flow(tmp_path):
    clip = keras.Input((4, 12, 12, 2), name="clip")
    flow = keras.Model(clip, keras.layers.Conv3D(6, (2, 4, 4), strides=(2, 4, 4))(clip))
    model = vpn(VPNConfig(classes=3, map_shape=(2, 3, 3, 6), attention="none", embedding="none"), flow)
    with pytest.raises(ConfigError, match=r"found \(4, 12, 12, 2\), expected \(4, S, S, 3\).*only networks that see RGB"):
        export(model, tmp_path / "export")
