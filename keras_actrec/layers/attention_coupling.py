"""Weights a feature map by attention over space and time, coupled or each on its own.

Paper: Das et al., "VPN: Learning Video-Pose Embedding for Activities of Daily Living", ECCV 2020, section 3.2, "Spatio-temporal
Coupler", and the variants of Tables 2 and 4.
"""

from __future__ import annotations

import keras
from keras import ops

from keras_actrec.errors import ConfigError
from keras_actrec.layers.attention import attention_dtype

COUPLINGS = ("coupled", "dissociated", "spatial")


@keras.saving.register_keras_serializable(package="keras_actrec")
class SpatioTemporalCoupling(keras.layers.Layer):
    """Modulates a map f by spatial weights A_S and temporal weights A_T, with a residual connection.

        coupled      A_ST = inflate(A_S) ∘ inflate(A_T), f' = A_ST · f + f      the paper's
        dissociated  [A_S · f + f, A_T · f + f] side by side in the channels    Table 2 without the coupler
        spatial      f' = A_S · f + f                                           Table 4

    The same weights serve every window of the map.

    Args:
        mode: "coupled", "dissociated" or "spatial".

    Call arguments:
        features: f, (B, n, t, h, w, c), n windows; t, h and w have to be known when the layer is built.
        spatial: A_S, (B, h·w), row by row.
        temporal: A_T, (B, t); None with "spatial", and only there.

    Returns:
        modulated: f', (B, n, t, h, w, c), 2c channels with "dissociated".
        attention: (B, t, h, w), at least float32 whatever the dtype policy: A_ST; with "spatial" A_S at every t; with
            "dissociated" A_ST too, to be looked at only.

    Raises:
        ConfigError: an unknown mode, temporal weights missing or too many, or weights that do not fit the map.
    """

    def __init__(self, mode: str = "coupled", *, trainable: bool = True, name: str | None = None, dtype=None):
        # No autocast: attention that comes in float32 is multiplied and returned in float32.
        super().__init__(trainable=trainable, name=name, dtype=dtype, autocast=False)
        if mode not in COUPLINGS:
            raise ConfigError(
                "SpatioTemporalCoupling: unknown mode", found=repr(mode), expected=f"one of {', '.join(COUPLINGS)}"
            )
        self.mode = mode

    def build(self, features_shape, spatial_shape, temporal_shape=None):
        if len(features_shape) != 6 or None in features_shape[2:5]:
            raise ConfigError(
                "SpatioTemporalCoupling: time, height and width of `features` have to be known",
                found=tuple(features_shape),
                expected="(batch, windows, time, height, width, channels)",
                fix="cut the map with MapWindows first",
            )
        if (temporal_shape is None) != (self.mode == "spatial"):
            raise ConfigError(
                f"SpatioTemporalCoupling: mode {self.mode!r} does not go with these weights",
                found="no temporal weights" if temporal_shape is None else "temporal weights",
                expected="temporal weights with 'coupled' and 'dissociated', none with 'spatial'",
            )
        steps, height, width = features_shape[2:5]
        for argument, shape, size in (("spatial", spatial_shape, height * width), ("temporal", temporal_shape, steps)):
            if shape is not None and (len(shape) != 2 or shape[1] != size):
                raise ConfigError(
                    f"SpatioTemporalCoupling: `{argument}` does not fit the map",
                    found=tuple(shape),
                    expected=f"(batch, {size}) for maps of {steps} x {height} x {width}",
                )

    def call(self, features, spatial, temporal=None):
        steps, height, width = features.shape[2:5]
        weights_dtype = attention_dtype(self.compute_dtype)
        features = ops.cast(features, self.compute_dtype)
        over_space = ops.reshape(ops.cast(spatial, weights_dtype), (-1, 1, height, width))
        if temporal is None:
            over_time = ops.ones((1, steps, 1, 1), dtype=weights_dtype)
        else:
            over_time = ops.reshape(ops.cast(temporal, weights_dtype), (-1, steps, 1, 1))
        attention = over_space * over_time
        if self.mode == "dissociated":
            parts = [self._modulate(features, weights) for weights in (over_space, over_time)]
            return ops.concatenate(parts, axis=-1), attention
        return self._modulate(features, attention), attention

    def _modulate(self, features, weights):
        """A · f + f for weights that broadcast to (B, t, h, w)."""
        weights = ops.cast(weights[:, None, ..., None], self.compute_dtype)
        return weights * features + features

    def get_config(self):
        return {**super().get_config(), "mode": self.mode}
