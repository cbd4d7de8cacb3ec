"""The memory of a process with its children."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from suite.tree_memory import PROC, TreeMemory, proportional_bytes, tree

pytestmark = pytest.mark.skipif(not (PROC / "self" / "smaps_rollup").exists(), reason="no /proc/self/smaps_rollup")
HOLD = "block = b'\\1' * {size}; print(flush=True); input()"
HOLD_TWICE = "import subprocess, sys; subprocess.run([sys.executable, '-c', sys.argv[1]], check=True)"


def hold(*command: str) -> subprocess.Popen:
    process = subprocess.Popen([sys.executable, *command], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    process.stdout.readline()
    return process


def let_go(process: subprocess.Popen) -> None:
    process.communicate("\n", timeout=60)


def test_children_and_grandchildren_belong_to_it():
    process = hold("-c", HOLD_TWICE, HOLD.format(size=1))
    try:
        found = tree(os.getpid())
        assert found[0] == os.getpid() and process.pid in found
        assert len(tree(process.pid)) == 2
    finally:
        let_go(process)
    assert process.pid not in tree(os.getpid())


def test_the_peak_holds_what_a_child_held():
    with TreeMemory() as memory:
        alone = memory.peak
        process = hold("-c", HOLD.format(size=300_000_000))
        memory.look()
        let_go(process)
    assert memory.peak > alone + 250_000_000  # less than 300: the child may have taken over pages that were counted here


def test_a_process_that_has_ended_counts_as_nothing():
    process = hold("-c", HOLD.format(size=1))
    let_go(process)
    assert proportional_bytes(process.pid) is None
