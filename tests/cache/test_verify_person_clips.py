"""Verify finds damage in shards and folders of person clips, and the images are filled again after a repair."""

from __future__ import annotations

import re
import shutil

import cv2
import h5py
import numpy as np
import pytest

from keras_actrec.cache.person_clip_writer import STORAGES
from keras_actrec.cache.verify import repair_cache, verify_cache
from tests.cache.small_person_clips import person_cache, write_shard

FIRST = "person_clips-00000.h5"


@pytest.mark.parametrize("storage", STORAGES)
def test_sound_caches(tmp_path, storage):
    person_cache(tmp_path, storage)
    report = verify_cache(tmp_path)
    assert (report.ok, report.shards, report.clips, report.left_out) == (True, 3, 4, 1)


def replaced(file, name, change):
    """Puts a changed copy of a dataset in its place."""
    values = file[name][()]
    del file[name]
    file.create_dataset(name, data=change(values))


def cut_end_mark(file):
    start, count = file["frame_bytes"][7]
    file["jpegs"][start + count - 1] = 0


def other_picture(file):
    jpeg = np.frombuffer(cv2.imencode(".jpg", np.zeros((8, 8, 3), np.uint8))[1].tobytes(), np.uint8)
    start, count = file["frame_bytes"][2]
    filled = np.concatenate([jpeg[:-2], np.zeros(count - len(jpeg), np.uint8), jpeg[-2:]])
    file["jpegs"][start : start + count] = filled


@pytest.mark.parametrize(
    ("damage", "clip", "words"),
    [
        (cut_end_mark, "a", "the image of frame 7 does not read: has no end marker"),
        (other_picture, "a", "the image of frame 2 is 8x8 instead of 32x32"),
        (lambda file: replaced(file, "jpegs", lambda jpegs: jpegs[:-5]), "", "places of the images do not follow each other"),
        (lambda file: replaced(file, "frame_bytes", lambda table: table[:-1]), "", "places of the images"),
        (lambda file: replaced(file, "frame_bytes", lambda table: table + np.array([1, 0])), "", "places of the images"),
        (lambda file: replaced(file, "boxes", lambda boxes: boxes[1:]), "", r"boxes \(9, 4\).*lengths of the clips sum to 10"),
        (lambda file: replaced(file, "boxes", lambda boxes: boxes * np.nan), "", "not finite"),
        (lambda file: replaced(file, "offsets", lambda rows: rows + np.arange(2)), "b", "starts at row 10 instead of 9"),
    ],
)
def test_damaged_shards(tmp_path, damage, clip, words):
    person_cache(tmp_path, "hdf5")
    with h5py.File(tmp_path / FIRST, "r+") as file:
        damage(file)
    (problem,) = verify_cache(tmp_path).problems
    assert (problem.shard, problem.clip) == (FIRST, clip)
    assert re.search(words, problem.what)


def test_a_flipped_bit_between_the_headers_is_found(tmp_path):
    person_cache(tmp_path, "hdf5")
    with h5py.File(tmp_path / FIRST) as file:
        place = file["jpegs"].id.get_chunk_info(0).byte_offset + int(file["frame_bytes"][1, 0]) + 400
    content = bytearray((tmp_path / FIRST).read_bytes())
    content[place] ^= 1
    (tmp_path / FIRST).write_bytes(content)
    problems = verify_cache(tmp_path).problems
    # Clips a and b lie in one chunk.
    assert [(problem.shard, problem.clip) for problem in problems] == [(FIRST, "a"), (FIRST, "b")]
    assert all("the image of frame 0 does not read" in problem.what for problem in problems)


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda folder: shutil.rmtree(folder), "the image of frame 0 does not read"),
        (lambda folder: (folder / "000004.jpg").unlink(), "the image of frame 4 does not read"),
        (
            lambda folder: (folder / "000003.jpg").write_bytes(b""),
            "frame 3 does not read: does not begin as a JPEG",
        ),
    ],
)
def test_damaged_folders_are_filled_again(tmp_path, damage, words):
    index = person_cache(tmp_path, "jpeg")
    damage(tmp_path / "c")
    report = verify_cache(tmp_path)
    (problem,) = report.problems
    assert (problem.shard, problem.clip) == ("person_clips-00001.h5", "c")
    assert words in problem.what
    assert repair_cache(report) == [tmp_path / "person_clips-00001.h5"]
    assert index.missing(tmp_path) == [1]
    write_shard(tmp_path, index, 1)
    assert verify_cache(tmp_path).ok
