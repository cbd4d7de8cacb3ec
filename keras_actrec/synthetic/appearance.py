"""What a subject looks like: colours of skin, hair and clothes, and the pattern of the shirt."""

from __future__ import annotations

import colorsys
from dataclasses import dataclass

import numpy as np

from keras_actrec.synthetic.canvas import Color

_SKIN: tuple[Color, ...] = ((165, 190, 228), (130, 165, 212), (95, 130, 185), (70, 100, 150), (50, 72, 112))
_HAIR: tuple[Color, ...] = ((25, 25, 28), (30, 45, 70), (60, 100, 150), (90, 95, 100))


@dataclass(frozen=True)
class Appearance:
    """Colours (BGR) of one person.

    Attributes:
        skin, hair, shirt, stripe, trousers, shoes: colours; `stripe` is that of the shirt's pattern.
        pattern: "plain", "stripes" or "panel".
        long_sleeves: the forearms are covered.
    """

    skin: Color
    hair: Color
    shirt: Color
    stripe: Color
    trousers: Color
    shoes: Color
    pattern: str
    long_sleeves: bool

    @classmethod
    def sample(cls, rng: np.random.Generator) -> Appearance:
        """A random person in everyday clothes."""
        shirt = _cloth(rng, 0.25, 0.75, 0.35, 0.9)
        return cls(
            skin=_SKIN[rng.integers(len(_SKIN))],
            hair=_HAIR[rng.integers(len(_HAIR))],
            shirt=shirt,
            stripe=_cloth(rng, 0.0, 0.5, 0.2, 0.95),
            trousers=_cloth(rng, 0.1, 0.5, 0.2, 0.55),
            shoes=_cloth(rng, 0.0, 0.4, 0.15, 0.85),
            pattern=("plain", "stripes", "panel")[rng.integers(3)],
            long_sleeves=bool(rng.random() < 0.5),
        )


def _cloth(rng: np.random.Generator, *limits: float) -> Color:
    """A colour with saturation and value within (least, most, least, most)."""
    red, green, blue = colorsys.hsv_to_rgb(rng.random(), rng.uniform(*limits[:2]), rng.uniform(*limits[2:]))
    return (255 * blue, 255 * green, 255 * red)
