"""Whether a data root holds the clips that were published: counts per protocol, and the names where they differ."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from keras_actrec.datasets.record import Split

NAMES_SHOWN = 10
BOTH_SIDES = "train and test"
"""The side that is a whole protocol: for clips whose side is not known by their name."""


@dataclass(frozen=True)
class CountMismatch:
    """One side of a protocol that does not have the published number of clips.

    Attributes:
        protocol, side: e.g. "fold1", "test"; or `BOTH_SIDES`.
        found, expected: clips here, and published.
        missing: published clips that are not here, where the data set's clips are known by name.
        unexpected: clips here that were not published, where they are known by name.
    """

    protocol: str
    side: str
    found: int
    expected: int
    missing: tuple[str, ...] = ()
    unexpected: tuple[str, ...] = ()

    def __str__(self) -> str:
        text = f"{self.protocol} {self.side}: {self.found} clips, {self.expected} were published"
        for name, clips in (("missing", self.missing), ("unexpected", self.unexpected)):
            if clips:
                more = f" and {len(clips) - NAMES_SHOWN} more" if len(clips) > NAMES_SHOWN else ""
                text += f"; {name}: {', '.join(clips[:NAMES_SHOWN])}{more}"
        return text


def count_mismatches(
    protocols: Mapping[str, Split],
    expected: Mapping[tuple[str, str], int],
    published: Mapping[tuple[str, str], Iterable[str]] | None = None,
) -> tuple[CountMismatch, ...]:
    """Compares the sides of protocols with published numbers, and with published names where they are known.

    Args:
        protocols: what is here.
        expected: (protocol, "train" or "test" or `BOTH_SIDES`) → published number of clips.
        published: (protocol, side) → published names, for the sides whose names are known.

    Returns:
        One entry per side that differs in number or in names, in the order of `expected`.
    """
    found = []
    for (protocol, side), number in expected.items():
        split = protocols[protocol]
        clips = split.train + split.test if side == BOTH_SIDES else getattr(split, side)
        names = set((published or {}).get((protocol, side), clips))
        missing, unexpected = tuple(sorted(names - set(clips))), tuple(sorted(set(clips) - names))
        if len(clips) != number or missing or unexpected:
            found.append(CountMismatch(protocol, side, len(clips), number, missing, unexpected))
    return tuple(found)
