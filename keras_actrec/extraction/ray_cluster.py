"""A Ray cluster for extractions: which one, what a worker takes of it, and the connection to it.

Ray (extra `distributed`) is imported where a cluster is used, and nowhere else.
"""

from __future__ import annotations

import math
import os
import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from types import ModuleType

from keras_actrec.errors import ConfigError

_SECONDS_TO_ANSWER = 10.0
_ADDRESSES = "auto, HOST:PORT or ray://HOST:PORT"
# Nothing is reported to Ray's makers; and its remarks on dead workers, which go to standard output, stay in its log files.
_SETTINGS = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_DEDUP_LOGS_SKIP_REGEX": ".*"}


@dataclass(frozen=True)
class RayCluster:
    """Where the workers of an extraction run, in place of processes of this machine alone (`workers=RayCluster(…)`).

    Attributes:
        workers: number of workers; None takes as many as the cluster has room for. None has more than there are shards.
        address: None starts a local cluster, and stops it with the run. An existing one: "auto" (that of this machine),
            "HOST:PORT" (one that this machine belongs to) or "ray://HOST:PORT" (from outside). A process that is connected to
            a cluster already keeps to that, and stays connected.
        cpus: that Ray sets aside for a worker; on an existing cluster also its threads.
        gpus: that Ray sets aside for a worker; 0.5 lets two share one. Without any, a worker sees no GPU.
        attempts: how often a shard is begun, where its workers die, before it is given up.

    Raises:
        ConfigError: a value that makes no sense.
    """

    workers: int | None = None
    address: str | None = None
    cpus: float = 1.0
    gpus: float = 0.0
    attempts: int = 3

    def __post_init__(self):
        if self.workers is not None and self.workers < 1:
            raise ConfigError("at least one worker is needed", found=self.workers)
        if not 0 < self.cpus < math.inf:
            raise ConfigError("a worker takes more than no CPU", found=self.cpus)
        if not 0 <= self.gpus < math.inf:
            raise ConfigError("the GPUs of a worker are 0 or more", found=self.gpus)
        if self.attempts < 1:
            raise ConfigError("a shard takes at least one attempt", found=self.attempts)
        if self.address not in (None, "auto"):
            _host_and_port(self.address)


@contextmanager
def connected(cluster: RayCluster, tasks: int) -> Iterator[tuple[ModuleType, int, int]]:
    """Connects this process to a cluster while the block runs; starts and stops a local one.

    Args:
        cluster: which.
        tasks: how many there are; no more workers are of use.

    Yields:
        The module `ray`; the number of workers; the threads that each may use.

    Raises:
        ConfigError: Ray is absent; the address does not answer or is of another version; or no machine of the cluster has what
            a worker takes.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    with _settings_given(), _signals_kept():
        ray = _imported()
        mine = not ray.is_initialized()
        if not mine:
            _check_same(ray, cluster)
        try:
            if mine:
                _connect(ray, cluster, cores, tasks)
            room = _room(ray, cluster)
            count = min(tasks, cluster.workers or room)
            local = mine and cluster.address is None
            yield ray, count, max(1, int(cluster.cpus), cores // count if local else 0)
        finally:
            if mine:
                ray.shutdown()


def _imported() -> ModuleType:
    try:
        import ray
    except ImportError as error:
        way_out = "install it: pip install 'keras_actrec[distributed]'"
        raise ConfigError(f"Ray is not installed: {error}", fix=way_out) from error
    return ray


def _connect(ray: ModuleType, cluster: RayCluster, cores: int, tasks: int) -> None:
    quiet = {"log_to_driver": False, "logging_level": "critical"}
    if cluster.address is None:
        # Room for the workers asked for: whether they are more than the cores is the caller's business, as with processes.
        cpus = max(cores, math.ceil(min(cluster.workers or 0, tasks) * cluster.cpus))
        ray.init("local", num_cpus=cpus, include_dashboard=False, **quiet)
        return
    _check_answers(cluster.address)
    try:
        ray.init(cluster.address, **quiet)
    except (ConnectionError, RuntimeError, ValueError, AssertionError, TimeoutError, ray.exceptions.RayError) as error:
        raise _no_answer(cluster.address, " ".join(str(error).split()) or type(error).__name__) from error


def _check_answers(address: str) -> None:
    """Ray itself waits a minute or more for an address where nothing is."""
    if address == "auto":
        return
    try:
        socket.create_connection(_host_and_port(address), timeout=_SECONDS_TO_ANSWER).close()
    except OSError as error:
        raise _no_answer(address, error.strerror or str(error)) from error


def _no_answer(address: str, reason: str) -> ConfigError:
    return ConfigError(
        f"no Ray cluster can be used at {address}: {reason.rstrip('.')}",
        fix="start one with `ray start --head` and give the address that it prints, or none for a cluster of this machine; one "
        "with token authentication wants RAY_AUTH_MODE=token and its RAY_AUTH_TOKEN in the environment",
    )


def _check_same(ray: ModuleType, cluster: RayCluster) -> None:
    here = getattr(ray.get_runtime_context(), "gcs_address", None)
    if cluster.address not in (None, "auto", here) and not cluster.address.startswith("ray://"):
        raise ConfigError(
            "this process is connected to another Ray cluster", found=here, expected=cluster.address,
            fix="call ray.shutdown() first, or give no address",
        )  # fmt: skip


def _room(ray: ModuleType, cluster: RayCluster) -> int:
    """How many workers fit on the machines of the cluster; whether others use it at this moment does not count."""
    machines = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    room = sum(_fitting(machine, cluster) for machine in machines)
    if not room:
        found = "; ".join(f"{machine.get('CPU', 0):g} CPUs and {machine.get('GPU', 0):g} GPUs" for machine in machines)
        raise ConfigError(
            "no machine of the Ray cluster has what a worker takes", found=found or "no machines",
            expected=f"{cluster.cpus:g} CPUs and {cluster.gpus:g} GPUs on one of them", fix="ask for less, or add machines",
        )  # fmt: skip
    return room


def _fitting(machine: dict[str, float], cluster: RayCluster) -> int:
    wanted = {"CPU": cluster.cpus, "GPU": cluster.gpus}
    return min(math.floor(machine.get(name, 0) / amount + 1e-6) for name, amount in wanted.items() if amount)


def _host_and_port(address: str) -> tuple[str, int]:
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not host or not port.isdigit() or "/" in host:
        raise ConfigError("this is no address of a Ray cluster", found=repr(address), expected=_ADDRESSES)
    return host.strip("[]"), int(port)


@contextmanager
def _settings_given() -> Iterator[None]:
    """Environment variables that Ray reads, where the user has not set them; afterwards they are as they were."""
    new = [name for name in _SETTINGS if name not in os.environ]
    os.environ.update((name, _SETTINGS[name]) for name in new)
    try:
        yield
    finally:
        for name in new:
            os.environ.pop(name, None)


@contextmanager
def _signals_kept() -> Iterator[None]:
    """Ray makes SIGTERM end this process by an exception, which stops its workers; afterwards it is as it was."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        with suppress(TypeError):  # set by other than Python
            signal.signal(signal.SIGTERM, before)
