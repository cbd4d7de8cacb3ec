"""A human body that moves: bone lengths of one person, joint angles over time, and the forward kinematics between them.

Everything is in metres and degrees, in a right-handed body frame: x to the person's left, y up, z to the front.
Limbs are mean fractions of the standing height after Drillis and Contini (1966), as printed in Winter, "Biomechanics and
Motor Control of Human Movement"; the trunk's fractions are estimates of where Kinect v2 puts its joints.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from keras_actrec.errors import ConfigError
from keras_actrec.skeletons.layout import KINECT_V2

ANKLE_HEIGHT = 0.039
"""Height of the ankle above the floor as a fraction of the standing height."""

LEFT, RIGHT = 0, 1
"""Index of a side in every array with a side axis."""


def minimum_jerk(s: np.ndarray) -> np.ndarray:
    """Smooth step from 0 to 1 while s goes from 0 to 1: the profile of human reaching (Flash and Hogan, 1985).

    Args:
        s: any shape; values outside [0, 1] are clipped.
    """
    s = np.clip(s, 0.0, 1.0)
    return s**3 * (10.0 - 15.0 * s + 6.0 * s**2)


def rotation(axis: str, degrees: np.ndarray | float) -> np.ndarray:
    """Rotation matrices (…, 3, 3) about one axis of a right-handed frame.

    Args:
        axis: "x", "y" or "z".
        degrees: any shape.

    Raises:
        ConfigError: another axis.
    """
    if axis not in ("x", "y", "z"):
        raise ConfigError("a rotation needs an axis", found=axis, expected="x, y or z")
    angle = np.deg2rad(np.asarray(degrees, dtype=np.float64))
    i, j = {"x": (1, 2), "y": (2, 0), "z": (0, 1)}[axis]
    matrix = np.zeros((*angle.shape, 3, 3))
    matrix[..., range(3), range(3)] = 1.0
    matrix[..., i, i] = matrix[..., j, j] = np.cos(angle)
    matrix[..., i, j] = -np.sin(angle)
    matrix[..., j, i] = np.sin(angle)
    return matrix


@dataclass(frozen=True)
class BodyShape:
    """Bone lengths of one person.

    Attributes:
        height: standing height in metres.
        arms, legs, shoulders: factors on the mean length of arms, legs and shoulder width.
        girth: factor on the mean thickness of trunk and limbs (for drawing only).
    """

    height: float = 1.72
    arms: float = 1.0
    legs: float = 1.0
    shoulders: float = 1.0
    girth: float = 1.0

    def __post_init__(self):
        if not 0.5 <= self.height <= 2.5:
            raise ConfigError("a body needs a human height in metres", found=self.height, expected="0.5..2.5")
        for name in ("arms", "legs", "shoulders", "girth"):
            if not 0.5 <= getattr(self, name) <= 2.0:
                raise ConfigError(f"the factor {name} is out of range", found=getattr(self, name), expected="0.5..2.0")

    @classmethod
    def sample(cls, rng: np.random.Generator) -> BodyShape:
        """A random adult."""
        return cls(
            height=float(np.clip(rng.normal(1.72, 0.09), 1.52, 1.94)),
            arms=float(rng.uniform(0.95, 1.06)),
            legs=float(rng.uniform(0.96, 1.04)),
            shoulders=float(rng.uniform(0.9, 1.12)),
            girth=float(rng.uniform(0.88, 1.2)),
        )

    def length(self, part: str) -> float:
        """Length in metres of a part of the body.

        Args:
            part: "upper_arm", "forearm", "palm", "fingers", "thigh", "shank", "foot", "lower_spine", "upper_spine", "neck",
                "head", "half_shoulders" or "half_hips".

        Raises:
            ConfigError: another part.
        """
        if part not in _FRACTIONS:
            raise ConfigError("a body has no part of that name", found=part, expected=f"one of {', '.join(_FRACTIONS)}")
        fraction, factor = _FRACTIONS[part]
        return fraction * self.height * (getattr(self, factor) if factor else 1.0)


_FRACTIONS = {
    "upper_arm": (0.172, "arms"),
    "forearm": (0.146, "arms"),
    "palm": (0.045, "arms"),
    "fingers": (0.042, "arms"),
    "thigh": (0.245, "legs"),
    "shank": (0.246, "legs"),
    "foot": (0.075, "legs"),
    "lower_spine": (0.165, None),
    "upper_spine": (0.135, None),
    "neck": (0.040, None),
    "head": (0.078, None),
    "half_shoulders": (0.105, "shoulders"),
    "half_hips": (0.048, None),
}


@dataclass(frozen=True, eq=False)
class Posture:
    """Joint angles of one person over T frames, in degrees unless said otherwise; zeros stand upright with hanging arms.

    Attributes:
        place: (T, 2), position of the pelvis on the floor, metres: world x and z.
        heading: (T,), 0 faces along world +z; positive turns to the person's left.
        lean: (T, 2), trunk bent forward, trunk bent to the person's left.
        nod: (T,), head bent forward.
        arms: (T, 2, 4), per side flexion (raised to the front), abduction (raised outwards), inward turn about the upper
            arm, elbow flexion.
        legs: (T, 2, 2), per side hip flexion, knee flexion.
    """

    place: np.ndarray
    heading: np.ndarray
    lean: np.ndarray
    nod: np.ndarray
    arms: np.ndarray
    legs: np.ndarray

    def __post_init__(self):
        frames = len(self.place)
        shapes = {"place": (2,), "heading": (), "lean": (2,), "nod": (), "arms": (2, 4), "legs": (2, 2)}
        for name, tail in shapes.items():
            if getattr(self, name).shape != (frames, *tail):
                raise ConfigError(
                    f"posture: {name} has the wrong shape", found=getattr(self, name).shape, expected=(frames, *tail)
                )

    @property
    def length(self) -> int:
        """Number of frames T."""
        return len(self.place)


def forward_kinematics(shape: BodyShape, posture: Posture) -> np.ndarray:
    """Joints (T, 25, 3) in the world (x, y up, z; metres) of a body that stands on the floor y = 0 with its lower foot.

    Bone lengths are those of `shape` in every frame: only rotations depend on time.
    """
    joints = np.zeros((posture.length, len(KINECT_V2), 3))
    pelvis = rotation("y", posture.heading)
    trunk = pelvis @ rotation("z", -posture.lean[:, 1]) @ rotation("x", posture.lean[:, 0])
    _place_trunk(joints, shape, trunk, trunk @ rotation("x", posture.nod))
    for side, name in ((LEFT, "left"), (RIGHT, "right")):
        _place_leg(joints, shape, pelvis, posture.legs[:, side], name)
        _place_arm(joints, shape, trunk, posture.arms[:, side], name)
    ankles = joints[:, [KINECT_V2.index("ankle_left"), KINECT_V2.index("ankle_right")], 1]
    joints[..., 1] += (ANKLE_HEIGHT * shape.height - ankles.min(axis=1))[:, None]
    joints[..., [0, 2]] += posture.place[:, None]
    return joints


def _attach(joints: np.ndarray, child: str, parent: str, rotations: np.ndarray, offset: tuple[float, float, float]) -> None:
    joints[:, KINECT_V2.index(child)] = joints[:, KINECT_V2.index(parent)] + rotations @ np.asarray(offset)


def _place_trunk(joints: np.ndarray, shape: BodyShape, trunk: np.ndarray, head: np.ndarray) -> None:
    _attach(joints, "spine_mid", "spine_base", trunk, (0, shape.length("lower_spine"), 0))
    _attach(joints, "spine_shoulder", "spine_mid", trunk, (0, shape.length("upper_spine"), 0))
    _attach(joints, "neck", "spine_shoulder", trunk, (0, shape.length("neck"), 0))
    _attach(joints, "head", "neck", head, (0, shape.length("head"), 0.015))


def _place_leg(joints: np.ndarray, shape: BodyShape, pelvis: np.ndarray, angles: np.ndarray, side: str) -> None:
    outward = 1.0 if side == "left" else -1.0
    thigh = pelvis @ rotation("x", -angles[:, 0])
    shank = thigh @ rotation("x", angles[:, 1])
    foot = shank @ rotation("x", angles[:, 0] - angles[:, 1])  # the sole stays level
    _attach(joints, f"hip_{side}", "spine_base", pelvis, (outward * shape.length("half_hips"), -0.01, 0))
    _attach(joints, f"knee_{side}", f"hip_{side}", thigh, (0, -shape.length("thigh"), 0))
    _attach(joints, f"ankle_{side}", f"knee_{side}", shank, (0, -shape.length("shank"), 0))
    _attach(joints, f"foot_{side}", f"ankle_{side}", foot, (0, -0.03, shape.length("foot")))


def _place_arm(joints: np.ndarray, shape: BodyShape, trunk: np.ndarray, angles: np.ndarray, side: str) -> None:
    outward = 1.0 if side == "left" else -1.0
    flexion, abduction, inward, elbow = angles.T
    upper = trunk @ rotation("x", -flexion) @ rotation("z", outward * abduction) @ rotation("y", -outward * inward)
    lower = upper @ rotation("x", -elbow)
    _attach(joints, f"shoulder_{side}", "spine_shoulder", trunk, (outward * shape.length("half_shoulders"), -0.03, 0))
    _attach(joints, f"elbow_{side}", f"shoulder_{side}", upper, (0, -shape.length("upper_arm"), 0))
    _attach(joints, f"wrist_{side}", f"elbow_{side}", lower, (0, -shape.length("forearm"), 0))
    _attach(joints, f"hand_{side}", f"wrist_{side}", lower, (0, -shape.length("palm"), 0))
    _attach(joints, f"hand_tip_{side}", f"hand_{side}", lower, (0, -shape.length("fingers"), 0))
    _attach(joints, f"thumb_{side}", f"wrist_{side}", lower, (-outward * 0.015, -0.04, 0.035))
