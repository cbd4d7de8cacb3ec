"""A small data set in NTU's own formats, and shard jobs that misbehave."""

from __future__ import annotations

import os
import signal
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from keras_actrec.datasets.ntu_skeleton import write_ntu_skeleton
from keras_actrec.extraction.shard_job import ShardResult
from keras_actrec.skeletons.layout import KINECT_V2
from keras_actrec.skeletons.sequence import SkeletonSequence
from keras_actrec.video.write import write_video

WIDTH, HEIGHT = 160, 120


def clip_name(action: int) -> str:
    return f"S001C001P001R001A{action:03d}"


def skeleton(length: int, people: int, seed: int) -> SkeletonSequence:
    """People with random, moving joints of a plausible size; pixels inside the small frame."""
    rng = np.random.default_rng(seed)
    shape = (length, people, 25)
    base = rng.uniform((-0.3, -0.9, 2.9), (0.3, 0.9, 3.1), (1, people, 25, 3))
    joints = base + np.cumsum(rng.normal(0, 0.03, (*shape, 3)), axis=0)
    pixels = rng.uniform((0, 0), (WIDTH, HEIGHT), (*shape, 2))
    return SkeletonSequence(
        joints.astype(np.float32),
        KINECT_V2,
        pixels.astype(np.float32),
        np.full(shape, 2, np.uint8),
        tuple(range(1, people + 1)),
    )


def frames(length: int, seed: int):
    rng = np.random.default_rng(seed)
    for _ in range(length):
        yield np.kron(rng.integers(0, 256, (6, 8, 3)), np.ones((20, 20, 1))).astype(np.uint8)


def write_clip(root: Path, action: int, *, length: int = 14, people: int = 1, video_length: int | None = None) -> None:
    root.mkdir(parents=True, exist_ok=True)
    write_ntu_skeleton(root / f"{clip_name(action)}.skeleton", skeleton(length, people, action))
    write_video(root / f"{clip_name(action)}_rgb.avi", frames(video_length or length, action), 30)


@dataclass(frozen=True)
class WriteNumbers:
    """Writes a file per shard, with the misbehaviour asked for in one of them."""

    directory: str
    odd: int = -1
    how: str = ""
    read: tuple[Path, ...] = ()

    def reads(self):
        return self.read

    def open(self, threads):
        return self._write

    def _write(self, shard, tick):
        if shard == self.odd and self.how == "killed":
            os.kill(os.getpid(), signal.SIGKILL)
        if shard == self.odd and self.how == "bug":
            raise ZeroDivisionError("a bug in the job")
        Path(self.directory, str(shard)).write_text("done")
        tick(1)
        return ShardResult(shard, 1)
