"""Caches of what a frozen video network makes of fixed views of each clip: what their writers and readers share.

Shard: one dataset per array, (clips · views, …), the views of a clip one after the other, clips in the order of `clip_ids`; one
checksummed chunk per view, so that a view is read by itself. `lengths` are the frames of the clips.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import ClassVar

import numpy as np

from keras_actrec.cache.reader import CacheReader
from keras_actrec.cache.schema import CacheIndex, CacheOptions
from keras_actrec.cache.writer import ShardWriter
from keras_actrec.errors import CacheError


def split_views(options: CacheOptions) -> int:
    """Views per clip of a `SplitViewCache` with these options: those of tests, then those of training."""
    views = options.options["views"]
    return int(views["views"]) + int(views["training"])


class ViewShardWriter(ShardWriter):
    """A shard of such a cache.

    Args:
        directory, index, shard: see `ShardWriter`.
        views: per clip.
        shapes: name of a dataset → shape of one view of it, for each of `types`.
    """

    types: ClassVar[Mapping[str, type]]
    """Name of a dataset → what it is stored as."""

    def __init__(self, directory: str | Path, index: CacheIndex, shard: int, views: int, shapes: Mapping[str, Sequence[int]]):
        super().__init__(directory, index, shard)
        self._shapes = {name: (views, *shapes[name]) for name in self.types}

    def _create(self) -> None:
        for name, shape in self._shapes.items():
            view = shape[1:]
            self._file.create_dataset(
                name, (0, *view), self.types[name], maxshape=(None, *view), chunks=(1, *view), fletcher32=True
            )

    def _add(self, clip_id: str, arrays: Mapping[str, np.ndarray], length: int) -> None:
        """Writes all views of one clip. Raises CacheError where an array has another shape; DiskFullError."""
        for name, expected in self._shapes.items():
            if arrays[name].shape != expected:
                raise CacheError(
                    f"{name} do not fit the cache",
                    file=self.path,
                    place=f"clip {clip_id}",
                    found=arrays[name].shape,
                    expected=f"{expected} (views, …)",
                )
        size = sum(array.size * np.dtype(self.types[name]).itemsize for name, array in arrays.items())
        with self._guard(f"clip {clip_id}", size):
            for name, array in arrays.items():
                dataset, row = self._file[name], len(self._file[name])
                dataset.resize(row + len(array), axis=0)
                dataset[row : row + len(array)] = np.asarray(array, self.types[name])
        self._lengths[clip_id] = length


class ViewCache(CacheReader):
    """A reader of such a cache; arguments and errors of `CacheReader`.

    `lengths` has the frames of each clip, not its views: every clip has `views` of them.
    """

    def __init__(
        self,
        directory: str | Path,
        expected: CacheOptions | None = None,
        *,
        allow_incomplete: bool = False,
        open_shards: int = 16,
    ):
        super().__init__(directory, expected, allow_incomplete=allow_incomplete, open_shards=open_shards)
        self._view_shapes: dict[str, tuple[int, ...]] = {}
        self._rows: dict[str, int] = {}
        before: Counter[Path] = Counter()
        for clip_id, path in self._places.items():  # in the order of each shard's `clip_ids`
            self._rows[clip_id] = before[path] * self.views
            before[path] += 1

    @property
    def views(self) -> int:
        """Views per clip."""
        raise NotImplementedError

    def _shape(self, name: str) -> tuple[int, ...]:
        """Shape of one view in a dataset. Raises CacheError where the cache holds no clip."""
        if name not in self._view_shapes:
            if not self._places:
                raise CacheError(f"the cache holds no clips, and so no {name}", file=self.directory)
            path = next(iter(self._places.values()))
            self._view_shapes[name] = self._read(path, lambda file: tuple(int(n) for n in file[name].shape[1:]), name)
        return self._view_shapes[name]

    def _view_arrays(self, name: str, ids: Sequence[str], views: np.ndarray, dtype: type) -> np.ndarray:
        """One view of each clip from a dataset, (m, …); nothing else is read.

        Raises:
            CacheError: an unknown clip, a view outside 0..views-1, or a damaged shard.
        """
        views = self._checked_views(ids, views)
        result = np.empty((len(ids), *self._shape(name)), dtype)
        for target, clip_id, view in zip(result, ids, views, strict=True):
            row = self._rows[clip_id] + view
            place = f"clip {clip_id}, view {view}"
            self._read(self._places[clip_id], lambda file, out=target, r=row: file[name].read_direct(out, np.s_[r]), place)
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


class SplitViewCache(ViewCache):
    """A `ViewCache` whose clips have views for tests first, then views for training; its options say how many of each."""

    @property
    def views(self) -> int:
        """Views per clip: `test_views`, then `training_views`."""
        return split_views(self.options)

    @property
    def test_views(self) -> int:
        """Views that a clip is tested with, the first ones."""
        return int(self.options.options["views"]["views"])

    @property
    def training_views(self) -> int:
        """Views for training, after those of the test."""
        return int(self.options.options["views"]["training"])
