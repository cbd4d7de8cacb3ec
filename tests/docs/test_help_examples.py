"""Examples in the help of `keras-actrec` and of the scripts: their arguments are read, as those of the documents."""

from __future__ import annotations

import ast
import importlib
from collections.abc import Iterator

import pytest

from keras_actrec.cli.main import COMMANDS
from tests.docs.commands import REPOSITORY, Block, commands_of
from tests.docs.parsing import parse_arguments, words_of

PROGRAMS = ("keras-actrec ", "python ", "KERAS_BACKEND=")
SCRIPTS = [path for room in ("experiments", "preprocessing", "benchmarks") for path in (REPOSITORY / room).glob("*.py")]


def helps() -> Iterator[tuple[str, str]]:
    """(where, text) of every help, subcommands of subcommands included."""
    tables = [COMMANDS]
    while tables:
        for module, _ in tables.pop().values():
            imported = importlib.import_module(module)
            yield module, imported.HELP
            if hasattr(imported, "COMMANDS"):
                tables.append(imported.COMMANDS)
    for path in sorted(SCRIPTS):
        yield str(path.relative_to(REPOSITORY)), ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""


def examples() -> list:
    """Parameters: the words of each example. A remark stands behind #, or behind three spaces."""
    found = {}
    for where, text in helps():
        lines, more = [], False
        for line in text.splitlines():
            if more or line.strip().startswith(PROGRAMS):
                lines.append(line.strip().split("   ")[0])
                more = line.rstrip().endswith("\\")
        for command in commands_of(Block(where, 1, "bash", "\n".join(lines) + "\n")):
            if not command.text.startswith("python -"):
                words = [word.strip("[]") for word in words_of(command)]  # [--flag value] may be left out
                found[command.text] = pytest.param(words, id=command.text.replace("/", "_")[:120])
    return list(found.values())


def test_there_are_examples():
    assert len(examples()) > 60


@pytest.mark.parametrize("words", examples())
def test_an_example_is_read(words, monkeypatch):
    parse_arguments(words, monkeypatch)
