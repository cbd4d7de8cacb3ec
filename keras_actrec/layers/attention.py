"""The softmax that turns attention scores into weights, safe under reduced-precision dtype policies."""

from __future__ import annotations

from keras import backend, ops


def attention_dtype(compute_dtype: str) -> str:
    """The dtype attention weights are computed and returned in: float32, or the compute dtype where that is wider."""
    return backend.result_type(compute_dtype, "float32")


def attention_weights(scores):
    """Softmax over the last axis, in at least float32: weights rounded to bfloat16 would no longer add up to 1.

    Args:
        scores: (..., n), any floating dtype.

    Returns:
        (..., n) weights that add up to 1, in `attention_dtype(scores.dtype)`.
    """
    return ops.softmax(ops.cast(scores, attention_dtype(backend.standardize_dtype(scores.dtype))), axis=-1)
