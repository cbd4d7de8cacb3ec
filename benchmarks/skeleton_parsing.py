"""Measures how many NTU `.skeleton` files one process reads in a second, from the page cache."""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from keras_actrec.datasets.ntu_skeleton import read_ntu_skeleton, write_ntu_skeleton
from keras_actrec.skeletons.layout import KINECT_V2
from keras_actrec.skeletons.sequence import SkeletonSequence

NTU60_FILES = 56_880


def write_clips(folder: Path, clips: int, frames: int, bodies: int, seed: int = 0) -> None:
    """Writes clips with as many digits in every column as the data set's own."""
    draw = np.random.default_rng(seed)
    for clip in range(clips):
        joints = draw.normal((0, 0, 3), 0.5, (frames, bodies, 25, 3)).astype(np.float32)
        pixels = draw.uniform(0, (1920, 1080), (frames, bodies, 25, 2)).astype(np.float32)
        sequence = SkeletonSequence(joints, KINECT_V2, pixels)
        path = folder / f"S001C001P001R001A{clip + 1:03d}.skeleton"
        write_ntu_skeleton(path, sequence)
        # The writer leaves orientation and depth pixels at 0, which parses faster than real numbers.
        text = path.read_bytes().replace(b" 0 0 0 0 2\r\n", b" -0.2059419 0.05349901 0.9692109 -0.1239193 2\r\n")
        path.write_bytes(text.replace(b" 0 0 ", b" 277.4192 191.8218 "))


def measure(files: list[Path], seconds: float) -> tuple[float, float]:
    """Reads the files round after round; returns files per second and frames per file of the best round."""
    frames = [read_ntu_skeleton(file).length for file in files]  # This round only fills the page cache.
    best, end = 0.0, time.perf_counter() + seconds
    while time.perf_counter() < end or not best:
        start = time.perf_counter()
        for file in files:
            read_ntu_skeleton(file)
        best = max(best, len(files) / (time.perf_counter() - start))
    return best, float(np.mean(frames))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", nargs="?", type=Path, help="folder with .skeleton files (default: generated ones)")
    parser.add_argument("--clips", type=int, default=50, help="generated files (default: %(default)s)")
    parser.add_argument("--frames", type=int, default=70, help="frames per generated file (default: %(default)s)")
    parser.add_argument("--bodies", type=int, default=1, help="bodies per frame of a generated file (default: %(default)s)")
    parser.add_argument("--seconds", type=float, default=5.0, help="time to measure for (default: %(default)s)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = options.folder or Path(scratch)
        if options.folder is None:
            write_clips(folder, options.clips, options.frames, options.bodies)
        files = sorted(folder.rglob("*.skeleton"))
        if not files:
            parser.error(f"no .skeleton file in {folder}")
        rate, frames = measure(files, options.seconds)
    minutes = NTU60_FILES / rate / 60
    print(f"{rate:.0f} files/s of {frames:.0f} frames in one process: NTU-60 in {minutes:.1f} minutes", file=sys.stderr)
    print(json.dumps({"name": "skeleton_parsing", "value": round(rate, 1), "unit": "files/s"}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
