from __future__ import annotations

import tarfile
from collections.abc import Iterable
from pathlib import Path

import pandas as pd
import pytest

from keras_actrec.datasets import clip_files
from keras_actrec.datasets.counts import CountMismatch
from keras_actrec.datasets.ntu import (
    EXPECTED_CLIPS,
    NTU60,
    NTU60_CLASSES,
    NTURGBD,
    ClipName,
    cross_subject,
    cross_view,
    missing_skeletons,
)
from keras_actrec.datasets.ntu_skeleton import write_ntu_skeleton
from keras_actrec.datasets.record import LeftOut
from keras_actrec.errors import ConfigError, DatasetError
from keras_actrec.skeletons.cleaning import CleaningConfig
from keras_actrec.skeletons.layout import KINECT_V2
from keras_actrec.skeletons.sequence import SkeletonSequence
from tests.skeletons.bodies import person

MISSING = "S001C002P005R002A008"  # First name of the published list.


def touch(root: Path, *files: str) -> Path:
    for file in files:
        path = root / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return root


def list_skeletons(monkeypatch, names: Iterable[str]) -> None:
    """Any folder lists the skeleton files of these names from now on; the index reads names only."""
    files = tuple(f"{name}.skeleton" for name in names)
    monkeypatch.setattr(clip_files, "walk_folders", lambda root, *, expected, fix: [(root, files)])


def pair(name: str) -> tuple[str, str]:
    return f"nturgb+d_skeletons/{name}.skeleton", f"nturgb+d_rgb/{name}_rgb.avi"


# Names ------------------------------------------------------------------------------------------------------------------------


def test_name_and_back():
    name = ClipName.parse("S017C003P020R002A059")
    assert name == ClipName(setup=17, camera=3, subject=20, replication=2, action=59)
    assert str(name) == "S017C003P020R002A059" and name.label == 58


@pytest.mark.parametrize(
    "name",
    [
        "",
        "S1C1P1R1A1",
        "S001C001P001R001A001.skeleton",
        "s001c001p001r001a001",
        "S001C001P001R001A000",
        "S001C001P001R001A001\n",
        "S٠٠١C001P001R001A001",
    ],
)
def test_what_is_no_name(name):
    with pytest.raises(DatasetError, match=r"not a clip name .*expected SsssCcccPpppRrrrAaaa"):
        ClipName.parse(name)


def test_the_sixty_classes():
    assert len(NTU60_CLASSES) == len(set(NTU60_CLASSES)) == 60
    # A1, A43, A50 and A60 of the data set's own list.
    assert [NTU60_CLASSES[i] for i in (0, 42, 49, 59)] == [
        "drink water",
        "falling",
        "punching/slapping other person",
        "walking apart from each other",
    ]


# Protocols --------------------------------------------------------------------------------------------------------------------


def test_protocols_by_hand():
    # Performers 1 and 38 train, 3 and 40 test; cameras 2 and 3 train, 1 tests.
    names = [f"S001C{camera:03d}P{subject:03d}R001A001" for camera, subject in ((1, 1), (2, 3), (3, 38), (1, 40))]
    assert cross_subject(names).train == (names[0], names[2]) and cross_subject(names).test == (names[1], names[3])
    assert cross_view(names).train == (names[1], names[2]) and cross_view(names).test == (names[0], names[3])


def test_numbers_that_the_protocols_do_not_know():
    with pytest.raises(DatasetError, match=r"S018C001P041R001A061.*found 41, expected 1 to 40.*NTU RGB\+D 120"):
        cross_subject(["S018C001P041R001A061"])
    with pytest.raises(DatasetError, match="found 4, expected 1 to 3"):
        cross_view(["S001C004P001R001A001"])


def test_the_list_of_missing_skeletons():
    assert len(missing_skeletons()) == 302
    assert {"S001C002P005R002A008", "S017C003P020R001A059"} <= missing_skeletons()
    for name in missing_skeletons():
        assert str(ClipName.parse(name)) == name


@pytest.fixture(scope="module")
def published_names(actrec_data) -> dict[str, set[str]]:
    """Names published with the data set and with other projects: "available" (56,578) and "missing" (302)."""
    with tarfile.open(actrec_data / "ntu_lists.tar.xz") as archive:

        def read(file: str) -> set[str]:
            return set(archive.extractfile(f"ntu_lists/statistics_ntu60/{file}.txt").read().decode().split())

        return {"available": read("skes_available_name"), "missing": read("samples_with_missing_skeletons")}


def test_counts_on_the_full_list_of_names(published_names):
    assert missing_skeletons() == published_names["missing"]
    names = sorted(published_names["available"] | published_names["missing"])
    assert len(names) == 56880
    subjects, views = cross_subject(names), cross_view(names)
    assert (len(subjects.train), len(subjects.test)) == (40320, 16560)
    assert (len(views.train), len(views.test)) == (37920, 18960)

    kept = [name for name in names if name not in missing_skeletons()]
    assert len(kept) == 56578
    # Sizes that projects on skeletons report after the 302 are gone.
    subjects, views = cross_subject(kept), cross_view(kept)
    assert (len(subjects.train), len(subjects.test)) == (40091, 16487)
    assert (len(views.train), len(views.test)) == (37646, 18932)


def test_counts_of_a_whole_data_root(published_names, tmp_path, monkeypatch):
    """A folder that lists all 56,880 skeleton files."""
    list_skeletons(monkeypatch, published_names["available"] | published_names["missing"])
    dataset = NTURGBD(tmp_path, modality="skeleton")
    table = dataset.counts()
    assert (table.found == table.expected_found).all() and (table.kept == table.expected_kept).all()
    assert table.loc[("all", "all")].tolist() == [56880, 56578, 302, 56880, 56578]
    assert table.found.to_dict() == EXPECTED_CLIPS
    assert dataset.count_mismatches() == ()
    assert {clip.reason for clip in dataset.left_out} == {
        "listed by the data set's authors among the samples with missing skeletons"
    }


# The index of a data root -----------------------------------------------------------------------------------------------------


def test_records_protocols_and_left_out_clips(tmp_path):
    root = touch(
        tmp_path,
        *pair("S002C003P003R002A060"),
        *pair("S001C001P001R001A001"),
        *pair(MISSING),
        "nturgb+d_rgb/S001C001P001R001A002_rgb.avi",
        "nturgb+d_skeletons/S001C001P001R001A003.skeleton",
        "nturgb+d_skeletons/notes.skeleton",
        "nturgb+d_rgb/S001C001P001R001A004.avi",
        "README.txt",
    )
    dataset = NTURGBD(root)
    assert [record.clip_id for record in dataset.records] == ["S001C001P001R001A001", "S002C003P003R002A060"]
    last = dataset.records[1]
    assert (last.label, last.subject, last.camera, last.setup, last.frame_rate) == (59, 3, 3, 2, 30.0)
    assert last.layout is KINECT_V2
    assert (last.skeleton, last.video) == tuple(root / file for file in pair("S002C003P003R002A060"))
    skeletons, videos = root / "nturgb+d_skeletons", root / "nturgb+d_rgb"
    way = "get it from the data set, or leave the clip out"
    assert dataset.left_out == (
        LeftOut("S001C001P001R001A002", "index", f"no skeleton file: {way}", str(videos / "S001C001P001R001A002_rgb.avi")),
        LeftOut("S001C001P001R001A003", "index", f"no video file: {way}", str(skeletons / "S001C001P001R001A003.skeleton")),
        LeftOut(
            MISSING,
            "index",
            "listed by the data set's authors among the samples with missing skeletons",
            str(skeletons / f"{MISSING}.skeleton"),
        ),
    )
    assert dataset.ignored == (skeletons / "notes.skeleton",)

    protocols = dataset.protocols()
    assert protocols["cross_subject"].train == protocols["cross_view"].test == ("S001C001P001R001A001",)
    assert protocols["cross_subject"].test == protocols["cross_view"].train == ("S002C003P003R002A060",)
    # Found: performer 1 three times, 3 and 5 once; camera 1 three times, 2 and 3 once.
    table = dataset.counts()
    assert table.loc[("cross_subject", "train"), ["found", "kept", "left_out"]].tolist() == [4, 1, 3]
    assert table.loc[("cross_view", "train"), ["found", "kept", "left_out"]].tolist() == [2, 1, 1]
    assert table.loc[("all", "all"), ["found", "kept", "left_out"]].tolist() == [5, 2, 3]


def test_skeletons_alone_need_no_video(tmp_path):
    root = touch(tmp_path, "S001C001P001R001A003.skeleton", *pair("S001C001P001R001A001"))
    dataset = NTURGBD(root, modality="skeleton")
    assert [record.video is None for record in dataset.records] == [False, True]


def test_a_part_of_the_data_set_is_reported(tmp_path):
    """Against the clips that remain after the 302 are gone; a clip without its video is not there."""
    dataset = NTURGBD(touch(tmp_path, *pair("S001C002P001R001A001"), "S001C001P001R001A001.skeleton"))
    mismatches = dataset.count_mismatches()
    assert [(m.protocol, m.side, m.found, m.expected, len(m.missing)) for m in mismatches] == [
        ("cross_subject", "train", 1, 40091, 40090),
        ("cross_subject", "test", 0, 16487, 16487),
        ("cross_view", "train", 1, 37646, 37645),
        ("cross_view", "test", 0, 18932, 18932),
    ]
    assert mismatches[0].missing[:2] == ("S001C001P001R001A001", "S001C001P001R001A002")
    assert "S001C001P001R001A001" in mismatches[3].missing and not any(m.unexpected for m in mismatches)
    assert dataset.cleaning == CleaningConfig()


def test_published_names_have_the_published_counts():
    names = NTU60.published_names()
    assert {side: len(set(clips)) for side, clips in names.items()} == {
        ("cross_subject", "train"): 40091,
        ("cross_subject", "test"): 16487,
        ("cross_view", "train"): 37646,
        ("cross_view", "test"): 18932,
    }
    everything = {clip for clips in names.values() for clip in clips}
    assert len(everything) == 56578 and not everything & missing_skeletons()
    for protocol in ("cross_subject", "cross_view"):  # NTU60.split reads the numbers from the names
        split = NTU60.split(protocol, everything)
        assert (set(split.train), set(split.test)) == (set(names[protocol, "train"]), set(names[protocol, "test"]))


def test_published_names_are_those_of_the_data_set(published_names):
    assert {clip for clips in NTU60.published_names().values() for clip in clips} == published_names["available"]


def test_clips_that_differ_are_named(tmp_path, monkeypatch):
    """Subject 3 and camera 2; subject 9 is of setup 2, not of setup 1, and tests before camera 1 in cross-view."""
    names = {clip for clips in NTU60.published_names().values() for clip in clips}
    gone, other = "S004C002P003R002A060", "S001C001P009R001A001"
    list_skeletons(monkeypatch, names - {gone} | {other, MISSING})
    dataset = NTURGBD(tmp_path, modality="skeleton")
    assert dataset.count_mismatches() == (
        CountMismatch("cross_subject", "train", 40092, 40091, unexpected=(other,)),
        CountMismatch("cross_subject", "test", 16486, 16487, missing=(gone,)),
        CountMismatch("cross_view", "train", 37645, 37646, missing=(gone,)),
        CountMismatch("cross_view", "test", 18933, 18932, unexpected=(other,)),
    )


def test_own_classes_have_no_expected_counts(tmp_path):
    dataset = NTURGBD(touch(tmp_path, *pair("S001C001P001R001A002")), class_names=("wave", "jump"))
    table = dataset.counts()
    assert dataset.class_names == ("wave", "jump") and dataset.records[0].label == 1
    assert dataset.count_mismatches() == ()
    assert table.expected_found.isna().all() and table.expected_kept.isna().all()
    assert isinstance(table, pd.DataFrame) and table.loc[("all", "all"), "kept"] == 1


def test_skeletons_are_read_as_they_are(tmp_path):
    joints = person(5)[:, None]
    path = tmp_path / "S001C001P001R001A001.skeleton"
    write_ntu_skeleton(path, SkeletonSequence(joints, KINECT_V2))
    dataset = NTURGBD(tmp_path, modality="skeleton")
    found = dataset.load_skeleton(dataset.records[0])
    assert found.joints.shape == (5, 1, 25, 3)


def test_folders_that_are_links_are_walked_once(tmp_path):
    touch(tmp_path / "disk", *pair("S001C001P001R001A001"))
    root = tmp_path / "root"
    root.mkdir()
    (root / "data").symlink_to(tmp_path / "disk")
    (root / "data again").symlink_to(tmp_path / "disk")
    (tmp_path / "disk" / "circle").symlink_to(root)
    assert len(NTURGBD(root).records) == 1


def test_more_actions_than_classes(tmp_path):
    root = touch(tmp_path, *pair("S001C001P001R001A001"), *pair("S018C001P008R001A061"))
    with pytest.raises(DatasetError, match=r"A061.*class count does not fit .*found action 61, expected 1 to 60.*Give a class"):
        NTURGBD(root)


def test_the_same_clip_in_two_folders(tmp_path):
    root = touch(tmp_path, "a/S001C001P001R001A001.skeleton", "b/S001C001P001R001A001.skeleton")
    with pytest.raises(DatasetError, match=r"in two places .*Take one of the two out") as error:
        NTURGBD(root)
    assert str(root / "a") in str(error.value) and str(root / "b") in str(error.value)


def test_no_data_root(tmp_path):
    for root in (tmp_path / "nothing", touch(tmp_path, "file") / "file"):
        with pytest.raises(DatasetError, match=r"is no folder .*nturgb\+d_skeletons and ROOT/nturgb\+d_rgb.*Download") as error:
            NTURGBD(root)
        assert str(root) in str(error.value)


def test_a_data_root_without_clips(tmp_path):
    with pytest.raises(DatasetError, match=r"no clip .*found no such file.*nturgb\+d_rgb.*Give the folder"):
        NTURGBD(tmp_path)
    with pytest.raises(DatasetError, match="found 1 files with other names"):
        NTURGBD(touch(tmp_path, "clip.skeleton"))


def test_a_data_root_of_which_nothing_can_be_used(tmp_path):
    root = touch(tmp_path, "S001C001P001R001A001.skeleton", "S001C001P001R001A002.skeleton")
    with pytest.raises(DatasetError, match=r'2 clips: no video file.*modality="skeleton"'):
        NTURGBD(root)


def test_options_are_checked(tmp_path):
    with pytest.raises(ConfigError, match=r"'rgb', expected one of both, skeleton"):
        NTURGBD(tmp_path, modality="rgb")
    with pytest.raises(ConfigError, match="needs classes"):
        NTURGBD(tmp_path, class_names=())


def test_real_folder(actrec_data):
    dataset = NTURGBD(actrec_data / "ntu_samples", modality="skeleton")
    assert len(dataset.records) == 5
    assert [clip.clip_id for clip in dataset.left_out] == ["S004C002P003R001A055"]
    assert dataset.load_skeleton(dataset.records[0]).length == 103
