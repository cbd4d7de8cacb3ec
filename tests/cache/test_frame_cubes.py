"""Frame cubes: cubes, pooled vectors and joints of a view are read together, test views come first, and damage is found."""

from __future__ import annotations

import pickle

import h5py
import numpy as np
import pytest

from keras_actrec.cache.frame_cubes import FrameCubeCache, FrameCubeShardWriter
from keras_actrec.cache.schema import FRAME_CUBES, CacheOptions, plan_cache
from keras_actrec.cache.verify import verify_cache
from keras_actrec.datasets.record import LeftOut
from keras_actrec.errors import CacheError
from tests.cache.small_views import VIEWS, Arrays, check_order, open_cache, view_arrays

CUBE, POOLED, JOINTS = (2, 3, 4, 5), 6, 7
LEFT_OUT = LeftOut("b", "frame_cubes", "the video does not open", "b.avi")
NAMES = ("cubes", "pooled", "joints")


def options(training: int = 2, poses=None) -> CacheOptions:
    views = {"frames": 2, "views": VIEWS - training, "mirror": True, "seed": 0, "training": training}
    return CacheOptions(FRAME_CUBES, "jhmdb", "jhmdb_15", {"views": views, "poses": poses}, "abc")


def values(clip_id: str) -> Arrays:
    return view_arrays(clip_id, CUBE, (2, POOLED), (2, JOINTS, 2))


def writer(directory, index, shard):
    return FrameCubeShardWriter(directory, index, shard, cube_shape=CUBE, pooled=POOLED, joints=JOINTS)


@pytest.fixture
def cache(tmp_path):
    yield from open_cache(tmp_path, options(), writer, FrameCubeCache, values, LEFT_OUT)


def test_arrays_come_in_the_order_asked_for(cache):
    check_order(cache, NAMES, values)


def test_what_a_cache_says_about_itself(cache, tmp_path):
    assert (cache.views, cache.test_views, cache.training_views, cache.has_poses) == (3, 1, 2, False)
    assert (cache.cube_shape, cache.pooled_shape, cache.joints_shape) == (CUBE, (2, POOLED), (2, JOINTS, 2))
    assert dict(cache.lengths) == {"a": 30, "c": 12} and cache.left_out == (LEFT_OUT,)
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(cache)).pooled(["a"], [1]), values("a")[1][1:2])
    plan_cache(tmp_path / "posed", options(poses={"pixel_size": None}), [])
    with FrameCubeCache(tmp_path / "posed") as posed:
        assert posed.has_poses
        with pytest.raises(CacheError, match="holds no clips, and so no cubes"):
            _ = posed.cube_shape


def test_a_view_is_one_chunk_of_each_array(cache, tmp_path):
    with h5py.File(tmp_path / "frame_cubes-00000.h5") as file:
        shapes = {name: file[name].chunks for name in NAMES}
    assert shapes == {"cubes": (1, *CUBE), "pooled": (1, 2, POOLED), "joints": (1, 2, JOINTS, 2)}


def test_verify_takes_a_sound_cache_and_names_what_is_wrong(cache, tmp_path):
    report = verify_cache(tmp_path)
    assert (report.ok, report.shards, report.clips, report.left_out) == (True, 2, 2, 1)
    with h5py.File(tmp_path / "frame_cubes-00000.h5", "r+") as file:
        file["cubes"][0, 1, 2, 3, 4] = np.inf
        file["pooled"][1, 0, 2] = np.nan
        file["joints"][2, 0, 3, 1] = 1.5
    with h5py.File(tmp_path / "frame_cubes-00001.h5", "r+") as file:
        file["pooled"].resize(2, axis=0)
    assert [(problem.clip, problem.what) for problem in verify_cache(tmp_path).problems] == [
        ("a", "the cube of view 0 holds values that are not finite"),
        ("a", "the pooled vector of view 1 holds values that are not finite"),
        ("a", "the joints of view 2 lie outside of [-1, 1]"),
        ("", "pooled (2, 2, 6), but 1 clips of 3 views make 3 rows"),
    ]


def test_requests_that_make_no_sense(cache, tmp_path):
    with pytest.raises(CacheError, match="clip b: the cache has no such clip"):
        cache.joints(["b"], [0])
    with pytest.raises(CacheError, match=r"no such view \(found 3, expected 0\.\.2\)"):
        cache.cubes(["a"], [3])
    with pytest.raises(CacheError, match=r"views\.training: found 2, expected 1"):
        FrameCubeCache(tmp_path, options(1))
    (tmp_path / "frame_cubes-00001.h5").unlink()
    with pytest.raises(CacheError, match=r"1 of 2 shards missing.*extract_frame_cubes\.py again"):
        FrameCubeCache(tmp_path)


def test_arrays_of_another_shape_are_not_written(tmp_path):
    index = plan_cache(tmp_path, options(), ["a"])
    cubes, pooled, joints = values("a")
    with writer(tmp_path, index, 0) as shard:
        with pytest.raises(CacheError, match=r"clip a: cubes do not fit .*found \(2, 2, 3, 4, 5\), expected \(3, 2, 3, 4, 5\)"):
            shard.add("a", cubes[:2], pooled, joints, 30)
        with pytest.raises(CacheError, match=r"joints do not fit .*found \(3, 2, 6, 2\), expected \(3, 2, 7, 2\)"):
            shard.add("a", cubes, pooled, joints[:, :, :6], 30)
    assert [path.name for path in tmp_path.iterdir()] == ["index.json"]
