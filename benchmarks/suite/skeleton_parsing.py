"""How many NTU `.skeleton` files one process reads in a second, from the page cache."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from keras_actrec.datasets.ntu_skeleton import read_ntu_skeleton, write_ntu_skeleton
from keras_actrec.skeletons.layout import KINECT_V2
from keras_actrec.skeletons.sequence import SkeletonSequence
from suite.figures import Figure, Settings, in_turns, rate_figure

FRAMES = 70


def measure(settings: Settings) -> list[Figure]:
    """Made files of 70 frames, of one body and of two; all of a kind are read once per repetition, the kinds in turns."""
    files, repetitions = (20, 3) if settings.quick else (50, 15)
    kinds = {}
    for bodies, text in ((1, "one body"), (2, "two bodies")):
        folder = settings.folder / str(bodies)
        folder.mkdir()
        kinds[text] = write_skeletons(folder, files, bodies=bodies)
    readers = {text: lambda paths=paths: [read_ntu_skeleton(path) for path in paths] for text, paths in kinds.items()}
    seconds = in_turns(readers, repetitions, warm_up=1)  # which fills the page cache
    return [rate_figure(f"skeleton_parsing: {text}", files, each, "files/s") for text, each in seconds.items()]


def clip_names() -> Iterator[str]:
    """2,880 names that NTU RGB+D knows: its first setup."""
    for action, replication, subject, camera in itertools.product(range(1, 61), (1, 2), range(1, 9), (1, 2, 3)):
        yield f"S001C{camera:03d}P{subject:03d}R{replication:03d}A{action:03d}"


def write_skeletons(folder: Path, files: int, *, bodies: int = 1, frames: int = FRAMES, seed: int = 0) -> list[Path]:
    """Writes made files with as many digits in every column as the data set's own, and returns their paths."""
    draw = np.random.default_rng(seed)
    paths = [folder / f"{name}.skeleton" for name in itertools.islice(clip_names(), files)]
    for path in paths:
        joints = draw.normal((0, 0, 3), 0.5, (frames, bodies, 25, 3)).astype(np.float32)
        pixels = draw.uniform(0, (1920, 1080), (frames, bodies, 25, 2)).astype(np.float32)
        write_ntu_skeleton(path, SkeletonSequence(joints, KINECT_V2, pixels))
        # The writer leaves orientation and depth pixels at 0, which parses faster than real numbers.
        text = path.read_bytes().replace(b" 0 0 0 0 2\r\n", b" -0.2059419 0.05349901 0.9692109 -0.1239193 2\r\n")
        path.write_bytes(text.replace(b" 0 0 ", b" 277.4192 191.8218 "))
    return paths
