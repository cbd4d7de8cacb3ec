"""The plan of a cache: deterministic, extended without touching what is there, refused for other options."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest

from keras_actrec.cache.schema import CacheOptions, load_index, plan_cache
from keras_actrec.errors import CacheError, ConfigError, DiskFullError
from keras_actrec.version import library_versions
from tests.cache.small import FEATURE_OPTIONS, POSE_OPTIONS


def test_the_plan_depends_on_the_clips_alone(tmp_path):
    first = plan_cache(tmp_path / "1", POSE_OPTIONS, ["c", "a", "b", "e", "d"], clips_per_shard=2)
    second = plan_cache(tmp_path / "2", POSE_OPTIONS, {"e", "d", "c", "b", "a"}, clips_per_shard=2)
    assert first.shards == second.shards == (("a", "b"), ("c", "d"), ("e",))
    assert (tmp_path / "1" / "index.json").read_bytes() == (tmp_path / "2" / "index.json").read_bytes()
    assert first.shard_name(12) == "poses-00012.h5"
    assert load_index(tmp_path / "1") == first


def test_new_clips_go_into_further_shards(tmp_path):
    plan_cache(tmp_path, POSE_OPTIONS, "bdf", clips_per_shard=2)
    extended = plan_cache(tmp_path, POSE_OPTIONS, "abcde", clips_per_shard=99)
    assert extended.shards == (("b", "d"), ("f",), ("a", "c"), ("e",))
    assert plan_cache(tmp_path, POSE_OPTIONS, "af").shards == extended.shards


def test_a_plan_with_other_options_is_refused_and_the_index_kept(tmp_path):
    plan_cache(tmp_path, FEATURE_OPTIONS, "ab")
    before = (tmp_path / "index.json").read_bytes()
    other = dataclasses.replace(FEATURE_OPTIONS, options={"crop_size": 100, "sensor": {"name": "resnet50"}})
    with pytest.raises(CacheError, match=r"index\.json: .*crop_size: found 50, expected 100.*another folder"):
        plan_cache(tmp_path, other, "ab")
    assert (tmp_path / "index.json").read_bytes() == before


def test_differences_name_nested_and_absent_options():
    other = CacheOptions(
        "hand_features", "sbu", "kinect_v2", {"sensor": {"name": "inception_v3"}, "pixel_size": [640, 480]}, "abc"
    )
    assert FEATURE_OPTIONS.differences(other) == [
        ("dataset", "ntu", "sbu"),
        ("crop_size", 50, "absent"),
        ("sensor.name", "resnet50", "inception_v3"),
        ("pixel_size", "absent", [640, 480]),
    ]


def test_tuples_are_the_lists_that_json_makes_of_them():
    made = CacheOptions("poses", "ntu", "kinect_v2", {"size": (1, 2)})
    assert made == CacheOptions("poses", "ntu", "kinect_v2", {"size": [1, 2]})


@pytest.mark.parametrize("value", [np.float32(1), object(), float("nan")])
def test_options_that_json_does_not_know(value):
    with pytest.raises(ConfigError, match="not a JSON value"):
        CacheOptions("poses", "ntu", "kinect_v2", {"x": value})


def test_unknown_kind():
    with pytest.raises(ConfigError, match="unknown kind of cache"):
        CacheOptions("thumbnails", "ntu", "kinect_v2", {})


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "there is no cache here.*Run the extraction"),
        ("{not json", "the index of the cache does not read"),
        ("[]", "the cache has another schema version"),
        (json.dumps({"schema_version": 999}), "version .found 999, expected 1"),
        (json.dumps({"schema_version": 1, "kind": "poses"}), "of the cache is not whole"),
    ],
)
def test_an_index_that_cannot_be_used(tmp_path, content, message):
    if content is not None:
        (tmp_path / "index.json").write_text(content)
    with pytest.raises(CacheError, match=rf"index\.json: .*{message}"):
        load_index(tmp_path)


def test_a_full_disk_keeps_the_index_as_it_was(tmp_path, full_disk):
    plan_cache(tmp_path, FEATURE_OPTIONS, "ab")
    before = (tmp_path / "index.json").read_bytes()
    with full_disk(len(before)), pytest.raises(DiskFullError, match=r"index\.json: no space left.*Free some space"):
        plan_cache(tmp_path, FEATURE_OPTIONS, [f"clip{i}" for i in range(50)])
    assert (tmp_path / "index.json").read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["index.json"]


def test_library_versions_are_those_in_use():
    assert library_versions()["numpy"] == np.__version__
