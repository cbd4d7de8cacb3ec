"""Glimpse maps: maps, context and joints of a view are read together, test views come first, and damage is found."""

from __future__ import annotations

import pickle

import h5py
import numpy as np
import pytest

from keras_actrec.cache.glimpse_maps import GlimpseMapCache, GlimpseMapShardWriter
from keras_actrec.cache.schema import GLIMPSE_MAPS, CacheOptions, plan_cache
from keras_actrec.cache.verify import verify_cache
from keras_actrec.datasets.record import LeftOut
from keras_actrec.errors import CacheError
from tests.cache.small_views import VIEWS, Arrays, check_order, open_cache, view_arrays

MAP, CONTEXT, JOINTS = (2, 3, 3, 4), 5, (2, 6)
LEFT_OUT = LeftOut("b", "glimpse_maps", "an image is damaged", "b/000003.jpg")
NAMES = ("maps", "context", "joints")


def options(training: int = 1) -> CacheOptions:
    views = {"frames": 2, "image_size": 8, "views": VIEWS - training, "seed": 0, "training": training}
    return CacheOptions(GLIMPSE_MAPS, "ntu", "kinect_v2", {"views": views}, "abc")


def values(clip_id: str) -> Arrays:
    return view_arrays(clip_id, MAP, (2, CONTEXT), (2, *JOINTS, 2))


def writer(directory, index, shard):
    return GlimpseMapShardWriter(directory, index, shard, map_shape=MAP, context=CONTEXT, joints=JOINTS)


@pytest.fixture
def cache(tmp_path):
    yield from open_cache(tmp_path, options(), writer, GlimpseMapCache, values, LEFT_OUT)


def test_arrays_come_in_the_order_asked_for(cache):
    check_order(cache, NAMES, values)


def test_what_a_cache_says_about_itself(cache):
    assert (cache.views, cache.test_views, cache.training_views) == (3, 2, 1)
    assert (cache.map_shape, cache.context_shape, cache.joints_shape) == (MAP, (2, CONTEXT), (2, *JOINTS, 2))
    assert dict(cache.lengths) == {"a": 30, "c": 12} and cache.left_out == (LEFT_OUT,)
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(cache)).context(["a"], [1]), values("a")[1][1:2])


def test_a_view_is_one_chunk_of_each_array(cache, tmp_path):
    with h5py.File(tmp_path / "glimpse_maps-00000.h5") as file:
        shapes = {name: file[name].chunks for name in NAMES}
    assert shapes == {"maps": (1, *MAP), "context": (1, 2, CONTEXT), "joints": (1, 2, *JOINTS, 2)}


def test_verify_takes_a_sound_cache_and_names_what_is_wrong(cache, tmp_path):
    report = verify_cache(tmp_path)
    assert (report.ok, report.shards, report.clips, report.left_out) == (True, 2, 2, 1)
    with h5py.File(tmp_path / "glimpse_maps-00000.h5", "r+") as file:
        file["context"][1, 0, 2] = np.nan
        file["joints"][2, 0, 1, 3, 1] = 1.5
    with h5py.File(tmp_path / "glimpse_maps-00001.h5", "r+") as file:
        file["joints"].resize(2, axis=0)
    found = [(problem.clip, problem.what) for problem in verify_cache(tmp_path).problems]
    assert found == [
        ("a", "the context of view 1 holds values that are not finite"),
        ("a", "the joints of view 2 lie outside of [-1, 1]"),
        ("", "joints (2, 2, 2, 6, 2), but 1 clips of 3 views make 3 rows"),
    ]


def test_requests_that_make_no_sense(cache, tmp_path):
    with pytest.raises(CacheError, match="clip b: the cache has no such clip"):
        cache.joints(["b"], [0])
    with pytest.raises(CacheError, match=r"no such view \(found 3, expected 0\.\.2\)"):
        cache.context(["a"], [3])
    with pytest.raises(CacheError, match=r"views\.training: found 1, expected 2"):
        GlimpseMapCache(tmp_path, options(2))
    (tmp_path / "glimpse_maps-00001.h5").unlink()
    with pytest.raises(CacheError, match=r"1 of 2 shards missing.*extract_glimpse_maps\.py again"):
        GlimpseMapCache(tmp_path)


def test_arrays_of_another_shape_are_not_written(tmp_path):
    index = plan_cache(tmp_path, options(), ["a"])
    maps, context, joints = values("a")
    with writer(tmp_path, index, 0) as shard:
        with pytest.raises(CacheError, match=r"clip a: context do not fit .*found \(2, 2, 5\), expected \(3, 2, 5\)"):
            shard.add("a", maps, context[:2], joints, 30)
        with pytest.raises(CacheError, match=r"joints do not fit .*found \(3, 2, 2, 5, 2\), expected \(3, 2, 2, 6, 2\)"):
            shard.add("a", maps, context, joints[..., :5, :], 30)
    assert [path.name for path in tmp_path.iterdir()] == ["index.json"]


def test_a_cache_without_clips_has_no_shapes(tmp_path):
    plan_cache(tmp_path, options(), [])
    with GlimpseMapCache(tmp_path) as cache, pytest.raises(CacheError, match="holds no clips, and so no context"):
        _ = cache.context_shape
