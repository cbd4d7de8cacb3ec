"""Whether a data root holds the clips that were published: counts per protocol, and the names where they differ."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from keras_actrec.datasets.record import CountMismatch, Split

BOTH_SIDES = "train and test"
"""The side that is a whole protocol: for clips whose side is not known by their name."""


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
