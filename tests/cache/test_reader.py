"""Reading: only what is asked for, in any process, and nothing from a cache that does not fit."""

from __future__ import annotations

import dataclasses
import os
import pickle
import shutil

import h5py
import numpy as np
import pytest

from keras_actrec.cache.reader import CacheReader, FeatureCache, PoseCache
from keras_actrec.cache.schema import SCHEMA_VERSION
from keras_actrec.errors import CacheError
from tests.cache.small import (
    FEATURE_OPTIONS,
    LEFT_OUT,
    LENGTHS,
    POSE_OPTIONS,
    feature_cache,
    feature_values,
    pose_cache,
    pose_values,
)


@pytest.fixture(scope="module")
def features(tmp_path_factory):
    directory = tmp_path_factory.mktemp("features")
    feature_cache(directory)
    return directory


@pytest.fixture
def own_features(features, tmp_path):
    """A copy that a test may damage."""
    return shutil.copytree(features, tmp_path / "own")


@pytest.fixture(scope="module")
def poses(tmp_path_factory):
    directory = tmp_path_factory.mktemp("poses")
    pose_cache(directory)
    return directory


def test_clips_lengths_and_left_out(features):
    with FeatureCache(features, FEATURE_OPTIONS) as cache:
        assert dict(cache.lengths) == {clip: LENGTHS[clip] for clip in "abce"}
        assert cache.clip_ids == ("a", "b", "c", "e")
        assert cache.left_out == (LEFT_OUT,)
        assert cache.missing_shards == ()


def test_frames_in_any_order_with_repeats(features):
    ids = ["e", "a", "c", "a"]
    frames = np.array([[4, 0, 0, 2], [29, 3, 4, 5], [11, 11, 11, 0], [0, 1, 2, 29]])
    with FeatureCache(features) as cache:
        values, mask = cache.features(ids, frames), cache.mask(ids, frames)
    expected = np.stack([feature_values(clip)[row] for clip, row in zip(ids, frames, strict=True)])
    assert (values.dtype, values.shape) == (np.float16, (4, 4, 4, 2048))
    assert np.array_equal(values, expected)
    assert np.array_equal(mask, expected.any(axis=3))


def test_only_the_frames_asked_for_are_read(features, monkeypatch):
    rows, original = [], h5py.Dataset.__getitem__

    def counted(dataset, key, **options):
        result = original(dataset, key, **options)
        if dataset.name == "/mask":
            rows.append(len(result))
        return result

    with FeatureCache(features) as cache:
        monkeypatch.setattr(h5py.Dataset, "__getitem__", counted)
        cache.mask(["a"], np.array([[20, 3, 4, 3, 20]]))
    assert sum(rows) == 3


def test_no_clips(features):
    with FeatureCache(features) as cache:
        assert cache.features([], np.zeros((0, 20), int)).shape == (0, 20, 4, 2048)


def test_pose_arrays(poses):
    with PoseCache(poses, POSE_OPTIONS) as cache:
        assert dict(cache.lengths) == {clip: LENGTHS[clip] for clip in "abc"}
        expected = pose_values("b")
        assert np.array_equal(cache.joints("b"), expected["joints"], equal_nan=True)
        assert np.array_equal(cache.pixels("b"), expected["pixels"], equal_nan=True)
        assert cache.cleaning("b") == {"people": 1, "bodies_dropped": []}
        ids = ["c", "a"]
        assert np.array_equal(cache.test_frames(ids), np.stack([pose_values(clip)["test_frames"] for clip in ids]))
        assert np.array_equal(cache.test_tensors(ids), np.stack([pose_values(clip)["test_tensors"] for clip in ids]))


def test_open_shards_are_bounded(features):
    with FeatureCache(features, open_shards=2) as cache:
        for clip in "aecaec":
            assert np.array_equal(cache.features([clip], np.zeros((1, 1), int))[0], feature_values(clip)[:1])
            assert len(cache._shards._files) <= 2


def test_a_pickled_reader_opens_its_own_files(features):
    with FeatureCache(features) as cache:
        cache.features(["a"], np.zeros((1, 1), int))
        with pickle.loads(pickle.dumps(cache)) as copy:
            assert not copy._shards._files
            assert np.array_equal(copy.features(["c"], np.array([[3]]))[0], feature_values("c")[3:4])


def test_a_forked_reader_opens_its_own_files(features):
    with FeatureCache(features) as cache:
        cache.mask(["a"], np.zeros((1, 1), int))
        mine = cache._shards._files[features / "hand_features-00000.h5"]
        pid = os.fork()
        if pid == 0:
            code = 1
            try:
                right = np.array_equal(cache.features(["a"], np.array([[3]]))[0], feature_values("a")[3:4])
                cache.mask(["a"], np.array([[3]]))
                other = cache._shards._files[features / "hand_features-00000.h5"] is not mine
                code = 0 if right and other else 1
            finally:
                os._exit(code)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
        assert np.array_equal(cache.features(["a"], np.array([[4]]))[0], feature_values("a")[4:5])


def test_an_unknown_or_left_out_clip(features):
    with FeatureCache(features) as cache:
        for clip in ("z", "d"):
            with pytest.raises(CacheError, match=f"clip {clip}: the cache has no such clip.*left_out"):
                cache.features([clip], np.zeros((1, 1), int))


@pytest.mark.parametrize("frame", [-1, 7])
def test_a_frame_outside_the_clip(features, frame):
    with (
        FeatureCache(features) as cache,
        pytest.raises(CacheError, match=rf"00000\.h5, clip b.*found {frame}, expected 0\.\.6"),
    ):
        cache.mask(["a", "b"], np.array([[29], [frame]]))


def test_frames_of_another_number_of_clips(features):
    with FeatureCache(features) as cache, pytest.raises(CacheError, match="frames do not fit"):
        cache.features(["a", "b"], np.zeros((1, 20), int))


def test_other_options_are_named_one_by_one(features):
    wanted = dataclasses.replace(FEATURE_OPTIONS, options={"crop_size": 100, "sensor": {"name": "inception_v3"}})
    with pytest.raises(CacheError) as error:
        FeatureCache(features, wanted)
    text = str(error.value)
    assert "crop_size: found 50, expected 100" in text
    assert "sensor.name: found 'resnet50', expected 'inception_v3'" in text
    assert str(features) in text
    assert "run the extraction" in text


def test_a_shard_from_another_cache(own_features):
    with h5py.File(own_features / "hand_features-00001.h5", "r+") as file:
        file.attrs["weights_checksum"] = "def"
    with pytest.raises(CacheError, match=r"00001\.h5: .*weights_checksum: found 'def', expected 'abc'"):
        CacheReader(own_features)


def test_another_schema_version(own_features):
    with h5py.File(own_features / "hand_features-00002.h5", "r+") as file:
        file.attrs["schema_version"] = SCHEMA_VERSION + 1
    with pytest.raises(CacheError, match=r"00002\.h5: another schema version"):
        CacheReader(own_features)


def test_another_kind(features):
    with pytest.raises(CacheError, match=r"another kind.*found hand_features, expected poses"):
        PoseCache(features)


def test_an_incomplete_cache(own_features):
    (own_features / "hand_features-00001.h5").unlink()
    with pytest.raises(CacheError, match=r"1 of 3 shards missing.*extract_hand_features\.py again"):
        FeatureCache(own_features)
    with FeatureCache(own_features, allow_incomplete=True) as cache:
        assert cache.clip_ids == ("a", "b", "e")
        assert cache.missing_shards == (1,)


def test_a_damaged_shard(own_features):
    path = own_features / "hand_features-00000.h5"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    every = np.arange(30)[None], np.arange(7)[None]
    with FeatureCache(own_features) as cache, pytest.raises(CacheError, match=r"00000\.h5, clip .*--repair"):
        cache.features(["a"], every[0])
        cache.features(["b"], every[1])
    path.write_bytes(b"no HDF5")
    with pytest.raises(CacheError, match=r"00000\.h5: the shard does not read.*--repair"):
        FeatureCache(own_features)
