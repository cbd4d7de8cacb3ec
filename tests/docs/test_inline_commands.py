"""Commands in running text, such as `keras-actrec predict --window 3`: the program is there and has these flags."""

from __future__ import annotations

import io
import re
import runpy
import sys
from contextlib import redirect_stdout

import pytest

from tests.docs.commands import REPOSITORY, documents

SPAN = re.compile(r"`((?:python )?(?:keras-actrec|experiments/\w+\.py|preprocessing/\w+\.py|benchmarks/\w+\.py)(?: [^`]*)?)`")
BLOCK = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)
SPANS = sorted({
    " ".join(span.split()) for path in documents() for span in SPAN.findall(BLOCK.sub("", path.read_text(encoding="utf-8")))
})  # fmt: skip


def help_of(words: list[str], monkeypatch) -> str:
    """What --help of the program says that the words begin with, subcommands included."""
    said = io.StringIO()
    with redirect_stdout(said):
        if words[0] == "keras-actrec":
            from keras_actrec.cli.main import main

            names = [word for word in words[1:3] if re.fullmatch(r"[a-z][a-z-]*", word)]
            status = main([*names, "--help"])
            if status and len(names) == 2:  # the second word was no subcommand but an argument
                status = main([names[0], "--help"])
            assert status == 0, f"no command {' '.join(words[:2])}"
        else:
            script = REPOSITORY / words[0]
            assert script.is_file(), f"no script {words[0]}"
            monkeypatch.setattr(sys, "argv", [str(script), "--help"])
            monkeypatch.setattr(sys, "path", [str(script.parent), *sys.path])
            with pytest.raises(SystemExit):
                runpy.run_path(str(script), run_name="__main__")
    return said.getvalue()


def test_there_are_some():
    assert len(SPANS) > 10


@pytest.mark.parametrize("span", [span for span in SPANS if " " in span.removeprefix("python ")])
def test_flags_in_running_text_are_there(span, monkeypatch):
    words = span.removeprefix("python ").replace("…", "").split()
    known = help_of(words, monkeypatch)
    for flag in re.findall(r"(?<![\w-])--[a-z][\w-]*", span):
        assert re.search(rf"(?<![\w-]){flag}(?![\w-])", known), f"{span}: no {flag}"


@pytest.mark.parametrize("span", [span for span in SPANS if " " not in span.removeprefix("python ")])
def test_scripts_in_running_text_are_there(span):
    name = span.removeprefix("python ")
    assert name == "keras-actrec" or (REPOSITORY / name).is_file()


def test_a_flag_that_is_not_there_is_noticed(monkeypatch):
    with pytest.raises(AssertionError, match="no --no-such-flag"):
        test_flags_in_running_text_are_there("preprocessing/verify_cache.py --no-such-flag", monkeypatch)
