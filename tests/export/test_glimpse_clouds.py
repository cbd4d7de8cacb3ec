"""The exported Glimpse Clouds: loaded by a process that knows TensorFlow only, it gives the numbers of the package."""

from __future__ import annotations

import json
import subprocess
import sys

import cv2
import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_actrec.errors import ConfigError, DiskFullError
from keras_actrec.export import GlimpseCloudsDescription, export_glimpse_clouds, read_description
from keras_actrec.models.glimpse_clouds import glimpse_clouds
from keras_actrec.skeletons.layouts import JHMDB_15, KINECT_V2
from keras_actrec.video.rgb_clips import RGBClipConfig, crop_corners, crop_views, test_uniforms, view_frames
from tests.export.small_glimpse_clouds import PICTURE, SAMPLING, VARIANTS, small_config, small_glimpse_clouds

CLASSES = ("wave", "clap", "drink")
LENGTHS = (1, 3, 23)  # one frame, fewer than T, more
CROP = {"size": PICTURE, "margin": 0.0, "box": "whole", "quality": 95}
PER_VIEW = ("logits", "worker_logits", "glimpses", "assignment", "pose")

# A stranger's program: TensorFlow and NumPy, and this package and Keras made impossible to import.
STRANGER = """
import sys
sys.modules["keras_actrec"] = None
sys.modules["keras"] = None
import numpy as np, tensorflow as tf
directory, inputs, results = sys.argv[1:]
served = tf.saved_model.load(directory).signatures
arrays, found = np.load(inputs), {}
for size in (1, 3):
    clip = tf.constant(arrays["serve_clip"][:size])
    found |= {f"serve{size}/{name}": value.numpy() for name, value in served["serve"](clip=clip).items()}
for length in %r:
    images = tf.constant(arrays[f"images{length}"])
    found |= {f"clip{length}/{name}": value.numpy() for name, value in served["classify_clip"](images=images).items()}
np.savez(results, **found)
""" % (LENGTHS,)  # noqa: UP031 - the program is full of braces


def export(model, directory, **changes):
    options = {"class_names": CLASSES, "layout": KINECT_V2, "sampling": SAMPLING, "picture_size": PICTURE, "crop": CROP}
    return export_glimpse_clouds(model, directory, **{**options, "backbone": {"name": "small"}, **changes})


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    return export(small_glimpse_clouds(), tmp_path_factory.mktemp("glimpse_clouds") / "export")


@pytest.fixture(scope="module")
def classify_clip(exported):
    served = tf.saved_model.load(str(exported))  # its signatures do not keep it alive
    yield served.signatures["classify_clip"]
    del served


def clips() -> dict[str, np.ndarray]:
    """Pictures of one clip per length, and rows for `serve`."""
    rng = np.random.default_rng(3)
    arrays = {f"images{n}": rng.integers(0, 256, (n, PICTURE, PICTURE, 3), np.uint8) for n in LENGTHS}
    return {**arrays, "serve_clip": rng.uniform(-1, 1, (3, 4, 16, 16, 3)).astype(np.float32)}


def as_tested(pictures) -> dict[str, np.ndarray]:
    """A clip's views by the NumPy functions that training and test use: frames, crops, and the model's input."""
    table, length = test_uniforms(SAMPLING), len(pictures)
    views = crop_views(lambda frames: pictures[frames], length, table, PICTURE, SAMPLING)
    frames, crops = view_frames(length, table, SAMPLING), crop_corners(table, PICTURE, SAMPLING)
    return {"frames": frames, "crops": crops, "clip": views / np.float32(127.5) - 1}


def softmax(logits: np.ndarray) -> np.ndarray:
    return np.exp(logits) / np.exp(logits).sum(axis=-1, keepdims=True)


@pytest.mark.parametrize("variant", ["clouds", "tubes", "global"])
def test_a_stranger_finds_the_same_numbers(tmp_path, variant):
    model, arrays = small_glimpse_clouds(**VARIANTS[variant]), clips()
    directory = export(model, tmp_path / "export")
    np.savez(tmp_path / "inputs.npz", **arrays)
    command = [sys.executable, "-c", STRANGER, str(directory), str(tmp_path / "inputs.npz"), str(tmp_path / "found.npz")]
    finished = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert finished.returncode == 0, finished.stderr[-3000:]
    found = np.load(tmp_path / "found.npz")
    expected = {}
    for size in (1, 3):
        outputs = model.predict({"clip": arrays["serve_clip"][:size]}, verbose=0)
        outputs["probabilities"] = softmax(outputs["logits"])
        expected |= {f"serve{size}/{name}": value for name, value in outputs.items()}
    for length in LENGTHS:
        views = as_tested(arrays[f"images{length}"])
        outputs = model.predict({"clip": views["clip"]}, verbose=0)
        kept = {name: outputs[name] for name in PER_VIEW if name in outputs}
        kept |= {"frames": views["frames"], "crops": views["crops"], "probabilities": softmax(outputs["logits"].mean(axis=0))}
        expected |= {f"clip{length}/{name}": value for name, value in kept.items()}
    assert set(found.files) == set(expected)
    assert ("clip3/assignment" in expected, "clip3/glimpses" in expected) == (variant == "clouds", variant != "global")
    for name, value in expected.items():
        np.testing.assert_allclose(found[name], value, atol=2e-5, err_msg=name)


def test_the_views_of_a_clip_differ():
    # Otherwise the comparison above says nothing about views, nor about what glimpses and workers do.
    views = as_tested(clips()["images23"])
    outputs = small_glimpse_clouds().predict({"clip": views["clip"]}, verbose=0)
    assert len({tuple(crop) for crop in views["crops"].tolist()}) > 1
    for name in PER_VIEW:
        assert np.ptp(outputs[name], axis=0).max() > 1e-3, name
    assert np.abs(outputs["assignment"] - 1 / 3).max() > 0.01


def test_frames_and_crops_come_from_the_seeded_table(classify_clip):
    table = np.random.default_rng(SAMPLING.seed).random((3, 4 + 2))
    found = classify_clip(images=tf.zeros((23, PICTURE, PICTURE, 3), tf.uint8))
    starts, ends = np.array([0, 5, 11, 17]), np.array([5, 11, 17, 23])  # of four segments of 23 frames
    np.testing.assert_array_equal(found["frames"], starts + np.floor(table[:, :4] * (ends - starts)))
    np.testing.assert_array_equal(found["crops"], np.floor(table[:, 4:] * (20 - 16 + 1)))


def test_frames_of_another_size_are_stretched_to_the_picture_without_aliasing(classify_clip):
    # Smooth frames, wider than high: ways of resizing agree on them.
    rows, columns = np.mgrid[:50, :90].astype(float)
    frame = np.stack([5 * rows, 2.8 * columns, 2 * rows + columns], axis=2)
    images = (frame * np.linspace(0.2, 1, 9)[:, None, None, None]).astype(np.uint8)
    pictures = np.stack([cv2.resize(image, (PICTURE, PICTURE), interpolation=cv2.INTER_AREA) for image in images])
    found, expected = (classify_clip(images=tf.constant(clip)) for clip in (images, pictures))
    black = classify_clip(images=tf.zeros_like(images))
    difference = np.abs(found["logits"] - expected["logits"]).max()
    assert difference < 0.1 * np.abs(black["logits"] - expected["logits"]).max()
    # Every second pixel white is grey; every third one by itself, which fall into the picture's pixels, would be a board again.
    board = np.tile(np.indices((60, 60)).sum(axis=0)[..., None] % 2 * 255, (4, 1, 1, 3)).astype(np.uint8)
    grey = np.full((4, 60, 60, 3), 127, np.uint8)
    found, expected = (classify_clip(images=tf.constant(clip)) for clip in (board, grey))
    np.testing.assert_allclose(found["logits"], expected["logits"], atol=0.05)


def test_a_clip_without_frames_is_refused(classify_clip):
    with pytest.raises(tf.errors.InvalidArgumentError, match="the clip has no frames"):
        classify_clip(images=tf.zeros((0, PICTURE, PICTURE, 3), tf.uint8))


def test_description_comes_back_and_nothing_unfinished_stays(exported):
    description = read_description(exported)
    assert isinstance(description, GlimpseCloudsDescription)
    assert description.class_names == CLASSES and description.joints == KINECT_V2.joints
    assert RGBClipConfig(**description.sampling) == SAMPLING and description.picture_size == PICTURE
    assert description.crop == CROP and description.backbone == {"name": "small"} and description.cleaning is None
    assert json.loads((exported / "actrec.json").read_text())["model"] == "glimpse_clouds"
    assert [path.name for path in exported.parent.iterdir()] == ["export"]


def test_crops_of_people_keep_the_cleaning_of_their_skeletons(tmp_path):
    model, crop = small_glimpse_clouds(**VARIANTS["global"]), {**CROP, "box": "clip"}
    with pytest.raises(ConfigError, match=r"cleaned skeletons \(found box 'clip' and no cleaning\).*those of the pose cache"):
        export(model, tmp_path / "export", crop=crop)
    assert not list(tmp_path.iterdir())
    description = read_description(export(model, tmp_path / "export", crop=crop, cleaning={"max_gap": 3}))
    assert description.cleaning == {"max_gap": 3} and description.crop == crop


def test_a_full_disk_keeps_the_older_export(tmp_path, full_disk):
    model = small_glimpse_clouds(**VARIANTS["global"])
    directory = export(model, tmp_path / "export")
    before = {path: path.stat().st_mtime_ns for path in directory.rglob("*")}
    with full_disk(5_000), pytest.raises(DiskFullError, match=r"export: no space left "):
        export(model, directory)
    assert {path: path.stat().st_mtime_ns for path in directory.rglob("*")} == before
    assert [path.name for path in tmp_path.iterdir()] == ["export"]


# What is refused --------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def model() -> keras.Model:
    return small_glimpse_clouds()


def test_class_names_that_do_not_fit(model, tmp_path):
    with pytest.raises(ConfigError, match=r"found 2, expected 3.*class names of the data set"):
        export(model, tmp_path / "export", class_names=CLASSES[:2])
    assert not (tmp_path / "export").exists()


def test_a_head_without_its_backbone(tmp_path):
    head = glimpse_clouds(small_config())
    with pytest.raises(ConfigError, match=r"with its backbone \(found inputs map, context, expected clip\).*with_backbone"):
        export(head, tmp_path / "export")


@pytest.mark.parametrize(
    ("sampling", "expected"),
    [(RGBClipConfig(frames=8, image_size=16), r"\(8, 16, 16, 3\)"), (RGBClipConfig(4, 12), r"\(4, 12, 12, 3\)")],
)
def test_the_sampling_of_another_model(model, tmp_path, sampling, expected):
    with pytest.raises(ConfigError, match=rf"clips do not fit.*found \(4, 16, 16, 3\), expected {expected}.*trained with"):
        export(model, tmp_path / "export", sampling=sampling)


def test_pictures_smaller_than_the_crops(model, tmp_path):
    with pytest.raises(ConfigError, match=r"pictures are smaller than the crops \(found 12 pixels, expected at least 16\)"):
        export(model, tmp_path / "export", picture_size=12)


def test_the_layout_of_another_model(model, tmp_path):
    with pytest.raises(ConfigError, match=r"poses do not fit.*found 25 joints, expected the 15 of jhmdb_15.*joint layout"):
        export(model, tmp_path / "export", layout=JHMDB_15)
