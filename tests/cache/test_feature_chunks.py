"""Chunks straight from the file: what HDF5 reads, its checksums, and nothing that was written in another way."""

from __future__ import annotations

import os
import pickle
import shutil
from concurrent.futures import ThreadPoolExecutor

import h5py
import numpy as np
import pytest

from keras_actrec.cache import feature_chunks
from keras_actrec.cache.feature_chunks import ChunkTables, chunk_table, fletcher32, read_chunks
from keras_actrec.cache.reader import FeatureCache
from keras_actrec.errors import CacheError
from tests.cache.small import LENGTHS, feature_cache, feature_values

SHARD = "hand_features-00000.h5"
EVERY = np.arange(LENGTHS["a"])


@pytest.fixture(scope="module")
def features(tmp_path_factory):
    directory = tmp_path_factory.mktemp("features")
    feature_cache(directory)
    return directory


@pytest.fixture
def own_features(features, tmp_path):
    """A copy that a test may damage."""
    return shutil.copytree(features, tmp_path / "own")


def test_rows_are_those_that_hdf5_reads(features):
    tables = ChunkTables()
    with h5py.File(features / SHARD) as file:
        expected = file["features"][()]
    assert chunk_table(features / SHARD).places.dtype == np.uint32
    for rows in (np.arange(len(expected)), np.array([36, 0, 17])):
        out = np.zeros((len(rows), 4, 2048), np.float16)
        assert tables.read(features / SHARD, rows, out)
        assert out.any()
        np.testing.assert_array_equal(out, expected[rows])


def test_a_chunk_is_read_once_and_an_absent_person_never(features, monkeypatch):
    read, original = [], os.preadv
    monkeypatch.setattr(feature_chunks.os, "preadv", lambda *args: read.append(original(*args)) or read[-1])
    frames = np.array([[20, 3, 4, 3, 20]])
    with FeatureCache(features) as cache:
        values = cache.features(["a"], frames)[0]
    np.testing.assert_array_equal(values, feature_values("a")[frames[0]])
    present = feature_values("a")[[3, 4, 20]].reshape(3, 2, -1).any(axis=2).sum()
    assert 0 < present < 6
    assert read == [8196] * present


@pytest.mark.parametrize("words", ["zeros", "highest", "random"])
def test_checksum_by_hand(words):
    rng = np.random.default_rng(0)
    row = {"zeros": np.zeros(4096), "highest": np.full(4096, 65535), "random": rng.integers(0, 65536, 4096)}[words]
    first = second = 0
    for high, low in row.astype("<u2").view(np.uint8).reshape(-1, 2).tolist():
        first = (first + 256 * high + low) % 65535
        second = (second + first) % 65535
    np.testing.assert_array_equal(fletcher32(np.stack([row, row]).astype("<u2")), [[first, second]] * 2)


@pytest.mark.parametrize("byte", [0, 4097, 8191, 8192, 8195])
def test_a_flipped_bit_in_a_chunk_or_its_checksum_is_found(own_features, byte):
    places = chunk_table(own_features / SHARD).places
    row = int(np.flatnonzero(places[:, 0])[2])
    content = bytearray((own_features / SHARD).read_bytes())
    content[int(places[row, 0]) + byte] ^= 16
    (own_features / SHARD).write_bytes(content)
    with (
        FeatureCache(own_features) as cache,
        pytest.raises(CacheError, match=r"00000\.h5, clip a, features: .*checksum.*--repair"),
    ):
        cache.features(["a"], EVERY[None])


def test_a_file_that_ends_inside_a_chunk(own_features):
    path = own_features / SHARD
    places = chunk_table(path).places
    with FeatureCache(own_features) as cache:
        cache.features(["a"], EVERY[None])
        os.truncate(path, int(places.max()) + 100)
        with pytest.raises(CacheError, match=r"00000\.h5, clip a, features: .*--repair"):
            cache.features(["a"], EVERY[None])
    with path.open("rb") as file, pytest.raises(OSError, match="ends inside a chunk"):
        read_chunks(file.fileno(), places, np.zeros((len(places), 4, 2048), np.float16))


@pytest.mark.parametrize(
    "options",
    [
        {"chunks": (1, 2, 2048), "fletcher32": True, "compression": "lzf"},
        {"chunks": (1, 2, 2048)},
        {"chunks": (1, 4, 2048), "fletcher32": True},
        {"chunks": (1, 2, 2048), "fletcher32": True, "dtype": np.float32},
        {},
    ],
    ids=["compressed", "no checksum", "other chunks", "other type", "contiguous"],
)
def test_what_is_stored_in_another_way_is_left_to_hdf5(own_features, options):
    with h5py.File(own_features / SHARD, "r+") as file:
        values = file["features"][()]
        del file["features"]
        file.create_dataset("features", data=values, **options)
    assert chunk_table(own_features / SHARD) is None
    with FeatureCache(own_features) as cache:
        np.testing.assert_array_equal(cache.features(["a"], EVERY[None])[0], feature_values("a"))


@pytest.mark.parametrize("function", ["preadv", "posix_fadvise"])
def test_systems_that_lack_a_function(features, monkeypatch, function):
    monkeypatch.delattr(os, function)
    assert (chunk_table(features / SHARD) is None) == (function == "preadv")
    with FeatureCache(features) as cache:
        np.testing.assert_array_equal(cache.features(["a"], EVERY[None])[0], feature_values("a"))


def test_a_shard_that_is_written_again_under_an_open_reader(own_features, tmp_path):
    with FeatureCache(own_features) as cache:
        cache.features(["a"], EVERY[None])
        shutil.copy(own_features / SHARD, tmp_path / "again.h5")
        with h5py.File(tmp_path / "again.h5", "r+") as file:  # the same rows at other places
            values = file["features"][()]
            del file["features"]
            file["padding"] = np.ones(5000)
            file.create_dataset("features", data=values, chunks=(1, 2, 2048), fletcher32=True)
        os.replace(tmp_path / "again.h5", own_features / SHARD)
        for _ in range(2):
            np.testing.assert_array_equal(cache.features(["a"], EVERY[None])[0], feature_values("a"))


def test_threads_share_a_reader(features):
    with FeatureCache(features) as cache, ThreadPoolExecutor(4) as pool:
        clips = ["a", "b", "c", "e"] * 10
        for clip, values in zip(
            clips, pool.map(lambda c: cache.features([c], np.arange(LENGTHS[c])[None])[0], clips), strict=True
        ):
            np.testing.assert_array_equal(values, feature_values(clip))


def test_tables_stay_out_of_a_pickle(features):
    with FeatureCache(features) as cache:
        cache.features(["a"], EVERY[None])
        assert cache._chunks._tables and not pickle.loads(pickle.dumps(cache._chunks))._tables
