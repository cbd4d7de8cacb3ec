from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_actrec.errors import ConfigError
from keras_actrec.skeletons.clip_sampling import ClipSamplingConfig, clip_frames, clip_poses, pose_frames, view_uniforms
from keras_actrec.skeletons.layouts import JHMDB_15, KINECT_V2

BELOW_ONE = np.nextafter(1.0, 0.0)
FOUR = ClipSamplingConfig(frames=4, stride=2, poses=3)


def loader_frames(length: int, start: int, frames: int, stride: int) -> list[int]:
    """The three cases of the published loader, as its lists go: every stride-th, all over and over, or in a row."""
    if length > frames * stride:
        return list(range(length))[start : start + frames * stride : stride]
    if length < frames:
        return sorted((list(range(length)) * frames)[:frames])
    return list(range(length))[start : start + frames]


@pytest.mark.parametrize(
    ("length", "uniform", "expected"),
    [
        (11, 0.0, [0, 2, 4, 6]),  # n > F·s = 8: starts 0 to 3
        (11, 0.5, [2, 4, 6, 8]),
        (11, BELOW_ONE, [3, 5, 7, 9]),
        (8, BELOW_ONE, [4, 5, 6, 7]),  # n = F·s: in a row, starts 0 to 4
        (4, BELOW_ONE, [0, 1, 2, 3]),
        (3, BELOW_ONE, [0, 0, 1, 2]),  # 0 1 2 0, in order
        (2, 0.3, [0, 0, 1, 1]),
        (1, 0.3, [0, 0, 0, 0]),
    ],
)
def test_clip_frames_by_hand(length, uniform, expected):
    assert clip_frames(length, uniform, FOUR).tolist() == expected


@pytest.mark.parametrize(("frames", "stride"), [(16, 2), (5, 3), (6, 1), (1, 1)])
def test_every_start_of_the_published_loader_occurs_and_no_other(frames, stride):
    config = ClipSamplingConfig(frames=frames, stride=stride)
    for length in range(1, 3 * frames * stride):
        span = frames * stride if length > frames * stride else min(frames, length)
        starts = length - span + 1
        for start in range(starts):
            for uniform in (start / starts + 1e-9, (start + 1) / starts - 1e-9):
                assert clip_frames(length, uniform, config).tolist() == loader_frames(length, start, frames, stride)


def test_pose_frames_by_hand():
    # n = 10, P = 3: segments [0, 3), [3, 6), [6, 10)
    assert pose_frames(10, np.array([0.0, 0.5, BELOW_ONE]), FOUR).tolist() == [0, 4, 9]
    assert pose_frames(2, np.full(3, 0.5), FOUR).tolist() == [0, 0, 1]


def test_graph_and_numpy_agree_to_the_frame():
    config = ClipSamplingConfig(frames=16, stride=2, poses=5)
    table = np.random.default_rng(0).random((6, 5))

    @tf.function(input_signature=[tf.TensorSpec((), tf.int32), tf.TensorSpec((5,), tf.float64)])
    def in_graph(length, uniforms):
        return (
            clip_frames(length, uniforms[0], config, xp=keras.ops),
            clip_frames(length, 0.5, config, xp=keras.ops),
            pose_frames(length, uniforms, config, xp=keras.ops),
        )

    for length in range(1, 121):
        uniforms = table[length % len(table)]
        expected = (
            clip_frames(length, uniforms[0], config),
            clip_frames(length, 0.5, config),
            pose_frames(length, uniforms, config),
        )
        for found, frames in zip(in_graph(length, uniforms), expected, strict=True):
            assert found.dtype == tf.int32 and frames.dtype == np.int32
            np.testing.assert_array_equal(found, frames)


def test_views_are_spread_evenly():
    assert view_uniforms(1).tolist() == [0.5]
    assert view_uniforms(4).tolist() == [0.125, 0.375, 0.625, 0.875]
    # n = 12, F·s = 8: starts 0 to 4, of which four views take floor(0.625), floor(1.875), floor(3.125), floor(4.375)
    starts = [int(clip_frames(12, uniform, FOUR)[0]) for uniform in view_uniforms(4)]
    assert starts == [0, 1, 3, 4]


def walking(frames: int = 6) -> np.ndarray:
    """(T, 2, J, 3): two people, no coordinate 0."""
    return np.random.default_rng(5).uniform(1, 2, (frames, 2, len(KINECT_V2), 3)).astype("float32")


def on_graph(joints: np.ndarray) -> np.ndarray:
    compiled = tf.function(
        lambda x: clip_poses(x, KINECT_V2, xp=keras.ops), input_signature=[tf.TensorSpec((None, *joints.shape[1:]))]
    )
    return compiled(joints).numpy()


def test_poses_are_relative_to_the_root_of_the_first_frame():
    joints = walking()
    poses = clip_poses(joints, KINECT_V2)
    np.testing.assert_array_equal(poses, joints[:, 0] - joints[0, 0, 1])  # joint 1: the middle of the spine
    assert poses.dtype == np.float32
    np.testing.assert_array_equal(on_graph(joints), poses)


@pytest.mark.parametrize("gone", [0.0, np.nan])
def test_an_absent_person_is_zero_and_gives_no_origin(gone):
    joints = walking()
    joints[[0, 1, 4], 0] = gone
    poses = clip_poses(joints, KINECT_V2)
    there = [2, 3, 5]
    np.testing.assert_array_equal(poses[there], joints[there, 0] - joints[2, 0, 1])
    np.testing.assert_array_equal(poses[[0, 1, 4]], 0)
    np.testing.assert_array_equal(on_graph(joints), poses)


def test_a_joint_that_is_unknown_is_zero():
    joints = walking()
    joints[0, 0, 1, 2] = np.nan  # the root of the first frame, one coordinate of it
    joints[3, 0, 7] = np.nan
    joints[3, 0, 8] = 0  # of a body that is there: a place like any other
    poses = clip_poses(joints, KINECT_V2)
    expected = joints[:, 0] - joints[1, 0, 1]
    expected[0, 1] = expected[3, 7] = 0
    np.testing.assert_array_equal(poses, expected)
    np.testing.assert_array_equal(on_graph(joints), poses)


@pytest.mark.parametrize("joints", [slice(None), [1]], ids=["nobody", "no root"])
def test_without_a_root_everything_is_zero(joints):
    sequence = walking(3)
    sequence[:, 0, joints] = np.nan
    np.testing.assert_array_equal(clip_poses(sequence, KINECT_V2), np.zeros((3, 25, 3)))
    np.testing.assert_array_equal(on_graph(sequence), np.zeros((3, 25, 3)))


@pytest.mark.parametrize("shape", [(0, 2, 25, 3), (4, 0, 25, 3), (4, 2, 15, 3), (4, 25, 3)], ids=str)
def test_joints_of_another_shape_are_refused(shape):
    with pytest.raises(ConfigError, match=r"do not fit the poses of layout kinect_v2.*expected \(T, people, 25, 3\)"):
        clip_poses(np.ones(shape, "float32"), KINECT_V2)
    clip_poses(np.ones((4, 1, 15, 3), "float32"), JHMDB_15)  # one person is enough


def test_what_cannot_be_sampled_is_refused():
    with pytest.raises(ConfigError, match=r"none to sample \(found 0, expected at least one frame\)"):
        clip_frames(0, 0.5, FOUR)
    with pytest.raises(ConfigError, match=r"one random number per pose is needed \(found \(4,\), expected \(3,\)\)"):
        pose_frames(10, np.zeros(4), FOUR)
    with pytest.raises(ConfigError, match=r"no test views .found 0"):
        view_uniforms(0)


@pytest.mark.parametrize("wrong", [{"frames": 0}, {"stride": -1}, {"poses": 0}, {"views": 0}, {"frames": 2.5}], ids=str)
def test_configuration_is_checked(wrong):
    with pytest.raises(ConfigError, match=f"ClipSamplingConfig: {next(iter(wrong))} is out of range.*integer of at least 1"):
        ClipSamplingConfig(**wrong)
