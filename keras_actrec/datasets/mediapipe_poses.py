"""MediaPipe's landmarks in the coordinates of this project, wherever they come from: its JSON, or its landmarker itself."""

from __future__ import annotations

import numpy as np

from keras_actrec.datasets.pose_tracks import Person
from keras_actrec.skeletons.layouts import MEDIAPIPE_33

_HIPS = [MEDIAPIPE_33.index("hip_left"), MEDIAPIPE_33.index("hip_right")]


def metric_person(world: np.ndarray, image: np.ndarray | None, size: tuple[float, float] | None) -> Person:
    """One body of one frame.

    MediaPipe's world landmarks are metres from the middle of the person's own hips, y down. Here they become metres from the
    middle of the picture, x to the right of it, y up and z away from the camera (Kinect's x is to the left: it mirrors its
    pictures, so that poses of the two are mirror images of each other): the person is moved to where the hips are seen,
    with as many metres to a pixel as the body has in this frame (weak perspective), so that two people keep their relation.
    How far away a person is cannot be seen: z stays relative to the hips.

    Args:
        world: (33, 3), NaN where a landmark is unknown.
        image: (33, 2 or 3), x and y in parts of the image's width and height; None where the source has none.
        size: (width, height) of the image in pixels; None where the source does not say. The person is not moved then.
    """
    joints = world * np.array([1.0, -1.0, 1.0])
    if image is None:
        return Person(joints)
    place = image[:, :2]
    if size is None:
        return Person(joints, place=place)
    with np.errstate(over="ignore", invalid="ignore"):  # of absurd sizes: infinite, which is unknown
        pixels = place * size
        hips = pixels[_HIPS].mean(axis=0) - np.asarray(size) / 2
        offset = hips * _metres_per_pixel(world, pixels)
    if np.isfinite(offset).all():
        joints = joints + np.array([offset[0], -offset[1], 0.0])
    return Person(joints, pixels, place=place)


def _metres_per_pixel(world: np.ndarray, pixels: np.ndarray) -> float:
    """Ratio of the body's spread in metres to its spread in pixels, in the plane of the picture; NaN where it has none."""
    known = np.isfinite(world).all(axis=1) & np.isfinite(pixels).all(axis=1)
    if known.sum() < 2:
        return float("nan")
    metres, seen = (values[known, :2] - values[known, :2].mean(axis=0) for values in (world, pixels))
    spread = np.sqrt(np.square(seen).sum())
    return float(np.sqrt(np.square(metres).sum()) / spread) if spread > 0 else float("nan")
