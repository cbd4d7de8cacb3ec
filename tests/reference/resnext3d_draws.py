"""Seeded weights and clips that the published 3D ResNeXt and this package's are compared on; NumPy alone."""

from __future__ import annotations

import zlib

import numpy as np

CLASSES = 400
MEAN = np.array([114.7748, 107.7354, 99.4750])  # of ActivityNet, R, G, B in 0..255: mean.py of the published code
# Name → blocks, (frames, height, width, seed) of the clip. Odd sizes show on which side zeros are padded.
CASES = {
    "small": ((1, 2, 1, 1), (13, 45, 45, 1)),
    "whole": ((3, 4, 23, 3), (16, 64, 64, 2)),
}


def draw_tensor(name: str, shape: tuple[int, ...]) -> np.ndarray:
    """float32 values of one tensor of the state_dict; they depend on its name and shape alone."""
    rng = np.random.default_rng(zlib.crc32(name.encode()))
    if len(shape) > 1:
        return (rng.standard_normal(shape, np.float32) * np.sqrt(2.0 / np.prod(shape[1:]))).astype(np.float32)
    if name.endswith(("bias", "running_mean")):
        return rng.normal(0.0, 0.1, shape).astype(np.float32)
    # Small scales at the end of each block keep the sum of 33 residuals in range.
    low, high = (0.1, 0.4) if name.endswith("bn3.weight") else (0.5, 1.5)
    if name == "bn1.running_var":
        low, high = 5e3, 2e4  # the first convolution sees values up to 150
    return rng.uniform(low, high, shape).astype(np.float32)


def draw_clip(clip: tuple[int, int, int, int]) -> np.ndarray:
    """float32 (frames, height, width, 3) in [-1, 1]."""
    *shape, seed = clip
    return np.random.default_rng(seed).uniform(-1.0, 1.0, (*shape, 3)).astype(np.float32)
