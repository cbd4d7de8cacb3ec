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
        order = np.array(layout.mirrored, np.int32)
        joints = xp.take(xp.array(joints, dtype="float32"), order, axis=2) * np.array([-1, 1, 1], np.float32)
    if "swapped" in name:
        joints = xp.array(joints, dtype="float32")
        joints = xp.where(has_second(joints, xp=xp), xp.flip(joints, axis=1), joints)
    return joints


def has_second(joints, *, xp: ModuleType = np):
    """Whether a clip has a second person in any frame.

    Args:
        joints: (T, 2, J, 3), NaN or 0 where a body is absent.
        xp: `numpy`, or `keras.ops` inside a graph.

    Returns:
        bool scalar.
    """
    second = joints[:, 1]
    return xp.any(xp.logical_and(xp.logical_not(xp.isnan(second)), second != 0))


def hand_order(*, mirrored: bool, swapped: bool) -> tuple[int, int, int, int]:
    """Where the four hands of a changed clip (person 1 left, right, person 2 left, right) are among the original ones: the
    order in which hand features have to be taken to stay with their joints."""
    order = np.arange(4).reshape(2, 2)[:: -1 if swapped else 1, :: -1 if mirrored else 1]
    return tuple(order.ravel().tolist())


def view_hands(name: str, pair: bool) -> tuple[int, int, int, int]:
    """`hand_order` of a view.

    Args:
        name: one of `VIEWS`.
        pair: whether the clip has a second person, so that a swap takes place.
    """
    return hand_order(mirrored="mirrored" in name, swapped=pair and "swapped" in name)
