"""The pinhole model against points worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from keras_actrec.errors import ConfigError
from keras_actrec.synthetic.cameras import Camera, ntu_camera


def test_projection_of_the_middle_camera():
    camera = Camera(angle=0.0, height=1.0, distance=3.0, width=1920, pixel_height=1080)
    # A point in the scene's middle at the camera's height, one 0.5 m to the world's +x, and one 0.5 m up.
    points = camera.to_camera(np.array([[0, 1, 0], [0.5, 1, 0], [0, 1.5, 0]]))
    np.testing.assert_allclose(points, [[0, 0, 3], [-0.5, 0, 3], [0, 0.5, 3]], atol=1e-12)
    step = 1081 * 0.5 / 3
    np.testing.assert_allclose(camera.project(points), [[960, 540], [960 - step, 540], [960, 540 - step]])


def test_pixels_scale_with_the_picture():
    point = np.array([0.3, -0.2, 2.5])
    large, small = (ntu_camera(1, 2, width, width * 9 // 16).project(point) for width in (1920, 960))
    np.testing.assert_allclose(large, 2 * small)


def test_side_cameras_see_the_scene_from_45_degrees():
    for number, sign in ((2, -1), (3, 1)):
        camera = ntu_camera(1, number, 960, 540)
        assert camera.position[0] * sign > 0 and camera.position[2] == pytest.approx(abs(camera.position[0]))
        np.testing.assert_allclose(camera.to_camera(np.array([0, camera.height, 0])), [0, 0, camera.distance], atol=1e-12)


@pytest.mark.parametrize("number", [1, 2, 3])
def test_axes_are_right_handed_and_rays_go_through_their_pixels(number):
    camera = ntu_camera(2, number, 64, 36)
    np.testing.assert_allclose(np.cross(camera.axes[0], camera.axes[1]), camera.axes[2], atol=1e-12)
    seen = camera.to_camera(camera.position + 2.0 * camera.rays()[10, 50])
    np.testing.assert_allclose(camera.project(seen), [50, 10], atol=1e-3)


def test_unknown_camera_is_refused():
    with pytest.raises(ConfigError, match="no such camera"):
        ntu_camera(1, 4, 960, 540)
