"""Worker processes that write whole shards, dealt out one by one; a dead worker costs its shard and nothing else."""

from __future__ import annotations

import multiprocessing
import os
import signal
import traceback
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait

from keras_actrec.errors import ActrecError, CacheError
from keras_actrec.extraction.ray_cluster import RayCluster
from keras_actrec.extraction.ray_shards import run_on_cluster
from keras_actrec.extraction.shard_job import ShardJob, ShardResult, Tick

Workers = int | RayCluster
"""Who writes the shards: this process (1), so many processes of this machine, or workers on a Ray cluster."""


def in_this_process(workers: Workers) -> bool:
    """Whether the process that calls writes the shards itself."""
    return workers == 1


def available_cores() -> int:
    """Cores that this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def limit_threads(threads: int) -> None:
    """Keeps a worker process to its share of the cores."""
    import cv2
    import tensorflow as tf

    cv2.setNumThreads(1)
    tf.config.threading.set_intra_op_parallelism_threads(threads)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    share_gpus()


def share_gpus() -> None:
    """Several processes fit on a GPU if none of them takes all of its memory at once, which is TensorFlow's default."""
    import tensorflow as tf

    for device in tf.config.list_physical_devices("GPU"):
        with suppress(RuntimeError):  # already in use by this process: too late to change
            tf.config.experimental.set_memory_growth(device, True)


def run_shards(job: ShardJob, shards: Sequence[int], *, workers: Workers, tick: Tick) -> list[ShardResult]:
    """Writes shards, in this process (workers=1), in several, or on a Ray cluster.

    Raises:
        ActrecError: raised by the job for a reason that concerns more than one clip (disk full, weights); all stop.
        RuntimeError: an unexpected exception in a worker, with its traceback.
        CacheError: a worker process died; the other shards were finished first. On a cluster see `run_on_cluster`.
        ConfigError: the cluster cannot be had.
    """
    if not shards:
        return []
    if isinstance(workers, RayCluster):
        return run_on_cluster(job, shards, workers, tick)
    if in_this_process(workers):
        write = job.open(None)
        return [write(shard, tick) for shard in shards]
    return _Pool(job, shards, min(workers, len(shards)), tick).run()


@dataclass
class _Worker:
    process: multiprocessing.process.BaseProcess
    connection: Connection
    shard: int | None = None


class _Pool:
    """The parent's side. Each worker has a pipe of its own: a queue shared by all could be left locked by a killed one."""

    def __init__(self, job: ShardJob, shards: Sequence[int], count: int, tick: Tick):
        self._waiting, self._tick = list(shards), tick
        self._results: list[ShardResult] = []
        self._lost: list[tuple[int, int | None]] = []
        self._workers: list[_Worker] = []
        self._job, self._count = job, count

    def run(self) -> list[ShardResult]:
        try:
            self._start()
            for worker in self._workers:
                self._deal(worker)
            while active := [worker for worker in self._workers if worker.shard is not None]:
                self._listen(active)
        finally:
            self._stop()
        if self._lost:
            self._report_lost()
        return sorted(self._results, key=lambda result: result.shard)

    def _start(self) -> None:
        context = multiprocessing.get_context("spawn")
        threads = max(1, available_cores() // self._count)
        for _ in range(self._count):
            ours, theirs = context.Pipe()
            process = context.Process(target=_work, args=(self._job, theirs, threads), daemon=True)
            process.start()
            theirs.close()
            self._workers.append(_Worker(process, ours))

    def _deal(self, worker: _Worker) -> None:
        worker.shard = self._waiting.pop(0) if self._waiting else None
        try:
            worker.connection.send(worker.shard)
        except OSError:
            self._bury(worker)

    def _listen(self, active: list[_Worker]) -> None:
        by_connection = {worker.connection: worker for worker in active}
        for connection in wait(list(by_connection)):
            worker = by_connection[connection]
            try:
                kind, value = connection.recv()
            except (EOFError, OSError):
                self._bury(worker)
                continue
            if kind == "tick":
                self._tick(value)
            elif kind == "done":
                self._results.append(value)
                self._deal(worker)
            elif kind == "failed":
                raise value
            else:
                raise RuntimeError(f"a worker process failed unexpectedly:\n{value}")

    def _bury(self, worker: _Worker) -> None:
        worker.process.join(timeout=5)
        if worker.shard is not None:
            self._lost.append((worker.shard, worker.process.exitcode))
        worker.shard = None

    def _stop(self) -> None:
        for worker in self._workers:
            worker.connection.close()
            if worker.shard is not None:
                worker.process.terminate()
        for worker in self._workers:
            worker.process.join(timeout=10)
            if worker.process.is_alive():
                worker.process.kill()
                worker.process.join()

    def _report_lost(self) -> None:
        ends = ", ".join(f"shard {shard} ({_how_it_ended(code)})" for shard, code in self._lost)
        never = f"; {len(self._waiting)} shards were not begun" if self._waiting else ""
        raise CacheError(
            f"worker processes died: {ends}{never}",
            fix="run the same command again, it goes on from here; with fewer --workers if memory ran out",
        )


def _how_it_ended(code: int | None) -> str:
    if code is not None and code < 0:
        return f"killed by signal {signal.Signals(-code).name}"
    return f"exit code {code}"


def _work(job: ShardJob, connection: Connection, threads: int) -> None:
    """A worker's life: takes shard numbers from the pipe until None comes or the parent is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the parent, which stops the workers
    signal.signal(signal.SIGTERM, _leave)
    try:
        write = job.open(threads)
        for shard in _shards_from(connection):
            result = write(shard, lambda clips: connection.send(("tick", clips)))
            connection.send(("done", result))
    except (EOFError, BrokenPipeError, ConnectionResetError):
        return
    except ActrecError as error:
        connection.send(("failed", error))
    except Exception:
        connection.send(("crashed", traceback.format_exc()))


def _leave(*_) -> None:
    raise SystemExit(1)  # unwinds the shard writer, which removes its unfinished file


def _shards_from(connection: Connection) -> Iterator[int]:
    while (shard := connection.recv()) is not None:
        yield shard
