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


# Groups -----------------------------------------------------------------------------------------------------------------------


def by_group(clip: str) -> str:
    """Of "subject/label/number"."""
    return clip.split("/")[0]


def by_label(clip: str) -> int:
    return int(clip.split("/")[1])


def grouped(**sizes: tuple[int, ...]) -> list[str]:
    """Clip ids: per group so many clips per class."""
    return [
        f"{group}/{label}/{i}" for group, counts in sizes.items() for label, count in enumerate(counts) for i in range(count)
    ]


def held_groups(clip_ids, **options) -> set[str]:
    trained, held = hold_out(clip_ids, by_label, groups=by_group, **options)
    set_of_held = set(held)
    assert sorted(trained + held) == sorted(clip_ids) and list(trained) == [
        clip for clip in clip_ids if clip not in set_of_held
    ]
    assert not {by_group(clip) for clip in trained} & {by_group(clip) for clip in held}
    return {by_group(clip) for clip in held}


@pytest.mark.parametrize("seed", range(5))
def test_whole_groups_until_there_are_enough(seed):
    # 5 % of 120 clips = 6; each of the 10 subjects has 12.
    assert len(held_groups(grouped(**{f"s{i}": (6, 6) for i in range(10)}), seed=seed)) == 1
    # 25 % = 30 clips: two subjects are 24, three are enough.
    assert len(held_groups(grouped(**{f"s{i}": (6, 6) for i in range(10)}), seed=seed, fraction=0.25)) == 3


def test_the_seed_chooses_the_groups():
    clip_ids = grouped(**{f"s{i}": (2, 2) for i in range(10)})
    chosen = [held_groups(clip_ids, seed=seed) for seed in range(20)]
    assert chosen[3] == held_groups(clip_ids, seed=3)
    assert len(set(map(frozenset, chosen))) > 4


@pytest.mark.parametrize("seed", range(10))
def test_a_group_that_holds_all_of_a_class_stays_in_training(seed):
    assert held_groups(grouped(a=(4, 0), b=(4, 0), c=(0, 4)), seed=seed) < {"a", "b"}


@pytest.mark.parametrize("seed", range(10))
def test_a_group_with_most_clips_stays_in_training(seed):
    assert "most" not in held_groups(grouped(a=(3, 3), b=(3, 3), most=(30, 30)), seed=seed)


def test_a_class_is_lost_where_it_has_to_be():
    assert len(held_groups(grouped(a=(4, 0), b=(0, 4)))) == 1
    # 70 % of 12 = 8 clips of 3 groups of 4: two go, and any two are all of a class.
    assert len(held_groups(grouped(a=(4, 0), b=(4, 0), c=(0, 4)), fraction=0.7)) == 2


def test_one_group_always_stays():
    # 95 % of 8 = 8 clips of two groups: the first is held out, the second is all that training has.
    assert len(held_groups(grouped(a=(2, 2), b=(2, 2)), fraction=0.95)) == 1


def test_a_single_group():
    with pytest.raises(ConfigError, match=r"hang together.*1 group: 'a'.*groups=None"):
        hold_out(grouped(a=(5, 5)), by_label, groups=by_group)


def test_as_many_groups_as_the_largest_data_set_has():
    # As many as NTU RGB+D has performances, by three cameras: 5 % of 39,000 clips are 650 of them.
    clip_ids = grouped(**{f"p{i}": (1, 1, 1) for i in range(13000)})
    assert len(held_groups(clip_ids)) == 650
