"""The exported RPAN: loaded by a process that knows TensorFlow only, it gives the numbers of the package."""

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
from keras_actrec.export import RPANDescription, export_rpan, read_description
from keras_actrec.models.rpan import rpan
from keras_actrec.skeletons.layouts import JHMDB_15, PENN_13
from keras_actrec.video.clip_pictures import resized
from keras_actrec.video.frame_clips import FrameClipConfig
from keras_actrec.video.optical_flow import flow_stacks
from tests.export.small_rpan import BACKBONE, FLOW, SAMPLING, small_config, small_rpan

CLASSES = ("wave", "clap", "drink")
LENGTHS = (1, 3, 23)  # one frame, fewer than T, more
HEIGHT, WIDTH = SAMPLING.picture_size
PLACES = (HEIGHT // 8, WIDTH // 8)

# A stranger's program: TensorFlow and NumPy, and this package and Keras made impossible to import.
STRANGER = """
import sys
sys.modules["keras_actrec"] = None
sys.modules["keras"] = None
import numpy as np, tensorflow as tf
for directory in sys.argv[1:]:
    served = tf.saved_model.load(directory + "/export").signatures
    arrays, found = np.load(directory + "/inputs.npz"), {}
    for name, value in arrays.items():
        signature, source = name.split("/")[:2]
        outputs = served[signature](**{source: tf.constant(value)})
        found |= {f"{name}/{key}": value.numpy() for key, value in outputs.items()}
    np.savez(directory + "/found.npz", **found)
"""


def export(model, directory, **changes):
    options = {"class_names": CLASSES, "layout": JHMDB_15, "sampling": SAMPLING, "stream": "rgb", "backbone": BACKBONE}
    return export_rpan(model, directory, **{**options, "attention": "human_part", **changes})


@pytest.fixture(scope="module")
def model() -> keras.Model:
    return small_rpan()


@pytest.fixture(scope="module")
def exported(model, tmp_path_factory):
    return export(model, tmp_path_factory.mktemp("rpan") / "export")


@pytest.fixture(scope="module")
def classify_clip(exported):
    served = tf.saved_model.load(str(exported))  # its signatures do not keep it alive
    yield served.signatures["classify_clip"]
    del served


def clip_of(length: int, *, channels: int = 3, size: tuple[int, int] = SAMPLING.picture_size) -> np.ndarray:
    return np.random.default_rng(length).integers(0, 256, (length, *size, channels), np.uint8)


def expected_frames(length: int) -> np.ndarray:
    """T = 4 frames of 3 views whose starts are in the middle of the thirds of the first interval, written out."""
    return np.array([[int((i + u) * length / 4 + 1e-9) for i in range(4)] for u in (1 / 6, 1 / 2, 5 / 6)])


def softmax(logits: np.ndarray) -> np.ndarray:
    return np.exp(logits) / np.exp(logits).sum(axis=-1, keepdims=True)


def peaks(maps: np.ndarray) -> np.ndarray:
    """(…, J, K1, K2) → (…, J, 2), the middle of the highest place, map by map."""
    points = []
    for one in maps.reshape(-1, *PLACES):
        row, column = np.unravel_index(one.argmax(), PLACES)
        points.append([(2 * column + 1) / PLACES[1] - 1, (2 * row + 1) / PLACES[0] - 1])
    return np.array(points).reshape(*maps.shape[:-2], 2)


def answer(model: keras.Model, clips: np.ndarray, *, joints: bool) -> dict[str, np.ndarray]:
    """What `classify_clip` ought to give for views uint8 (V, T, H, W, channels)."""
    outputs = model.predict({"clip": clips / np.float32(127.5) - 1}, verbose=0)
    if joints:
        outputs["joints"] = peaks(outputs["attention"])
    return {**outputs, "probabilities": softmax(outputs["logits"].mean(axis=0))}


VARIANTS = (("rgb", "human_part"), ("flow", "human_part"), ("rgb", "share_all"), ("flow", "none"))
MAPS = {"human_part": 15, "share_all": 1, "none": 0}


@pytest.fixture(scope="module")
def strangers_numbers(tmp_path_factory):
    """What a stranger finds, and what the package does: variant → two dicts."""
    place = tmp_path_factory.mktemp("stranger")
    expected, directories = {}, {}
    for variant in VARIANTS:
        stream, attention = variant
        channels, source, options = (3, "images", {}) if stream == "rgb" else (10, "flow", {"flow": FLOW})
        model, directory = small_rpan(channels, attention=attention), place / "_".join(variant)
        export(model, directory / "export", stream=stream, attention=attention, **options)
        rng = np.random.default_rng(3)
        clips = {n: rng.uniform(-1, 1, (n, 4, HEIGHT, WIDTH, channels)).astype(np.float32) for n in (1, 3)}
        inputs, outputs = {f"serve/clip/{n}": clip for n, clip in clips.items()}, {}
        for n, clip in clips.items():
            found = model.predict({"clip": clip}, verbose=0)
            found["probabilities"] = softmax(found["logits"])
            outputs |= {f"serve/clip/{n}/{name}": value for name, value in found.items()}
        for n in LENGTHS:
            clip, frames = clip_of(n, channels=3 if stream == "rgb" else 2), expected_frames(n)
            pictures = clip[frames] if stream == "rgb" else np.stack([flow_stacks(clip, view) for view in frames])
            found = {**answer(model, pictures, joints=attention == "human_part"), "frames": frames}
            inputs[f"classify_clip/{source}/{n}"] = clip
            outputs |= {f"classify_clip/{source}/{n}/{name}": value for name, value in found.items()}
        np.savez(directory / "inputs.npz", **inputs)
        expected[variant], directories[variant] = outputs, directory
    command = [sys.executable, "-c", STRANGER, *map(str, directories.values())]
    finished = subprocess.run(command, capture_output=True, text=True, cwd=place)
    assert finished.returncode == 0, finished.stderr[-3000:]
    return {variant: (np.load(directories[variant] / "found.npz"), expected[variant]) for variant in VARIANTS}


@pytest.mark.parametrize("variant", VARIANTS, ids="_".join)
def test_a_stranger_finds_the_same_numbers(strangers_numbers, variant):
    found, expected = strangers_numbers[variant]
    assert set(found.files) == set(expected)
    maps = [value for name, value in expected.items() if name.endswith("attention")]
    assert [value.shape[2] for value in maps] == [MAPS[variant[1]]] * (5 if MAPS[variant[1]] else 0)
    for name, value in expected.items():
        np.testing.assert_allclose(found[name], value, atol=2e-5, err_msg=name)


@pytest.mark.parametrize("channels", [3, 10])
def test_views_and_looks_of_a_clip_differ(channels):
    # Otherwise the comparison above says nothing about which frames are taken, and in which order.
    clip, frames = clip_of(23, channels=3 if channels == 3 else 2), expected_frames(23)
    pictures = clip[frames] if channels == 3 else np.stack([flow_stacks(clip, view) for view in frames])
    outputs = answer(small_rpan(channels), pictures, joints=True)
    assert np.ptp(outputs["logits"], axis=0).max() > 1e-2 and np.ptp(outputs["step_logits"], axis=1).max() > 1e-2
    assert len(np.unique(outputs["joints"].reshape(-1, 2), axis=0)) > 6


def test_frames_at_equal_intervals(classify_clip):
    found = classify_clip(images=tf.constant(clip_of(24)))["frames"]
    np.testing.assert_array_equal(found, [[1, 7, 13, 19], [3, 9, 15, 21], [5, 11, 17, 23]])


@pytest.mark.parametrize(
    "size", [(48, 64), (31, 57), (100, 33), (12, 16), (12, 64)], ids=["halved", "by area", "narrower", "grown", "both ways"]
)
def test_frames_of_another_size_become_the_pictures_of_training(classify_clip, model, size):
    clip, frames = clip_of(9, size=size), expected_frames(9)
    pictures = np.stack([resized(frame, SAMPLING.picture_size) for frame in clip])
    crude = np.stack([cv2.resize(frame, (WIDTH, HEIGHT), interpolation=cv2.INTER_NEAREST) for frame in clip])
    expected, other = (answer(model, views[frames], joints=False)["logits"] for views in (pictures, crude))
    found = classify_clip(images=tf.constant(clip))["logits"]
    # Not bit for bit: OpenCV rounds some grey values otherwise.
    assert np.abs(found - expected).max() < 0.02 * np.abs(other - expected).max()


def test_a_clip_without_frames_is_refused(classify_clip):
    with pytest.raises(tf.errors.InvalidArgumentError, match="the clip has no frames"):
        classify_clip(images=tf.zeros((0, HEIGHT, WIDTH, 3), tf.uint8))


def test_description_comes_back_and_nothing_unfinished_stays(exported):
    description = read_description(exported)
    assert isinstance(description, RPANDescription)
    assert description.class_names == CLASSES and description.joints == JHMDB_15.joints and description.layout == "jhmdb_15"
    assert FrameClipConfig(**description.sampling) == SAMPLING and description.backbone == BACKBONE
    assert (description.stream, description.flow) == ("rgb", None)
    assert (description.attention, description.guided) == ("human_part", True)
    assert json.loads((exported / "actrec.json").read_text())["model"] == "rpan"
    assert [path.name for path in exported.parent.iterdir()] == ["export"]


def test_places_of_untaught_maps_are_no_joints(model, tmp_path):
    directory = export(model, tmp_path / "export", guided=False)
    served = tf.saved_model.load(str(directory))
    found = served.signatures["classify_clip"](images=tf.constant(clip_of(5)))
    assert "attention" in found and "joints" not in found
    assert not read_description(directory).guided


def test_what_the_description_keeps_of_flow_and_of_a_model_without_joints(tmp_path):
    model = small_rpan(10, attention="share_all")
    description = read_description(export(model, tmp_path / "export", attention="share_all", stream="flow", flow=FLOW))
    assert description.flow == FLOW and not description.guided


def test_a_full_disk_keeps_the_older_export(model, tmp_path, full_disk):
    directory = export(model, tmp_path / "export")
    before = {path: path.stat().st_mtime_ns for path in directory.rglob("*")}
    with full_disk(5_000), pytest.raises(DiskFullError, match=r"export: no space left "):
        export(model, directory)
    assert {path: path.stat().st_mtime_ns for path in directory.rglob("*")} == before
    assert [path.name for path in tmp_path.iterdir()] == ["export"]


# What is refused --------------------------------------------------------------------------------------------------------------


def refused(model, directory, words: str, **changes) -> None:
    with pytest.raises(ConfigError, match=words):
        export(model, directory / "export", **changes)
    assert not list(directory.iterdir())


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"class_names": CLASSES[:2]}, "found 2, expected 3.*class names of the data set"),
        ({"sampling": FrameClipConfig(8, (24, 32))}, r"clips do not fit.*found \(4, 24, 32\), expected \(8, 24, 32\).*with"),
        ({"sampling": FrameClipConfig(4, (32, 24))}, r"clips do not fit.*found \(4, 24, 32\), expected \(4, 32, 24\)"),
        ({"stream": "depth"}, "unknown stream of RPAN .*found 'depth', expected rgb or flow"),
        ({"stream": "flow", "flow": FLOW}, "pictures do not fit the stream .found 3 channels, expected an even number"),
        ({"flow": FLOW}, "options of optical flow belong to a model of flow .found stream rgb and flow {'method'"),
        ({"attention": "all"}, "unknown attention of RPAN .*'all', expected human_part | separate_joint"),
        ({"attention": "share_all"}, "maps do not fit.*found 15, expected 1 of attention share_all"),
        ({"attention": "none"}, "maps do not fit.*found 15, expected 0 of attention none"),
        ({"layout": PENN_13}, "maps do not fit.*found 15, expected 13 of attention human_part and layout penn_13.*trained"),
    ],
    ids=["classes", "frames", "size", "stream", "channels", "flow", "attention", "one map", "no map", "layout"],
)  # fmt: skip
def test_options_that_do_not_fit(model, tmp_path, changes, words):
    refused(model, tmp_path, words, **changes)


def test_a_model_of_flow(tmp_path):
    model = small_rpan(10)
    refused(model, tmp_path, "pictures do not fit the stream .found 10 channels, expected 3 of rgb.*trained on")
    refused(model, tmp_path, "belong to a model of flow .found stream flow and flow None.*Give those", stream="flow")
    other = {**FLOW, "picture_size": [48, 64]}
    refused(model, tmp_path, r"another size.*found \(48, 64\), expected \(24, 32\)", stream="flow", flow=other)


def test_a_head_without_its_backbone(tmp_path):
    refused(rpan(small_config()), tmp_path, r"with its backbone \(found inputs cube, expected clip\).*with_backbone")
