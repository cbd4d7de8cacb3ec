"""Who moves how: joint angles over time for each movement of the synthetic classes, with a person's own style.

A choreography never learns what the hands hold, so classes that share a movement cannot be told apart by pose.
Time s runs from 0 to 1 over the clip.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np

from keras_actrec.synthetic.kinematics import LEFT, RIGHT, Posture, minimum_jerk

REST = (4.0, 9.0, 5.0, 14.0)
"""Arm angles (flexion, abduction, inward, elbow) of an arm that hangs."""
CARRY = (2.0, 14.0, 6.0, 62.0)
"""An arm that holds something in front of the waist."""
AT_HEAD = (70.0, 15.0, 36.0, 124.0)
"""A hand in front of the mouth."""
RAISED = (68.0, 24.0, 0.0, 84.0)
"""A hand in front of and beside the head."""
AT_CHEST = (24.0, 13.0, 11.0, 88.0)
"""A hand in front of the chest."""


@dataclass(frozen=True)
class Style:
    """How one subject moves.

    Attributes:
        amplitude: factor on the size of movements.
        tempo: factor on the speed of movements.
        sway: size of the slow sway of trunk and head, degrees.
        offsets: (4,), degrees added to every arm posture: habits of flexion, abduction, inward turn and elbow.
    """

    amplitude: float = 1.0
    tempo: float = 1.0
    sway: float = 1.5
    offsets: tuple[float, float, float, float] = (0.0, 0.0, 0.0, 0.0)

    @classmethod
    def sample(cls, rng: np.random.Generator) -> Style:
        """A random style."""
        return cls(
            amplitude=float(rng.uniform(0.85, 1.15)),
            tempo=float(rng.uniform(0.85, 1.2)),
            sway=float(rng.uniform(0.8, 2.4)),
            offsets=tuple(float(x) for x in rng.normal(0.0, (4.0, 3.0, 4.0, 5.0))),
        )


@dataclass(frozen=True, eq=False)
class Performance:
    """One performance of a movement, before bodies, cameras and objects.

    Attributes:
        postures: one per person, T frames each; the first is the acting subject.
        acting: bool (T, 2), which hand (left, right) of the first person acts.
    """

    postures: tuple[Posture, ...]
    acting: np.ndarray


def perform(movement: str, styles: tuple[Style, ...], frames: int, rng: np.random.Generator) -> Performance:
    """Draws one performance.

    Args:
        movement: key of `CHOREOGRAPHY`.
        styles: one per person: one, or two for "approach" and "step_back".
        frames: T.
        rng: stream of the performance. The same stream gives the same bodies' movement for siblings that share or mirror it.
    """
    return CHOREOGRAPHY[movement](styles, np.linspace(0.0, 1.0, frames), rng)


def _wander(s: np.ndarray, size: float, rng: np.random.Generator, tail: tuple[int, ...] = ()) -> np.ndarray:
    """Slow smooth noise (T, *tail) with a standard deviation of about `size`: three random harmonics."""
    total = np.zeros((len(s), *tail))
    for harmonic in (0.5, 1.0, 1.7):
        phase = rng.uniform(0, 2 * np.pi, tail)
        total += rng.normal(0, 0.6, tail) * np.sin(2 * np.pi * harmonic * s.reshape(-1, *[1] * len(tail)) + phase)
    return size * total


def _stand(style: Style, s: np.ndarray, rng: np.random.Generator, arms: np.ndarray, place, heading) -> Posture:
    """A standing person with the given arms (T, 2, 4); adds habits, slight sway and wandering."""
    lean = _wander(s, style.sway, rng, (2,)) + rng.normal(0, 1.5, 2)
    return Posture(
        place=np.broadcast_to(place, (len(s), 2)) + _wander(s, 0.006, rng, (2,)),
        heading=np.broadcast_to(heading, len(s)) + _wander(s, style.sway, rng),
        lean=lean,
        nod=4.0 + _wander(s, 1.5 * style.sway, rng),
        arms=arms + np.asarray(style.offsets) + _wander(s, 1.5, rng, (2, 4)),
        legs=np.abs(rng.normal(0, 2.0, (1, 2, 1))) * np.array([1.0, 2.0]) * np.ones((len(s), 1, 1)),
    )


def _spot(rng: np.random.Generator) -> tuple[np.ndarray, float]:
    """Place and heading of a single person: near the middle, more or less towards camera 1."""
    return rng.uniform((-0.2, -0.15), (0.2, 0.15)), float(rng.uniform(-12, 12))


def _both(posture: tuple[float, ...], frames: int) -> np.ndarray:
    return np.tile(np.asarray(posture), (frames, 2, 1))


def _swing_hands(styles: tuple[Style, ...], s: np.ndarray, rng: np.random.Generator, together: bool) -> Performance:
    """Both hands swing sideways in front of the chest: towards each other, or both to the same side."""
    (style,) = styles
    cycles, phase = style.tempo * rng.uniform(2.0, 2.4), rng.uniform(-0.5, 0.5)
    swing = -np.cos(2 * np.pi * cycles * s + phase)  # the hands start apart, or both on the left
    arms = _both(AT_CHEST, len(s))
    size = 22.0 * style.amplitude
    arms[:, LEFT, 2] += size * swing
    arms[:, RIGHT, 2] += size * (swing if together else -swing)
    place, heading = _spot(rng)
    return Performance((_stand(style, s, rng, arms, place, heading),), np.ones((len(s), 2), bool))


def _hand_to_head(styles: tuple[Style, ...], s: np.ndarray, rng: np.random.Generator) -> Performance:
    """One hand, left or right at random, goes from the waist to the head and stays there; the other one hangs."""
    (style,) = styles
    side = int(rng.integers(2))
    start, duration = rng.uniform(0.0, 0.12), rng.uniform(0.35, 0.5) / style.tempo
    raised = minimum_jerk((s - start) / duration)[:, None]
    arms = _both(REST, len(s))
    arms[:, side] = np.asarray(CARRY) + raised * (np.asarray(AT_HEAD) + rng.normal(0, 4.0, 4) - np.asarray(CARRY))
    place, heading = _spot(rng)
    acting = np.zeros((len(s), 2), bool)
    acting[:, side] = True
    return Performance((_stand(style, s, rng, arms, place, heading),), acting)


def _in_turn(styles: tuple[Style, ...], s: np.ndarray, rng: np.random.Generator, first: int) -> Performance:
    """One hand goes up and down in the first half, the other one in the second half."""
    (style,) = styles
    acting = np.zeros((len(s), 2), bool)
    acting[: len(s) // 2, first] = True
    acting[len(s) // 2 :, 1 - first] = True
    raised = np.zeros((len(s), 2))
    for hand, start in ((first, 0.0), (1 - first, 0.5)):
        u = (s - start) / 0.5
        raised[:, hand] = minimum_jerk(np.clip(2.4 * np.minimum(u, 1.0 - u), 0.0, 1.0))
    top = np.asarray(RAISED) + rng.normal(0, 4.0, 4)
    arms = np.asarray(CARRY) + style.amplitude * raised[..., None] * (top - np.asarray(CARRY))
    place, heading = _spot(rng)
    return Performance((_stand(style, s, rng, arms, place, heading),), acting)


def _walk_together(styles: tuple[Style, ...], s: np.ndarray, rng: np.random.Generator) -> Performance:
    """Two people who face each other walk from about 1.75 m to about 0.8 m apart; the first goes most of the way.

    So the acting subject is also the person who moves more, which is how cleaning knows person 1.
    """
    far, near = rng.uniform(1.65, 1.85), rng.uniform(0.7, 0.9)
    axis = np.deg2rad(rng.uniform(-20, 20))
    middle = rng.uniform((-0.15, -0.15), (0.15, 0.15))
    direction = np.array([np.cos(axis), -np.sin(axis)])  # world (x, z) from the first person to the second
    postures = []
    for style, sign, share in zip(styles, (1.0, -1.0), (0.7, 0.3), strict=True):
        start, duration = rng.uniform(0.0, 0.1), rng.uniform(0.8, 0.95)
        progress = minimum_jerk((s - start) / duration)
        way = share * (far - near)
        arms, legs = _gait(style, progress, way, rng)
        place = middle - sign * (0.5 * far - way * progress)[:, None] * direction
        heading = np.rad2deg(np.arctan2(sign * direction[0], sign * direction[1]))
        posture = _stand(style, s, rng, arms, place, heading)
        postures.append(Posture(posture.place, posture.heading, posture.lean, posture.nod, posture.arms, posture.legs + legs))
    return Performance(tuple(postures), np.ones((len(s), 2), bool))


def _gait(style: Style, progress: np.ndarray, distance: float, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Arms (T, 2, 4) and legs (T, 2, 2) of a person who has walked a part, `progress` in [0, 1], of `distance` metres."""
    stride = 0.75 / style.tempo  # metres for a step with each leg
    phase = rng.choice((0.0, np.pi)) + 2 * np.pi * distance / stride * progress
    effort = style.amplitude * np.sqrt(np.maximum(0.0, np.sin(np.pi * progress)))  # legs are together at both ends
    arms, legs = _both(REST, len(progress)), np.zeros((len(progress), 2, 2))
    for side, shift in ((LEFT, 0.0), (RIGHT, np.pi)):
        legs[:, side, 0] = 20.0 * effort * np.sin(phase + shift)
        legs[:, side, 1] = 38.0 * effort * np.maximum(0.0, np.cos(phase + shift))  # the swinging leg bends
        arms[:, side, 0] -= 14.0 * effort * np.sin(phase + shift)
    return arms, legs


def _reverse(performance: Performance) -> Performance:
    fields = ("place", "heading", "lean", "nod", "arms", "legs")
    postures = tuple(Posture(*(getattr(p, field)[::-1] for field in fields)) for p in performance.postures)
    return Performance(postures, performance.acting[::-1])


def _clap(styles, s, rng):
    return _swing_hands(styles, s, rng, together=True)


def _wave_hands(styles, s, rng):
    return _swing_hands(styles, s, rng, together=False)


def _step_back(styles, s, rng):
    # Walking backwards is nearly walking forwards played in reverse (Winter, Pluck and Yang, 1989).
    return _reverse(_walk_together(styles, s, rng))


def _left_then_right(styles, s, rng):
    return _in_turn(styles, s, rng, first=LEFT)


def _right_then_left(styles, s, rng):
    return _in_turn(styles, s, rng, first=RIGHT)


CHOREOGRAPHY: Mapping[str, Callable[[tuple[Style, ...], np.ndarray, np.random.Generator], Performance]] = MappingProxyType(
    {
        "clap": _clap,
        "wave_hands": _wave_hands,
        "approach": _walk_together,
        "step_back": _step_back,
        "hand_to_head": _hand_to_head,
        "left_then_right": _left_then_right,
        "right_then_left": _right_then_left,
    }
)
