"""Frames of a clip: bodies as shaded, textured capsules in front of the room, nearer parts over farther ones."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import cv2
import numpy as np

from keras_actrec.skeletons.layout import KINECT_V2
from keras_actrec.synthetic import canvas
from keras_actrec.synthetic.appearance import Appearance
from keras_actrec.synthetic.cameras import Camera
from keras_actrec.synthetic.canvas import Color
from keras_actrec.synthetic.kinematics import BodyShape
from keras_actrec.synthetic.objects import draw_object

_J = {name: index for index, name in enumerate(KINECT_V2.joints)}
_NOISE_PICTURES = 4  # used in turn: new noise for every frame would take longer than the drawing


@dataclass(frozen=True, eq=False)
class Held:
    """An object in a hand.

    Attributes:
        name: of the object, see `objects.draw_object`.
        hand: joint index of the hand that holds it.
        tilt: degrees.
        lit: bool (T,), frames in which a lamp shines.
    """

    name: str
    hand: int
    tilt: float
    lit: np.ndarray


@dataclass(frozen=True, eq=False)
class Actor:
    """One person as the camera sees it.

    Attributes:
        joints: (T, 25, 3), true joints in the camera's frame, metres.
        shape, appearance: build and clothes.
        held: objects in the hands.
    """

    joints: np.ndarray
    shape: BodyShape
    appearance: Appearance
    held: tuple[Held, ...] = ()


Part = tuple[float, Callable[[np.ndarray], None]]
"""Depth in metres (larger is farther) and a function that draws into a frame."""


def render_clip(
    actors: tuple[Actor, ...], camera: Camera, background: np.ndarray, rng: np.random.Generator
) -> Iterator[np.ndarray]:
    """Yields the clip's frames.

    Args:
        actors: the people, T frames each.
        camera: that the actors' joints belong to.
        background: uint8 (H, W, 3), BGR, picture of the empty room; not changed.
        rng: of the image sensor's noise.

    Yields:
        uint8 (H, W, 3), BGR; every frame is an array of its own.
    """
    noise = [_noise(background.shape[:2], rng) for _ in range(_NOISE_PICTURES)]
    for index in range(len(actors[0].joints)):
        frame = background.copy()
        for actor in actors:
            _draw_shadow(frame, actor, index, camera)
        parts: list[Part] = []
        for actor in actors:
            parts += _body_parts(actor, index, camera)
            parts += [_held_part(actor, held, index, camera) for held in actor.held]
        for _, draw in sorted(parts, key=lambda part: -part[0]):
            draw(frame)
        more, less = noise[index % _NOISE_PICTURES]
        yield cv2.subtract(cv2.add(frame, more), less)


def _noise(size: tuple[int, int], rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Grey noise with a standard deviation of 2, as two pictures: what to add and what to subtract."""
    noise = np.clip(rng.normal(0, 2.0, size), -6, 6).astype(np.int8)
    return tuple(cv2.merge([np.maximum(part, 0).astype(np.uint8)] * 3) for part in (noise, -noise))


def _draw_shadow(frame: np.ndarray, actor: Actor, index: int, camera: Camera) -> None:
    """Darkens the floor under the feet."""
    feet = actor.joints[index][[_J["ankle_left"], _J["ankle_right"], _J["foot_left"], _J["foot_right"]]]
    center = feet.mean(axis=0)
    center[1] = -camera.height
    angles = np.linspace(0, 2 * np.pi, 20, endpoint=False)
    rim = center + 0.34 * np.stack([np.cos(angles), 0 * angles, 0.8 * np.sin(angles)], axis=1)
    mask = np.zeros(frame.shape[:2], np.uint8)
    points = camera.project(rim)
    size = (camera.width, camera.pixel_height)
    left, top = np.clip(np.floor(points.min(axis=0)) - 4, 0, size).astype(int)
    right, bottom = np.clip(np.ceil(points.max(axis=0)) + 4, 0, size).astype(int)
    if right <= left or bottom <= top:
        return  # the feet are outside the picture
    canvas.polygon(mask, points, 115)
    area = frame[top:bottom, left:right]
    weight = cv2.blur(mask[top:bottom, left:right], (7, 7))
    area[:] = cv2.multiply(area, cv2.merge([255 - weight] * 3), scale=1 / 255)


def _body_parts(actor: Actor, index: int, camera: Camera) -> list[Part]:
    joints, look, girth = actor.joints[index], actor.appearance, actor.shape.girth
    limbs: list[tuple[str, str, float, float, Color, bool]] = []
    for side in ("left", "right"):
        sleeve = look.shirt if look.long_sleeves else look.skin
        limbs += [
            (f"shoulder_{side}", f"elbow_{side}", 0.058 * girth, 0.048 * girth, look.shirt, True),
            (f"elbow_{side}", f"wrist_{side}", 0.044 * girth, 0.033, sleeve, look.long_sleeves),
            (f"wrist_{side}", f"thumb_{side}", 0.022, 0.016, look.skin, False),
            (f"hand_{side}", f"hand_tip_{side}", 0.043, 0.022, look.skin, False),
            (f"wrist_{side}", f"hand_{side}", 0.03, 0.042, look.skin, False),
            (f"hip_{side}", f"knee_{side}", 0.088 * girth, 0.062 * girth, look.trousers, False),
            (f"knee_{side}", f"ankle_{side}", 0.06 * girth, 0.045, look.trousers, False),
            (f"ankle_{side}", f"foot_{side}", 0.045, 0.04, look.shoes, False),
        ]
    limbs.append(("head", "neck", 0.05, 0.056, look.skin, False))
    stripes = look.stripe if look.pattern == "stripes" else None
    parts = [_limb(joints, camera, *limb[:5], stripes if limb[5] else None) for limb in limbs]
    return [*parts, _torso(joints, camera, look, girth), _head(joints, camera, look)]


def _limb(
    joints: np.ndarray, camera: Camera, start: str, end: str, first: float, last: float, color: Color, stripe: Color | None
) -> Part:
    ends = joints[[_J[start], _J[end]]]
    pixels = camera.project(ends)
    radii = camera.focal_length / ends[:, 2] * (first, last)

    def draw(frame: np.ndarray) -> None:
        canvas.hull(frame, pixels, radii, color)
        if stripe is not None:
            canvas.bands(frame, pixels[0], pixels[1], tuple(radii), 4, stripe)

    behind = 0.12 if start.startswith("hip") else 0.0  # the shirt hangs over the trousers
    return ends[:, 2].mean() - 0.5 * (first + last) + behind, draw


def _torso(joints: np.ndarray, camera: Camera, look: Appearance, girth: float) -> Part:
    names = ("shoulder_left", "shoulder_right", "spine_mid", "hip_left", "hip_right")
    centers = joints[[_J[name] for name in names]]
    inner = 0.82 * centers + 0.18 * centers.mean(axis=0)  # the arms' capsules make the outer shoulder
    pixels = camera.project(inner)
    radii = camera.focal_length / inner[:, 2] * np.array([0.075, 0.075, 0.13, 0.115, 0.115]) * girth
    top, bottom = pixels[:2].mean(axis=0), pixels[3:].mean(axis=0)
    wide = (
        0.5 * np.abs(pixels[0, 0] - pixels[1, 0]) + 0.6 * radii[0],
        0.5 * np.abs(pixels[3, 0] - pixels[4, 0]) + 0.8 * radii[3],
    )

    def draw(frame: np.ndarray) -> None:
        canvas.hull(frame, pixels, radii, look.shirt)
        if look.pattern == "stripes":
            canvas.bands(frame, top, bottom, wide, 6, look.stripe)
        elif look.pattern == "panel":
            middle = top + 0.3 * (bottom - top)
            half = 0.45 * wide[0]
            corners = np.array([(-half, -half), (half, -half), (half, half), (-half, half)])
            canvas.polygon(frame, middle + corners, look.stripe)

    return centers[:, 2].mean() - 0.1, draw


def _head(joints: np.ndarray, camera: Camera, look: Appearance) -> Part:
    """Hair behind, face in front, eyes where the camera sees them."""
    head = joints[_J["head"]]
    left = joints[_J["shoulder_left"]] - joints[_J["shoulder_right"]]
    left /= np.linalg.norm(left)
    up = head - joints[_J["spine_shoulder"]]
    up /= np.linalg.norm(up)
    front = np.cross(left, up)
    scale = camera.focal_length / head[2]
    places = camera.project(
        head
        + np.stack(
            [
                0.035 * up - 0.02 * front,
                0.035 * front - 0.012 * up,
                *(0.1 * front + 0.015 * up + s * left for s in (0.033, -0.033)),
            ]
        )
    )
    lean = float(np.rad2deg(np.arctan2(up[0], up[1])))

    hair = (places[0], (0.092 * scale, 0.112 * scale), lean, look.hair)
    face = (places[1], (0.076 * scale, 0.102 * scale), lean, look.skin)

    def draw(frame: np.ndarray) -> None:
        for shape in (hair, face) if front[2] < 0.3 else (face, hair):
            canvas.ellipse(frame, *shape)
        for eye, offset in zip(places[2:], (0.033, -0.033), strict=True):
            if (front + 12 * offset * left)[2] < -0.25:
                canvas.circle(frame, eye, 0.011 * scale, (25, 25, 25))

    return head[2] - 0.09, draw


def _held_part(actor: Actor, held: Held, index: int, camera: Camera) -> Part:
    """The object and, over it, the fingers that hold it."""
    hand = actor.joints[index, held.hand]
    grip, scale = camera.project(hand), camera.focal_length / hand[2]

    def draw(frame: np.ndarray) -> None:
        draw_object(frame, held.name, grip, scale, tilt=held.tilt, lit=bool(held.lit[index]))
        for finger in range(3):
            canvas.ellipse(
                frame,
                grip + scale * np.array([0.0, 0.03 + 0.016 * finger]),
                (0.03 * scale, 0.009 * scale),
                8,
                actor.appearance.skin,
            )

    return hand[2] - 0.12, draw
