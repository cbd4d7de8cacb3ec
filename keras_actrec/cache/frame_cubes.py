"""The cache of frame cubes: what RPAN's frozen network makes of each frame of each view once, and the joints there.

Source: "RPAN: An End-to-End Recurrent Pose-Attention Network for Action Recognition in Videos" (Du, Wang, Qiao), section 3.1:
"the convolutional cube" C_t of K1 × K2 × d of each frame. A view is T frames of the clip (`video/frame_clips.py`). Views 0 to
views - 1 of a clip are those that it is tested with; `training` further ones, drawn for each clip by itself, follow.

Shard, see `clip_views`: `cubes` (clips · views, T, K1, K2, d) float16; `pooled` (clips · views, T, d') float32, the mean over
places of the network's last maps; `joints` (clips · views, T, J, 2) float32, [-1, 1] from one border of the picture to the
other, NaN where a joint is absent or outside of the picture, and everywhere in a cache that was made without poses.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import ClassVar

import numpy as np

from keras_actrec.cache.clip_views import SplitViewCache, ViewShardWriter, split_views
from keras_actrec.cache.schema import FRAME_CUBES, CacheIndex


class FrameCubeShardWriter(ViewShardWriter):
    """A shard of the cache of frame cubes.

    Args:
        directory, index, shard: see `ShardWriter`.
        cube_shape: (T, K1, K2, d).
        pooled: d', size of a pooled vector.
        joints: J.
    """

    types: ClassVar[Mapping[str, type]] = {"cubes": np.float16, "pooled": np.float32, "joints": np.float32}

    def __init__(
        self,
        directory: str | Path,
        index: CacheIndex,
        shard: int,
        *,
        cube_shape: tuple[int, int, int, int],
        pooled: int,
        joints: int,
    ):
        frames = cube_shape[0]
        shapes = {"cubes": cube_shape, "pooled": (frames, pooled), "joints": (frames, joints, 2)}
        super().__init__(directory, index, shard, split_views(index.options), shapes)

    def add(self, clip_id: str, cubes: np.ndarray, pooled: np.ndarray, joints: np.ndarray, length: int) -> None:
        """Writes one clip.

        Args:
            clip_id: its name.
            cubes: (views, T, K1, K2, d), stored as float16.
            pooled: (views, T, d').
            joints: (views, T, J, 2).
            length: frames of the clip.

        Raises:
            CacheError: an array has another shape.
            DiskFullError: no space left.
        """
        self._add(clip_id, {"cubes": cubes, "pooled": pooled, "joints": joints}, length)


class FrameCubeCache(SplitViewCache):
    """The cache of frame cubes; arguments and errors of `CacheReader`.

    `lengths` has the frames of each clip, not its views: every clip has `views` of them.
    """

    kind = FRAME_CUBES

    @property
    def has_poses(self) -> bool:
        """Whether the cache was made with poses; without them all joints are NaN."""
        return self.options.options["poses"] is not None

    @property
    def cube_shape(self) -> tuple[int, int, int, int]:
        """(T, K1, K2, d) of the cubes of a view. Raises CacheError where the cache holds no clip."""
        return self._shape("cubes")

    @property
    def pooled_shape(self) -> tuple[int, int]:
        """(T, d') of the pooled vectors of a view. Raises CacheError where the cache holds no clip."""
        return self._shape("pooled")

    @property
    def joints_shape(self) -> tuple[int, int, int]:
        """(T, J, 2) of the joints of a view. Raises CacheError where the cache holds no clip."""
        return self._shape("joints")

    def cubes(self, ids: Sequence[str], views: np.ndarray) -> np.ndarray:
        """The cubes of one view of each clip; nothing else is read.

        Args:
            ids: m clip ids, in any order, repeats allowed.
            views: int (m,), the view of each.

        Returns:
            float16 (m, T, K1, K2, d).

        Raises:
            CacheError: an unknown clip, a view outside 0..views-1, or a damaged shard.
        """
        return self._view_arrays("cubes", ids, views, np.float16)

    def pooled(self, ids: Sequence[str], views: np.ndarray) -> np.ndarray:
        """Pooled vectors, float32 (m, T, d'); arguments and errors as for `cubes`."""
        return self._view_arrays("pooled", ids, views, np.float32)

    def joints(self, ids: Sequence[str], views: np.ndarray) -> np.ndarray:
        """Joints in the picture, float32 (m, T, J, 2) in [-1, 1], NaN where absent; arguments and errors as for `cubes`."""
        return self._view_arrays("joints", ids, views, np.float32)
