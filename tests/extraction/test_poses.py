"""Skeleton files → pose cache: right numbers, left-out clips with reasons, going on where a run stopped."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from keras_actrec.cache.reader import PoseCache
from keras_actrec.cache.verify import verify_cache
from keras_actrec.datasets.ntu import NTURGBD
from keras_actrec.errors import CacheError, ConfigError
from keras_actrec.extraction.poses import extract_poses, pose_cache_options
from keras_actrec.skeletons.cleaning import CleaningConfig, clean
from keras_actrec.skeletons.layout import KINECT_V2, SkeletonLayout
from keras_actrec.skeletons.layouts import SBU_15
from keras_actrec.skeletons.pose_tensor import PoseTensorConfig, clip_pose_tensor
from keras_actrec.skeletons.retarget import retarget
from keras_actrec.skeletons.sampling import SamplingConfig, test_subsequences
from tests.extraction.small import clip_name, skeleton, write_clip

# pytest would take the imported function for a test.
subsequences = test_subsequences
del test_subsequences


@pytest.fixture
def root(tmp_path):
    for action, people in ((1, 1), (2, 2), (3, 1)):
        write_clip(tmp_path / "ntu", action, length=20 + action, people=people)
    return tmp_path / "ntu"


def test_the_cache_holds_what_the_parts_compute(root, tmp_path):
    data = NTURGBD(root)
    report = extract_poses(data, tmp_path / "poses", clips_per_shard=2)
    assert (report.done, report.skipped, report.left_out) == (3, 0, ())
    expected = pose_cache_options(data.name, KINECT_V2, CleaningConfig(), PoseTensorConfig(), SamplingConfig())
    with PoseCache(tmp_path / "poses", expected) as cache:
        assert dict(cache.lengths) == {clip_name(action): 20 + action for action in (1, 2, 3)}
        for record in data.records:
            sequence, _ = clean(data.load_skeleton(record))
            frames = subsequences(sequence.length, SamplingConfig())
            tensor = clip_pose_tensor(sequence.joints, KINECT_V2, PoseTensorConfig())
            assert np.array_equal(cache.joints(record.clip_id), sequence.joints, equal_nan=True)
            assert np.array_equal(cache.pixels(record.clip_id), sequence.pixels, equal_nan=True)
            assert np.array_equal(cache.test_frames([record.clip_id])[0], frames)
            assert np.array_equal(cache.test_tensors([record.clip_id])[0], tensor[frames])
            assert cache.cleaning(record.clip_id)["people"] == skeleton_people(record.clip_id)
    assert verify_cache(tmp_path / "poses").ok


def skeleton_people(clip_id):
    return 2 if clip_id == clip_name(2) else 1


def test_a_broken_skeleton_is_left_out_with_its_reason(root, tmp_path):
    path = root / f"{clip_name(2)}.skeleton"
    path.write_text(path.read_text()[: path.stat().st_size // 2])
    report = extract_poses(NTURGBD(root), tmp_path / "poses")
    (entry,) = report.left_out
    assert (entry.clip_id, entry.stage, entry.file) == (clip_name(2), "poses", str(path))
    assert str(path) in entry.reason
    assert report.done == 2
    assert f"left out: {clip_name(2)}" in str(report)
    with PoseCache(tmp_path / "poses") as cache:
        assert cache.clip_ids == (clip_name(1), clip_name(3))
        assert cache.left_out == (entry,)


def test_a_mended_clip_comes_in_when_asked_for(root, tmp_path):
    path = root / f"{clip_name(2)}.skeleton"
    whole = path.read_bytes()
    path.write_bytes(b"")
    extract_poses(NTURGBD(root), tmp_path / "poses", clips_per_shard=1)
    path.write_bytes(whole)
    assert extract_poses(NTURGBD(root), tmp_path / "poses").done == 0
    report = extract_poses(NTURGBD(root), tmp_path / "poses", retry_left_out=True)
    assert (report.done, report.skipped, report.left_out) == (1, 2, ())


def test_a_second_run_skips_and_new_clips_are_added(root, tmp_path):
    extract_poses(NTURGBD(root), tmp_path / "poses", clips_per_shard=2)
    before = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "poses").glob("*.h5")}
    write_clip(root, 4)
    report = extract_poses(NTURGBD(root), tmp_path / "poses")
    assert (report.done, report.skipped) == (1, 3)
    after = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "poses").glob("*.h5")}
    assert before.items() < after.items()


def test_two_machines_share_the_work(root, tmp_path):
    first = extract_poses(NTURGBD(root), tmp_path / "poses", clips_per_shard=1, share=(0, 2))
    with pytest.raises(CacheError, match="1 of 3 shards missing"):
        PoseCache(tmp_path / "poses")
    second = extract_poses(NTURGBD(root), tmp_path / "poses", clips_per_shard=1, share=(1, 2))
    assert (first.done, second.done) == (2, 1)
    assert len(PoseCache(tmp_path / "poses").lengths) == 3


def test_other_options_are_refused(root, tmp_path):
    extract_poses(NTURGBD(root), tmp_path / "poses")
    with pytest.raises(CacheError, match=r"tensor\.order: found 'topological', expected 'no_repeats'"):
        extract_poses(NTURGBD(root), tmp_path / "poses", tensor=PoseTensorConfig(order="no_repeats"))


def test_a_plan_with_clips_that_are_gone(root, tmp_path):
    extract_poses(NTURGBD(root), tmp_path / "poses")
    (tmp_path / "poses" / "poses-00000.h5").unlink()
    for path in root.glob(f"{clip_name(3)}*"):
        path.unlink()
    with pytest.raises(CacheError, match=rf"poses-00000\.h5: .*e\.g\. {clip_name(3)}.*data root"):
        extract_poses(NTURGBD(root), tmp_path / "poses")


@pytest.mark.parametrize("options", [{"workers": 0}, {"share": (2, 2)}])
def test_settings_that_make_no_sense(root, tmp_path, options):
    with pytest.raises(ConfigError):
        extract_poses(NTURGBD(root), tmp_path / "poses", **options)


def test_with_a_layout_the_cleaned_bodies_are_retargeted_to_it(root, tmp_path):
    data, tensor = NTURGBD(root), PoseTensorConfig(scale="body")
    extract_poses(data, tmp_path / "poses", layout=SBU_15, tensor=tensor)
    expected = pose_cache_options(
        data.name, SBU_15, CleaningConfig(), tensor, SamplingConfig(), source_layout=KINECT_V2
    )  # fmt: skip
    assert (expected.layout, expected.options["source_layout"]) == ("sbu_15", "kinect_v2")
    with PoseCache(tmp_path / "poses", expected) as cache:
        for record in data.records:
            sequence = retarget(clean(data.load_skeleton(record))[0], SBU_15)
            assert np.array_equal(cache.joints(record.clip_id), sequence.joints, equal_nan=True)
            assert np.array_equal(cache.pixels(record.clip_id), sequence.pixels, equal_nan=True)
            frames = subsequences(sequence.length, SamplingConfig())
            tensors = clip_pose_tensor(sequence.joints, SBU_15, tensor)[frames]
            assert np.array_equal(cache.test_tensors([record.clip_id])[0], tensors)


def test_a_cache_of_another_layout_is_refused(root, tmp_path):
    extract_poses(NTURGBD(root), tmp_path / "poses")
    with pytest.raises(CacheError, match=r"layout: found 'kinect_v2', expected 'sbu_15'; source_layout: found 'absent'"):
        extract_poses(NTURGBD(root), tmp_path / "poses", layout=SBU_15)


def test_the_data_sets_own_layout_is_no_retargeting(root, tmp_path):
    extract_poses(NTURGBD(root), tmp_path / "poses")
    assert extract_poses(NTURGBD(root), tmp_path / "poses", layout=KINECT_V2).skipped == 3
    with PoseCache(tmp_path / "poses") as cache:
        assert set(cache.options.options) == {"cleaning", "tensor", "sampling"}


def test_a_layout_that_the_bodies_cannot_fill_stops_the_run_before_it_begins(root, tmp_path):
    cat = SkeletonLayout("cat", ("spine_base", "tail"), (-1, 0), (1, 1), (), (("all", (0, 1)),))
    with pytest.raises(ConfigError, match="layout kinect_v2 does not give the joint tail of layout cat"):
        extract_poses(NTURGBD(root), tmp_path / "poses", layout=cat)
    assert not (tmp_path / "poses").exists()


def test_people_are_found_as_the_data_set_says_unless_told_otherwise(root, tmp_path):
    data = NTURGBD(root)
    data.cleaning = replace(data.cleaning, max_gap=3)
    extract_poses(data, tmp_path / "own")
    extract_poses(data, tmp_path / "other", cleaning=CleaningConfig(max_gap=5))
    for folder, gap in (("own", 3), ("other", 5)):
        with PoseCache(tmp_path / folder) as cache:
            assert cache.options.options["cleaning"]["max_gap"] == gap
    with pytest.raises(CacheError, match=r"cleaning\.max_gap: found 3, expected 10"):
        extract_poses(NTURGBD(root), tmp_path / "own")


def test_a_skeleton_without_pixels_has_nan_pixels(root, tmp_path):
    data = NTURGBD(root)

    class WithoutPixels:
        name, records, cleaning = data.name, data.records[:1], data.cleaning

        def load_skeleton(self, record):
            sequence = skeleton(15, 1, 0)
            return type(sequence)(sequence.joints, sequence.layout)

    extract_poses(WithoutPixels(), tmp_path / "poses")
    with PoseCache(tmp_path / "poses") as cache:
        assert np.isnan(cache.pixels(clip_name(1))).all()


def test_real_files(actrec_data, tmp_path):
    report = extract_poses(NTURGBD(actrec_data / "ntu_samples", modality="skeleton"), tmp_path / "poses")
    assert (report.done, report.left_out) == (5, ())
    with PoseCache(tmp_path / "poses") as cache:
        assert cache.lengths["S001C001P001R001A001"] == 103
        assert cache.cleaning("S001C001P001R001A050")["people"] == 2
    assert verify_cache(tmp_path / "poses").ok
