"""Training clips that are kept away from training for early stopping: model selection never sees a test clip."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence

import numpy as np

from keras_actrec.errors import ConfigError


def hold_out(
    clip_ids: Sequence[str],
    label: Callable[[str], int],
    *,
    fraction: float = 0.05,
    seed: int = 0,
    groups: Callable[[str], Hashable] | None = None,
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Splits training clips into those trained on and those held out (paper section 4: 5 %).

    round(fraction · clips) clips are held out, at least one. Each class gives in proportion to its size, what rounding leaves
    over goes to the classes with the largest remainders, and no class gives its last clip as long as another can give.

    Where clips hang together (of one subject, one performance before several cameras, one pair of people), a network knows the
    held-out clip from its sisters, and the validation loss falls on while the test loss rises. With `groups` no group is on
    both sides: whole groups are held out in random order until they have at least as many clips. Groups without which a class
    or half of the clips were lost to training are passed over as long as others are enough.

    Args:
        clip_ids: training clips of the protocol, no test clips.
        label: clip id → class index, e.g. `SubsequenceSource.label`.
        fraction: share of the clips to hold out.
        seed: which clips of a class are held out, and who goes first among equal remainders; with `groups` their order.
        groups: clip id → what it shares with others, e.g. its subject; None for clips on their own.

    Returns:
        (trained, held out), each in the order of `clip_ids`.

    Raises:
        ConfigError: fewer than two clips, a single group, or a fraction outside of (0, 1).
    """
    if not 0 < fraction < 1:
        raise ConfigError("the held-out share is out of range", found=fraction, expected="a number between 0 and 1")
    if len(clip_ids) < 2:
        raise ConfigError("too few training clips to hold one out", found=len(clip_ids), expected="at least 2")
    rng = np.random.default_rng(seed)
    total = min(max(1, round(fraction * len(clip_ids))), len(clip_ids) - 1)
    labels = np.array([label(clip) for clip in clip_ids])
    held = _held_clips(labels, total, rng) if groups is None else _held_groups(labels, list(map(groups, clip_ids)), total, rng)
    trained = tuple(clip for clip, out in zip(clip_ids, held, strict=True) if not out)
    return trained, tuple(clip for clip, out in zip(clip_ids, held, strict=True) if out)


def _held_clips(labels: np.ndarray, total: int, rng: np.random.Generator) -> np.ndarray:
    """Which clips are held out, bool (clips,)."""
    classes, sizes = np.unique(labels, return_counts=True)
    held = np.zeros(len(labels), bool)
    for value, count in zip(classes, _apportion(sizes, total, rng), strict=True):
        held[rng.permutation(np.flatnonzero(labels == value))[:count]] = True
    return held


def _held_groups(labels: np.ndarray, groups: list[Hashable], total: int, rng: np.random.Generator) -> np.ndarray:
    """Which clips are held out, bool (clips,): at least `total` unless that takes the last group."""
    numbers: dict[Hashable, int] = {}
    members = np.array([numbers.setdefault(group, len(numbers)) for group in groups])
    if len(numbers) < 2:
        raise ConfigError(
            "all training clips hang together, none can be held out", found=f"1 group: {groups[0]!r}",
            expected="at least 2 groups", fix="hold out single clips (groups=None), or give the clips other groups",
        )  # fmt: skip
    clips_of = np.split(np.argsort(members, kind="stable"), np.cumsum(np.bincount(members))[:-1])
    classes = np.unique(labels, return_inverse=True)[1]
    trained = np.bincount(classes)  # clips per class
    held, order = np.zeros(len(labels), bool), rng.permutation(len(clips_of))
    for spares in (True, False):
        for clips in (clips_of[group] for group in order):
            if held.sum() >= total:
                return held
            left = trained - np.bincount(classes[clips], minlength=len(trained))
            loses = not left.all() or 2 * left.sum() < len(labels)
            if not held[clips[0]] and left.any() and not (spares and loses):
                held[clips], trained = True, left
    return held


def _apportion(sizes: np.ndarray, total: int, rng: np.random.Generator) -> np.ndarray:
    """How many clips each class gives: largest remainders, sparing the last clip of a class where possible."""
    quotas = sizes * total / sizes.sum()
    counts = np.floor(quotas).astype(int)
    by_remainder = np.lexsort((rng.random(len(sizes)), -(quotas - counts)))
    for spared in (1, 0):  # the second round takes last clips, only where every class is down to one
        while counts.sum() < total and (counts < sizes - spared).any():
            for index in by_remainder:
                if counts.sum() < total and counts[index] < sizes[index] - spared:
                    counts[index] += 1
    return counts
