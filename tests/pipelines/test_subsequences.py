"""Sub-sequences from real cache files."""

from __future__ import annotations

import numpy as np
import pytest

from keras_actrec.errors import CacheError, ConfigError, DatasetError
from keras_actrec.pipelines.subsequences import SubsequenceSource
from keras_actrec.skeletons.layout import KINECT_V2
from keras_actrec.skeletons.pose_tensor import PoseTensorConfig, clip_pose_tensor
from keras_actrec.skeletons.sampling import SamplingConfig
from tests.pipelines.caches import clip_joints, write_feature_cache, write_pose_cache

LENGTHS = {"c1": 40, "c2": 23, "c3": 12}
LABELS = {"c1": 5, "c2": 0, "c3": 2}
SAMPLING = SamplingConfig(subsequences=3)


@pytest.fixture(scope="module")
def caches(tmp_path_factory):
    folder = tmp_path_factory.mktemp("caches")
    return write_pose_cache(folder / "poses", LENGTHS, SAMPLING), write_feature_cache(folder / "hands", LENGTHS)


@pytest.fixture(scope="module")
def source(caches):
    return SubsequenceSource(*caches, LABELS, PoseTensorConfig(), SAMPLING)


def test_training_batch_follows_the_random_numbers(source):
    # 40 frames, 20 segments of 2: frame = 2·i + floor(2·u); a table of 0.6 gives the second frame of each segment.
    uniforms = np.full((2, 20), 0.6)
    uniforms[1] = 0.0  # 23 frames: the first of each segment, i·23 // 20
    batch, labels = source.training_batch(["c1", "c2"], uniforms)
    expected = [np.arange(20) * 2 + 1, np.arange(20) * 23 // 20]
    assert batch["pose"].shape == (2, 20, 300, 3) and batch["pose"].dtype == np.float32
    assert batch["hands"].shape == (2, 20, 4, 2048) and batch["hands"].dtype == np.float16
    assert labels.tolist() == [5, 0] and labels.dtype == np.int32
    for row, (clip, frames) in enumerate(zip(["c1", "c2"], expected, strict=True)):
        np.testing.assert_array_equal(batch["hands"][row, :, 1, 0], frames)
        np.testing.assert_array_equal(batch["hands"][row, :, :3, 1], np.tile([0, 1, 2], (20, 1)))
        assert (batch["hands"][row, :, :3, 2] == int(clip[1:])).all() and not batch["hands"][row, :, 3].any()
        # Derivatives along the clip's own frames, rows taken afterwards.
        tensor = clip_pose_tensor(clip_joints(clip, LENGTHS[clip]), KINECT_V2, PoseTensorConfig())
        np.testing.assert_array_equal(batch["pose"][row], tensor[frames])


def test_short_clips_repeat_frames(source):
    batch, _ = source.training_batch(["c3"], np.full((1, 20), 0.99))
    np.testing.assert_array_equal(batch["hands"][0, :, 0, 0], np.arange(20) * 12 // 20)


def test_a_clip_may_stand_twice(source):
    batch, labels = source.training_batch(["c1", "c1"], np.array([[0.1] * 20, [0.9] * 20]))
    assert labels.tolist() == [5, 5]
    assert (batch["hands"][1, :, 0, 0] - batch["hands"][0, :, 0, 0] == 1).all()


def test_test_batch_is_the_cached_one(source, caches):
    poses, _ = caches
    batch, labels = source.test_batch(["c2", "c1"])
    assert batch["pose"].shape == (6, 20, 300, 3) and batch["hands"].shape == (6, 20, 4, 2048)
    assert labels.tolist() == [0, 0, 0, 5, 5, 5]
    frames = poses.test_frames(["c2", "c1"]).reshape(6, 20)
    np.testing.assert_array_equal(batch["hands"][:, :, 2, 0], frames)
    tensor = clip_pose_tensor(clip_joints("c1", 40), KINECT_V2, PoseTensorConfig())
    np.testing.assert_array_equal(batch["pose"][4], tensor[frames[4]])


def test_selecting_inputs_reads_no_others(source, caches, monkeypatch):
    pose_only = source.select(["pose"])
    monkeypatch.setattr(caches[1], "features", lambda *_: pytest.fail("features were read"))
    for batch, _ in (pose_only.training_batch(["c1"], np.zeros((1, 20))), pose_only.test_batch(["c1"])):
        assert set(batch) == {"pose"}
    assert pose_only.shapes == {"pose": (20, 300, 3)}
    assert source.shapes == {"pose": (20, 300, 3), "hands": (20, 4, 2048)}


@pytest.mark.parametrize(("budget", "expected"), [(0, "1312323"), (32_000, "1322"), (38_100, "132"), (2**20, "132")])
def test_joints_stay_in_memory_up_to_the_budget(caches, monkeypatch, budget, expected):
    poses, read = caches[0], []
    joints = type(poses).joints
    monkeypatch.setattr(poses, "joints", lambda clip: (read.append(clip[1:]), joints(poses, clip))[1])
    # c1 takes 40 · 2 · 25 · 3 · 4 bytes = 24,000, c3 7,200, c2 with one person 23 · 25 · 3 · 4 = 6,900. The first ones stay.
    source = SubsequenceSource(poses, None, LABELS, PoseTensorConfig(), SAMPLING, joints_in_memory=budget)
    for clip in ("c1", "c3", "c1", "c2", "c3", "c2", "c3"):
        batch, _ = source.training_batch([clip], np.zeros((1, 20)))
        length = LENGTHS[clip]
        tensor = clip_pose_tensor(clip_joints(clip, length), KINECT_V2, PoseTensorConfig())
        np.testing.assert_array_equal(batch["pose"][0], tensor[np.arange(20) * length // 20])
    assert "".join(read) == expected


def test_clips_are_those_with_a_label_in_every_cache(caches):
    source = SubsequenceSource(*caches, {"c3": 0, "c9": 1, "c1": 1}, PoseTensorConfig(), SAMPLING)
    assert source.clip_ids == ("c3", "c1")


def test_unknown_clips_are_named(source, caches):
    with pytest.raises(DatasetError, match=r"clip c9 has no label"):
        source.training_batch(["c9"], np.zeros((1, 20)))
    labelled = SubsequenceSource(*caches, {**LABELS, "c9": 0}, PoseTensorConfig(), SAMPLING)
    with pytest.raises(CacheError, match=r"poses: .*clip c9.*run the extraction"):
        labelled.training_batch(["c9"], np.zeros((1, 20)))


def test_a_model_that_wants_hands_needs_the_feature_cache(caches):
    source = SubsequenceSource(caches[0], None, LABELS, PoseTensorConfig(), SAMPLING)
    with pytest.raises(ConfigError, match=r"'hands'.*feature cache"):
        source.select(["pose", "hands"])


def test_caches_of_different_lengths_are_refused(caches, tmp_path):
    features = write_feature_cache(tmp_path, {**LENGTHS, "c2": 22})
    with pytest.raises(CacheError, match=r"clip c2 .*22 frames.*23 frames.*extract"):
        SubsequenceSource(caches[0], features, LABELS, PoseTensorConfig(), SAMPLING)


@pytest.mark.parametrize(
    ("tensor", "sampling"),
    [(PoseTensorConfig(order="no_repeats"), SAMPLING), (PoseTensorConfig(), SamplingConfig(subsequences=10))],
)
def test_a_pose_cache_of_other_options_is_refused(caches, tensor, sampling):
    with pytest.raises(CacheError, match=r"poses: .*other options: .*\(3, 20, 300, 3\)"):
        SubsequenceSource(*caches, LABELS, tensor, sampling)
