"""The one in-memory form of a skeleton clip, whatever file it came from."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from keras_actrec.errors import ConfigError
from keras_actrec.skeletons.layout import SkeletonLayout


@dataclass(frozen=True, eq=False)
class SkeletonSequence:
    """Bodies over time.

    Attributes:
        joints: float32 (T, P, J, 3), metres in the camera's frame where the source has them; NaN where a body is absent.
        layout: what the J joints are.
        pixels: float32 (T, P, J, 2), (x, y) in the RGB video's pixels; NaN where absent. None where the source has none.
        tracking: uint8 (T, P, J): 0 not tracked, 1 inferred, 2 tracked (Kinect). None where the source has none.
        body_ids: P identifiers of the source. Empty where the source has none.

    Raises:
        ConfigError: an array's shape does not fit the others or the layout.
    """

    joints: np.ndarray
    layout: SkeletonLayout
    pixels: np.ndarray | None = None
    tracking: np.ndarray | None = None
    body_ids: tuple[int, ...] = ()

    def __post_init__(self):
        if self.joints.ndim != 4 or self.joints.shape[2:] != (len(self.layout), 3):
            raise ConfigError("joints have the wrong shape", found=self.joints.shape, expected=f"(T, P, {len(self.layout)}, 3)")
        for name, array, tail in (("pixels", self.pixels, (2,)), ("tracking", self.tracking, ())):
            expected = self.joints.shape[:3] + tail
            if array is not None and array.shape != expected:
                raise ConfigError(f"{name} do not fit the joints", found=array.shape, expected=expected)
        if self.body_ids and len(self.body_ids) != self.people:
            raise ConfigError("one id per body is needed", found=len(self.body_ids), expected=self.people)

    @property
    def length(self) -> int:
        """Number of frames T."""
        return self.joints.shape[0]

    @property
    def people(self) -> int:
        """Number of bodies P."""
        return self.joints.shape[1]

    @property
    def present(self) -> np.ndarray:
        """bool (T, P): the body is there in that frame: at least one of its joints is known."""
        return ~np.isnan(self.joints).all(axis=(2, 3))
