"""The cache of clip maps: what a frozen video network makes of each view of each clip, computed once.

A view is a sequence of F frames of the clip (`skeletons/clip_sampling.py`); its map is the network's (t, h, w, c) output, for
VPN the endpoint Mixed_5c of I3D ("VPN: Learning Video-Pose Embedding for Activities of Daily Living", "Training": the
input of VPN is that map).

Shard: `maps` (clips · views, t, h, w, c) float16, see `clip_views`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import ClassVar

import numpy as np

from keras_actrec.cache.clip_views import ViewCache, ViewShardWriter
from keras_actrec.cache.schema import CLIP_MAPS, CacheIndex, CacheOptions


def views_of(options: CacheOptions) -> int:
    """Views per clip of a cache with these options."""
    return int(options.options["sampling"]["views"])


class ClipMapShardWriter(ViewShardWriter):
    """A shard of the cache of clip maps.

    Args:
        directory, index, shard: see `ShardWriter`.
        map_shape: (t, h, w, c).
    """

    types: ClassVar[Mapping[str, type]] = {"maps": np.float16}

    def __init__(self, directory: str | Path, index: CacheIndex, shard: int, map_shape: tuple[int, int, int, int]):
        super().__init__(directory, index, shard, views_of(index.options), {"maps": map_shape})

    def add(self, clip_id: str, maps: np.ndarray, length: int) -> None:
        """Writes one clip.

        Args:
            clip_id: its name.
            maps: (views, t, h, w, c), stored as float16.
            length: frames of the clip.

        Raises:
            CacheError: the maps have another shape.
            DiskFullError: no space left.
        """
        self._add(clip_id, {"maps": maps}, length)


class ClipMapCache(ViewCache):
    """The cache of clip maps; arguments and errors of `CacheReader`.

    `lengths` has the frames of each clip, not its maps: every clip has `views` of them.
    """

    kind = CLIP_MAPS

    @property
    def views(self) -> int:
        """Maps per clip."""
        return views_of(self.options)

    @property
    def map_shape(self) -> tuple[int, int, int, int]:
        """(t, h, w, c) of every map. Raises CacheError where the cache holds no clip."""
        return self._shape("maps")

    def maps(self, ids: Sequence[str], views: np.ndarray) -> np.ndarray:
        """One map of each clip; nothing else is read.

        Args:
            ids: m clip ids, in any order, repeats allowed.
            views: int (m,), the view of each.

        Returns:
            float16 (m, t, h, w, c).

        Raises:
            CacheError: an unknown clip, a view outside 0..views-1, or a damaged shard.
        """
        return self._view_arrays("maps", ids, views, np.float16)
