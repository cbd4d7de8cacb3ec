"""MediaPipe's landmarks, computed by hand."""

from __future__ import annotations

import numpy as np

from keras_actrec.datasets.mediapipe_poses import metric_person
from keras_actrec.skeletons.layouts import MEDIAPIPE_33

HIP_LEFT, HIP_RIGHT = (MEDIAPIPE_33.index(f"hip_{side}") for side in ("left", "right"))
SIZE = (200, 100)


def body() -> np.ndarray:
    """World landmarks: hips at (±0.1, 0, 0), a wrist at (0.5, -0.4, 0.3), the others unknown."""
    world = np.full((33, 3), np.nan)
    world[HIP_LEFT], world[HIP_RIGHT], world[15] = (0.1, 0, 0), (-0.1, 0, 0), (0.5, -0.4, 0.3)
    return world


def seen(x: float, y: float, pixels_per_metre: float) -> np.ndarray:
    """The same body in parts of the picture, its hips at pixel (x, y), with a third column as MediaPipe has one."""
    pixels = body()[:, :2] * pixels_per_metre + (x, y)
    return np.column_stack([pixels / SIZE, np.zeros(33)])


def test_a_person_is_moved_to_where_the_hips_are_seen():
    person = metric_person(body(), seen(140, 20, 50), SIZE)
    # 40 pixels right of the middle and 30 above it, 0.02 metres to a pixel
    np.testing.assert_allclose(person.joints[HIP_LEFT], (0.8 + 0.1, 0.6, 0))
    np.testing.assert_allclose(person.joints[HIP_RIGHT], (0.8 - 0.1, 0.6, 0))
    np.testing.assert_allclose(person.joints[15], (0.8 + 0.5, 0.6 + 0.4, 0.3))
    np.testing.assert_allclose(person.pixels[15], (140 + 25, 20 - 20))
    np.testing.assert_allclose(person.place[HIP_LEFT], (145 / 200, 20 / 100))
    assert np.isnan(person.joints[0]).all() and np.isnan(person.pixels[0]).all()


def test_two_people_keep_their_relation():
    one, other = metric_person(body(), seen(50, 50, 50), SIZE), metric_person(body(), seen(150, 50, 50), SIZE)
    np.testing.assert_allclose(other.joints[15] - one.joints[15], (2, 0, 0))
    half = metric_person(body(), seen(150, 50, 25), SIZE)
    np.testing.assert_allclose(half.joints[15] - body()[15] * (1, -1, 1), (2, 0, 0), err_msg="half as large: as many metres")


def test_without_a_picture_a_person_stays_around_the_hips():
    person = metric_person(body(), None, None)
    np.testing.assert_allclose(person.joints[15], (0.5, 0.4, 0.3))
    assert person.pixels is None and person.place is None


def test_without_the_pictures_size_too():
    person = metric_person(body(), seen(140, 20, 50), None)
    np.testing.assert_allclose(person.joints[15], (0.5, 0.4, 0.3))
    assert person.pixels is None
    np.testing.assert_allclose(person.place[HIP_LEFT], (145 / 200, 20 / 100))


def test_a_body_whose_size_is_not_known_stays_around_the_hips():
    point = seen(140, 20, 0)  # all landmarks in one place
    np.testing.assert_allclose(metric_person(body(), point, SIZE).joints[15], (0.5, 0.4, 0.3))
    alone, place = body(), seen(140, 20, 50)
    alone[[HIP_LEFT, HIP_RIGHT]] = np.nan
    np.testing.assert_allclose(metric_person(alone, place, SIZE).joints[15], (0.5, 0.4, 0.3))
    place[HIP_LEFT] = np.nan  # two landmarks give a size, but the hips no place
    np.testing.assert_allclose(metric_person(body(), place, SIZE).joints[15], (0.5, 0.4, 0.3))


def test_absurd_numbers_warn_nobody():
    person = metric_person(body(), seen(1e300, 20, 1e300), (1e300, 1e300))
    np.testing.assert_allclose(person.joints[15], (0.5, 0.4, 0.3))
