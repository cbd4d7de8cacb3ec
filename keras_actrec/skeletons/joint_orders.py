"""Joint orders: in which order the joints of a body become the columns of a pose tensor."""

from __future__ import annotations

import numpy as np

from keras_actrec.errors import ConfigError
from keras_actrec.skeletons.layout import SkeletonLayout

ORDERS = ("topological", "no_repeats", "random")
"""The three orders that Table 4 of the paper compares."""


def topological_walk(layout: SkeletonLayout) -> tuple[int, ...]:
    """Walks the body tree from the root so that neighbours in the list are neighbours in the body (or the same joint).

    One closed depth-first walk per branch of the root: root, down the branch, back up through every joint, root; branch
    after branch. A branch of n joints gives 2n + 1 visits. Larger branches come first, branches of equal size in joint
    order; within a branch, children are visited in joint order. For Kinect v2 the upper body (15 joints) gives 31 visits and
    the lower body (9 joints) 19: the 50 visits behind the 300 columns of the paper (section 3.1).

    Args:
        layout: the joint layout.

    Returns:
        Joint indices, one per visit; (root,) for a layout of one joint.
    """
    branches = sorted((_closed_walk(layout, child) for child in layout.children[layout.root]), key=len, reverse=True)
    walk = [joint for branch in branches for joint in (layout.root, *branch, layout.root)]
    return tuple(walk) or (layout.root,)


def _closed_walk(layout: SkeletonLayout, joint: int) -> list[int]:
    """Visits below and including `joint`: the joint itself first, and again after each child."""
    walk = [joint]
    for child in layout.children[joint]:
        walk += [*_closed_walk(layout, child), joint]
    return walk


def joint_order(layout: SkeletonLayout, order: str = "topological", seed: int = 0) -> tuple[int, ...]:
    """Joint index of each visit in one of the orders of Table 4 of the paper.

    Args:
        layout: the joint layout.
        order: "topological" (`topological_walk`), "no_repeats" (its first visits only: every joint once) or "random" (a
            seeded permutation of the topological visits, so that the width stays the same).
        seed: seed of the random order; not used by the others.

    Returns:
        Joint indices, one per visit.

    Raises:
        ConfigError: the order has no such name.
    """
    walk = topological_walk(layout)
    if order == "topological":
        return walk
    if order == "no_repeats":
        return tuple(dict.fromkeys(walk))
    if order == "random":
        return tuple(int(joint) for joint in np.random.default_rng(seed).permutation(walk))
    raise ConfigError("unknown joint order", found=repr(order), expected=f"one of {', '.join(ORDERS)}")
