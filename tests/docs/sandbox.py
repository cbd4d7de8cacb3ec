"""A folder in which documented commands are run: small data under the documented names, and what earlier commands left.

Every document has one of its own, since two of them may give a cache the same name and other options. Absolute folders of the
documentation (/data, /fast, /shared) are folders in it; data sets are made once and linked.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

from tests.docs import data, preparations
from tests.docs.commands import REPOSITORY, Command, expand
from tests.docs.entries import Entry, Run

_ABSOLUTE = re.compile(r"(?<![\w./~$])/(data|fast|shared)\b")
_LINKED = ("preprocessing", "experiments", "benchmarks", "requirements.txt", "pyproject.toml", "results", "docs", "tests")
SECONDS = 1800
"""That a command may take."""


class Sandbox:
    """A folder for the commands of one document.

    Args:
        place: empty folder; the working directory of its commands.
        store: folder in which data sets are made once for all sandboxes.
        commands: all documented commands, by text.
        table: their entries.
    """

    def __init__(self, place: Path, store: Path, commands: Mapping[str, Command], table: Mapping[str, Entry]):
        self.place, self.store, self.commands, self.table = place, store, commands, table
        self.results: dict[str, subprocess.CompletedProcess[str]] = {}
        self._prepared: set[str] = set()
        place.mkdir(parents=True)
        for name in _LINKED:
            (place / name).symlink_to(REPOSITORY / name)

    def path(self, documented: str) -> Path:
        """Where a file of the documentation is here."""
        return self.place / documented.lstrip("/")

    def located(self, text: str) -> str:
        """A text of the documentation with its absolute folders in this one."""
        return _ABSOLUTE.sub(lambda match: f"{self.place}/{match[1]}", text)

    def run(self, command: Command) -> subprocess.CompletedProcess[str]:
        """Runs a command with all that it needs, once; what it has printed and its exit status."""
        if command.text not in self.results:
            entry = self.table[command.text]
            assert isinstance(entry, Run)
            for need in entry.needs:
                self.prepare(need)
            self.results[command.text] = self._shell(self._line(command, entry))
        return self.results[command.text]

    def prepare(self, need: str) -> None:
        """Makes what a command needs: a command before it, a data set `/data/NAME`, or one of `preparations.PREPARATIONS`."""
        if need in self._prepared:
            return
        self._prepared.add(need)
        if need in self.commands:
            done = self.run(self.commands[need])
            assert done.returncode == 0, f"{need}\n{done.stdout}\n{done.stderr}"
        elif need.startswith("/data/"):
            self._link(need)
        else:
            preparations.PREPARATIONS[need](self)

    def _link(self, root: str) -> None:
        """A data set in the store, made if this is the first that asks for it."""
        made = self.store / Path(root).name
        if not made.is_dir():
            data.ROOTS[made.name](made)
        here = self.path(root)
        here.parent.mkdir(parents=True, exist_ok=True)
        here.symlink_to(made)

    def _line(self, command: Command, entry: Run) -> str:
        text = expand(command.text, command.variables)
        for name, value in entry.names.items():
            text = text.replace(name, value)
        return self.located(f"{text} {entry.more}".strip())

    def _shell(self, line: str) -> subprocess.CompletedProcess[str]:
        programs = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"
        environment = {
            **os.environ, "PATH": programs, "PYTHONPATH": str(REPOSITORY), "TF_CPP_MIN_LOG_LEVEL": "2",
            "CUDA_VISIBLE_DEVICES": "",
        }  # fmt: skip
        return subprocess.run(
            ["bash", "-euc", line],
            cwd=self.place,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=SECONDS,
        )


Preparation = Callable[[Sandbox], None]
