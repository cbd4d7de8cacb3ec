"""Documented commands that take longer than about ten seconds: they train, or load TensorFlow. Run by `pytest -m slow`."""

from __future__ import annotations

import pytest

from tests.docs.running import assert_runs, runs


@pytest.mark.slow
@pytest.mark.parametrize(("command", "entry"), runs(slow=True))
def test_long_commands_run(command, entry, sandbox_of):
    assert_runs(command, entry, sandbox_of)
