"""Retargeting: bodies of one layout as bodies of another, by joint names and a table of rules for the joints it lacks.

Joints of the same name are copied. Sensors put some of them at slightly different places all the same: OpenNI's and OpenPose's
neck is the middle of the shoulders, Kinect v2's and JHMDB's lies above it, and Kinect v1's shoulder centre is nearer to Kinect
v2's neck than to its spine_shoulder. Train and test on bodies of one source, or expect the difference.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

import numpy as np

from keras_actrec.errors import ConfigError
from keras_actrec.skeletons.layout import SkeletonLayout
from keras_actrec.skeletons.sequence import SkeletonSequence

INFERRED = 1

_Rules = Mapping[str, tuple[tuple[str, ...], ...]]

_MIDDLE: _Rules = {
    "spine_base": (("hip_left", "hip_right"),),
    "spine_mid": (("spine_base", "spine_shoulder"),),
    "spine_shoulder": (("shoulder_left", "shoulder_right"),),
    "neck": (("spine_shoulder",),),
    "head": (("ear_left", "ear_right"), ("eye_left", "eye_right"), ("nose",)),
    "nose": (("head",),),
}
_SIDED: _Rules = {  # "*" stands for the side, left or right.
    "wrist_*": (("hand_*",),),
    "hand_*": (("wrist_*", "index_*", "pinky_*"), ("wrist_*",)),  # MediaPipe's fingers are knuckles: the middle of the palm.
    "hand_tip_*": (("index_*", "pinky_*"), ("hand_*",)),
    "thumb_*": (("hand_*",),),
    "index_*": (("hand_*",),),
    "pinky_*": (("hand_*",),),
    "ankle_*": (("foot_*",),),
    "foot_*": (("ankle_*",),),
    "heel_*": (("ankle_*",),),
    "eye_*": (("nose",),),
    "eye_inner_*": (("eye_*",),),
    "eye_outer_*": (("eye_*",),),
    "ear_*": (("head",),),
    "mouth_*": (("nose",),),
}

RULES: _Rules = MappingProxyType({
    **_MIDDLE,
    **{
        joint.replace("*", side): tuple(tuple(source.replace("*", side) for source in sources) for sources in candidates)
        for joint, candidates in _SIDED.items()
        for side in ("left", "right")
    },
})  # fmt: skip
"""Target joint → candidates in order of preference, each a tuple of joints whose mean is taken. A joint that the source lacks
may be derived in its turn (spine_mid: from hips and shoulders), but not from the joint that it is needed for."""


def retarget_map(source: SkeletonLayout, target: SkeletonLayout) -> np.ndarray:
    """Weights of the source's joints in each joint of the target, by `RULES`.

    Returns:
        float32 (J_target, J_source), each row sums to 1. The row of a joint that the source has is 1 there and 0 elsewhere.

    Raises:
        ConfigError: a joint of the target that the source lacks and no rule derives from it.
    """
    rows = []
    for joint in target.joints:
        row = _weights(joint, source, ())
        if row is None:
            raise ConfigError(
                f"layout {source.name} does not give the joint {joint} of layout {target.name}",
                found=f"joints {', '.join(source.joints)}",
                expected=f"{joint}" + "".join(f", or {' and '.join(names)}" for names in RULES.get(joint, ())),
                fix="retarget to a layout with fewer joints, or name the source's joints as in keras_actrec.skeletons.layouts",
            )
        rows.append(row)
    return np.stack(rows).astype(np.float32)


def _weights(joint: str, source: SkeletonLayout, pending: tuple[str, ...]) -> np.ndarray | None:
    """float64 (J_source,), or None where no rule leads to joints of the source. `pending` joints wait for this one."""
    if joint in source.joints:
        return np.eye(len(source))[source.index(joint)]
    if joint in pending:
        return None
    for candidate in RULES.get(joint, ()):
        parts = [_weights(name, source, (*pending, joint)) for name in candidate]
        if all(part is not None for part in parts):
            return np.mean(parts, axis=0)
    return None


def retarget(sequence: SkeletonSequence, layout: SkeletonLayout) -> SkeletonSequence:
    """Maps the bodies of a clip to another layout: joints and pixels by `retarget_map`.

    Where a joint behind a derived one is NaN, the mean is that of the others (annotators leave out hidden hips, and a middle
    near the other hip is better than none); it is NaN where none of them is known. The tracking of a derived joint is that
    of the least tracked one behind it, and at most 1 (inferred). A body that is absent stays absent, marked by NaN or by
    zeros as in the source.

    Args:
        sequence: T frames, P bodies of any layout.
        layout: the wanted layout, J joints.

    Returns:
        The bodies with joints (T, P, J, 3), and pixels (T, P, J, 2) and tracking (T, P, J) where the source has them, in new
        arrays; the sequence itself if it has that layout.

    Raises:
        ConfigError: a joint of the layout that no rule derives.
    """
    if layout == sequence.layout:
        return sequence
    weights = retarget_map(sequence.layout, layout)
    return SkeletonSequence(
        joints=_mean(weights, sequence.joints),
        layout=layout,
        pixels=None if sequence.pixels is None else _mean(weights, sequence.pixels),
        tracking=None if sequence.tracking is None else _least_tracked(weights, sequence, layout),
        body_ids=sequence.body_ids,
    )


def _mean(weights: np.ndarray, values: np.ndarray) -> np.ndarray:
    """(J_target, J_source) times (T, P, J_source, C): the mean over those sources that are known; NaN where none of them is."""
    unknown = np.isnan(values)
    means = weights @ np.where(unknown, np.float32(0), values)
    if unknown.any():
        with np.errstate(invalid="ignore"):  # 0 / 0 is the NaN that is wanted
            means /= weights @ (~unknown).astype(np.float32)
    return means


def _least_tracked(weights: np.ndarray, sequence: SkeletonSequence, layout: SkeletonLayout) -> np.ndarray:
    known = set(sequence.layout.joints)
    columns = []
    for joint, row in zip(layout.joints, weights, strict=True):
        least = sequence.tracking[:, :, row > 0].min(axis=2)
        columns.append(least if joint in known else np.minimum(least, np.uint8(INFERRED)))
    return np.stack(columns, axis=2)
