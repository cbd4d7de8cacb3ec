"""Test views: the same clip as its mirror image, or with its people the other way round, whose logits are averaged at test."""

from __future__ import annotations

from types import ModuleType

import numpy as np

from keras_actrec.errors import ConfigError
from keras_actrec.skeletons.layout import SkeletonLayout

PLAIN = "plain"
VIEWS = (PLAIN, "mirrored", "swapped", "mirrored_swapped")


def check_views(views: tuple[str, ...]) -> None:
    """Raises ConfigError for an unknown view, one that stands twice, or none; the plain view comes first."""
    if not views or views[0] != PLAIN or len(set(views)) != len(views) or not set(views) <= set(VIEWS):
        expected = f"{PLAIN}, then any of {', '.join(VIEWS[1:])}"
        raise ConfigError("test views make no sense", found=", ".join(views) or "none", expected=expected)


def view(joints, layout: SkeletonLayout, name: str, *, xp: ModuleType = np):
    """One view of a clip.

    "mirrored" changes the sign of x and lets left and right joints change places; "swapped" lets the two people change places
    where there is a second one in any frame, and leaves other clips as they are.

    Args:
        joints: (T, 2, J, 3), NaN or 0 where a body is absent. T may be unknown until run time with `keras.ops`.
        layout: what the J joints are.
        name: one of `VIEWS`.
        xp: `numpy`, or `keras.ops` inside a graph.

    Returns:
        (T, 2, J, 3), float32 unless it is the plain view, which is the argument itself.
    """
    if "mirrored" in name:
        order = np.arange(len(layout), dtype=np.int32)
        for left, right in layout.mirror_pairs:
            order[left], order[right] = right, left
        joints = xp.take(xp.array(joints, dtype="float32"), order, axis=2) * np.array([-1, 1, 1], np.float32)
    if "swapped" in name:
        joints = xp.array(joints, dtype="float32")
        second = joints[:, 1]
        there = xp.any(xp.logical_and(xp.logical_not(xp.isnan(second)), second != 0))
        joints = xp.where(there, xp.flip(joints, axis=1), joints)
    return joints


def hand_order(name: str, swapped: bool) -> tuple[int, int, int, int]:
    """Where the four hands of a view (person 1 left, right, person 2 left, right) are among those of the clip.

    Args:
        name: one of `VIEWS`.
        swapped: whether the clip has a second person, so that a swap takes place.
    """
    order = np.arange(4).reshape(2, 2)
    order = order[:: -1 if swapped and "swapped" in name else 1, :: -1 if "mirrored" in name else 1]
    return tuple(order.ravel().tolist())
