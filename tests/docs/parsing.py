"""Arguments of a documented command, read by the script that it names: up to its job, which is not done.

A script reads its arguments and then hands its job to `keras_actrec.scripts.exit_status`, so that is where it stops here. An
argument that it does not know, a value that it refuses or a missing one ends with argparse's status 2, which fails the test.
"""

from __future__ import annotations

import io
import runpy
import shlex
import sys
import tomllib
import warnings
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

import pytest

from keras_actrec import scripts
from tests.docs.commands import REPOSITORY, Command, expand

ENDING_FLAGS = ("--help", "--version", "--list")
"""Arguments after which a program prints something and ends, without a job."""


class JobReached(BaseException):
    """The arguments are good. Not an `Exception`, so that no script takes it for an error of its own."""


def words_of(command: Command, names: dict[str, str] | None = None) -> list[str]:
    """The words of a command as the shell would give them: variables in place, placeholders by `names`, no redirections."""
    text = expand(command.text, command.variables)
    for name, value in (names or {}).items():
        text = text.replace(name, value)
    words = shlex.split(text)
    for sign in (">", "2>&1", "&", "|"):
        if sign in words:
            words = words[: words.index(sign)]
    while words and "=" in words[0] and words[0].split("=")[0].isidentifier():
        words = words[1:]  # variables of this command alone
    return words


def parse_arguments(words: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Has the program of a command read its arguments.

    Args:
        words: `python SCRIPT …`, `python -m pytest …`, `keras-actrec …`, `pip install …` or `ray …`.

    Raises:
        AssertionError: they are not understood; the message is what the program says.
    """
    if words[0] == "keras-actrec":
        from keras_actrec.cli.main import main

        _until_job(lambda: main(words[1:]), words, monkeypatch)
    elif words[0] == "python" and words[1].endswith(".py"):
        script = REPOSITORY / words[1]
        assert script.is_file(), f"no script {words[1]}"
        monkeypatch.setattr(sys, "argv", [str(script), *words[2:]])
        monkeypatch.setattr(sys, "path", [str(script.parent), *sys.path])
        if words[1].startswith("benchmarks/"):  # their jobs start processes of their own
            _until_job(lambda: _arguments_of(script), words, monkeypatch)
        else:
            _until_job(lambda: runpy.run_path(str(script), run_name="__main__"), words, monkeypatch)
    elif words[:2] == ["pip", "install"]:
        _check_install(words[2:])
    elif words[0] == "ray":
        _check_ray(words[1:])
    else:
        raise AssertionError(f"nobody here reads the arguments of {' '.join(words)}")


def _until_job(run, words: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(job) -> int:
        raise JobReached

    # Modules that were imported before hold `exit_status` by their own name.
    original = scripts.exit_status
    for name, module in list(sys.modules.items()):
        if name.startswith("keras_actrec") and getattr(module, "exit_status", None) is original:
            monkeypatch.setattr(module, "exit_status", stop)
    said = io.StringIO()
    ended: object = "without its job"
    try:
        with redirect_stderr(said), redirect_stdout(io.StringIO()):
            ended = run()
    except JobReached:
        return
    except SystemExit as end:
        ended = end.code
    if ended in (0, None) and any(flag in words for flag in ENDING_FLAGS):
        return
    raise AssertionError(f"{' '.join(words)} ended with {ended}: {said.getvalue()}")


def _arguments_of(script: Path) -> None:
    """Has a script read its arguments by its own function, and no more."""
    runpy.run_path(str(script))["arguments"]()
    raise JobReached


def _check_install(words: list[str]) -> None:
    """The extras and files that a `pip install` names are there."""
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    for word in words:
        if "[" in word:
            package, extras = word.rstrip("]").split("[")
            assert package in (".", project["name"]), f"no package of this project: {package}"
            unknown = set(extras.split(",")) - set(project["optional-dependencies"])
            assert not unknown, f"extras that pyproject.toml does not have: {', '.join(sorted(unknown))}"
        elif word.endswith(".txt"):
            assert (REPOSITORY / word).is_file(), f"no file {word}"


def _check_ray(words: list[str]) -> None:
    """Ray's own reader of its arguments."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Ray's own
        from ray.scripts.scripts import cli

    name, command, rest = cli.resolve_command(cli.make_context("ray", [*words], resilient_parsing=True), words)
    command.make_context(name, rest)
