"""Shards struck or cut after they were whole: verify finds it, and the extraction writes them again as they were."""

from __future__ import annotations

import random
from pathlib import Path

import h5py
import pytest

from keras_actrec.cache.verify import repair_cache, verify_cache
from tests.faults.cache_kinds import KINDS, Extract, content, write_data

DATASETS = {
    "poses": "lengths", "hand_features": "features", "person_clips": "boxes", "jpegs": "boxes", "flow": "flow",
    "clip_maps": "maps", "glimpse_maps": "context", "frame_cubes": "pooled",
}  # fmt: skip
"""One of each kind, whose values all count."""


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_data(tmp_path_factory.mktemp("data"), clips=3)


def shards(directory: Path) -> list[Path]:
    return sorted(directory.glob("*.h5"))


def strike(data: Path, extract: Extract, directory: Path, *, count: int, seed: int) -> int:
    """Flips a bit of a shard `count` times, each in a whole cache; gives how many were found. The others changed nothing."""
    found = 0
    extract(data, directory)
    assert verify_cache(directory).ok
    whole = {path: path.read_bytes() for path in shards(directory)}
    values = {path: content(path) for path in whole}
    for number in range(count):
        draw = random.Random(f"{seed} {number}")
        path = draw.choice(sorted(whole))
        struck = bytearray(whole[path])
        at = draw.randrange(len(struck))
        struck[at] ^= 1 << draw.randrange(8)
        path.write_bytes(struck)
        report = verify_cache(directory)
        if report.ok:
            assert content(path) == values[path], f"strike {seed} {number}: bit of byte {at} of {path.name} was not found"
        else:
            assert {problem.shard for problem in report.problems} == {path.name}
            found += 1
        path.write_bytes(whole[path])
    return found


@pytest.mark.parametrize("kind", KINDS)
def test_flipped_bits(kind, data, tmp_path):
    assert strike(data, KINDS[kind], tmp_path, count=30, seed=1)


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_hundreds_of_flipped_bits(kind, data, tmp_path):
    assert strike(data, KINDS[kind], tmp_path, count=400, seed=2)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("damage", ["flipped", "cut", "empty"])
def test_the_extraction_writes_it_again(kind, damage, data, tmp_path):
    extract = KINDS[kind]
    extract(data, tmp_path)
    whole = {path: content(path) for path in shards(tmp_path)}
    path = shards(tmp_path)[0]
    size = path.stat().st_size
    struck = bytearray(path.read_bytes())
    with h5py.File(path) as file:
        chunk = file[DATASETS[kind]].id.get_chunk_info(0)
    struck[chunk.byte_offset + chunk.size // 2] ^= 1
    path.write_bytes({"flipped": bytes(struck), "cut": bytes(struck[: size // 2]), "empty": b""}[damage])
    report = verify_cache(tmp_path)
    assert {problem.shard for problem in report.problems} == {path.name}
    if damage == "flipped":
        assert repair_cache(report) == [path]
    again = extract(data, tmp_path)  # a shard that does not open is written again without being asked
    assert verify_cache(tmp_path).ok
    assert {path: content(path) for path in shards(tmp_path)} == whole
    assert (again.done, again.skipped) == (2, 1)
    assert [path.name in note for note in again.notes] == ([] if damage == "flipped" else [True])
