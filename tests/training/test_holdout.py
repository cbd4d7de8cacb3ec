"""The clips held out for early stopping."""

from __future__ import annotations

from collections import Counter

import pytest

from keras_actrec.errors import ConfigError
from keras_actrec.training.holdout import hold_out


def clips(*sizes: int) -> dict[str, int]:
    """Clip id → class, with so many clips per class."""
    return {f"{label}-{i}": label for label, size in enumerate(sizes) for i in range(size)}


def held_per_class(labels, **options):
    trained, held = hold_out(list(labels), labels.__getitem__, **options)
    assert sorted(trained + held) == sorted(labels) and not set(trained) & set(held)
    return Counter(labels[clip] for clip in held)


def test_five_percent_of_each_class():
    assert held_per_class(clips(100, 200, 40)) == {0: 5, 1: 10, 2: 2}


def test_what_rounding_leaves_over_goes_to_the_largest_remainders():
    # 10 % of 54 = 5; quotas 30·5/54 = 2.78, 15·5/54 = 1.39, 9·5/54 = 0.83: floors 2, 1, 0, then classes 2 and 0 get one more.
    assert held_per_class(clips(30, 15, 9), fraction=0.1) == {0: 3, 1: 1, 2: 1}


def test_at_least_one_clip():
    assert sum(held_per_class(clips(3, 3)).values()) == 1


def test_a_class_keeps_its_last_clip_as_long_as_others_can_give():
    # 3 of 6 clips; quotas 0.5, 0.5, 2: the third class gives the one that is left over, too.
    assert held_per_class(clips(1, 1, 4), fraction=0.5) == {2: 3}


def test_only_single_clips_per_class():
    assert sum(held_per_class(clips(1, 1, 1, 1), fraction=0.5).values()) == 2


def test_same_seed_same_clips():
    labels = clips(50, 50)
    first, again, other = (hold_out(list(labels), labels.__getitem__, seed=seed)[1] for seed in (3, 3, 4))
    assert first == again != other


def test_too_few_clips():
    with pytest.raises(ConfigError, match="too few training clips"):
        hold_out(["a"], lambda clip: 0)


@pytest.mark.parametrize("fraction", [0, 1, -0.1])
def test_shares_that_make_no_sense(fraction):
    with pytest.raises(ConfigError, match="between 0 and 1"):
        hold_out(["a", "b"], lambda clip: 0, fraction=fraction)
