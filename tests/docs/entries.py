"""How each documented command is tested: the kinds of entries that the tables hold."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Run:
    """A command that is run, in a folder where all that it names is there.

    Attributes:
        more: arguments behind it: fewer epochs, tiny pictures.
        needs: what is prepared first: names of `preparations.PREPARATIONS`, or commands of the tables, which are run before.
        names: placeholder in the text → what stands for it.
        leaves: files or folders that it must have written, relative to where it runs or absolute as in the documentation.
        prints: words in what it prints.
        slow: longer than about ten seconds; run by `pytest -m slow`. Its arguments are read by default all the same.
    """

    more: str = ""
    needs: tuple[str, ...] = ()
    names: Mapping[str, str] = field(default_factory=dict)
    leaves: tuple[str, ...] = ()
    prints: str = ""
    slow: bool = False


@dataclass(frozen=True)
class ReadOnly:
    """A command that cannot be run here: its own program reads its arguments, no more.

    Attributes:
        why: it cannot be run.
        names: as in `Run`.
        more: as in `Run`.
    """

    why: str
    names: Mapping[str, str] = field(default_factory=dict)
    more: str = ""


@dataclass(frozen=True)
class Foreign:
    """A command of another program that is not installed here, whose arguments nobody can check.

    Attributes:
        program: its name, the first word.
        why: it is not here.
    """

    program: str
    why: str


Entry = Run | ReadOnly | Foreign
