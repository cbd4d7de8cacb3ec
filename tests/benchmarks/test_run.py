"""`benchmarks/run.py` with benchmarks that take no time: lines, table, exit status, faults."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARKS_FOLDER = Path(__file__).resolve().parents[2] / "benchmarks"
CATALOGUE = """
BENCHMARKS = {
    name: Benchmark(name, f"about {name}", name, needs)
    for name, needs in {
        "good": (), "chatty": (), "slow": (), "broken": (), "killed": (), "absent_file": (), "absent_need": ("no_such_module",),
        "on_tensorflow": ("tensorflow",), "large": (),
    }.items()
}
"""
HEAD = "import os, signal, subprocess\nfrom suite.figures import Figure, Must\n\n\ndef measure(settings):\n    "
MODULES = {
    "good": """assert list(settings.folder.iterdir()) == []
    (settings.folder / "file").write_text("left behind")
    return [
        Figure("good: rate", 2.0, "files/s", Must(">=", 1), 1.5, 2.5),
        Figure("good: quick", float(settings.quick), "1"),
    ]""",
    "chatty": """print("from Python")
    os.write(1, b"from C\\n")
    subprocess.run(["echo", "from a child"], check=True)
    return []""",
    "slow": """return [Figure("slow: time", 16.0, "ms", Must("<=", 15)), Figure("slow: rate", 1.0, "1/s", Must(">=", 1))]""",
    "broken": """raise ArithmeticError("this benchmark is broken")""",
    "killed": """os.kill(os.getpid(), signal.SIGKILL)""",
    "on_tensorflow": """return []""",
    "large": """b"\\1" * 200_000_000
    return []""",
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """A copy of the framework with a catalogue of its own."""
    place = tmp_path_factory.mktemp("copy") / "benchmarks"
    (place / "suite").mkdir(parents=True)
    shutil.copy(BENCHMARKS_FOLDER / "run.py", place)
    for name in ("__init__", "figures", "catalogue", "machine", "runner"):
        shutil.copy(BENCHMARKS_FOLDER / "suite" / f"{name}.py", place / "suite")
    with (place / "suite" / "catalogue.py").open("a") as catalogue:
        catalogue.write(CATALOGUE)
    for name, body in MODULES.items():
        (place / "suite" / f"{name}.py").write_text(f"{HEAD}{body}\n")
    return place


def run(folder: Path, *arguments: str, **environment: str) -> tuple[int, list[dict], str]:
    """Exit status, the lines of standard output as they parse, standard error."""
    (folder / "temporary").mkdir(exist_ok=True)
    done = subprocess.run(
        [sys.executable, str(folder / "run.py"), *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
        env={**os.environ, "TMPDIR": str(folder / "temporary"), **environment},
    )
    return done.returncode, [json.loads(line) for line in done.stdout.splitlines()], done.stderr


def test_figures_are_lines_on_standard_output_and_a_table_on_standard_error(folder):
    status, lines, errors = run(folder, "chatty", "good")
    assert status == 0, errors
    assert [line["name"] for line in lines] == ["chatty: peak memory", "good: rate", "good: quick", "good: peak memory"]
    expected = {"name": "good: rate", "value": 2.0, "unit": "files/s", "must": ">= 1", "least": 1.5, "most": 2.5}
    assert lines[1] == expected
    assert lines[2]["value"] == 0 and lines[2]["must"] is None
    assert lines[3]["unit"] == "MB" and 5 < lines[3]["value"] < 200
    for said in ("from Python", "from C", "from a child", "1.5 .. 2.5", ">= 1"):
        assert said in errors
    assert "cores" in errors.splitlines()[0] and "Python 3." in errors.splitlines()[0] and "GPU" in errors.splitlines()[0]
    assert list((folder / "temporary").iterdir()) == []


@pytest.mark.parametrize("quick", [(), ("--quick",)])
def test_a_missed_bound_is_exit_status_1_and_named(folder, quick):
    status, lines, errors = run(folder, "slow", "good", *quick)
    assert status == 1
    assert [line["name"] for line in lines if line["must"]] == ["slow: time", "slow: rate", "good: rate"]
    assert next(line for line in lines if line["name"] == "good: quick")["value"] == float(bool(quick))
    assert "must missed: slow: time\n" in errors and "<= 15  MISSED" in errors


def test_a_benchmark_that_fails_does_not_stop_the_others(folder):
    status, lines, errors = run(folder, "broken", "killed", "absent_file", "slow", "good")
    assert status == 2
    assert {line["name"].partition(":")[0] for line in lines} == {"slow", "good"}
    assert "ArithmeticError: this benchmark is broken" in errors
    assert "broken: FAILED, its process ended with exit status 1" in errors
    assert "killed: FAILED, its process was killed by signal 9" in errors
    assert "No module named 'suite.absent_file'" in errors
    assert "failed: broken; killed; absent_file\n" in errors and "must missed: slow: time\n" in errors
    assert list((folder / "temporary").iterdir()) == []


def test_a_benchmark_whose_needs_are_absent_is_left_out(folder):
    status, lines, errors = run(folder, "absent_need", "on_tensorflow", "chatty", KERAS_BACKEND="jax")
    assert status == 0
    assert [line["name"] for line in lines] == ["chatty: peak memory"]
    assert "absent_need: left out, no_such_module is not installed" in errors
    assert "on_tensorflow: left out, it needs TensorFlow, and KERAS_BACKEND is jax" in errors
    assert "Keras backend jax" in errors


def test_each_benchmark_has_the_peak_of_its_own_memory(folder):
    _, lines, _ = run(folder, "large", "chatty")
    large, chatty = (line["value"] for line in lines)
    assert large > 200 > 4 * chatty / 3


def test_an_unknown_name_is_refused_with_the_known_ones(folder):
    status, lines, errors = run(folder, "good", "bad")
    assert (status, lines) == (2, [])
    assert "no such benchmark: bad (choose from good, chatty," in errors


def test_the_list_names_all_and_runs_none(folder):
    done = subprocess.run(
        [sys.executable, str(BENCHMARKS_FOLDER / "run.py"), "--list"], capture_output=True, text=True, check=True, timeout=60
    )
    names = [line.split()[0] for line in done.stdout.splitlines()]
    assert names[0] == "skeleton_parsing" and len(names) == 10 and done.stderr == ""
