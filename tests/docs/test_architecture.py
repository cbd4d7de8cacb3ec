"""docs/architecture.md: the table has every room and every module, and a room imports only from rooms above it."""

from __future__ import annotations

import ast
import re

import pytest

from tests.docs.commands import REPOSITORY

TEXT = (REPOSITORY / "docs" / "architecture.md").read_text(encoding="utf-8")
PACKAGE = REPOSITORY / "keras_actrec"
ROOMS = [
    (re.findall(r"`([\w./]+)`", first), rest)
    for first, rest in re.findall(r"^\| (`.+?`) \| (.*) \|$", TEXT, re.MULTILINE)
]  # fmt: skip
ORDER = [room for names, _ in ROOMS for room in names]
FREE = {"__init__.py", "version.py"}
"""Files of no room: `__init__.py` names the recognizer, which is imported when somebody asks for it."""
MODULES = sorted(path.relative_to(PACKAGE) for path in PACKAGE.rglob("*.py") if path.name != "__init__.py")


def room_of(parts: tuple[str, ...]) -> str:
    """The room of a module by its path or name below the package."""
    return parts[0] if parts[0].endswith(".py") else f"{parts[0]}/"


def test_every_room_is_in_the_table():
    rooms = {room_of(path.parts) for path in MODULES} - FREE
    assert rooms <= set(ORDER), f"not in docs/architecture.md: {', '.join(sorted(rooms - set(ORDER)))}"
    assert all((PACKAGE / room).exists() or (REPOSITORY / room).exists() for room in ORDER), "a room that is not there"


@pytest.mark.parametrize("room", [room for room in ORDER if room.endswith("/") and (PACKAGE / room).is_dir()])
def test_every_module_is_in_the_row_of_its_room(room):
    (row,) = [rest for names, rest in ROOMS if room in names]
    named = set(re.findall(r"`(\w+)/?`", row))
    modules = {path.stem for path in (PACKAGE / room).glob("*.py")} - {"__init__"}
    folders = {path.name for path in (PACKAGE / room).iterdir() if any(path.glob("*.py"))}
    lacking = sorted((modules | folders) - named)
    assert "…" in row or not lacking, f"{room} in docs/architecture.md lacks {', '.join(lacking)}"


@pytest.mark.parametrize("room", sorted({room_of(path.parts) for path in MODULES} - FREE))
def test_a_room_imports_only_from_rooms_above(room):
    for path in (path for path in MODULES if room_of(path.parts) == room):
        for node in ast.walk(ast.parse((PACKAGE / path).read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("keras_actrec."):
                name = node.module.split(".")[1]
                there = f"{name}/" if (PACKAGE / name).is_dir() else f"{name}.py"
                if there not in FREE | {room}:
                    assert ORDER.index(there) < ORDER.index(room), f"{path} imports {node.module}, which is below {room}"
