"""Penn Action: number types, joints without annotation, boxes, every way a file can be broken; and the whole data set."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from scipy.io import loadmat, savemat

from keras_actrec.datasets.counts import BOTH_SIDES, CountMismatch
from keras_actrec.datasets.penn_action import PENN_CLASSES, PennAction, load_boxes, read_penn_skeleton
from keras_actrec.errors import DatasetError, SkeletonFormatError
from keras_actrec.skeletons.cleaning import clean
from keras_actrec.skeletons.layouts import PENN_13
from keras_actrec.video.decode import VideoReader


def annotation(frames=4, dtype=np.float64):
    """Joint j of frame t at (100 + 10 j, 100 + t), all visible."""
    t, j = np.mgrid[0:frames, 0:13]
    return {
        "action": "squat",
        "pose": "front",
        "train": 1,
        "nframes": np.array([[frames]], np.uint8 if frames < 256 else np.uint16),
        "dimensions": np.array([[270, 480, frames]], np.uint16),
        "x": (100 + 10 * j).astype(dtype),
        "y": (100 + t).astype(dtype),
        "visibility": np.ones((frames, 13), np.uint8),
        "bbox": np.tile(np.array([90, 80, 250, 200], dtype), (frames, 1)),
    }


def write(root, name="0001", *, without=None, **fields):
    folder = root / "labels"
    folder.mkdir(parents=True, exist_ok=True)
    values = annotation() | fields
    savemat(folder / f"{name}.mat", {key: value for key, value in values.items() if key != without})
    return folder / f"{name}.mat"


@pytest.mark.parametrize("dtype", [np.float64, np.uint16, np.uint8])
def test_values_land_where_they_belong(tmp_path, dtype):
    sequence = read_penn_skeleton(write(tmp_path, **annotation(dtype=dtype)))
    assert sequence.joints.shape == (4, 1, 13, 3) and sequence.joints.dtype == np.float32
    assert sequence.pixels.shape == (4, 1, 13, 2) and sequence.pixels.dtype == np.float32
    assert sequence.tracking.dtype == np.uint8 and (sequence.tracking == 2).all() and sequence.layout == PENN_13
    np.testing.assert_array_equal(sequence.joints[3, 0, PENN_13.index("wrist_left")], [150, 103, 0])
    np.testing.assert_array_equal(sequence.pixels, sequence.joints[..., :2])


@pytest.mark.parametrize("frames", [1, 255, 256, 663])
def test_any_number_of_frames(tmp_path, frames):
    assert read_penn_skeleton(write(tmp_path, **annotation(frames))).length == frames


def test_invisible_joints_stay_unless_they_were_never_annotated(tmp_path):
    values = annotation()
    values["visibility"][0, :6] = 0
    values["x"][0, :7] = values["y"][0, :7] = [1, 0.75, 1.5208, 2, 1, 50, 1]
    values["y"][0, 4] = 30  # (1, 30)
    sequence = read_penn_skeleton(write(tmp_path, **values))
    # Joints 0 to 2 sit at the scaled (1, 1); 3 and 5 on the diagonal, 4 at the left edge; 6 is visible.
    assert sequence.tracking[0, 0, :8].tolist() == [0, 0, 0, 1, 1, 1, 2, 2]
    assert np.isnan(sequence.joints[0, 0, :3]).all() and np.isnan(sequence.pixels[0, 0, :3]).all()
    np.testing.assert_array_equal(sequence.joints[0, 0, 3:7], [[2, 2, 0], [1, 30, 0], [50, 50, 0], [1, 1, 0]])
    assert np.isfinite(sequence.joints[1:]).all()


def test_joints_that_are_no_number_are_unknown(tmp_path):
    values = annotation()
    values["x"][1, 2] = np.nan
    sequence = read_penn_skeleton(write(tmp_path, **values))
    assert np.isnan(sequence.joints[1, 0, 2]).all() and sequence.tracking[1, 0, 2] == 0
    assert np.isnan(sequence.joints).sum() == 3


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("x", np.ones((4, 12)), r"x: the field has the wrong shape \(found \(4, 12\), expected \(4, 13\)"),
        ("y", np.ones((3, 13)), r"y: the field has the wrong shape \(found \(3, 13\), expected \(4, 13\)"),
        ("visibility", np.ones((5, 13)), r"visibility: the field has the wrong shape \(found \(5, 13\)"),
        ("x", np.ones((0, 13)), r"x: the field has the wrong shape \(found \(0, 13\), expected \(frames, 13\)"),
        ("x", "left", r"x: the field holds no numbers"),
        ("nframes", 5, r"nframes: .*its number of frames \(found \[\[5"),
        ("nframes", [4, 4], r"nframes: .*its number of frames"),
    ],
)
def test_bad_fields_are_named(tmp_path, field, value, message):
    with pytest.raises(SkeletonFormatError, match=rf"0001\.mat, {message}"):
        read_penn_skeleton(write(tmp_path, **{field: value}))


@pytest.mark.parametrize("field", ["x", "y", "visibility", "nframes"])
def test_an_absent_field_is_named(tmp_path, field):
    with pytest.raises(SkeletonFormatError, match=rf"0001\.mat, {field}: the annotation lacks a field"):
        read_penn_skeleton(write(tmp_path, without=field))


@pytest.mark.parametrize("damage", ["empty", "cut", "junk", "gone", "hdf5"])
def test_a_damaged_file_is_named(tmp_path, damage):
    file = write(tmp_path)
    whole = file.read_bytes()
    if damage == "gone":
        file.unlink()
    else:
        header = b"MATLAB 7.3 MAT-file".ljust(124) + b"\x00\x02IM"
        junk = b"this is no annotation at all" * 50
        file.write_bytes({"empty": b"", "cut": whole[: len(whole) // 2], "junk": junk, "hdf5": header}[damage])
    with pytest.raises(SkeletonFormatError, match=r"0001\.mat.*(cannot be read|lacks a field)") as error:
        read_penn_skeleton(file)
    assert "leave the clip out" in error.value.fix


def test_boxes_and_a_row_too_few(tmp_path):
    boxes = np.arange(16).reshape(4, 4)
    write(tmp_path, "0001", bbox=boxes.astype(np.uint8))
    write(tmp_path, "0002", bbox=boxes[:3])
    whole, short = (load_boxes(record) for record in PennAction(tmp_path).records)
    assert whole.dtype == np.float32
    np.testing.assert_array_equal(whole, boxes)
    np.testing.assert_array_equal(short[:3], boxes[:3])
    assert short.shape == (4, 4) and np.isnan(short[3]).all()


@pytest.mark.parametrize("shape", [(2, 4), (5, 4), (4, 3)])
def test_boxes_that_do_not_fit(tmp_path, shape):
    write(tmp_path, bbox=np.ones(shape))
    (record,) = PennAction(tmp_path).records
    with pytest.raises(SkeletonFormatError, match=r"0001\.mat, bbox: .*wrong shape.*expected \(4, 4\)"):
        load_boxes(record)


def test_records_and_the_official_split(tmp_path):
    write(tmp_path / "Penn_Action", "0003", action="tennis_serve", train=-1)
    write(tmp_path / "Penn_Action", "0001", action="baseball_pitch")
    write(tmp_path / "Penn_Action", "0002", action="jump_rope")
    (tmp_path / "Penn_Action" / "labels" / "notes.mat").write_text("passed over")
    dataset = PennAction(tmp_path)
    assert [(r.clip_id, r.label) for r in dataset.records] == [("0001", 0), ("0002", 6), ("0003", 14)]
    split = dataset.protocols()["official"]
    assert (split.train, split.test) == (("0001", "0002"), ("0003",))
    record = dataset.records[0]
    assert (record.subject, record.camera, record.setup, record.video, record.layout) == (0, 0, 0, None, PENN_13)
    assert dataset.load_skeleton(record).length == 4
    assert dataset.root == tmp_path and not dataset.cleaning.find_people
    assert [str(m) for m in dataset.count_mismatches()] == [
        "official train: 2 clips, 1258 were published",
        "official test: 1 clips, 1068 were published",
        "official train and test: 3 clips, 2326 were published; missing: 0004, 0005, 0006, 0007, 0008, 0009, 0010, 0011, 0012, "
        "0013 and 2313 more",
    ]


def test_clips_that_differ_are_named(tmp_path):
    """A number does not say to which side its clip belongs."""
    sides = write(tmp_path / "other", "train"), write(tmp_path / "other", "test", train=-1)
    labels = tmp_path / "root" / "labels"
    labels.mkdir(parents=True)
    for number in {*range(1, 2328)} - {17, 2326}:  # 1258 train, without 17; 1067 test: without 2326, with 2327
        (labels / f"{number:04d}.mat").hardlink_to(sides[number > 1258])
    assert PennAction(tmp_path / "root").count_mismatches() == (
        CountMismatch("official", "train", 1257, 1258),
        CountMismatch("official", BOTH_SIDES, 2325, 2326, missing=("0017", "2326"), unexpected=("2327",)),
    )


def test_frames_beside_the_labels_are_the_video(tmp_path):
    write(tmp_path)
    (tmp_path / "frames" / "0001").mkdir(parents=True)
    for frame in range(1, 5):
        cv2.imwrite(str(tmp_path / "frames" / "0001" / f"{frame:06}.jpg"), np.full((27, 48, 3), 50 * frame, np.uint8))
    dataset = PennAction(tmp_path)
    (record,) = dataset.records
    with VideoReader(record.video) as video:
        frames = list(video.frames(np.ones(dataset.load_skeleton(record).length, bool)))
    assert [round(frame.mean() / 50) for frame in frames] == [1, 2, 3, 4]


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"action": "chess"}, "action: not a class of Penn Action (found ['chess']"),
        ({"action": ""}, "action: not a class of Penn Action (found []"),
        ({"train": 0}, "train: the file does not say whether it trains or tests (found [0], expected 1 or -1"),
        ({"without": "train"}, "train: the annotation lacks a field"),
        ({"without": "action"}, "action: the annotation lacks a field"),
        (None, "the annotation cannot be read"),
    ],
)
def test_clips_without_class_or_split_are_left_out(tmp_path, fields, reason):
    write(tmp_path, "0001")
    if fields is None:
        (tmp_path / "labels" / "0002.mat").write_bytes(b"")
    else:
        write(tmp_path, "0002", **fields)
    dataset = PennAction(tmp_path)
    assert [r.clip_id for r in dataset.records] == ["0001"]
    (clip,) = dataset.left_out
    assert (clip.clip_id, clip.stage) == ("0002", "index") and reason in clip.reason and clip.file.endswith("0002.mat")


def test_the_same_clip_twice(tmp_path):
    write(tmp_path / "a")
    write(tmp_path / "b")
    with pytest.raises(DatasetError, match=r"b/labels/0001\.mat, 0001: .*two places.*a/labels"):
        PennAction(tmp_path)


@pytest.mark.parametrize(
    ("content", "found"),
    [("nothing", "nothing"), ("file", "a file"), ("empty", "no such file"), ("unusable", "1 unusable files")],
)
def test_a_root_without_clips_says_where_to_get_them(tmp_path, content, found):
    root = tmp_path / "root"
    if content == "file":
        root.write_text("")
    elif content == "empty":
        (root / "labels").mkdir(parents=True)
    elif content == "unusable":
        write(root, action="chess")
    with pytest.raises(DatasetError, match=r"root: ") as error:
        PennAction(root)
    assert error.value.found.startswith(found) and "download Penn Action" in error.value.fix


@pytest.fixture(scope="module")
def real(real_archive):
    return PennAction(real_archive("penn_action_labels"))


def test_the_real_data_set_is_complete(real):
    assert len(real.records) == 2326 and real.left_out == () and real.count_mismatches() == ()
    split = real.protocols()["official"]
    # Zhang, Zhu, Derpanis 2013: 2326 videos of 15 actions.
    assert (len(split.train), len(split.test)) == (1258, 1068) and not set(split.train) & set(split.test)
    assert {record.label for record in real.records} == set(range(len(PENN_CLASSES)))


def test_every_real_annotation_reads(real):
    """Also what `UNANNOTATED` rests on: visible joints keep away from the corner in which the others lie."""
    lengths = []
    for record in real.records:
        sequence = real.load_skeleton(record)
        lengths.append(sequence.length)
        visible = sequence.pixels[sequence.tracking == 2]
        assert (visible.max(axis=1) > 4).all()
        assert np.isnan(sequence.pixels[sequence.tracking == 0]).all()
        assert np.isfinite(sequence.pixels[sequence.tracking > 0]).all()
    assert (min(lengths), max(lengths)) == (18, 663)


def test_real_invisible_joints_that_stay_are_where_the_body_is(real):
    """Boxes, enlarged by a quarter to each side, tell the two kinds of invisible joints apart.

    Measured over all clips, inside lie 93.6 % of those that stay, 6.8 % of those at (1, 1), where the box reaches the corner
    of the image, and 99.96 % of the visible joints. Boxes of a few pixels say nothing.
    """
    inside = {0: [], 1: [], 2: []}
    for record in real.records[::20]:
        raw = loadmat(record.skeleton, variable_names=["x", "y"])
        pixels = np.stack([raw["x"], raw["y"]], axis=-1).astype(np.float64)
        boxes, tracking = load_boxes(record), real.load_skeleton(record).tracking[:, 0]
        size = boxes[:, 2:] - boxes[:, :2]
        low, high = (boxes[:, :2] - size / 4)[:, None], (boxes[:, 2:] + size / 4)[:, None]
        told = (size >= 20).all(axis=1)[:, None]
        for state, found in inside.items():
            found.append(((pixels >= low) & (pixels <= high)).all(axis=2)[told & (tracking == state)])
    unannotated, inferred, visible = (np.concatenate(inside[state]).mean() for state in (0, 1, 2))
    assert unannotated < 0.2 and inferred > 0.9 and visible > 0.99


def test_real_joints_without_annotation_share_one_value_per_clip(real):
    """What a person annotates moves; what nobody annotated is a constant. 0449 has two: (0, 0) and (0.75, 0.75)."""
    values = {}
    for record in real.records:
        raw = loadmat(record.skeleton, variable_names=["x", "y"])
        unknown = real.load_skeleton(record).tracking[:, 0] == 0
        if unknown.any():
            points = np.stack([raw["x"][unknown], raw["y"][unknown]], axis=-1).astype(np.float64)
            values[record.clip_id] = len(np.unique(points.round(6), axis=0))
    assert len(values) == 770
    assert {clip: number for clip, number in values.items() if number > 1} == {"0449": 2}


def test_y_goes_down_in_real_clips(real):
    above = []
    for record in (r for r in real.records[::10] if real.class_names[r.label] in ("golf_swing", "jumping_jacks")):
        y = real.load_skeleton(record).pixels[:, 0, :, 1]
        above.append(np.nanmean(y[:, PENN_13.index("head")]) < np.nanmean(y[:, PENN_13.index("knee_left")]))
    assert len(above) > 10 and np.mean(above) > 0.9


def test_two_real_files_have_a_box_too_few(real):
    short = {}
    for record in real.records:
        raw = loadmat(record.skeleton, variable_names=["bbox", "x"])
        if len(raw["bbox"]) != len(raw["x"]):
            boxes = load_boxes(record)
            short[record.clip_id] = np.isnan(boxes).any(axis=1).nonzero()[0].tolist() == [len(boxes) - 1]
    assert short == {"1154": True, "1865": True}


def test_cleaning_keeps_the_real_person(real):
    for record in real.records[::100]:
        cleaned, report = clean(real.load_skeleton(record), real.cleaning, file=record.skeleton)
        assert report.people == 1 and cleaned.joints.shape[1:] == (2, 13, 3)
