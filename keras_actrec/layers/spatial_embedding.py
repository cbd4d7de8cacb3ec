"""How far video and pose lie apart in a common space: the spatial embedding of VPN.

Paper: Das et al., "VPN: Learning Video-Pose Embedding for Activities of Daily Living", ECCV 2020, section 3.2 (II), equations 3
and 4, and Table 3.
"""

from __future__ import annotations

from math import sqrt

import keras
from keras import ops

from keras_actrec.errors import ConfigError
from keras_actrec.layers.attention import attention_dtype

EMBEDDING_LOSSES = ("euclidean", "kl_visual_pose", "kl_pose_visual", "kl_both")
_LEAST_NORM = 1e-6  # Shorter vectors have no direction; they stay as they are, and so does their gradient.


@keras.saving.register_keras_serializable(package="keras_actrec")
class SpatialEmbedding(keras.layers.Layer):
    """Maps video and pose linearly to one space and measures their distance there (equations 3 and 4).

        f_s = Σ_i f(i, :, :, :)                       sum over time, as one vector
        f_e = T_v f_s,  P_e = T_p z_1                 eq. 3
        f̂_e = f_e / ‖f_e‖,  P̂_e = P_e / ‖P_e‖

        euclidean       L_e = ‖f̂_e - P̂_e‖²            eq. 4, between 0 and 4
        kl_visual_pose  D_KL(p ‖ q)                   Table 3, D_KL(f_e ‖ P_e)
        kl_pose_visual  D_KL(q ‖ p)                   Table 3, D_KL(P_e ‖ f_e)
        kl_both         D_KL(p ‖ q) + D_KL(q ‖ p)     Table 3, bi-directional

    The norms of T_v and T_p (Frobenius) are 1 from the start and held there by a constraint, as equation 4 demands. After its
    scaling to the unit sphere no output depends on these norms; holding them keeps gradients from fading as weights grow.

    The paper does not say how a vector of the embedding becomes a distribution. Here p = softmax(√units · f̂_e) and
    q = softmax(√units · P̂_e): scores of root mean square 1. Softmax of f_e and P_e themselves would hang on the size of the
    map and of its values, and with T_v and T_p of norm 1 stay near uniform. For small distances D_KL is then about L_e / 2,
    so that λ_1 of the paper weighs all four losses alike.

    Args:
        units: size of the common space, D_e.
        loss: "euclidean", "kl_visual_pose", "kl_pose_visual" or "kl_both".

    Call arguments:
        features: f, (B, n, t, h, w, c), n windows; n, h, w and c have to be known when the layer is built.
        latent: z_1, (B, D_p).

    Returns:
        (B,), the mean over windows; at least float32 whatever the dtype policy.

    Raises:
        ConfigError: `units` below 1, an unknown loss, or inputs of unknown or wrong shape.
    """

    def __init__(
        self,
        units: int = 256,
        loss: str = "euclidean",
        *,
        trainable: bool = True,
        name: str | None = None,
        dtype=None,
    ):
        # No autocast: sums over tens of thousands of values and differences of near vectors are left to float32.
        super().__init__(trainable=trainable, name=name, dtype=dtype, autocast=False)
        if units < 1:
            raise ConfigError("SpatialEmbedding: units has to be positive", found=units, fix="give at least 1")
        if loss not in EMBEDDING_LOSSES:
            raise ConfigError(
                "SpatialEmbedding: unknown loss", found=repr(loss), expected=f"one of {', '.join(EMBEDDING_LOSSES)}"
            )
        self.units = units
        self.loss = loss

    def build(self, features_shape, latent_shape):
        shapes = (features_shape, latent_shape)
        if (
            len(features_shape) != 6
            or len(latent_shape) != 2
            or None in (features_shape[1], *features_shape[3:], latent_shape[1])
        ):
            raise ConfigError(
                "SpatialEmbedding: the shapes of `features` and `latent` have to be known",
                found=" and ".join(str(tuple(shape)) for shape in shapes),
                expected="(batch, windows, time, height, width, channels) and (batch, values)",
                fix="cut the map with MapWindows first, and give keras.Input the full shapes",
            )
        _, _, _, height, width, channels = features_shape
        self.visual_kernel = self._map("visual_kernel", height * width * channels)
        self.pose_kernel = self._map("pose_kernel", latent_shape[1])

    def _map(self, name: str, size: int):
        return self.add_weight(
            name=name,
            shape=(size, self.units),
            initializer=_unit_norm,
            constraint=keras.constraints.UnitNorm(axis=(0, 1)),
            autocast=False,  # Keras casts weights of a layer without autocast all the same.
        )

    def call(self, features, latent):
        dtype = attention_dtype(self.compute_dtype)
        _, windows, _, height, width, channels = features.shape
        summed = ops.reshape(ops.sum(ops.cast(features, dtype), axis=2), (-1, windows, height * width * channels))
        visual = _on_sphere(ops.matmul(summed, ops.cast(self.visual_kernel, dtype)))
        pose = _on_sphere(ops.matmul(ops.cast(latent, dtype), ops.cast(self.pose_kernel, dtype)))
        return ops.mean(self._distance(visual, pose[:, None]), axis=1)

    def _distance(self, visual, pose):
        """(B, n, units) and (B, 1, units) of norm 1 → (B, n)."""
        if self.loss == "euclidean":
            return ops.sum(ops.square(visual - pose), axis=-1)
        visual, pose = (ops.log_softmax(sqrt(self.units) * vector, axis=-1) for vector in (visual, pose))
        if self.loss == "kl_visual_pose":
            return _divergence(visual, pose)
        if self.loss == "kl_pose_visual":
            return _divergence(pose, visual)
        return _divergence(visual, pose) + _divergence(pose, visual)

    def get_config(self):
        return {**super().get_config(), "units": self.units, "loss": self.loss}


def _on_sphere(vectors):
    """Vectors of norm 1 along the last axis. Those near 0 stay as they are: the gradient of a norm has no value at 0."""
    squares = ops.sum(ops.square(vectors), axis=-1, keepdims=True)
    return vectors * ops.rsqrt(ops.where(squares > _LEAST_NORM**2, squares, 1.0))


def _divergence(first, second):
    """D_KL of two distributions given by their logarithms."""
    return ops.sum(ops.exp(first) * (first - second), axis=-1)


def _unit_norm(shape, dtype=None):
    """Glorot's uniform initial weights, scaled to Frobenius norm 1."""
    kernel = keras.initializers.GlorotUniform()(shape, dtype=dtype)
    return kernel / ops.norm(kernel)
