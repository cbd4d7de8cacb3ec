"""One clip through an exported RPAN: the answer of the package's own steps from the video alone, and its explanation."""

from __future__ import annotations

import runpy
import sys
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import keras
import numpy as np
import pytest

from keras_actrec.errors import ConfigError, VideoError
from keras_actrec.export import export_rpan, export_vpn
from keras_actrec.recipes.prediction.explanation import write_explanation
from keras_actrec.recipes.prediction.rpan import RPANPrediction, flow_options, fused
from keras_actrec.skeletons.layouts import JHMDB_15, KINECT_V2
from keras_actrec.video.clip_pictures import VideoPictures
from keras_actrec.video.decode import VideoReader
from keras_actrec.video.frame_clips import FrameClipConfig, test_views, view_frames, view_pictures
from keras_actrec.video.optical_flow import flow_frames, flow_stacks
from keras_actrec.video.write import write_video
from keras_actrec.visualize.rpan_attention import PART_COLOURS
from tests.export.small_rpan import BACKBONE, FLOW, SAMPLING, small_rpan
from tests.export.small_vpn import SAMPLING as VPN_SAMPLING
from tests.export.small_vpn import small_vpn
from tests.recipes.predicting import predict_clip

REPOSITORY = Path(__file__).resolve().parents[3]
CLASSES = ("wave", "clap", "drink", "throw", "kick", "hop")
LENGTH, RATE = 14, 10
FLOW_SAMPLING = FrameClipConfig(SAMPLING.frames, (32, 48), views=SAMPLING.views)
FLOW_OPTIONS = {**FLOW, "picture_size": [32, 48]}


@dataclass(frozen=True)
class Exported:
    """A video, and for each stream a model and its export."""

    video: Path
    models: dict[str, keras.Model]
    directories: dict[str, Path]


def export(directory: Path, stream: str = "rgb", *, classes=CLASSES, guided: bool = True, **fields) -> keras.Model:
    sampling = SAMPLING if stream == "rgb" else FLOW_SAMPLING
    channels, flow = (3, None) if stream == "rgb" else (10, FLOW_OPTIONS)
    model = small_rpan(channels, classes=len(classes), picture_size=sampling.picture_size, **fields)
    attention = fields.get("attention", "human_part")
    export_rpan(
        model, directory, class_names=classes, layout=JHMDB_15, sampling=sampling, stream=stream, backbone=BACKBONE, flow=flow,
        attention=attention, guided=guided,
    )  # fmt: skip
    return model


def scene(index: int) -> np.ndarray:
    """A bright square that goes to the right over a ground of many greys."""
    ground = np.random.default_rng(1).integers(0, 120, (30, 40, 3), np.uint8)
    frame = cv2.resize(ground, (80, 60), interpolation=cv2.INTER_CUBIC)
    frame[20:40, 5 + 3 * index : 25 + 3 * index] = (60, 220, 240)
    return frame


@pytest.fixture(scope="module")
def exported(tmp_path_factory) -> Exported:
    place = tmp_path_factory.mktemp("predict_rpan")
    video = write_video(place / "clip.avi", (scene(index) for index in range(LENGTH)), RATE)
    directories = {stream: place / stream for stream in ("rgb", "flow")}
    return Exported(video, {stream: export(place, stream) for stream, place in directories.items()}, directories)


@pytest.fixture(scope="module")
def prediction(exported) -> RPANPrediction:
    return predict_clip(exported.directories["rgb"], exported.video)


@pytest.fixture(scope="module")
def flow_prediction(exported) -> RPANPrediction:
    return predict_clip(exported.directories["flow"], exported.video)


def softmax(logits: np.ndarray) -> np.ndarray:
    return np.exp(logits) / np.exp(logits).sum(axis=-1, keepdims=True)


# The answer -------------------------------------------------------------------------------------------------------------------


def test_the_video_alone_gives_the_answer_of_the_test(exported, prediction):
    pictures = VideoPictures({"clip": exported.video}, SAMPLING.picture_size)
    views = view_pictures(pictures, "clip", test_views(SAMPLING), SAMPLING)
    outputs = exported.models["rgb"].predict({"clip": views / np.float32(127.5) - 1}, verbose=0)
    np.testing.assert_allclose(prediction.probabilities, softmax(outputs["logits"].mean(axis=0)), atol=1e-5)
    np.testing.assert_allclose(prediction.attention.maps, outputs["attention"], atol=1e-5)
    np.testing.assert_allclose(prediction.attention.steps, softmax(outputs["step_logits"]), atol=1e-5)
    np.testing.assert_array_equal(prediction.attention.frames, view_frames(LENGTH, test_views(SAMPLING), SAMPLING))
    assert len(prediction.attention.seen) == LENGTH and prediction.sequence is None
    assert np.ptp(prediction.probabilities) > 0.01


def test_the_flow_of_the_video_is_computed_first(exported, flow_prediction, prediction):
    with VideoReader(exported.video) as video:
        flow = np.stack(list(flow_frames(video.frames(), flow_options(FLOW_OPTIONS))))
    assert flow.std() > 1, "something moves"
    frames = view_frames(LENGTH, test_views(FLOW_SAMPLING), FLOW_SAMPLING)
    stacks = np.stack([flow_stacks(flow, view) for view in frames])
    outputs = exported.models["flow"].predict({"clip": stacks / np.float32(127.5) - 1}, verbose=0)
    np.testing.assert_allclose(flow_prediction.probabilities, softmax(outputs["logits"].mean(axis=0)), atol=1e-5)
    assert np.abs(flow_prediction.probabilities - prediction.probabilities).max() > 0.01


def test_two_streams_are_fused_one_to_two(exported, prediction, flow_prediction):
    both = predict_clip(exported.directories["rgb"], exported.video, flow_model=exported.directories["flow"])
    expected = (prediction.probabilities + 2 * flow_prediction.probabilities) / 3
    np.testing.assert_allclose(both.probabilities, expected, atol=1e-6)
    assert both.probabilities.dtype == np.float32
    np.testing.assert_array_equal(both.attention.maps, prediction.attention.maps)  # explained by RGB


def test_a_stream_without_attention_is_explained_by_the_other(prediction, flow_prediction):
    without = replace(prediction, attention=replace(prediction.attention, maps=None, parts=(), joints=None))
    both = fused(without, flow_prediction)
    assert both.attention is flow_prediction.attention
    np.testing.assert_allclose(both.probabilities, fused(prediction, flow_prediction).probabilities)


def ntu_skeleton(path: Path, length: int) -> Path:
    """One body that stands still, in the format of NTU RGB+D."""
    body = ["72057594037931691 0 1 1 1 1 0 0.0 0.0 2", "25"]
    joints = [f"{0.01 * j} {0.02 * j} 3.0 300 200 900 500 0 0 0 1 2" for j in range(25)]
    path.write_text("\n".join([str(length), *(["1", *body, *joints] * length)]) + "\n")
    return path


def test_a_skeleton_only_ends_the_clip(exported, prediction, tmp_path):
    answer = predict_clip(exported.directories["rgb"], exported.video, ntu_skeleton(tmp_path / "some.skeleton", 9))
    assert len(answer.attention.seen) == 9 and answer.attention.frames.max() < 9
    folder = tmp_path / "shorter"
    folder.mkdir()
    with VideoReader(exported.video) as video:
        for index, frame in zip(range(9), video.frames(), strict=False):
            cv2.imwrite(str(folder / f"{index:06}.png"), frame)
    np.testing.assert_allclose(predict_clip(exported.directories["rgb"], folder).probabilities, answer.probabilities, atol=1e-6)
    with pytest.raises(VideoError, match="the video ends before the last frame of its skeleton"):
        predict_clip(exported.directories["flow"], exported.video, ntu_skeleton(tmp_path / "long.skeleton", LENGTH + 1))


# The explanation --------------------------------------------------------------------------------------------------------------


def test_a_film_stops_at_what_was_looked_at(prediction, tmp_path):
    looked_at = int(prediction.attention.seen.sum())
    assert looked_at == 12  # of 3 views, 4 frames each
    for name in ("explained.avi", "explained.mp4"):
        with VideoReader(write_explanation(prediction, tmp_path / name)) as video:
            assert (video.width, video.height) == (960, 720 + 150)
            assert sum(1 for _ in video.frames()) == LENGTH + looked_at * (RATE // 2 - 1)


def test_frames_that_were_looked_at_are_drawn_on(exported, prediction):
    with VideoReader(exported.video) as video:
        plain = [cv2.resize(frame, (960, 720), interpolation=cv2.INTER_CUBIC) for frame in video.frames()]
    drawn = [frame[:720] for frame in prediction.annotated_frames()]
    assert [bool((a != b).any()) for a, b in zip(drawn, plain, strict=True)] == prediction.attention.seen.tolist()


def test_a_picture_shows_moments_of_the_first_view(prediction, tmp_path):
    moments = prediction.moments
    assert set(np.flatnonzero(moments == 1)) == set(prediction.attention.frames[0].tolist())
    np.testing.assert_array_equal(np.isfinite(moments), prediction.attention.seen)
    picture = cv2.imread(str(write_explanation(prediction, tmp_path / "explained.png")))
    assert picture.shape == (2 * (720 + 150), 2 * 960, 3)
    assert dots_of_knees(picture)


def dots_of_knees(picture: np.ndarray) -> bool:
    """Whether the upper two frames of an explanation have some."""
    return bool((picture[:720] == PART_COLOURS["knee"]).all(axis=-1).any())


@pytest.mark.parametrize(
    ("fields", "maps"),
    [({"attention": "share_all"}, 1), ({"attention": "none"}, 0), ({"guided": False}, 15)],
    ids=["one map", "no map", "untaught"],
)
def test_models_without_joints(exported, tmp_path, fields, maps):
    export(tmp_path / "export", **fields)
    answer = predict_clip(tmp_path / "export", exported.video)
    assert (0 if answer.attention.maps is None else answer.attention.maps.shape[2]) == maps
    assert answer.attention.joints is None
    assert not dots_of_knees(cv2.imread(str(write_explanation(answer, tmp_path / "explained.png"))))


# What is refused --------------------------------------------------------------------------------------------------------------


def test_options_of_other_models(exported):
    with pytest.raises(ConfigError, match=r"no image network.*some\.h5, expected RPAN: its backbone is .*Leave out --sens"):
        predict_clip(exported.directories["rgb"], exported.video, sensor_weights="some.h5")
    with pytest.raises(ConfigError, match=r"drawn are places of attention \(found --pose.*Leave out --pose"):
        predict_clip(exported.directories["rgb"], exported.video, pose=True)


def test_streams_that_changed_places(exported):
    rgb, flow = exported.directories["rgb"], exported.directories["flow"]
    with pytest.raises(ConfigError, match=r"model of --model is of the other stream \(found flow, expected rgb\).*RGB by"):
        predict_clip(flow, exported.video, flow_model=rgb)
    with pytest.raises(ConfigError, match=r"model of --flow-model is of the other stream \(found rgb, expected flow\)"):
        predict_clip(rgb, exported.video, flow_model=rgb)


def test_streams_of_other_classes(exported, tmp_path):
    export(tmp_path / "export", "flow", classes=("sit", "stand"))
    with pytest.raises(ConfigError, match=r"know other classes \(found 2: sit, stand …, expected 6: wave, clap, drink …\)"):
        predict_clip(exported.directories["rgb"], exported.video, flow_model=tmp_path / "export")


def test_a_flow_model_beside_one_that_is_no_rpan(exported, tmp_path):
    options = {"class_names": CLASSES[:3], "layout": KINECT_V2, "sampling": VPN_SAMPLING, "backbone": {}}
    export_vpn(small_vpn(), tmp_path / "vpn", **options, crop={}, cleaning={})
    skeleton = ntu_skeleton(tmp_path / "some.skeleton", LENGTH)
    for models in ((tmp_path / "vpn", exported.directories["flow"]), (exported.directories["rgb"], tmp_path / "vpn")):
        with pytest.raises(ConfigError, match=r"RPAN alone has a model of .* \(found vpn, expected rpan\).*--flow-model"):
            predict_clip(models[0], exported.video, skeleton, flow_model=models[1])


def test_a_video_that_does_not_read(exported, tmp_path):
    for directory in exported.directories.values():
        with pytest.raises(VideoError, match="there is no such video"):
            predict_clip(directory, tmp_path / "absent.avi")


# The script -------------------------------------------------------------------------------------------------------------------


def run_script(monkeypatch, *arguments) -> int:
    monkeypatch.setattr(sys, "argv", ["predict.py", *map(str, arguments)])
    return runpy.run_path(str(REPOSITORY / "experiments" / "predict.py"))["main"]()


def test_the_script_explains_a_video_by_both_streams(exported, prediction, flow_prediction, tmp_path, monkeypatch, capsys):
    rgb, flow = exported.directories["rgb"], exported.directories["flow"]
    arguments = ["--video", exported.video, "--out", tmp_path / "explained.png"]
    assert run_script(monkeypatch, "--model", rgb, "--flow-model", flow, *arguments) == 0
    lines = capsys.readouterr().out.splitlines()
    expected = fused(prediction, flow_prediction).top()
    assert [line.split("%")[1].strip() for line in lines[:5]] == [name for name, _ in expected]
    assert lines[5] == f"wrote {tmp_path / 'explained.png'}" and (tmp_path / "explained.png").is_file()
    assert run_script(monkeypatch, "--model", flow, "--flow-model", rgb, *arguments) == 1
    assert capsys.readouterr().err.startswith(f"error: {flow}: the exported model of --model is of the other stream")
