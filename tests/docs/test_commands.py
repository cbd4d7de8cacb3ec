"""Every command of README.md and docs/*.md: it has an entry in the table, its arguments are read, and the fast ones are run."""

from __future__ import annotations

import shutil

import pytest

from tests.docs.commands import Block, all_commands, commands_of, documents
from tests.docs.entries import Foreign, ReadOnly, Run
from tests.docs.parsing import parse_arguments, words_of
from tests.docs.running import assert_runs, runs
from tests.docs.table import TABLE

COMMANDS = all_commands()


def test_every_command_has_an_entry():
    missing = {text: command.places for text, command in COMMANDS.items() if text not in TABLE}
    assert not missing, "documented commands that tests/docs/table*.py does not know:\n" + "\n".join(
        f"{', '.join(places)}: {text}" for text, places in missing.items()
    )


def test_every_entry_has_a_command():
    assert not [text for text in TABLE if text not in COMMANDS], "entries whose command is in no document any more"


def test_what_an_entry_needs_is_there():
    for text, entry in TABLE.items():
        for need in entry.needs if isinstance(entry, Run) else ():
            assert need != text and (" " not in need or need in TABLE), f"{text} needs {need}"


READ = {text: entry for text, entry in TABLE.items() if isinstance(entry, ReadOnly) or (isinstance(entry, Run) and entry.slow)}


@pytest.mark.parametrize("text", [text for text in READ if text in COMMANDS], ids=lambda text: text.replace("/", "_")[:150])
def test_arguments_are_read(text, monkeypatch):
    entry = READ[text]
    more = entry.more.split() if isinstance(entry, (ReadOnly, Run)) else []
    parse_arguments([*words_of(COMMANDS[text], dict(entry.names)), *more], monkeypatch)


@pytest.mark.parametrize(("command", "entry"), runs(slow=False))
def test_fast_commands_run(command, entry, sandbox_of):
    assert_runs(command, entry, sandbox_of)


@pytest.mark.parametrize("text", [text for text, entry in TABLE.items() if isinstance(entry, Foreign)])
def test_foreign_programs_are_not_here(text):
    assert text.split()[0] == TABLE[text].program
    assert shutil.which(TABLE[text].program) is None, "it can be run: give it another entry"


# The tools themselves ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "words",
    [
        "python preprocessing/extract_poses.py --data-root a --cache b --no-such-flag",
        "python preprocessing/extract_poses.py --data-root a",
        "python preprocessing/extract_poses.py --data-root a --cache b --dataset nothing",
        "python preprocessing/no_such_script.py --help",
        "python experiments/ablations.py --table 6 --preset tuned",
        "python experiments/ntu_vpn.py --flag",
        "python preprocessing/convert_i3d_checkpoint.py one",
        "python benchmarks/run.py no_such_benchmark",
        "keras-actrec no-such-command",
        "keras-actrec predict --no-such-flag",
        "pip install keras_actrec[nothing]",
        "pip install -e . -c nothing.txt",
        "something else",
    ],
)
def test_a_stale_command_is_noticed(words, monkeypatch):
    with pytest.raises((AssertionError, ModuleNotFoundError)):
        parse_arguments(words.split(), monkeypatch)


def test_ray_reads_its_arguments(monkeypatch):
    import click

    with pytest.raises(click.exceptions.UsageError):
        parse_arguments(["ray", "start", "--no-such-flag"], monkeypatch)


def texts(shell: str) -> list[str]:
    return [command.text for command in commands_of(Block("a.md", 1, "bash", shell))]


def test_lines_become_commands():
    assert texts("a   --b   # a remark\n\n# only a remark\nc 'd  # e' && f\n") == ["a --b", "c 'd  # e'", "f"]
    assert texts("a \\\n    --b 1 \\\n  --c\nd\n") == ["a --b 1 --c", "d"]
    assert texts("a '{\"x\":\n 1}' && b '&&'\n") == ["a '{\"x\":\n 1}'", "b '&&'"]
    assert texts("a#b\n") == ["a#b"]


def test_variables_are_those_of_the_lines_above():
    block = Block("a.md", 1, "bash", "NAME=x.txt\ncat $NAME\nexport MORE='a b'\nX=1 run ${MORE} $UNKNOWN > out &\n")
    first, second = commands_of(block)
    assert (first.text, dict(first.variables)) == ("cat $NAME", {"NAME": "x.txt"})
    assert words_of(first) == ["cat", "x.txt"]
    assert words_of(second) == ["run", "a", "b", "$UNKNOWN"]


@pytest.mark.parametrize("shell", ["cat << END\na\nEND\n", "a 'open\n", "a \\\n"])
def test_what_the_reader_does_not_know_is_refused(shell):
    with pytest.raises(ValueError, match=r"a here-document|not closed"):
        texts(shell)


def test_all_documents_are_read():
    names = {path.name for path in documents()}
    assert {"README.md", "quickstart.md", "own_data.md", "vpn.md"} <= names
    assert {command.document for command in COMMANDS.values()} >= {"README.md", "docs/vpn.md"}
