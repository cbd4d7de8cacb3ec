"""Training clips that are kept away from training for early stopping: model selection never sees a test clip."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from keras_actrec.errors import ConfigError


def hold_out(
    clip_ids: Sequence[str], label: Callable[[str], int], *, fraction: float = 0.05, seed: int = 0
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Splits training clips into those trained on and those held out (paper section 4: 5 %).

    round(fraction · clips) clips are held out, at least one. Each class gives in proportion to its size, what rounding leaves
    over goes to the classes with the largest remainders, and no class gives its last clip as long as another can give.

    Args:
        clip_ids: training clips of the protocol, no test clips.
        label: clip id → class index, e.g. `SubsequenceSource.label`.
        fraction: share of the clips to hold out.
        seed: which clips of a class are held out, and who goes first among equal remainders.

    Returns:
        (trained, held out), each in the order of `clip_ids`.

    Raises:
        ConfigError: fewer than two clips, or a fraction outside of (0, 1).
    """
    if not 0 < fraction < 1:
        raise ConfigError("the held-out share is out of range", found=fraction, expected="a number between 0 and 1")
    if len(clip_ids) < 2:
        raise ConfigError("too few training clips to hold one out", found=len(clip_ids), expected="at least 2")
    rng = np.random.default_rng(seed)
    total = min(max(1, round(fraction * len(clip_ids))), len(clip_ids) - 1)
    labels = np.array([label(clip) for clip in clip_ids])
    classes, sizes = np.unique(labels, return_counts=True)
    held = np.zeros(len(clip_ids), bool)
    for value, count in zip(classes, _apportion(sizes, total, rng), strict=True):
        held[rng.permutation(np.flatnonzero(labels == value))[:count]] = True
    trained = tuple(clip for clip, out in zip(clip_ids, held, strict=True) if not out)
    return trained, tuple(clip for clip, out in zip(clip_ids, held, strict=True) if out)


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
