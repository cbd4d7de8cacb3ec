"""Sub-sequence sampling: which frames of a clip become the F frames that a model sees."""

from __future__ import annotations

from dataclasses import dataclass
from types import ModuleType

import numpy as np

from keras_actrec.errors import ConfigError

SAMPLINGS = ("segments", "contiguous")


@dataclass(frozen=True)
class SamplingConfig:
    """How sub-sequences are drawn.

    Attributes:
        frames: frames per sub-sequence, F (20 in the paper, section 4).
        sampling: "segments" (F equal segments of the clip, one random frame from each) or "contiguous" (F frames in a row).
        subsequences: test sub-sequences per clip, K (10 in the paper, section 4).
        seed: seed of the one table of random numbers that all test sub-sequences share.

    Raises:
        ConfigError: a count below 1, a negative seed, or an unknown sampling.
    """

    frames: int = 20
    sampling: str = "segments"
    subsequences: int = 10
    seed: int = 0

    def __post_init__(self):
        for name, least in (("frames", 1), ("subsequences", 1), ("seed", 0)):
            value = getattr(self, name)
            if not isinstance(value, int) or value < least:
                raise ConfigError(f"{name} is out of range", found=value, expected=f"an integer of at least {least}")
        _check_sampling(self.sampling)


def uniforms(seed: int, count: int, frames: int) -> np.ndarray:
    """Draws the table of random numbers behind `subsequence_frames`.

    Returns:
        float64 (count, frames) in [0, 1).
    """
    return np.random.default_rng(seed).random((count, frames))


def subsequence_frames(length, uniforms, sampling: str = "segments", *, xp: ModuleType = np):
    """Turns random numbers into frame indices of a clip, the same to the frame in NumPy and inside a graph.

    Segments: segment i holds frames [i·T // F, (i+1)·T // F), and at least frame i·T // F, so that clips shorter than F repeat
    their frames evenly; the frame is start + floor(u · width). Contiguous: the first frame is floor(u₀ · (T - F + 1)) with the
    first random number of the row; clips shorter than F repeat their frames evenly as above.

    Args:
        length: frames of the clip, T; an int, or with `xp=keras.ops` also an int32 scalar tensor unknown until run time.
        uniforms: float64 (count, F) in [0, 1), see the function of that name.
        sampling: "segments" or "contiguous".
        xp: `numpy`, or `keras.ops` inside a graph (TensorFlow backend: it needs float64).

    Returns:
        int32 (count, F), in each row never decreasing, values in [0, T).

    Raises:
        ConfigError: unknown sampling; with NumPy also a length below 1.
    """
    _check_sampling(sampling)
    if xp is np and length < 1:
        raise ConfigError("a clip without frames has no sub-sequences", found=length, expected="at least one frame")
    frames = uniforms.shape[1]
    steps = np.arange(frames, dtype=np.int32)
    length = xp.array(length, dtype="int32")
    start = xp.floor_divide(length * steps, frames)
    if sampling == "segments":
        end = xp.floor_divide(length * (steps + 1), frames)
        return start + _floor_of_product(uniforms, xp.maximum(end - start, 1), xp)
    first = _floor_of_product(uniforms[:, :1], xp.maximum(length - frames + 1, 1), xp)
    return first + xp.where(length < frames, start, steps)


def interval_frames(length, starts, frames: int, *, xp: ModuleType = np):
    """Frames of a clip at equal intervals, the same to the frame in NumPy and inside a graph.

    Frame i is floor((i + u) · n / T): the start is anywhere in the first of T equal intervals, all others follow at the same
    distance. Clips shorter than T repeat their frames evenly. (Du et al., "RPAN", ICCV 2017, section 4.1: "8 frames are
    randomly sampled from each video with equal interval".)

    Args:
        length: frames of the clip, n; an int, or with `xp=keras.ops` also an int32 scalar tensor unknown until run time.
        starts: u of each view, float64 (V,) in [0, 1); 0.5 is the middle of the intervals.
        frames: frames of a view, T.
        xp: `numpy`, or `keras.ops` inside a graph (TensorFlow backend: it needs float64).

    Returns:
        int32 (V, T), in each row never decreasing, values in [0, n).

    Raises:
        ConfigError: starts of another rank, fewer than one frame; with NumPy also a length below 1.
    """
    if len(starts.shape) != 1:
        raise ConfigError("each view has one start", found=f"shape {tuple(starts.shape)}", expected="(views,)")
    if frames < 1:
        raise ConfigError("a view has no frames", found=frames, expected="at least 1")
    if xp is np and length < 1:
        raise ConfigError("a clip without frames has none to sample", found=length, expected="at least one frame")
    steps = np.arange(frames, dtype=np.int32)
    length = xp.array(length, dtype="int32")
    # In whole numbers: floor((i·n + u·n) / T) = (i·n + floor(u·n)) // T. A graph may turn a division into another rounding.
    offsets = _floor_of_product(starts, length, xp)
    return xp.floor_divide(length * steps[None] + offsets[:, None], frames)


def _floor_of_product(uniforms, width, xp: ModuleType):
    """floor(u · width) as int32. In float64: u < 1 then never rounds up to the next segment."""
    return xp.array(xp.floor(xp.array(uniforms, dtype="float64") * xp.array(width, dtype="float64")), dtype="int32")


def test_subsequences(length: int, config: SamplingConfig) -> np.ndarray:
    """Frames of the K test sub-sequences of a clip; every clip of that length has the same ones.

    Returns:
        int32 (K, F).

    Raises:
        ConfigError: a length below 1.
    """
    table = uniforms(config.seed, config.subsequences, config.frames)
    return subsequence_frames(length, table, config.sampling)


test_subsequences.__test__ = False  # The name is the field's; it is no test for pytest to collect.


def _check_sampling(sampling: str) -> None:
    if sampling not in SAMPLINGS:
        raise ConfigError("unknown sampling", found=repr(sampling), expected=f"one of {', '.join(SAMPLINGS)}")
