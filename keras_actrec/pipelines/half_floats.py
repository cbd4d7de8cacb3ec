"""Float16 of caches as the float32 of batches, several times as fast as NumPy's own conversion."""

from __future__ import annotations

import numpy as np

_AT_ONCE = 2**16
"""Values converted at once: what stays in a core's own cache."""
_EXPONENT_STEP = np.int32((127 - 15) << 23)
"""Between the exponents of float16 and float32, in bits of a float32."""
_LEAST_NORMAL = np.float32(2.0**-14)


def to_float32(halves: np.ndarray) -> np.ndarray:
    """The same values as float32, to the bit; for finite values, which is all that caches of maps and cubes hold.

    Exponent and mantissa are moved to their places in a float32, t, and the exponent is raised. For float16's subnormal numbers
    (and 0), where t is too large, the value is 2 · t - 2^-14. No number in between is subnormal for float32: TensorFlow's
    threads, which load batches, take those for 0.

    Args:
        halves: float16, of any shape.

    Returns:
        float32 of that shape.
    """
    values = np.empty(halves.shape, np.float32)
    source, target = np.ascontiguousarray(halves).reshape(-1).view(np.int16), values.reshape(-1)
    less = np.empty(min(len(target), _AT_ONCE), np.float32)
    for start in range(0, len(target), _AT_ONCE):
        stored, part = source[start : start + _AT_ONCE], target[start : start + _AT_ONCE]
        bits, missing = part.view(np.int32), less[: len(part)]
        np.bitwise_and(stored, 0x7FFF, out=bits, casting="unsafe")
        bits <<= 13
        bits += _EXPONENT_STEP
        np.subtract(part, _LEAST_NORMAL, out=missing)
        np.minimum(missing, 0, out=missing)
        part += missing
        if stored.min() < 0:  # after a ReLU there are none
            bits |= (stored < 0).astype(np.int32) << 31
    return values
