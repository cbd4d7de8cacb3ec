"""The recognizer: any model, any form of video and skeleton, windows and timelines; and what it refuses, in words."""

from __future__ import annotations

import itertools
import subprocess
import sys
import time
import warnings
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
import pytest

import keras_actrec
from keras_actrec.datasets.pose_files import read_pose_file
from keras_actrec.errors import ConfigError, SkeletonFormatError, VideoError
from keras_actrec.recipes.prediction.explanation import write_explanation
from keras_actrec.recipes.prediction.sta_hands import HandSensor
from keras_actrec.recognizer import Recognizer
from keras_actrec.skeletons.layouts import COCO_17, JHMDB_15, KINECT_V1, MEDIAPIPE_33
from keras_actrec.skeletons.retarget import retarget
from keras_actrec.skeletons.sequence import SkeletonSequence
from keras_actrec.video.decode import VideoReader
from keras_actrec.video.memory import MemoryVideo, part_of
from tests.pose_model import require_pose_model
from tests.small_exports import (
    CLASSES,
    EXPORTS,
    LENGTH,
    RATE,
    Clip,
    KnownPoses,
    export_small_glimpse_clouds,
    export_small_vpn,
    export_sta_hands,
    write_clip,
    write_poses,
)

MODELS = tuple(EXPORTS)
LOOK_AT_POSES = ("sta_hands", "vpn")
ROOT = Path(__file__).resolve().parents[1]


@dataclass(frozen=True)
class Loaded:
    """A clip, and a recognizer of each model; poses that are estimated are those of the clip."""

    clip: Clip
    recognizers: dict[str, Recognizer]
    directories: dict[str, Path]
    estimator: KnownPoses

    def frames(self) -> np.ndarray:
        """RGB uint8 (40, 134, 240, 3)."""
        with VideoReader(self.clip.video) as reader:
            return np.stack([cv2.cvtColor(frame, cv2.COLOR_BGR2RGB) for frame in reader.frames()])


def recognizer(directory: Path, estimator: KnownPoses | None = None, **options) -> Recognizer:
    loaded = Recognizer.load(directory, **options)
    loaded._known_estimator = estimator
    return loaded


@pytest.fixture(scope="module")
def loaded(tmp_path_factory) -> Loaded:
    place = tmp_path_factory.mktemp("recognizer")
    clip = write_clip(place)
    directories = {name: export(place / name) for name, export in EXPORTS.items()}
    estimator = KnownPoses(clip.sequence)
    return Loaded(clip, {name: recognizer(at, estimator) for name, at in directories.items()}, directories, estimator)


# A whole clip -----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", MODELS)
def test_one_call_with_a_skeleton(loaded, name):
    one = loaded.recognizers[name]
    answer = one(loaded.clip.video, loaded.clip.skeleton)
    assert one.class_names == answer.class_names == CLASSES and one.description.model == name
    assert one.needs_skeleton == (name in LOOK_AT_POSES)
    assert answer.probabilities.sum() == pytest.approx(1, abs=0.05) or name == "vpn"  # VPN: the highest scores of its views
    assert sum(1 for _ in answer.annotated_frames()) == LENGTH
    again = one(str(loaded.clip.video), read_pose_file(loaded.clip.skeleton))
    np.testing.assert_array_equal(again.probabilities, answer.probabilities)


@pytest.mark.parametrize("name", MODELS)
def test_frames_in_memory_and_a_folder_of_images_are_the_same_video(loaded, name, tmp_path):
    one, frames = loaded.recognizers[name], loaded.frames()
    expected = one(loaded.clip.video, loaded.clip.skeleton).probabilities
    np.testing.assert_allclose(one(frames, loaded.clip.skeleton).probabilities, expected, atol=1e-6)
    for index, frame in enumerate(frames):
        cv2.imwrite(str(tmp_path / f"{index}.png"), cv2.cvtColor(frame, cv2.COLOR_RGB2BGR))
    np.testing.assert_allclose(one(tmp_path, loaded.clip.skeleton).probabilities, expected, atol=1e-6)


@pytest.mark.parametrize("name", MODELS)
def test_without_a_skeleton_poses_are_estimated_where_they_count(loaded, name):
    one, before = loaded.recognizers[name], len(loaded.estimator.videos)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        answer = one(loaded.clip.video)
    asked = loaded.estimator.videos[before:]
    assert asked == ([loaded.clip.video] if name in LOOK_AT_POSES else [])
    assert (answer.sequence is None) == (name not in LOOK_AT_POSES)
    if name in LOOK_AT_POSES:
        assert answer.sequence.layout.name == "kinect_v2"
        with pytest.warns(UserWarning):
            same = recognizer(loaded.directories[name])(loaded.clip.video, loaded.estimator.sequence)
        np.testing.assert_array_equal(same.probabilities, answer.probabilities)


def test_other_joints_are_retargeted_and_it_is_said_once(loaded, tmp_path):
    one = recognizer(export_small_vpn(tmp_path / "export", layout="kinect_v1"), loaded.estimator)
    with pytest.warns(UserWarning, match="learned from poses of layout kinect_v1, and these are of layout kinect_v2: joints"):
        answer = one(loaded.clip.video, loaded.clip.skeleton)
    assert answer.sequence.layout == KINECT_V1
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        of_its_own = one(loaded.clip.video, retarget(loaded.clip.sequence, KINECT_V1))
        one(loaded.clip.video)
    np.testing.assert_allclose(answer.probabilities, of_its_own.probabilities, atol=1e-6)


def test_estimated_poses_are_of_another_kind_and_it_is_said(loaded):
    one = recognizer(loaded.directories["vpn"], loaded.estimator)
    with pytest.warns(UserWarning, match=r"layout kinect_v2, and these are estimated in the video \(mediapipe_33\).*less acc"):
        one(loaded.clip.video)


def test_estimated_poses_are_mirrored_for_a_model_of_kinect_poses(loaded):
    with pytest.warns(UserWarning):
        answer = recognizer(loaded.directories["vpn"], loaded.estimator)(loaded.clip.video)
    wrist = answer.sequence.layout.index("wrist_left")
    estimated = loaded.estimator.sequence.joints[:, 0, MEDIAPIPE_33.index("wrist_left")]
    np.testing.assert_allclose(answer.sequence.joints[:, 0, wrist], estimated * [-1, 1, 1], atol=1e-6)


def test_a_model_of_poses_in_pixels_gets_pixels(loaded, tmp_path):
    one = recognizer(export_sta_hands(tmp_path / "export", layout=JHMDB_15, streams="pose"), loaded.estimator)
    with pytest.warns(UserWarning, match="layout jhmdb_15"):
        sequence = one(loaded.clip.video).sequence
    np.testing.assert_array_equal(sequence.joints[..., :2], sequence.pixels)
    assert not np.nan_to_num(sequence.joints[..., 2]).any()


def test_poses_in_pixels_are_turned_upright_for_a_model_of_metres(loaded, tmp_path):
    flat = retarget(loaded.clip.sequence, COCO_17)
    joints = np.concatenate([flat.pixels, np.where(np.isnan(flat.pixels[..., :1]), np.nan, 0)], axis=-1).astype(np.float32)
    file = write_poses(tmp_path / "flat.npz", replace(flat, joints=joints))
    with pytest.warns(UserWarning, match="these are of layout coco_17"):
        answer = recognizer(loaded.directories["sta_hands"])(loaded.clip.video, file)
    heights = answer.sequence.joints[:, 0, :, 1]
    head, foot = (answer.sequence.layout.index(joint) for joint in ("head", "foot_left"))
    assert (heights[:, head] > heights[:, foot]).all()


def test_a_pose_stream_needs_no_video(loaded, tmp_path):
    one = recognizer(export_sta_hands(tmp_path / "export", streams="pose"))
    answer = one(tmp_path / "absent.avi", loaded.clip.skeleton)
    np.testing.assert_array_equal(one(loaded.clip.video, loaded.clip.skeleton).probabilities, answer.probabilities)
    windows = list(one.windows(tmp_path / "absent.avi", loaded.clip.skeleton, seconds=2, stride=1, frame_rate=RATE))
    assert [(window.start, window.stop) for window in windows] == [(0, 20), (10, 30), (20, 40)]


def test_the_sensor_is_built_once(loaded, monkeypatch):
    def refuse(*_):
        raise AssertionError("built again")

    one = recognizer(loaded.directories["sta_hands"])
    monkeypatch.setattr("keras_actrec.recipes.prediction.sta_hands.build_sensor", refuse)
    for _ in range(2):
        one(loaded.clip.video, loaded.clip.skeleton)


# Windows ----------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", MODELS)
def test_windows_are_clips_of_their_own(loaded, name):
    one, frames = loaded.recognizers[name], loaded.frames()
    windows = list(one.windows(loaded.clip.video, loaded.clip.skeleton, seconds=1.5, stride=1))
    assert [(window.start, window.stop) for window in windows] == [(0, 15), (10, 25), (20, 35), (25, 40)]
    for window in windows:
        span = slice(window.start, window.stop)
        poses = loaded.clip.sequence
        part = SkeletonSequence(poses.joints[span], poses.layout, poses.pixels[span])
        expected = one(MemoryVideo(frames[span], RATE), part)
        # float16 features; a network of another batch rounds otherwise
        np.testing.assert_allclose(window.prediction.probabilities, expected.probabilities, atol=2e-4)
        assert window.frame_rate == RATE and window.start_seconds == window.start / 10


def test_poses_are_estimated_once_for_all_windows(loaded):
    one, before = loaded.recognizers["vpn"], len(loaded.estimator.videos)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        windows = list(one.windows(loaded.clip.video, seconds=2, stride=1))
    assert len(windows) == 3 and loaded.estimator.videos[before:] == [loaded.clip.video]


def test_hands_of_overlapping_windows_are_looked_at_once(loaded, monkeypatch):
    crops, compute = [], HandSensor._compute

    def count(self, video, centers):
        crops.append(int(np.isfinite(centers).all(axis=2).sum()))
        return compute(self, video, centers)

    monkeypatch.setattr(HandSensor, "_compute", count)
    list(loaded.recognizers["sta_hands"].windows(loaded.clip.video, loaded.clip.skeleton, seconds=2, stride=1))
    hands = np.isfinite(loaded.clip.sequence.pixels[:, :, list(loaded.clip.sequence.layout.hands)]).all(axis=3)
    assert sum(crops) == hands.sum() and len(crops) == 3


def test_a_window_can_be_explained_by_its_part_of_the_video(loaded, tmp_path):
    *_, last = loaded.recognizers["glimpse_clouds"].windows(loaded.clip.video, seconds=2, stride=1)
    path = write_explanation(last.prediction, tmp_path / "last.avi")
    with VideoReader(path) as reader:
        assert sum(1 for _ in reader.frames()) >= 20
    with VideoReader(last.prediction.video) as reader:
        first = next(iter(reader.frames()))
    np.testing.assert_array_equal(cv2.cvtColor(first, cv2.COLOR_BGR2RGB), loaded.frames()[20])


def test_windows_with_nobody_are_left_out(loaded):
    poses = loaded.clip.sequence
    joints, pixels = poses.joints.copy(), poses.pixels.copy()
    joints[:20], pixels[:20] = np.nan, np.nan
    gone = SkeletonSequence(joints, poses.layout, pixels)
    windows = list(loaded.recognizers["vpn"].windows(loaded.clip.video, gone, seconds=1, stride=1))
    assert [window.start for window in windows] == [20, 30]
    assert len(list(loaded.recognizers["rpan"].windows(loaded.clip.video, gone, seconds=1, stride=1))) == 4


def test_a_timeline_has_the_answers_of_the_windows(loaded):
    one = loaded.recognizers["glimpse_clouds"]
    timeline = one.timeline(loaded.clip.video, seconds=2, stride=1)
    windows = list(one.windows(loaded.clip.video, seconds=2, stride=1))
    np.testing.assert_array_equal(timeline.probabilities, [window.prediction.probabilities for window in windows])
    assert timeline.starts.tolist() == [0, 10, 20] and timeline.frame_rate == RATE and timeline.class_names == CLASSES


def test_frames_in_memory_have_the_frame_rate_that_is_given(loaded):
    windows = list(loaded.recognizers["rpan"].windows(loaded.frames(), seconds=1, stride=1, frame_rate=20))
    assert [(window.start, window.stop) for window in windows] == [(0, 20), (20, 40)]


# Cameras and real poses -------------------------------------------------------------------------------------------------------


class Loop:
    """A camera that shows frames again and again, one every 20 ms."""

    def __init__(self, frames: np.ndarray):
        self._frames = itertools.cycle(frames)

    def isOpened(self):
        return True

    def read(self):
        time.sleep(0.02)
        return True, next(self._frames)

    def release(self):
        pass


@pytest.mark.parametrize("name", LOOK_AT_POSES)
def test_people_are_followed_from_window_to_window_of_a_camera(loaded, name, monkeypatch):
    monkeypatch.setattr("keras_actrec.video.camera.open_capture", lambda source: Loop(loaded.frames()))
    estimator = KnownPoses(loaded.clip.sequence)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        windows = list(recognizer(loaded.directories[name], estimator).camera(0, seconds=0.5, stride=0.2, limit=3))
    assert len(windows) == 3 and all(a.stop < b.stop for a, b in itertools.pairwise(windows))
    seen = set().union(*(range(window.start, window.stop) for window in windows))
    assert estimator.steps == len(seen), "no frame is looked at twice"
    last = windows[-1].prediction
    assert sum(1 for _ in last.annotated_frames()) == windows[-1].stop - windows[-1].start


def test_the_real_estimator_on_a_real_video(loaded, actrec_data):
    video = actrec_data / "ntu_samples" / "S001C001P001R001A001_rgb.avi"
    if not video.is_file():
        pytest.skip(f"no {video.name} in the folder of real data")
    one = Recognizer.load(loaded.directories["vpn"], pose_model=require_pose_model())
    with pytest.warns(UserWarning, match="these are estimated in the video"):
        answer = one(part_of(video, 0, 12))
    pixels = answer.sequence.pixels[:, 0]
    assert answer.sequence.length == 12 and ((pixels > 0) & (pixels < (1920, 1080))).all()


# What is refused --------------------------------------------------------------------------------------------------------------


def test_no_such_file(loaded, tmp_path):
    for ask in (loaded.recognizers["rpan"], loaded.recognizers["vpn"].windows):
        with pytest.raises(VideoError, match=r"absent\.avi: there is no such video\. Check the path"):
            ask(tmp_path / "absent.avi")


def test_a_folder_without_images(loaded, tmp_path):
    (tmp_path / "notes.txt").write_text("nothing")
    with pytest.raises(VideoError, match=r"the folder has no images .*expected \.jpg or \.png files"):
        loaded.recognizers["rpan"](tmp_path)


def test_arrays_that_are_no_video(loaded):
    one = loaded.recognizers["rpan"]
    with pytest.raises(ConfigError, match=r"wrong shape or type \(found float32 \(8, 8, 3\), expected RGB uint8"):
        one(np.zeros((4, 8, 8, 3), np.float32))
    with pytest.raises(ConfigError, match="the video has no frames"):
        one(np.zeros((0, 8, 8, 3), np.uint8))


@pytest.mark.parametrize("name", ["rpan", "vpn"])
def test_a_video_shorter_than_a_window(loaded, name):
    words = r"clip\.avi: the video is shorter than a window \(found 40 frames, 4\.00 s, expected at least 50 frames, 5 s at 10"
    with pytest.raises(VideoError, match=words + r".*\. Classify it as one clip"):
        list(loaded.recognizers[name].windows(loaded.clip.video, loaded.clip.skeleton, seconds=5))


@pytest.mark.parametrize("option", ["seconds", "stride", "frame_rate"])
def test_windows_of_no_length(loaded, option):
    with pytest.raises(ConfigError, match=r"must be above 0 \(found -1\)"):
        loaded.recognizers["rpan"].windows(loaded.clip.video, **{option: -1})


def test_a_skeleton_with_more_frames_than_the_video(loaded, tmp_path):
    twice = SkeletonSequence(*(np.concatenate([a, a]) if isinstance(a, np.ndarray) else a for a in fields(loaded)))
    for name in MODELS:
        with pytest.raises(VideoError, match=r"the video ends before the last frame of its skeleton \(found 40 frames, exp"):
            loaded.recognizers[name](loaded.clip.video, twice)
        with pytest.raises(VideoError, match=r"the video ends before .* expected 80 frames\)\. Give the skeleton of this"):
            next(loaded.recognizers[name].windows(loaded.clip.video, twice, seconds=1))


def fields(loaded):
    poses = loaded.clip.sequence
    return poses.joints, poses.layout, poses.pixels


def test_a_skeleton_of_a_larger_video(loaded):
    poses = loaded.clip.sequence
    large = SkeletonSequence(poses.joints, poses.layout, poses.pixels * 8)
    words = r"most joints lie outside of its frame \(found \d+% outside of 240×134, joints up to x \d+"
    for ask in (loaded.recognizers["vpn"], lambda *a: list(loaded.recognizers["sta_hands"].windows(*a, seconds=1))):
        with pytest.raises(VideoError, match=words):
            ask(loaded.clip.video, large)


def test_nobody_in_the_video_or_in_the_skeleton(loaded, tmp_path):
    nobody = SkeletonSequence(np.zeros((LENGTH, 0, 33, 3), np.float32), MEDIAPIPE_33, np.zeros((LENGTH, 0, 33, 2), np.float32))
    one = recognizer(loaded.directories["vpn"], KnownPoses(nobody))
    for ask in (one, lambda video: list(one.windows(video, seconds=1))):
        with pytest.raises(VideoError, match=r"clip\.avi: nobody was found in the video.*give the poses by --skeleton FILE"):
            ask(loaded.clip.video)
    file = write_poses(tmp_path / "nobody.npz", nobody)
    with pytest.raises(SkeletonFormatError, match=r"nobody\.npz: no body in any frame"):
        one(loaded.clip.video, file)


def test_crops_of_people_need_poses_too(loaded, tmp_path):
    one = recognizer(export_small_glimpse_clouds(tmp_path / "export", box="frame"), loaded.estimator)
    assert one.needs_skeleton
    with pytest.warns(UserWarning, match="estimated"):
        assert one(loaded.clip.video).sequence.layout.name == "kinect_v2"


def test_poses_in_pixels_for_a_model_that_counts_metres(loaded, tmp_path, monkeypatch):
    one = recognizer(loaded.directories["sta_hands"])
    one.description.tensor["scale"] = "none"
    flat = loaded.clip.sequence.joints * np.array([1, 1, 0], np.float32)
    with pytest.raises(ConfigError, match=r"takes poses in metres \(found poses in pixels.*Leave out the skeleton"):
        one(loaded.clip.video, SkeletonSequence(flat, loaded.clip.sequence.layout, loaded.clip.sequence.pixels))


def test_joints_that_this_version_does_not_know(loaded, tmp_path):
    at = export_small_vpn(tmp_path / "export")
    (at / "actrec.json").write_text((at / "actrec.json").read_text().replace('"kinect_v2"', '"kinect_v9"'))
    with pytest.raises(ConfigError, match=r"joints that this version has no layout for \(found kinect_v9"):
        Recognizer.load(at)


# The package ------------------------------------------------------------------------------------------------------------------


def test_the_package_has_the_recognizer_and_stays_cheap():
    assert keras_actrec.Recognizer is Recognizer
    with pytest.raises(AttributeError, match="no attribute 'Recogniser'"):
        _ = keras_actrec.Recogniser
    program = "import sys, keras_actrec; print(any(name in sys.modules for name in ('tensorflow', 'keras', 'cv2', 'numpy')))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=ROOT)
    assert done.stdout.strip() == "False", done.stderr
