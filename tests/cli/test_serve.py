"""`keras-actrec serve`: where it says that it serves, how it ends, and what it refuses. The server itself: tests/serving."""

from __future__ import annotations

import re

import pytest

from keras_actrec.cli.main import main
from keras_actrec.serving.rest import RestServer


@pytest.fixture
def stopped(monkeypatch) -> None:
    """Ctrl-C as soon as the server listens."""

    def run(_):
        raise KeyboardInterrupt

    monkeypatch.setattr(RestServer, "run", run)


def test_it_says_where_it_serves_and_ends_with_ctrl_c(export, stopped, capsys):
    assert main(["serve", "--model", str(export), "--port", "0", "--name", "mine"]) == 0
    printed = capsys.readouterr().out
    assert re.search(r"serving .*export at http://127\.0\.0\.1:\d+/v1/models/mine; Ctrl-C ends it\n$", printed)


def test_the_size_of_a_request_is_given_in_megabytes(export, monkeypatch):
    limits = []
    monkeypatch.setattr(RestServer, "run", lambda server: limits.append(server._server.max_body))
    assert main(["serve", "--model", str(export), "--port", "0", "--max-megabytes", "3"]) == 0
    assert limits == [3 * 1024 * 1024]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--port", "70000"], "no such port (found 70000"),
        (["--name", "a/b"], "no such name of a model (found 'a/b'"),
        (["--max-megabytes", "0"], "largest size of a request has to be positive"),
    ],
)
def test_what_it_refuses(export, capsys, options, words):
    assert main(["serve", "--model", str(export), "--port", "0", *options]) == 1
    assert words in capsys.readouterr().err


def test_a_folder_without_a_model(tmp_path, capsys):
    assert main(["serve", "--model", str(tmp_path)]) == 1
    assert "neither an exported model nor a folder of versions" in capsys.readouterr().err
