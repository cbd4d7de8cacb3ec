"""An LSTM that looks at each frame once per joint of a body, where parts of the body share how they look.

Paper: Du, Wang, Qiao, "RPAN: An End-to-End Recurrent Pose-Attention Network for Action Recognition in Videos", ICCV 2017,
sections 3.2 and 3.3.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import sqrt

import keras
import numpy as np
from keras import ops

from keras_actrec.errors import ConfigError
from keras_actrec.layers.attention import attention_dtype, attention_weights

POOLINGS = ("concat", "max", "mean")


@keras.saving.register_keras_serializable(package="keras_actrec")
class PoseAttentionLSTMCell(keras.layers.Layer):
    """One step of the pose-attention LSTM (equations 2 to 9), over the K = K1·K2 places of one frame's feature cube.

        α̃^J(k) = v^J tanh(A_h^P h_{t-1} + A_c^P C_t(k) + b^P)   eq. 2, for each joint J of each part P
        α^J    = softmax over places of α̃^J                       eq. 3
        F^P    = Σ_{J in P} Σ_k α^J(k) C_t(k)                     eq. 4
        S_t    = PartPool(F^1, F^2, …)                            eq. 5
        h_t    = LSTM(h_{t-1}, S_t)                               eq. 6 to 9

    A_h, A_c and b belong to a part, v to a joint. One part per joint is the paper's "Separate-Joint"; one part of one joint
    its "Share-All": a single map, which no joint guides.

    Args:
        units: size of the hidden state h_t (paper: 512 for Sub-JHMDB, 1024 for Penn Action).
        attention_units: rows of A_h, A_c and b, size of v (paper: 32 and 128).
        parts: the joints of each part, indices 0 … J - 1, each in exactly one part; e.g. of `skeletons.joint_groups`.
        pooling: "concat" (S_t has parts · d values), "max" or "mean" (d values).

    Call arguments:
        cube: C_t, (B, K, d).
        state: [h_{t-1}, r_{t-1}], each (B, units).
        projected: A_c C_t + b from `project`, (B, K, parts · attention_units); None computes it. The products with A_c do not
            depend on the state, so that those of all frames can be computed at once.

    Returns:
        h_t (B, units); α (B, J, K), each row adds up to 1, at least float32; the new state [h_t, r_t].

    Raises:
        ConfigError: a size below 1, an unknown pooling, parts that are empty or do not hold each joint once, or cubes of
            unknown or wrong shape.
    """

    def __init__(
        self,
        units: int,
        *,
        attention_units: int,
        parts: Sequence[Sequence[int]],
        pooling: str = "concat",
        trainable: bool = True,
        name: str | None = None,
        dtype=None,
    ):
        super().__init__(trainable=trainable, name=name, dtype=dtype)
        for field, value in (("units", units), ("attention_units", attention_units)):
            if value < 1:
                raise ConfigError(f"PoseAttentionLSTM: {field} has to be positive", found=value, fix="give at least 1")
        if pooling not in POOLINGS:
            raise ConfigError("PoseAttentionLSTM: unknown pooling", found=repr(pooling), expected=" | ".join(POOLINGS))
        self.units, self.attention_units, self.pooling = units, attention_units, pooling
        self.parts = tuple(tuple(int(joint) for joint in part) for part in parts)
        members = sorted(joint for part in self.parts for joint in part)
        if not members or not all(self.parts) or members != list(range(len(members))):
            raise ConfigError(
                "PoseAttentionLSTM: every joint belongs to exactly one part", found=self.parts,
                expected="parts that hold 0 … J - 1 once each", fix="take them from keras_actrec.skeletons.joint_groups",
            )  # fmt: skip
        # (parts, J): 1 where the joint is of the part.
        self._membership = np.array([[joint in part for joint in members] for part in self.parts], np.float32)

    @property
    def joints(self) -> int:
        """J, the number of attention maps."""
        return self._membership.shape[1]

    def pooled_size(self, features: int) -> int:
        """Values of S_t for cubes of `features` values per place."""
        return features * (len(self.parts) if self.pooling == "concat" else 1)

    def build(self, cube_shape, *_):
        features = cube_shape[-1]
        if len(cube_shape) != 3 or features is None:
            raise ConfigError(
                "PoseAttentionLSTMCell: the features of a place have to be known",
                found=tuple(cube_shape), expected="(batch, places, features)",
            )  # fmt: skip
        size = len(self.parts) * self.attention_units
        # Each part's matrices are drawn as the matrix that they are, not as columns of one that is wider.
        self.hidden_kernel = self._weight("hidden_kernel", (self.units, size), self.units + self.attention_units)
        self.cube_kernel = self._weight("cube_kernel", (features, size), features + self.attention_units)
        self.bias = self.add_weight(name="bias", shape=(size,), initializer="zeros")
        self.joint_vectors = self._weight("joint_vectors", (self.joints, self.attention_units), self.attention_units + 1)
        self.cell = keras.layers.LSTMCell(self.units, name="cell", dtype=self.dtype_policy)
        self.cell.build((None, self.pooled_size(features)))

    def _weight(self, name: str, shape: tuple[int, int], fans: int):
        limit = sqrt(6 / fans)  # Glorot and Bengio, uniform
        return self.add_weight(name=name, shape=shape, initializer=keras.initializers.RandomUniform(-limit, limit))

    def project(self, cubes):
        """A_c^P C(k) + b^P of every part: (…, K, d) → (…, K, parts · attention_units)."""
        return ops.matmul(cubes, self.cube_kernel) + self.bias

    def initial_state(self, batch_size):
        """[h_0, r_0] = 0."""
        return self.cell.get_initial_state(batch_size=batch_size)

    def call(self, cube, state, projected=None):
        if projected is None:
            projected = self.project(cube)
        hidden = ops.tanh(ops.expand_dims(ops.matmul(state[0], self.hidden_kernel), 1) + projected)
        scores = ops.matmul(hidden, self._score_matrix())  # (B, K, J), eq. 2
        attention = attention_weights(ops.transpose(scores, (0, 2, 1)))  # eq. 3
        # The two sums of eq. 4 change places: one map per part, then one product with the cube.
        maps = ops.matmul(ops.convert_to_tensor(self._membership, attention.dtype), attention)
        parts = ops.matmul(ops.cast(maps, self.compute_dtype), cube)  # (B, parts, d)
        output, state = self.cell(self._pool(parts), state)
        return output, attention, state

    def _score_matrix(self):
        """(parts · attention_units, J): column J holds v^J in the rows of J's part, and 0 in the others."""
        part = ops.expand_dims(ops.convert_to_tensor(self._membership, self.compute_dtype), 1)  # (parts, 1, J)
        vectors = ops.expand_dims(ops.transpose(self.joint_vectors), 0)  # (1, attention_units, J)
        return ops.reshape(part * vectors, (-1, self.joints))

    def _pool(self, parts):
        if self.pooling == "max":
            return ops.max(parts, axis=1)
        if self.pooling == "mean":
            return ops.mean(parts, axis=1)
        return ops.reshape(parts, (-1, parts.shape[1] * parts.shape[2]))

    def get_config(self):
        return {
            **super().get_config(),
            "units": self.units,
            "attention_units": self.attention_units,
            "parts": [list(part) for part in self.parts],
            "pooling": self.pooling,
        }


@keras.saving.register_keras_serializable(package="keras_actrec")
class PoseAttentionLSTM(keras.layers.Layer):
    """`PoseAttentionLSTMCell` over the T frames of a clip, from a state of zeros.

    Args:
        units, attention_units, parts, pooling: see the cell.

    Call arguments:
        cubes: C_1 … C_T, (B, T, K1, K2, d); all but B have to be known when the layer is built.

    Returns:
        states: h_1 … h_T, (B, T, units).
        attention: α, (B, T, J, K1, K2), each map adds up to 1; at least float32 whatever the dtype policy.

    Raises:
        ConfigError: see the cell; or cubes of unknown or wrong shape.
    """

    def __init__(
        self,
        units: int,
        *,
        attention_units: int,
        parts: Sequence[Sequence[int]],
        pooling: str = "concat",
        trainable: bool = True,
        name: str | None = None,
        dtype=None,
    ):
        super().__init__(trainable=trainable, name=name, dtype=dtype)
        self.cell = PoseAttentionLSTMCell(
            units, attention_units=attention_units, parts=parts, pooling=pooling, name="cell", dtype=self.dtype_policy
        )

    def build(self, cubes_shape):
        if len(cubes_shape) != 5 or None in cubes_shape[1:]:
            raise ConfigError(
                "PoseAttentionLSTM: the shape of the cubes has to be known", found=tuple(cubes_shape),
                expected="(batch, frames, K1, K2, features)", fix="give keras.Input the full shape of a clip",
            )  # fmt: skip
        _, _, height, width, features = cubes_shape
        self.cell.build((None, height * width, features))

    def call(self, cubes):
        _, steps, height, width, features = cubes.shape
        places = ops.reshape(cubes, (-1, steps, height * width, features))
        projected = self.cell.project(places)
        # `call` never sees a symbolic tensor (see compute_output_spec), so the batch size is a real one here.
        state = self.cell.initial_state(ops.shape(cubes)[0])
        states, maps = [], []
        for step in range(steps):
            output, attention, state = self.cell(places[:, step], state, projected[:, step])
            states.append(output)
            maps.append(attention)
        attention = ops.reshape(ops.stack(maps, axis=1), (-1, steps, self.cell.joints, height, width))
        return ops.stack(states, axis=1), attention

    def compute_output_spec(self, cubes):
        batch, steps, height, width, _ = cubes.shape
        maps = (batch, steps, self.cell.joints, height, width)
        return (
            keras.KerasTensor((batch, steps, self.cell.units), dtype=self.compute_dtype),
            keras.KerasTensor(maps, dtype=attention_dtype(self.compute_dtype)),
        )

    def get_config(self):
        cell = self.cell.get_config()
        return {**super().get_config(), **{key: cell[key] for key in ("units", "attention_units", "parts", "pooling")}}
