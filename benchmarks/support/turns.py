"""Timing of programs that take turns, so that what else the machine does meets all of them; shared by the benchmarks."""

from __future__ import annotations

import os
import statistics
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

Jobs = Mapping[str, Callable[[], float]]
"""Name of a job → a function that does it once and returns its seconds."""


def timed(job: Callable[[], object]) -> Callable[[], float]:
    """A function that does the job and returns its seconds."""

    def run() -> float:
        start = time.perf_counter()
        job()
        return time.perf_counter() - start

    return run


class Child:
    """A program of another environment that does a job for each line of its input and answers with the seconds it took."""

    def __init__(self, command: Sequence[str | Path]):
        # TensorFlow 2 tells its children by a variable to be TensorFlow 2.
        environment = {name: value for name, value in os.environ.items() if not name.startswith(("TF2_", "KERAS"))}
        self._process = subprocess.Popen(
            [str(part) for part in command], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
        )

    def jobs(self, names: Sequence[str]) -> Jobs:
        return {name: lambda name=name: self._ask(name) for name in names}

    def close(self) -> None:
        self._process.stdin.close()
        self._process.wait()

    def _ask(self, word: str) -> float:
        self._process.stdin.write(f"{word}\n")
        self._process.stdin.flush()
        return float(self._process.stdout.readline())


def take_turns(programs: Mapping[str, Jobs], word: str, repeats: int, *, per: int = 1, unit: str = "clip") -> None:
    """Times one job of every program in turns and prints seconds, and how many times the last one's rate the first has.

    Args:
        programs: name → its jobs; ours first, the one it is compared with last.
        word: the job.
        repeats: timed rounds, after one that is not.
        per: things done at once; seconds are per thing.
        unit: what they are.
    """
    for jobs in programs.values():  # graphs are built by the first call
        jobs[word]()
    seconds: dict[str, list[float]] = {name: [] for name in programs}
    for _ in range(repeats):
        for name, jobs in programs.items():
            seconds[name].append(jobs[word]() / per)
    for name, values in seconds.items():
        print(f"{word:>8} {name:>22}: {min(values):.3f} s per {unit} at best, median {statistics.median(values):.3f}")
    if len(programs) > 1:
        ours, other = (seconds[name] for name in (next(iter(programs)), list(programs)[-1]))
        pairs = statistics.median(b / a for a, b in zip(ours, other, strict=True))
        print(f"{word:>8}: {min(other) / min(ours):.2f} times the rate of {list(programs)[-1]} (pairs: median {pairs:.2f})")
