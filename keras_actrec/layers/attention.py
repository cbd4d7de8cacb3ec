"""The softmax that turns attention scores into weights, safe under reduced-precision dtype policies."""

from __future__ import annotations

from keras import backend, ops


def attention_dtype(compute_dtype: str) -> str:
    """The dtype attention weights are computed and returned in: float32, or the compute dtype where that is wider."""
    return backend.result_type(compute_dtype, "float32")


def attention_weights(scores, present=None):
    """Softmax over the last axis, in at least float32: weights rounded to bfloat16 would no longer add up to 1.

    Args:
        scores: (..., n), any floating dtype.
        present: bool (..., n), or None for all: what is not present gets weight 0. Where nothing is present, everything counts.

    Returns:
        (..., n) weights that add up to 1, in `attention_dtype(scores.dtype)`.
    """
    scores = ops.cast(scores, attention_dtype(backend.standardize_dtype(scores.dtype)))
    if present is not None:
        counted = ops.logical_or(present, ops.logical_not(ops.any(present, axis=-1, keepdims=True)))
        scores = ops.where(counted, scores, -1e9)
    return ops.softmax(scores, axis=-1)
