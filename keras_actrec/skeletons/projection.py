"""Joints in metres before a camera → where they are in its picture."""

from __future__ import annotations

import numpy as np


def project(joints: np.ndarray, *, focal_length: float, image_size: tuple[int, int]) -> np.ndarray:
    """Projects points through a pinhole camera that has its principal point in the middle of the picture and no distortion.

    With width W, height H and focal length f: u = W / 2 + f · x / z, v = H / 2 - f · y / z.

    Args:
        joints: (…, 3), metres in the camera's frame: x to the right of the picture, **y up**, z away from the camera.
        focal_length: in pixels of the picture.
        image_size: (width, height) of the picture in pixels.

    Returns:
        float32 (…, 2): (u, v) in pixels, v down; also outside of the picture. NaN where a coordinate is not finite or the point
        is not before the camera (z at most 0).
    """
    points = np.asarray(joints, np.float64)
    seen = np.isfinite(points).all(axis=-1, keepdims=True) & (points[..., 2:] > 0)
    depth = np.where(seen, points[..., 2:], np.nan)
    middle = np.array(image_size) / 2
    return (middle + np.array([focal_length, -focal_length]) * points[..., :2] / depth).astype(np.float32)
