"""Northwestern-UCLA: both forms of its files, names, views, every way a file can be broken; and the whole data set."""

from __future__ import annotations

import json

import numpy as np
import pytest

from keras_actrec.datasets.counts import CountMismatch
from keras_actrec.datasets.nucla import ACTIONS, NorthwesternUCLA, published_clips, read_nucla_frames, read_nucla_json
from keras_actrec.errors import DatasetError, SkeletonFormatError
from keras_actrec.skeletons.cleaning import clean
from keras_actrec.skeletons.layouts import KINECT_V1


def skeletons(frames=3):
    """Joint j of frame t at (t, j / 100, 2)."""
    t, j = np.mgrid[0:frames, 0:20]
    return np.stack([t, j / 100, np.full_like(t, 2)], axis=-1).tolist()


def write_json(folder, name="a01_s02_e03_v01", **content):
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / f"{name}.json"
    file.write_text(json.dumps({"file_name": name, "skeletons": skeletons(), "label": 1} | content))
    return file


def body(x: float, states=(2,) * 20) -> list[str]:
    """A body as the data set writes it: a line with a number, then a line per joint; joint j at (x, j, 2)."""
    return ["60", *(f"{x:g},{joint},2,{state}" for joint, state in enumerate(states))]


def write_frames(root, frames, clip="view_1/a01_s02_e03"):
    """`frames`: frame number → lines."""
    folder = root / clip
    folder.mkdir(parents=True)
    for number, lines in frames.items():
        (folder / f"frame_{number}_tc_{1000 + number}_skeletons.txt").write_text("".join(f"{line}\r\n" for line in lines))
    (folder / "fileList.txt").write_text("1 1001\n")
    return folder


def test_json_values_land_where_they_belong(tmp_path):
    sequence = read_nucla_json(write_json(tmp_path))
    assert sequence.joints.shape == (3, 1, 20, 3) and sequence.joints.dtype == np.float32
    assert sequence.layout == KINECT_V1 and sequence.tracking is None
    np.testing.assert_allclose(sequence.joints[2, 0, KINECT_V1.index("hand_left")], [2, 0.07, 2], rtol=1e-6)


def test_json_joints_at_the_sensor_are_unknown(tmp_path):
    values = skeletons()
    values[1][5] = [0.0, 0.0, 0.0]
    values[2][0] = [0.0, 0.0, 1.0]  # on the optical axis
    values[2][6] = [float("nan"), 1.0, 2.0]
    joints = read_nucla_json(write_json(tmp_path, skeletons=values)).joints
    assert np.isnan(joints).any(axis=3).nonzero()[0].tolist() == [1, 2]
    assert np.isnan(joints[1, 0, 5]).all() and np.isnan(joints[2, 0, 6]).all()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "the file is not JSON"),
        (b'{"file_name": "a01_s02_e03_v01", "skel', "the file is not JSON"),
        (b"\xff\xfe\x00", "the file is not JSON"),
        (b"[1, 2]", "the file has no skeletons"),
        (b'{"label": 1}', "the file has no skeletons"),
        (b'{"skeletons": []}', r"skeletons: .*wrong shape \(found \(0,\), expected \(frames, 20, 3\)"),
        (b'{"skeletons": 5}', r"skeletons: .*wrong shape \(found \(\), "),
        (b'{"skeletons": "none"}', r"skeletons: .*wrong shape \(found not an array"),
        (b'{"skeletons": {"1": 2}}', r"skeletons: .*wrong shape \(found not an array"),
        (json.dumps({"skeletons": [*skeletons()[:1], [[0, 0, 0]]]}).encode(), r"found not an array of numbers"),
        (json.dumps({"skeletons": np.ones((2, 19, 3)).tolist()}).encode(), r"found \(2, 19, 3\), expected \(frames, 20, 3\)"),
        (json.dumps({"skeletons": np.ones((2, 20, 2)).tolist()}).encode(), r"found \(2, 20, 2\)"),
        (json.dumps({"file_name": "a02", "skeletons": skeletons()}).encode(), "file_name: the file is of another clip"),
    ],
    ids=[
        "empty",
        "cut",
        "binary",
        "list",
        "no key",
        "no frame",
        "number",
        "text",
        "object",
        "ragged",
        "19 joints",
        "2d",
        "name",
    ],
)
def test_bad_json_files_are_named(tmp_path, content, message):
    file = tmp_path / "a01_s02_e03_v01.json"
    file.write_bytes(content)
    with pytest.raises(SkeletonFormatError, match=rf"a01_s02_e03_v01\.json.*{message}") as error:
        read_nucla_json(file)
    assert "leave the clip out" in error.value.fix


def test_a_json_file_that_is_gone(tmp_path):
    with pytest.raises(SkeletonFormatError, match=r"none\.json: the skeleton file cannot be read"):
        read_nucla_json(tmp_path / "none.json")


def test_frames_come_in_order_of_their_numbers(tmp_path):
    states = (1, 0, *(2,) * 18)
    sequence = read_nucla_frames(write_frames(tmp_path, {10: body(10), 9: body(9, states), 100: body(100)}))
    assert sequence.joints.shape == (3, 1, 20, 3) and sequence.joints.dtype == np.float32
    np.testing.assert_array_equal(sequence.joints[:, 0, 3], [[9, 3, 2], [10, 3, 2], [100, 3, 2]])
    assert sequence.tracking.shape == (3, 1, 20) and sequence.tracking.dtype == np.uint8
    assert sequence.tracking[0, 0, :3].tolist() == [1, 0, 2]


def test_frames_without_a_body_and_with_two(tmp_path):
    sequence = read_nucla_frames(write_frames(tmp_path, {1: [], 2: [*body(5), *body(6)]}))
    assert np.isnan(sequence.joints[0]).all() and (sequence.tracking[0] == 0).all()
    np.testing.assert_array_equal(sequence.joints[1, 0, :, 0], np.full(20, 5))


def test_pixels_are_a_projection_by_the_nominal_focal_length(tmp_path):
    lines = ["60", "0.5,0.25,2,2", "-1,-1,3,1", "0,0,0,0", "0.1,0.1,0,0", "0.1,0.1,-1,2", *["0,0,1,2"] * 15]
    sequence = read_nucla_frames(write_frames(tmp_path, {1: [], 2: lines}))
    assert sequence.pixels.shape == (2, 1, 20, 2) and sequence.pixels.dtype == np.float32
    # 320 + 531.15 · 0.5 / 2 and 240 - 531.15 · 0.25 / 2; 320 - 531.15 / 3 and 240 + 531.15 / 3
    np.testing.assert_allclose(sequence.pixels[1, 0, :2], [[452.7875, 173.60625], [142.95, 417.05]], rtol=1e-6)
    assert np.isnan(sequence.pixels[1, 0, 2:5]).all() and np.isnan(sequence.pixels[0]).all()
    assert (sequence.pixels[1, 0, 5:] == [320, 240]).all()
    assert np.isnan(sequence.joints[1, 0]).any(axis=1).nonzero()[0].tolist() == [2]  # the others stay as they are


def test_the_json_form_has_no_pixels(tmp_path):
    assert read_nucla_json(write_json(tmp_path)).pixels is None


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (body(1)[:-1], r"the file is cut short \(found 20 lines"),
        (body(1)[1:], r"the file is cut short \(found 20 lines"),
        ([*body(1), "60"], r"the file is cut short \(found 22 lines"),
        ([*body(1)[:-1], "1,2,3"], r"line 21: wrong number of values \(found 3, expected 4"),
        (["60,1", *body(1)[1:]], r"line 1: wrong number of values \(found 2, expected 1"),
        ([*body(1)[:-1], "1,2,x,2"], r"line 21: not a number \(found 'x'"),
        (body(1, (2, 3, *(2,) * 18)), r"line 3: wrong tracking state of a joint \(found 3, expected 0, 1 or 2"),
        (body(1, (2, "nan", *(2,) * 18)), r"line 3: wrong tracking state of a joint \(found nan"),
    ],
    ids=["cut", "no first line", "second body cut", "3 values", "two numbers", "word", "state", "state nan"],
)
def test_bad_frames_are_named_with_the_line(tmp_path, lines, message):
    folder = write_frames(tmp_path, {1: body(1), 2: lines})
    with pytest.raises(SkeletonFormatError, match=rf"frame_2_tc_1002_skeletons\.txt.*{message}"):
        read_nucla_frames(folder)


def test_a_clip_without_frames_and_a_frame_with_two_files(tmp_path):
    folder = write_frames(tmp_path, {})
    with pytest.raises(SkeletonFormatError, match=r"a01_s02_e03: the clip has no frame"):
        read_nucla_frames(folder)
    for time in (1, 2):
        (folder / f"frame_07_tc_{time}_skeletons.txt").write_text("\n".join(body(0)))
    with pytest.raises(SkeletonFormatError, match=r"frame_07_tc_2.*a frame has two files.*frame_07_tc_1"):
        read_nucla_frames(folder)


def test_records_say_what_the_names_say(tmp_path):
    write_json(tmp_path / "all_sqe", "a12_s10_e04_v03", label=10)
    write_json(tmp_path / "all_sqe", "a08_s01_e00_v02", label=7)
    write_frames(tmp_path / "multiview_action", {1: body(0)}, "view_1/a11_s03_e02")
    dataset = NorthwesternUCLA(tmp_path)
    assert [r.clip_id for r in dataset.records] == ["a08_s01_e00_v02", "a11_s03_e02_v01", "a12_s10_e04_v03"]
    assert [dataset.class_names[r.label] for r in dataset.records] == ["donning", "throw", "carry"]
    assert [(r.label, r.subject, r.camera, r.setup) for r in dataset.records] == [(6, 1, 2, 0), (8, 3, 1, 0), (9, 10, 3, 0)]
    assert [dataset.load_skeleton(r).length for r in dataset.records] == [3, 1, 3]
    assert dataset.root == tmp_path and not dataset.cleaning.find_people


def test_the_class_comes_from_the_name_not_from_the_label_inside(tmp_path):
    write_json(tmp_path, "a09_s01_e00_v01", label=3)
    (record,) = NorthwesternUCLA(tmp_path).records
    assert (record.label, list(ACTIONS.values())[record.label]) == (7, "doffing")


def test_actions_and_views_that_do_not_exist_are_left_out(tmp_path):
    for name in ("a01_s01_e00_v01", "a07_s01_e00_v01", "a01_s01_e00_v04", "a1_s01_e00_v01"):
        write_json(tmp_path, name)
    dataset = NorthwesternUCLA(tmp_path)
    assert [r.clip_id for r in dataset.records] == ["a01_s01_e00_v01"]
    assert [(c.clip_id, c.reason) for c in dataset.left_out] == [
        ("a01_s01_e00_v04", "the data set has no view 4"),
        ("a07_s01_e00_v01", "the data set has no action 7"),
    ]


def test_each_view_tests_in_its_protocol(tmp_path):
    for view in (1, 2, 3, 3):
        write_json(tmp_path, f"a01_s01_e00_v0{view}")
    dataset = NorthwesternUCLA(tmp_path)
    protocols = dataset.protocols()
    assert list(protocols) == ["view1", "view2", "view3"]
    assert protocols["view3"].train == ("a01_s01_e00_v01", "a01_s01_e00_v02")
    assert protocols["view3"].test == ("a01_s01_e00_v03",)
    assert protocols["view1"].test == ("a01_s01_e00_v01",)
    assert [(m.protocol, m.side, m.found, m.expected, len(m.missing)) for m in dataset.count_mismatches()] == [
        ("view3", "train", 2, 1020, 1018),
        ("view3", "test", 1, 464, 463),
    ]


def test_published_clips_are_as_many_as_were_published():
    clips = published_clips()
    assert len(set(clips)) == 1484 and sum(clip.endswith("_v03") for clip in clips) == 464
    assert {int(clip[1:3]) for clip in clips} == set(ACTIONS) and {int(clip[5:7]) for clip in clips} == set(range(1, 11))
    # Performances 0, 2 and 4 only; one number above 9; a person before two sensors only.
    assert [clip for clip in clips if clip.startswith("a03_s09") and clip.endswith("_v02")] == [
        "a03_s09_e00_v02", "a03_s09_e02_v02", "a03_s09_e04_v02",
    ]  # fmt: skip
    assert "a04_s04_e10_v01" in clips and not any(clip.startswith("a05_s05") and clip.endswith("_v03") for clip in clips)


@pytest.mark.parametrize("form", ["json", "frames"])
def test_clips_that_differ_are_named(tmp_path, form):
    for clip in {*published_clips(), "a05_s05_e00_v03"} - {"a12_s10_e04_v01"}:
        if form == "json":
            (tmp_path / f"{clip}.json").touch()
        else:
            write_frames(tmp_path, {1: []}, f"view_{clip[-1]}/{clip[:-4]}")
    assert NorthwesternUCLA(tmp_path).count_mismatches() == (
        CountMismatch("view3", "train", 1019, 1020, missing=("a12_s10_e04_v01",)),
        CountMismatch("view3", "test", 465, 464, unexpected=("a05_s05_e00_v03",)),
    )


def test_the_same_clip_twice(tmp_path):
    write_json(tmp_path / "a")
    write_json(tmp_path / "b")
    with pytest.raises(DatasetError, match=r"b/a01_s02_e03_v01\.json, a01_s02_e03_v01: .*two places.*a/a01_s02"):
        NorthwesternUCLA(tmp_path)


def test_the_same_clip_in_both_forms(tmp_path):
    write_json(tmp_path)
    write_frames(tmp_path, {1: body(0)})
    with pytest.raises(DatasetError, match="two places"):
        NorthwesternUCLA(tmp_path)


@pytest.mark.parametrize(
    ("content", "found"),
    [
        ("nothing", "nothing"),
        ("file", "a file"),
        ("empty", "no such file or folder"),
        ("no frames", "no such file or folder"),
        ("unknown action", "1 clips of other actions or views"),
    ],
)
def test_a_root_without_clips_says_where_to_get_them(tmp_path, content, found):
    root = tmp_path / "root"
    if content == "file":
        root.write_text("")
    elif content == "empty":
        root.mkdir()
    elif content == "no frames":
        write_frames(root, {})
    elif content == "unknown action":
        write_json(root, "a10_s01_e00_v01")
    with pytest.raises(DatasetError, match=r"root: ") as error:
        NorthwesternUCLA(root)
    assert error.value.found == found and "download Northwestern-UCLA" in error.value.fix


@pytest.fixture(scope="module")
def real_root(real_archive):
    return real_archive("nwucla_skeletons")


@pytest.fixture(scope="module")
def real(real_root):
    return NorthwesternUCLA(real_root)


def test_the_real_data_set_is_complete(real):
    assert len(real.records) == 1484 and real.left_out == () and real.count_mismatches() == ()
    assert {r.subject for r in real.records} == set(range(1, 11)) and {r.label for r in real.records} == set(range(10))
    assert tuple(sorted(published_clips())) == tuple(r.clip_id for r in real.records)
    sizes = {name: (len(split.train), len(split.test)) for name, split in real.protocols().items()}
    assert sizes["view3"] == (1020, 464)
    assert all(sum(size) == 1484 for size in sizes.values())


def test_the_real_split_is_the_one_that_was_published(real, real_root):
    split = real.protocols()["view3"]
    for side, name in ((split.train, "train_v01_v02.txt"), (split.test, "test_v03.txt")):
        (published,) = real_root.rglob(name)
        assert sorted(side) == sorted(published.read_text().split())


def test_real_clips_are_people_who_stand_upright(real):
    lengths, unknown, above = [], 0, []
    for record in real.records:
        joints = real.load_skeleton(record).joints
        lengths.append(len(joints))
        unknown += int(np.isnan(joints).any(axis=3).sum())
        above.append(np.nanmedian(joints[:, 0, KINECT_V1.index("head"), 1] - joints[:, 0, KINECT_V1.index("spine_base"), 1]))
    assert (min(lengths), max(lengths)) == (1, 201)
    assert unknown == 12, "joints at exactly (0, 0, 0)"
    # Head above hip in metres, y up; bowed while something is picked up.
    assert 0.4 < np.median(above) < 0.8


def test_sitting_down_lowers_the_hips_and_standing_up_lifts_them(real):
    """Tells the numbering of the classes from the data."""
    for name, sign in (("sit down", -1), ("stand up", 1)):
        changes = []
        for record in (r for r in real.records if real.class_names[r.label] == name):
            head = real.load_skeleton(record).joints[:, 0, KINECT_V1.index("head"), 1]
            changes.append(sign * (head[-1] - head[0]))
        assert np.mean(np.array(changes) > 0) > 0.8, name


def test_cleaning_keeps_real_clips_of_every_length(real):
    short = [r for r in real.records if real.load_skeleton(r).length < 6]
    assert short
    for record in [*short, *real.records[::100]]:
        cleaned, report = clean(real.load_skeleton(record), real.cleaning, file=record.skeleton)
        assert report.people == 1 and cleaned.joints.shape[1] == 2
