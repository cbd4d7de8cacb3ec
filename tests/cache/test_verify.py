"""Verify finds each kind of damage, names shard and clip, and repair lets the extraction fill the gap."""

from __future__ import annotations

import json

import h5py
import numpy as np
import pytest

from keras_actrec.cache.reader import FeatureCache
from keras_actrec.cache.verify import repair_cache, verify_cache
from keras_actrec.errors import CacheError
from tests.cache.small import FEATURE_OPTIONS, feature_cache, pose_cache, write_feature_shard


@pytest.fixture
def features(tmp_path):
    feature_cache(tmp_path)
    return tmp_path


def change(directory, shard, edit):
    with h5py.File(directory / f"hand_features-0000{shard}.h5", "r+") as file:
        edit(file)


def test_sound_caches(features, tmp_path_factory):
    seen = []
    report = verify_cache(features, on_shard=seen.append)
    assert (report.ok, report.shards, report.clips, report.left_out) == (True, 3, 4, 1)
    assert seen == [f"hand_features-0000{i}.h5" for i in range(3)]
    poses = tmp_path_factory.mktemp("poses")
    pose_cache(poses)
    assert verify_cache(poses).ok


def test_every_flipped_bit_in_the_data_is_found(features):
    path = features / "hand_features-00000.h5"
    content = path.read_bytes()
    # A chunk of features is found by its values: any byte of it.
    with h5py.File(path) as file:
        info = file["features"].id.get_chunk_info(3)
    for place in (info.byte_offset, info.byte_offset + 4095, info.byte_offset + info.size - 1):
        damaged = bytearray(content)
        damaged[place] ^= 0x10
        path.write_bytes(damaged)
        (problem,) = verify_cache(features).problems
        assert (problem.shard, problem.clip) == ("hand_features-00000.h5", "a")
        assert "does not read" in problem.what
        assert "--repair" in problem.fix


def test_a_cut_shard(features):
    path = features / "hand_features-00001.h5"
    path.write_bytes(path.read_bytes()[:-5000])
    report = verify_cache(features)
    assert [problem.shard for problem in report.problems] == ["hand_features-00001.h5"]


def test_an_option_that_differs(features):
    change(
        features, 1, lambda file: file.attrs.modify("options", json.dumps({"crop_size": 60, "sensor": {"name": "resnet50"}}))
    )
    (problem,) = verify_cache(features).problems
    assert str(problem).startswith("hand_features-00001.h5: option crop_size is 60, the index says 50")


def test_a_mask_that_does_not_agree(features):
    def edit(file):
        absent = np.argwhere(~file["mask"][:30])[0]
        file["mask"][tuple(absent)] = True

    change(features, 0, edit)
    (problem,) = verify_cache(features).problems
    assert problem.clip == "a"
    assert "present but all zeros (1 such hands)" in problem.what


def test_values_that_are_not_finite(features):
    def edit(file):
        frame, hand = np.argwhere(file["mask"][:30])[0]
        file["features"][frame, hand, 7] = np.inf

    change(features, 0, edit)
    (problem,) = verify_cache(features).problems
    assert problem.clip == "a"
    assert "not finite" in problem.what


def test_lengths_that_do_not_add_up(features):
    change(features, 2, lambda file: file["lengths"].__setitem__(0, 6))
    (problem,) = verify_cache(features).problems
    assert "the lengths of the clips sum to 6" in problem.what


def test_a_clip_that_is_not_planned_here(features):
    change(features, 2, lambda file: file["clip_ids"].__setitem__(0, b"x"))
    problems = verify_cache(features).problems
    assert {(problem.clip, problem.what.split(",")[0]) for problem in problems} == {
        ("e", "is present or left out 0 times instead of once"),
        ("x", "is in this shard"),
    }


def test_pose_arrays_that_do_not_agree(tmp_path):
    pose_cache(tmp_path)
    with h5py.File(tmp_path / "poses-00000.h5", "r+") as file:
        file["clips/a/test_frames"][0, 19] = 30
        file["clips/b/test_tensors"][3, 0, 0, 0] = np.nan
    problems = {problem.clip: problem.what for problem in verify_cache(tmp_path).problems}
    assert problems.keys() == {"a", "b"}
    assert "the clip has 30 frames" in problems["a"]
    assert "not finite" in problems["b"]


def test_strangers_and_missing_shards(features):
    (features / "hand_features-00002.h5").rename(features / "hand_features-00009.h5")
    problems = {problem.shard: problem for problem in verify_cache(features).problems}
    assert "is missing (1 clips)" in problems["hand_features-00002.h5"].what
    assert problems["hand_features-00002.h5"].missing
    assert "does not know this shard" in problems["hand_features-00009.h5"].what


def test_repair_deletes_what_is_damaged_and_the_extraction_fills_it(features):
    path = features / "hand_features-00001.h5"
    path.write_bytes(b"damaged")
    whole = (features / "hand_features-00000.h5").read_bytes()
    assert repair_cache(verify_cache(features)) == [path]
    assert not path.exists()
    assert (features / "hand_features-00000.h5").read_bytes() == whole
    index = feature_index(features)
    write_feature_shard(features, index, 1)
    assert verify_cache(features).ok
    FeatureCache(features, FEATURE_OPTIONS).close()


def feature_index(directory):
    from keras_actrec.cache.schema import load_index

    return load_index(directory)


def test_no_cache(tmp_path):
    with pytest.raises(CacheError, match="there is no cache here"):
        verify_cache(tmp_path)
