"""A sandbox for each document, shared by the tests of one process."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.docs.commands import Command, all_commands
from tests.docs.sandbox import Sandbox
from tests.docs.table import TABLE


@pytest.fixture(scope="session")
def sandbox_of(tmp_path_factory) -> Callable[[Command], Sandbox]:
    """The sandbox of the first document that has a command."""
    place, commands = tmp_path_factory.mktemp("documents"), all_commands()
    boxes: dict[str, Sandbox] = {}

    def box(command: Command) -> Sandbox:
        name = command.document.replace("/", "_").removesuffix(".md")
        if name not in boxes:
            boxes[name] = Sandbox(place / name, place / "data_sets", commands, TABLE)
        return boxes[name]

    return box
