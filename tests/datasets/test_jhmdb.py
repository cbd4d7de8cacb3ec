from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy.io import loadmat, savemat

from keras_actrec.datasets.jhmdb import EXPECTED_CLIPS, JHMDB, JHMDB_CLASSES, SUB_JHMDB_CLASSES, read_jhmdb_skeleton
from keras_actrec.errors import ConfigError, DatasetError, SkeletonFormatError
from keras_actrec.skeletons.cleaning import clean

FRAMES = 3
SCALE = 0.45  # of the person in the published examples


def positions(frames: int = FRAMES) -> np.ndarray:
    """`pos_img`: joint j of frame t is at (10 j + t, 100 + 10 j + t)."""
    x = 10.0 * np.arange(15)[:, None] + np.arange(frames)
    return np.stack([x, 100 + x])


def write_joints(path: Path, pos_img: object = None) -> Path:
    """A file as the data set has it."""
    pos_img = positions() if pos_img is None else pos_img
    path.parent.mkdir(parents=True, exist_ok=True)
    savemat(path, {"pos_img": pos_img, "pos_world": positions(), "scale": np.ones((1, FRAMES)), "viewpoint": "S"})
    return path


def write_clip(root: Path, action: str, clip: str, *, joints: bool = True, video: str = "avi") -> None:
    if joints:
        write_joints(root / "joint_positions" / action / clip / "joint_positions.mat")
    if video == "avi":
        file = root / "ReCompress_Videos" / action / f"{clip}.avi"
    elif video == "images":
        file = root / "Rename_Images" / action / clip / "00001.png"
    else:
        return
    file.parent.mkdir(parents=True, exist_ok=True)
    file.touch()


def write_lists(root: Path, action: str, *splits: str, folder: str = "splits", mark: str = "") -> None:
    """`write_lists(root, "wave", "a1 b2", "a2 b1", "a1 b2")`: clip a trains in the first split, b tests."""
    (root / folder).mkdir(parents=True, exist_ok=True)
    for number, clips in enumerate(splits, start=1):
        lines = [f"{clip[:-1]}.avi {clip[-1]}\n" for clip in clips.split()]
        (root / folder / f"{action}_test_split{mark}{number}.txt").write_text("".join(lines))


@pytest.fixture
def root(tmp_path) -> Path:
    """Clips a, b (catch) and c (wave) with all their files."""
    write_lists(tmp_path, "catch", "a1 b2", "a2 b1", "a1 b1")
    write_lists(tmp_path, "wave", "c1", "c1", "c2")
    for action, clip in (("catch", "a"), ("catch", "b"), ("wave", "c")):
        write_clip(tmp_path, action, clip)
    return tmp_path


def test_classes():
    assert len(JHMDB_CLASSES) == 21 and len(SUB_JHMDB_CLASSES) == 12  # the publication's numbers
    assert set(SUB_JHMDB_CLASSES) < set(JHMDB_CLASSES)
    for classes in (JHMDB_CLASSES, SUB_JHMDB_CLASSES):
        assert list(classes) == sorted(set(classes))


# Joint files ------------------------------------------------------------------------------------------------------------------


def test_joints_by_hand(tmp_path):
    sequence = read_jhmdb_skeleton(write_joints(tmp_path / "joint_positions.mat"))
    assert sequence.joints.shape == (FRAMES, 1, 15, 3) and sequence.joints.dtype == np.float32
    np.testing.assert_array_equal(sequence.joints[2, 0, [0, 14]], [[2, 102, 0], [142, 242, 0]])
    np.testing.assert_array_equal(sequence.pixels, sequence.joints[..., :2])
    assert sequence.layout.name == "jhmdb_15"


def test_whole_numbers_and_one_frame(tmp_path):
    """MATLAB writes whole numbers in small types, and drops the last axis of one frame."""
    path = write_joints(tmp_path / "a.mat", positions(1)[..., 0].astype(np.uint8))
    sequence = read_jhmdb_skeleton(path)
    np.testing.assert_array_equal(sequence.joints[0, 0, [0, 14]], [[0, 100, 0], [140, 240, 0]])


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_what_is_not_finite_is_unknown(tmp_path, value):
    pos_img = positions()
    pos_img[1, 4, 2] = value  # y of joint 4 in frame 2
    sequence = read_jhmdb_skeleton(write_joints(tmp_path / "a.mat", pos_img))
    assert np.isnan(sequence.joints[2, 0, 4]).all() and np.isnan(sequence.pixels[2, 0, 4]).all()
    assert np.isnan(sequence.joints).sum() == 3


@pytest.mark.parametrize(
    ("pos_img", "message"),
    [
        (positions()[:, :14], r"wrong shape .found .2, 14, 3., expected numbers .2, 15, frames"),
        (positions().transpose(2, 1, 0), r"wrong shape .found .3, 15, 2."),
        (positions(0), r"wrong shape .found .2, 15, 0."),
        (positions()[..., None].repeat(2, 3), r"wrong shape .found .2, 15, 3, 2."),
        (np.float64(1), r"wrong shape .found .1, 1, 1."),
        ("text", "no joints .found type <U4"),
        (positions().astype(complex) + 1j, "no joints .found type complex128"),
    ],
)
def test_wrong_joints(tmp_path, pos_img, message):
    with pytest.raises(SkeletonFormatError, match=f"a.mat, pos_img: .*{message}"):
        read_jhmdb_skeleton(write_joints(tmp_path / "a.mat", pos_img))


def test_a_file_without_joints(tmp_path):
    savemat(tmp_path / "a.mat", {"pos_world": positions()})
    with pytest.raises(SkeletonFormatError, match=r"pos_img: no joints .found nothing"):
        read_jhmdb_skeleton(tmp_path / "a.mat")


@pytest.mark.parametrize("size", [0, 1, 100, 128, 150, 500])
def test_cut_files(tmp_path, size):
    path = write_joints(tmp_path / "a.mat")
    data = path.read_bytes()
    assert len(data) > 600
    path.write_bytes(data[:size])
    with pytest.raises(SkeletonFormatError, match=r"a.mat.*Get the file again"):
        read_jhmdb_skeleton(path)


@pytest.mark.parametrize("data", [b"no MATLAB file " * 20, b"\x89HDF\r\n\x1a\n" + bytes(600), bytes(600)])
def test_files_of_another_format(tmp_path, data):
    (tmp_path / "a.mat").write_bytes(data)
    with pytest.raises(SkeletonFormatError, match=r"a.mat"):
        read_jhmdb_skeleton(tmp_path / "a.mat")


def test_no_file(tmp_path):
    with pytest.raises(SkeletonFormatError, match=r"cannot be read .*No such file"):
        read_jhmdb_skeleton(tmp_path / "a.mat")


# The published lists and files ------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def published(real_archive) -> Path:
    return real_archive("jhmdb_splits") / "jhmdb"


@pytest.fixture
def published_root(published, tmp_path) -> Path:
    """The published lists, and an empty video for each of their clips."""
    (tmp_path / "splits").symlink_to(published / "splits")
    for file in (published / "splits").glob("*_test_split1.txt"):
        folder = tmp_path / "ReCompress_Videos" / file.name.removesuffix("_test_split1.txt")
        folder.mkdir(parents=True)
        for line in file.read_text().splitlines():
            (folder / line.split()[0]).touch()
    return tmp_path


def test_published_lists(published_root):
    dataset = JHMDB(published_root, modality="video")
    assert len(dataset.records) == 928 and not dataset.left_out  # the publication's number
    assert {record.label for record in dataset.records} == set(range(21))
    assert dataset.count_mismatches() == ()
    for split in dataset.protocols().values():
        assert len(set(split.train) | set(split.test)) == 928 and not set(split.train) & set(split.test)


def test_a_published_clip_is_missing(published_root):
    clip = "Torwarttraining_2_(_sterreich)_catch_f_cm_np1_ba_goo_0"
    (published_root / "ReCompress_Videos" / "catch" / f"{clip}.avi").unlink()
    mismatches = JHMDB(published_root, modality="video").count_mismatches()
    assert [(m.protocol, m.expected - m.found, m.missing, m.unexpected) for m in mismatches] == [
        (f"split{number}", 1, (clip,), ()) for number in (1, 2, 3)
    ]


def test_published_joints(published):
    """The sign of each axis and the joints' order, by a goalkeeper who faces the camera; and `pos_world`, which follows from
    `pos_img` by the data set's formula: with the one scale of this clip."""
    files = sorted((published / "joint_positions_examples").glob("*.mat"))
    assert len(files) == 2
    for file in files:
        sequence = read_jhmdb_skeleton(file)
        assert sequence.joints.shape == (40, 1, 15, 3) and sequence.present.all()
        at = {joint: sequence.joints[0, 0, i] for i, joint in enumerate(sequence.layout.joints)}
        np.testing.assert_allclose(at["neck"], [286.5, 106.5, 0])
        heights = [at[joint][1] for joint in ("head", "neck", "spine_mid", "hip_left", "knee_left", "ankle_left")]
        assert heights == sorted(heights)
        for joint in ("shoulder", "elbow", "wrist", "hip", "knee", "ankle"):
            assert at[f"{joint}_right"][0] < at[f"{joint}_left"][0]
        x, y = sequence.pixels[:, 0, :, 0], sequence.pixels[:, 0, :, 1]
        world = np.stack([(x / 320 - 0.5) * 320 / 240, y / 240 - 0.5]) / SCALE
        np.testing.assert_allclose(world, loadmat(file)["pos_world"].transpose(0, 2, 1), atol=1e-5)
        cleaned, report = clean(sequence, JHMDB.cleaning)
        assert report.people == 1 and not report.bodies_dropped
        np.testing.assert_array_equal(cleaned.joints[:, 0], sequence.joints[:, 0])


# Index ------------------------------------------------------------------------------------------------------------------------


def test_records(root):
    dataset = JHMDB(root)
    assert dataset.name == "jhmdb" and dataset.root == root and not dataset.left_out
    assert [record.clip_id for record in dataset.records] == ["a", "b", "c"]
    record = dataset.records[2]
    assert dataset.class_names[record.label] == "wave" and record.label == 20
    assert (record.subject, record.camera, record.setup, record.frame_rate) == (0, 0, 0, 30.0)
    assert record.video == root / "ReCompress_Videos" / "wave" / "c.avi" and record.layout.name == "jhmdb_15"
    assert dataset.load_skeleton(record).joints.shape == (FRAMES, 1, 15, 3)


def test_protocols_by_hand(root):
    protocols = JHMDB(root).protocols()
    assert {name: (split.train, split.test) for name, split in protocols.items()} == {
        "split1": (("a", "c"), ("b",)),
        "split2": (("b", "c"), ("a",)),
        "split3": (("a", "b"), ("c",)),
    }


def test_modalities(root):
    write_lists(root, "pour", "d1 e1 f1", "d1 e1 f1", "d1 e1 f1")
    write_clip(root, "pour", "d", video="")
    write_clip(root, "pour", "e", joints=False)
    write_clip(root, "pour", "f", video="images")
    expected = {"both": "abcf", "skeleton": "abcdf", "video": "abcef"}
    for modality, clips in expected.items():
        dataset = JHMDB(root, modality=modality)
        assert "".join(record.clip_id for record in dataset.records) == clips
        assert [clip.reason[:7] for clip in dataset.left_out] == {
            "both": ["no vide", "no join"],
            "skeleton": ["no join"],
            "video": ["no vide"],
        }[modality]
    assert dataset.records[-1].video == root / "Rename_Images" / "pour" / "f"
    without = next(record for record in dataset.records if record.clip_id == "e")
    with pytest.raises(DatasetError, match=r'e: the clip has no joints. Leave it out with modality="both"'):
        dataset.load_skeleton(without)


def test_clips_in_no_list(root):
    write_clip(root, "wave", "x", video="")
    write_clip(root, "pour", "y", joints=False)
    write_clip(root, "wave", ".AppleDouble")
    dataset = JHMDB(root)
    assert [(clip.clip_id, clip.reason) for clip in dataset.left_out] == [("x", "in no split list"), ("y", "in no split list")]
    assert "".join(record.clip_id for record in dataset.records) == "abc"


def test_count_mismatches(root):
    mismatches = {(m.protocol, m.side): m for m in JHMDB(root).count_mismatches()}
    assert set(mismatches) == set(EXPECTED_CLIPS)
    assert (mismatches["split1", "train"].found, mismatches["split1", "train"].expected) == (2, 660)
    assert mismatches["split1", "train"].missing == ()
    (root / "ReCompress_Videos" / "catch" / "b.avi").unlink()
    mismatches = {(m.protocol, m.side): m.missing for m in JHMDB(root).count_mismatches() if m.missing}
    assert mismatches == {("split1", "test"): ("b",), ("split2", "train"): ("b",), ("split3", "train"): ("b",)}


def test_subset(root):
    write_lists(root, "catch", "a1", "a2", "a1", folder="sub_splits", mark="_")
    dataset = JHMDB(root, subset=True)
    assert dataset.name == "sub_jhmdb" and len(dataset.class_names) == 12
    assert [(record.clip_id, record.label) for record in dataset.records] == [("a", 0)] and not dataset.left_out
    assert dataset.protocols()["split2"].test == ("a",)
    mismatches = [(m.protocol, m.side, m.found, m.expected) for m in dataset.count_mismatches()]
    assert mismatches == [(f"split{number}", "train and test", 1, 316) for number in (1, 2, 3)]


def test_a_whole_subset_with_a_clip_missing(root):
    clips = [f"clip{number}" for number in range(315)]
    line = " ".join(f"{clip}1" for clip in clips) + " a2"
    write_lists(root, "catch", line, line, line, folder="sub_splits", mark="_")
    for clip in clips[1:]:
        write_clip(root, "catch", clip, joints=False)
    mismatches = JHMDB(root, subset=True, modality="video").count_mismatches()
    assert [(m.protocol, m.side, m.found, m.expected, m.missing) for m in mismatches] == [
        (f"split{number}", "train", 314, 315, ("clip0",)) for number in (1, 2, 3)
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "the list is empty"),
        ("\n\n", "the list is empty"),
        ("a.avi 1\nb.avi 0\n", "line 2: not a line of a list .found 'b.avi 0', expected CLIP.avi 1 or CLIP.avi 2"),
        ("a.avi 1\nb.av", "line 2: not a line of a list .found 'b.av'"),
        ("a 1\n", "line 1: not a line of a list"),
        ("a.avi 1\na.avi 2\n", "line 2: the clip is listed twice .found a, also of catch"),
        ("d.avi 1\n", "line 1: the clip is listed twice .found d, also of brush_hair"),
        ("é.avi 1\n".encode("latin-1"), "the list cannot be read"),
    ],
)
def test_bad_lists(root, text, message):
    write_lists(root, "brush_hair", "d1", "d1", "d1")
    (root / "splits" / "catch_test_split2.txt").write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(DatasetError, match=f"catch_test_split2.txt.*{message}"):
        JHMDB(root)


def test_wrong_sets_of_lists(root):
    lists = root / "splits"
    (lists / "catch_test_split_2.txt").write_text("a.avi 1\n")
    with pytest.raises(DatasetError, match=r"two lists of the same class and split"):
        JHMDB(root)
    (lists / "catch_test_split_2.txt").unlink()
    (lists / "._catch_test_split1.txt").write_bytes(bytes(10))  # what macOS leaves in archives
    assert len(JHMDB(root).records) == 3
    (lists / "catch_test_split2.txt").unlink()
    with pytest.raises(DatasetError, match=r"catch: a class needs its lists of all splits .found only 1, 3, expected 1, 2, 3"):
        JHMDB(root)
    write_lists(root, "wave", "c1", "c1", "c1", folder="sub_splits", mark="_")
    with pytest.raises(DatasetError, match=r"a list of another class .found wave.*those of sub_splits.zip in sub_splits"):
        JHMDB(root, subset=True)


def test_bad_roots(tmp_path, root):
    with pytest.raises(ConfigError, match=r"unknown modality .found 'rgb', expected one of both, skeleton, video"):
        JHMDB(root, modality="rgb")
    with pytest.raises(DatasetError, match=r"the data root is no folder .found nothing.*jhmdb.is.tue.mpg.de"):
        JHMDB(root / "absent")
    with pytest.raises(DatasetError, match=r"the data root is no folder .found a file"):
        JHMDB(root / "splits" / "wave_test_split1.txt")
    with pytest.raises(DatasetError, match=r"sub_splits: no split lists .*unpack its archives"):
        JHMDB(root, subset=True)
    (root / "joint_positions").rename(root / "joints")
    with pytest.raises(DatasetError, match=r'can be used .found 3 clips: no joint_positions.mat.*modality="video" no joints'):
        JHMDB(root)
