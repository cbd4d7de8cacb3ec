"""What a second process brings to an extraction: poses, which Python parses, and hand features, where a network computes."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from itertools import islice
from multiprocessing import get_context
from pathlib import Path

import numpy as np

from suite.figures import Figure, Settings, median_figure, ratio_figure
from suite.skeleton_parsing import clip_names, write_skeletons
from suite.tree_memory import TreeMemory

FILES = 20
"""Different skeleton files; more clips are links to them."""
SHARDS = 12
"""Of a cache; the second half of them is timed."""


@dataclass(frozen=True)
class Work:
    """How much is extracted. Clips are multiples of `SHARDS`; `size` is that of the network's images."""

    pose_clips: int
    hand_clips: int
    hand_frames: int
    sensor: str
    size: int
    repetitions: int


FULL, QUICK = Work(1200, 12, 20, "inception_v3", 299, 2), Work(120, 12, 4, "resnet50", 64, 1)


@dataclass(frozen=True)
class Run:
    """One extraction: clips per second once all is under way, seconds until the first shard, peak of all memory in bytes."""

    rate: float
    first: float
    bytes: int | None


def measure(settings: Settings) -> list[Figure]:
    """Rates of extractions by 1 and 2 processes, in turns, seconds until the first shard, memory of all processes together.

    Poses: files of 70 frames of one body. Hand features: 1920x1080 videos, Inception V3 (quick: a small ResNet-50) with random
    weights, which one process already runs on all cores. Each extraction begins in a new process that has loaded the libraries,
    so that none finds the memory of another. The rate is that of the second half of the shards, when all processes are at work.
    """
    work = QUICK if settings.quick else FULL
    folder = settings.folder
    _write_pose_files(folder / "poses", work.pose_clips)
    _write_clips(folder / "clips", work.hand_clips, work.hand_frames)
    network = folder / "network.weights.h5"
    _apart(_save_network, network, work)
    _apart(extract_poses, folder / "clips", folder / "clip-poses", 1)
    jobs = {
        "poses": lambda out, workers: _apart(extract_poses, folder / "poses", out, workers),
        "hand features": lambda out, workers: _apart(
            extract_hands, folder / "clips", folder / "clip-poses", out, network, work, workers
        ),
    }
    figures = []
    for kind, job in jobs.items():
        runs: dict[int, list[Run]] = {1: [], 2: []}
        for repetition in range(work.repetitions):
            for workers in (1, 2) if repetition % 2 == 0 else (2, 1):
                runs[workers].append(job(folder / "out", workers))
                shutil.rmtree(folder / "out")
        figures += _figures(kind, runs)
    return figures


def extract_poses(root: Path, out: Path, workers: int) -> Run:
    """The pose cache of all files below a folder."""
    from keras_actrec.datasets.ntu import NTURGBD
    from keras_actrec.extraction.poses import extract_poses

    dataset = NTURGBD(root, modality="skeleton")
    shard = -(-len(dataset.records) // SHARDS)
    return _run(out, shard, lambda: extract_poses(dataset, out, workers=workers, clips_per_shard=shard, progress=False))


def extract_hands(root: Path, poses: Path, out: Path, network: Path, work: Work, workers: int) -> Run:
    """The hand-feature cache of all clips below a folder."""
    from keras_actrec.backbones.sensors import SensorConfig
    from keras_actrec.datasets.ntu import NTURGBD
    from keras_actrec.extraction.hand_features import extract_hand_features

    dataset, sensor = NTURGBD(root), SensorConfig(work.sensor, str(network), work.size)
    shard = -(-len(dataset.records) // SHARDS)
    batch = 2 * work.hand_frames * shard  # a shard is one batch, without padding
    return _run(
        out,
        shard,
        lambda: extract_hand_features(
            dataset, poses, out, sensor=sensor, workers=workers, clips_per_shard=shard, batch_size=batch, progress=False
        ),
    )


def _run(out: Path, clips_per_shard: int, extraction: Callable[[], object]) -> Run:
    """What an extraction into `out` took, by the times at which its shards were written."""
    with TreeMemory() as memory:
        start = time.time()  # the clock of the files' times
        extraction()
    ends = sorted(shard.stat().st_mtime for shard in out.glob("*.h5"))
    middle = len(ends) // 2
    rate = (len(ends) - middle) * clips_per_shard / (ends[-1] - ends[middle - 1])
    return Run(rate, ends[0] - start, memory.peak)


def _figures(kind: str, runs: dict[int, list[Run]]) -> list[Figure]:
    rates = {workers: [run.rate for run in done] for workers, done in runs.items()}
    figures = [median_figure(f"processes: {kind}, {workers}", rate, "clips/s") for workers, rate in rates.items()]
    figures.append(ratio_figure(f"processes: {kind}, 2 against 1", rates[2], rates[1]))
    for workers, done in runs.items():
        figures.append(median_figure(f"processes: {kind}, {workers}, until the first shard", [run.first for run in done], "s"))
    for workers, done in runs.items():
        if peaks := [run.bytes / 1e6 for run in done if run.bytes is not None]:
            figures.append(median_figure(f"processes: {kind}, {workers}, memory of all", peaks, "MB"))
    return figures


def _apart(function: Callable, *arguments: object) -> Run | None:
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(function, *arguments).result()


def _write_pose_files(folder: Path, clips: int) -> None:
    folder.mkdir()
    files = write_skeletons(folder, FILES)
    for position, name in enumerate(islice(clip_names(), clips)):
        if position >= FILES:
            os.link(files[position % FILES], folder / f"{name}.skeleton")


def _write_clips(folder: Path, clips: int, frames: int) -> None:
    """Skeletons, and links to one video of a moving pattern."""
    from keras_actrec.video.write import write_video

    folder.mkdir()
    files = write_skeletons(folder, clips, frames=frames)
    draw = np.random.default_rng(0)
    pattern = np.kron(draw.integers(40, 200, (34, 61, 3)), np.ones((32, 32, 1))).astype(np.uint8)
    video = folder / "video.avi"
    write_video(video, (pattern[frame % 8 :][:1080, frame % 32 :][:, :1920] for frame in range(frames)), 30)
    for file in files:
        os.link(video, file.with_name(f"{file.stem}_rgb.avi"))
    video.unlink()


def _save_network(path: Path, work: Work) -> None:
    """The extractions load random weights from a file: drawing them takes longer than all else."""
    from keras_actrec.backbones.sensors import SensorConfig, build_sensor

    build_sensor(SensorConfig(work.sensor, "random", work.size)).save_weights(path)
