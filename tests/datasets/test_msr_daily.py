"""MSR Daily Activity 3D on files generated in the authors' format."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from pathlib import Path

import numpy as np
import pytest

from keras_actrec.datasets.counts import CountMismatch
from keras_actrec.datasets.msr_daily import CLASSES, ClipName, MSRDailyActivity, read_msr_daily_skeleton
from keras_actrec.datasets.record import LeftOut
from keras_actrec.errors import DatasetError, SkeletonFormatError
from keras_actrec.skeletons.cleaning import CleaningConfig, clean
from keras_actrec.skeletons.layouts import KINECT_V1
from tests.datasets.test_ntu import touch

JOINT = np.arange(20)


def body(x: float, *, frame: int = 0) -> np.ndarray:
    """(20, 2, 4): joint j at (x, j/10, 3 + frame/100) m, on the screen at (x/4 + 0.5, j/20, 20000), confidence 1."""
    rows = np.ones((20, 2, 4))
    rows[:, 0, 0], rows[:, 0, 1], rows[:, 0, 2] = x, JOINT / 10, 3 + frame / 100
    rows[:, 1, 0], rows[:, 1, 1], rows[:, 1, 2] = x / 4 + 0.5, JOINT / 20, 20000
    return rows


def text(frames: Sequence[Sequence[np.ndarray]], *, header: str | None = None, newline: str = "\n") -> str:
    lines = [header or f"{len(frames)} 20"]
    for bodies in frames:
        lines.append(str(40 * len(bodies)))
        lines += [" ".join(f"{value:.6g}" for value in row) for rows in bodies for row in rows.reshape(-1, 4)]
    return newline.join([*lines, ""])


def write(root: Path, content: str | bytes, name: str = "a01_s01_e01") -> Path:
    path = root / f"{name}_skeleton.txt"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


# The skeleton file ------------------------------------------------------------------------------------------------------------


def test_joints_and_pixels_by_hand(tmp_path):
    """Two joints of a file of one frame, written out: their rows in the world and on the screen alternate."""
    rows = ["0.1 0.2 3 1", "0.5 0.25 24000 1", "-0.1 0.4 3.1 1", "0.45 1.1 24800 0"]
    rows += ["0 0 2 1", "0 0 16000 1"] * 18
    found = read_msr_daily_skeleton(write(tmp_path, "1 20\n40\n" + "\n".join(rows)))
    assert found.joints.shape == (1, 1, 20, 3) and found.joints.dtype == np.float32 and found.layout is KINECT_V1
    np.testing.assert_array_equal(found.joints[0, 0, :3], np.array([[0.1, 0.2, 3], [-0.1, 0.4, 3.1], [0, 0, 2]], np.float32))
    # 0.5 · 640 = 320, 0.25 · 480 = 120; 0.45 · 640 = 288, 1.1 · 480 = 528: below the frame, and kept.
    np.testing.assert_allclose(found.pixels[0, 0, :3], [[320, 120], [288, 528], [0, 0]])
    assert found.pixels.dtype == np.float32 and found.tracking is None and found.body_ids == ()


def test_the_order_of_the_joints():
    """The order of Microsoft's SDK 1: HipCenter, Spine, ShoulderCenter, Head, then the left arm from the shoulder."""
    assert KINECT_V1.joints[:5] == ("spine_base", "spine_mid", "spine_shoulder", "head", "shoulder_left")
    assert KINECT_V1.hands == (7, 11)


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_frames_without_and_with_two_skeletons(tmp_path, newline):
    frames = [[], [body(0)], [body(0), body(1)], [], [body(0)]]
    found = read_msr_daily_skeleton(write(tmp_path, text(frames, newline=newline)))
    assert found.joints.shape == (5, 2, 20, 3)
    np.testing.assert_array_equal(found.present, [[0, 0], [1, 0], [1, 1], [0, 0], [1, 0]])
    assert (found.joints[2, 1, :, 0] == 1).all() and (found.pixels[2, 1, :, 0] == 0.75 * 640).all()
    assert np.isnan(found.pixels[[0, 1, 3], 1]).all()


def test_empty_lines_and_spaces_do_not_count(tmp_path):
    content = text([[body(0)], [body(1)]])
    same = read_msr_daily_skeleton(write(tmp_path, content)).joints
    spaced = content.replace("\n40\n", "\n\n 40 \n").replace(" ", "  ")
    np.testing.assert_array_equal(read_msr_daily_skeleton(write(tmp_path, spaced.rstrip())).joints, same)


def test_a_body_keeps_its_slot_whatever_its_place_in_the_list(tmp_path):
    """A false body at 2 m comes before the person at 0 m in some frames, and alone in another."""
    frames = [[body(0)], [body(2), body(0)], [body(0), body(2)], [body(2)], [], [body(0.1)], [body(1.9), body(0.2)]]
    found = read_msr_daily_skeleton(write(tmp_path, text(frames)))
    np.testing.assert_allclose(found.joints[:, 0, 0, 0], [0, 0, 0, np.nan, np.nan, 0.1, 0.2], rtol=1e-6)
    np.testing.assert_allclose(found.joints[:, 1, 0, 0], [np.nan, 2, 2, 2, np.nan, np.nan, 1.9], rtol=1e-6)


def test_two_people_from_the_first_frame_stay_in_order(tmp_path):
    found = read_msr_daily_skeleton(write(tmp_path, text([[body(0), body(1)], [body(1), body(0)]])))
    np.testing.assert_array_equal(found.joints[:, :, 0, 0], [[0, 1], [0, 1]])


def test_unknown_joints(tmp_path):
    """Not a number, too large for float32, and the place of the camera itself."""
    rows = body(0.5)
    rows[3, 0, 1], rows[4, 0, 2], rows[5, 0, :3], rows[6, 1, 0] = np.nan, 1e300, 0, np.inf
    found = read_msr_daily_skeleton(write(tmp_path, text([[rows], [body(0.5)]])))
    np.testing.assert_array_equal(np.flatnonzero(np.isnan(found.joints[0, 0]).any(axis=1)), [3, 4, 5])
    assert np.isnan(found.joints[0, 0, 3:6]).all()
    np.testing.assert_array_equal(np.flatnonzero(np.isnan(found.pixels[0, 0]).any(axis=1)), [3, 4, 5, 6])
    assert not np.isnan(found.joints[1]).any()


def test_an_unknown_joint_does_not_move_a_body_to_another_slot(tmp_path):
    """Body 2's last known middle counts, though a joint of it was not a number then."""
    broken = body(2)
    broken[0, 0, 0] = np.nan
    found = read_msr_daily_skeleton(write(tmp_path, text([[body(0), broken], [body(2)], [broken, body(0)]])))
    np.testing.assert_array_equal(found.joints[:, 0, 5, 0], [0, np.nan, 0])
    np.testing.assert_array_equal(found.joints[:, 1, 5, 0], [2, 2, 2])


def test_a_body_whose_place_was_never_known_takes_no_other(tmp_path):
    nowhere = body(1)
    nowhere[:, 0, :3] = 0
    found = read_msr_daily_skeleton(write(tmp_path, text([[body(0), nowhere], [body(0.1)]])))
    np.testing.assert_array_equal(found.present, [[1, 0], [1, 0]])


def test_a_file_without_any_skeleton(tmp_path):
    assert read_msr_daily_skeleton(write(tmp_path, "3 20\n0\n0\n0\n")).joints.shape == (3, 0, 20, 3)


GOOD = text([[body(0)], [body(0)]])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "the file is empty"),
        (" \r\n\r\n", "the file is empty"),
        ("20\n", "line 1: wrong header .found '20', expected a frame count of at least 1, and 20 joints"),
        (GOOD.replace("2 20", "2 25", 1), "line 1: wrong header .found '2 25'"),
        (GOOD.replace("2 20", "2 20 1", 1), "wrong header"),
        (GOOD.replace("2 20", "0 20", 1), "wrong header"),
        (GOOD.replace("2 20", "9" * 5000 + " 20", 1), "wrong header"),
        (GOOD.replace("2 20", "-2 20", 1), "wrong header"),
        (GOOD.replace("2 20", "1.5 20", 1), "wrong header"),
        (GOOD.replace("2 20", "nan 20", 1), "wrong header"),
        (GOOD.replace("2 20", "3 20", 1), "frame 3 of 3: the file ends too early .found the end of the file, expected a row"),
        (GOOD.replace("2 20", "999999999 20", 1), "frame 3 of 999999999: the file ends too early"),
        (
            GOOD.replace("2 20", "1 20", 1),
            "line 43: the file goes on after its last frame .found '40', expected the end after 1",
        ),
        (GOOD.replace("\n40\n", "\n20\n", 1), "line 2, frame 1: wrong row count .found '20', expected 0, 40 or 80"),
        (GOOD.replace("\n40\n", "\n120\n", 1), "wrong row count .found '120'"),
        (GOOD.replace("\n40\n", "\n-40\n", 1), "wrong row count"),
        (GOOD.replace("\n40\n", "\nnan\n", 1), "wrong row count"),
        (GOOD.replace("\n40\n", "\n0\n", 1), "line 3, frame 2: wrong row count .found '0 0 3 1'"),
        # The first frame takes rows up to the second one's count, which is no row.
        (GOOD.replace("\n40\n", "\n80\n", 1), "line 43: wrong row .found 1 values, expected 4 values"),
        (text([[body(0), body(1)]]).rsplit("\n", 6)[0], "frame 1 of 1: the file ends too early .found 75 rows, expected 80"),
        (GOOD[:-3], "line 83: wrong row .found 3 values"),
        (GOOD.replace("0 0 3 1", "0 0 x 1", 1), "line 3: not a number .found 'x', expected a number"),
        (GOOD.replace("0 0 3 1", "0 0 1", 1), "line 3: wrong row .found 3 values"),
        (GOOD.replace("0 0 3 1", "0 0 3 1 1", 1), "line 3: wrong row .found 5 values"),
        (b"\x89PNG\r\n" + bytes(200), "not a text file of numbers"),
    ],
)
def test_bad_files(tmp_path, content, message):
    path = write(tmp_path, content)
    with pytest.raises(SkeletonFormatError, match=message) as error:
        read_msr_daily_skeleton(path)
    assert str(path) in str(error.value) and error.value.fix.startswith("get the file again")


def test_a_file_of_msr_action3d_is_refused(tmp_path):
    """It has the same name, but no counts: rows x, y, depth, confidence."""
    with pytest.raises(SkeletonFormatError, match="wrong header"):
        read_msr_daily_skeleton(write(tmp_path, "101 56 856 0.7\n" * 40))


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(SkeletonFormatError, match="cannot be read"):
        read_msr_daily_skeleton(tmp_path / "a01_s01_e01_skeleton.txt")


# The data root ----------------------------------------------------------------------------------------------------------------


def test_names():
    name = ClipName.parse("a12_s10_e02")
    assert name == ClipName(activity=12, subject=10, event=2) and str(name) == "a12_s10_e02"
    for bad in ("", "a1_s1_e1", "A12_S10_E02", "a12_s10_e02_", "a12_s10_e02\n", "a٠١_s01_e01"):
        with pytest.raises(DatasetError, match=r"not a clip name .*expected aNN_sNN_eNN"):
            ClipName.parse(bad)


def test_classes():
    assert len(CLASSES) == len(set(CLASSES)) == 16
    # a01, a04, a12 and a16 of the authors' list.
    assert [CLASSES[i] for i in (0, 3, 11, 15)] == ["drink", "call cellphone", "lie down on sofa", "sit down"]


def test_records(tmp_path):
    root = touch(
        tmp_path,
        "skeletons/a16_s10_e02_skeleton.txt",
        "skeletons/a01_s03_e01_skeleton.txt",
        "rgb/a01_s03_e01_rgb.avi",
        "rgb/a02_s01_e01_rgb.avi",
        "rgb/a01_s03_e01_depth.bin",
        "rgb/copy of a01_s03_e01_rgb.avi",
    )
    dataset = MSRDailyActivity(root)
    assert (dataset.name, dataset.root, dataset.class_names) == ("msr_daily", root, CLASSES)
    assert dataset.cleaning == CleaningConfig()
    first, last = dataset.records
    assert (first.clip_id, first.label, first.subject, first.camera, first.setup) == ("a01_s03_e01", 0, 3, 0, 0)
    assert first.skeleton == root / "skeletons/a01_s03_e01_skeleton.txt" and first.video == root / "rgb/a01_s03_e01_rgb.avi"
    assert (last.clip_id, last.label, last.subject, last.video) == ("a16_s10_e02", 15, 10, None)
    assert last.layout is KINECT_V1 and last.frame_rate == 30.0
    assert dataset.left_out == (
        LeftOut(
            "a02_s01_e01",
            "index",
            "no skeleton file: get the file again from the data set, or leave the clip out",
            str(root / "rgb/a02_s01_e01_rgb.avi"),
        ),
    )
    assert dataset.ignored == (root / "rgb/copy of a01_s03_e01_rgb.avi",)
    assert dataset.protocols()["cross_subject"].train == ("a01_s03_e01",)
    assert dataset.protocols()["cross_subject"].test == ("a16_s10_e02",)


def whole_data_set() -> list[str]:
    return [f"a{a:02d}_s{s:02d}_e{e:02d}" for a, s, e in product(range(1, 17), range(1, 11), (1, 2))]


def test_the_whole_data_set(tmp_path):
    """16 activities × 10 subjects × 2 = 320 clips, half of the subjects train."""
    dataset = MSRDailyActivity(touch(tmp_path, *(f"{name}_skeleton.txt" for name in whole_data_set())))
    split = dataset.protocols()["cross_subject"]
    assert (len(split.train), len(split.test)) == (160, 160)
    assert {name[5:7].removeprefix("s") for name in split.train} == {"01", "03", "05", "07", "09"}
    assert [record.clip_id for record in dataset.records] == whole_data_set()
    assert dataset.count_mismatches() == ()


def test_missing_clips_are_named(tmp_path):
    names = set(whole_data_set()) - {"a01_s01_e01", "a02_s10_e02", "a16_s02_e01"}
    dataset = MSRDailyActivity(touch(tmp_path, *(f"{name}_skeleton.txt" for name in names), "a01_s01_e01_rgb.avi"))
    assert dataset.count_mismatches() == (
        CountMismatch("cross_subject", "train", 159, 160, missing=("a01_s01_e01",)),
        CountMismatch("cross_subject", "test", 158, 160, missing=("a02_s10_e02", "a16_s02_e01")),
    )


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("a17_s01_e01", "does not have this activity .found 17, expected 1 to 16.*MSR Action3D"),
        ("a00_s01_e01", "activity .found 0"),
        ("a01_s11_e01", "subject .found 11, expected 1 to 10"),
        ("a01_s01_e03", "event .found 3, expected 1 to 2"),
    ],
)
def test_numbers_that_the_data_set_does_not_have(tmp_path, name, message):
    with pytest.raises(DatasetError, match=message):
        MSRDailyActivity(touch(tmp_path, "a01_s01_e01_skeleton.txt", f"{name}_skeleton.txt"))


def test_bad_roots(tmp_path):
    way_out = "Download MSR Daily Activity 3D .https://wangjiangb"
    for root in (tmp_path / "nothing", touch(tmp_path, "file") / "file"):
        with pytest.raises(DatasetError, match=f"is no folder.*{way_out}"):
            MSRDailyActivity(root)
    with pytest.raises(DatasetError, match=f"no clip .*found 0 videos, 0 files.*{way_out}"):
        MSRDailyActivity(tmp_path)
    with pytest.raises(DatasetError, match=r"found 1 videos, 1 files with other names"):
        MSRDailyActivity(touch(tmp_path / "a", "a01_s01_e01_rgb.avi", "drink_skeleton.txt"))
    with pytest.raises(DatasetError, match="in two places"):
        MSRDailyActivity(touch(tmp_path / "b", "x/a01_s01_e01_skeleton.txt", "y/a01_s01_e01_skeleton.txt"))


def test_from_the_file_to_a_clean_clip(tmp_path):
    """The person, who moves, stays; a second body of three frames goes; a gap of two frames is filled."""
    frames = [[body(frame / 50, frame=frame)] for frame in range(40)]
    for frame in (10, 11, 12):
        frames[frame].insert(0, body(3))
    frames[20] = frames[21] = []
    write(tmp_path, text(frames), "a13_s02_e02")
    dataset = MSRDailyActivity(tmp_path)
    sequence, report = clean(dataset.load_skeleton(dataset.records[0]), dataset.cleaning)
    assert report.people == 1 and [dropped.frames for dropped in report.bodies_dropped] == [3]
    np.testing.assert_allclose(sequence.joints[:, 0, 0, 0], np.arange(40) / 50, atol=1e-6)
    np.testing.assert_allclose(sequence.pixels[:, 0, 0, 0], (np.arange(40) / 200 + 0.5) * 640, atol=1e-3)
