"""Augmentation: random views, sizes, sides, speeds and windows of the bodies of a training clip.

Applied to the cleaned joints of a whole clip, before its pose tensor is made, so that velocities and accelerations belong to
the augmented motion. No noise is drawn frame by frame: independent errors of neighbouring frames would be far larger in the
velocities and accelerations than the motion itself. What is random stays the same, or changes smoothly, over the clip. The
window is drawn here and left to the caller, who takes frames inside it from the pose tensor of the whole clip: cut joints would
have no neighbours at the cut for velocities to be computed from.
"""

from __future__ import annotations

from dataclasses import dataclass
from numbers import Real

import numpy as np

from keras_actrec.errors import ConfigError
from keras_actrec.skeletons.body_size import body_size
from keras_actrec.skeletons.layout import SkeletonLayout
from keras_actrec.skeletons.views import hand_order

PEOPLE = 2
_LIMITS = {
    "rotation": 180.0,
    "tilt": 180.0,
    "scale": 0.9,
    "mirror": 1.0,
    "joint_noise": 1.0,
    "frame_jitter": np.inf,
    "person_swap": 1.0,
    "window": 1.0,
}
_UNIFORMS = 9  # Numbers per clip: rotation, tilts about x and z, scale, mirror, frame shift, swap, window and its place.
_FRAMES_MEASURED = 8  # Frames of a clip that its body size is taken from.


@dataclass(frozen=True)
class AugmentationConfig:
    """What `draw_augmentation` draws, once per clip. 0 switches a part off (1 the window); `NO_AUGMENTATION` is all of it off.

    Attributes:
        rotation: degrees, uniform in ±; about the vertical axis (y): another direction to see the person from. Not applied
            to planar clips (2-D poses, z = 0 throughout), as their depth is not known.
        tilt: degrees, uniform in ±, about the horizontal axes x and z: another pitch and roll of the camera. In planar clips
            about z only: a rotation of the image.
        scale: uniform factor in 1 ± scale, the same for both people.
        mirror: probability that the clip is mirrored: x changes its sign, left and right joints change places.
        joint_noise: standard deviation of an offset of each joint of each person, constant over the clip, as a fraction of
            the body size: other proportions, other errors of the sensor. The size (`body_size`) of a standing person is 0.4
            to 0.5 m, so that 0.02 is about 1 cm, and as much of a body in pixels or other units. No offset in z in planar
            clips.
        frame_jitter: frames, uniform in ±, by which the middle of the clip comes earlier or later; the shift falls to 0
            towards the ends as a parabola, so that the speed changes linearly. At most a quarter of the clip, so that time
            never runs backwards. Frames between two frames are interpolated. Pictures do not follow: hand features stay
            with their own frames, up to so many frames away from the joints.
        person_swap: probability that persons 1 and 2 change places, in clips that have both: who comes first is near to chance
            where both move alike. 0 where the order is part of the action, or where only the first person is used.
        window: smallest share of the clip that a training sub-sequence spans, in (0, 1]: the share is uniform between it and
            1, and so is the place. 1 is the whole clip.

    Raises:
        ConfigError: a value that is no number, negative, or above its limit: angles 180, scale 0.9, probabilities,
            joint_noise and window 1; a window of 0.
    """

    rotation: float = 60.0
    tilt: float = 15.0
    scale: float = 0.1
    mirror: float = 0.5
    joint_noise: float = 0.02
    frame_jitter: float = 2.0
    person_swap: float = 0.5
    window: float = 0.5

    def __post_init__(self):
        for name, limit in _LIMITS.items():
            value = getattr(self, name)
            nothing = name == "window" and value == 0  # No frame is left to draw.
            if not isinstance(value, Real) or not 0 <= value <= limit or value == np.inf or nothing:
                expected = f"0 to {limit:g}" if np.isfinite(limit) else "a finite number of at least 0"
                if name == "window":
                    expected = "above 0, up to 1"
                raise ConfigError(f"{name} is out of range", found=repr(value), expected=expected)


NO_AUGMENTATION = AugmentationConfig(
    rotation=0.0, tilt=0.0, scale=0.0, mirror=0.0, joint_noise=0.0, frame_jitter=0.0, person_swap=0.0, window=1.0
)
"""Everything off: clips stay as they are."""


@dataclass(frozen=True, eq=False)
class Augmentation:
    """What was drawn for one clip.

    Attributes:
        linear: float32 (3, 3), rotation times scale, with the mirroring of x first; None where nothing of it was drawn.
        mirrored: left and right joints change places.
        swapped: persons 1 and 2 change places.
        frame_shift: frames by which the middle of the clip is shifted.
        offsets: (2, J, 3) offsets of the joints in the units of the clip; None where there are none.
        window: (start, stop): a sub-sequence is to be drawn among the frames start to stop - 1. `apply_augmentation` leaves
            this to the caller.
    """

    linear: np.ndarray | None
    mirrored: bool
    swapped: bool
    frame_shift: float
    offsets: np.ndarray | None
    window: tuple[int, int]

    @property
    def hands(self) -> tuple[int, int, int, int]:
        """Where the four hands of the augmented clip (person 1 left, right, person 2 left, right) are among the original ones:
        the order in which hand features have to be taken to stay with their joints."""
        return hand_order(mirrored=self.mirrored, swapped=self.swapped)


def augment(joints: np.ndarray, layout: SkeletonLayout, config: AugmentationConfig, rng: np.random.Generator) -> np.ndarray:
    """Augments the joints of one clip: `draw_augmentation`, then `apply_augmentation`; without the window.

    Args:
        joints: (T, 2, J, 3), cleaned: NaN, never 0, where a body or a joint is unknown. Not changed.
        layout: what the J joints are.
        config: what is drawn.
        rng: source of all random numbers. Every clip takes as many of them, whatever the configuration.

    Returns:
        float32 (T, 2, J, 3), a new array. NaN stays NaN; a joint with one unknown coordinate is unknown once it is rotated.

    Raises:
        ConfigError: the joints have another shape, or no frame.
    """
    return apply_augmentation(joints, layout, draw_augmentation(joints, layout, config, rng))


def draw_augmentation(
    joints: np.ndarray, layout: SkeletonLayout, config: AugmentationConfig, rng: np.random.Generator
) -> Augmentation:
    """Draws what will happen to a clip; arguments and errors as in `augment`. For callers that need to know it, because they
    take frames inside `Augmentation.window`, or have more than joints: hand features in the order of `Augmentation.hands`."""
    _check_shape(joints, layout)
    uniforms = rng.random(_UNIFORMS).tolist()
    normals = rng.standard_normal((PEOPLE, len(layout), 3), np.float32)
    signed = [2 * u - 1 for u in uniforms]  # In [-1, 1).
    planar = _is_planar(joints)
    mirrored = uniforms[4] < config.mirror
    offsets = None
    if config.joint_noise:
        measured = np.asarray(joints[:: max(1, len(joints) // _FRAMES_MEASURED)], np.float32)
        offsets = normals * (np.float32(config.joint_noise) * body_size(measured))
        if planar:
            offsets[..., 2] = 0
    about_y, about_x = (0.0, 0.0) if planar else (signed[0] * config.rotation, signed[1] * config.tilt)
    return Augmentation(
        linear=_linear(about_x, about_y, signed[2] * config.tilt, 1 + signed[3] * config.scale, mirrored),
        mirrored=mirrored,
        swapped=uniforms[6] < config.person_swap and all(_is_there(joints[:, person]) for person in range(PEOPLE)),
        frame_shift=signed[5] * config.frame_jitter,
        offsets=offsets,
        window=_window(len(joints), config.window, share=uniforms[7], place=uniforms[8]),
    )


def apply_augmentation(joints: np.ndarray, layout: SkeletonLayout, augmentation: Augmentation) -> np.ndarray:
    """Applies what was drawn: frames, offsets, rotation with scale and mirroring about the first person, then left and right,
    then persons. Arguments, result and errors as in `augment`.

    The fixed point of rotation, scale and mirroring is the mean over the clip of the first person's root (with its mirror
    image, for a root that is a hip), or of the second person's where the first one's is never known.
    """
    _check_shape(joints, layout)
    joints = np.asarray(joints, np.float32)
    linear, shift = augmentation.linear, 0.0 if augmentation.offsets is None else augmentation.offsets
    if linear is not None:  # (x + offset - pivot) · linear + pivot, with a single sum over the clip.
        pivot = _pivot(joints, layout)
        shift = ((shift - pivot) @ linear.T + pivot).astype(np.float32)
    joints = _warp(joints, augmentation.frame_shift) if augmentation.frame_shift else joints.copy()
    if linear is not None:
        joints = (joints.reshape(-1, 3) @ linear.T).reshape(joints.shape)
    if linear is not None or augmentation.offsets is not None:
        joints += np.broadcast_to(shift, joints.shape[1:])
    if augmentation.mirrored or augmentation.swapped:
        order = np.array(layout.mirrored) if augmentation.mirrored else np.arange(len(layout))
        people = range(PEOPLE)[:: -1 if augmentation.swapped else 1]
        columns = np.concatenate([person * len(layout) + order for person in people])
        joints = joints.reshape(len(joints), -1, 3).take(columns, axis=1).reshape(joints.shape)
    return joints


def _linear(about_x: float, about_y: float, about_z: float, scale: float, mirrored: bool) -> np.ndarray | None:
    """Mirroring of x, then rotations in degrees about y, x and z, then the scale; right-handed, as a float32 matrix."""
    if not (about_x or about_y or about_z or mirrored) and scale == 1:
        return None
    (cx, cy, cz), (sx, sy, sz) = (f(np.radians((about_x, about_y, about_z))).tolist() for f in (np.cos, np.sin))
    matrix = np.array([
        (cz * cy - sz * sx * sy, -sz * cx, cz * sy + sz * sx * cy),
        (sz * cy + cz * sx * sy, cz * cx, sz * sy - cz * sx * cy),
        (-cx * sy, sx, cx * cy),
    ])  # fmt: skip
    if mirrored:
        matrix[:, 0] *= -1
    return (scale * matrix).astype(np.float32)


def _warp(joints: np.ndarray, shift: float) -> np.ndarray:
    """Frame t shows the clip at t + 4·shift·u·(1-u), u = t / (T-1), interpolated linearly; NaN where either frame is NaN."""
    last = len(joints) - 1
    if last < 1:
        return joints.copy()
    shift = np.clip(shift, -last / 4, last / 4)  # The slope is 1 ± 4·shift/last at the ends.
    time = np.arange(last + 1)
    position = np.clip(time + 4 * shift * (time / last) * (1 - time / last), 0, last)
    before = np.floor(position).astype(np.intp)
    after = np.ceil(position).astype(np.intp)  # The same frame where no second one is needed.
    weight = (position - before).astype(np.float32)[:, None, None, None]
    start, step = joints.take(before, axis=0), joints.take(after, axis=0)
    step -= start
    step *= weight
    step += start
    return step


def _pivot(joints: np.ndarray, layout: SkeletonLayout) -> np.ndarray:
    roots = [layout.root, layout.mirrored[layout.root]]
    for person in range(PEOPLE):
        middle = joints[:, person, roots].mean(axis=1)
        middle = middle[~np.isnan(middle).any(axis=1)]
        if len(middle):
            return middle.mean(axis=0)
    return np.zeros(3, np.float32)


def _window(length: int, least: float, *, share: float, place: float) -> tuple[int, int]:
    """Window of at least the share `least` of a clip, from two uniform numbers."""
    frames = max(1, round((least + (1 - least) * share) * length))
    start = int(place * (length - frames + 1))
    return start, start + frames


def _is_planar(joints: np.ndarray) -> bool:
    z = joints[..., 2]
    return not ((z > 0) | (z < 0)).any()


def _is_there(joints: np.ndarray) -> bool:
    """Whether a person (T, J, 3) is known in any frame."""
    return not np.isnan(joints).all()


def _check_shape(joints: np.ndarray, layout: SkeletonLayout) -> None:
    if joints.ndim != 4 or joints.shape[1:] != (PEOPLE, len(layout), 3) or len(joints) == 0:
        raise ConfigError(
            f"joints do not fit layout {layout.name}",
            found=joints.shape,
            expected=f"(T, {PEOPLE}, {len(layout)}, 3) with at least one frame",
        )
