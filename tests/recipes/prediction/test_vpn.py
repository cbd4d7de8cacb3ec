"""One clip through an exported VPN: the answer of the package's own steps, its explanation, and clear refusals."""

from __future__ import annotations

import runpy
import sys
from dataclasses import asdict, dataclass
from pathlib import Path

import cv2
import keras
import numpy as np
import pytest

from keras_actrec.datasets.ntu_skeleton import read_ntu_skeleton
from keras_actrec.errors import ConfigError
from keras_actrec.export import export_vpn
from keras_actrec.extraction.person_clips import PersonCropConfig, clip_person_images
from keras_actrec.recipes.prediction.explanation import write_explanation
from keras_actrec.recipes.prediction.vpn import VPNPrediction
from keras_actrec.skeletons.cleaning import CleaningConfig, clean
from keras_actrec.skeletons.clip_sampling import ClipSamplingConfig, clip_frames, clip_poses, pose_frames, view_uniforms
from keras_actrec.skeletons.layouts import JHMDB_15, KINECT_V2
from keras_actrec.synthetic.dataset import SyntheticConfig, synthetic_clips, write_synthetic_ntu
from keras_actrec.video.decode import VideoReader
from keras_actrec.video.view_images import resize_images
from tests.export.small_vpn import VARIANTS, small_vpn
from tests.recipes.predicting import predict_clip
from tests.recipes.tiny import skeleton_file, video_file

REPOSITORY = Path(__file__).resolve().parents[3]
SYNTHETIC = SyntheticConfig(subjects=(1,), cameras=(1,), frames=(20, 22), width=480, height=270, faults=False)
CLIP = synthetic_clips(SYNTHETIC)[0].name
CLASSES = ("wave", "clap", "drink", "throw", "kick", "hop")
CROP = PersonCropConfig(size=24, margin=0.3)
SAMPLING = ClipSamplingConfig(frames=4, stride=2, poses=5, views=2)
CLEANING = CleaningConfig(max_gap=3)


@dataclass(frozen=True)
class Exported:
    """A data root, a model and its export."""

    root: Path
    model: keras.Model
    directory: Path

    @property
    def files(self) -> tuple[Path, Path]:
        return video_file(self.root, CLIP), skeleton_file(self.root, CLIP)


def export(directory: Path, **fields) -> keras.Model:
    model = small_vpn(side=16, classes=len(CLASSES), **fields)
    layout = JHMDB_15 if fields.get("joints") == "jhmdb_15" else KINECT_V2
    options = {"class_names": CLASSES, "layout": layout, "sampling": SAMPLING, "backbone": {}}
    export_vpn(model, directory, **options, crop=asdict(CROP), cleaning=asdict(CLEANING))
    return model


@pytest.fixture(scope="module")
def exported(tmp_path_factory) -> Exported:
    place = tmp_path_factory.mktemp("predict_vpn")
    write_synthetic_ntu(place / "ntu", SYNTHETIC, workers=1, progress=False)
    return Exported(place / "ntu", export(place / "export"), place / "export")


@pytest.fixture(scope="module")
def prediction(exported) -> VPNPrediction:
    return predict_clip(exported.directory, *exported.files)


def as_tested(exported) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """The model's outputs for the test views of the clip, by the functions that training and test use; and the boxes."""
    video, skeleton = exported.files
    sequence, _ = clean(read_ntu_skeleton(skeleton), CLEANING)
    images, boxes = clip_person_images(video, sequence, CROP)
    images, length = resize_images(images, 16), sequence.length
    frames = np.stack([clip_frames(length, start, SAMPLING) for start in view_uniforms(SAMPLING.views)])
    poses = clip_poses(sequence.joints, KINECT_V2)[pose_frames(length, np.full(5, 0.5), SAMPLING)]
    batch = {"clip": images[frames] / np.float32(127.5) - 1, "pose": np.stack([poses] * SAMPLING.views)}
    return exported.model.predict(batch, verbose=0), boxes


def test_probabilities_are_the_highest_scores_of_the_views(exported, prediction):
    outputs, boxes = as_tested(exported)
    np.testing.assert_allclose(prediction.probabilities, outputs["scores"].max(axis=0), atol=1e-5)
    assert np.ptp(prediction.probabilities) > 1e-3
    np.testing.assert_array_equal(prediction.boxes, boxes)
    assert [name for name, _ in prediction.top(2)] == [CLASSES[i] for i in np.argsort(-prediction.probabilities)[:2]]


def test_attention_is_spread_over_the_frames(prediction):
    attention, length = prediction.attention, prediction.sequence.length
    assert attention.heat.shape == (length, 4, 4), "the map of images of side 16, larger than the window"
    assert attention.temporal.shape == attention.seen.shape == (length,)
    assert attention.heat[attention.seen].max() == 1 and attention.heat[attention.seen].min() == 0
    assert 0 < attention.lowest < 1
    frames = np.stack([clip_frames(length, start, SAMPLING) for start in view_uniforms(SAMPLING.views)])
    assert attention.seen[frames].all() and not attention.seen.all()


def test_explained_as_a_video_and_as_a_picture(prediction, tmp_path):
    with VideoReader(write_explanation(prediction, tmp_path / "explained.avi")) as video:
        assert (video.width, video.height) == (960, 540 + 150)
        assert sum(1 for _ in video.frames()) == prediction.sequence.length
    picture = cv2.imread(str(write_explanation(prediction, tmp_path / "explained.png")))
    assert picture.shape == (2 * (540 + 150), 2 * 960, 3)


def test_frames_that_are_seen_have_a_heat_map(prediction):
    with VideoReader(prediction.video) as video:
        frames = list(video.frames())
    x0, y0, x1, y1 = prediction.boxes[0].astype(int)
    middle = (slice(2 * (y0 + 8), 2 * (y1 - 8)), slice(2 * (x0 + 8), 2 * (x1 - 8)))
    changes = []
    for frame, drawn in zip(frames, prediction.annotated_frames(), strict=True):
        plain = cv2.resize(frame, (960, 540), interpolation=cv2.INTER_AREA)
        changes.append((np.abs(drawn[:540].astype(int) - plain)[middle].max(axis=2) > 4).mean())
    seen = prediction.attention.seen
    assert np.array(changes)[seen].min() > 0.8 and np.array(changes)[~seen].max() < 0.3  # the skeleton alone


@pytest.mark.parametrize("variant", ["spatial", "none"])
def test_variants_without_some_of_the_attention(exported, tmp_path, variant):
    export(tmp_path / "export", **VARIANTS[variant])
    answer = predict_clip(tmp_path / "export", *exported.files)
    assert answer.attention.temporal is None and (answer.attention.heat is None) == (variant == "none")
    assert write_explanation(answer, tmp_path / "explained.png").is_file()


# What is refused --------------------------------------------------------------------------------------------------------------


def test_sensor_weights(exported):
    with pytest.raises(ConfigError, match=r"no image network.*found --sensor-weights some\.h5, expected VPN.*Leave out --sens"):
        predict_clip(exported.directory, *exported.files, sensor_weights="some.h5")


# The script -------------------------------------------------------------------------------------------------------------------


def run_script(monkeypatch, *arguments) -> int:
    monkeypatch.setattr(sys, "argv", ["predict.py", *map(str, arguments)])
    return runpy.run_path(str(REPOSITORY / "experiments" / "predict.py"))["main"]()


def test_the_script_explains_vpn(exported, prediction, tmp_path, monkeypatch, capsys):
    video, skeleton = exported.files
    arguments = ["--model", exported.directory, "--video", video, "--skeleton", skeleton, "--out", tmp_path / "explained.png"]
    assert run_script(monkeypatch, *arguments) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split("%")[1].strip() for line in lines[:5]] == [name for name, _ in prediction.top()]
    assert lines[5] == f"wrote {tmp_path / 'explained.png'}" and (tmp_path / "explained.png").is_file()
    assert run_script(monkeypatch, *arguments, "--sensor-weights", "some.h5") == 1
    assert capsys.readouterr().err.startswith(f"error: {exported.directory}: the exported model has no image network")
