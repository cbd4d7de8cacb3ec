"""Where the cameras stand and how a point in the room becomes a pixel: a pinhole model of the Kinect v2 colour camera.

The camera's frame is that of Kinect and of the NTU files: x to the camera's left, y up, z away from the camera, metres.
Colour pictures of Kinect v2 are mirrored: larger x is further right in the picture.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from keras_actrec.errors import ConfigError

FULL_HD_FOCAL_LENGTH = 1081.0
"""Focal length of the Kinect v2 colour camera in pixels of its 1920×1080 picture."""

CAMERA_ANGLES = {1: 0.0, 2: -45.0, 3: 45.0}
"""Horizontal angle of NTU's three cameras, degrees; camera 1 stands in the middle."""

SETUPS = {1: (1.20, 3.0), 2: (1.10, 3.1), 3: (1.35, 3.2)}
"""Height of the cameras and their distance from the scene's middle, metres, for each set-up."""


@dataclass(frozen=True)
class Camera:
    """A camera that looks horizontally at the middle of the scene, the world's origin.

    Attributes:
        angle: degrees about the vertical; 0 stands on the world's +z axis.
        height, distance: metres above the floor, metres from the world's y axis.
        width, pixel_height: size of the picture in pixels.
    """

    angle: float
    height: float
    distance: float
    width: int
    pixel_height: int

    @property
    def focal_length(self) -> float:
        """Focal length in pixels of this picture."""
        return FULL_HD_FOCAL_LENGTH * self.width / 1920.0

    @cached_property
    def axes(self) -> np.ndarray:
        """(3, 3), rows: the camera's x, y and z axes in the world."""
        angle = np.deg2rad(self.angle)
        forward = np.array([-np.sin(angle), 0.0, -np.cos(angle)])
        up = np.array([0.0, 1.0, 0.0])
        return np.stack([np.cross(up, forward), up, forward])

    @cached_property
    def position(self) -> np.ndarray:
        """(3,), metres in the world."""
        return np.array([0.0, self.height, 0.0]) - self.distance * self.axes[2]

    def to_camera(self, points: np.ndarray) -> np.ndarray:
        """World points (…, 3) in the camera's frame, metres."""
        return (points - self.position) @ self.axes.T

    def project(self, points: np.ndarray) -> np.ndarray:
        """Points (…, 3) of the camera's frame as pixels (…, 2), (x, y); NaN stays NaN."""
        scale = self.focal_length / points[..., 2]
        x = 0.5 * self.width + scale * points[..., 0]
        y = 0.5 * self.pixel_height - scale * points[..., 1]
        return np.stack([x, y], axis=-1)

    def rays(self) -> np.ndarray:
        """(height, width, 3): for each pixel the world direction that it sees, with length 1 along the camera's z axis."""
        x = (np.arange(self.width) - 0.5 * self.width) / self.focal_length
        y = (0.5 * self.pixel_height - np.arange(self.pixel_height)) / self.focal_length
        axes = self.axes.astype(np.float32)
        return x[None, :, None].astype(np.float32) * axes[0] + y[:, None, None].astype(np.float32) * axes[1] + axes[2]


def ntu_camera(setup: int, camera: int, width: int, height: int) -> Camera:
    """Camera 1, 2 or 3 of a set-up, with a picture of width × height pixels.

    Raises:
        ConfigError: no such set-up or camera.
    """
    if camera not in CAMERA_ANGLES or setup not in SETUPS:
        raise ConfigError(
            "no such camera or set-up", found=(camera, setup), expected=f"cameras {[*CAMERA_ANGLES]}, set-ups {[*SETUPS]}"
        )
    above_floor, distance = SETUPS[setup]
    return Camera(CAMERA_ANGLES[camera], above_floor, distance, width, height)
