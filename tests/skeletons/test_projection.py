"""Projection: pixels by hand, and points that no camera sees."""

from __future__ import annotations

import numpy as np

from keras_actrec.skeletons.projection import project


def test_points_by_hand():
    points = [[0, 0, 2], [0.5, 0.25, 2], [-1, 1, 4], [3, -3, 1]]
    pixels = project(np.array(points, np.float32), focal_length=500, image_size=(640, 480))
    # 320 + 500 · 0.5 / 2 and 240 - 500 · 0.25 / 2; 320 - 500 / 4 and 240 - 500 / 4; far outside of the picture.
    np.testing.assert_array_equal(pixels, [[320, 240], [445, 177.5], [195, 115], [1820, 1740]])
    assert pixels.dtype == np.float32


def test_any_leading_axes():
    points = np.random.default_rng(0).uniform(1, 3, (4, 2, 5, 3))
    pixels = project(points, focal_length=300, image_size=(200, 100))
    assert pixels.shape == (4, 2, 5, 2)
    np.testing.assert_array_equal(pixels[3, 1, 4], project(points[3, 1, 4], focal_length=300, image_size=(200, 100)))


def test_what_is_unknown_or_not_before_the_camera_has_no_pixels(recwarn):
    nan, inf = float("nan"), float("inf")
    points = [[1, 1, 0], [0, 0, 0], [1, 1, -2], [nan, 1, 2], [1, nan, 2], [1, 1, nan], [inf, 1, 2], [1, 1, inf]]
    assert np.isnan(project(np.array(points), focal_length=500, image_size=(640, 480))).all()
    assert not recwarn.list
