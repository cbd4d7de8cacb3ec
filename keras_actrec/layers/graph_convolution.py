"""Graph convolution over the joints of a few poses, each pose with weights of its own.

Paper: Das et al., "VPN: Learning Video-Pose Embedding for Activities of Daily Living", ECCV 2020, section 3.2, equation 1.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import sqrt

import keras
import numpy as np
from keras import ops

from keras_actrec.errors import ConfigError


@keras.saving.register_keras_serializable(package="keras_actrec")
class PoseGraphConvolution(keras.layers.Layer):
    """Equation 1 for every pose t = 1 … P: f⁺_t = Â G_t W_t, with Â = D^-1/2 (E + I) D^-1/2.

    With several graph filters A_1 … A_K in the place of Â, what they give for a joint is put side by side before the weights:
    f⁺_t = [A_1 G_t, …, A_K G_t] W_t. Row k·C + c of W_t belongs to filter k and channel c of the input.

    Args:
        units: channels of f⁺_t (paper: 64).
        filters: (K, J, J) graph filters as nested sequences or an array; the paper has one, Â
            (`keras_actrec.skeletons.graph.normalised_adjacency`), the published code two, the identity and Â.
        activation: name of a Keras activation, or a function; None for none, as in equation 1.
        use_bias: adds a bias per pose and channel; equation 1 has none.

    Call arguments:
        poses: G, (B, P, J, C); P, J and C have to be known when the layer is built.

    Returns:
        f⁺, (B, P, J, units).

    Raises:
        ConfigError: `units` below 1, filters of another shape or not finite, or `poses` of unknown or wrong shape.
    """

    def __init__(
        self,
        units: int,
        filters: Sequence[Sequence[Sequence[float]]] | np.ndarray,
        *,
        activation: str | Callable | None = None,
        use_bias: bool = False,
        trainable: bool = True,
        name: str | None = None,
        dtype=None,
    ):
        super().__init__(trainable=trainable, name=name, dtype=dtype)
        if units < 1:
            raise ConfigError("PoseGraphConvolution: units has to be positive", found=units, fix="give at least 1")
        self.units = units
        self.filters = _checked_filters(filters)
        self.activation = keras.activations.get(activation)
        self.use_bias = use_bias

    def build(self, poses_shape):
        count, joints, _ = self.filters.shape
        if len(poses_shape) != 4 or None in poses_shape[1:] or poses_shape[2] != joints:
            raise ConfigError(
                "PoseGraphConvolution: `poses` does not fit the filters",
                found=tuple(poses_shape),
                expected=f"(batch, poses, {joints}, channels), all but the batch known",
                fix="give keras.Input the full shape, and filters of the same joint layout",
            )
        _, poses, _, channels = poses_shape
        rows = count * channels
        # Glorot's range for the matrix of one pose: Keras would take the poses of a 3-D kernel for a receptive field.
        limit = sqrt(6 / (rows + self.units))
        self.kernel = self.add_weight(
            name="kernel",
            shape=(poses, rows, self.units),
            initializer=keras.initializers.RandomUniform(-limit, limit),
        )
        if self.use_bias:
            self.bias = self.add_weight(name="bias", shape=(poses, self.units), initializer="zeros")

    def call(self, poses):
        _, steps, joints, channels = poses.shape
        filters = ops.cast(self.filters, self.compute_dtype)
        filtered = ops.einsum("kij,bpjc->bpikc", filters, poses)
        filtered = ops.reshape(filtered, (-1, steps, joints, len(self.filters) * channels))
        features = ops.einsum("bpim,pmu->bpiu", filtered, self.kernel)
        if self.use_bias:
            features = features + self.bias[:, None]
        return self.activation(features)

    def get_config(self):
        return {
            **super().get_config(),
            "units": self.units,
            "filters": self.filters.tolist(),
            "activation": None if self.activation is keras.activations.linear else keras.activations.serialize(self.activation),
            "use_bias": self.use_bias,
        }


def _checked_filters(filters) -> np.ndarray:
    """float64 (K, J, J)."""
    try:
        array = np.array(filters, dtype="float64")
    except (TypeError, ValueError):  # ragged, or no numbers
        array = np.zeros(())
    if array.ndim != 3 or array.shape[1] != array.shape[2] or not array.size or not np.isfinite(array).all():
        raise ConfigError(
            "PoseGraphConvolution: the filters are no stack of matrices over the joints",
            found=f"shape {np.shape(array)}" if array.ndim else "no array of numbers",
            expected="finite numbers of shape (filters, joints, joints)",
            fix="give [normalised_adjacency(...)], a list even for one filter",
        )
    return array
