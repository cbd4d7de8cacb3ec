"""What a benchmark measures: figures, what they must reach, and timing in turns so that the machine's moods meet all."""

from __future__ import annotations

import math
import operator
import re
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

_RELATIONS = {">=": operator.ge, "<=": operator.le}


@dataclass(frozen=True)
class Settings:
    """What a benchmark is run with.

    Attributes:
        quick: as little work as still gives a figure; the whole suite then takes minutes on two cores.
        folder: an empty folder of its own for files, removed afterwards.
    """

    quick: bool
    folder: Path


@dataclass(frozen=True)
class Must:
    """A bound that a figure must keep.

    Attributes:
        relation: ">=" or "<=".
        value: the bound, in the figure's unit.

    Raises:
        ValueError: another relation.
    """

    relation: str
    value: float

    def __post_init__(self):
        if self.relation not in _RELATIONS:
            raise ValueError(f"a relation is one of {', '.join(_RELATIONS)}, not {self.relation!r}")

    def __str__(self) -> str:
        return f"{self.relation} {self.value:g}"

    def met(self, value: float) -> bool:
        """Whether the value keeps the bound."""
        return _RELATIONS[self.relation](value, self.value)


@dataclass(frozen=True)
class Figure:
    """One measured number.

    Attributes:
        name: "benchmark: what", e.g. "decode: frames".
        value: the number; a median where there are several repetitions.
        unit: e.g. "frames/s", "ms", "MB", "ratio".
        must: the bound it must keep, if any.
        least, most: over the repetitions; None where there is only one.

    Raises:
        ValueError: a number that is not finite.
    """

    name: str
    value: float
    unit: str
    must: Must | None = None
    least: float | None = None
    most: float | None = None

    def __post_init__(self):
        for number in (self.value, self.least, self.most):
            if number is not None and not math.isfinite(number):
                raise ValueError(f"{self.name}: a figure is a finite number, not {number}")

    @property
    def missed(self) -> bool:
        """Whether there is a bound, and the value does not keep it."""
        return self.must is not None and not self.must.met(self.value)

    def as_json(self) -> dict[str, str | float | None]:
        """The line on standard output; `must` as text such as ">= 0.9"."""
        must = None if self.must is None else str(self.must)
        numbers = {
            name: None if number is None else float(number)
            for name, number in (("value", self.value), ("least", self.least), ("most", self.most))
        }
        return {"name": self.name, "value": numbers.pop("value"), "unit": self.unit, "must": must, **numbers}

    @classmethod
    def from_json(cls, line: Mapping[str, str | float | None]) -> Figure:
        """The figure that `as_json` made the line of."""
        must = line["must"] and Must(*(part(text) for part, text in zip((str, float), line["must"].split(), strict=True)))
        return cls(line["name"], line["value"], line["unit"], must, line["least"], line["most"])


def median_figure(name: str, values: Sequence[float], unit: str, must: Must | None = None) -> Figure:
    """The median of repetitions, with their spread."""
    return Figure(name, statistics.median(values), unit, must, min(values), max(values))


def rate_figure(name: str, amount: float, seconds: Sequence[float], unit: str, must: Must | None = None) -> Figure:
    """How many things per second, where each repetition did `amount` of them."""
    return median_figure(name, [amount / each for each in seconds], unit, must)


def ratio_figure(name: str, a: Sequence[float], b: Sequence[float], must: Must | None = None) -> Figure:
    """The median of a / b over pairs that were measured side by side, with the spread; unit "ratio"."""
    return median_figure(name, [one / other for one, other in zip(a, b, strict=True)], "ratio", must)


def in_turns(functions: Mapping[str, Callable[[], object]], repetitions: int, *, warm_up: int = 0) -> dict[str, list[float]]:
    """Times functions in turns: A B, B A, A B, … so that neither drift nor coming second favours one.

    Args:
        functions: name → what is timed. It must have ended its work when it returns: fetch the result from the device.
        repetitions: timed rounds.
        warm_up: rounds before them that are not timed, for what the first call builds.

    Returns:
        name → wall-clock seconds of each round; the i-th of all names are a pair.
    """
    seconds: dict[str, list[float]] = {name: [] for name in functions}
    for repetition in range(-warm_up, repetitions):
        names = list(functions) if repetition % 2 == 0 else list(reversed(functions))
        for name in names:
            start = time.perf_counter()
            functions[name]()
            if repetition >= 0:
                seconds[name].append(time.perf_counter() - start)
    return seconds


def peak_bytes() -> int:
    """The most memory that this process has held so far (resident set), without that of its children."""
    status = Path("/proc/self/status")
    if status.exists():
        # VmHWM begins anew with a program; ru_maxrss can begin with that of the process that started it.
        return int(re.search(r"VmHWM:\s+(\d+) kB", status.read_text())[1]) * 1024
    import resource
    import sys

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
