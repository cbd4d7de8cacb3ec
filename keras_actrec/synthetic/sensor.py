"""What a Kinect makes of true joints: measurement noise, inferred joints, and the faults that NTU's skeleton files have.

Faults: false bodies on furniture, bodies lost for some frames, and bodies listed in no useful order.
"""

from __future__ import annotations

import numpy as np

from keras_actrec.skeletons.layout import KINECT_V2
from keras_actrec.skeletons.sequence import SkeletonSequence
from keras_actrec.synthetic.cameras import Camera

NOISE = 0.003
"""Standard deviation of a tracked joint's coordinates, metres; an inferred joint has three times as much."""

FAULTY = 0.25
"""Probability of each kind of fault in a clip."""

_FIRST_BODY_ID = 72057594037930000
_LONGEST_GAP = 2


def measure(joints: np.ndarray, camera: Camera, rng: np.random.Generator, *, faults: bool) -> SkeletonSequence:
    """A skeleton sequence as the sensor would report it.

    Args:
        joints: (T, P, 25, 3), true joints in the camera's frame, metres. Not changed.
        camera: that they belong to; colour pixels are those of its picture.
        rng: of noise and faults.
        faults: some clips get a false body, a gap, or bodies in another order; without, none does.

    Returns:
        (T, P or P + 1, 25, 3) with pixels, tracking states and body ids.
    """
    tracking = _tracking_states(joints.shape[:3], rng)
    noisy = joints + rng.normal(0, NOISE, joints.shape) * np.where(tracking == 1, 3.0, 1.0)[..., None]
    if faults:
        # Every draw is made for every clip, so one fault does not change the others.
        false_body, gap, shuffled = rng.random(3) < FAULTY
        if gap:
            noisy = _with_gap(noisy, rng)
        if false_body:
            noisy, tracking = _with_false_body(noisy, tracking, rng)
        if shuffled or false_body:
            order = rng.permutation(noisy.shape[1])
            noisy, tracking = noisy[:, order], tracking[:, order]
    absent = np.isnan(noisy).any(axis=(2, 3))
    ids = _FIRST_BODY_ID + rng.choice(10000, size=noisy.shape[1], replace=False)
    return SkeletonSequence(
        joints=noisy.astype(np.float32),
        layout=KINECT_V2,
        pixels=camera.project(noisy).astype(np.float32),
        tracking=np.where(absent[..., None], 0, tracking).astype(np.uint8),
        body_ids=tuple(int(body) for body in ids),
    )


def _tracking_states(shape: tuple[int, int, int], rng: np.random.Generator) -> np.ndarray:
    """2 (tracked), and 1 (inferred) for a spell of some joints of fingers, feet and arms that Kinect loses most easily."""
    states = np.full(shape, 2, np.uint8)
    for person in range(shape[1]):
        for joint in rng.choice((6, 10, 15, 19, 21, 22, 23, 24), size=3, replace=False):
            start = int(rng.integers(shape[0]))
            states[start : start + shape[0] // 3, person, joint] = 1
    return states


def _with_gap(joints: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """One body is lost for one or two frames somewhere inside the clip."""
    joints = joints.copy()
    length = int(rng.integers(1, _LONGEST_GAP + 1))
    start = int(rng.integers(2, joints.shape[0] - length - 1))
    joints[start : start + length, int(rng.integers(joints.shape[1]))] = np.nan
    return joints


def _with_false_body(joints: np.ndarray, tracking: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """A "body" that is a piece of furniture: much wider than high, nearly static, there for a few frames only."""
    frames = joints.shape[0]
    length = int(rng.integers(3, max(4, frames // 4)))
    start = int(rng.integers(0, frames - length + 1))
    center = np.array([rng.choice((-1.0, 1.0)) * rng.uniform(1.3, 1.7), rng.uniform(-0.7, -0.3), rng.uniform(3.8, 4.3)])
    scatter = rng.uniform(-1, 1, (len(KINECT_V2), 3)) * (0.7, 0.16, 0.2)
    body = np.full((frames, 1, len(KINECT_V2), 3), np.nan)
    body[start : start + length, 0] = center + scatter + rng.normal(0, 0.002, (length, 1, 3))
    states = rng.choice((1, 2), size=(frames, 1, len(KINECT_V2))).astype(np.uint8)
    return np.concatenate([joints, body], axis=1), np.concatenate([tracking, states], axis=1)
