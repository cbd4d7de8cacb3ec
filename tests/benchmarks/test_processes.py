"""What the rates of extractions by several processes are computed from."""

from __future__ import annotations

import os
import time
from itertools import islice

import pytest
from suite import processes
from suite.skeleton_parsing import clip_names

from keras_actrec.cache.reader import PoseCache


def test_the_rate_is_that_of_the_second_half_of_the_shards(tmp_path):
    now = time.time()

    def extraction():
        # A slow start, then 6 shards of 5 clips in the 3 seconds from the 6th to the 12th.
        for shard, seconds in enumerate((10, 20, 30, 40, 50, 60, 60.5, 61, 61.5, 62, 62.5, 63)):
            path = tmp_path / f"shard-{shard}.h5"
            path.touch()
            os.utime(path, (now + seconds, now + seconds))
        (tmp_path / "index.json").touch()

    run = processes._run(tmp_path, 5, extraction)
    assert run.rate == pytest.approx(30 / 3, rel=1e-4)
    assert run.first == pytest.approx(10, abs=1)


def test_more_clips_than_files_are_links_and_all_are_extracted(tmp_path, monkeypatch):
    monkeypatch.setattr(processes, "FILES", 2)
    processes._write_pose_files(tmp_path / "ntu", 12)
    files = sorted((tmp_path / "ntu").iterdir())
    assert [file.stem for file in files] == sorted(islice(clip_names(), 12))
    assert len({file.stat().st_ino for file in files}) == 2
    run = processes.extract_poses(tmp_path / "ntu", tmp_path / "out", 1)
    assert run.rate > 0 and run.first > 0
    assert len(list((tmp_path / "out").glob("*.h5"))) == processes.SHARDS
    with PoseCache(tmp_path / "out") as cache:
        assert len(cache.clip_ids) == 12


def test_figures_of_both_numbers_of_processes():
    runs = {
        1: [processes.Run(10.0, 1.0, 200_000_000), processes.Run(8.0, 3.0, 100_000_000)],
        2: [processes.Run(15.0, 2.0, None), processes.Run(16.0, 2.0, None)],
    }
    figures = {figure.name: (figure.value, figure.unit) for figure in processes._figures("poses", runs)}
    assert figures == {
        "processes: poses, 1": (9.0, "clips/s"),
        "processes: poses, 2": (15.5, "clips/s"),
        "processes: poses, 2 against 1": (1.75, "ratio"),  # of the pairs 15 / 10 and 16 / 8
        "processes: poses, 1, until the first shard": (2.0, "s"),
        "processes: poses, 2, until the first shard": (2.0, "s"),
        "processes: poses, 1, memory of all": (150.0, "MB"),  # the system told nothing of the others
    }
