"""One run at a time writes a share of a cache; a killed one leaves no lock behind."""

from __future__ import annotations

import multiprocessing
import os
import signal

import pytest

from keras_actrec.cache.lock import extracting, planning
from keras_actrec.errors import CacheError


def hold(directory, share, connection):
    with extracting(directory, share):
        connection.send("held")
        connection.recv()
    connection.send("left")


@pytest.fixture
def holder(tmp_path):
    """`holder(share)`: another process holds the lock; gives it and the pipe to it."""
    processes = []
    context = multiprocessing.get_context("spawn")

    def start(share):
        ours, theirs = context.Pipe()
        process = context.Process(target=hold, args=(tmp_path, share, theirs), daemon=True)
        process.start()
        processes.append(process)
        assert ours.poll(60) and ours.recv() == "held"
        return process, ours

    yield start
    for process in processes:
        process.kill()
        process.join()


def test_the_second_is_told_until_the_first_has_left(holder, tmp_path):
    process, pipe = holder((0, 1))
    words = rf"another run is writing this cache \(found process {process.pid} on .*--shard 0/2 in one run, --shard 1/2"
    for share in ((0, 1), (1, 4)):
        with pytest.raises(CacheError, match=words), extracting(tmp_path, share):
            pytest.fail("both are in")
    pipe.send("leave")
    assert pipe.poll(60) and pipe.recv() == "left"
    with extracting(tmp_path, (0, 1)):
        pass
    assert not list(tmp_path.iterdir())


def test_shares_without_a_shard_in_common_go_together(holder, tmp_path):
    _, pipe = holder((0, 2))
    for share in ((1, 2), (3, 4)):
        with extracting(tmp_path, share):
            pass
    for share in ((2, 4), (0, 3), (0, 2)):
        with pytest.raises(CacheError, match="another run"), extracting(tmp_path, share):
            pytest.fail("both are in")
    pipe.send("leave")


def test_a_killed_run_holds_nothing(holder, tmp_path):
    process, pipe = holder((0, 2))
    assert not pipe.poll(0)
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    assert list(tmp_path.iterdir())
    for share in ((0, 1), (0, 2)):
        with extracting(tmp_path, share):
            pass
    assert not list(tmp_path.iterdir())


def test_an_exception_frees_it(tmp_path):
    with pytest.raises(ZeroDivisionError), extracting(tmp_path, (0, 1)):
        raise ZeroDivisionError
    with extracting(tmp_path, (0, 1)), pytest.raises(CacheError, match="another run"), extracting(tmp_path, (0, 1)):
        pytest.fail("both are in")  # nor may one process do it twice


def test_planning_leaves_no_file(tmp_path):
    with planning(tmp_path):
        pass
    assert not list(tmp_path.iterdir())
