"""Shards and folders of person clips: what is on the disk, whole or not at all."""

from __future__ import annotations

import os

import h5py
import numpy as np
import pytest

from keras_actrec.cache import person_clip_writer as writers
from keras_actrec.cache.person_clip_writer import STORAGES, person_clip_writer
from keras_actrec.cache.person_clips import open_person_clips
from keras_actrec.cache.schema import plan_cache
from keras_actrec.cache.writer import remove_stale_parts
from keras_actrec.errors import ConfigError, DiskFullError
from tests.cache.small_person_clips import LENGTHS, boxes, jpegs, options, person_cache, write_shard


def files(directory):
    return sorted(str(path.relative_to(directory)) for path in directory.rglob("*") if path.is_file())


SHARDS = [f"person_clips-0000{shard}.h5" for shard in range(3)]


def test_shards(tmp_path):
    person_cache(tmp_path, "hdf5")
    assert files(tmp_path) == ["index.json", *SHARDS]
    with h5py.File(tmp_path / SHARDS[0]) as file:
        assert all(file[name].fletcher32 for name in ("jpegs", "frame_bytes", "boxes", "offsets", "clip_ids", "lengths"))
        images = [*jpegs("a"), *jpegs("b")]
        assert file["jpegs"][()].tobytes() == b"".join(images)
        assert file["frame_bytes"][:, 1].tolist() == [len(jpeg) for jpeg in images]
        assert file["frame_bytes"][:, 0].tolist() == [sum(map(len, images[:i])) for i in range(10)]
        assert file["offsets"][()].tolist() == [0, 9]


def test_images_are_written_in_blocks(tmp_path, monkeypatch):
    person_cache(tmp_path / "one", "hdf5")
    monkeypatch.setattr(writers, "_WRITE_AT_ONCE", 1500)  # three or so of these images
    person_cache(tmp_path / "many", "hdf5")
    for shard in SHARDS:
        with h5py.File(tmp_path / "one" / shard) as one, h5py.File(tmp_path / "many" / shard) as many:
            for name in ("jpegs", "frame_bytes", "boxes", "offsets"):
                np.testing.assert_array_equal(one[name][()], many[name][()])


def test_folders(tmp_path):
    person_cache(tmp_path, "jpeg")
    images = [f"{clip}/{frame:06d}.jpg" for clip, length in LENGTHS.items() if clip != "d" for frame in range(length)]
    assert files(tmp_path) == sorted(["index.json", *SHARDS, *images])
    assert [(tmp_path / "c" / f"{frame:06d}.jpg").read_bytes() for frame in range(5)] == list(jpegs("c"))
    with h5py.File(tmp_path / SHARDS[0]) as file:
        assert sorted(file) == ["boxes", "clip_ids", "lengths", "offsets"]


@pytest.mark.parametrize("storage", STORAGES)
def test_boxes_must_fit_the_images(tmp_path, storage):
    index = plan_cache(tmp_path, options(storage), "a")
    with (
        pytest.raises(ConfigError, match=r"found \(1, 4\), expected \(9, 4\)"),
        person_clip_writer(tmp_path, index, 0) as writer,
    ):
        writer.begin_clip("a")
        for jpeg in jpegs("a"):
            writer.write(jpeg)
        writer.end_clip(boxes("b"))
    assert files(tmp_path) == ["index.json"]


@pytest.mark.parametrize("storage", STORAGES)
def test_a_clip_gets_its_name_when_it_is_whole(tmp_path, storage):
    index = plan_cache(tmp_path, options(storage), "abc")
    with person_clip_writer(tmp_path, index, 0) as writer:
        for clip_id in "ab":
            writer.begin_clip(clip_id)
            for jpeg in jpegs(clip_id):
                writer.write(jpeg)
            if clip_id == "a":
                writer.end_clip(boxes("a"))
        there = {path.name for path in tmp_path.iterdir() if not path.name.endswith(".part")}
        assert there == {"index.json"} | ({"a"} if storage == "jpeg" else set())
    # Left without `finish`: no part remains. The whole clip does, and the next run replaces it.
    assert not list(tmp_path.glob("*.part"))
    assert (tmp_path / "a").exists() == (storage == "jpeg")


def test_a_folder_of_an_earlier_run_is_replaced(tmp_path):
    index = plan_cache(tmp_path, options("jpeg"), "ab")
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "000000.jpg").write_bytes(b"old")
    (tmp_path / "a" / "000077.jpg").write_bytes(b"old")
    write_shard(tmp_path, index, 0)
    assert [path.read_bytes() for path in sorted((tmp_path / "a").iterdir())] == list(jpegs("a"))
    assert not list(tmp_path.glob("*.part"))


def test_a_clip_that_breaks_in_a_later_run_leaves_no_folder(tmp_path):
    index = plan_cache(tmp_path, options("jpeg"), "cd")
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "000000.jpg").write_bytes(b"old")
    write_shard(tmp_path, index, 0)
    assert {path.name for path in tmp_path.iterdir()} == {"index.json", SHARDS[0], "c"}


def test_parts_of_dead_runs_are_removed_with_their_images(tmp_path):
    index = plan_cache(tmp_path, options("jpeg"), "ab")
    with person_clip_writer(tmp_path, index, 0):
        names = [path.name for path in tmp_path.glob("*.part")]
    assert len(names) == 2 and not list(tmp_path.glob("*.part"))

    def images_of(process):
        (name,) = (name for name in names if ".images." in name)
        folder = tmp_path / name.replace(f".{os.getpid()}.", f".{process}.")
        (folder / "a").mkdir(parents=True)
        (folder / "a" / "000000.jpg").write_bytes(b"")
        return folder

    dead, alive = images_of(2**22 + 1), images_of(os.getppid())
    assert remove_stale_parts(tmp_path) == [dead]
    assert not dead.exists() and alive.exists()


@pytest.mark.parametrize(("storage", "limit"), [("hdf5", 3000), ("jpeg", 400)])
def test_a_full_disk(tmp_path, full_disk, monkeypatch, storage, limit):
    monkeypatch.setattr(writers, "_WRITE_AT_ONCE", 500)
    index = plan_cache(tmp_path, options(storage), LENGTHS, clips_per_shard=2)
    write_shard(tmp_path, index, 0)
    kept = files(tmp_path)
    with (
        full_disk(limit),
        pytest.raises(DiskFullError, match=r"person_clips-00001\.h5, .*no space left.*shards are kept"),
    ):
        write_shard(tmp_path, index, 1)
    assert files(tmp_path) == kept
    write_shard(tmp_path, index, 1)
    write_shard(tmp_path, index, 2)
    with open_person_clips(tmp_path) as clips:
        assert set(clips.lengths) == set("abce")
