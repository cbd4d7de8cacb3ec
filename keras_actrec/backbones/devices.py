"""What the backbones compute on."""

from __future__ import annotations

import keras


def has_gpu() -> bool:
    """Whether there is another device than the CPU, on the backend of Keras."""
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        return bool(tf.config.list_physical_devices("GPU"))  # which, unlike that of Keras, starts no device
    return any(not device.startswith("cpu") for device in keras.distribution.list_devices())
