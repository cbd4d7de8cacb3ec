"""The cache of glimpse maps: what Glimpse Clouds' frozen backbone makes of each view of each clip once, and the joints there.

Source: "Glimpse Clouds: Human Activity Recognition from Unstructured Feature Points" (Baradel, Wolf, Mille, Taylor), sections 3
and 4.4. A view is T frames of the clip and a crop (`video/rgb_clips.py`). Views 0 to views - 1 of a clip are those that it is
tested with, drawn from one table for all clips; `training` further ones, drawn for each clip by itself, follow.

Shard, see `clip_views`: `maps` (clips · views, T, h, w, c) float16, the backbone's last maps; `context` (clips · views, T, c')
float32, the mean over places of its penultimate maps; `joints` (clips · views, T, P, J, 2) float32, [-1, 1] from one border of
the crop to the other, NaN where a joint is absent.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import ClassVar

import numpy as np

from keras_actrec.cache.clip_views import SplitViewCache, ViewShardWriter, split_views
from keras_actrec.cache.schema import GLIMPSE_MAPS, CacheIndex


class GlimpseMapShardWriter(ViewShardWriter):
    """A shard of the cache of glimpse maps.

    Args:
        directory, index, shard: see `ShardWriter`.
        map_shape: (T, h, w, c).
        context: c', size of a context vector.
        joints: (P, J).
    """

    types: ClassVar[Mapping[str, type]] = {"maps": np.float16, "context": np.float32, "joints": np.float32}

    def __init__(
        self,
        directory: str | Path,
        index: CacheIndex,
        shard: int,
        *,
        map_shape: tuple[int, int, int, int],
        context: int,
        joints: tuple[int, int],
    ):
        frames = map_shape[0]
        shapes = {"maps": map_shape, "context": (frames, context), "joints": (frames, *joints, 2)}
        super().__init__(directory, index, shard, split_views(index.options), shapes)

    def add(self, clip_id: str, maps: np.ndarray, context: np.ndarray, joints: np.ndarray, length: int) -> None:
        """Writes one clip.

        Args:
            clip_id: its name.
            maps: (views, T, h, w, c), stored as float16.
            context: (views, T, c').
            joints: (views, T, P, J, 2).
            length: frames of the clip.

        Raises:
            CacheError: an array has another shape.
            DiskFullError: no space left.
        """
        self._add(clip_id, {"maps": maps, "context": context, "joints": joints}, length)


class GlimpseMapCache(SplitViewCache):
    """The cache of glimpse maps; arguments and errors of `CacheReader`.

    `lengths` has the frames of each clip, not its views: every clip has `views` of them.
    """

    kind = GLIMPSE_MAPS

    @property
    def map_shape(self) -> tuple[int, int, int, int]:
        """(T, h, w, c) of the map of a view. Raises CacheError where the cache holds no clip."""
        return self._shape("maps")

    @property
    def context_shape(self) -> tuple[int, int]:
        """(T, c') of the context of a view. Raises CacheError where the cache holds no clip."""
        return self._shape("context")

    @property
    def joints_shape(self) -> tuple[int, int, int, int]:
        """(T, P, J, 2) of the joints of a view. Raises CacheError where the cache holds no clip."""
        return self._shape("joints")

    def maps(self, ids: Sequence[str], views: np.ndarray) -> np.ndarray:
        """The map of one view of each clip; nothing else is read.

        Args:
            ids: m clip ids, in any order, repeats allowed.
            views: int (m,), the view of each.

        Returns:
            float16 (m, T, h, w, c).

        Raises:
            CacheError: an unknown clip, a view outside 0..views-1, or a damaged shard.
        """
        return self._view_arrays("maps", ids, views, np.float16)

    def context(self, ids: Sequence[str], views: np.ndarray) -> np.ndarray:
        """Context vectors, float32 (m, T, c'); arguments and errors as for `maps`."""
        return self._view_arrays("context", ids, views, np.float32)

    def joints(self, ids: Sequence[str], views: np.ndarray) -> np.ndarray:
        """Joints in the crop, float32 (m, T, P, J, 2) in [-1, 1], NaN where absent; arguments and errors as for `maps`."""
        return self._view_arrays("joints", ids, views, np.float32)
