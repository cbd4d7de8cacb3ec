"""Shards on a Ray cluster: dealt out one by one; the shard of a worker that dies is done again by another."""

from __future__ import annotations

import os
import re
import socket
import time
import traceback
import uuid
import warnings
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

from keras_actrec.cache.writer import part_name, remove_parts_of
from keras_actrec.errors import ActrecError, CacheError, ConfigError
from keras_actrec.extraction.ray_cluster import RayCluster, connected
from keras_actrec.extraction.shard_job import ShardJob, ShardResult, Tick
from keras_actrec.files import process_runs
from keras_actrec.version import __version__

_SECONDS_BETWEEN_TICKS = 0.5
_SECONDS_TO_END = 10.0
_SECONDS_TO_SEE = 5.0
_SECONDS_WITHOUT_WORKERS = 60.0
_HANDED_ON = ("KERAS_BACKEND", "TF_CPP_MIN_LOG_LEVEL", "TF_ENABLE_ONEDNN_OPTS")
"""Environment variables that the workers have as this process has them."""


def run_on_cluster(job: ShardJob, shards: Sequence[int], cluster: RayCluster, tick: Tick) -> list[ShardResult]:
    """Writes shards by workers on a Ray cluster, each of which opens the job once.

    Args:
        job: it travels to each machine once.
        shards: to be written.
        cluster: where.
        tick: called with the number of clips done, about twice a second; clips that are done again count once.

    Returns:
        The results in order of shards.

    Raises:
        ActrecError: raised by the job for a reason that concerns more than one clip (disk full, weights); all stop.
        RuntimeError: an unexpected exception in a worker, with its traceback.
        ConfigError: the cluster cannot be had, see `connected`; or one of its machines has another version of this package.
        CacheError: workers died on a shard as often as `cluster.attempts` says, or on their way up, or the cluster itself is
            lost; the other shards were finished first where that was possible. Or a worker does not see a folder.
    """
    if not shards:
        return []
    with connected(cluster, len(shards)) as (ray, count, threads), _marker(job.directory) as marker:
        seen = _Seen(Path(job.directory), marker, tuple(job.reads()))
        try:
            return _Team(ray, job, shards, cluster, tick, count, threads, seen).run()
        except (ray.exceptions.RayError, ConnectionError) as error:
            raise CacheError(
                f"the Ray cluster is lost: {_first_line(error)}", file=job.directory,
                fix="run the same command again, it goes on from here",
            ) from error  # fmt: skip


@contextmanager
def _marker(directory: Path) -> Iterator[Path]:
    """An empty file in the folder to be written: who sees it sees this folder, and not another one of the same name."""
    path = Path(directory) / part_name(f"seen-{uuid.uuid4().hex[:8]}.h5")  # `remove_stale_parts` takes it after a kill
    path.touch()
    try:
        yield path
    finally:
        path.unlink(missing_ok=True)


@dataclass(frozen=True)
class _Place:
    """Where a worker is: the machine, the number of its process there, and the version of this package."""

    host: str
    process: int
    version: str


class _ShardWriter:
    """What runs on the cluster, in a process of its own. Exceptions come back as values: Ray would wrap them in its own."""

    def __init__(self, environment: dict[str, str], folder: str):
        os.environ.update(environment)
        with suppress(OSError):  # paths may be relative; where the folder is not there, `_Seen` says so
            os.chdir(folder)
        self._shard, self._clips = -1, 0

    def place(self) -> _Place:
        return _Place(socket.gethostname(), os.getpid(), __version__)

    def open(self, job: ShardJob, threads: int, seen: _Seen) -> tuple[str, object]:
        try:
            seen.check()
            self._write = job.open(threads)
        except ActrecError as error:
            return "failed", error
        except Exception:
            return "crashed", traceback.format_exc()
        return "ready", None

    def write(self, shard: int) -> tuple[str, object]:
        self._shard, self._clips = shard, 0
        try:
            return "done", (self._write(shard, self._count), self._clips)
        except ActrecError as error:
            return "failed", error
        except Exception:
            return "crashed", traceback.format_exc()

    def clips(self) -> tuple[str, object]:
        """Shard, and clips of it that are done; asked for while `write` runs."""
        return "clips", (self._shard, self._clips)

    def _count(self, clips: int) -> None:
        self._clips += clips


@dataclass(frozen=True)
class _Seen:
    """What the machine that starts the run sees, and a worker must see as well.

    Attributes:
        directory: where the shards are written.
        marker: a file in it.
        reads: files and folders that the job reads.
    """

    directory: Path
    marker: Path
    reads: tuple[Path, ...]

    def check(self) -> None:
        """On the worker's machine. Raises CacheError for a file or folder that is not there."""
        end = time.monotonic() + _SECONDS_TO_SEE
        while not self.marker.exists() and time.monotonic() < end:  # what another machine writes may take a while to show
            time.sleep(0.2)
        for path, shows in ((self.directory, self.marker), *((path, path) for path in self.reads)):
            if not shows.exists():
                raise CacheError(
                    f"a worker on {socket.gethostname()} does not see what the machine sees that started the run",
                    file=path.absolute(),
                    fix="put data and caches on a file system that all machines of the cluster have at the same place",
                )


@dataclass
class _Member:
    """The caller's side of a worker."""

    actor: object
    state: str = "starting"  # then ready, busy, gone
    place: _Place | None = None
    shard: int | None = None


class _Team:
    """The workers of a run, and the shards that wait for them.

    A worker gets its first shard when it has opened the job: those that find no room on the cluster yet hold nothing up. For
    one that dies another is started.
    """

    def __init__(
        self,
        ray: ModuleType,
        job: ShardJob,
        shards: Sequence[int],
        cluster: RayCluster,
        tick: Tick,
        count: int,
        threads: int,
        seen: _Seen,
    ):
        self._ray, self._cluster, self._tick, self._count, self._threads = ray, cluster, tick, count, threads
        self._seen = seen
        self._stored = ray.put(job)
        # Two calls at once: a shard, and how far it is.
        self._kind = ray.remote(num_cpus=cluster.cpus, num_gpus=cluster.gpus, max_concurrency=2)(_ShardWriter)
        self._waiting, self._results = list(shards), []
        self._shown: Counter[int] = Counter()  # clips of a shard that were ticked
        self._deaths: dict[int, list[str]] = {}  # of a shard, how its workers ended
        self._never_up: list[str] = []  # how workers ended that had not opened the job, since one has
        self._members: list[_Member] = []
        self._calls: dict[object, _Member] = {}  # what was asked of whom

    def run(self) -> list[ShardResult]:
        try:
            self._start(self._count)
            asked = begun = time.monotonic()
            while self._waiting or self._busy():
                if not self._members:
                    break
                done, _ = self._ray.wait(list(self._calls), timeout=_SECONDS_BETWEEN_TICKS)
                for call in done:
                    self._answer(self._calls.pop(call), call)
                self._deal()
                if time.monotonic() - asked > _SECONDS_BETWEEN_TICKS:
                    self._ask_for_clips()
                    asked = time.monotonic()
                if begun and asked - begun > _SECONDS_WITHOUT_WORKERS:
                    self._say_if_nobody_works()
                    begun = 0.0
        finally:
            self._stop()
        self._report_lost()
        return sorted(self._results, key=lambda result: result.shard)

    def _busy(self) -> list[_Member]:
        return [member for member in self._members if member.state == "busy"]

    def _start(self, count: int) -> None:
        environment = {name: os.environ[name] for name in _HANDED_ON if name in os.environ}
        environment.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
        if not self._cluster.gpus:
            environment["CUDA_VISIBLE_DEVICES"] = ""  # Ray hides the GPUs from those without one in some versions only
        for _ in range(count):
            member = _Member(self._kind.remote(environment, os.getcwd()))
            self._members.append(member)
            self._calls[member.actor.place.remote()] = member

    def _deal(self) -> None:
        for member in self._members:
            if member.state == "ready" and self._waiting:
                member.shard, member.state = self._waiting.pop(0), "busy"
                self._calls[member.actor.write.remote(member.shard)] = member

    def _ask_for_clips(self) -> None:
        """Asks each worker that works how far it is, unless it has yet to answer that."""
        asked = Counter(id(member) for member in self._calls.values())
        for member in self._busy():
            if asked[id(member)] < 2:  # the shard alone
                self._calls[member.actor.clips.remote()] = member

    def _answer(self, member: _Member, call: object) -> None:
        if member.state == "gone":
            return
        try:
            value = self._ray.get(call)
        except (self._ray.exceptions.RayActorError, self._ray.exceptions.WorkerCrashedError) as error:
            if getattr(error, "actor_init_failed", False):
                raise _not_understood(error) from error
            self._bury(member, error)
            return
        except self._ray.exceptions.RayTaskError as error:  # it could not read what it was sent, or Ray its answer
            raise _not_understood(error) from error
        if isinstance(value, _Place):
            self._welcome(member, value)
            return
        kind, content = value
        if kind == "ready":
            member.state = "ready"
            self._never_up.clear()
        elif kind == "clips":
            self._show(*content)
        elif kind == "done":
            result, clips = content
            self._show(result.shard, clips)
            self._results.append(result)
            member.state, member.shard = "ready", None
        elif kind == "failed":
            raise content
        else:
            raise RuntimeError(f"a worker on {member.place.host} failed unexpectedly:\n{content}")

    def _welcome(self, member: _Member, place: _Place) -> None:
        member.place = place
        if place.version != __version__:
            raise ConfigError(
                f"a machine of the Ray cluster has another version of keras_actrec: {place.host}", found=place.version,
                expected=__version__, fix="install the same version on all machines",
            )  # fmt: skip
        self._calls[member.actor.open.remote(self._stored, self._threads, self._seen)] = member

    def _show(self, shard: int, clips: int) -> None:
        """Ticks what is new; a shard that is done again is behind at first."""
        if clips > self._shown[shard]:
            self._tick(clips - self._shown[shard])
            self._shown[shard] = clips

    def _bury(self, member: _Member, error: Exception) -> None:
        """Clears up after a worker that has died, puts its shard back, and starts another one."""
        shard = member.shard
        self._end([member])
        self._members.remove(member)
        end = _how_it_ended(member, error)
        if shard is None:
            self._never_up.append(end)
        else:
            deaths = self._deaths.setdefault(shard, [])
            deaths.append(end)
            if len(deaths) < self._cluster.attempts:
                self._waiting.insert(0, shard)
        if self._waiting and len(self._never_up) < self._cluster.attempts * self._count:
            self._start(1)

    def _say_if_nobody_works(self) -> None:
        if all(member.state == "starting" and member.place is None for member in self._members):
            warnings.warn("no worker has begun: the Ray cluster is busy with other work; waiting for it", stacklevel=2)

    def _stop(self) -> None:
        with suppress(self._ray.exceptions.RayError, ConnectionError):  # the first error is the one to report
            self._end(self._members)
        self._members.clear()

    def _end(self, members: Sequence[_Member]) -> None:
        """Ends workers, waits until they are gone, and removes what they had not finished."""
        busy = []
        for member in members:
            if member.state == "busy":
                busy.append(member)
            member.state, member.shard = "gone", None
            self._ray.kill(member.actor)
        for call in [call for call, member in self._calls.items() if member.state == "gone"]:
            if self._calls.pop(call) in busy:
                with suppress(self._ray.exceptions.RayError):
                    self._ray.get(call, timeout=_SECONDS_TO_END)
        end = time.monotonic() + _SECONDS_TO_END
        for member in busy:
            here = member.place.host == socket.gethostname()
            while here and process_runs(member.place.process) and time.monotonic() < end:
                time.sleep(0.02)
            remove_parts_of(self._seen.directory, member.place.host, member.place.process)

    def _report_lost(self) -> None:
        lost = {shard: ends for shard, ends in self._deaths.items() if len(ends) >= self._cluster.attempts}
        if not lost and not self._waiting:
            return
        texts = [f"shard {shard} ({len(ends)} times, the last time: {ends[-1]})" for shard, ends in sorted(lost.items())]
        if self._waiting:
            texts.append(f"{len(self._waiting)} shards were not begun; workers died on their way up: {self._never_up[-1]}")
        raise CacheError(
            f"worker processes died: {'; '.join(texts)}", file=self._seen.directory,
            fix="run the same command again, it goes on from here; with fewer workers if memory ran out. Ray's logs say more",
        )  # fmt: skip


def _how_it_ended(member: _Member, error: Exception) -> str:
    """What Ray says of the end of a worker, without its advice."""
    place = "a worker" if member.place is None else f"process {member.place.process} on {member.place.host}"
    lines = [line.strip() for line in str(error).splitlines()]
    details = [line for line in lines if line.startswith("The actor is dead because")]
    reason = (details or lines or [type(error).__name__])[0].partition(" Some common causes")[0]
    return f"{place}: {reason.removeprefix('The actor is dead because ').rstrip('.')}"


def _not_understood(error: Exception) -> Exception:
    """For a worker that could not take up what it was sent: mostly since its machine has no such module."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    missing = next((line for line in reversed(lines) if line.startswith(("ModuleNotFoundError", "ImportError"))), None)
    if missing is None:
        return RuntimeError(f"a worker failed unexpectedly:\n{error}")
    machine = re.search(r"\bip=([^,)\s]+)", str(error))
    return ConfigError(
        f"a machine of the Ray cluster lacks what the workers import: {machine[1] if machine else 'its name is not known'}",
        found=missing, fix="install the same keras_actrec, and what your own code imports, on all machines",
    )  # fmt: skip


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0]
