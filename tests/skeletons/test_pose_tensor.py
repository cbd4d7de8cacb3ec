from __future__ import annotations

import importlib.util
import os
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_actrec.errors import ConfigError
from keras_actrec.skeletons.joint_orders import joint_order
from keras_actrec.skeletons.layout import KINECT_V2, SkeletonLayout
from keras_actrec.skeletons.pose_tensor import CENTERS, SCALES, PoseTensorConfig, clip_pose_tensor, pose_tensor_width
from tests.harness import ROOT

# Root 0 with one branch, joint 1: visits 0, 1, 0. Columns: 2 people × 3 visits × (x, y, z) = 18.
TWO_JOINTS = SkeletonLayout("two_joints", ("root", "hand"), (-1, 0), (1, 1), (), (("all", (0, 1)),))
FIRST_HAND_X = 3
SECOND_ROOT_X, SECOND_HAND_X = 9, 12
nan = np.nan


def clip(first_root, first_hand, second_root=None, second_hand=None):
    """Joints (T, 2, 2, 3) with the given x; y and z are 5 m and 7 m for all. A missing second person is NaN."""
    joints = np.full((len(first_root), 2, 2, 3), nan, np.float32)
    for person, joint, values in ((0, 0, first_root), (0, 1, first_hand), (1, 0, second_root), (1, 1, second_hand)):
        if values is not None:
            joints[:, person, joint, 0] = values
            joints[:, person, joint, 1:] = np.where(np.isnan(values)[:, None], nan, (5, 7))
    return joints


def tensor(joints, **config):
    return clip_pose_tensor(joints, TWO_JOINTS, PoseTensorConfig(**config))


def test_centre_and_derivatives_by_hand():
    # Hand minus root: 1-0, 3-1, 7-2, 8-3 = 1, 2, 5, 5. Velocity: 2-1 for rows 0 and 1, 5-2, 5-5 = 1, 1, 3, 0.
    # Acceleration, the same operator again: 1-1 for rows 0 and 1, 3-1, 0-3 = 0, 0, 2, -3.
    found = tensor(clip([0, 1, 2, 3], [1, 3, 7, 8]))
    assert found.shape == (4, 18, 3) and found.dtype == np.float32
    np.testing.assert_array_equal(found[:, FIRST_HAND_X], [[1, 1, 0], [2, 1, 0], [5, 3, 2], [5, 0, -3]])
    others = np.delete(found, FIRST_HAND_X, axis=1)
    assert not others.any(), "the root, y, z and the absent person are zeros"


def test_people_share_the_first_persons_origin_unless_told_otherwise():
    joints = clip([1, 1], [2, 2], [4, 5], [6, 7])
    shared, own = tensor(joints), tensor(joints, center="per_person")
    np.testing.assert_array_equal(shared[:, [SECOND_ROOT_X, SECOND_HAND_X], 0], [[3, 5], [4, 6]])
    np.testing.assert_array_equal(shared[:, SECOND_ROOT_X, 1], [1, 1])
    np.testing.assert_array_equal(own[:, [SECOND_ROOT_X, SECOND_HAND_X], 0], [[0, 2], [0, 2]])


@pytest.mark.parametrize("absent", [nan, 0.0])
def test_an_absent_body_and_derivatives_that_touch_it_are_zero(absent):
    joints = clip([0] * 6, [1, 2, 4, 8, 16, 32])
    joints[2] = absent
    found = tensor(joints)[:, FIRST_HAND_X]
    # Velocity needs rows t-1 and t, acceleration rows t-2 to t: row 2 spoils velocities 2, 3 and accelerations 2, 3, 4.
    np.testing.assert_array_equal(found[:, 0], [1, 2, 0, 8, 16, 32])
    np.testing.assert_array_equal(found[:, 1], [1, 1, 0, 0, 8, 16])
    np.testing.assert_array_equal(found[:, 2], [0, 0, 0, 0, 0, 8])


def test_without_the_first_person_the_second_ones_root_is_the_origin():
    joints = clip([1, nan, nan, 1], [2, nan, nan, 2], [4, 4, 5, 5], [6, 6, 8, 8])
    found = tensor(joints)[:, SECOND_HAND_X]
    np.testing.assert_array_equal(found[:, 0], [5, 2, 3, 7])
    # Rows 1 and 3 change the origin: 2 - 5 and 7 - 3 are no motion of the hand.
    np.testing.assert_array_equal(found[:, 1], [0, 0, 1, 0])


def test_an_unknown_joint_blanks_its_own_columns_only():
    joints = clip([0, 0, 0], [1, 2, 3])
    joints[1, 0, 1, 2] = nan
    found = tensor(joints)
    np.testing.assert_array_equal(found[:, FIRST_HAND_X, 0], [1, 2, 3])
    joints[1, 0, 1] = nan
    np.testing.assert_array_equal(tensor(joints)[:, FIRST_HAND_X, 0], [1, 0, 3])


def test_one_frame_has_no_motion():
    found = tensor(clip([1], [3]))
    np.testing.assert_array_equal(found[0, FIRST_HAND_X], [2, 0, 0])


def test_columns_are_the_visits_of_person_one_then_of_person_two():
    joints = np.random.default_rng(0).normal(size=(5, 2, 25, 3)).astype(np.float32)
    for order in ("topological", "no_repeats", "random"):
        config = PoseTensorConfig(order=order, order_seed=3)
        found = clip_pose_tensor(joints, KINECT_V2, config)[..., 0]
        visits = joint_order(KINECT_V2, order, 3)
        assert found.shape[1] == pose_tensor_width(KINECT_V2, config) == (150 if order == "no_repeats" else 300)
        for person in range(2):
            for place, joint in enumerate(visits):
                column = (person * len(visits) + place) * 3
                expected = joints[:, person, joint] - joints[:, 0, KINECT_V2.root]
                np.testing.assert_array_equal(found[:, column : column + 3], expected)


def test_one_person_has_the_first_half_of_the_columns():
    joints = people_who_come_and_go(30)
    for center in CENTERS:
        for scale in SCALES:
            both, first = (
                clip_pose_tensor(joints, KINECT_V2, PoseTensorConfig(center=center, scale=scale, people=people))
                for people in (2, 1)
            )
            np.testing.assert_array_equal(first, both[:, :150])
    assert pose_tensor_width(KINECT_V2, PoseTensorConfig(people=1)) == first.shape[1] == 150


def test_scale_divides_all_channels_of_both_people_by_the_size_of_the_first():
    # x of root and hand: 0 and 2 (size 1), 0 and 6 (size 3): the mean is 2. The second person's size has no part in it.
    joints = clip([0, 0], [2, 6], [4, 4], [14, 24])
    np.testing.assert_array_equal(tensor(joints, scale="body"), tensor(joints) / 2)
    np.testing.assert_array_equal(tensor(joints, scale="body")[:, FIRST_HAND_X], [[1, 2, 0], [3, 2, 0]])
    np.testing.assert_array_equal(tensor(joints, scale="body")[:, SECOND_HAND_X, 0], [7, 12])


def test_scale_is_one_where_nothing_can_be_measured():
    alone, point = clip([0, 0], [nan, nan]), clip([1, 1], [1, 1])
    for joints in (alone, point, np.full((3, 2, 2, 3), nan), np.zeros((3, 2, 2, 3))):
        found = tensor(joints, scale="body")
        assert np.isfinite(found).all()
        np.testing.assert_array_equal(found, tensor(joints))


def test_scaled_tensors_do_not_know_the_unit_nor_the_size():
    joints = people_who_come_and_go(30)
    metres = clip_pose_tensor(joints, KINECT_V2, PoseTensorConfig(scale="body"))
    pixels = clip_pose_tensor(joints * np.float32(250), KINECT_V2, PoseTensorConfig(scale="body"))
    np.testing.assert_allclose(pixels, metres, atol=1e-5)


def people_who_come_and_go(length: int) -> np.ndarray:
    """Two people; the first is absent (NaN) for some frames, then the second (0), and one joint is unknown at first."""
    joints = np.random.default_rng(length).normal(size=(length, 2, 25, 3)).astype(np.float32)
    joints[length // 3 : length // 2, 0] = nan
    joints[length // 2 : length // 2 + 3, 1] = 0
    joints[0, 0, 4] = nan
    return joints


@pytest.mark.parametrize("config", [{}, {"center": "per_person"}, {"scale": "body"}, {"scale": "body", "people": 1}], ids=str)
@pytest.mark.parametrize("length", [1, 2, 19, 57])
def test_graph_of_unknown_length_and_numpy_agree(config, length):
    config = PoseTensorConfig(**config)
    in_graph = tf.function(
        lambda values: clip_pose_tensor(values, KINECT_V2, config, xp=keras.ops),
        input_signature=[tf.TensorSpec((None, 2, 25, 3), tf.float32)],
    )
    only_second = people_who_come_and_go(length)
    only_second[:, 0] = nan
    for joints in (people_who_come_and_go(length), only_second, np.full((length, 2, 25, 3), nan, np.float32)):
        found = in_graph(joints)
        assert found.dtype == tf.float32
        np.testing.assert_allclose(found.numpy(), clip_pose_tensor(joints, KINECT_V2, config), atol=1e-6)


@pytest.mark.parametrize(
    "config", [{}, {"center": "per_person", "people": 1}, {"scale": "body", "order": "no_repeats"}], ids=str
)
def test_chosen_frames_are_rows_of_the_whole_clip(config):
    config, frames = PoseTensorConfig(**config), np.array([3, 0, 22, 3, 4])
    joints = people_who_come_and_go(23)
    whole = clip_pose_tensor(joints, KINECT_V2, config)
    np.testing.assert_array_equal(clip_pose_tensor(joints, KINECT_V2, config, frames=frames), whole[frames])
    in_graph = tf.function(lambda rows: clip_pose_tensor(joints, KINECT_V2, config, frames=rows, xp=keras.ops))
    np.testing.assert_allclose(in_graph(frames).numpy(), whole[frames], atol=1e-6)


JAX_PROGRAM = """
import sys
import jax, keras, numpy as np
from keras_actrec.skeletons.layout import KINECT_V2
from keras_actrec.skeletons.pose_tensor import PoseTensorConfig, clip_pose_tensor
assert keras.backend.backend() == "jax"
folder, joints = sys.argv[1], np.load(sys.argv[1] + "/joints.npy")
for people in (1, 2):
    for scale in ("none", "body"):
        config = PoseTensorConfig(people=people, scale=scale)
        found = jax.jit(lambda values: clip_pose_tensor(values, KINECT_V2, config, xp=keras.ops))(joints)
        np.save(f"{folder}/{people}_{scale}.npy", np.asarray(found))
"""


def test_jax_gives_the_same_numbers(tmp_path):
    if importlib.util.find_spec("jax") is None:
        pytest.skip("jax is not installed: `pip install keras_actrec[jax]`")
    joints = people_who_come_and_go(23)
    np.save(tmp_path / "joints.npy", joints)
    environment = os.environ | {"KERAS_BACKEND": "jax", "JAX_PLATFORMS": "cpu", "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", JAX_PROGRAM, str(tmp_path)]
    finished = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert finished.returncode == 0, finished.stderr[-3000:]
    for people in (1, 2):
        for scale in SCALES:
            expected = clip_pose_tensor(joints, KINECT_V2, PoseTensorConfig(people=people, scale=scale))
            np.testing.assert_allclose(np.load(tmp_path / f"{people}_{scale}.npy"), expected, atol=1e-6)


def test_the_callers_array_does_not_change():
    joints = clip([0, 0], [1, 2])
    before = joints.copy()
    tensor(joints)
    np.testing.assert_array_equal(joints, before)


@pytest.mark.parametrize("shape", [(5, 1, 2, 3), (5, 2, 3, 3), (0, 2, 2, 3), (2, 2, 3)], ids=str)
def test_wrong_shapes(shape):
    with pytest.raises(ConfigError, match=r"layout two_joints .*expected \(T, 2, 2, 3\)"):
        tensor(np.zeros(shape, np.float32))


WRONG = [
    {"order": "sorted"}, {"center": "camera"}, {"order_seed": -1}, {"scale": "height"}, {"people": 0}, {"people": 3},
    {"people": 1.0},
]  # fmt: skip


@pytest.mark.parametrize("wrong", WRONG, ids=str)
def test_configuration_is_checked(wrong):
    with pytest.raises(ConfigError, match="expected"):
        PoseTensorConfig(**wrong)
