"""The cache of clip maps: what a frozen video network makes of each view of each clip, computed once.

A view is a sequence of F frames of the clip (`skeletons/clip_sampling.py`); its map is the network's (t, h, w, c) output, for
VPN the endpoint Mixed_5c of I3D ("VPN: Learning Video-Pose Embedding for Activities of Daily Living", "Training": the
input of VPN is that map).

Shard: `maps` (clips · views, t, h, w, c) float16, the views of a clip one after the other, clips in the order of `clip_ids`;
one checksummed chunk per map, so that a map is read by itself. `lengths` are the frames of the clips.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

import numpy as np

from keras_actrec.cache.reader import CacheReader
from keras_actrec.cache.schema import CLIP_MAPS, CacheIndex, CacheOptions
from keras_actrec.cache.writer import ShardWriter
from keras_actrec.errors import CacheError


def views_of(options: CacheOptions) -> int:
    """Views per clip of a cache with these options."""
    return int(options.options["sampling"]["views"])


class ClipMapShardWriter(ShardWriter):
    """A shard of the cache of clip maps.

    Args:
        directory, index, shard: see `ShardWriter`.
        map_shape: (t, h, w, c).
    """

    def __init__(self, directory: str | Path, index: CacheIndex, shard: int, map_shape: tuple[int, int, int, int]):
        super().__init__(directory, index, shard)
        self._shape = (views_of(index.options), *map_shape)

    def _create(self) -> None:
        shape = self._shape[1:]
        self._maps = self._file.create_dataset(
            "maps", (0, *shape), np.float16, maxshape=(None, *shape), chunks=(1, *shape), fletcher32=True
        )

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
        if maps.shape != self._shape:
            raise CacheError(
                "maps do not fit the cache",
                file=self.path,
                place=f"clip {clip_id}",
                found=maps.shape,
                expected=f"{self._shape} (views, t, h, w, c)",
            )
        views, row = len(maps), len(self._maps)
        with self._guard(f"clip {clip_id}", maps.size * 2):
            self._maps.resize(row + views, axis=0)
            self._maps[row : row + views] = np.asarray(maps, np.float16)
        self._lengths[clip_id] = length


class ClipMapCache(CacheReader):
    """The cache of clip maps; arguments and errors of `CacheReader`.

    `lengths` has the frames of each clip, not its maps: every clip has `views` of them.
    """

    kind = CLIP_MAPS

    def __init__(
        self,
        directory: str | Path,
        expected: CacheOptions | None = None,
        *,
        allow_incomplete: bool = False,
        open_shards: int = 16,
    ):
        super().__init__(directory, expected, allow_incomplete=allow_incomplete, open_shards=open_shards)
        self._rows: dict[str, int] = {}
        before: Counter[Path] = Counter()
        for clip_id, path in self._places.items():  # in the order of each shard's `clip_ids`
            self._rows[clip_id] = before[path] * self.views
            before[path] += 1

    @property
    def views(self) -> int:
        """Maps per clip."""
        return views_of(self.options)

    @cached_property
    def map_shape(self) -> tuple[int, int, int, int]:
        """(t, h, w, c) of every map. Raises CacheError where the cache holds no clip."""
        if not self._places:
            raise CacheError("the cache holds no clips, and so no maps", file=self.directory)
        path = next(iter(self._places.values()))
        return self._read(path, lambda file: tuple(int(size) for size in file["maps"].shape[1:]), "maps")

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
        views = self._checked_views(ids, views)
        result = np.empty((len(ids), *self.map_shape), np.float16)
        for target, clip_id, view in zip(result, ids, views, strict=True):
            row = self._rows[clip_id] + view
            place = f"clip {clip_id}, view {view}"
            self._read(self._places[clip_id], lambda file, out=target, r=row: file["maps"].read_direct(out, np.s_[r]), place)
        return result

    def _checked_views(self, ids: Sequence[str], views: np.ndarray) -> np.ndarray:
        views = np.asarray(views)
        if views.shape != (len(ids),) or views.dtype.kind not in "iu":
            raise CacheError(
                "views do not fit the clips", found=f"{views.shape} {views.dtype}", expected=f"integers ({len(ids)},)"
            )
        for clip_id, view in zip(ids, views, strict=True):
            shard = self._place(clip_id)
            if not 0 <= view < self.views:
                raise CacheError(
                    "there is no such view",
                    file=shard,
                    place=f"clip {clip_id}",
                    found=int(view),
                    expected=f"0..{self.views - 1}",
                    fix="extract maps of more views into another folder",
                )
        return views
