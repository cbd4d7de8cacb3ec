"""The script that cuts person clips: its arguments reach the cache, and errors are one line."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from keras_actrec.cache.person_clips import open_person_clips
from keras_actrec.datasets.ntu import NTURGBD
from keras_actrec.extraction.poses import extract_poses
from tests.extraction.small import clip_name, write_clip

REPOSITORY = Path(__file__).resolve().parents[2]


def run(*arguments) -> subprocess.CompletedProcess:
    command = [sys.executable, REPOSITORY / "preprocessing" / "extract_person_clips.py", *arguments]
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    return subprocess.run([*map(str, command)], capture_output=True, text=True, check=False, env=environment, timeout=300)


def test_arguments_reach_the_cache(tmp_path):
    write_clip(tmp_path / "ntu", 1, length=14)
    extract_poses(NTURGBD(tmp_path / "ntu"), tmp_path / "poses")
    place = ("--data-root", tmp_path / "ntu", "--poses", tmp_path / "poses", "--cache", tmp_path / "people")
    settings = ("--size", 40, "--margin", 0.3, "--box", "frame", "--quality", 80, "--storage", "jpeg", "--pixel-size", 160, 120)
    done = run(*place, *settings, "--no-progress")
    assert done.returncode == 0, done.stderr
    assert "1 clips written" in done.stdout and "14 crops" in done.stdout
    with open_person_clips(tmp_path / "people") as clips:
        assert dict(clips.lengths) == {clip_name(1): 14}
        options = {**clips.options.options}
    assert options.pop("cleaning")
    assert options == {
        "size": 40, "margin": 0.3, "box": "frame", "quality": 80, "storage": "jpeg", "pixel_size": [160, 120],
    }  # fmt: skip
    done = run(*place)
    assert done.returncode == 1 and "Traceback" not in done.stderr
    assert "error: " in done.stderr and "size: found 40, expected 224" in done.stderr
