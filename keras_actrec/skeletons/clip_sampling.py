"""Which frames of a clip a video network and the poses beside it see, and the poses it is given.

Paper: Das et al., "VPN: Learning Video-Pose Embedding for Activities of Daily Living", ECCV 2020, section 4.1. Which frames the
video network sees follows the authors' published code, as the paper does not say.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from types import ModuleType

import numpy as np

from keras_actrec.errors import ConfigError
from keras_actrec.skeletons.layout import SkeletonLayout
from keras_actrec.skeletons.sampling import subsequence_frames


@dataclass(frozen=True)
class ClipSamplingConfig:
    """How frames and poses of a clip are drawn.

    Attributes:
        frames: frames that the video network sees, F (64 in the paper; 16 in the published code).
        stride: step between them in clips that are long enough for it (2 in the published code).
        poses: poses of a clip, t_p (paper: 20 NTU, 30 Smarthome, 5 Northwestern-UCLA).
        views: test views of a clip; their starts are spread evenly over it.

    Raises:
        ConfigError: a count below 1.
    """

    frames: int = 64
    stride: int = 2
    poses: int = 20
    views: int = 1

    def __post_init__(self):
        for field in fields(self):
            value = getattr(self, field.name)
            if not isinstance(value, int) or value < 1:
                raise ConfigError(
                    f"ClipSamplingConfig: {field.name} is out of range", found=repr(value), expected="an integer of at least 1"
                )


def clip_frames(length, uniform, config: ClipSamplingConfig, *, xp: ModuleType = np):
    """Frames of a clip of n frames that the video network sees, the same to the frame in NumPy and inside a graph.

        n > F · stride   F frames `stride` apart, the first one of 0 … n - F · stride
        n < F            all frames, repeated in turn until there are F, then in order: 0, 0, 1, 1, 2, … for n = F - 2
        otherwise        F frames in a row, the first one of 0 … n - F

    The first frame is floor(u · number of first frames).

    Args:
        length: frames of the clip, n; an int, or with `xp=keras.ops` also an int32 scalar tensor unknown until run time.
        uniform: u, a number in [0, 1); float64.
        config: F and stride.
        xp: `numpy`, or `keras.ops` inside a graph (TensorFlow backend: it needs float64).

    Returns:
        int32 (F,), never decreasing, values in [0, n).

    Raises:
        ConfigError: with NumPy a length below 1.
    """
    if xp is np and length < 1:
        raise ConfigError("a clip without frames has none to sample", found=length, expected="at least one frame")
    steps = np.arange(config.frames, dtype=np.int32)
    length = xp.array(length, dtype="int32")
    span = config.frames * config.stride
    stride = xp.where(length > span, np.int32(config.stride), np.int32(1))
    starts = xp.maximum(length - config.frames * stride + 1, 1)
    # One random frame of one segment: floor(u · starts).
    first = subsequence_frames(starts, xp.reshape(xp.array(uniform, dtype="float64"), (1, 1)), xp=xp)[0]
    repeated = xp.sort(xp.mod(steps, length))
    return xp.where(length < config.frames, repeated, first + steps * stride)


def pose_frames(length, uniforms, config: ClipSamplingConfig, *, xp: ModuleType = np):
    """One frame from each of P equal segments of a clip: `t_p` poses "uniformly sampled from each clip" (section 4.1).

    Args:
        length: frames of the clip, as for `clip_frames`.
        uniforms: float64 (P,) in [0, 1); 0.5 everywhere is the middle of each segment.
        config: P.
        xp: `numpy`, or `keras.ops` inside a graph (TensorFlow backend: it needs float64).

    Returns:
        int32 (P,), never decreasing, values in [0, n); clips shorter than P repeat their frames evenly.

    Raises:
        ConfigError: another number of random numbers; with NumPy also a length below 1.
    """
    if tuple(uniforms.shape) != (config.poses,):
        raise ConfigError("one random number per pose is needed", found=tuple(uniforms.shape), expected=(config.poses,))
    return subsequence_frames(length, xp.reshape(xp.array(uniforms, dtype="float64"), (1, config.poses)), xp=xp)[0]


def view_uniforms(views: int) -> np.ndarray:
    """The numbers u behind the test views of a clip, spread evenly: (i + 0.5) / views.

    Returns:
        float64 (views,) in [0, 1); 0.5, the middle of the clip, for one view.

    Raises:
        ConfigError: no views.
    """
    if views < 1:
        raise ConfigError("a clip has no test views", found=views, expected="at least 1")
    return (np.arange(views) + 0.5) / views


def clip_poses(joints, layout: SkeletonLayout, *, xp: ModuleType = np):
    """The poses of a whole clip as VPN takes them: the first person, relative to where its root first was.

    One origin for the clip, as in the authors' published code, keeps the way that a person walks; it is the root joint in the
    first frame where it is known. Zeros stand for what is unknown: an absent body (all its joints NaN or exactly 0 in the
    frame), a joint with a coordinate that is NaN, and the whole clip where the root is never known.

    Args:
        joints: (T, people, J, 3) in any unit; NaN or 0 where a body is absent. T may be unknown until run time with
            `keras.ops`.
        layout: what the J joints are.
        xp: `numpy`, or `keras.ops` inside a graph.

    Returns:
        float32 (T, J, 3) in the unit of the joints.

    Raises:
        ConfigError: the joints have another shape, or no frame (with NumPy; a graph knows only the static part).
    """
    shape = tuple(joints.shape)
    if len(shape) != 4 or shape[1] == 0 or shape[2:] != (len(layout), 3) or shape[0] == 0:
        raise ConfigError(
            f"joints do not fit the poses of layout {layout.name}",
            found=shape,
            expected=f"(T, people, {len(layout)}, 3) with at least one frame and person",
        )
    joints = xp.array(joints[:, 0], dtype="float32")
    missing = xp.isnan(joints)
    absent = xp.all(xp.logical_or(missing, joints == 0), axis=(1, 2), keepdims=True)
    unknown = xp.logical_or(absent, xp.any(missing, axis=2, keepdims=True))  # (T, J, 1)
    lost_root = unknown[:, layout.root, 0]
    # The smallest index wins: of all frames where the root is known, the first.
    origin = xp.take(joints[:, layout.root], xp.argmin(xp.where(lost_root, np.int32(1), np.int32(0))), axis=0)
    unknown = xp.logical_or(unknown, xp.all(lost_root))
    return xp.where(unknown, np.float32(0), joints - origin)
