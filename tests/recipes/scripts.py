"""What the tests of the video networks' scripts share: a command line, a run without training, what every script does."""

from __future__ import annotations

import runpy
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest

EXPERIMENTS = Path(__file__).resolve().parents[2] / "experiments"


def give(monkeypatch, *arguments) -> None:
    """The command line."""
    monkeypatch.setattr(sys, "argv", ["script.py", *map(str, arguments)])


def run_without_training(stream: str, calls: list[tuple]) -> Callable[..., SimpleNamespace]:
    """In place of a run: notes its data set, its experiment, and whether the kinds of classes were asked for."""

    def run(dataset, experiment, *, extra=None):
        calls.append((dataset, experiment, extra is not None))
        metrics = {"accuracy": {stream: 0.625}, "mean_class_accuracy": {stream: 0.5}, "protocol": experiment.protocol}
        if extra is not None:
            metrics["accuracy_by_kind"] = {stream: {"motion": 1.0, "object": 0.25}}
        return SimpleNamespace(metrics=metrics, export=experiment.workdir / "export")

    return run


def assert_prints_metrics(capsys, workdir: Path) -> None:
    """Of view 3 of Northwestern-UCLA, from `run_without_training`."""
    assert [line.split() for line in capsys.readouterr().out.splitlines()] == [
        ["accuracy", "62.5", "%", "view3"],
        ["results", "in", f"{workdir},", "exported", "model", "in", str(workdir / "export")],
    ]


def assert_prints_kinds(capsys) -> None:
    """Of the synthetic data, from `run_without_training`."""
    assert [line.split() for line in capsys.readouterr().out.splitlines()[:3]] == [
        ["accuracy", "62.5", "%", "cross_subject"], ["motion", "100.0", "%"], ["object", "25.0", "%"]
    ]  # fmt: skip


def assert_ends_with_usage(read: Callable[[], object], capsys, words: str) -> None:
    """A command line that is none."""
    with pytest.raises(SystemExit) as end:
        read()
    assert end.value.code == 2 and words in capsys.readouterr().err


def assert_one_error(main: Callable[[], int], capsys, message: str, workdir: Path) -> None:
    """An error comes in one line before anything is written."""
    assert main() == 1
    printed = capsys.readouterr()
    (line,) = [line for line in printed.err.splitlines() if line.startswith("error: ")]
    assert line.startswith(f"error: {message}") and "Traceback" not in printed.err
    assert not workdir.exists()


def options_of_scripts(monkeypatch, module: ModuleType, pattern: str, *words: str) -> dict[str, dict[str, object]]:
    """Data set → options that its script gives to `main`; each script's help has the words, its exit status is that of main.

    Args:
        module: whose `main` the scripts call.
        pattern: of the scripts' names.
        words: what their help mentions.
    """
    found = {}

    def note(name: str, doc: str, **options) -> int:
        found[name] = options
        assert all(word in doc for word in words)
        return 3

    monkeypatch.setattr(module, "main", note)
    for script in sorted(EXPERIMENTS.glob(pattern)):
        with pytest.raises(SystemExit) as end:
            runpy.run_path(str(script), run_name="__main__")
        assert end.value.code == 3, "the exit status is that of the run"
    return found
