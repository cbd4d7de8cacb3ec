from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from keras_actrec.datasets.smarthome import (
    CROSS_SUBJECT_CLASSES,
    CROSS_VIEW_CLASSES,
    EXPECTED_CLIPS,
    ClipName,
    ToyotaSmarthome,
    cross_subject,
    cross_view,
    read_smarthome_skeleton,
)
from keras_actrec.errors import ConfigError, DatasetError, SkeletonFormatError
from keras_actrec.skeletons.cleaning import clean

NAME = "Cook.Cut_p03_r00_v02_c06"
X, Y, Z = ([float(axis + joint) for joint in range(13)] for axis in (100, 200, 300))


def person(*, pose2d: list | None = None, pose3d: list | None = None, **more) -> dict:
    """A person whose joint j is at (100 + j, 200 + j, 300 + j), and whose pixels are x and y of that."""
    return {"pose2d": X + Y if pose2d is None else pose2d, "pose3d": X + Y + Z if pose3d is None else pose3d, **more}


def write(path: Path, frames: object, **more) -> Path:
    path.write_text(json.dumps({"K": 20, "njts": 13, "frames": frames, **more}))
    return path


def touch(root: Path, *files: str) -> Path:
    for file in files:
        path = root / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return root


def pair(name: str) -> tuple[str, str]:
    return f"mp4/{name}.mp4", f"skeletons_v1.2/{name}_pose3d.json"


# Names, classes, protocols ----------------------------------------------------------------------------------------------------


def test_name_and_back():
    name = ClipName.parse("Cook.Cut_p03_r44_v02_c06")
    assert name == ClipName(activity="Cook.Cut", subject=3, repetition=44, recording=2, camera=6)
    assert str(name) == "Cook.Cut_p03_r44_v02_c06"


@pytest.mark.parametrize(
    "name", ["", "P02T02C03", f"{NAME}.mp4", f"{NAME}\n", "Cook.Cut_p3_r0_v2_c6", "Cook Cut_p03_r00_v02_c06", f".{NAME}"]
)
def test_what_is_no_name(name):
    with pytest.raises(DatasetError, match=r"not a clip name of Toyota Smarthome.*expected ACTION_pNN_rNN_vNN_cNN"):
        ClipName.parse(name)


def test_classes():
    assert len(CROSS_SUBJECT_CLASSES) == 31 and len(CROSS_VIEW_CLASSES) == 19  # the publication's numbers
    assert set(CROSS_VIEW_CLASSES) < set(CROSS_SUBJECT_CLASSES)
    assert "Pour.Fromcup" not in CROSS_SUBJECT_CLASSES
    for classes in (CROSS_SUBJECT_CLASSES, CROSS_VIEW_CLASSES):
        assert list(classes) == sorted(set(classes))


def test_protocols_by_hand():
    # Persons 3 and 25 train, 2 tests; camera 1 trains, 2 tests, 5 does neither, 7 trains in cross_view2 only.
    names = [f"Walk_p{subject:02d}_r00_v01_c{camera:02d}" for subject, camera in ((3, 1), (25, 2), (2, 5), (2, 7))]
    assert cross_subject(names).train == tuple(names[:2]) and cross_subject(names).test == tuple(names[2:])
    assert cross_view(names, "cross_view1").train == (names[0],) and cross_view(names, "cross_view1").test == (names[1],)
    assert cross_view(names, "cross_view2").train == (names[0], names[3])
    assert cross_view(names, "cross_view2").test == (names[1],)


def test_numbers_that_the_protocols_do_not_know():
    with pytest.raises(DatasetError, match=r"Walk_p05_.*do not know this person.*found 5, expected one of 2, 3, 4, 6"):
        cross_subject(["Walk_p05_r00_v01_c01"])
    with pytest.raises(DatasetError, match=r"do not know this camera \(found 8, expected one of 1, 2, 3, 4, 5, 6, 7\)"):
        cross_view(["Walk_p02_r00_v01_c08"], "cross_view1")


# The authors' own lists -------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def published(real_archive) -> dict[str, set[str]]:
    """ "train_CS" → clip names of the authors' list of that name."""
    lists = {}
    for file in (real_archive("smarthome_splits") / "smarthome" / "splits").glob("*.txt"):
        names = [line.removesuffix(".mp4") for line in file.read_text().split()]
        lists[file.stem] = set(names)
        assert len(lists[file.stem]) == len(names)
    assert len(lists) == 9
    return lists


@pytest.fixture(scope="module")
def published_root(published, tmp_path_factory) -> Path:
    """A data root with an empty file of the name of each published clip."""
    root = tmp_path_factory.mktemp("smarthome")
    (root / "skeletons").mkdir()
    for name in published["train_CS"] | published["validation_CS"] | published["test_CS"]:
        (root / "skeletons" / f"{name}_pose3d.json").touch()
    return root


def known(names: set[str]) -> set[str]:
    return {name for name in names if not name.startswith("Pour.Fromcup_")}


def test_the_index_has_the_clips_of_the_publication(published_root):
    dataset = ToyotaSmarthome(published_root, modality="skeleton")
    assert len(dataset.records) == 16115  # in the publication's abstract
    assert len(dataset.left_out) == 14 and all(clip.clip_id.startswith("Pour.Fromcup_") for clip in dataset.left_out)
    assert {record.label for record in dataset.records} == set(range(31))
    assert dataset.count_mismatches() == ()


def test_cross_subject_is_the_lists_of_the_authors(published, published_root):
    dataset = ToyotaSmarthome(published_root, modality="skeleton")
    assert set(dataset.protocols()) == {"cross_subject"}
    split = dataset.protocols()["cross_subject"]
    assert not published["train_CS"] & published["validation_CS"]
    assert set(split.train) == known(published["train_CS"] | published["validation_CS"])
    assert set(split.test) == known(published["test_CS"])
    assert set(dataset.validation()["cross_subject"]) == known(published["validation_CS"])


def test_cross_view_is_the_lists_of_the_authors(published, published_root):
    dataset = ToyotaSmarthome(published_root, classes="cross_view", modality="skeleton")
    protocols = dataset.protocols()
    assert set(protocols) == set(dataset.validation()) == {"cross_view1", "cross_view2"}
    for protocol, suffix in (("cross_view1", "CV1"), ("cross_view2", "CV2")):
        assert set(protocols[protocol].train) == published[f"train_{suffix}"]
        assert set(protocols[protocol].test) == published[f"test_{suffix}"]
        assert set(dataset.validation()[protocol]) == published[f"validation_{suffix}"]
    assert {record.label for record in dataset.records} == set(range(19))
    assert dataset.count_mismatches() == ()


# Skeleton files ---------------------------------------------------------------------------------------------------------------


def test_coordinates_by_hand(tmp_path):
    sequence = read_smarthome_skeleton(write(tmp_path / "a.json", [[person()]]))
    assert sequence.joints.shape == (1, 1, 13, 3) and sequence.joints.dtype == np.float32
    # The file has the x of all joints first: joint 12, the head, is at places 12, 25 and 38.
    np.testing.assert_array_equal(sequence.joints[0, 0, [0, 12]], [[100, 200, 300], [112, 212, 312]])
    np.testing.assert_array_equal(sequence.pixels[0, 0, [0, 12]], [[100, 200], [112, 212]])
    assert sequence.layout.joints[0] == "ankle_right" and sequence.layout.joints[12] == "head"
    assert sequence.layout.joints[6:8] == ("wrist_right", "wrist_left")


def test_people_come_and_go(tmp_path):
    frames = [[], [person(cumscore=9.5), person(pose3d=Z + Y + X)], [person()]]
    sequence = read_smarthome_skeleton(write(tmp_path / "a.json", frames))
    assert sequence.joints.shape == (3, 2, 13, 3)
    np.testing.assert_array_equal(sequence.present, [[False, False], [True, True], [True, False]])
    np.testing.assert_array_equal(np.isnan(sequence.pixels[..., 0, 0]), ~sequence.present)
    np.testing.assert_array_equal(sequence.joints[1, 1, 0], [300, 200, 100])


def test_a_clip_without_people_is_read_and_refused_by_the_cleaning(tmp_path):
    sequence = read_smarthome_skeleton(write(tmp_path / "a.json", [[], []]))
    assert sequence.joints.shape == (2, 0, 13, 3)
    with pytest.raises(SkeletonFormatError, match=r"no body in any frame"):
        clean(sequence, ToyotaSmarthome.cleaning)


def test_the_first_person_of_each_frame_stays_the_first_person(tmp_path):
    # Person 2 moves more, and person 1 does not have the shape of a person: neither counts.
    frames = [[person(), person(pose3d=[9.0 * t + value for value in X + Y + Z])] for t in range(20)]
    cleaned, report = clean(read_smarthome_skeleton(write(tmp_path / "a.json", frames)), ToyotaSmarthome.cleaning)
    assert report.people == 2
    np.testing.assert_array_equal(cleaned.joints[:, 0, 0], [[100, 200, 300]] * 20)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 1e300])
def test_what_is_not_finite_is_unknown(tmp_path, value):
    bad = X + Y + Z
    bad[13] = value  # y of joint 0
    sequence = read_smarthome_skeleton(write(tmp_path / "a.json", [[person(pose3d=bad)]]))
    assert np.isnan(sequence.joints[0, 0, 0]).all() and np.isfinite(sequence.joints[0, 0, 1:]).all()
    assert np.isfinite(sequence.pixels).all()


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "no whole JSON .found an empty file"),
        (b" \n", "no whole JSON .found an empty file"),
        (b'{"njts": 13, "frames": [[{"pose', "no whole JSON .found Unterminated string starting at: line 1 column 27"),
        (b"\xff\xd8\xff\xe0", "no whole JSON .found 'utf-8' codec can't decode"),
        (b"[" * 200_000, "no whole JSON .found maximum recursion depth"),
        (b'{"frames": [' + b"9" * 5000 + b"]}", "no whole JSON .found Exceeds the limit"),
        (b"[[]]", "no list of frames .found list, expected an object"),
        (b"{}", "no list of frames .found nothing"),
        (b'{"K": 1, "frames": null}', "no list of frames .found 'K', 'frames'"),
        (b'{"njts": 17, "frames": [[]]}', "a.json, njts: not the joints of LCR-Net .found 17, expected 13"),
        (b'{"njts": 13, "frames": []}', "no frames .found 0, expected at least 1"),
        (b'{"frames": [[], {}]}', "frame 2: a frame is no list .found dict"),
        (b'{"frames": [[], [[]]]}', "frame 2, person 1: a person is no object .found list"),
    ],
)
def test_bad_files(tmp_path, data, message):
    (tmp_path / "a.json").write_bytes(data)
    with pytest.raises(SkeletonFormatError, match=message) as error:
        read_smarthome_skeleton(tmp_path / "a.json")
    assert "a.json" in str(error.value) and "Get the file again" in str(error.value)


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ({"pose2d": [0.0] * 26}, "pose3d: not the coordinates of 13 joints .found nothing, expected 39 numbers"),
        ({"pose3d": [0.0] * 39}, "pose2d: not the coordinates of 13 joints .found nothing, expected 26 numbers"),
        (person(pose3d=[0.0] * 38), "pose3d: not the coordinates of 13 joints .found 38 values"),
        (person(pose2d=[[0.0, 0.0]] * 13), "pose2d: not the coordinates of 13 joints .found 13 values"),
        (person(pose2d="x" * 26), "pose2d: not the coordinates of 13 joints .found str"),
        (person(pose2d=[0.0] * 25 + [None]), "pose2d: a coordinate is no number .found None"),
        (person(pose2d=[True] * 26), "pose2d: a coordinate is no number .found True"),
        (person(pose2d=["1"] * 26), "pose2d: a coordinate is no number .found '1'"),
        (person(pose3d=[10**400] * 39), "pose3d: a coordinate is too large"),
    ],
)
def test_bad_people(tmp_path, bad, message):
    with pytest.raises(SkeletonFormatError, match=f"a.json, frame 1, person 2, {message}"):
        read_smarthome_skeleton(write(tmp_path / "a.json", [[person(), bad]]))


def test_no_file(tmp_path):
    with pytest.raises(SkeletonFormatError, match=r"cannot be read .found No such file"):
        read_smarthome_skeleton(tmp_path / "a.json")


# Index ------------------------------------------------------------------------------------------------------------------------


def test_records(tmp_path):
    other = "Walk_p02_r10_v03_c02"
    touch(tmp_path, *pair(NAME), *pair(other))
    write(tmp_path / pair(NAME)[1], [[person()]])
    dataset = ToyotaSmarthome(tmp_path)
    assert dataset.name == "smarthome" and dataset.root == tmp_path
    assert dataset.metrics == ("mean_class_accuracy", "accuracy")
    assert [record.clip_id for record in dataset.records] == [NAME, other] and not dataset.left_out
    record = dataset.records[0]
    assert (record.subject, record.camera, record.setup, record.frame_rate) == (3, 6, 0, 20.0)
    assert dataset.class_names[record.label] == "Cook.Cut" and record.layout.name == "lcrnet_13"
    assert record.video == tmp_path / "mp4" / f"{NAME}.mp4"
    assert dataset.load_skeleton(record).joints.shape == (1, 1, 13, 3)


def test_earlier_release_in_one_folder(tmp_path):
    dataset = ToyotaSmarthome(touch(tmp_path, f"{NAME}.mp4", f"{NAME}.json"))
    assert dataset.records[0].skeleton == tmp_path / f"{NAME}.json"


def test_what_is_left_out(tmp_path):
    names = ("Cook.Cut_p03_r00_v02_c01", "Eat.Snack_p03_r00_v02_c01", "Pour.Fromcup_p03_r00_v02_c01", "Walk_p03_r00_v02_c01")
    touch(tmp_path, *pair(names[0]), pair(names[1])[0], *pair(names[2]), pair(names[3])[1], "mp4/holiday.mp4", "notes.json")
    dataset = ToyotaSmarthome(tmp_path)
    assert [record.clip_id for record in dataset.records] == [names[0]]
    assert {clip.clip_id: clip.reason.split(":")[0] for clip in dataset.left_out} == {
        names[1]: "no skeleton file",
        names[2]: "Pour.Fromcup is none of the 31 activities of the protocol",
        names[3]: "no video file",
    }
    assert [path.name for path in dataset.ignored] == ["notes.json", "holiday.mp4"]
    skeletons = ToyotaSmarthome(tmp_path, modality="skeleton")
    assert [record.clip_id for record in skeletons.records] == [names[0], names[3]]
    views = ToyotaSmarthome(tmp_path, classes="cross_view", modality="skeleton")
    assert [record.clip_id for record in views.records] == [names[3]]
    assert views.class_names[views.records[0].label] == "Walk" and views.records[0].label == 18
    assert Counter(clip.reason.split(" ", 1)[0] for clip in views.left_out) == {"Cook.Cut": 1, "no": 1, "Pour.Fromcup": 1}


def test_count_mismatches(tmp_path):
    touch(tmp_path, *pair("Walk_p02_r00_v01_c01"))
    mismatches = ToyotaSmarthome(tmp_path).count_mismatches()
    assert [(m.protocol, m.side, m.found, m.expected) for m in mismatches] == [
        ("cross_subject", "train", 0, 10682),
        ("cross_subject", "test", 1, 5433),
    ]
    mismatches = ToyotaSmarthome(tmp_path, classes="cross_view").count_mismatches()
    assert [(m.protocol, m.side) for m in mismatches] == [key for key in EXPECTED_CLIPS if key[0] != "cross_subject"]


def test_bad_choices(tmp_path):
    with pytest.raises(ConfigError, match=r"unknown choice of classes .found 'all', expected one of cross_subject, cross_view"):
        ToyotaSmarthome(tmp_path, classes="all")
    with pytest.raises(ConfigError, match=r"unknown modality .found 'rgb', expected one of both, skeleton"):
        ToyotaSmarthome(tmp_path, modality="rgb")


def test_bad_roots(tmp_path):
    with pytest.raises(DatasetError, match=r"the data root is no folder .found nothing.*project.inria.fr/toyotasmarthome"):
        ToyotaSmarthome(tmp_path / "absent")
    touch(tmp_path, "file")
    with pytest.raises(DatasetError, match=r"the data root is no folder .found a file"):
        ToyotaSmarthome(tmp_path / "file")
    with pytest.raises(DatasetError, match=r"no clip of Toyota Smarthome .*no such file"):
        ToyotaSmarthome(tmp_path)
    touch(tmp_path, "P02T02C03.mp4")
    with pytest.raises(DatasetError, match=r"no clip of Toyota Smarthome .*1 files with other names"):
        ToyotaSmarthome(tmp_path)
    touch(tmp_path, pair(NAME)[1])
    with pytest.raises(
        DatasetError, match=r'no clip in the data root can be used .found 1 clips: no video.*modality="skeleton"'
    ):
        ToyotaSmarthome(tmp_path)


def test_the_same_clip_twice(tmp_path):
    touch(tmp_path / "a", f"mp4/{NAME}.mp4", f"more/{NAME}.mp4")
    with pytest.raises(DatasetError, match=r"the same file of a clip is in two places"):
        ToyotaSmarthome(tmp_path / "a")
    touch(tmp_path / "b", *pair(NAME), f"skeletons_v1.1/{NAME}.json")
    with pytest.raises(DatasetError, match=r"skeletons of two releases .found also .*v1.1.*Keep the skeletons of one release"):
        ToyotaSmarthome(tmp_path / "b")
