"""Shards struck or cut after they were whole: verify finds it, and the extraction writes them again as they were."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest

from keras_actrec.cache.verify import repair_cache, verify_cache
from keras_actrec.datasets.ntu import NTURGBD
from keras_actrec.extraction.flow import extract_flow
from keras_actrec.extraction.person_clips import PersonCropConfig, extract_person_clips
from keras_actrec.extraction.poses import extract_poses
from keras_actrec.extraction.run import ExtractionReport
from keras_actrec.video.optical_flow import FlowConfig
from tests.cache.small import feature_cache, write_feature_shard
from tests.extraction.small import write_clip

FLOW = FlowConfig(picture_size=(32, 32), preset="ultrafast")


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    root = tmp_path_factory.mktemp("ntu")
    for action in (1, 2, 3):
        write_clip(root / "ntu", action, length=5)
    extract_poses(NTURGBD(root / "ntu"), root / "poses")
    return NTURGBD(root / "ntu"), root / "poses"


def _poses(data, directory: Path) -> ExtractionReport:
    return extract_poses(data[0], directory, clips_per_shard=2)


def _flow(data, directory: Path) -> ExtractionReport:
    return extract_flow(data[0].records, directory, dataset="ntu_rgbd", flow=FLOW, clips_per_shard=2)


def _people(data, directory: Path, storage: str = "hdf5") -> ExtractionReport:
    crop = PersonCropConfig(size=16)
    return extract_person_clips(data[0], data[1], directory, crop=crop, storage=storage, clips_per_shard=2)


def _jpegs(data, directory: Path) -> ExtractionReport:
    return _people(data, directory, "jpeg")


def _features(data, directory: Path) -> None:
    """The features of small random networks are slow to compute: the shards that are missing are written as they were."""
    if not (directory / "index.json").exists():
        feature_cache(directory)
    for shard in verify_cache(directory).problems:
        index = feature_index(directory)
        write_feature_shard(directory, index, [index.shard_name(n) for n in range(len(index.shards))].index(shard.shard))


def feature_index(directory: Path):
    from keras_actrec.cache.schema import load_index

    return load_index(directory)


KINDS = {"poses": _poses, "flow": _flow, "person_clips": _people, "jpegs": _jpegs, "hand_features": _features}


def content(path: Path) -> dict[str, object]:
    """Everything that a reader can get out of a shard."""
    found: dict[str, object] = {}

    def note(name: str, item: h5py.Group | h5py.Dataset) -> None:
        found.update({f"{name}.{key}": str(value) for key, value in item.attrs.items()})
        if isinstance(item, h5py.Dataset):
            found[name] = (item.dtype.str, item.shape, np.asarray(item[()]).tobytes())

    with h5py.File(path, "r") as file:
        note("", file)
        file.visititems(note)
    return found


def shards(directory: Path) -> list[Path]:
    return sorted(directory.glob("*.h5"))


def strike(data, extract: Callable, directory: Path, *, count: int, seed: int) -> int:
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
        name = {"poses": "lengths", "hand_features": "features", "flow": "flow"}.get(kind, "boxes")
        chunk = file[name].id.get_chunk_info(0)
    struck[chunk.byte_offset + chunk.size // 2] ^= 1
    path.write_bytes({"flipped": bytes(struck), "cut": bytes(struck[: size // 2]), "empty": b""}[damage])
    report = verify_cache(tmp_path)
    assert {problem.shard for problem in report.problems} == {path.name}
    if damage == "flipped":
        assert repair_cache(report) == [path]
    again = extract(data, tmp_path)  # a shard that does not open is written again without being asked
    assert verify_cache(tmp_path).ok
    assert {path: content(path) for path in shards(tmp_path)} == whole
    if again is not None:
        assert (again.done, again.skipped) == (2, 1)
        assert [path.name in note for note in again.notes] == ([] if damage == "flipped" else [True])
