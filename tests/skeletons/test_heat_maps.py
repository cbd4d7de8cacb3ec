"""Heat maps: against maps of full size that OpenCV resizes, by hand, in graphs, with joints missing."""

from __future__ import annotations

import cv2
import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_actrec.errors import ConfigError
from keras_actrec.skeletons.heat_maps import area_shares, heat_maps

NAN = np.nan


def by_opencv(joint, picture_size, grid, std):
    """The recipe of the paper, one joint in a picture of full size."""
    (height, width), (x, y) = picture_size, joint
    x, y = (x + 1) / 2 * width, (y + 1) / 2 * height
    rows, columns = np.arange(height)[:, None] + 0.5, np.arange(width)[None] + 0.5
    picture = np.exp(-((rows - y) ** 2 + (columns - x) ** 2) / (2 * std**2))
    small = cv2.resize(picture, grid[::-1], interpolation=cv2.INTER_AREA)
    return small / small.sum()


@pytest.mark.parametrize(
    ("picture_size", "grid", "std"),
    [
        ((240, 320), (8, 10), 5.0),  # Sub-JHMDB
        ((270, 480), (9, 15), 5.0),  # Penn Action
        ((240, 320), (7, 10), 5.0),  # VGG-16: 240 / 7 is no whole number
        ((50, 31), (4, 9), 1.0),
        ((50, 31), (50, 31), 10.0),
    ],
)
def test_against_a_picture_of_full_size_that_opencv_resizes(picture_size, grid, std):
    joints = np.random.default_rng(0).uniform(-1, 1, (2, 3, 4, 2)).astype("float32")
    joints[0, 0, :3] = [[-1, -1], [1, 1], [0, 0]]
    maps, known = heat_maps(joints, picture_size=picture_size, grid=grid, std=std)
    assert maps.shape == (2, 3, 4, *grid) and maps.dtype == np.float32
    assert known.shape == (2, 3, 4) and known.all()
    np.testing.assert_allclose(maps.sum(axis=(-2, -1)), 1, rtol=1e-5)
    for index in np.ndindex(2, 3, 4):
        expected = by_opencv(joints[index].astype(float), picture_size, grid, std)
        np.testing.assert_allclose(maps[index], expected, atol=2e-5, err_msg=str(index))


def test_a_narrow_gaussian_lies_in_the_place_of_the_joint_and_x_is_the_column():
    # 40 x 60 pixels in cells of 10: x = 45, y = 15 is in column 4, row 1.
    joint = np.float32([[45 / 30 - 1, 15 / 20 - 1]])
    for std in (0.01, 1.0):
        maps, _ = heat_maps(joint, picture_size=(40, 60), grid=(4, 6), std=std)
        assert np.unravel_index(maps[0].argmax(), (4, 6)) == (1, 4) and maps[0, 1, 4] > 0.999
    # On the border of four cells each has a quarter.
    maps, _ = heat_maps(np.zeros((1, 2), "float32"), picture_size=(40, 60), grid=(4, 6), std=2.0)
    np.testing.assert_allclose(maps[0, 1:3, 2:4], np.full((2, 2), 0.25), atol=1e-5)


def test_shares_of_pixels_by_hand():
    # 5 pixels in 2 cells of 2.5, 4 pixels in 3 cells of 4/3.
    np.testing.assert_allclose(area_shares(5, 2), [[1, 0], [1, 0], [0.5, 0.5], [0, 1], [0, 1]])
    third = 1 / 3
    expected = [[1, 0, 0], [third, 2 * third, 0], [0, 2 * third, third], [0, 0, 1]]
    np.testing.assert_allclose(area_shares(4, 3), expected, atol=1e-7)


SIZES = {"picture_size": (24, 32), "grid": (4, 5), "std": 3.0}


def with_gaps() -> np.ndarray:
    """(3, 2, 4, 2): absent, half absent and outside."""
    joints = np.random.default_rng(1).uniform(-1, 1, (3, 2, 4, 2)).astype("float32")
    joints[0, 0, 0] = joints[1] = joints[0, 1, 1, 1] = NAN
    joints[0, 1, 2, 0], joints[2, 0, 3, 1], joints[2, 1, 0] = 1.001, -1.5, np.inf
    return joints


def test_joints_that_are_absent_or_outside_have_no_map():
    maps, known = heat_maps(with_gaps(), **SIZES)
    wanted = np.ones((3, 2, 4), bool)
    wanted[0, 0, 0] = wanted[1] = wanted[0, 1, 1] = wanted[0, 1, 2] = wanted[2, 0, 3] = wanted[2, 1, 0] = False
    np.testing.assert_array_equal(known, wanted)
    assert (maps[~wanted] == 0).all() and np.isfinite(maps).all()
    np.testing.assert_allclose(maps[wanted].sum(axis=(-2, -1)), 1, rtol=1e-5)


@pytest.mark.parametrize("compiled", [False, True])
def test_graph_and_numpy_agree(compiled):
    joints = with_gaps()
    in_graph = tf.function(
        lambda x: heat_maps(x, xp=keras.ops, **SIZES),
        input_signature=[tf.TensorSpec((None, *joints.shape[1:]))], jit_compile=compiled,
    )  # fmt: skip
    for found, expected in zip(in_graph(joints), heat_maps(joints, **SIZES), strict=True):
        assert found.dtype.as_numpy_dtype == expected.dtype and found.shape == expected.shape
        np.testing.assert_allclose(found, expected, atol=1e-6)


@pytest.mark.parametrize(
    ("joints", "wrong", "words"),
    [
        (np.zeros((3, 3)), {}, r"of joints in a picture \(found shape \(3, 3\), expected \(..., J, 2\)\)"),
        (np.zeros(2), {}, r"found shape \(2,\)"),
        (np.zeros((3, 2)), {"std": 0.0}, r"standard deviation .*found 0.0, expected above 0 pixels"),
        (np.zeros((3, 2)), {"std": NAN}, r"standard deviation .*found nan"),
        (np.zeros((3, 2)), {"grid": (4, 33)}, r"finer than the picture \(found \(4, 33\), expected at most \(24, 32\)\)"),
        (np.zeros((3, 2)), {"grid": (0, 3)}, r"the grid of heat maps has no such size \(found \(0, 3\)"),
        (np.zeros((3, 2)), {"picture_size": (24,)}, r"the picture of heat maps has no such size .*expected \(height, width\)"),
    ],
)
def test_what_cannot_be_drawn_is_refused(joints, wrong, words):
    with pytest.raises(ConfigError, match=words):
        heat_maps(joints, **{**SIZES, **wrong})
