"""An LSTM that looks at a few image places per step, weighted by attention on its own state and on the pose.

Paper: Baradel, Wolf, Mille, "Pose-conditioned Spatio-Temporal Attention for Human Action Recognition", 2017, section 3.2.
"""

from __future__ import annotations

import keras
from keras import ops

from keras_actrec.errors import ConfigError
from keras_actrec.layers.attention import attention_dtype, attention_weights

_FEW = 4
"""Rows up to which all hands go through the LSTM's kernel at once: N times the products, but the kernel is read once."""


def _twice(rows, kernel):
    """(B, D) · (D, A), each row computed twice: of a single one XLA makes a slow loop on CPUs, 3 ms more over 20 steps."""
    return ops.matmul(ops.stack([rows, rows], axis=1), kernel)[:, 0]


@keras.saving.register_keras_serializable(package="keras_actrec")
class SpatialAttentionLSTM(keras.layers.Layer):
    """Spatial attention over N hands inside an LSTM (equations 3 to 5), for a fixed number of steps T.

    For t = 1 … T, with h_0 = 0:

        p_t = softmax(MLP([h_{t-1}, s]))     eq. 4; one sigmoid hidden layer, N scores
        ṽ_t = V_t p_t = Σ_i p_{t,i} v_{t,i}  eq. 5
        h_t = LSTM(h_{t-1}, ṽ_t)             eq. 3

    A hand that does not exist (v_{t,i} = 0, as for an absent second person) gets no attention: the softmax runs over the hands
    that do. Without that, attention can settle on a hand that is never there, where neither features nor gradients are.

    Equation 4 prints h_t; h_t depends on p_t through ṽ_t, so the state before the step is the one meant.

    Args:
        units: size of the hidden state h_t (paper: 1024).
        attention_units: size of the hidden layer of the attention MLP (paper: 256).
        mask_absent_hands: False lets the softmax run over all N hands.

    Call arguments:
        hands: V, (B, T, N, D); T, N and D have to be known when the layer is built.
        pose_features: s, (B, S), or None for attention on the state alone (Table 5, "not conditional to pose").

    Returns:
        states: h_1 … h_T, (B, T, units).
        spatial_attention: p_1 … p_T, (B, T, N), each row adds up to 1; at least float32 whatever the dtype policy.

    Raises:
        ConfigError: `units` or `attention_units` below 1, or `hands` of unknown or wrong shape.
    """

    def __init__(
        self,
        units: int,
        *,
        attention_units: int = 256,
        mask_absent_hands: bool = True,
        trainable: bool = True,
        name: str | None = None,
        dtype=None,
    ):
        super().__init__(trainable=trainable, name=name, dtype=dtype)
        for name, value in (("units", units), ("attention_units", attention_units)):
            if value < 1:
                raise ConfigError(f"SpatialAttentionLSTM: {name} has to be positive", found=value, fix="give at least 1")
        self.units = units
        self.attention_units = attention_units
        self.mask_absent_hands = mask_absent_hands

    def build(self, hands_shape, pose_features_shape=None):
        if len(hands_shape) != 4 or None in hands_shape[1:]:
            raise ConfigError(
                "SpatialAttentionLSTM: the shape of `hands` has to be known",
                found=tuple(hands_shape),
                expected="(batch, frames, hands, features)",
                fix="give keras.Input the full shape (frames, hands, features)",
            )
        _, _, hands, features = hands_shape
        pose_size = 0 if pose_features_shape is None else pose_features_shape[-1]
        # One matrix for the input [h_{t-1}, s]: its upper rows serve h_{t-1}, its lower rows s.
        self.hidden_kernel = self.add_weight(
            name="hidden_kernel", shape=(self.units + pose_size, self.attention_units), initializer="glorot_uniform"
        )
        self.hidden_bias = self.add_weight(name="hidden_bias", shape=(self.attention_units,), initializer="zeros")
        self.scores = keras.layers.Dense(hands, name="scores", dtype=self.dtype_policy)
        self.scores.build((None, self.attention_units))
        self.cell = keras.layers.LSTMCell(self.units, name="cell", dtype=self.dtype_policy)
        self.cell.build((None, features))

    def call(self, hands, pose_features=None, training=False):
        from_pose = self.hidden_bias  # the part of the hidden layer that is the same at every step
        if pose_features is not None:
            product = ops.matmul if training else _twice
            from_pose = from_pose + product(pose_features, self.hidden_kernel[self.units :])
        if training:
            return self._steps(hands, from_pose)
        # `call` never sees a symbolic tensor (see compute_output_spec), so the batch size is a real one here: a number, or a
        # tensor where a graph of TensorFlow serves batches of any size.
        few = ops.shape(hands)[0] <= _FEW
        if isinstance(few, bool):
            return self._projected_steps(hands, from_pose) if few else self._steps(hands, from_pose)
        return ops.cond(few, lambda: self._projected_steps(hands, from_pose), lambda: self._steps(hands, from_pose))

    def _steps(self, hands, from_pose):
        """Equations 3 to 5 as they stand: of many rows, the product with the LSTM's kernel is what takes time."""
        carry = self.cell.get_initial_state(batch_size=ops.shape(hands)[0])
        present = self._present(hands)
        states, attention = [], []
        for step in range(hands.shape[1]):
            from_state = ops.matmul(carry[0], self.hidden_kernel[: self.units])
            weights = self._attend(from_state + from_pose, present, step)
            context = ops.einsum("bn,bnd->bd", ops.cast(weights, self.compute_dtype), hands[:, step])
            state, carry = self.cell(context, carry)
            states.append(state)
            attention.append(weights)
        return ops.stack(states, axis=1), ops.stack(attention, axis=1)

    def _projected_steps(self, hands, from_pose):
        """The same, with W (Σ_i p_{t,i} v_{t,i}) as Σ_i p_{t,i} (W v_{t,i}), so that W is read once and not at every step.

        Of few rows, reading W (34 MB of the paper's network, more than caches hold) is what takes time.
        """
        state, memory = self.cell.get_initial_state(batch_size=ops.shape(hands)[0])
        present = self._present(hands)
        projected, hidden_kernel = self._projected(hands, present), self.hidden_kernel[: self.units]
        states, attention = [], []
        for step in range(hands.shape[1]):
            from_state = _twice(state, hidden_kernel)
            weights = self._attend(from_state + from_pose, present, step)
            # A product and a sum: XLA makes one loop of them on CPUs, where it computes an einsum of few rows slowly.
            gates = ops.sum(ops.expand_dims(ops.cast(weights, self.compute_dtype), -1) * projected[:, step], axis=1)
            gates = gates + self.cell.bias
            if step:  # h_0 = 0
                gates = gates + ops.matmul(state, self.cell.recurrent_kernel)
            enter, keep, candidate, leave = ops.split(gates, 4, axis=-1)  # the order of Keras
            memory = ops.sigmoid(keep) * memory + ops.sigmoid(enter) * ops.tanh(candidate)
            state = ops.sigmoid(leave) * ops.tanh(memory)
            states.append(state)
            attention.append(weights)
        return ops.stack(states, axis=1), ops.stack(attention, axis=1)

    def _projected(self, hands, present):
        """W v of every hand, (B, T, N, 4 · units); half of the work where the second half of the hands is absent."""
        first = hands.shape[2] // 2
        if not first or present is None:
            return ops.matmul(hands, self.cell.kernel)

        def of_first():
            products = ops.matmul(hands[:, :, :first], self.cell.kernel)
            return ops.pad(products, ((0, 0), (0, 0), (0, hands.shape[2] - first), (0, 0)))

        return ops.cond(ops.any(present[:, :, first:]), lambda: ops.matmul(hands, self.cell.kernel), of_first)

    def _present(self, hands):
        """bool (B, T, N), or None where all hands count."""
        return ops.any(ops.not_equal(hands, 0), axis=-1) if self.mask_absent_hands else None

    def _attend(self, hidden, present, step: int):
        """p_t, (B, N), eq. 4, from the hidden layer before its sigmoid."""
        return attention_weights(self.scores(ops.sigmoid(hidden)), None if present is None else present[:, step])

    def compute_output_spec(self, hands, pose_features=None, training=False):
        batch, steps, count, _ = hands.shape
        return (
            keras.KerasTensor((batch, steps, self.units), dtype=self.compute_dtype),
            keras.KerasTensor((batch, steps, count), dtype=attention_dtype(self.compute_dtype)),
        )

    def get_config(self):
        return {
            **super().get_config(),
            "units": self.units,
            "attention_units": self.attention_units,
            "mask_absent_hands": self.mask_absent_hands,
        }
