"""SBU Kinect Interaction: units, names, folds, every way a file can be broken; and the whole data set."""

from __future__ import annotations

import numpy as np
import pytest

from keras_actrec.datasets.counts import CountMismatch
from keras_actrec.datasets.sbu import FOLDS, SBU_CLASSES, SETS, SBUKinect, published_clips, read_sbu_skeleton
from keras_actrec.errors import DatasetError, SkeletonFormatError
from keras_actrec.skeletons.cleaning import clean
from keras_actrec.skeletons.layouts import SBU_15


def row(frame: int, values=None) -> str:
    values = np.full(90, 0.25) if values is None else values
    return ",".join([str(frame), *(f"{value:g}" for value in values)])


def write_clip(root, clip="s01s02/01/001", lines=None):
    folder = root / clip
    folder.mkdir(parents=True)
    (folder / "skeleton_pos.txt").write_text("\r\n".join(lines or [row(180), row(181)]) + "\r\n")
    return folder / "skeleton_pos.txt"


def test_units_become_metres_with_y_up(tmp_path):
    values = np.full(90, 0.5)
    values[:3] = 0.25, 0.75, 1.5625  # head of person 1
    values[45 + 3 * 8 : 45 + 3 * 9] = 1.1, -0.1, 0.78125  # right hand of person 2, outside the image
    sequence = read_sbu_skeleton(write_clip(tmp_path, lines=[row(7), row(8, values)]))
    assert sequence.joints.shape == (2, 2, 15, 3) and sequence.joints.dtype == np.float32
    assert sequence.layout == SBU_15 and sequence.pixels is None
    # 1280 - 2560 · 0.25 = 640 mm; 960 - 1920 · 0.75 = -480 mm; 10000 · 1.5625 / 7.8125 = 2000 mm
    np.testing.assert_allclose(sequence.joints[1, 0, SBU_15.index("head")], [0.64, -0.48, 2.0], rtol=1e-6)
    # 1280 - 2560 · 1.1 = -1536 mm; 960 + 192 = 1152 mm; 10000 · 0.78125 / 7.8125 = 1000 mm
    np.testing.assert_allclose(sequence.joints[1, 1, SBU_15.index("hand_right")], [-1.536, 1.152, 1.0], rtol=1e-6)
    # The middle of the image lies on the optical axis.
    np.testing.assert_allclose(sequence.joints[1, 1, 0, :2], 0, atol=1e-9)


def test_absent_bodies_and_unknown_joints_are_nan(tmp_path):
    first_gone = np.r_[np.zeros(45), np.full(45, 0.5)]
    one_joint = np.full(90, 0.5)
    one_joint[3] = np.nan
    one_joint[9] = np.inf
    one_joint[12] = 0  # a single 0 is a value
    joints = read_sbu_skeleton(write_clip(tmp_path, lines=[row(1, first_gone), row(2, one_joint)])).joints
    assert np.isnan(joints[0, 0]).all() and np.isfinite(joints[0, 1]).all()
    assert np.isnan(joints[1, 0]).all(axis=1).nonzero()[0].tolist() == [1, 3]
    assert np.isnan(joints[1]).sum() == 6


def test_a_comma_may_end_a_line(tmp_path):
    assert read_sbu_skeleton(write_clip(tmp_path, lines=[row(1) + ",", row(2)])).length == 2


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ([], "the file is empty"),
        ([row(1), row(2)[:-20]], r"line 2: wrong number of values \(found 8\d, expected 91"),
        ([row(1), row(2) + ",1"], r"line 2: wrong number of values \(found 92, expected 91"),
        ([row(1), "", row(2)], r"line 2: wrong number of values \(found 1, expected 91"),
        ([row(1).replace("0.25", "zero", 1)], r"line 1: not a number \(found 'zero'"),
        ([row(1), row(3), row(3)], r"line 3: the frame numbers do not go up \(found 3, expected more than 3"),
        ([row(1), row(2).replace("2", "nan", 1)], "line 2: the frame numbers do not go up"),
        ([row(1), row(2).replace("0.25", "0,25€", 1)], r"byte \d+: not a text file of numbers \(found byte 0xe2"),
    ],
    ids=["empty", "cut", "too many", "empty line", "word", "frame twice", "frame nan", "binary"],
)
def test_bad_files_are_named_with_the_line(tmp_path, lines, message):
    file = tmp_path / "skeleton_pos.txt"
    file.write_text("\n".join(lines), encoding="utf-8")
    with pytest.raises(SkeletonFormatError, match=rf"skeleton_pos\.txt.*{message}") as error:
        read_sbu_skeleton(file)
    assert "leave the clip out" in error.value.fix


def test_a_file_that_is_gone(tmp_path):
    with pytest.raises(SkeletonFormatError, match=r"none\.txt: the skeleton file cannot be read"):
        read_sbu_skeleton(tmp_path / "none.txt")


def test_records_say_what_the_names_say(tmp_path):
    write_clip(tmp_path, "zips/s07s03/s07s03/08/003")  # as the zip files of the page unpack
    write_clip(tmp_path, "s02s01/03/001")
    dataset = SBUKinect(tmp_path)
    assert [r.clip_id for r in dataset.records] == ["s02s01_03_001", "s07s03_08_003"]
    first, last = dataset.records
    assert (first.label, first.subject, first.camera, first.setup, first.frame_rate) == (2, 2, 0, 4, 15.0)
    assert (last.label, last.subject, last.setup, last.video, last.layout) == (7, 7, 21, None, SBU_15)
    assert [dataset.class_names[r.label] for r in dataset.records] == ["kicking", "punching"]
    assert dataset.load_skeleton(first).length == 2
    assert dataset.root == tmp_path and not dataset.cleaning.find_people


def test_a_set_folder_may_be_the_root(tmp_path, monkeypatch):
    write_clip(tmp_path, "s02s01/03/001")
    monkeypatch.chdir(tmp_path / "s02s01")
    assert [r.clip_id for r in SBUKinect(".").records] == ["s02s01_03_001"]


def test_sets_and_classes_that_do_not_exist_are_left_out(tmp_path):
    for clip in ("s01s02/01/001", "s09s08/01/001", "s01s02/09/001", "s01s02/00/001"):
        write_clip(tmp_path, clip)
    dataset = SBUKinect(tmp_path)
    assert [r.clip_id for r in dataset.records] == ["s01s02_01_001"]
    assert {clip.clip_id: clip.reason for clip in dataset.left_out} == {
        "s01s02_00_001": "the data set has no class 00",
        "s01s02_09_001": "the data set has no class 09",
        "s09s08_01_001": "the data set has no set s09s08, and its folds do not say where it belongs",
    }
    assert {clip.stage for clip in dataset.left_out} == {"index"}


def test_folds_are_those_of_the_readme(tmp_path):
    for pair in SETS:
        write_clip(tmp_path, f"{pair}/01/001")
    protocols = SBUKinect(tmp_path).protocols()
    assert list(protocols) == ["fold1", "fold2", "fold3", "fold4", "fold5"]
    # Sets 1, 9, 15, 19 and 12, 13, 14, 17, 18 in alphabetical order.
    assert [clip[:6] for clip in protocols["fold1"].test] == ["s01s02", "s03s04", "s05s02", "s06s04"]
    assert [clip[:6] for clip in protocols["fold5"].test] == ["s04s02", "s04s03", "s04s06", "s06s02", "s06s03"]
    assert sorted(number for fold in FOLDS for number in fold) == list(range(1, 22))
    for split in protocols.values():
        assert not set(split.train) & set(split.test) and len(split.train) + len(split.test) == 21


def test_missing_clips_are_counted(tmp_path):
    write_clip(tmp_path)
    mismatches = SBUKinect(tmp_path).count_mismatches()
    assert [(m.protocol, m.side, m.found, m.expected, len(m.missing)) for m in mismatches[:2]] == [
        ("fold1", "train", 0, 227, 227),
        ("fold1", "test", 1, 55, 54),
    ]
    assert len(mismatches) == 10
    assert str(mismatches[1]).startswith("fold1 test: 1 clips, 55 were published; missing: s01s02_01_002, s01s02_02_001, ")


def test_published_clips_are_as_many_as_were_published():
    """Yun et al. 2012: 21 sets, about 300 clips; README: folds of 55, 52, 56, 54 and 65."""
    clips = published_clips()
    assert len(set(clips)) == 282 and list(clips) == sorted(clips)
    assert [sum(SETS.index(clip[:6]) + 1 in fold for clip in clips) for fold in FOLDS] == [55, 52, 56, 54, 65]
    assert {clip[:6] for clip in clips} == set(SETS) and {clip[7:9] for clip in clips} == {f"{n:02}" for n in range(1, 9)}


def test_clips_that_differ_are_named(tmp_path):
    """Of set 21, s07s03, which tests in fold 3."""
    for clip in {*published_clips(), "s07s03_05_002"} - {"s07s03_07_002"}:
        write_clip(tmp_path, clip.replace("_", "/"))
    names = {"missing": ("s07s03_07_002",), "unexpected": ("s07s03_05_002",)}
    assert SBUKinect(tmp_path).count_mismatches() == (
        CountMismatch("fold1", "train", 227, 227, **names),
        CountMismatch("fold2", "train", 230, 230, **names),
        CountMismatch("fold3", "test", 56, 56, **names),
        CountMismatch("fold4", "train", 228, 228, **names),
        CountMismatch("fold5", "train", 217, 217, **names),
    )


def test_the_same_clip_twice(tmp_path):
    write_clip(tmp_path, "a/s01s02/01/001")
    write_clip(tmp_path, "b/s01s02/01/001")
    with pytest.raises(DatasetError, match=r"b/s01s02/01/001/skeleton_pos\.txt, s01s02_01_001: .*two places.*a/s01s02"):
        SBUKinect(tmp_path)


@pytest.mark.parametrize("content", ["nothing", "file", "empty", "other", "unknown set"])
def test_a_root_without_clips_says_where_to_get_them(tmp_path, content):
    root = tmp_path / "root"
    if content == "file":
        root.write_text("")
    elif content == "other":
        write_clip(root, "somewhere/else")
    elif content == "unknown set":
        write_clip(root, "s09s09/01/001")
    elif content == "empty":
        root.mkdir()
    with pytest.raises(DatasetError, match=r"root: .*download SBU Kinect|root: .*Download SBU Kinect") as error:
        SBUKinect(root)
    assert error.value.found == {
        "nothing": "nothing",
        "file": "a file",
        "empty": "no skeleton_pos.txt in such a folder",
        "other": "no skeleton_pos.txt in such a folder",
        "unknown set": "1 clips of other sets or classes",
    }[content]  # fmt: skip


@pytest.fixture(scope="module")
def real(real_archive):
    return SBUKinect(real_archive("sbu_skeletons"))


def test_the_real_data_set_is_complete(real):
    assert len(real.records) == 282 and real.left_out == () and real.count_mismatches() == ()
    # Yun et al. 2012 and the README: five folds of 55, 52, 56, 54 and 65 clips.
    assert [len(split.test) for split in real.protocols().values()] == [55, 52, 56, 54, 65]
    labels = np.bincount([record.label for record in real.records])
    assert labels.sum() == 282 and len(labels) == len(SBU_CLASSES)
    assert labels[SBU_CLASSES.index("hugging")] == 21, "one hug per pair of actors"


def test_a_real_clip_ends_as_its_file_says(real):
    record = next(r for r in real.records if r.clip_id == "s01s03_03_001")
    head = real.load_skeleton(record).joints[0, 0, 0]
    # The file begins 180,0.71924,0.44192,1.6152
    expected = [(1280 - 2560 * 0.71924) / 1000, (960 - 1920 * 0.44192) / 1000, 10 * 1.6152 / 7.8125]
    np.testing.assert_allclose(head, expected, rtol=1e-5)


def test_real_clips_are_people_of_human_size_in_a_room(real):
    heights = []
    for record in real.records:
        sequence = real.load_skeleton(record)
        assert 10 <= sequence.length <= 46 and np.isfinite(sequence.joints).all()
        head, foot = sequence.joints[:, :, SBU_15.index("head")], sequence.joints[:, :, SBU_15.index("foot_left")]
        heights.append(np.median(head[..., 1] - foot[..., 1]))
        assert sequence.joints[..., 2].min() > 0.9 and sequence.joints[..., 2].max() < 3.2
    # Head centre above feet, in metres and y up.
    assert 1.1 < np.median(heights) < 1.7


def test_approaching_people_come_nearer_and_departing_people_part(real):
    """Tells the order of the classes from the data: the distance of the two people shrinks, or grows."""
    for name, sign in (("approaching", -1), ("departing", 1)):
        changes = []
        for record in (r for r in real.records if real.class_names[r.label] == name):
            spine = real.load_skeleton(record).joints[:, :, SBU_15.root]
            distance = np.linalg.norm(spine[:, 0] - spine[:, 1], axis=1)
            changes.append(sign * (distance[-1] - distance[0]))
        assert np.mean(np.array(changes) > 0) > 0.9


def test_a_hug_is_the_closest_interaction(real):
    nearest = {name: [] for name in SBU_CLASSES}
    for record in real.records:
        spine = real.load_skeleton(record).joints[:, :, SBU_15.root]
        nearest[SBU_CLASSES[record.label]].append(np.linalg.norm(spine[:, 0] - spine[:, 1], axis=1).min())
    assert min(nearest, key=lambda name: np.median(nearest[name])) == "hugging"


def test_cleaning_keeps_both_real_people(real):
    for record in real.records[::20]:
        cleaned, report = clean(real.load_skeleton(record), real.cleaning, file=record.skeleton)
        assert report.people == 2 and report.bodies_dropped == ()
        np.testing.assert_array_equal(cleaned.joints, real.load_skeleton(record).joints)
