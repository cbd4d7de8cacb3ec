"""Two processes extract into one cache at once: the second is told so, or they share the work; the result is that of one."""

from __future__ import annotations

import subprocess
import sys
import time

import pytest

from keras_actrec.cache.schema import load_index
from keras_actrec.cache.verify import verify_cache
from keras_actrec.datasets.ntu import NTURGBD
from keras_actrec.extraction.poses import extract_poses
from tests.extraction.small import write_clip
from tests.faults.test_damaged_shards import content, shards

CLIPS = 6
RUN = """
import sys, time
from pathlib import Path
from keras_actrec.datasets.ntu import NTURGBD
from keras_actrec.errors import CacheError
from keras_actrec.extraction import poses

root, directory, ready, go, mine, share = sys.argv[1:]
data = NTURGBD(root)
if mine:
    data.records = tuple(record for record in data.records if record.clip_id[-1] in mine)
load = data.load_skeleton
data.load_skeleton = lambda record: (time.sleep(0.2), load(record))[1]
Path(ready).touch()
while not Path(go).exists():
    time.sleep(0.01)
try:
    print(poses.extract_poses(data, directory, clips_per_shard=1, share=tuple(map(int, share.split("/")))).done)
except CacheError as error:
    print(f"told: {error}")
"""


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    root = tmp_path_factory.mktemp("ntu")
    for action in range(1, CLIPS + 1):
        write_clip(root, action, length=5)
    return root


@pytest.fixture(scope="module")
def alone(root, tmp_path_factory):
    """The cache of one process."""
    directory = tmp_path_factory.mktemp("alone")
    extract_poses(NTURGBD(root), directory, clips_per_shard=1)
    return directory


def run_two(root, place, *, mine=("", ""), shares=("0/1", "0/1")):
    """What each of two processes printed that began at the same moment."""
    processes = []
    for number in (0, 1):
        arguments = [root, place / "cache", place / f"ready{number}", place / "go", mine[number], shares[number]]
        command = [sys.executable, "-c", RUN, *map(str, arguments)]
        processes.append(subprocess.Popen(command, stdout=subprocess.PIPE, text=True))
    try:
        for _ in range(6000):
            if all((place / f"ready{number}").exists() for number in (0, 1)):
                break
            time.sleep(0.01)
        (place / "go").touch()
        return [process.communicate(timeout=120)[0].strip() for process in processes]
    finally:
        for process in processes:
            process.kill()
            process.wait()


def check_same(directory, alone):
    assert verify_cache(directory).ok
    assert {path.name: content(path) for path in shards(directory)} == {path.name: content(path) for path in shards(alone)}
    assert not list(directory.glob("*.part")) and not list(directory.glob("*.lock"))


def test_the_second_is_told_and_the_cache_is_that_of_one(root, alone, tmp_path):
    told, done = sorted(run_two(root, tmp_path), key=lambda text: not text.startswith("told"))
    assert told.startswith("told: ") and "another run is writing this cache (found process" in told
    assert done == str(CLIPS)
    check_same(tmp_path / "cache", alone)


def test_shares_are_written_at_the_same_time(root, alone, tmp_path):
    assert run_two(root, tmp_path, shares=("0/2", "1/2")) == [str(CLIPS // 2)] * 2
    check_same(tmp_path / "cache", alone)


def test_plans_of_different_clips_do_not_replace_each_other(root, tmp_path):
    done = run_two(root, tmp_path, mine=("123", "456"))
    index = load_index(tmp_path / "cache")
    assert sorted(clip for clips in index.shards for clip in clips) == [f"S001C001P001R001A00{n}" for n in range(1, CLIPS + 1)]
    assert {text for text in done if not text.startswith("told")} <= {"3"} and "3" in done
    extract_poses(NTURGBD(root), tmp_path / "cache")
    assert verify_cache(tmp_path / "cache").ok
