"""Runs benchmarks, each in a process of its own, so that memory peaks and threads are its own and a fault stays with it."""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from suite.catalogue import BENCHMARKS, Benchmark, keras_backend, why_left_out
from suite.figures import Figure, Settings, peak_bytes
from suite.machine import describe_machine

OK, MISSED, FAILED = 0, 1, 2
"""Exit status: all well; a figure misses what it must reach; a benchmark failed."""

_BENCHMARKS_FOLDER = Path(__file__).resolve().parents[1]


def run_benchmarks(names: Sequence[str], *, quick: bool) -> int:
    """Runs benchmarks one after another; figures go to standard output as JSON lines, all else to standard error.

    Args:
        names: of `BENCHMARKS`; all where there are none. One whose needs are not there is left out, which is no fault.
        quick: see `Settings`. What figures must reach is the same.

    Returns:
        OK, MISSED or FAILED, see above. A benchmark that fails does not stop the others.
    """
    _say(describe_machine())
    figures, failed = [], []
    for name in names or BENCHMARKS:
        benchmark = BENCHMARKS[name]
        if reason := why_left_out(benchmark):
            _say(f"{name}: left out, {reason}")
            continue
        start = time.perf_counter()
        try:
            measured = _in_a_process(benchmark, quick)
        except RuntimeError as error:
            failed.append(name)
            _say(f"{name}: FAILED, {error}")
            continue
        _say(f"{name}: {time.perf_counter() - start:.0f} s")
        for figure in measured:
            print(json.dumps(figure.as_json()), flush=True)
        figures += measured
    if figures:
        _say(table(figures))
    missed = [figure.name for figure in figures if figure.missed]
    for title, which in (("failed", failed), ("must missed", missed)):
        if which:
            _say(f"{title}: {'; '.join(which)}")
    return FAILED if failed else MISSED if missed else OK


def measure_here(name: str, settings: Settings) -> None:
    """Runs one benchmark in this process and prints its figures as JSON lines, the peak of its memory last."""
    with _standard_output_for_figures() as output:
        figures = importlib.import_module(f"suite.{BENCHMARKS[name].module}").measure(settings)
        for figure in (*figures, Figure(f"{name}: peak memory", peak_bytes() / 1e6, "MB")):
            print(json.dumps(figure.as_json()), file=output)


def table(figures: Sequence[Figure]) -> str:
    """The figures for people."""
    import pandas  # after the benchmarks: it takes a second to load

    rows = [
        {
            "figure": figure.name,
            "value": _short(figure.value),
            "unit": figure.unit,
            "spread": "" if figure.least is None else f"{_short(figure.least)} .. {_short(figure.most)}",
            "must": "" if figure.must is None else f"{figure.must}{'  MISSED' if figure.missed else ''}",
        }
        for figure in figures
    ]
    width = max(len(figure.name) for figure in figures)
    frame = pandas.DataFrame(rows)
    frame["figure"] = frame["figure"].str.ljust(width)
    return frame.to_string(index=False)


def _in_a_process(benchmark: Benchmark, quick: bool) -> list[Figure]:
    """Raises RuntimeError where the process does not end well; its own words are on standard error by then."""
    with tempfile.TemporaryDirectory(prefix="benchmark-") as folder:
        command = [sys.executable, str(_BENCHMARKS_FOLDER / "run.py"), "--here", benchmark.name, "--folder", folder]
        done = subprocess.run(command + ["--quick"] * quick, stdout=subprocess.PIPE, text=True, check=False, env=_environment())
    if done.returncode < 0:
        raise RuntimeError(f"its process was killed by signal {-done.returncode}")
    if done.returncode:
        raise RuntimeError(f"its process ended with exit status {done.returncode}")
    return [Figure.from_json(json.loads(line)) for line in done.stdout.splitlines()]


def _environment() -> dict[str, str]:
    """That of the benchmarks: this checkout is what they measure, whether it is installed or not."""
    path = [str(_BENCHMARKS_FOLDER.parent), *filter(None, [os.environ.get("PYTHONPATH")])]
    return {
        "TF_CPP_MIN_LOG_LEVEL": "2",
        **os.environ,
        "KERAS_BACKEND": keras_backend(),
        "PYTHONPATH": os.pathsep.join(path),
    }


@contextmanager
def _standard_output_for_figures() -> Iterator[TextIO]:
    """Standard output as it was; meanwhile all that libraries print, from C++ too, goes to standard error."""
    sys.stdout.flush()
    with os.fdopen(os.dup(1), "w") as output:
        os.dup2(2, 1)
        try:
            yield output
        finally:
            sys.stdout.flush()
            output.flush()
            os.dup2(output.fileno(), 1)


def _short(value: float) -> str:
    return f"{value:.0f}" if abs(value) >= 1000 else f"{value:.4g}"


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
