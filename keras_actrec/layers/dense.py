"""A dense layer whose kernel is larger than the caches of a processor, for the answer to a single row."""

from __future__ import annotations

import keras
from keras import ops

from keras_actrec.errors import ConfigError

_PARTS = 48


@keras.saving.register_keras_serializable(package="keras_actrec")
class Dense(keras.layers.Layer):
    """σ (x W + b), as `keras.layers.Dense` has it, whose weights it takes; a single row is summed in parts at inference,
    where the number of rows is known when the function is compiled.

    Its name is Dense's too: files of weights number layers by the names of their classes, and stay as they were.

    Of one row nothing but reading W takes time. XLA has one core read all of it; in parts all cores do, in half the time (98 MB
    on 2 cores: 2.8 instead of 5.6 ms). TensorFlow without XLA takes a fifth longer for it. Results differ from Keras's by
    rounding.

    Shapes: (B, D) → (B, units).

    Args:
        units: size of the output.
        activation: σ, as Keras names it; None for none.

    Raises:
        ConfigError: units is not positive, or D is not known.
    """

    def __init__(
        self, units: int, *, activation: str | None = None, trainable: bool = True, name: str | None = None, dtype=None
    ):
        super().__init__(trainable=trainable, name=name, dtype=dtype)
        if units < 1:
            raise ConfigError("Dense: units has to be positive", found=units, fix="give at least 1")
        self.units = units
        self.activation = keras.activations.get(activation)

    def build(self, input_shape):
        if len(input_shape) != 2 or input_shape[-1] is None:
            raise ConfigError("Dense: the size of a row has to be known", found=tuple(input_shape), expected="(batch, D)")
        self.kernel = self.add_weight(name="kernel", shape=(input_shape[-1], self.units), initializer="glorot_uniform")
        self.bias = self.add_weight(name="bias", shape=(self.units,), initializer="zeros")

    def call(self, inputs, training=False):
        # `call` never sees a symbolic tensor; where a graph of TensorFlow serves batches of any size, the number is a tensor.
        rows = ops.shape(inputs)[0]
        alone = isinstance(rows, int) and rows == 1 and not training
        return self.activation((self._in_parts(inputs) if alone else ops.matmul(inputs, self.kernel)) + self.bias)

    def _in_parts(self, row):
        """x W as Σ_p x_p W_p, p over parts of the D values."""
        size = row.shape[-1]
        parts = next(parts for parts in range(_PARTS, 0, -1) if size % parts == 0)
        kernel = ops.reshape(self.kernel, (parts, size // parts, self.units))
        return ops.sum(ops.matmul(ops.reshape(row, (parts, 1, size // parts)), kernel), axis=0)

    def compute_output_spec(self, inputs, training=False):
        return keras.KerasTensor((inputs.shape[0], self.units), dtype=self.compute_dtype)

    def get_config(self):
        activation = keras.activations.serialize(self.activation)
        return {**super().get_config(), "units": self.units, "activation": activation}
