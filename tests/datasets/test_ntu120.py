from __future__ import annotations

from pathlib import Path

import pytest

from keras_actrec.datasets.counts import CountMismatch
from keras_actrec.datasets.ntu import NTU60, NTU60_CLASSES, NTURGBD
from keras_actrec.datasets.ntu120 import (
    EXPECTED_CLIPS,
    NTU120,
    NTURGBD120,
    TRAINING_SETUPS,
    TRAINING_SUBJECTS,
    cross_setup,
    cross_subject,
    missing_skeletons,
)
from keras_actrec.datasets.ntu_classes import NTU120_CLASSES
from keras_actrec.datasets.ntu_index import ClipName
from keras_actrec.datasets.ntu_skeleton import write_ntu_skeleton
from keras_actrec.errors import ConfigError, DatasetError
from keras_actrec.skeletons.cleaning import CleaningConfig
from keras_actrec.skeletons.layout import KINECT_V2
from keras_actrec.skeletons.sequence import SkeletonSequence
from tests.datasets.test_ntu import list_skeletons, pair, touch
from tests.skeletons.bodies import person

MISSING_IN_THE_SECOND_PART = "S032C003P067R002A077"  # Last name of the published list.


# Classes and protocols --------------------------------------------------------------------------------------------------------


def test_the_classes():
    assert len(NTU120_CLASSES) == len(set(NTU120_CLASSES)) == 120
    assert NTU120_CLASSES[:60] == NTU60_CLASSES
    # A61, A69, A99, A106 and A120 of the data set's own list.
    assert [NTU120_CLASSES[i - 1] for i in (61, 69, 99, 106, 120)] == [
        "put on headphone",
        "thumb up",
        "running on the spot",
        "hit other person with something",
        "finger-guessing game (playing rock-paper-scissors)",
    ]


def test_protocols_by_hand():
    # Performers 38 and 103 train, 3 and 106 test; setups 2 and 32 train, 1 and 17 test.
    names = [f"S{setup:03d}C001P{subject:03d}R001A001" for setup, subject in ((1, 38), (2, 3), (17, 106), (32, 103))]
    assert cross_subject(names).train == (names[0], names[3]) and cross_subject(names).test == (names[1], names[2])
    assert cross_setup(names).train == (names[1], names[3]) and cross_setup(names).test == (names[0], names[2])


def test_half_of_the_subjects_and_of_the_setups_train():
    assert len(TRAINING_SUBJECTS) == 53 and len(TRAINING_SETUPS) == 16
    # On the first 40 subjects the protocol is that of the smaller data set.
    assert {subject for subject in TRAINING_SUBJECTS if subject <= 40} == NTU60.protocols["cross_subject"].training


def test_numbers_that_the_protocols_do_not_know():
    with pytest.raises(DatasetError, match=r"NTU RGB\+D 120 do not know this subject.*found 107, expected 1 to 106"):
        cross_subject(["S018C001P107R001A061"])
    with pytest.raises(DatasetError, match=r"do not know this setup.*found 33, expected 1 to 32.*Leave out"):
        cross_setup(["S033C001P001R001A061"])
    with pytest.raises(DatasetError, match="not a clip name"):
        cross_setup(["S01C001P001R001A061"])


def test_the_list_of_missing_skeletons():
    assert len(missing_skeletons()) == 535
    assert missing_skeletons() > NTU60.missing_skeletons
    for name in missing_skeletons():
        clip = ClipName.parse(name)
        assert str(clip) == name and (clip.setup >= 18) == (clip.action > 60)


def test_published_sides_add_up():
    """Both protocols use every clip once; 535 go."""
    for clips, total in ((EXPECTED_CLIPS, 114480), (NTU120.published_kept, 113945)):
        assert clips["all", "all"] == total
        for protocol in ("cross_subject", "cross_setup"):
            assert clips[protocol, "train"] + clips[protocol, "test"] == total
    # Sizes that projects on skeletons report (for cross-subject test also 50,922, which does not add up).
    assert [NTU120.published_kept[side] for side in list(EXPECTED_CLIPS)[:4]] == [63026, 50919, 54468, 59477]


@pytest.fixture(scope="module")
def published_names(real_archive) -> dict[str, list[str]]:
    """Names published with the data set and with other projects: "available" (113,945) and "missing" (535)."""
    folder = real_archive("ntu_lists") / "ntu_lists"
    statistics = folder / "statistics_ntu120"
    header = 3
    return {
        "available": (statistics / "skes_available_name.txt").read_text().split(),
        "missing": "\n".join(
            (folder / "NTU_RGBD120_samples_with_missing_skeletons.txt").read_text().splitlines()[header:]
        ).split(),
        "performer": (statistics / "performer.txt").read_text().split(),
        "setup": (statistics / "setup.txt").read_text().split(),
        "label": (statistics / "label.txt").read_text().split(),
    }


def test_counts_on_the_full_list_of_names(published_names):
    assert missing_skeletons() == set(published_names["missing"])
    assert len(published_names["available"]) == 113945
    assert NTU120.count(published_names["available"]) == NTU120.published_kept
    assert NTU120.count(published_names["available"] + published_names["missing"]) == EXPECTED_CLIPS


def test_the_numbers_in_names_are_those_of_other_projects(published_names):
    clips = [ClipName.parse(name) for name in published_names["available"]]
    assert [clip.subject for clip in clips] == list(map(int, published_names["performer"]))
    assert [clip.setup for clip in clips] == list(map(int, published_names["setup"]))
    assert [clip.action for clip in clips] == list(map(int, published_names["label"]))


@pytest.fixture
def whole_root(published_names, tmp_path, monkeypatch) -> Path:
    """A folder that lists all 114,480 skeleton files."""
    list_skeletons(monkeypatch, published_names["available"] + published_names["missing"])
    return tmp_path


def test_a_whole_data_root(whole_root):
    dataset = NTURGBD120(whole_root, modality="skeleton")
    assert dataset.count_mismatches() == ()
    table = dataset.counts()
    assert (table.found == table.expected_found).all() and (table.kept == table.expected_kept).all()
    assert table.loc[("all", "all")].tolist() == [114480, 113945, 535, 114480, 113945]
    assert [record.clip_id for record in dataset.records] == sorted(record.clip_id for record in dataset.records)


# The index of a data root -----------------------------------------------------------------------------------------------------


def test_records_of_both_parts(tmp_path):
    """The data root of the larger data set holds that of the smaller one."""
    root = touch(
        tmp_path,
        *(f"nturgb+d_part1/{file}" for file in pair("S001C001P001R001A001")),
        *(f"nturgb+d_part2/{file}" for file in pair("S018C002P106R001A120")),
        *pair(MISSING_IN_THE_SECOND_PART),
        "S020C001P008R001A061_rgb.avi",
        "S20C1P8R1A61.skeleton",
    )
    dataset = NTURGBD120(root)
    assert (dataset.name, dataset.root, dataset.class_names) == ("ntu_rgbd_120", root, NTU120_CLASSES)
    assert dataset.cleaning == CleaningConfig()
    first, second = dataset.records
    assert (first.clip_id, first.label, first.setup) == ("S001C001P001R001A001", 0, 1)
    assert (second.clip_id, second.label, second.subject, second.camera, second.setup) == (
        *("S018C002P106R001A120", 119, 106, 2, 18),
    )
    assert second.layout is KINECT_V2 and second.frame_rate == 30.0
    assert [clip.clip_id for clip in dataset.left_out] == ["S020C001P008R001A061", MISSING_IN_THE_SECOND_PART]
    assert dataset.left_out[0].reason.startswith("no skeleton file") and "listed by" in dataset.left_out[1].reason
    assert dataset.ignored == (root / "S20C1P8R1A61.skeleton",)
    protocols = dataset.protocols()
    assert list(protocols) == ["cross_subject", "cross_setup"]
    assert protocols["cross_subject"].train == protocols["cross_setup"].test == ("S001C001P001R001A001",)
    assert protocols["cross_subject"].test == protocols["cross_setup"].train == ("S018C002P106R001A120",)


def test_a_part_of_the_data_set_is_reported(tmp_path):
    mismatches = NTURGBD120(touch(tmp_path, *pair("S001C001P001R001A001"))).count_mismatches()
    assert [(m.protocol, m.side, m.found, m.expected, len(m.missing)) for m in mismatches] == [
        ("cross_subject", "train", 1, 63026, 63025),
        ("cross_subject", "test", 0, 50919, 50919),
        ("cross_setup", "train", 0, 54468, 54468),
        ("cross_setup", "test", 1, 59477, 59476),
    ]
    assert "S032C003P106R002A120" in mismatches[2].missing and MISSING_IN_THE_SECOND_PART not in mismatches[2].missing


def all_published_names() -> set[str]:
    return {clip for clips in NTU120.published_names().values() for clip in clips}


def test_published_names_have_the_published_counts():
    names = NTU120.published_names()
    assert {side: len(set(clips)) for side, clips in names.items()} == {
        ("cross_subject", "train"): 63026,
        ("cross_subject", "test"): 50919,
        ("cross_setup", "train"): 54468,
        ("cross_setup", "test"): 59477,
    }
    everything = all_published_names()
    assert len(everything) == 113945 and not everything & missing_skeletons()
    for protocol in ("cross_subject", "cross_setup"):  # NTU120.split reads the numbers from the names
        split = NTU120.split(protocol, everything)
        assert (set(split.train), set(split.test)) == (set(names[protocol, "train"]), set(names[protocol, "test"]))
    first_part = {clip for clips in NTU60.published_names().values() for clip in clips}
    assert {clip for clip in everything if ClipName.parse(clip).setup <= 17} == first_part


def test_published_names_are_those_of_the_data_set(published_names):
    assert all_published_names() == set(published_names["available"])


def test_clips_that_differ_are_named(tmp_path, monkeypatch):
    """Subject 106 tests, setup 32 trains. A first action in a setup of the second part was not published: subject 41 tests."""
    gone, other = "S032C001P106R001A120", "S019C001P041R001A001"
    list_skeletons(monkeypatch, all_published_names() - {gone} | {other})
    dataset = NTURGBD120(tmp_path, modality="skeleton")
    assert dataset.count_mismatches() == (
        CountMismatch("cross_subject", "test", 50919, 50919, missing=(gone,), unexpected=(other,)),
        CountMismatch("cross_setup", "train", 54467, 54468, missing=(gone,)),
        CountMismatch("cross_setup", "test", 59478, 59477, unexpected=(other,)),
    )


def test_own_classes_have_no_published_counts(tmp_path):
    dataset = NTURGBD120(touch(tmp_path, *pair("S001C001P001R001A001")), class_names=("wave",))
    assert dataset.count_mismatches() == () and dataset.counts().expected_kept.isna().all()


def test_skeletons_are_read_as_they_are(tmp_path):
    write_ntu_skeleton(tmp_path / "S018C001P008R001A061.skeleton", SkeletonSequence(person(5)[:, None], KINECT_V2))
    dataset = NTURGBD120(tmp_path, modality="skeleton")
    assert dataset.load_skeleton(dataset.records[0]).joints.shape == (5, 1, 25, 3)


def test_the_smaller_data_set_names_the_larger_one_as_the_way_out(tmp_path):
    root = touch(tmp_path, *pair("S018C001P008R001A061"))
    with pytest.raises(DatasetError, match=r"found action 61, expected 1 to 60.*NTURGBD120"):
        NTURGBD(root)
    assert len(NTURGBD120(root).records) == 1


def test_bad_roots_and_options(tmp_path):
    with pytest.raises(DatasetError, match=r"is no folder.*Download NTU RGB\+D 120 "):
        NTURGBD120(tmp_path / "nothing")
    with pytest.raises(DatasetError, match=r"no clip of NTU RGB\+D 120 in the data root .*no such file"):
        NTURGBD120(tmp_path)
    with pytest.raises(ConfigError, match="unknown modality"):
        NTURGBD120(tmp_path, modality="depth")
    with pytest.raises(DatasetError, match="found action 121, expected 1 to 120"):
        NTURGBD120(touch(tmp_path / "a", *pair("S001C001P001R001A121")))
    with pytest.raises(DatasetError, match="in two places"):
        NTURGBD120(touch(tmp_path / "b", "x/S001C001P001R001A001.skeleton", "y/S001C001P001R001A001.skeleton"))
