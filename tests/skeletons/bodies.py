"""Generated Kinect v2 bodies for tests: a standing person, a person who waves, furniture that the sensor takes for a body."""

from __future__ import annotations

import numpy as np

# Metres, x to the person's left, y up, origin at the middle of the spine; joints in the order of KINECT_V2.
STANDING = np.array(
    [
        (0, -0.3, 0), (0, 0, 0), (0, 0.35, 0), (0, 0.5, 0),
        (0.18, 0.25, 0), (0.24, 0, 0), (0.26, -0.22, 0), (0.27, -0.3, 0),
        (-0.18, 0.25, 0), (-0.24, 0, 0), (-0.26, -0.22, 0), (-0.27, -0.3, 0),
        (0.09, -0.32, 0), (0.1, -0.7, 0), (0.11, -1.05, 0), (0.12, -1.1, 0.1),
        (-0.09, -0.32, 0), (-0.1, -0.7, 0), (-0.11, -1.05, 0), (-0.12, -1.1, 0.1),
        (0, 0.27, 0), (0.27, -0.38, 0), (0.23, -0.3, 0.03), (-0.27, -0.38, 0), (-0.23, -0.3, 0.03),
    ],
    np.float32,
)  # fmt: skip
RIGHT_ARM = [9, 10, 11, 23, 24]
FLAT = np.array([1.0, 0.1, 1.0], np.float32)  # A table top: as wide as a person, a tenth as high.


def person(frames: int, *, x: float = 0.0, waving: float = 0.0, noise: float = 0.002, seed: int = 0) -> np.ndarray:
    """float32 (frames, 25, 3): stands 3 m from the camera at x metres and waves the right arm by `waving` metres."""
    draw = np.random.default_rng(seed)
    body = np.tile(STANDING, (frames, 1, 1)) + np.float32((x, 0, 3))
    body[:, RIGHT_ARM, 1] += waving * np.sin(np.arange(frames) / 3)[:, None]
    return (body + draw.normal(scale=noise, size=body.shape)).astype(np.float32)


def table(frames: int, *, x: float = 1.5, noise: float = 0.002, seed: int = 1) -> np.ndarray:
    """float32 (frames, 25, 3): furniture, 0.54 m wide and 0.16 m high."""
    draw = np.random.default_rng(seed)
    body = np.tile(STANDING * FLAT, (frames, 1, 1)) + np.float32((x, -0.4, 3))
    return (body + draw.normal(scale=noise, size=body.shape)).astype(np.float32)


def only(body: np.ndarray, start: int, stop: int) -> np.ndarray:
    """A copy that is known in frames [start, stop) only."""
    copy = np.full_like(body, np.nan)
    copy[start:stop] = body[start:stop]
    return copy
