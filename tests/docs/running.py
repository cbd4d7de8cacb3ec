"""What the tests of fast and of long commands share: a run, and what it must have left."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.docs.commands import Command, all_commands
from tests.docs.entries import Run
from tests.docs.sandbox import Sandbox
from tests.docs.table import TABLE


def runs(*, slow: bool) -> list:
    """Parameters (command, entry) of all entries that are run and have one."""
    commands = all_commands()
    return [
        pytest.param(commands[text], entry, id=text.replace("/", "_")[:150])
        for text, entry in TABLE.items()
        if isinstance(entry, Run) and entry.slow == slow and text in commands
    ]


def assert_runs(command: Command, entry: Run, sandbox_of: Callable[[Command], Sandbox]) -> None:
    """The command ends without an error, and has printed and left what it should."""
    box = sandbox_of(command)
    done = box.run(command)
    assert done.returncode == 0, f"{command.text}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
    assert entry.prints in done.stdout, f"{entry.prints!r} is not in\n{done.stdout[-3000:]}"
    for wanted in entry.leaves:
        assert any(box.place.glob(wanted.lstrip("/"))), f"{command.text} has left no {wanted}"
