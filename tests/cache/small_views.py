"""Small caches of test and training views: three arrays per view, of which the first is float16 and the last holds joints."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np

from keras_actrec.cache.clip_views import SplitViewCache, ViewShardWriter
from keras_actrec.cache.schema import CacheIndex, CacheOptions, plan_cache
from keras_actrec.datasets.record import LeftOut

VIEWS = 3
LENGTHS = {"a": 30, "b": 7, "c": 12}
Arrays = tuple[np.ndarray, np.ndarray, np.ndarray]


def view_arrays(clip_id: str, maps: Sequence[int], vectors: Sequence[int], joints: Sequence[int]) -> Arrays:
    """Random arrays of the views of a clip, of these shapes each; the joints of the second frame are absent."""
    rng = np.random.default_rng(ord(clip_id))
    places = rng.uniform(-1, 1, (VIEWS, *joints)).astype(np.float32)
    places[:, :, 1] = np.nan
    cubes = rng.normal(size=(VIEWS, *maps)).astype(np.float16)
    return cubes, rng.normal(size=(VIEWS, *vectors)).astype(np.float32), places


def open_cache(
    directory: Path,
    options: CacheOptions,
    writer: Callable[[Path, CacheIndex, int], ViewShardWriter],
    reader: type[SplitViewCache],
    values: Callable[[str], Arrays],
    left_out: LeftOut,
) -> Iterator[SplitViewCache]:
    """A cache of shards (a, b), (c), open until the iterator goes on; one clip is left out."""
    index = plan_cache(directory, options, LENGTHS, clips_per_shard=2)
    for shard, clips in enumerate(index.shards):
        with writer(directory, index, shard) as shard_writer:
            for clip in clips:
                if clip == left_out.clip_id:
                    shard_writer.leave_out(left_out)
                else:
                    shard_writer.add(clip, *values(clip), LENGTHS[clip])
            shard_writer.finish()
    with reader(directory, options) as cache:
        yield cache


def check_order(cache: SplitViewCache, names: Sequence[str], values: Callable[[str], Arrays]) -> None:
    """Readers of the arrays give what was written, in the order asked for."""
    ids, views = ["c", "a", "c", "a"], [1, 2, 0, 2]
    for number, (name, kind) in enumerate(zip(names, (np.float16, np.float32, np.float32), strict=True)):
        arrays = getattr(cache, name)(ids, np.array(views))
        assert arrays.dtype == kind
        np.testing.assert_array_equal(arrays, [values(clip)[number][view] for clip, view in zip(ids, views, strict=True)])
