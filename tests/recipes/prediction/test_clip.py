"""One clip through an exported two-stream network: the same answer as the test gave, its explanation, and clear refusals."""

from __future__ import annotations

import json
import runpy
import shutil
import sys
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from keras_actrec.backbones.sensors import build_sensor
from keras_actrec.errors import DiskFullError, SkeletonFormatError, VideoError, WeightsError
from keras_actrec.recipes.prediction.explanation import write_explanation
from keras_actrec.recipes.prediction.sta_hands import TwoStreamPrediction
from keras_actrec.training.evaluation import load_scores
from keras_actrec.video.decode import VideoReader
from keras_actrec.video.write import write_video
from tests.recipes.predicting import predict_clip
from tests.recipes.tiny import EMPTY_SKELETON, JUNK_VIDEO, SENSOR, SHORT_VIDEO, TESTED, skeleton_file, video_file

REPOSITORY = Path(__file__).resolve().parents[3]
CLIP = TESTED[0]


@pytest.fixture(scope="module")
def prediction(tiny_run) -> TwoStreamPrediction:
    return predict_clip(tiny_run.result.export, video_file(tiny_run.root, CLIP), skeleton_file(tiny_run.root, CLIP))


def test_probabilities_are_those_of_the_test(tiny_run, prediction):
    # Through files, crops and network again; features are float16 in the cache and here.
    scores = load_scores(tiny_run.workdir / "scores.npz")
    logits = scores.scores["fused"][scores.clip_ids.index(CLIP)]
    expected = np.exp(logits - logits.max())
    np.testing.assert_allclose(prediction.probabilities, expected / expected.sum(), rtol=1e-3)
    assert prediction.probabilities.sum() == pytest.approx(1, abs=1e-5)


def test_top_five_are_the_most_probable_classes_best_first(prediction):
    top = prediction.top()
    assert [probability for _, probability in top] == sorted(prediction.probabilities.tolist(), reverse=True)[:5]
    for name, probability in top:
        assert prediction.probabilities[prediction.class_names.index(name)] == np.float32(probability)


def test_attention_has_a_value_for_every_frame(prediction):
    length = prediction.sequence.length
    assert prediction.attention.spatial.shape == (length, 4)
    np.testing.assert_allclose(prediction.attention.spatial.sum(axis=1), 1, atol=1e-4)
    assert prediction.attention.temporal.shape == (length,)
    assert prediction.attention.temporal.max() == pytest.approx(1)


def test_explained_as_a_video(prediction, tmp_path):
    path = write_explanation(prediction, tmp_path / "new" / "explained.avi")
    with VideoReader(path) as video:
        assert (video.width, video.height) == (960, 540 + 150)  # 480×270 doubled, and the panel
        assert sum(1 for _ in video.frames()) == prediction.sequence.length
    assert [entry.name for entry in path.parent.iterdir()] == ["explained.avi"]


def test_a_folder_of_images_is_explained_at_thirty_frames_per_second(tiny_run, prediction, tmp_path):
    folder = tmp_path / "frames"
    folder.mkdir()
    with VideoReader(prediction.video) as video:
        for index, frame in enumerate(video.frames()):
            cv2.imwrite(str(folder / f"{index:06}.png"), frame)
    with VideoReader(folder) as video:
        assert video.frame_rate == 0  # images do not say
    # PNG is lossless: the same pictures, so the same answer.
    answer = predict_clip(tiny_run.result.export, folder, skeleton_file(tiny_run.root, CLIP))
    np.testing.assert_allclose(answer.probabilities, prediction.probabilities, rtol=1e-5)
    for name in ("explained.avi", "explained.mp4"):
        with VideoReader(write_explanation(answer, tmp_path / name)) as video:
            assert video.frame_rate == pytest.approx(30)
            assert sum(1 for _ in video.frames()) == prediction.sequence.length


def test_a_clip_that_says_its_frame_rate_is_explained_at_it(prediction, tmp_path):
    with VideoReader(prediction.video) as video:
        write_video(tmp_path / "slow.avi", video.frames(), 12)
    path = write_explanation(replace(prediction, video=tmp_path / "slow.avi"), tmp_path / "explained.avi")
    with VideoReader(path) as video:
        assert video.frame_rate == pytest.approx(12)


def test_explained_as_a_picture_of_four_moments(prediction, tmp_path):
    path = write_explanation(prediction, tmp_path / "new" / "explained.png")
    assert cv2.imread(str(path)).shape == (2 * (540 + 150), 2 * 960, 3)
    assert [entry.name for entry in path.parent.iterdir()] == ["explained.png"]


def test_a_full_disk_leaves_no_explanation(prediction, tmp_path, full_disk):
    with full_disk(10_000), pytest.raises(DiskFullError, match=r"explained\.png: no space left"):
        write_explanation(prediction, tmp_path / "explained.png")
    with full_disk(10_000), pytest.raises(DiskFullError, match=r"explained\.avi: no space left"):
        write_explanation(prediction, tmp_path / "explained.avi")
    assert not list(tmp_path.iterdir())


# What is refused --------------------------------------------------------------------------------------------------------------


def predict(tiny_run, *, model=None, video=CLIP, skeleton=CLIP, **options):
    files = video_file(tiny_run.root, video), skeleton_file(tiny_run.root, skeleton)
    return predict_clip(model or tiny_run.result.export, *files, **options)


def test_a_folder_that_is_no_export(tiny_run, tmp_path):
    with pytest.raises(WeightsError, match=r"actrec\.json: no description of an exported model.*WORKDIR/export"):
        predict(tiny_run, model=tmp_path)


def test_an_export_whose_graph_is_gone_or_damaged(tiny_run, tmp_path):
    shutil.copy(tiny_run.result.export / "actrec.json", tmp_path)
    with pytest.raises(WeightsError, match=r"the exported model does not load.*WORKDIR/export") as error:
        predict(tiny_run, model=tmp_path)
    assert error.value.file == str(tmp_path)
    (tmp_path / "saved_model.pb").write_bytes(b"no graph")
    with pytest.raises(WeightsError, match="the exported model does not load"):
        predict(tiny_run, model=tmp_path)


def test_a_skeleton_with_more_frames_than_the_video(tiny_run):
    with pytest.raises(VideoError, match=r"frame 12: the video ends before the last frame of its skeleton.*same clip") as error:
        predict(tiny_run, video=SHORT_VIDEO)
    assert error.value.file == str(video_file(tiny_run.root, SHORT_VIDEO))


def test_files_that_do_not_read(tiny_run):
    with pytest.raises(VideoError, match="does not open"):
        predict(tiny_run, video=JUNK_VIDEO)
    with pytest.raises(SkeletonFormatError, match="the file is empty"):
        predict(tiny_run, skeleton=EMPTY_SKELETON)
    with pytest.raises(SkeletonFormatError, match="cannot be read"):
        predict(tiny_run, skeleton="S001C001P001R001A060")


def test_a_sensor_with_other_weights_than_those_trained_on(tiny_run, tmp_path):
    sensor = build_sensor(SENSOR)
    path = tmp_path / "other.weights.h5"
    sensor.set_weights([weight * 1.01 for weight in sensor.get_weights()])
    sensor.save_weights(path)
    with pytest.raises(
        WeightsError, match=r"other\.weights\.h5.*not those that the model was trained on.*--sensor-weights FILE"
    ):
        predict(tiny_run, sensor_weights=str(path))


def test_the_same_weights_from_a_file_that_has_moved(tiny_run, prediction, tmp_path):
    build_sensor(SENSOR).save_weights(tmp_path / "moved.weights.h5")
    moved = predict(tiny_run, sensor_weights=str(tmp_path / "moved.weights.h5"))
    np.testing.assert_allclose(moved.probabilities, prediction.probabilities, rtol=1e-5)


# The script -------------------------------------------------------------------------------------------------------------------


def run_script(monkeypatch, *arguments) -> int:
    monkeypatch.setattr(sys, "argv", ["predict.py", *map(str, arguments)])
    return runpy.run_path(str(REPOSITORY / "experiments" / "predict.py"))["main"]()


def test_the_script_prints_the_top_five_and_writes_the_explanation(tiny_run, prediction, tmp_path, monkeypatch, capsys):
    files = ["--video", video_file(tiny_run.root, CLIP), "--skeleton", skeleton_file(tiny_run.root, CLIP)]
    monkeypatch.chdir(tmp_path)
    assert run_script(monkeypatch, "--model", tiny_run.result.export, *files) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split("%")[1].strip() for line in lines[:5]] == [name for name, _ in prediction.top()]
    assert (tmp_path / f"{CLIP}_rgb_explained.avi").is_file()


def test_the_script_says_what_is_wrong(tiny_run, tmp_path, monkeypatch, capsys):
    files = ["--video", video_file(tiny_run.root, CLIP), "--skeleton", skeleton_file(tiny_run.root, CLIP)]
    assert run_script(monkeypatch, "--model", tmp_path, *files) == 1
    captured = capsys.readouterr()
    assert captured.err.startswith("error: ") and captured.err.count("\n") == 1
    assert captured.out == "" and not list(tmp_path.iterdir())


def test_the_export_names_what_the_prediction_needs(tiny_run):
    fields = json.loads((tiny_run.result.export / "actrec.json").read_text())
    assert {"class_names", "layout", "sensor", "crop_size", "cleaning", "sampling", "tensor"} <= fields.keys()
