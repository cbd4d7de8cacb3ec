"""On which devices a model trains."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from functools import lru_cache

import tensorflow as tf

from keras_actrec.errors import ConfigError
from keras_actrec.scripts import STRATEGIES

_TF_CONFIG = '{"cluster": {"worker": ["HOST:PORT", "HOST:PORT"]}, "task": {"type": "worker", "index": 0}}'


def build_strategy(name: str, *, devices: Sequence[str] | None = None) -> tf.distribute.Strategy:
    """Makes the strategy under whose `scope()` the model, its streams included, has to be built.

    Args:
        name: "mirrored" (a copy of the model on each GPU of this machine, or on its CPU; each batch is split between them),
            "multiworker" (the same over the processes that the environment variable TF_CONFIG lists, this one among them, on
            one or several machines; waits until all have started) or "none" (one device, TensorFlow's choice).
        devices: for "mirrored", the devices instead of all GPUs, e.g. those of `logical_cpus`.

    Raises:
        ConfigError: an unknown name, or devices for another than "mirrored"; for "multiworker": TF_CONFIG is missing or makes
            no sense, TensorFlow is already running, or the port of this worker is taken.
    """
    if name == "mirrored":
        return tf.distribute.MirroredStrategy(list(devices) if devices is not None else None)
    if name not in STRATEGIES:
        raise ConfigError("unknown strategy", found=repr(name), expected=f"one of {', '.join(STRATEGIES)}")
    if devices is not None:
        raise ConfigError(f'strategy "{name}" takes no list of devices', found=list(devices), fix='use "mirrored"')
    if name == "multiworker":
        return _multiworker(os.environ.get("TF_CONFIG", ""))
    return tf.distribute.get_strategy()


@lru_cache(maxsize=1)
def _multiworker(text: str) -> tf.distribute.Strategy:
    """The strategy of a value of TF_CONFIG: TensorFlow connects a process once, and runs of several protocols share that."""
    address = _own_address(text)
    try:
        return tf.distribute.MultiWorkerMirroredStrategy()
    except RuntimeError as error:
        raise ConfigError(
            "the workers cannot be connected any more: TensorFlow is already running", found=error,
            fix="call build_strategy before anything else",
        ) from None  # fmt: skip
    except tf.errors.OpError as error:
        raise ConfigError(
            "this worker cannot be started", place=f"TF_CONFIG, {address}", found=error.message,
            fix="give it an address of this machine and a port that is free, and start all workers",
        ) from error  # fmt: skip


def _own_address(text: str) -> str:
    """The address of this worker; refuses what TensorFlow would take for a single process, or wait for in vain."""
    try:
        config = json.loads(text)
        cluster, task = config["cluster"], config["task"]
        (workers,) = (cluster[job] for job in cluster)
        if set(cluster) != {"worker"} or task["type"] != "worker" or len(set(workers)) != len(workers):
            raise ValueError('one job, "worker", of different addresses')
        for address in workers:
            if not 0 < int(address.rsplit(":", 1)[1]) < 65536:
                raise ValueError(f"port of {address}")
        if task["index"] not in range(len(workers)):
            raise ValueError(f"index {task['index']} of {len(workers)} workers")
        return workers[task["index"]]
    except (ValueError, KeyError, TypeError, IndexError, AttributeError) as error:
        raise ConfigError(
            'strategy "multiworker" needs the addresses of all workers in the environment variable TF_CONFIG',
            found=f"{text!r} ({type(error).__name__}: {error})" if text else "nothing", expected=_TF_CONFIG,
        ) from None  # fmt: skip


def logical_cpus(count: int) -> tuple[str, ...]:
    """Splits the CPU into logical devices, to try data parallelism without GPUs.

    Raises:
        ConfigError: TensorFlow is already running: the split has to come before anything else.
    """
    cpu = tf.config.list_physical_devices("CPU")[0]
    try:
        tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * count)
    except RuntimeError:
        raise ConfigError(
            "the CPU cannot be split any more: TensorFlow is already running",
            fix="call logical_cpus before anything else",
        ) from None
    return tuple(f"/cpu:{index}" for index in range(count))
