"""One clip through an exported Glimpse Clouds: the answer of the package's own steps from RGB alone, and its explanation."""

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
from keras_actrec.errors import ConfigError, VideoError
from keras_actrec.export import export_glimpse_clouds, export_vpn
from keras_actrec.extraction.person_clips import PersonCropConfig, clip_person_images
from keras_actrec.recipes.prediction.explanation import write_explanation
from keras_actrec.recipes.prediction.glimpse_clouds import GlimpsePrediction
from keras_actrec.skeletons.cleaning import CleaningConfig, clean
from keras_actrec.skeletons.layouts import JHMDB_15, KINECT_V2
from keras_actrec.synthetic.dataset import SyntheticConfig, synthetic_clips, write_synthetic_ntu
from keras_actrec.video.decode import VideoReader
from keras_actrec.video.rgb_clips import crop_views, test_uniforms, view_frames
from keras_actrec.video.write import write_video
from tests.export.small_glimpse_clouds import PICTURE, SAMPLING, VARIANTS, small_glimpse_clouds
from tests.export.small_vpn import SAMPLING as VPN_SAMPLING
from tests.export.small_vpn import small_vpn
from tests.recipes.predicting import predict_clip
from tests.recipes.tiny import skeleton_file, video_file

REPOSITORY = Path(__file__).resolve().parents[3]
SYNTHETIC = SyntheticConfig(subjects=(1,), cameras=(1,), frames=(20, 22), width=480, height=270, faults=False)
CLIP = synthetic_clips(SYNTHETIC)[0].name
CLASSES = ("wave", "clap", "drink", "throw", "kick", "hop")
WHOLE = PersonCropConfig(size=PICTURE, margin=0.0, box="whole")
CLEANING = CleaningConfig(max_gap=3)


@dataclass(frozen=True)
class Exported:
    """A data root, a model and its export."""

    root: Path
    model: keras.Model
    directory: Path

    @property
    def video(self) -> Path:
        return video_file(self.root, CLIP)

    @property
    def skeleton(self) -> Path:
        return skeleton_file(self.root, CLIP)


def export(directory: Path, *, crop=WHOLE, **fields) -> keras.Model:
    model = small_glimpse_clouds(classes=len(CLASSES), **fields)
    layout = JHMDB_15 if fields.get("layout") == "jhmdb_15" else KINECT_V2
    options = {"class_names": CLASSES, "layout": layout, "sampling": SAMPLING, "picture_size": PICTURE, "backbone": {}}
    export_glimpse_clouds(model, directory, **options, crop=asdict(crop), cleaning=asdict(CLEANING))
    return model


@pytest.fixture(scope="module")
def exported(tmp_path_factory) -> Exported:
    place = tmp_path_factory.mktemp("predict_glimpse_clouds")
    write_synthetic_ntu(place / "ntu", SYNTHETIC, workers=1, progress=False)
    return Exported(place / "ntu", export(place / "export"), place / "export")


@pytest.fixture(scope="module")
def prediction(exported) -> GlimpsePrediction:
    return predict_clip(exported.directory, exported.video)


def as_tested(exported, model, crop) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """The model's outputs for the test views of the clip, by the functions that caches, training and test use; the boxes."""
    sequence, _ = clean(read_ntu_skeleton(exported.skeleton), CLEANING)
    pictures, boxes = clip_person_images(exported.video, sequence, crop)
    views = crop_views(lambda frames: pictures[frames], len(pictures), test_uniforms(SAMPLING), PICTURE, SAMPLING)
    return model.predict({"clip": views / np.float32(127.5) - 1}, verbose=0), boxes


def softmax(logits: np.ndarray) -> np.ndarray:
    return np.exp(logits) / np.exp(logits).sum()


def test_the_video_alone_gives_the_answer_of_the_test(exported, prediction):
    outputs, _ = as_tested(exported, exported.model, WHOLE)
    np.testing.assert_allclose(prediction.probabilities, softmax(outputs["logits"].mean(axis=0)), atol=1e-5)
    np.testing.assert_allclose(prediction.clouds.assignment, outputs["assignment"], atol=1e-5)
    assert np.ptp(prediction.probabilities) > 0.01
    assert prediction.sequence is None
    assert [name for name, _ in prediction.top(2)] == [CLASSES[i] for i in np.argsort(-prediction.probabilities)[:2]]


def test_glimpses_are_in_pixels_of_the_video(exported, prediction):
    outputs, _ = as_tested(exported, exported.model, WHOLE)
    table = test_uniforms(SAMPLING)
    corner = np.floor(table[:, None, None, 4:] * 5)  # of 16 pixels in 20
    low, high = (outputs["glimpses"][..., :2] + sign * outputs["glimpses"][..., 2:] for sign in (-1, 1))
    expected = np.concatenate([(corner + (edge + 1) / 2 * 16) / 20 * [480, 270] for edge in (low, high)], axis=-1)
    np.testing.assert_allclose(prediction.clouds.glimpses, expected, atol=0.01)
    with VideoReader(exported.video) as video:
        length = sum(1 for _ in video.frames())
    np.testing.assert_array_equal(prediction.clouds.frames, view_frames(length, table, SAMPLING))
    assert len(prediction.clouds.seen) == length and not prediction.clouds.seen.all()


def test_a_skeleton_ends_the_clip_where_it_does(exported, prediction, tmp_path):
    with VideoReader(exported.video) as video:
        frames = list(video.frames())
    folder = tmp_path / "longer"  # images: no codec between them and the frames
    folder.mkdir()
    for index, frame in enumerate([*frames, *frames[:7]]):
        cv2.imwrite(str(folder / f"{index:06}.png"), frame)
    with_it, without = predict_clip(exported.directory, folder, exported.skeleton), predict_clip(exported.directory, folder)
    np.testing.assert_allclose(with_it.probabilities, prediction.probabilities, atol=1e-6)
    assert (len(with_it.clouds.seen), len(without.clouds.seen)) == (len(frames), len(frames) + 7)
    with pytest.raises(VideoError, match="the video ends before the last frame of its skeleton"):
        predict_clip(exported.directory, write_video(tmp_path / "short.avi", frames[:9], 30), exported.skeleton)


@pytest.fixture(scope="module")
def person_export(tmp_path_factory) -> tuple[Path, keras.Model]:
    """A model that sees crops of people."""
    place = tmp_path_factory.mktemp("people") / "export"
    return place, export(place, crop=PersonCropConfig(size=PICTURE, box="frame"), **VARIANTS["tubes"])


def test_crops_of_people_are_cut_around_the_skeleton(exported, person_export):
    directory, model = person_export
    answer = predict_clip(directory, exported.video, exported.skeleton)
    outputs, boxes = as_tested(exported, model, PersonCropConfig(size=PICTURE, box="frame"))
    np.testing.assert_allclose(answer.probabilities, softmax(outputs["logits"].mean(axis=0)), atol=1e-5)
    corner = np.floor(test_uniforms(SAMPLING)[:, None, 4:] * 5)
    seen = boxes[answer.clouds.frames]
    low = seen[..., :2] + corner / 20 * (seen[..., 2:] - seen[..., :2])
    np.testing.assert_allclose(answer.clouds.crops[..., :2], low, atol=1e-3)
    assert answer.clouds.assignment is None and answer.clouds.glimpses.shape == (3, 4, 3, 4)


# The explanation --------------------------------------------------------------------------------------------------------------


def test_explained_as_videos_and_as_a_picture(prediction, tmp_path):
    held = 4 * (15 - 1)  # half a second of 30 frames per second at each look of the first view
    for name in ("explained.avi", "explained.mp4"):
        with VideoReader(write_explanation(prediction, tmp_path / name)) as video:
            assert (video.width, video.height) == (960, 540 + 150)
            assert sum(1 for _ in video.frames()) == len(prediction.clouds.seen) + held
    picture = cv2.imread(str(write_explanation(prediction, tmp_path / "explained.png")))
    assert picture.shape == (2 * (540 + 150), 2 * 960, 3)


def test_frames_that_were_looked_at_are_drawn_on(exported, prediction):
    with VideoReader(exported.video) as video:
        plain = [cv2.resize(frame, (960, 540), interpolation=cv2.INTER_CUBIC) for frame in video.frames()]
    drawn = [frame[:540] for frame in prediction.annotated_frames()]
    changed = [bool((frame != before).any()) for frame, before in zip(drawn, plain, strict=True)]
    assert changed == prediction.clouds.seen.tolist()


def test_a_picture_shows_moments_of_the_first_view(prediction):
    moments = prediction.moments
    assert set(np.flatnonzero(moments == 1)) == set(prediction.clouds.frames[0].tolist())
    np.testing.assert_array_equal(np.isfinite(moments), prediction.clouds.seen)


def test_regressed_poses_are_drawn_where_asked(exported, prediction):
    posed = predict_clip(exported.directory, exported.video, pose=True)
    seen = prediction.clouds.seen
    pairs = zip(prediction.annotated_frames(), posed.annotated_frames(), strict=True)
    np.testing.assert_array_equal([bool((a != b).any()) for a, b in pairs], seen)


def test_the_global_model_shows_what_it_sees(exported, tmp_path):
    export(tmp_path / "export", **VARIANTS["global"])
    answer = predict_clip(tmp_path / "export", exported.video)
    assert answer.clouds.glimpses is None and answer.clouds.assignment is None
    assert write_explanation(answer, tmp_path / "explained.png").is_file()


def test_a_model_of_other_joints_needs_no_skeleton_of_them(exported, tmp_path):
    export(tmp_path / "export", layout="jhmdb_15", **VARIANTS["global"])
    answer = predict_clip(tmp_path / "export", exported.video, exported.skeleton, pose=True)
    assert answer.clouds.pose.shape == (3, 4, 2, 15, 2)
    assert write_explanation(answer, tmp_path / "explained.png").is_file()


# What is refused --------------------------------------------------------------------------------------------------------------


def test_sensor_weights(exported):
    with pytest.raises(ConfigError, match=r"no image network.*some\.h5, expected Glimpse Clouds: its back.*Leave out --sens"):
        predict_clip(exported.directory, exported.video, sensor_weights="some.h5")


def test_a_model_that_regresses_no_poses(exported, tmp_path):
    options = {"class_names": CLASSES[:3], "layout": KINECT_V2, "sampling": VPN_SAMPLING, "backbone": {}}
    crop = asdict(PersonCropConfig(size=12))
    export_vpn(small_vpn(), tmp_path / "vpn", **options, crop=crop, cleaning={})
    with pytest.raises(ConfigError, match=r"regresses no poses.*\(found --pose, expected Glimpse Clouds\)\. Leave out --pose"):
        predict_clip(tmp_path / "vpn", exported.video, exported.skeleton, pose=True)


def test_a_video_that_does_not_read(exported, tmp_path):
    with pytest.raises(VideoError, match="there is no such video"):
        predict_clip(exported.directory, tmp_path / "absent.avi")


# The script -------------------------------------------------------------------------------------------------------------------


def run_script(monkeypatch, *arguments) -> int:
    monkeypatch.setattr(sys, "argv", ["predict.py", *map(str, arguments)])
    return runpy.run_path(str(REPOSITORY / "experiments" / "predict.py"))["main"]()


def test_the_script_explains_a_video_alone(exported, prediction, tmp_path, monkeypatch, capsys):
    arguments = ["--video", exported.video, "--out", tmp_path / "explained.png"]
    assert run_script(monkeypatch, "--model", exported.directory, *arguments, "--pose") == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split("%")[1].strip() for line in lines[:5]] == [name for name, _ in prediction.top()]
    assert lines[5] == f"wrote {tmp_path / 'explained.png'}" and (tmp_path / "explained.png").is_file()
    arguments[1] = exported.root / "absent.avi"
    assert run_script(monkeypatch, "--model", exported.directory, *arguments) == 1
    assert capsys.readouterr().err.startswith(f"error: {exported.root / 'absent.avi'}: there is no such video")
