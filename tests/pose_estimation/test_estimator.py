"""Poses from plain video: who is found and followed, by a stand-in for MediaPipe; and by MediaPipe itself on real clips."""

from __future__ import annotations

import itertools
import sys
from pathlib import Path

import numpy as np
import pytest

from keras_actrec.datasets.ntu_skeleton import read_ntu_skeleton
from keras_actrec.errors import ConfigError, VideoError, WeightsError
from keras_actrec.pose_estimation import estimator
from keras_actrec.pose_estimation.estimator import PoseEstimationConfig, PoseEstimator
from keras_actrec.skeletons.layouts import KINECT_V2, MEDIAPIPE_33
from keras_actrec.skeletons.retarget import retarget
from keras_actrec.skeletons.sequence import SkeletonSequence
from keras_actrec.video.decode import VideoReader
from keras_actrec.video.memory import MemoryVideo
from tests.pose_estimation.fake_mediapipe import BODY, METRES, draw, landmarks
from tests.pose_model import require_pose_model

LR = ("left", "right")
SURE, DOUBTFUL, HOPELESS = 250, 100, 40  # scores 0.98, 0.39, 0.16
EASY = {"detection_confidence": 0.9, "presence_confidence": 0.3, "tracking_confidence": 0.3}
"""Found only where it is sure, followed where it is doubtful."""


def video(*frames: list[tuple[float, float, int]], **options) -> MemoryVideo:
    """A frame for each list of blobs, 10 per second."""
    return MemoryVideo(np.stack([draw(*people, **options) for people in frames]), 10)


def places(sequence: SkeletonSequence) -> list[list[int | None]]:
    """x of the middle of the hips of each person in each frame, in pixels."""
    hips = sequence.pixels[:, :, [MEDIAPIPE_33.index("hip_left"), MEDIAPIPE_33.index("hip_right")], 0].mean(axis=2)
    return [[None if np.isnan(x) else round(float(x)) for x in frame] for frame in hips]


# By a stand-in ----------------------------------------------------------------------------------------------------------------


def test_a_person_by_hand(blob_model):
    found = PoseEstimator().video(video([(60, 70, SURE)], [(100, 70, SURE)], [], []))
    assert found.layout is MEDIAPIPE_33 and found.joints.shape == (4, 1, 33, 3) and found.pixels.shape == (4, 1, 33, 2)
    np.testing.assert_allclose(found.pixels[0, 0], landmarks(60, 70, 40), atol=1e-4)
    metres = METRES / 40  # to a pixel
    for frame, x in ((0, 60), (1, 100)):
        expected = BODY * METRES * (1, -1, 1) + ((x - 80) * metres, -(70 - 60) * metres, 0)  # of 160×120, y up
        np.testing.assert_allclose(found.joints[frame, 0], expected, atol=1e-5)
    assert np.isnan(found.joints[2:]).all() and np.isnan(found.pixels[2:]).all()


def test_nobody(blob_model):
    found = PoseEstimator().video(video([], []))
    assert found.joints.shape == (2, 0, 33, 3)


def test_people_keep_their_slots(blob_model):
    """One comes in on the left of another, who was listed first until then; both walk to the right."""
    frames = [[(90 + 4 * t, 60, SURE)] + ([(20 + 4 * t, 60, SURE)] if t >= 3 else []) for t in range(6)]
    found = PoseEstimator().video(video(*frames))
    assert places(found) == [[90 + 4 * t, 20 + 4 * t if t >= 3 else None] for t in range(6)]


def test_most_people(blob_model):
    frames = [[(20, 60, SURE), (80, 60, SURE), (140, 60, SURE)]] * 2
    for people in (1, 2, 3):
        assert PoseEstimator(PoseEstimationConfig(people=people)).video(video(*frames)).joints.shape[1] == people


def test_one_found_twice_is_one(blob_model):
    frames = video([(60, 60, SURE)], [(60, 60, SURE)], width=60)
    assert places(PoseEstimator(PoseEstimationConfig(people=3)).video(frames)) == [[60], [60]]
    strict = PoseEstimationConfig(people=3, same_person=0.01)
    assert places(PoseEstimator(strict).video(frames)) == [[60, 64], [60, 64]]


def test_gaps_are_filled_backwards_and_forwards(blob_model):
    """Doubtful at first, then sure; gone for longer than anybody is followed, then doubtful again and nobody to follow."""
    frames = video(*([(60, 60, DOUBTFUL)],) * 3, *([(60, 60, SURE)],) * 2, *([(60, 60, HOPELESS)],) * 2, [(60, 60, DOUBTFUL)])
    without = PoseEstimator(PoseEstimationConfig(fill_gaps=False, **EASY)).video(frames)
    assert places(without) == [[None], [None], [None], [60], [60], [None], [None], [None]]
    found = PoseEstimator(PoseEstimationConfig(**EASY)).video(frames)
    assert places(found) == [[60]] * 5 + [[None]] * 2 + [[60]], "a score of 0.39 reaches gap_confidence, one of 0.16 does not"
    # with a gap_confidence that finds none anew, the first frames are filled by following backwards alone
    backwards = PoseEstimator(PoseEstimationConfig(**EASY | {"detection_confidence": 0.9}, gap_confidence=0.9)).video(frames)
    assert places(backwards) == [[60]] * 5 + [[None]] * 3


def test_the_second_look_follows_one_person_alone(blob_model, monkeypatch):
    looks = []
    track = PoseEstimator._track
    monkeypatch.setattr(PoseEstimator, "_track", lambda self, config, rate: looks.append(config) or track(self, config, rate))
    config = PoseEstimationConfig(people=3, presence_confidence=0.1)
    PoseEstimator(config).video(video([(60, 60, SURE)], []))
    once = PoseEstimationConfig(1, 0.2, 0.1, 0.2)
    assert looks == [config, config, once, once], "the try at the start, the first look, forwards, backwards"
    looks.clear()
    PoseEstimator(config).video(video([(60, 60, SURE)]))
    assert looks == [config, config], "without gap no second look"


def test_long_gaps_are_looked_through_in_pieces(blob_model, monkeypatch):
    held = []
    follow = PoseEstimator._follow
    monkeypatch.setattr(estimator, "LONGEST_GAP", 5)
    monkeypatch.setattr(estimator, "_BEFORE", 2)
    monkeypatch.setattr(
        PoseEstimator, "_follow", lambda self, frames, *rest: held.append(sorted(frames)) or follow(self, frames, *rest)
    )
    sure, faint = [(60, 60, SURE)], [(60, 60, HOPELESS)]
    found = PoseEstimator(PoseEstimationConfig()).video(video(*[sure] * 4, *[faint] * 8, *[sure] * 20, *[faint] * 2))
    assert held == [list(range(2, 11)), list(range(7, 14)), list(range(30, 34))]
    assert [x for (x,) in places(found)] == [60] * 4 + [None] * 8 + [60] * 20 + [None] * 2


def test_large_frames_are_held_small_and_answered_in_their_own_pixels(blob_model, monkeypatch):
    seen = []
    step = estimator.PoseTrack.step
    monkeypatch.setattr(
        estimator.PoseTrack, "step", lambda self, frame, **size: seen.append(frame.shape[:2]) or step(self, frame, **size)
    )
    frames = video([(900, 400, DOUBTFUL)], [(900, 400, SURE)], size=(1280, 960), height=320, width=120)
    found = PoseEstimator(PoseEstimationConfig(**EASY)).video(frames)
    assert seen == [(960, 1280), (960, 1280), (480, 640), (480, 640)], "filled forwards: nothing is left to do backwards"
    np.testing.assert_allclose(found.pixels[0, 0], landmarks(900, 400, 320), atol=3)
    np.testing.assert_allclose(found.joints[0], found.joints[1], atol=0.02)


def test_frames_one_by_one_for_cameras(blob_model):
    with PoseEstimator().track(25) as track:
        people = [track.step(draw((x, 60, SURE))) for x in (50, 55)]
    assert [len(found) for found in people] == [1, 1]
    np.testing.assert_allclose(people[1][0].pixels, landmarks(55, 60, 40), atol=1e-4)


@pytest.mark.parametrize("rate", [0.0, 10.0, 2000.0])
def test_any_frame_rate(blob_model, rate):
    """Moments are whole milliseconds that increase, or MediaPipe stops."""
    frames = MemoryVideo(np.stack([draw((60, 60, SURE))] * 5), rate or 30)
    with PoseEstimator().track(rate or 30) as track:
        assert all(track.step(frame) for frame in frames.frames)
    assert places(PoseEstimator().video(frames)) == [[60]] * 5


def test_an_absent_video(blob_model, tmp_path):
    with pytest.raises(VideoError, match=r"absent\.avi"):
        PoseEstimator().video(tmp_path / "absent.avi")


def test_a_file_that_is_no_model(blob_model, tmp_path):
    (tmp_path / "junk.task").write_bytes(b"junk")
    words = r"junk\.task: MediaPipe does not read this model \(found Unable to open zip archive\., expected the \.task file "
    with pytest.raises(WeightsError, match=words + r"of a pose landmarker\)\. Get it anew, or give another"):
        PoseEstimator(model=tmp_path / "junk.task")


def test_without_mediapipe(blob_model, monkeypatch):
    monkeypatch.setitem(sys.modules, "mediapipe", None)  # as if it were not installed
    words = r"finding poses in a video needs MediaPipe \(found ModuleNotFoundError: .*\)\. Pip install 'keras_actrec\[pose\]'"
    with pytest.raises(ConfigError, match=words):
        PoseEstimator()


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("people", 0, r"at least one person is looked for \(found 0, expected people >= 1\)"),
        ("detection_confidence", 1.01, r"detection_confidence is out of range \(found 1\.01, expected 0 to 1\)"),
        ("presence_confidence", -0.1, "presence_confidence is out of range"),
        ("tracking_confidence", float("nan"), "tracking_confidence is out of range"),
        ("gap_confidence", 2, "gap_confidence is out of range"),
        ("same_person", -1, "same_person is out of range"),
    ],
)
def test_settings_out_of_range(field, value, words):
    with pytest.raises(ConfigError, match=words):
        PoseEstimationConfig(**{field: value})


def test_nothing_is_printed(blob_model, capfd):
    PoseEstimator().video(video([(60, 60, SURE)], []))
    assert capfd.readouterr() == ("", "")


# By MediaPipe itself ----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def samples(actrec_data) -> Path:
    folder = actrec_data / "ntu_samples"
    if not folder.is_dir():
        pytest.skip("no ntu_samples in the folder of real data")
    return folder


def test_a_file_that_mediapipe_does_not_read(tmp_path):
    pytest.importorskip("mediapipe", reason="MediaPipe is not installed: pip install 'keras_actrec[pose]'")
    (tmp_path / "junk.task").write_bytes(b"junk" * 100)
    with pytest.raises(WeightsError, match=r"junk\.task: MediaPipe does not read this model \(found [^\n]+, expected the"):
        PoseEstimator(model=tmp_path / "junk.task")


def test_near_the_kinect_of_ntu(samples):
    """A clip of NTU RGB+D (drink water), 1920×1080: where Kinect v2 sees the joints of both arms and the hips.

    Kinect's pictures are mirrored: what looks like the left hand in them is the right one, as Kinect says.
    """
    frames = first_frames(samples / "S001C001P001R001A001_rgb.avi", 30)
    found = PoseEstimator(model=require_pose_model()).video(MemoryVideo(frames, 30))
    kinect = read_ntu_skeleton(samples / "S001C001P001R001A001.skeleton")
    assert found.joints.shape == (30, 1, 33, 3) and np.isfinite(found.joints).all(axis=(1, 2, 3)).mean() > 0.95
    ours, names = retarget(found, KINECT_V2), ("shoulder", "elbow", "wrist", "hip")
    here, there = ([KINECT_V2.index(f"{name}_{side}") for name in names for side in sides] for sides in (LR, LR[::-1]))
    distance = np.linalg.norm(ours.pixels[:, 0, here] - kinect.pixels[:30, 0, there], axis=-1)
    assert np.nanmedian(distance) < 25, "of a person of 380 pixels"
    # in metres the same body, upright
    arms = ([KINECT_V2.index(f"shoulder_{side}"), KINECT_V2.index(f"elbow_{side}")] for side in LR)
    for arm in arms:
        lengths = [np.nanmedian(np.linalg.norm(np.diff(poses.joints[:, 0, arm], axis=1), axis=-1)) for poses in (ours, kinect)]
        assert lengths[0] == pytest.approx(lengths[1], rel=0.35)
    head, foot = (ours.joints[:, 0, KINECT_V2.index(name), 1] for name in ("head", "foot_left"))
    assert (head > foot + 1).all()


def test_two_people_in_one_picture(samples):
    """The same person twice, side by side and mirrored: far enough from each other, and large enough, for two to be found."""
    frames = first_frames(samples / "S001C001P001R001A001_rgb.avi", 10)[:, 250:770, 850:1250]
    found = PoseEstimator(model=require_pose_model()).video(
        MemoryVideo(np.concatenate([frames, frames[:, :, ::-1]], axis=2), 30)
    )
    assert found.joints.shape == (10, 2, 33, 3)
    assert np.isfinite(found.pixels).all(axis=(1, 2, 3)).mean() > 0.7
    noses = np.nanmedian(found.pixels[:, :, 0, 0], axis=0)
    assert sorted(noses) == pytest.approx([190, 610], abs=40)
    left, right = np.argsort(noses)
    middle = np.nanmedian(found.joints[..., 0].mean(axis=2), axis=0)
    assert middle[left] < 0 < middle[right], "in metres they stand left and right of the middle too"


def test_somebody_in_a_hug(samples):
    """Of two who are far away and close to each other MediaPipe finds one, mostly."""
    frames = first_frames(samples / "two_person_hug.avi", 30)
    found = PoseEstimator(model=require_pose_model()).video(MemoryVideo(frames, 30))
    assert np.isfinite(found.pixels).all(axis=(2, 3)).any(axis=1).mean() > 0.95


def first_frames(path: Path, count: int) -> np.ndarray:
    """RGB uint8 (count, H, W, 3)."""
    with VideoReader(path) as reader:
        return np.stack(list(itertools.islice(reader.frames(), count)))[..., ::-1]
