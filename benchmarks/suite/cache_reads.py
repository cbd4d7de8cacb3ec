"""How many random sub-sequences of 20 frames a process reads from caches per second, cold and warm, and the RAM it holds."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np

from suite.figures import Figure, Settings, in_turns, rate_figure
from suite.made_caches import drop_from_page_cache, make_caches, open_source

CLIPS, BATCH = 512, 64
ROUNDS = 5


def measure(settings: Settings) -> list[Figure]:
    """An epoch is one random sub-sequence of each clip, pose tensor and hand features, in batches of 64 and a random order.

    Cold: nothing of the shards is in the page cache (POSIX_FADV_DONTNEED) and the source is new: the first epoch of a process.
    What a disk or a host caches by itself stays. Warm: a later epoch; the page cache holds the shards, the source the joints.
    Read by `training_batch` in one thread, and through `training_dataset` where TensorFlow is installed. RAM held is what the
    process has grown by after all epochs in one thread, without the page cache.
    """
    clips, rounds = (256, 3) if settings.quick else (CLIPS, ROUNDS)
    make_caches(settings.folder, clips)
    held = resident_bytes()
    figures = _figures("one thread", settings.folder, clips, rounds, _epoch)
    held = resident_bytes() - held
    try:
        figures += _figures("tf.data", settings.folder, clips, rounds, _epoch_of_dataset)
    except ModuleNotFoundError as error:
        if error.name != "tensorflow":
            raise
    return [*figures, Figure("cache_reads: RAM held", held / 1e6, "MB")]


def resident_bytes() -> int:
    """Memory of this process that no file is behind (RssAnon)."""
    return int(re.search(r"RssAnon:\s+(\d+) kB", Path("/proc/self/status").read_text())[1]) * 1024


def _figures(how: str, folder: Path, clips: int, rounds: int, epoch: Callable) -> list[Figure]:
    warm_source = open_source(folder)
    epoch(warm_source, 0)
    seconds: dict[str, list[float]] = {"cold": [], "warm": []}
    for turn in range(1, rounds + 1):
        cold_source = open_source(folder)
        drop_from_page_cache(folder)
        # Always this order: it is the cold turn that brings the shards back for the warm one.
        times = in_turns({"cold": lambda s=cold_source: epoch(s, 0), "warm": lambda t=turn: epoch(warm_source, t)}, 1)
        seconds = {name: [*seconds[name], *times[name]] for name in seconds}
    return [rate_figure(f"cache_reads: {how}, {name}", clips, times, "sub-sequences/s") for name, times in seconds.items()]


def _epoch(source, epoch: int) -> None:
    rng = np.random.default_rng((0, epoch))
    order = rng.permutation(len(source.clip_ids)).tolist()
    for start in range(0, len(order), BATCH):
        clips = [source.clip_ids[clip] for clip in order[start : start + BATCH]]
        source.training_batch(clips, rng.random((len(clips), source.draws)))


def _epoch_of_dataset(source, epoch: int) -> None:
    from keras_actrec.pipelines.tf_data import training_dataset

    for _ in training_dataset(source, source.clip_ids, batch_size=BATCH, seed=0, first_epoch=epoch, epochs=epoch + 1):
        pass
