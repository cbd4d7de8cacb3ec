"""Joints read off attention maps, and PCK: how many of them lie near enough to where they are.

Du et al., "RPAN", ICCV 2017, section 4.4: "For the attention heat map of each human joint, we find the location with the
highest attention score as the estimated joint location." The criterion is that of the works it follows, B. X. Nie et al.,
"Joint Action Recognition and Pose Estimation From Video", CVPR 2015, and U. Iqbal et al., "Pose for Action - Action for Pose",
FG 2017.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import isfinite, nan
from types import ModuleType

import numpy as np

from keras_actrec.errors import ConfigError


@dataclass(frozen=True)
class PCK:
    """Percentage of correct key points, as shares.

    Attributes:
        mean: share of all joints that were counted; not a number where there was none.
        per_joint: share of each joint of the layout; not a number where it was never counted.
        counted: joints that were counted, over all frames.
    """

    mean: float
    per_joint: tuple[float, ...]
    counted: int


def attention_joints(attention, xp: ModuleType = np):
    """The middle of the place of highest attention of each map; of equal ones the first, row by row.

    Args:
        attention: (..., J, K1, K2).
        xp: `numpy`, or `keras.ops` inside a graph.

    Returns:
        float32 (..., J, 2), x and y in [-1, 1] from border to border of the picture.

    Raises:
        ConfigError: no maps.
    """
    if len(attention.shape) < 3:
        raise ConfigError("joints are read off maps", found=f"shape {tuple(attention.shape)}", expected="(..., J, K1, K2)")
    rows, columns = attention.shape[-2:]
    place = xp.argmax(xp.reshape(attention, (*xp.shape(attention)[:-2], rows * columns)), axis=-1)
    x, y = place % columns, place // columns
    middles = [(xp.array(index, dtype="float32") + 0.5) * (2 / count) - 1 for index, count in ((x, columns), (y, rows))]
    return xp.stack(middles, axis=-1)


class PCKCounter:
    """Counts joints that are predicted rightly, batch by batch.

    A joint is right within `threshold` times the longer side of the box around the joints that are known in its frame, in
    pixels of the picture. Joints that are NaN are not known; a frame whose known joints are fewer than two, or all in one
    place, has no box and does not count.

    Args:
        joints: joints of the layout, J.
        picture_size: (height, width) of the picture in pixels: in [-1, 1] its sides look the same.
        threshold: share of the side.

    Raises:
        ConfigError: no joints, a size that is no two sides, a threshold not above 0.
    """

    def __init__(self, joints: int, *, picture_size: tuple[int, int], threshold: float = 0.2):
        if joints < 1:
            raise ConfigError("there are no joints to count", found=joints, expected="at least 1")
        if len(picture_size) != 2 or min(picture_size) < 1:
            raise ConfigError("the picture that joints lie in has no such size", found=picture_size, expected="(height, width)")
        if not (isfinite(threshold) and threshold > 0):
            raise ConfigError("the threshold of PCK is out of range", found=threshold, expected="a number above 0")
        self._pixels = np.array(picture_size[::-1], np.float64) / 2
        self._threshold = threshold
        self._right, self._counted = (np.zeros(joints, np.int64) for _ in range(2))

    def add(self, predicted: np.ndarray, joints: np.ndarray) -> None:
        """Counts the joints of some frames.

        Args:
            predicted: (..., J, 2), x and y in [-1, 1] from border to border of the picture.
            joints: where they are, of the same shape; NaN where absent.

        Raises:
            ConfigError: another shape.
        """
        predicted, joints = (np.asarray(places, np.float64) for places in (predicted, joints))
        expected = (len(self._right), 2)
        if joints.shape[-2:] != expected or predicted.shape != joints.shape:
            raise ConfigError(
                "predicted joints are not compared with these", found=f"{predicted.shape} and {joints.shape}",
                expected=f"the same shape, (..., {expected[0]}, 2)",
            )  # fmt: skip
        predicted, joints = (places.reshape(-1, *expected) * self._pixels for places in (predicted, joints))
        known = np.isfinite(joints).all(axis=-1)  # (frames, J)
        low, high = (np.where(known[..., None], joints, missing) for missing in (np.inf, -np.inf))
        side = np.where(known.any(axis=1), (high.max(axis=1) - low.min(axis=1)).max(axis=1), 0)
        known &= (side > 0)[:, None]
        distances = np.linalg.norm(np.where(known[..., None], predicted - joints, np.inf), axis=-1)
        self._right += (distances <= self._threshold * side[:, None]).sum(axis=0, where=known)
        self._counted += known.sum(axis=0)

    def result(self) -> PCK:
        """The shares of everything added so far."""
        shares = (int(right) / int(count) if count else nan for right, count in zip(self._right, self._counted, strict=True))
        counted = int(self._counted.sum())
        return PCK(int(self._right.sum()) / counted if counted else nan, tuple(shares), counted)


def pck(predicted: np.ndarray, joints: np.ndarray, *, picture_size: tuple[int, int], threshold: float = 0.2) -> PCK:
    """PCK of joints that are all at hand, see `PCKCounter`.

    Args:
        predicted: (..., J, 2), x and y in [-1, 1] from border to border of the picture.
        joints: where they are, of the same shape; NaN where absent.
        picture_size: (height, width) of the picture in pixels.
        threshold: share of the longer side of the box around the known joints of a frame.

    Raises:
        ConfigError: another shape, a size that is no two sides, a threshold not above 0.
    """
    if np.ndim(joints) < 2:
        raise ConfigError("joints are places in a picture", found=f"shape {np.shape(joints)}", expected="(..., J, 2)")
    counter = PCKCounter(np.shape(joints)[-2], picture_size=picture_size, threshold=threshold)
    counter.add(predicted, joints)
    return counter.result()
