"""The script that computes optical flow: its arguments reach the cache, with poses and without, and errors are one line."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from keras_actrec.cache.flow import FlowCache
from keras_actrec.datasets.jhmdb import JHMDB_CLASSES
from keras_actrec.datasets.ntu import NTURGBD
from keras_actrec.extraction.poses import extract_poses
from keras_actrec.video.optical_flow import FlowConfig
from keras_actrec.video.write import write_video
from tests.extraction.small import clip_name, frames, write_clip

REPOSITORY = Path(__file__).resolve().parents[2]
SETTINGS = ("--preset", "fast", "--bound", 12, "--height", 32, "--width", 48)


def run(*arguments) -> subprocess.CompletedProcess:
    command = [sys.executable, REPOSITORY / "preprocessing" / "extract_flow.py", *arguments]
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    return subprocess.run([*map(str, command)], capture_output=True, text=True, check=False, env=environment, timeout=300)


def test_arguments_reach_the_cache(tmp_path):
    write_clip(tmp_path / "ntu", 1, length=6, video_length=8)
    extract_poses(NTURGBD(tmp_path / "ntu"), tmp_path / "poses")
    place = ("--dataset", "ntu_rgbd", "--data-root", tmp_path / "ntu", "--pose-cache", tmp_path / "poses")
    done = run(*place, "--out", tmp_path / "flow", *SETTINGS, "--no-progress")
    assert done.returncode == 0, done.stderr
    assert "1 clips written" in done.stdout and "6 frames" in done.stdout
    with FlowCache(tmp_path / "flow") as cache:
        assert dict(cache.lengths) == {clip_name(1): 6}
        assert cache.flow_config == FlowConfig("dis", (32, 48), 12.0, "fast")
    done = run(*place, "--out", tmp_path / "flow")
    assert done.returncode == 1 and "Traceback" not in done.stderr
    assert "error: " in done.stderr and "bound: found 12.0, expected 20.0" in done.stderr


def test_videos_without_joints(tmp_path):
    """JHMDB with the videos of three clips and nothing else."""
    root = tmp_path / "jhmdb"
    (root / "splits").mkdir(parents=True)
    for action in JHMDB_CLASSES:
        for split in (1, 2, 3):
            (root / "splits" / f"{action}_test_split{split}.txt").write_text(f"{action}_1.avi 1\n{action}_2.avi 2\n")
    for name in ("catch_1", "catch_2", "golf_2"):
        video = root / "ReCompress_Videos" / name[:-2] / f"{name}.avi"
        video.parent.mkdir(parents=True, exist_ok=True)
        write_video(video, frames(3, 0), 30)
    done = run("--dataset", "jhmdb", "--data-root", root, "--cache", tmp_path / "flow", *SETTINGS)
    assert done.returncode == 0, done.stderr
    with FlowCache(tmp_path / "flow") as cache:
        assert dict(cache.lengths) == {"catch_1": 3, "catch_2": 3, "golf_2": 3} and cache.options.dataset == "jhmdb"
