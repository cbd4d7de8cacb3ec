"""Commands and Python blocks of the documentation: README.md and docs/*.md, collected from their fenced blocks.

A command is a line of a ```bash or ```sh block: comments are taken off, lines that end in a backslash or within quotes are
joined, `a && b` are two commands, and spaces are made one, so that the same command of two documents is one. A line
`NAME=value` is no command but a variable of the lines below it.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
SHELLS = ("bash", "sh")

_FENCE = re.compile(r"^```(\w*)[^\n]*\n(.*?)^```", re.MULTILINE | re.DOTALL)
_ASSIGNMENT = re.compile(r"(?:export )?([A-Za-z_]\w*)=(.*)", re.DOTALL)
_VARIABLE = re.compile(r"\$(?:\{(\w+)\}|(\w+))")


@dataclass(frozen=True)
class Block:
    """A fenced block.

    Attributes:
        document: name relative to the repository.
        line: of its first line of text, from 1.
        language: what the fence says.
        text: the lines in it.
    """

    document: str
    line: int
    language: str
    text: str

    def __str__(self) -> str:
        return f"{self.document}:{self.line}"


@dataclass(frozen=True)
class Command:
    """A command of the documentation.

    Attributes:
        text: as it would be typed, in one line, without its comment.
        places: `document:line` of each block that has it.
        variables: what lines above it in its block have assigned.
    """

    text: str
    places: tuple[str, ...]
    variables: Mapping[str, str] = field(default_factory=dict)

    @property
    def document(self) -> str:
        """The first document that has it."""
        return self.places[0].split(":")[0]


def documents() -> list[Path]:
    """README.md and docs/*.md."""
    return [REPOSITORY / "README.md", *sorted((REPOSITORY / "docs").glob("*.md"))]


def blocks(text: str, document: str) -> Iterator[Block]:
    """The fenced blocks of a document's text."""
    for match in _FENCE.finditer(text):
        yield Block(document, text[: match.start(2)].count("\n") + 1, match[1], match[2])


def all_blocks(*languages: str) -> list[Block]:
    """The blocks of all documents in one of the languages."""
    return [
        block
        for path in documents()
        for block in blocks(path.read_text(encoding="utf-8"), str(path.relative_to(REPOSITORY)))
        if block.language in languages
    ]


def commands_of(block: Block) -> Iterator[Command]:
    """The commands of a block, in its order.

    Raises:
        ValueError: quotes that are not closed, or a here-document, which this reader does not know.
    """
    variables: dict[str, str] = {}
    for line in _logical_lines(block.text):
        for text in _split(line):
            if "<<" in text:
                raise ValueError(f"{block}: a here-document: {text}")
            assignment = _ASSIGNMENT.fullmatch(text)
            if assignment and len(shlex.split(assignment[2])) <= 1:
                variables[assignment[1]] = expand("".join(shlex.split(assignment[2])), variables)
                continue
            yield Command(text, (str(block),), dict(variables))


def all_commands() -> dict[str, Command]:
    """Text → command, of all documents; one that stands in several places is there once."""
    found: dict[str, Command] = {}
    for block in all_blocks(*SHELLS):
        for command in commands_of(block):
            known = found.get(command.text)
            found[command.text] = replace(known, places=(*known.places, *command.places)) if known else command
    return found


def expand(text: str, variables: Mapping[str, str]) -> str:
    """Text with `$NAME` and `${NAME}` of the variables; others stay."""
    return _VARIABLE.sub(lambda match: variables.get(match[1] or match[2], match[0]), text)


def _logical_lines(text: str) -> Iterator[str]:
    """Lines without comments; those that a backslash or an open quote continues are joined."""
    waiting = ""
    for line in text.splitlines():
        waiting += line
        stripped, open_quote = _uncommented(waiting)
        if open_quote:
            waiting += "\n"
        elif stripped.endswith("\\"):
            waiting = stripped[:-1].rstrip() + " "
        else:
            if stripped.strip():
                yield stripped.strip()
            waiting = ""
    if waiting.strip():
        raise ValueError(f"not closed: {waiting}")


def _uncommented(text: str) -> tuple[str, bool]:
    """Text without the comment at its end, and whether a quote is open there."""
    quote = ""
    for index, letter in enumerate(text):
        if quote:
            quote = "" if letter == quote and (quote == "'" or text[index - 1] != "\\") else quote
        elif letter in "'\"" and text[index - 1 : index] != "\\":
            quote = letter
        elif letter == "#" and (index == 0 or text[index - 1].isspace()):
            return text[:index].rstrip(), False
    return text.rstrip(), bool(quote)


def _split(line: str) -> Iterator[str]:
    """The parts of `a && b`, each with single spaces outside of quotes."""
    pieces = re.split(r"""("(?:\\.|[^"\\])*"|'[^']*')""", line)
    unquoted = "".join(
        re.sub(r"\s+", " ", piece) if k % 2 == 0 else piece.replace("&&", "\0") for k, piece in enumerate(pieces)
    )
    for part in unquoted.split("&&"):
        if part.strip():
            yield part.strip().replace("\0", "&&")
