"""Losses of a single output, without a target: embedding distances and attention regularisers (VPN, equations 5 and 6).

Each gives one value per row, float32 (B,), from an output (B, …), and ignores the target. Keras takes the mean over the rows,
with the weights of `evaluation_dataset`: padding rows have weight 0.
"""

from __future__ import annotations

import keras
from keras import ops


class _OutputLoss(keras.losses.Loss):
    """What the losses of this file share: a name that is the same for every instance, and rows flattened to (B, values)."""

    def __init__(self, reduction: str = "sum_over_batch_size", name: str | None = None):
        super().__init__(name=name or type(self).__name__, reduction=reduction)

    def call(self, y_true, y_pred):
        return self.per_row(ops.reshape(y_pred, (ops.shape(y_pred)[0], -1)))

    def per_row(self, values):
        """(B, values) → (B,)."""
        raise NotImplementedError


@keras.saving.register_keras_serializable(package="keras_actrec")
class MeanValue(_OutputLoss):
    """The output itself, for an output that is a loss already, as the embedding distance L_e of VPN, (B,).

    Of an output with more axes the mean of a row.
    """

    def per_row(self, values):
        return ops.mean(values, axis=1)


@keras.saving.register_keras_serializable(package="keras_actrec")
class SquaredValue(_OutputLoss):
    """The squared output, (B,): the mean-squared error to 0 that VPN's published code takes of its embedding distance.

    Of an output with more axes the mean of a row.
    """

    def per_row(self, values):
        return ops.mean(ops.square(values), axis=1)


@keras.saving.register_keras_serializable(package="keras_actrec")
class SquaredSum(_OutputLoss):
    """Σ_j A_S(j)² over all axes but the batch: the spatial part of VPN, equation 6."""

    def per_row(self, values):
        return ops.sum(ops.square(values), axis=1)


@keras.saving.register_keras_serializable(package="keras_actrec")
class SquaredShortfall(_OutputLoss):
    """Σ_j (1 - A_T(j))² over all axes but the batch: the temporal part of VPN, equation 6."""

    def per_row(self, values):
        return ops.sum(ops.square(1.0 - values), axis=1)


@keras.saving.register_keras_serializable(package="keras_actrec")
class BatchSumToOne(_OutputLoss):
    """(1 - Σ A)², the sum over the whole batch's attention, as VPN's published code regularises it; the same for every row.

    The batch is that of one device: with several devices it is the mean over them of each one's value, which is not that of
    all rows on one device, and the value depends on the batch size. In validation it is summed over padding rows too.
    """

    def per_row(self, values):
        return ops.broadcast_to(ops.square(1.0 - ops.sum(values)), (ops.shape(values)[0],))
