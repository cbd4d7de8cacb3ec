"""How large the body of a clip is: one number, in the units of its joints, whatever they are."""

from __future__ import annotations

from types import ModuleType

import numpy as np

LEAST_JOINTS = 2  # A single joint has no extent, so that a frame with no other says nothing.


def body_size(joints, *, xp: ModuleType = np):
    """The mean over a clip's frames of the root mean square distance of a body's joints from their mean.

    0.4 to 0.5 m for a standing person. Only known joints count, and only frames with at least two of them. The first person
    is measured; the second one where there is no such frame of the first.

    Args:
        joints: float32 (T, 2, J, 3), NaN where a joint is unknown. T may be unknown until run time with `keras.ops`.
        xp: `numpy`, or `keras.ops` inside a graph.

    Returns:
        float32 scalar; 0 where no frame can be measured.
    """
    # Sums with weights of 0 stand for the NaN-functions, which `keras.ops` does not have.
    known = xp.logical_not(xp.any(xp.isnan(joints), axis=3, keepdims=True))
    count = _sum_where(known, np.float32(1), (2, 3), xp)
    values = xp.where(known, joints, np.float32(0))
    middle = xp.sum(values, axis=2, keepdims=True) / _at_least_one(count, xp)[:, :, None, None]
    squares = _sum_where(known, xp.square(values - middle), (2, 3), xp)
    measured = count >= LEAST_JOINTS
    frames = _sum_where(measured, np.float32(1), 0, xp)
    sizes = _sum_where(measured, xp.sqrt(squares / _at_least_one(count, xp)), 0, xp) / _at_least_one(frames, xp)
    return xp.where(frames[0] > 0, sizes[0], sizes[1])


def _sum_where(condition, values, axis: int | tuple[int, ...], xp: ModuleType):
    return xp.sum(xp.where(condition, values, np.float32(0)), axis=axis)


def _at_least_one(count, xp: ModuleType):
    return xp.maximum(count, np.float32(1))
