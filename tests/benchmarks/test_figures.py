"""Figures and their bounds, medians, and the order of functions that take turns."""

from __future__ import annotations

import json
import math

import pytest
from suite.figures import Figure, Must, in_turns, median_figure, peak_bytes, rate_figure, ratio_figure


@pytest.mark.parametrize(
    ("must", "value", "met"),
    [
        (Must(">=", 0.9), 0.9, True),
        (Must(">=", 0.9), 0.899, False),
        (Must("<=", 15), 15, True),
        (Must("<=", 15), 15.1, False),
        (Must("<=", 15), math.nan, False),
    ],
)
def test_a_bound_is_kept_up_to_the_bound_itself(must, value, met):
    assert must.met(value) is met


def test_a_relation_that_is_none_is_refused():
    with pytest.raises(ValueError, match=r"one of >=, <=, not '=='"):
        Must("==", 1)


@pytest.mark.parametrize("numbers", [(math.nan,), (math.inf,), (1.0, "s", None, -math.inf, 1.0)])
def test_a_figure_is_finite(numbers):
    with pytest.raises(ValueError, match="x: y: a figure is a finite number"):
        Figure("x: y", *(numbers if len(numbers) > 1 else (*numbers, "s")))


def test_only_a_bound_can_be_missed():
    assert Figure("f", 1.2, "ratio", Must("<=", 1.1)).missed
    assert not Figure("f", 1.0, "ratio", Must("<=", 1.1)).missed
    assert not Figure("f", 1.2, "ratio").missed


@pytest.mark.parametrize(
    "figure", [Figure("a: b", 2.5, "files/s", Must(">=", 1e-3), 1.0, 3.0), Figure("a: peak memory", 7, "MB")]
)
def test_a_figure_comes_back_from_its_line(figure):
    line = json.loads(json.dumps(figure.as_json()))
    assert list(line) == ["name", "value", "unit", "must", "least", "most"]
    assert Figure.from_json(line) == figure


def test_the_line_says_the_bound_in_words():
    assert Figure("a", 1.0, "ratio", Must(">=", 0.9)).as_json()["must"] == ">= 0.9"
    assert Figure("a", 1.0, "ratio").as_json()["must"] is None


def test_medians_with_their_spread():
    assert median_figure("m", [3.0, 1.0, 10.0], "ms") == Figure("m", 3.0, "ms", None, 1.0, 10.0)
    # 6 things in 1, 2 and 3 seconds: 6, 3 and 2 per second.
    assert rate_figure("r", 6, [1, 2, 3], "clips/s") == Figure("r", 3.0, "clips/s", None, 2.0, 6.0)


def test_the_ratio_is_that_of_pairs():
    # Pairs 1/2, 4/2, 9/10 have the median 0.9; that of the medians would be 4/2.
    must = Must(">=", 0.9)
    assert ratio_figure("r", [1, 4, 9], [2, 2, 10], must) == Figure("r", 0.9, "ratio", must, 0.5, 2.0)
    with pytest.raises(ValueError):
        ratio_figure("r", [1, 2], [1])


def test_functions_take_turns_and_change_who_is_first():
    calls = []
    functions = {name: lambda name=name: calls.append(name) for name in "ab"}
    seconds = in_turns(functions, 3)
    assert "".join(calls) == "abbaab"
    assert {name: len(values) for name, values in seconds.items()} == {"a": 3, "b": 3}
    assert all(value >= 0 for values in seconds.values() for value in values)


def test_rounds_that_warm_up_are_not_timed():
    calls = []
    seconds = in_turns({"a": lambda: calls.append("a")}, 2, warm_up=3)
    assert len(calls) == 5 and len(seconds["a"]) == 2


def test_the_peak_of_memory_stays_when_the_memory_goes():
    before = peak_bytes()
    block = b"\1" * (before + 64_000_000)  # more than ever before
    del block
    assert before + 64_000_000 <= peak_bytes() < 3 * before + 200_000_000
