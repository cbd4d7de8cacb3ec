from __future__ import annotations

from dataclasses import FrozenInstanceError, fields, replace

import numpy as np
import pytest

from keras_actrec.errors import ConfigError
from keras_actrec.skeletons.augmentation import (
    NO_AUGMENTATION,
    Augmentation,
    AugmentationConfig,
    apply_augmentation,
    augment,
    draw_augmentation,
)
from keras_actrec.skeletons.layout import KINECT_V2, SkeletonLayout
from keras_actrec.skeletons.layouts import LAYOUTS
from keras_actrec.skeletons.pose_tensor import PoseTensorConfig, clip_pose_tensor
from tests.skeletons.bodies import person

THREE = SkeletonLayout("three", ("root", "left", "right"), (-1, 0, 0), (1, 2), ((1, 2),), (("all", (0, 1, 2)),))
nan = np.nan


class Fixed:
    """Stands for a generator: given uniform numbers (0.5 is the middle of every ±), and the same normal number everywhere."""

    def __init__(
        self,
        *,
        rotation=0.5,
        tilt_x=0.5,
        tilt_z=0.5,
        scale=0.5,
        mirror=0.5,
        frames=0.5,
        swap=0.5,
        window=0.5,
        place=0.5,
        normals=0.0,
    ):
        self.uniforms = np.array([rotation, tilt_x, tilt_z, scale, mirror, frames, swap, window, place])
        self.normals = normals

    def random(self, size):
        assert size == len(self.uniforms)
        return self.uniforms

    def standard_normal(self, size, dtype):
        return np.full(size, self.normals, dtype)


def only(**fields_on: float) -> AugmentationConfig:
    return replace(NO_AUGMENTATION, **fields_on)


def two_people(frames: int = 30, seed: int = 0) -> np.ndarray:
    return np.stack([person(frames, waving=0.3, seed=seed), person(frames, x=1.0, waving=0.1, seed=seed + 1)], axis=1)


def three_joints(*, z: float = 3.0) -> np.ndarray:
    """(1, 2, 3, 3): person 1, and the same one metre on in x; the right joint is 0.1 m behind the others unless z is 0."""
    depth = 0.1 if z else 0.0
    body = np.array([(1, 0, z), (1.2, 0.5, z), (0.9, 0, z + depth)], np.float32)
    return np.stack([body, body + np.float32((1, 0, 0))])[None]


def pairwise_distances(joints: np.ndarray) -> np.ndarray:
    points = joints.reshape(len(joints), -1, 3)
    return np.linalg.norm(points[:, :, None] - points[:, None], axis=-1)


def test_rotation_by_90_degrees_by_hand():
    # About the vertical through the root (1, 0, 3), right-handed: x → -z, z → x. left: (0.2, 0.5, 0) → (0, 0.5, -0.2),
    # right: (-0.1, 0, 0.1) → (0.1, 0, 0.1), second person's root: (1, 0, 0) → (0, 0, -1).
    found = augment(three_joints(), THREE, only(rotation=90.0), Fixed(rotation=1.0))
    np.testing.assert_allclose(found[0, 0], [(1, 0, 3), (1, 0.5, 2.8), (1.1, 0, 3.1)], atol=1e-6)
    np.testing.assert_allclose(found[0, 1], [(1, 0, 2), (1, 0.5, 1.8), (1.1, 0, 2.1)], atol=1e-6)
    back = augment(three_joints(), THREE, only(rotation=90.0), Fixed(rotation=0.0))
    np.testing.assert_allclose(back[0, 0, 1], (1, 0.5, 3.2), atol=1e-6)


def test_tilt_by_90_degrees_by_hand():
    # About x: y → z, z → -y: left (0.2, 0.5, 0) → (0.2, 0, 0.5). About z: x → y, y → -x: left → (-0.5, 0.2, 0).
    pitch = augment(three_joints(), THREE, only(tilt=90.0), Fixed(tilt_x=1.0))
    roll = augment(three_joints(), THREE, only(tilt=90.0), Fixed(tilt_z=1.0))
    np.testing.assert_allclose(pitch[0, 0, 1], (1.2, 0, 3.5), atol=1e-6)
    np.testing.assert_allclose(roll[0, 0, 1], (0.5, 0.2, 3), atol=1e-6)


def test_planar_clips_are_rotated_in_their_plane_only():
    config = only(rotation=90.0, tilt=90.0, scale=0.5, mirror=1.0, joint_noise=0.1, frame_jitter=1.0)
    draw = np.random.default_rng(0)
    clip = draw.normal(size=(9, 2, 3, 3)).astype(np.float32) * np.float32((1, 1, 0))
    clip[3, 0, 1] = clip[:, 1] = nan
    for seed in range(5):
        found = augment(clip, THREE, config, np.random.default_rng(seed))
        assert not np.nan_to_num(found[..., 2]).any(), "z stays 0"
    distances = [pairwise_distances(augment(clip, THREE, only(rotation=90.0, tilt=90.0), draw)) for _ in range(5)]
    for found in distances:
        np.testing.assert_allclose(found, pairwise_distances(clip), atol=1e-5)
    rotated = augment(three_joints(z=0), THREE, only(rotation=90.0, tilt=90.0), Fixed(rotation=1.0, tilt_x=1.0, tilt_z=1.0))
    np.testing.assert_allclose(rotated[0, 0], [(1, 0, 0), (0.5, 0.2, 0), (1, -0.1, 0)], atol=1e-6)


def test_rotation_preserves_distances_within_and_between_people():
    clip = two_people()
    for seed in range(5):
        found = augment(clip, KINECT_V2, only(rotation=180.0, tilt=180.0), np.random.default_rng(seed))
        np.testing.assert_allclose(pairwise_distances(found), pairwise_distances(clip), atol=2e-6)
        assert np.abs(found - clip).max() > 0.1


def test_rotation_about_the_vertical_keeps_heights():
    clip = two_people()
    found = augment(clip, KINECT_V2, only(rotation=180.0), np.random.default_rng(0))
    np.testing.assert_allclose(found[..., 1], clip[..., 1], atol=1e-6)


def test_scale_by_hand():
    # 1 + 0.2 · 0.5 = 1.1 about the first person's root: left (0.2, 0.5, 0) → (0.22, 0.55, 0), and the second person too.
    found = augment(three_joints(), THREE, only(scale=0.2), Fixed(scale=0.75))
    np.testing.assert_allclose(found[0, :, 0], [(1, 0, 3), (2.1, 0, 3)], rtol=1e-6)
    np.testing.assert_allclose(found[0, :, 1], [(1.22, 0.55, 3), (2.32, 0.55, 3)], rtol=1e-6)


def test_mirror_by_hand():
    # x → 2 - x about the root at x = 1; then left and right change places.
    found = augment(three_joints(), THREE, only(mirror=1.0), Fixed())
    np.testing.assert_allclose(found[0, 0], [(1, 0, 3), (1.1, 0, 3.1), (0.8, 0.5, 3)], rtol=1e-6)
    np.testing.assert_allclose(found[0, 1], [(0, 0, 3), (0.1, 0, 3.1), (-0.2, 0.5, 3)], rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=lambda layout: layout.name)
def test_mirroring_twice_is_the_identity_and_once_is_not(layout):
    clip = np.random.default_rng(0).normal(size=(6, 2, len(layout), 3)).astype(np.float32)
    once = augment(clip, layout, only(mirror=1.0), np.random.default_rng(0))
    twice = augment(once, layout, only(mirror=1.0), np.random.default_rng(1))
    np.testing.assert_allclose(twice, clip, atol=2e-6)
    assert np.abs(once - clip).max() > 0.1
    np.testing.assert_array_equal(once[..., 1:], augment(once, layout, NO_AUGMENTATION, np.random.default_rng(0))[..., 1:])


def test_swap_by_hand():
    clip = three_joints()
    np.testing.assert_array_equal(augment(clip, THREE, only(person_swap=1.0), Fixed()), clip[:, ::-1])
    np.testing.assert_array_equal(augment(clip, THREE, only(person_swap=0.5), Fixed(swap=0.5)), clip)


@pytest.mark.parametrize("alone", [0, 1])
def test_a_person_alone_is_not_swapped_away(alone):
    clip = three_joints()
    clip[:, 1 - alone] = nan
    np.testing.assert_array_equal(augment(clip, THREE, only(person_swap=1.0), Fixed()), clip)


def test_joint_noise_by_hand():
    # Three joints at (0, 0, 3), (3, 0, 3), (0, 3, 3): mean (1, 1, 3), squared distances 2, 5, 5, body size √(12/3) = 2. With
    # noise 0.1 and normals of 1.5 every coordinate moves by 0.3.
    body = np.array([(0, 0, 3), (3, 0, 3), (0, 3, 3)], np.float32)
    clip = np.stack([body, np.full_like(body, nan)])[None].repeat(4, axis=0)
    found = augment(clip, THREE, only(joint_noise=0.1), Fixed(normals=1.5))
    np.testing.assert_allclose(found - clip, np.where(np.isnan(clip), nan, 0.3), atol=1e-6)


def test_the_body_size_is_taken_from_known_joints():
    # Two known joints at x = 0 and 2: mean 1, both 1 away, body size 1: with noise 0.1 and normals of 1.5 a step of 0.15.
    clip = np.full((1, 2, 3, 3), nan, np.float32)
    clip[0, 0, :2] = (0, 0, 3), (2, 0, 3)
    found = augment(clip, THREE, only(joint_noise=0.1), Fixed(normals=1.5))
    np.testing.assert_allclose(found[0, 0, :2], [(0.15, 0.15, 3.15), (2.15, 0.15, 3.15)], rtol=1e-6)


def test_offsets_come_first_then_mirroring_then_rotation_then_scale():
    # left is (0.2, 0.5, 0) from the root at (1, 0, 3). Offset 0.1 in each coordinate: (0.3, 0.6, 0.1); mirrored:
    # (-0.3, 0.6, 0.1); by 90 degrees about y: (0.1, 0.6, 0.3); twice as large: (0.2, 1.2, 0.6); it is the right joint now.
    drawn = draw_augmentation(three_joints(), THREE, only(rotation=90.0, mirror=1.0, scale=0.5), Fixed(rotation=1.0, scale=1.0))
    drawn = replace(drawn, linear=drawn.linear * np.float32(2 / 1.5), offsets=np.full((2, 3, 3), 0.1, np.float32))
    found = apply_augmentation(three_joints(), THREE, drawn)
    np.testing.assert_allclose(found[0, 0, 2], (1.2, 1.2, 3.6), rtol=1e-6)


def test_joint_noise_has_its_size_and_no_velocity():
    clip = two_people()
    first = clip[:, 0]
    size = float(np.sqrt(((first - first.mean(axis=1, keepdims=True)) ** 2).sum(axis=-1).mean(axis=1)).mean())
    draw = np.random.default_rng(0)
    offsets = np.stack([augment(clip, KINECT_V2, only(joint_noise=0.05), draw) - clip for _ in range(200)])
    np.testing.assert_allclose(offsets.std(axis=1), 0, atol=1e-6, err_msg="an offset is constant over the clip")
    drawn = offsets[:, 0]  # 200 · 150 numbers: the standard deviation is known to 0.4 %.
    assert drawn.std() == pytest.approx(0.05 * size, rel=0.03)
    assert drawn.mean() == pytest.approx(0, abs=0.03 * 0.05 * size)
    assert np.corrcoef(drawn[:, 0].ravel(), drawn[:, 1].ravel())[0, 1] == pytest.approx(0, abs=0.06)


def test_frame_jitter_by_hand():
    # 9 frames, u = t / 8, shift 2 (a quarter of 8): t + 8·u·(1-u) = t + (t/8)·(8-t): 1 → 1.875, 4 → 6, 7 → 7.875.
    clip = np.arange(9, dtype=np.float32)[:, None, None, None] + three_joints()
    found = augment(clip, THREE, only(frame_jitter=2.0), Fixed(frames=1.0))
    time = [0, 1.875, 3.5, 4.875, 6, 6.875, 7.5, 7.875, 8]
    np.testing.assert_allclose(found - three_joints(), np.broadcast_to(np.reshape(time, (9, 1, 1, 1)), clip.shape), atol=1e-6)
    most = augment(clip, THREE, only(frame_jitter=1000.0), Fixed(frames=1.0))
    np.testing.assert_array_equal(most, found, "a quarter of the clip is the limit")
    later = augment(clip, THREE, only(frame_jitter=2.0), Fixed(frames=0.0))
    np.testing.assert_allclose(later[4] - three_joints()[0], 2, atol=1e-6)


@pytest.mark.parametrize("length", [1, 2, 3, 50])
@pytest.mark.parametrize("frames", [0.0, 1.0])
def test_time_never_runs_backwards_nor_leaves_the_clip(length, frames):
    clip = np.arange(length, dtype=np.float32)[:, None, None, None] + np.zeros((1, 2, 3, 3), np.float32)
    found = augment(clip, THREE, only(frame_jitter=1000.0), Fixed(frames=frames))[:, 0, 0, 0]
    assert found[0] == 0 and found[-1] == length - 1
    assert (np.diff(found) >= 0).all()


def test_frame_jitter_is_nan_where_it_would_need_an_unknown_frame():
    # Positions as above: 0, 1.875, 3.5, 4.875, 6, 6.875, 7.5, 7.875, 8. Frame 5 is needed for 4.875 alone, in row 3, as 6 is
    # a frame of its own; frame 7 for 6.875, 7.5 and 7.875, in rows 5 to 7.
    clip = np.arange(9, dtype=np.float32)[:, None, None, None] + three_joints()
    clip[5, 0, 1] = clip[7, 1, 2] = nan
    found = np.isnan(augment(clip, THREE, only(frame_jitter=2.0), Fixed(frames=1.0)))
    assert found[3, 0, 1].all() and found[5:8, 1, 2].all() and found.sum() == 3 + 9


def test_everything_off_changes_nothing():
    clip = two_people()
    clip[3:5, 1] = clip[7, 0, 2] = nan
    clip[8, 0, 4, 1] = nan
    found = augment(clip, KINECT_V2, NO_AUGMENTATION, np.random.default_rng(0))
    np.testing.assert_array_equal(found, clip)
    assert found.dtype == np.float32 and not np.shares_memory(found, clip)
    off = {field.name: getattr(NO_AUGMENTATION, field.name) for field in fields(AugmentationConfig)}
    assert off.pop("window") == 1 and not any(off.values())


@pytest.mark.parametrize("length", [1, 2, 40])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(
    "config",
    [
        AugmentationConfig(),
        AugmentationConfig(person_swap=1.0, mirror=1.0),
        *(only(**{field.name: 0.5}) for field in fields(AugmentationConfig)),
    ],
    ids=["default", "all", *(field.name for field in fields(AugmentationConfig))],
)
def test_the_clip_itself_is_not_changed(config, dtype, length):
    clip = two_people(length).astype(dtype)
    before = clip.copy()
    found = augment(clip, KINECT_V2, config, np.random.default_rng(3))
    assert found.shape == clip.shape and found.dtype == np.float32 and found.flags.c_contiguous
    assert not np.shares_memory(found, clip)
    found[:] = 0
    np.testing.assert_array_equal(clip, before)


def test_unknown_joints_stay_unknown_and_known_ones_known():
    clip = two_people()
    clip[:6, 1] = clip[9, 0, [2, 8]] = nan
    config = AugmentationConfig(mirror=0.0, frame_jitter=0.0, person_swap=0.0)
    for seed in range(5):
        found = augment(clip, KINECT_V2, config, np.random.default_rng(seed))
        np.testing.assert_array_equal(np.isnan(found), np.isnan(clip))
    mirrored = augment(clip, KINECT_V2, only(mirror=1.0), Fixed())
    np.testing.assert_array_equal(np.isnan(mirrored[9, 0, :, 0]).nonzero()[0], [2, 4])  # shoulder right (8) → left (4)


def test_a_clip_without_the_first_root_turns_about_the_second_one():
    clip = three_joints()
    clip[0, 0, 0] = nan
    found = augment(clip, THREE, only(rotation=90.0), Fixed(rotation=1.0))
    np.testing.assert_allclose(found[0, 1, 0], (2, 0, 3), atol=1e-6)
    # left of person 1, seen from (2, 0, 3): (-0.8, 0.5, 0) → (0, 0.5, 0.8).
    np.testing.assert_allclose(found[0, 0, 1], (2, 0.5, 3.8), atol=1e-6)


@pytest.mark.filterwarnings("error")
def test_a_clip_without_bodies_passes():
    clip = np.full((5, 2, 3, 3), nan, np.float32)
    assert np.isnan(augment(clip, THREE, AugmentationConfig(person_swap=1.0), np.random.default_rng(0))).all()


@pytest.mark.filterwarnings("error")
def test_unknown_joints_give_no_warnings():
    clip = two_people()
    clip[:, 1] = clip[4:9, 0, 1] = nan
    augment(clip, KINECT_V2, AugmentationConfig(), np.random.default_rng(0))


def test_the_pose_tensor_of_a_turned_clip_is_the_turned_pose_tensor():
    # Where the fixed point lies does not matter: centring takes it out, in all three channels.
    clip = two_people()
    config = only(rotation=60.0, tilt=20.0, scale=0.2)
    drawn = draw_augmentation(clip, KINECT_V2, config, np.random.default_rng(5))
    plain, turned = (
        clip_pose_tensor(joints, KINECT_V2, PoseTensorConfig()).reshape(len(clip), -1, 3, 3)
        for joints in (clip, apply_augmentation(clip, KINECT_V2, drawn))
    )
    np.testing.assert_allclose(turned, np.einsum("ij,tvjc->tvic", drawn.linear, plain), atol=5e-6)


def test_the_same_generator_gives_the_same_clip_and_every_configuration_takes_as_much_of_it():
    clip = two_people()
    first, second = (augment(clip, KINECT_V2, AugmentationConfig(), np.random.default_rng((0, 3, 5, 7))) for _ in range(2))
    np.testing.assert_array_equal(first, second)
    assert np.abs(first - augment(clip, KINECT_V2, AugmentationConfig(), np.random.default_rng((0, 3, 5, 8)))).max() > 0.01
    after = []
    for config, joints in ((NO_AUGMENTATION, clip), (AugmentationConfig(), clip), (only(mirror=1.0), clip[:1] * nan)):
        draw = np.random.default_rng(1)
        augment(joints, KINECT_V2, config, draw)
        after.append(draw.random())
    assert after[0] == after[1] == after[2]


def test_what_is_drawn_is_uniform_and_has_its_probability():
    clip, draw, count = three_joints(), np.random.default_rng(0), 4000
    turned = [draw_augmentation(clip, THREE, only(rotation=30.0), draw).linear for _ in range(count)]
    degrees = np.degrees([np.arctan2(matrix[0, 2], matrix[0, 0]) for matrix in turned])
    assert np.abs(degrees).max() <= 30.001 and np.ptp(degrees) > 59
    assert degrees.mean() == pytest.approx(0, abs=1.2)  # 4.4 standard errors of 30/√3/√4000
    assert degrees.std() == pytest.approx(30 / np.sqrt(3), rel=0.05)
    drawn = [draw_augmentation(clip, THREE, only(scale=0.2, frame_jitter=3.0), draw) for _ in range(count)]
    factors, shifts = np.array([d.linear[1, 1] for d in drawn]), np.array([d.frame_shift for d in drawn])
    assert 0.8 <= factors.min() < 0.81 and 1.19 < factors.max() <= 1.2
    assert -3 <= shifts.min() < -2.9 and 2.9 < shifts.max() < 3
    assert np.corrcoef(factors, shifts)[0, 1] == pytest.approx(0, abs=0.07)
    sides = [draw_augmentation(clip, THREE, only(mirror=0.3, person_swap=0.7), draw) for _ in range(count)]
    mirrored, swapped = np.array([d.mirrored for d in sides]), np.array([d.swapped for d in sides])
    assert mirrored.mean() == pytest.approx(0.3, abs=0.035) and swapped.mean() == pytest.approx(0.7, abs=0.035)
    assert (mirrored & swapped).mean() == pytest.approx(0.21, abs=0.035), "independent of each other"


@pytest.mark.parametrize("mirrored", [False, True])
@pytest.mark.parametrize("swapped", [False, True])
def test_hands_say_which_hand_stands_where(mirrored, swapped):
    clip = two_people()
    augmentation = Augmentation(linear=None, mirrored=mirrored, swapped=swapped, frame_shift=0.0, offsets=None, window=(0, 1))
    found = apply_augmentation(clip, KINECT_V2, augmentation)
    before, after = (joints[:, :, list(KINECT_V2.hands)].reshape(len(clip), 4, 3) for joints in (clip, found))
    np.testing.assert_array_equal(after, before[:, list(augmentation.hands)])
    expected = {(0, 0): (0, 1, 2, 3), (1, 0): (1, 0, 3, 2), (0, 1): (2, 3, 0, 1), (1, 1): (3, 2, 1, 0)}
    assert augmentation.hands == expected[mirrored, swapped]


@pytest.mark.parametrize("shape", [(0, 2, 3, 3), (5, 1, 3, 3), (5, 3, 3, 3), (5, 2, 13, 3), (5, 2, 3, 2), (2, 3, 3)])
def test_joints_of_another_shape_are_named(shape):
    joints = np.zeros(shape, np.float32)
    drawn = Augmentation(linear=None, mirrored=False, swapped=False, frame_shift=0.0, offsets=None, window=(0, 1))
    with pytest.raises(ConfigError, match=r"joints do not fit layout three .*at least one frame"):
        augment(joints, THREE, AugmentationConfig(), np.random.default_rng(0))
    with pytest.raises(ConfigError, match="joints do not fit layout three"):
        apply_augmentation(joints, THREE, drawn)


@pytest.mark.parametrize("name", [field.name for field in fields(AugmentationConfig)])
@pytest.mark.parametrize("value", [-0.1, nan, np.inf, "5", None, (1, 2)])
def test_bad_values_are_refused(name, value):
    with pytest.raises(ConfigError, match=f"{name} is out of range"):
        AugmentationConfig(**{name: value})


@pytest.mark.parametrize(
    "name, limit",
    [("rotation", 180), ("tilt", 180), ("scale", 0.9), ("mirror", 1), ("joint_noise", 1), ("person_swap", 1)],
)
def test_limits(name, limit):
    assert getattr(AugmentationConfig(**{name: limit}), name) == limit
    with pytest.raises(ConfigError, match=rf"{name} is out of range .*expected 0 to {limit}"):
        AugmentationConfig(**{name: limit * 1.01})


def test_false_switches_off_and_configurations_do_not_change():
    assert AugmentationConfig(mirror=False).mirror == 0
    with pytest.raises(FrozenInstanceError):
        NO_AUGMENTATION.mirror = 1.0
