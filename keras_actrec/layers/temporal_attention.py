"""Weighted average over time, with weights predicted from the whole sub-sequence at once.

Paper: Baradel, Wolf, Mille, "Pose-conditioned Spatio-Temporal Attention for Human Action Recognition", 2017, section 3.3.
"""

from __future__ import annotations

import keras
from keras import ops

from keras_actrec.errors import ConfigError
from keras_actrec.layers.attention import attention_dtype, attention_weights
from keras_actrec.layers.dense import Dense


@keras.saving.register_keras_serializable(package="keras_actrec")
class TemporalAttentionPooling(keras.layers.Layer):
    """Temporal attention (equation 7) and the pooling it serves, for a fixed number of steps T.

        p' = softmax(MLP([P, s]))        eq. 7; one sigmoid hidden layer, T scores; P = all p_t as one vector
        ũ = U p' = Σ_t p'_t u_t          section 3.3

    The features u_t = ReLU(W h_t + b) of equation 6 come in from a Dense layer.

    Args:
        attention_units: size of the hidden layer of the attention MLP (paper: 512).

    Call arguments:
        features: U, (B, T, F); T has to be known when the layer is built.
        spatial_attention: p_1 … p_T, (B, T, N), or None where the hands are pooled without attention.
        pose_features: s, (B, S), or None for attention that is not conditioned on pose (Table 5).

    Returns:
        pooled: ũ, (B, F).
        temporal_attention: p', (B, T), adds up to 1; at least float32 whatever the dtype policy.

    Raises:
        ConfigError: `attention_units` below 1, T unknown, or nothing given to predict the weights from.
    """

    def __init__(self, *, attention_units: int = 512, trainable: bool = True, name: str | None = None, dtype=None):
        super().__init__(trainable=trainable, name=name, dtype=dtype)
        if attention_units < 1:
            raise ConfigError(
                "TemporalAttentionPooling: attention_units has to be positive", found=attention_units, fix="give at least 1"
            )
        self.attention_units = attention_units

    def build(self, features_shape, spatial_attention_shape=None, pose_features_shape=None):
        if len(features_shape) != 3 or features_shape[1] is None:
            raise ConfigError(
                "TemporalAttentionPooling: the number of steps has to be known",
                found=tuple(features_shape),
                expected="(batch, steps, features)",
                fix="give keras.Input the number of frames",
            )
        if spatial_attention_shape is None and pose_features_shape is None:
            raise ConfigError(
                "TemporalAttentionPooling: nothing to predict the weights from",
                expected="spatial attention, pose features, or both",
                fix="pass one of them, or average over time instead",
            )
        context_size = 0
        if spatial_attention_shape is not None:
            context_size += spatial_attention_shape[1] * spatial_attention_shape[2]
        if pose_features_shape is not None:
            context_size += pose_features_shape[-1]
        self.hidden = Dense(self.attention_units, activation="sigmoid", name="hidden", dtype=self.dtype_policy)
        self.hidden.build((None, context_size))
        self.scores = keras.layers.Dense(features_shape[1], name="scores", dtype=self.dtype_policy)
        self.scores.build((None, self.attention_units))

    def call(self, features, spatial_attention=None, pose_features=None):
        context = []
        if spatial_attention is not None:
            _, steps, count = spatial_attention.shape
            context.append(ops.reshape(spatial_attention, (-1, steps * count)))
        if pose_features is not None:
            context.append(pose_features)
        weights = attention_weights(self.scores(self.hidden(ops.concatenate(context, axis=-1))))
        pooled = ops.einsum("bt,btf->bf", ops.cast(weights, self.compute_dtype), features)
        return pooled, weights

    def compute_output_spec(self, features, spatial_attention=None, pose_features=None):
        batch, steps, size = features.shape
        return (
            keras.KerasTensor((batch, size), dtype=self.compute_dtype),
            keras.KerasTensor((batch, steps), dtype=attention_dtype(self.compute_dtype)),
        )

    def get_config(self):
        return {**super().get_config(), "attention_units": self.attention_units}
