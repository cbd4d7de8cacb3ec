"""One extraction: plan, skip what is there, write what is missing, report."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import h5py

from keras_actrec.cache.lock import extracting
from keras_actrec.cache.reader import HEADER_DAMAGE, CacheReader, ShardHeader, read_header
from keras_actrec.cache.schema import CacheIndex
from keras_actrec.cache.writer import remove_stale_parts
from keras_actrec.datasets.record import LeftOut
from keras_actrec.errors import CacheError, ConfigError
from keras_actrec.extraction.shard_job import ShardJob, ShardResult
from keras_actrec.extraction.workers import Workers, run_shards
from keras_actrec.progress import progress_bar


@dataclass(frozen=True)
class ExtractionReport:
    """What an extraction did.

    Attributes:
        directory: the cache.
        done: clips written in this run.
        skipped: clips that were already there.
        left_out: clips of the cache that are left out, in this run or before, and why.
        crops: crops that went through the network in this run, or were written; or whatever `unit` names.
        seconds: duration of the run.
        notes: remarks on clips written in this run that are worth a look.
        unit: what `crops` counts.
    """

    directory: Path
    done: int
    skipped: int
    left_out: tuple[LeftOut, ...]
    crops: int
    seconds: float
    notes: tuple[str, ...]
    unit: str = "crops"

    @property
    def clips_per_second(self) -> float:
        return self.done / self.seconds if self.seconds > 0 else 0.0

    @property
    def crops_per_second(self) -> float:
        return self.crops / self.seconds if self.seconds > 0 else 0.0

    def __str__(self) -> str:
        lines = [
            f"{self.directory}: {self.done} clips written ({self.clips_per_second:.1f} clips/s), {self.skipped} already there, "
            f"{len(self.left_out)} left out"
        ]
        if self.crops:
            lines.append(f"{self.crops} {self.unit}, {self.crops_per_second:.1f} {self.unit}/s")
        lines += [f"left out: {entry.clip_id}: {entry.reason}" for entry in self.left_out]
        lines += [f"note: {note}" for note in self.notes]
        return "\n".join(lines)


def run_extraction(
    job: ShardJob,
    directory: Path,
    index: CacheIndex,
    clip_ids: Collection[str],
    *,
    title: str,
    workers: Workers = 1,
    progress: bool | None = None,
    share: tuple[int, int] = (0, 1),
    retry_left_out: bool = False,
    unit: str = "crops",
) -> ExtractionReport:
    """Writes the shards of a plan that hold any of `clip_ids` and are not there yet, or do not open any more.

    Damage inside of a shard that opens is found by `cache/verify.py`, which reads every value.

    Args:
        job: writes a shard.
        directory: folder of the cache.
        index: its plan, which covers `clip_ids`.
        clip_ids: clips of this run.
        title: for the progress bar.
        workers: processes; 1 works in this one. Or a Ray cluster, of one machine or several (`extraction/ray_cluster.py`).
        progress: show the bar; None shows it on a terminal only.
        share: (i, n): this run writes every n-th shard from the i-th on; other machines write the others.
        retry_left_out: also write shards anew that left clips out.
        unit: what the job counts, for the report.

    Raises:
        ConfigError: workers or share make no sense; or the cluster cannot be had.
        CacheError: a shard to be written also holds clips that are not in `clip_ids`; another run is writing these shards; or
            a worker died (on a cluster: several times on one shard), or one of a cluster does not see the files.
        DiskFullError: no space left.
    """
    check_run(workers, share)
    asked = set(clip_ids)
    start = time.perf_counter()
    work = _Work(Path(directory), index, asked, share, retry_left_out)
    remove_stale_parts(directory)
    results: Sequence[ShardResult] = ()
    todo, damaged = work.left()
    if todo:  # a whole cache is not touched: it may lie where nothing can be written
        with extracting(Path(directory), share):
            todo, damaged = work.left()  # another run may have ended meanwhile
            total = sum(len(index.shards[shard]) for shard in todo)
            try:
                with progress_bar(total, title, show=progress) as bar:
                    results = run_shards(job, todo, workers=workers, tick=bar.update)
            finally:
                remove_stale_parts(directory)  # of workers that had to be stopped
    seconds = time.perf_counter() - start
    with CacheReader(directory, allow_incomplete=True) as cache:
        there = len(asked.intersection(cache.lengths))
        left_out = tuple(entry for entry in cache.left_out if entry.clip_id in asked)
    done = sum(result.done for result in results)
    crops = sum(result.crops for result in results)
    notes = tuple(
        f"{index.shard_name(shard)} did not read ({damaged[shard]}); written anew" for shard in todo if shard in damaged
    )
    notes += tuple(note for result in results for note in result.notes)
    return ExtractionReport(Path(directory), done, there - done, left_out, crops, seconds, notes, unit)


@dataclass(frozen=True)
class _Work:
    """What a run is asked for; arguments of `run_extraction`."""

    directory: Path
    index: CacheIndex
    clip_ids: set[str]
    share: tuple[int, int]
    retry_left_out: bool

    def left(self) -> tuple[list[int], dict[int, str]]:
        """The shards that are still to be written, and the reasons of those that do not open any more.

        Raises:
            CacheError: one of them also holds clips that are not asked for.
        """
        damaged = _damaged(self.directory, self.index)
        missing = set(self.index.missing(self.directory)) | set(damaged)
        if self.retry_left_out:
            missing |= _with_left_out(self.directory, self.index, damaged)
        wanted = [shard for shard, clips in enumerate(self.index.shards) if not self.clip_ids.isdisjoint(clips)]
        todo = [shard for shard in wanted if shard in missing and shard % self.share[1] == self.share[0]]
        _check_known(self.directory, self.index, todo, self.clip_ids)
        return todo, damaged


def check_run(workers: Workers, share: tuple[int, int]) -> None:
    """Raises ConfigError where the number of processes or the share makes no sense."""
    if isinstance(workers, int) and workers < 1:
        raise ConfigError("at least one worker is needed", found=workers)
    if not 0 <= share[0] < share[1]:
        raise ConfigError("a share is (i, n) with 0 <= i < n", found=share)


def check_clip_seconds(clip_seconds: float | None) -> None:
    """Raises ConfigError where a time limit for a clip is no positive number of seconds, nor None."""
    if clip_seconds is not None and not clip_seconds > 0:
        raise ConfigError("the time that decoding a clip may take is a positive number of seconds", found=clip_seconds)


def _headers(directory: Path, index: CacheIndex) -> Iterator[tuple[int, ShardHeader | Exception]]:
    """Header of each shard that is there, or why it does not read."""
    for shard in sorted(set(range(len(index.shards))) - set(index.missing(directory))):
        try:
            with h5py.File(directory / index.shard_name(shard), "r", locking="best-effort") as file:
                yield shard, read_header(file)
        except HEADER_DAMAGE as error:
            yield shard, error


def _damaged(directory: Path, index: CacheIndex) -> dict[int, str]:
    """Shards that were cut or struck in their heads since they were written, and what HDF5 says to them."""
    headers = _headers(Path(directory), index)
    return {shard: str(error).partition("\n")[0] for shard, error in headers if isinstance(error, Exception)}


def _with_left_out(directory: Path, index: CacheIndex, damaged: Collection[int]) -> set[int]:
    headers = _headers(Path(directory), index)
    return {shard for shard, header in headers if shard not in damaged and header.left_out}


def _check_known(directory: Path, index: CacheIndex, todo: list[int], asked: set[str]) -> None:
    for shard in todo:
        unknown = [clip for clip in index.shards[shard] if clip not in asked]
        if unknown:
            raise CacheError(
                "the plan of this cache holds clips that the data set does not have now",
                file=directory,
                place=index.shard_name(shard),
                found=f"{len(unknown)} such clips, e.g. {unknown[0]}",
                fix="run with the data root that the cache was begun with, or give another folder",
            )
