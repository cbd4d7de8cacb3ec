"""Clip maps: what was written is read in the order asked for, nothing else is read, and damage is found."""

from __future__ import annotations

import pickle
import resource

import h5py
import numpy as np
import pytest

from keras_actrec.cache.clip_maps import ClipMapCache, ClipMapShardWriter
from keras_actrec.cache.schema import CLIP_MAPS, CacheOptions, plan_cache
from keras_actrec.cache.verify import repair_cache, verify_cache
from keras_actrec.datasets.record import LeftOut
from keras_actrec.errors import CacheError, DiskFullError

SHAPE = (2, 3, 3, 4)
LENGTHS = {"a": 30, "b": 7, "c": 12, "d": 21, "e": 5}
LEFT_OUT = LeftOut("c", "clip_maps", "an image is damaged", "c/000003.jpg")


def options(views: int = 2, **changes) -> CacheOptions:
    sampling = {"frames": 8, "stride": 2, "views": views}
    return CacheOptions(CLIP_MAPS, "ntu", "kinect_v2", {"backbone": {"name": "i3d"}, "sampling": sampling, **changes}, "abc")


def values(clip_id: str, views: int = 2) -> np.ndarray:
    return np.random.default_rng(ord(clip_id)).normal(size=(views, *SHAPE)).astype(np.float16)


def write(directory, views: int = 2):
    """Shards (a, b), (c, d), (e); c is left out."""
    index = plan_cache(directory, options(views), LENGTHS, clips_per_shard=2)
    for shard, clips in enumerate(index.shards):
        with ClipMapShardWriter(directory, index, shard, SHAPE) as writer:
            for clip_id in clips:
                if clip_id == LEFT_OUT.clip_id:
                    writer.leave_out(LEFT_OUT)
                else:
                    writer.add(clip_id, values(clip_id, views), LENGTHS[clip_id])
            writer.finish()
    return directory


@pytest.fixture
def cache(tmp_path):
    with ClipMapCache(write(tmp_path)) as reader:
        yield reader


def test_maps_come_in_the_order_asked_for(cache):
    ids, views = ["e", "a", "d", "a", "b", "e", "a"], [1, 0, 1, 1, 0, 0, 0]
    maps = cache.maps(ids, np.array(views))
    assert maps.dtype == np.float16
    np.testing.assert_array_equal(maps, [values(clip)[view] for clip, view in zip(ids, views, strict=True)])
    assert cache.maps([], np.zeros(0, int)).shape == (0, *SHAPE)


def test_what_a_cache_says_about_itself(cache):
    assert (cache.views, cache.map_shape) == (2, SHAPE)
    assert dict(cache.lengths) == {clip: length for clip, length in LENGTHS.items() if clip != "c"}
    assert cache.left_out == (LEFT_OUT,)
    copied = pickle.loads(pickle.dumps(cache))
    np.testing.assert_array_equal(copied.maps(["d"], [0]), values("d")[:1])


def test_a_map_is_one_chunk_and_nothing_else_is_read(cache, tmp_path):
    with h5py.File(tmp_path / "clip_maps-00000.h5") as file:
        assert file["maps"].chunks == (1, *SHAPE)
        places = [file["maps"].id.get_chunk_info(number).byte_offset for number in range(4)]
    content = bytearray((tmp_path / "clip_maps-00000.h5").read_bytes())
    for place in places[:3]:  # both of a, the first of b
        content[place] ^= 0x10
    (tmp_path / "clip_maps-00000.h5").write_bytes(content)
    np.testing.assert_array_equal(cache.maps(["b"], [1])[0], values("b")[1])
    with pytest.raises(CacheError, match=r"clip b, view 0: the shard does not read.*verify_cache\.py"):
        cache.maps(["b"], [0])
    report = verify_cache(tmp_path)
    assert [(problem.shard, problem.clip) for problem in report.problems] == [
        ("clip_maps-00000.h5", "a"),
        ("clip_maps-00000.h5", "a"),
        ("clip_maps-00000.h5", "b"),
    ]
    assert [path.name for path in repair_cache(report)] == ["clip_maps-00000.h5"]
    with pytest.raises(CacheError, match=r"1 of 3 shards missing.*extract_clip_maps\.py again"):
        ClipMapCache(tmp_path)


def test_verify_takes_a_sound_cache_and_names_what_is_wrong(cache, tmp_path):
    report = verify_cache(tmp_path)
    assert (report.ok, report.shards, report.clips, report.left_out) == (True, 3, 4, 1)
    with h5py.File(tmp_path / "clip_maps-00001.h5", "r+") as file:
        file["maps"][1, 0, 1, 2, 3] = np.inf
    (problem,) = verify_cache(tmp_path).problems
    assert (problem.clip, problem.what) == ("d", "the map of view 1 holds values that are not finite")
    with h5py.File(tmp_path / "clip_maps-00002.h5", "r+") as file:
        file["maps"].resize(1, axis=0)
    _, problem = verify_cache(tmp_path).problems
    assert "maps (1, 2, 3, 3, 4), but 1 clips of 2 views make 2 rows" in problem.what


def test_requests_that_make_no_sense(cache):
    with pytest.raises(CacheError, match=r"clip c: the cache has no such clip"):
        cache.maps(["a", "c"], [0, 0])
    for view in (-1, 2):
        with pytest.raises(CacheError, match=rf"clip a: there is no such view \(found {view}, expected 0\.\.1\)"):
            cache.maps(["a"], [view])
    for views in ([0, 1], [[0]], [0.0]):
        with pytest.raises(CacheError, match=r"views do not fit the clips .*expected integers \(1,\)"):
            cache.maps(["a"], np.array(views))


def test_a_cache_made_with_other_options_is_refused(cache, tmp_path):
    ClipMapCache(tmp_path, options()).close()
    with pytest.raises(CacheError, match=r"sampling\.views: found 2, expected 3"):
        ClipMapCache(tmp_path, options(3))
    with pytest.raises(CacheError, match=r"backbone\.name: found 'i3d', expected 'mine'"):
        plan_cache(tmp_path, options(backbone={"name": "mine"}), LENGTHS)


def test_a_cache_without_clips_has_no_map_shape(tmp_path):
    plan_cache(tmp_path, options(), [])
    with ClipMapCache(tmp_path) as cache, pytest.raises(CacheError, match="the cache holds no clips"):
        _ = cache.map_shape


def test_maps_of_another_shape_are_not_written(tmp_path):
    index = plan_cache(tmp_path, options(), ["a"])
    with (
        ClipMapShardWriter(tmp_path, index, 0, SHAPE) as writer,
        pytest.raises(CacheError, match=r"clip a: maps do not fit the cache \(found \(1, 2, 3, 3, 4\), expected \(2, 2, "),
    ):
        writer.add("a", values("a", 1), 30)
    assert [path.name for path in tmp_path.iterdir()] == ["index.json"]


def test_a_full_disk_leaves_whole_shards(tmp_path):
    index = plan_cache(tmp_path, options(), ["a", "b"], clips_per_shard=1)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (30_000, hard))
        with ClipMapShardWriter(tmp_path, index, 0, (1, 2, 2, 3)) as writer:
            writer.add("a", np.ones((2, 1, 2, 2, 3), np.float16), 30)
            writer.finish()
        refused = pytest.raises(DiskFullError, match=r"clip_maps-00001\.h5, .*finished shards are kept")
        with refused, ClipMapShardWriter(tmp_path, index, 1, (8, 7, 7, 64)) as writer:
            writer.add("b", np.ones((2, 8, 7, 7, 64), np.float16), 7)  # 50 kB a map
            writer.finish()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["clip_maps-00000.h5", "index.json"]
