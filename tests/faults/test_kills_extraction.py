"""SIGKILL at random instants of an extraction: what has a final name is whole, and the next run ends as if nothing had been."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest

from keras_actrec.cache import disk
from keras_actrec.cache.schema import load_index
from keras_actrec.cache.verify import verify_cache
from tests.faults.cache_kinds import KINDS, files, left_over, write_data
from tests.faults.kills import Life, Note, kill, noted

CLIPS, SHARDS = 5, 3
COUNTS = {"poses": 50, "hand_features": 50}
FEWER = 8


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return write_data(tmp_path_factory.mktemp("data"), clips=CLIPS)


def run(kind: str, place: Path, directory: Path, note: Note) -> None:
    """What is killed. Every write of a shard is a step, too: most of them are in the middle of HDF5's work."""
    noted(note, disk.SafeFile, "write", "sync")
    KINDS[kind](place, directory)


def survive(kind: str, place: Path, tmp_path: Path, *, count: int, seed: int) -> None:
    extract, whole = KINDS[kind], tmp_path / "whole"
    extract(place, whole)
    expected, index = files(whole), load_index(whole)
    assert len(list(whole.glob("*.h5"))) == SHARDS and verify_cache(whole).ok
    shards_left: set[int] = set()

    def check(directory: Path, life: Life) -> None:
        assert all(value == expected[name] for name, value in files(directory).items())
        if (directory / "index.json").exists():
            assert load_index(directory) == index
            assert all(problem.missing for problem in verify_cache(directory).problems)
        there = len(list(directory.glob("*.h5")))
        shards_left.add(there)
        report = extract(place, directory)
        assert report.done + report.skipped == CLIPS and not report.left_out and not report.notes
        assert files(directory) == expected and verify_cache(directory).ok
        # A whole cache is not written to: killed at its very end, a run leaves its lock, which nobody holds, beside it.
        assert not left_over(directory) or (there == SHARDS and left_over(directory) == ["index.json.0-of-1.lock"])

    lives = kill(partial(run, kind, place), tmp_path / "killed", count=count, seed=seed, check=check)
    assert len(lives) == count
    assert shards_left >= set(range(SHARDS)), f"kills fell when {sorted(shards_left)} shards were whole"
    assert len({len(life.steps) for life in lives}) > count // 3, [life.where for life in lives]


@pytest.mark.parametrize("kind", KINDS)
def test_kills(kind, place, tmp_path):
    survive(kind, place, tmp_path, count=COUNTS.get(kind, FEWER), seed=7)


@pytest.mark.slow
@pytest.mark.parametrize("kind", sorted(KINDS.keys() - COUNTS.keys()))
def test_fifty_kills(kind, place, tmp_path):
    survive(kind, place, tmp_path, count=50, seed=8)
