"""On which devices a model trains."""

from __future__ import annotations

from collections.abc import Sequence

import tensorflow as tf

from keras_actrec.errors import ConfigError

STRATEGIES = ("mirrored", "none")


def build_strategy(name: str, *, devices: Sequence[str] | None = None) -> tf.distribute.Strategy:
    """Makes the strategy under whose `scope()` the model, its streams included, has to be built.

    Args:
        name: "mirrored" (a copy of the model on each GPU of this machine, or on its CPU; each batch is split between them) or
            "none" (one device, TensorFlow's choice).
        devices: for "mirrored", the devices instead of all GPUs, e.g. those of `logical_cpus`.

    Raises:
        ConfigError: an unknown name, or devices for "none".
    """
    if name == "mirrored":
        return tf.distribute.MirroredStrategy(list(devices) if devices is not None else None)
    if name != "none":
        raise ConfigError("unknown strategy", found=repr(name), expected=f"one of {', '.join(STRATEGIES)}")
    if devices is not None:
        raise ConfigError('strategy "none" takes no list of devices', found=list(devices), fix='use "mirrored"')
    return tf.distribute.get_strategy()


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
