"""Keras models as compiled functions and compiled training steps, on TensorFlow and JAX alike; shared by the benchmarks."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import keras
import numpy as np

Arrays = Mapping[str, np.ndarray]


def on_device(arrays: Arrays) -> dict[str, keras.KerasTensor]:
    """The arrays where the model computes, so that a timed call does not carry them there."""
    return {name: keras.ops.convert_to_tensor(array) for name, array in arrays.items()}


def forward(model: keras.Model, inputs: Arrays, *, xla: bool = False) -> Callable[[], dict[str, np.ndarray]]:
    """A function that computes the model's outputs at inference as one compiled program, and has them when it returns.

    Args:
        model: with named inputs and outputs.
        inputs: of one batch; they are put where the model computes before anything is timed.
        xla: on TensorFlow, compiled by XLA instead of run as a graph; JAX always does.
    """
    call, tensors = _compiled_call(model, xla), on_device(inputs)
    return lambda: {name: keras.ops.convert_to_numpy(value) for name, value in call(tensors).items()}


def _compiled_call(model: keras.Model, xla: bool) -> Callable[[Mapping], Mapping]:
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        return tf.function(lambda tensors: model(tensors, training=False), autograph=False, jit_compile=xla)
    if keras.backend.backend() != "jax":
        raise ValueError(f"the benchmarks compile models by TensorFlow or JAX, not by {keras.backend.backend()}")
    import jax

    # Weights are arguments: as constants XLA would fold them for minutes. Those of now: a training step gives up their memory.
    function = jax.jit(lambda *state: model.stateless_call(*state, training=False)[0])
    return lambda tensors: function(_values(model.trainable_variables), _values(model.non_trainable_variables), tensors)


def _values(variables: Sequence[keras.Variable]) -> list:
    return [variable.value for variable in variables]


def device_peak_bytes() -> int | None:
    """The most memory that this process has held on its GPU; None on a machine without one."""
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        return tf.config.experimental.get_memory_info("GPU:0")["peak"] if tf.config.list_physical_devices("GPU") else None
    import jax

    statistics = jax.devices()[0].memory_stats() if jax.default_backend() != "cpu" else None
    return statistics["peak_bytes_in_use"] if statistics else None
