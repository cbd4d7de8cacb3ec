"""Pose tensors: joints over time → centred coordinates, velocities and accelerations in the columns of a joint order."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from types import ModuleType

import numpy as np

from keras_actrec.errors import ConfigError
from keras_actrec.skeletons.body_size import body_size
from keras_actrec.skeletons.joint_orders import ORDERS, joint_order
from keras_actrec.skeletons.layout import SkeletonLayout

CENTERS = ("first_person", "per_person")
SCALES = ("none", "body")
PEOPLE = 2


@dataclass(frozen=True)
class PoseTensorConfig:
    """How a pose tensor is laid out (paper section 3.1; the variants of Table 4).

    Attributes:
        order: joint order: "topological", "no_repeats" or "random".
        order_seed: seed of the random order.
        center: origin of the coordinates in each frame: "first_person" (the first person's root joint for both people, which
            keeps the relation between them) or "per_person" (each person's own root joint).
        people: people in the columns: 2, or 1 for the first person alone, in data sets with one person per clip.
        scale: unit of the coordinates: "none" (that of the joints) or "body" (the clip's `body_size`: all coordinates of a
            clip are divided by it, so that people of any size, and 2-D poses in pixels, come to the same magnitude; by 1
            where it is 0).

    Raises:
        ConfigError: an unknown order, centre or scale, a negative seed, or another number of people.
    """

    order: str = "topological"
    order_seed: int = 0
    center: str = "first_person"
    people: int = PEOPLE
    scale: str = "none"

    def __post_init__(self):
        if self.order not in ORDERS:
            raise ConfigError("unknown joint order", found=repr(self.order), expected=f"one of {', '.join(ORDERS)}")
        if self.center not in CENTERS:
            raise ConfigError("unknown centre", found=repr(self.center), expected=f"one of {', '.join(CENTERS)}")
        if self.scale not in SCALES:
            raise ConfigError("unknown scale", found=repr(self.scale), expected=f"one of {', '.join(SCALES)}")
        if not isinstance(self.people, int) or not 1 <= self.people <= PEOPLE:
            raise ConfigError("people is out of range", found=repr(self.people), expected=f"1 to {PEOPLE}")
        if not isinstance(self.order_seed, int) or self.order_seed < 0:
            raise ConfigError("order_seed is out of range", found=self.order_seed, expected="an integer of at least 0")


def pose_tensor_width(layout: SkeletonLayout, config: PoseTensorConfig) -> int:
    """Columns of a pose tensor, W = people · visits · coordinates: 300 for Kinect v2 in topological order."""
    return config.people * len(joint_order(layout, config.order, config.order_seed)) * 3


def clip_pose_tensor(joints, layout: SkeletonLayout, config: PoseTensorConfig, *, frames=None, xp: ModuleType = np):
    """Turns the joints of a whole clip into the rows of a pose tensor (paper section 3.1).

    Columns: person 1's visits in joint order, x, y, z each, then person 2's if `people` is 2. Channels: centred coordinates
    in metres, or in body sizes with `scale="body"`; their first derivative (velocity, metres or body sizes per frame),
    x_t - x_{t-1} along the clip's own frames, x_1 - x_0 in the first row; their second derivative: the same operator applied
    to the velocity. A clip of one frame has derivatives of 0.

    Zeros stand for what is unknown: an absent body (all its joints NaN or exactly 0 in the frame), a single joint that is NaN,
    a body whose origin is not known, and derivatives that reach into such a frame. With `center="first_person"` a frame
    without the first person's root takes the second person's root as origin; derivatives across such a change of origin
    are 0 too, as the difference would measure the distance between two origins instead of a motion.

    Args:
        joints: (T, 2, J, 3) in metres, or in any unit with `scale="body"`; NaN or 0 where a body is absent; two people even
            with `people=1`. T may be unknown until run time with `keras.ops`.
        layout: what the J joints are.
        config: order, centre, people and scale.
        frames: int (F,), the rows wanted, as if taken from those of the whole clip; None for all.
        xp: `numpy`, or `keras.ops` inside a graph.

    Returns:
        float32 (T, W, 3), or (F, W, 3) with `frames`; W = `pose_tensor_width(layout, config)`.

    Raises:
        ConfigError: the joints have another shape, or no frame (with NumPy; a graph knows only the static part).
    """
    _check_shape(joints.shape, layout)
    joints = xp.array(joints, dtype="float32")
    absent = xp.all(xp.logical_or(xp.isnan(joints), joints == 0), axis=(2, 3), keepdims=True)
    joints = xp.where(absent, np.float32(np.nan), joints)
    rows = _neighbours(xp.shape(joints)[0], xp)
    centred, origin_moved = _centre(joints, layout.root, config.center, rows, xp)
    centred = centred[:, : config.people]  # Only now: the second person's root can be the origin.
    if config.scale == "body":
        size = body_size(joints, xp=xp)
        centred = centred / xp.where(size > 0, size, np.float32(1))

    # NaN travels through every difference that touches an unknown value and becomes 0 only at the end.
    velocity = xp.where(origin_moved, np.float32(np.nan), _derivative(centred, rows, xp))
    channels = [centred, velocity, _derivative(velocity, rows, xp)]
    if frames is not None:  # Before the columns: they are most of the work.
        channels = [xp.take(channel, frames, axis=0) for channel in channels]
    channels = xp.stack(channels, axis=-1)
    channels = xp.where(xp.isnan(channels), np.float32(0), channels)

    visits = _visits(layout, config.order, config.order_seed)
    return xp.reshape(xp.take(channels, visits, axis=2), (-1, config.people * len(visits) * 3, 3))


@lru_cache
def _visits(layout: SkeletonLayout, order: str, seed: int) -> np.ndarray:
    visits = np.asarray(joint_order(layout, order, seed), np.int32)
    visits.flags.writeable = False
    return visits


def _centre(joints, root: int, center: str, rows, xp: ModuleType):
    """Subtracts the origin; returns centred joints and bool (T, 1, 1, 1): the velocity of that row spans two origins."""
    roots = joints[:, :, root : root + 1]
    if center == "per_person":
        return joints - roots, np.zeros((1, 1, 1, 1), bool)
    lost = xp.any(xp.isnan(roots[:, :1]), axis=3, keepdims=True)
    moved = xp.take(lost, rows[0], axis=0) != xp.take(lost, rows[1], axis=0)
    return joints - xp.where(lost, roots[:, 1:], roots[:, :1]), moved


def _derivative(values, rows, xp: ModuleType):
    """Backward difference along axis 0, forward in the first row."""
    before, after = rows
    return xp.take(values, after, axis=0) - xp.take(values, before, axis=0)


def _neighbours(length, xp: ModuleType):
    """The rows that each row's difference subtracts: (t-1, t), and (0, 1) for the first row."""
    index = xp.arange(length, dtype="int32")
    return xp.maximum(index - 1, 0), xp.minimum(xp.maximum(index, 1), length - 1)


def _check_shape(shape, layout: SkeletonLayout) -> None:
    if len(shape) != 4 or tuple(shape[1:]) != (PEOPLE, len(layout), 3) or shape[0] == 0:
        raise ConfigError(
            f"joints do not fit a pose tensor of layout {layout.name}",
            found=tuple(shape),
            expected=f"(T, {PEOPLE}, {len(layout)}, 3) with at least one frame",
        )
