"""Losses of RPAN: the class at every step, and attention maps that lie on the joints.

Paper: Du et al., "RPAN: An End-to-End Recurrent Pose-Attention Network for Action Recognition in Videos", ICCV 2017,
equations 12 and 13. Both are sums over the steps, not means. Each gives one value per row, float32 (B,); Keras takes the mean.
"""

from __future__ import annotations

import keras
from keras import ops

from keras_actrec.errors import ConfigError
from keras_actrec.skeletons.heat_maps import check_heat_maps, heat_maps


@keras.saving.register_keras_serializable(package="keras_actrec")
class StepwiseCrossEntropy(keras.losses.Loss):
    """-Σ_t Σ_c y(c) log softmax(output_t)(c), equation 12: the class of the clip is that of every step.

    Output: logits (B, T, classes). Target: classes (B,), or distributions over them (B, classes) where labels are smoothed.

    Raises:
        ConfigError: when it is called: an output or a target of another shape.
    """

    def __init__(self, *, reduction: str = "sum_over_batch_size", name: str | None = None):
        super().__init__(name=name or type(self).__name__, reduction=reduction)

    def call(self, y_true, y_pred):
        if len(y_pred.shape) != 3:
            raise ConfigError(
                f"{self.name}: the output is no logits of steps", found=tuple(y_pred.shape), expected="(B, T, classes)"
            )
        classes = y_pred.shape[2]
        if len(y_true.shape) != 1 and tuple(y_true.shape[1:]) != (classes,):
            raise ConfigError(
                f"{self.name}: the target is no labels", found=tuple(y_true.shape), expected=f"(B,) or (B, {classes})",
                fix='name "labels" in the targets of the objective',
            )  # fmt: skip
        if len(y_true.shape) == 1:  # Keras makes floating-point numbers of all targets
            y_true = ops.one_hot(ops.cast(y_true, "int32"), classes, dtype=y_pred.dtype)
        return -ops.sum(y_true * ops.sum(ops.log_softmax(y_pred, axis=-1), axis=1), axis=-1)


@keras.saving.register_keras_serializable(package="keras_actrec")
class HeatMapLoss(keras.losses.Loss):
    """Σ_J Σ_t Σ_k (M_t^J(k) - α_t^J(k))², equation 13, over the joints that are there.

    M is the heat map of the joint, see `keras_actrec.skeletons.heat_maps`. Joints that are absent or outside of the picture add
    nothing, nor have their maps a gradient; both are finite whatever is missing.

    Output: attention maps α (B, T, J, K1, K2). Target: joints (B, T, J, 2) in [-1, 1] from border to border of the picture, NaN
    where absent.

    Args:
        picture_size: (height, width) of the picture in pixels.
        std: standard deviation of the Gaussian at a joint, in pixels of the picture.

    Raises:
        ConfigError: a size or standard deviation that is none; when it is called: an output or a target of another shape.
    """

    def __init__(
        self,
        picture_size: tuple[int, int],
        std: float = 5.0,
        *,
        reduction: str = "sum_over_batch_size",
        name: str | None = None,
    ):
        super().__init__(name=name or type(self).__name__, reduction=reduction)
        check_heat_maps(tuple(picture_size), None, std)
        self.picture_size, self.std = tuple(picture_size), float(std)

    def call(self, y_true, y_pred):
        if len(y_pred.shape) != 5:
            raise ConfigError(
                f"{self.name}: the output is no attention maps", found=tuple(y_pred.shape), expected="(B, T, J, K1, K2)"
            )
        expected = (*y_pred.shape[1:3], 2)
        if tuple(y_true.shape[1:]) != expected:
            raise ConfigError(
                f"{self.name}: the target is no joints of the attention maps", found=tuple(y_true.shape),
                expected=f"(B, {', '.join(map(str, expected))})", fix="name the joints in the targets of the objective",
            )  # fmt: skip
        grid = (y_pred.shape[3], y_pred.shape[4])
        maps, known = heat_maps(y_true, picture_size=self.picture_size, grid=grid, std=self.std, xp=ops)
        errors = ops.sum(ops.square(maps - y_pred), axis=(-2, -1))  # (B, T, J)
        return ops.sum(ops.where(known, errors, 0.0), axis=(1, 2))

    def get_config(self):
        return {**super().get_config(), "picture_size": list(self.picture_size), "std": self.std}
