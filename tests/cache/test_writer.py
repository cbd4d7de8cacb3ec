"""Shards appear whole or not at all, also on a full disk."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import time

import h5py
import numpy as np
import pytest

from keras_actrec.cache.reader import FeatureCache, PoseCache
from keras_actrec.cache.schema import plan_cache
from keras_actrec.cache.writer import FeatureShardWriter, PoseShardWriter, remove_stale_parts
from keras_actrec.errors import CacheError, DiskFullError
from tests.cache.small import FEATURE_OPTIONS, LENGTHS, POSE_OPTIONS, feature_cache, feature_values, pose_values, write_clip


def files(directory):
    return sorted(path.name for path in directory.iterdir())


def test_attributes_say_where_the_numbers_come_from(tmp_path):
    feature_cache(tmp_path)
    with h5py.File(tmp_path / "hand_features-00001.h5") as file:
        attributes = dict(file.attrs)
    assert attributes["schema_version"] == 1
    assert (attributes["dataset"], attributes["layout"], attributes["weights_checksum"]) == ("ntu", "kinect_v2", "abc")
    assert json.loads(attributes["options"]) == {"crop_size": 50, "sensor": {"name": "resnet50"}}
    assert json.loads(attributes["library_versions"])["h5py"] == h5py.__version__
    assert json.loads(attributes["left_out"]) == [
        {"clip_id": "d", "stage": "hand_features", "reason": "the stream breaks off", "file": "d.avi"}
    ]


def test_every_chunk_has_a_checksum(tmp_path):
    feature_cache(tmp_path)
    with h5py.File(tmp_path / "hand_features-00000.h5") as file:
        assert all(file[name].fletcher32 for name in ("features", "mask", "offsets", "clip_ids", "lengths"))


def test_absent_people_take_no_disk(tmp_path):
    index = plan_cache(tmp_path, FEATURE_OPTIONS, ["a"])
    values = np.zeros((1000, 4, 2048), np.float16)
    values[::10, :2] = 1  # person 1 in every tenth frame
    with FeatureShardWriter(tmp_path, index, 0) as writer:
        write_clip(writer, "a", values, rows=32)
        writer.end_clip()
        path = writer.finish()
    with h5py.File(path) as file:
        assert file["features"].id.get_num_chunks() == 100
    # 100 chunks of 2 x 2048 float16 are 0.8 MB; all 2000 would be 16 MB.
    assert path.stat().st_size < 1.2e6


def test_a_clip_that_breaks_gives_its_rows_back(tmp_path):
    feature_cache(tmp_path)
    with h5py.File(tmp_path / "hand_features-00001.h5") as file:
        assert file["features"].shape[0] == LENGTHS["c"]
        assert file["features"].id.get_num_chunks() <= 2 * LENGTHS["c"]


def test_leaving_without_finish_leaves_nothing(tmp_path):
    index = plan_cache(tmp_path, FEATURE_OPTIONS, "ab")
    with pytest.raises(ZeroDivisionError), FeatureShardWriter(tmp_path, index, 0) as writer:
        write_clip(writer, "a", feature_values("a"))
        assert [name.startswith("hand_features-00000.h5.") and name.endswith(".part") for name in files(tmp_path)] == [
            True,
            False,
        ]
        raise ZeroDivisionError
    assert files(tmp_path) == ["index.json"]


@pytest.mark.parametrize("clips", ["a", "aab"])
def test_each_clip_of_the_plan_once(tmp_path, clips):
    index = plan_cache(tmp_path, POSE_OPTIONS, "ab")
    with pytest.raises((CacheError, ValueError)), PoseShardWriter(tmp_path, index, 0) as writer:
        for clip_id in clips:
            writer.add(clip_id, **pose_values(clip_id))
        writer.finish()
    assert files(tmp_path) == ["index.json"]


@pytest.fixture
def file_size_limit():
    """Sets the largest size of a file for this process: writing beyond fails like a full disk (EFBIG)."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)

    def limit(size):
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))

    yield limit
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_full_disk_while_writing(tmp_path, file_size_limit):
    index = plan_cache(tmp_path, FEATURE_OPTIONS, "ab")
    file_size_limit(100_000)
    with pytest.raises(DiskFullError, match=r"hand_features-00000\.h5, .*bytes free.*finished shards are kept") as error:  # noqa: SIM117
        with FeatureShardWriter(tmp_path, index, 0) as writer:
            for clip_id in "ab":
                write_clip(writer, clip_id, feature_values(clip_id))
                writer.end_clip()
            writer.finish()
    assert "bytes for this shard so far" in error.value.expected
    assert files(tmp_path) == ["index.json"]


def test_a_full_disk_in_a_process_that_ends_afterwards(tmp_path):
    # HDF5 crashes the interpreter at its exit when a file could not be flushed; the message must survive.
    script = """
import resource, sys
from keras_actrec.cache.schema import plan_cache
from keras_actrec.cache.writer import PoseShardWriter
from tests.cache.small import POSE_OPTIONS, pose_values
index = plan_cache(sys.argv[1], POSE_OPTIONS, "abcde")
resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, resource.RLIM_INFINITY))
with PoseShardWriter(sys.argv[1], index, 0) as writer:
    for clip_id in "abcde":
        writer.add(clip_id, **pose_values(clip_id))
    writer.finish()
"""
    done = subprocess.run([sys.executable, "-c", script, str(tmp_path)], capture_output=True, text=True, check=False)
    assert done.returncode == 1, done.stderr
    assert "DiskFullError" in done.stderr.splitlines()[-1] or "no space left" in done.stderr
    assert files(tmp_path) == ["index.json"]


def test_stale_parts_of_dead_runs_go(tmp_path):
    index = plan_cache(tmp_path, FEATURE_OPTIONS, "ab")
    with FeatureShardWriter(tmp_path, index, 0):
        part = next(tmp_path.glob("*.part")).name
    host = part.split(".")[-3]
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    alive = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    try:
        names = {
            "dead": f"hand_features-00000.h5.{host}.{dead.pid}.part",
            "alive": f"hand_features-00000.h5.{host}.{alive.pid}.part",
            "elsewhere": "hand_features-00000.h5.otherhost.1.part",
            "long ago": "hand_features-00001.h5.otherhost.1.part",
        }
        for name in names.values():
            (tmp_path / name).write_bytes(b"unfinished")
        os.utime(tmp_path / names["long ago"], (time.time() - 2 * 86400,) * 2)
        removed = remove_stale_parts(tmp_path)
    finally:
        alive.kill()
        alive.wait()
    assert sorted(path.name for path in removed) == sorted([names["dead"], names["long ago"]])
    assert (tmp_path / names["alive"]).exists()
    assert (tmp_path / names["elsewhere"]).exists()


def test_what_is_written_reads_back(tmp_path):
    feature_cache(tmp_path / "features")
    with FeatureCache(tmp_path / "features", FEATURE_OPTIONS) as cache:
        for clip_id in "abce":
            every = np.arange(LENGTHS[clip_id])[None]
            assert np.array_equal(cache.features([clip_id], every)[0], feature_values(clip_id))
    index = plan_cache(tmp_path / "poses", POSE_OPTIONS, "a")
    with PoseShardWriter(tmp_path / "poses", index, 0) as writer:
        writer.add("a", **pose_values("a"))
        writer.finish()
    with PoseCache(tmp_path / "poses") as cache:
        assert np.array_equal(cache.test_tensors(["a"])[0], pose_values("a")["test_tensors"])
