"""Worker processes: all shards once, and what happens when one dies."""

from __future__ import annotations

import pytest

from keras_actrec.errors import CacheError
from keras_actrec.extraction.workers import run_shards
from tests.extraction.small import WriteNumbers


def written(directory):
    return sorted(int(path.name) for path in directory.iterdir())


@pytest.mark.parametrize("workers", [1, 2])
def test_every_shard_once(tmp_path, workers):
    ticks = []
    results = run_shards(WriteNumbers(str(tmp_path)), [4, 2, 7, 1], workers=workers, tick=ticks.append)
    assert written(tmp_path) == [1, 2, 4, 7]
    assert sorted(result.shard for result in results) == [1, 2, 4, 7]
    assert sum(ticks) == 4


def test_a_killed_worker_costs_its_shard_only(tmp_path):
    with pytest.raises(CacheError, match=r"shard 1 \(killed by signal SIGKILL\).*same command again"):
        run_shards(WriteNumbers(str(tmp_path), odd=1, how="killed"), range(5), workers=2, tick=lambda clips: None)
    assert written(tmp_path) == [0, 2, 3, 4]


def test_a_bug_surfaces_with_its_traceback(tmp_path):
    job = WriteNumbers(str(tmp_path), odd=0, how="bug")
    with pytest.raises(RuntimeError, match=r"(?s)Traceback.*in _write.*ZeroDivisionError: a bug in the job"):
        run_shards(job, range(2), workers=2, tick=lambda clips: None)
    with pytest.raises(ZeroDivisionError, match="a bug in the job"):
        run_shards(job, range(2), workers=1, tick=lambda clips: None)
