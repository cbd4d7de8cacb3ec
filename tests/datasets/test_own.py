"""A CSV of clips beside their files, right and wrong."""

from __future__ import annotations

import pickle
import re
from pathlib import Path

import numpy as np
import pytest

from keras_actrec.datasets.own import OwnDataset
from keras_actrec.datasets.record import LeftOut, Split
from keras_actrec.datasets.video_list import read_video_list
from keras_actrec.errors import ConfigError, DatasetError, SkeletonFormatError
from keras_actrec.extraction.poses import extract_poses
from keras_actrec.skeletons.layouts import COCO_17, KINECT_V1
from tests.datasets.poses import keypoints, metric, save

DOCS = Path(__file__).resolve().parents[2] / "docs" / "own_data.md"
HEADER = "clip,label,video,skeleton,split"


def poses(root: Path, name: str, x: float = 10, frames: int = 3) -> str:
    people = [{"people": [{"keypoints": keypoints(x + t)}]} for t in range(frames)]
    save(root / name, {"layout": "coco_17", "frames": people})
    return name


def kitchen(root: Path, *rows: str, header: str = HEADER, newline: str = "\n") -> Path:
    """clips.csv with these rows; by default three clips whose files are there."""
    if not rows:
        rows = ("c,stir,c.mp4,poses/c.json,test", "a,pour,a.mp4,poses/a.json,train", "b,stir,,poses/b.json,train")
        for name in "ac":
            (root / f"{name}.mp4").touch()
    for name in "abc":
        poses(root, f"poses/{name}.json", x=ord(name))
    path = root / "clips.csv"
    path.write_bytes(newline.join([header, *rows, ""]).encode())
    return path


def test_index(tmp_path):
    dataset = OwnDataset(kitchen(tmp_path))
    assert dataset.name == "clips" and dataset.class_names == ("pour", "stir") and dataset.left_out == ()
    assert [record.clip_id for record in dataset.records] == ["a", "b", "c"]
    assert [record.label for record in dataset.records] == [0, 1, 1]
    a, b, _ = dataset.records
    assert a.skeleton == tmp_path / "poses" / "a.json" and a.video == tmp_path / "a.mp4" and b.video is None
    assert (a.subject, a.camera, a.setup, a.frame_rate, a.layout) == (0, 0, 0, 30.0, COCO_17)
    assert dataset.protocols() == {"split": Split(("a", "b"), ("c",))} and dataset.count_mismatches() == ()
    assert dataset.load_skeleton(b).joints[1, 0, 0].tolist() == [ord("b") + 1, 50, 0]
    assert not dataset.cleaning.find_people and OwnDataset(dataset.csv, name="kitchen").name == "kitchen"


def test_the_list_of_videos_and_labels_of_the_documentation(tmp_path):
    (tmp_path / "clips.csv").write_text(re.search(r"```csv\n(.*?)```", DOCS.read_text(encoding="utf-8"), re.DOTALL)[1])
    table = read_video_list(tmp_path / "clips.csv").table
    assert list(table["clip"]) == ["anna_01", "anna_02", "ben_01", "ben_02"] and set(table["split"]) == {"train", "test"}


def test_the_example_of_the_documentation(tmp_path):
    text = re.search(r"## The CSV\n\n```csv\n(.*?)```", DOCS.read_text(encoding="utf-8"), re.DOTALL)[1]
    (tmp_path / "clips.csv").write_text(text)
    for name in ("anna_01", "anna_02", "ben_01"):
        poses(tmp_path, f"poses/{name}.json")
        (tmp_path / "videos").mkdir(exist_ok=True)
        (tmp_path / "videos" / f"{name}.mp4").touch()
    dataset = OwnDataset(tmp_path / "clips.csv")
    assert len(dataset.records) == 3 and dataset.class_names == ("pour", "stir")
    assert dataset.protocols() == {
        "split": Split(("anna_01", "anna_02"), ("ben_01",)),
        "split_camera": Split(("anna_01", "ben_01"), ("anna_02",)),
    }
    ben = dataset.records[2]
    assert (ben.subject, ben.camera, ben.frame_rate) == (2, 1, 25.0)


def test_paths_are_relative_to_the_csv_or_absolute(tmp_path, monkeypatch):
    elsewhere = tmp_path / "elsewhere"
    poses(elsewhere, "a.json")
    monkeypatch.chdir(tmp_path)
    kitchen(tmp_path, f"a,pour,,{elsewhere}/a.json,train", "b,pour,,poses/b.json,test")
    dataset = OwnDataset("clips.csv")
    assert [record.skeleton for record in dataset.records] == [elsewhere / "a.json", Path("poses/b.json")]


@pytest.mark.parametrize(
    ("change", "kind"),
    [
        (lambda data: b"\xef\xbb\xbf" + data.replace(b"\n", b"\r\n"), "as spreadsheets write it"),
        (lambda data: data.replace(b",", b" , ").replace(b"\n", b"\n\n"), "spaces and blank lines"),
        (lambda data: data.replace(b"stir", b'"stir"').rstrip(b"\n") + b"\n,,,,\n", "quotes, an empty row at the end"),
    ],
)
def test_ways_to_write_a_csv(tmp_path, change, kind):
    path = kitchen(tmp_path)
    expected = OwnDataset(path)
    path.write_bytes(change(path.read_bytes()))
    found = OwnDataset(path)
    assert (found.records, found.class_names, found.protocols()) == (
        expected.records,
        expected.class_names,
        expected.protocols(),
    )


def test_values_that_other_readers_take_for_missing(tmp_path):
    path = kitchen(tmp_path, "NA,None,,poses/a.json,train", "nan,null,,poses/b.json,test")
    dataset = OwnDataset(path)
    assert dataset.class_names == ("None", "null") and [record.clip_id for record in dataset.records] == ["NA", "nan"]


# Classes ----------------------------------------------------------------------------------------------------------------------


def labelled(root: Path, *labels: str) -> Path:
    return kitchen(root, *(f"{n},{label},,poses/{n}.json,train" for n, label in zip("abc", labels, strict=True)))


@pytest.mark.parametrize(
    ("labels", "names", "class_names", "expected"),
    [
        (("10", "9", "9"), None, ("9", "10"), [1, 0, 0]),  # as numbers, not as text
        (("2", "0", "2"), ("pour", "stir", "cut"), ("pour", "stir", "cut"), [2, 0, 2]),  # indices
        (("2", "0", "2"), ("0", "2"), ("0", "2"), [1, 0, 1]),  # names that are numbers
        (("stir", "pour", "stir"), ["stir", "cut", "pour"], ("stir", "cut", "pour"), [0, 2, 0]),
        (("b", "10", "a"), None, ("10", "a", "b"), [2, 0, 1]),
    ],
)
def test_labels(tmp_path, labels, names, class_names, expected):
    dataset = OwnDataset(labelled(tmp_path, *labels), class_names=names)
    assert dataset.class_names == class_names and [record.label for record in dataset.records] == expected


@pytest.mark.parametrize(
    ("labels", "names", "match"),
    [
        (("stir", "cut", "stir"), ("stir", "pour"), "line 3: the label is no class .found 'cut', expected one of stir, pour"),
        (("0", "1", "2"), ("stir", "pour"), "line 4: the label is no class .found '2', expected 0 to 1"),
        (("0", "stir", "1"), ("stir", "pour"), "line 2: the label is no class .found '0'"),
        (("-1", "0", "1"), ("stir", "pour"), "line 2: the label is no class .found '-1'"),
    ],
)
def test_labels_that_are_no_class(tmp_path, labels, names, match):
    with pytest.raises(DatasetError, match=match):
        OwnDataset(labelled(tmp_path, *labels), class_names=names)


@pytest.mark.parametrize("names", [(), ("stir", "stir")])
def test_bad_class_names(tmp_path, names):
    with pytest.raises(ConfigError, match="class names"):
        OwnDataset(kitchen(tmp_path), class_names=names)


# Bad lists --------------------------------------------------------------------------------------------------------------------

ROW = "a,pour,,poses/a.json,train"


@pytest.mark.parametrize(
    ("rows", "match"),
    [
        ((ROW, "b,stir,,poses/b.json,val"), "line 3: wrong split .found 'val', expected train or test"),
        ((ROW, "b,stir,,poses/b.json,"), "line 3: wrong split .found ''"),
        ((ROW, "b,stir,,poses/b.json,Train"), "line 3: wrong split"),
        ((ROW, "b,,,poses/b.json,test"), "line 3: no label"),
        ((ROW, ",stir,,poses/b.json,test"), "line 3: no clip"),
        ((ROW, "b,stir,,,test"), "line 3: no skeleton"),
        ((ROW, "b,stir,,poses/b.json"), "line 3: wrong number of values .found 4, expected 5"),
        ((ROW, "b,stir,,poses/b.json,test,30"), "line 3: wrong number of values .found 6, expected 5"),
        (
            (ROW, "b,stir,,poses/b.json,test", "a,stir,,poses/c.json,test"),
            "line 4: the same clip twice .found 'a', also in line 2",
        ),
        ((ROW, "b,stir,,poses/a.json,test"), "line 3: the same skeleton twice .found 'poses/a.json', also in line 2"),
        ((ROW, "", "b/1,stir,,poses/b.json,test"), "line 4: not a name of a clip"),
        ((ROW, "..,stir,,poses/b.json,test"), "line 3: not a name of a clip"),
        ((ROW, '"b\n1",stir,,poses/b.json,val'), "line 4: wrong split"),
        ((ROW, '"b,stir,,poses/b.json,test'), "no CSV"),
        ((), None),
    ],
)
def test_bad_rows(tmp_path, rows, match):
    path = kitchen(tmp_path, *rows)
    if match is None:
        assert len(OwnDataset(path).records) == 3, "the rows that the others are changed from are good"
        return
    with pytest.raises(DatasetError, match=match) as caught:
        OwnDataset(path)
    assert caught.value.file == str(path) and caught.value.fix


@pytest.mark.parametrize(
    ("header", "match"),
    [
        ("clip,label,video,skeleton", "line 1: a column is missing.*Add split"),
        ("name,label,video,skeleton,split", "line 1: a column is missing.*Add clip"),
        ("clip;label;video;skeleton;split", "a column is missing.*Separate columns with commas"),
        ("clip,label,fps,skeleton,split", "line 1: unknown column .found 'fps'"),
        ("clip,label,,skeleton,split", "line 1: unknown column .found ''"),
        ("clip,label,label,skeleton,split", "line 1: two columns have one name .found 'label'"),
        (ROW, "a column is missing"),
    ],
)
def test_bad_columns(tmp_path, header, match):
    with pytest.raises(DatasetError, match=match):
        OwnDataset(kitchen(tmp_path, ROW, header=header))


@pytest.mark.parametrize(
    ("column", "value"),
    [
        *(("subject", value) for value in ("anna", "-1", "1.5", "²", "9" * 10)),
        ("camera", "left"),
        *(("frame_rate", value) for value in ("0", "-25", "nan", "inf", "fast")),
        ("layout", "coco"),
    ],
)
def test_bad_values(tmp_path, column, value):
    path = kitchen(tmp_path, f"{ROW},{value}", header=f"{HEADER},{column}")
    with pytest.raises(DatasetError, match=f"line 2: (wrong|unknown joint) {column} .found '{re.escape(value)}'"):
        OwnDataset(path)


def test_a_row_without_files_is_checked_too(tmp_path):
    path = kitchen(tmp_path, f"{ROW},1", "b,stir,,gone.json,test,x", header=f"{HEADER},subject")
    with pytest.raises(DatasetError, match="line 3: wrong subject"):
        OwnDataset(path)


@pytest.mark.parametrize(
    ("data", "match"),
    [
        (b"", "is empty .found no line"),
        (b"\n\n", "is empty .found no line"),
        (HEADER.encode() + b"\n", "is empty .found column names only"),
        (HEADER.encode() + "\na,wäscht,,poses/a.json,train\n".encode("latin-1"), "not UTF-8 .found byte 0xe4"),
        ("clip,label".encode("utf-16"), "not UTF-8"),
        (b"\x89PNG\r\n\x1a\n\x00", "not UTF-8"),
    ],
)
def test_files_that_are_no_list(tmp_path, data, match):
    (tmp_path / "clips.csv").write_bytes(data)
    with pytest.raises(DatasetError, match=match):
        OwnDataset(tmp_path / "clips.csv")


@pytest.mark.parametrize("name", ["gone.csv", "folder"])
def test_no_list(tmp_path, name):
    (tmp_path / "folder").mkdir()
    with pytest.raises(DatasetError, match=r"cannot be read .found (No such file|Is a directory)"):
        OwnDataset(tmp_path / name)


# Files ------------------------------------------------------------------------------------------------------------------------


def test_clips_without_files_are_left_out(tmp_path):
    rows = (ROW, "b,stir,gone.mp4,poses/b.json,train", "d,cut,,poses/d.json,test", "c,stir,,poses/c.json,test")
    dataset = OwnDataset(kitchen(tmp_path, *rows))
    assert dataset.left_out == (
        LeftOut("b", "index", "no such file", str(tmp_path / "gone.mp4")),
        LeftOut("d", "index", "no such file", str(tmp_path / "poses" / "d.json")),
    )
    assert dataset.protocols() == {"split": Split(("a",), ("c",))}
    assert dataset.protocols()["split"].left_out == {"b": "train", "d": "test"}, "what they count for is known"
    assert dataset.class_names == ("cut", "pour", "stir"), "labels do not move when a file goes missing"


def test_no_file_is_there(tmp_path):
    path = kitchen(tmp_path, "d,cut,,poses/d.json,test")
    with pytest.raises(DatasetError, match=r"no clip of the list can be used .found 1 clips without their files.*d\.json"):
        OwnDataset(path)


def test_the_first_readable_file_decides_the_layout(tmp_path):
    path = kitchen(tmp_path)
    (tmp_path / "poses" / "c.json").write_text("{")
    np.savez(tmp_path / "b.npz", joints=metric(20), layout="kinect_v1")
    path.write_text(path.read_text().replace("poses/b.json", "b.npz"))
    dataset = OwnDataset(path)
    assert dataset.layout is COCO_17, "c, the first row, cannot be read; a is next"
    with pytest.raises(
        SkeletonFormatError, match=r"b\.npz: the joints are of another layout .found kinect_v1, expected coco_17"
    ):
        dataset.load_skeleton(dataset.records[1])
    with pytest.raises(SkeletonFormatError, match=r"c\.json.*cut short"):
        dataset.load_skeleton(dataset.records[2])


def test_no_file_can_be_read(tmp_path):
    path = kitchen(tmp_path)
    for name in "abc":
        (tmp_path / "poses" / f"{name}.json").write_text("")
    with pytest.raises(
        DatasetError, match=r"no clip of the list can be read .found 3 bad files, the first: .*c\.json: the file is"
    ):
        OwnDataset(path)


def test_the_layout_column(tmp_path):
    np.savez(tmp_path / "a.npz", joints=metric(20))
    header = f"{HEADER},layout"
    dataset = OwnDataset(
        kitchen(tmp_path, "a,pour,,a.npz,train,kinect_v1", "b,pour,,poses/b.json,test,kinect_v1", header=header)
    )
    assert dataset.layout is KINECT_V1 and dataset.records[0].layout is KINECT_V1
    assert dataset.load_skeleton(dataset.records[0]).layout is KINECT_V1
    with pytest.raises(SkeletonFormatError, match="another layout"):
        dataset.load_skeleton(dataset.records[1])
    for other in ("coco_17", ""):
        path = kitchen(tmp_path, "a,pour,,a.npz,train,kinect_v1", f"b,pour,,poses/b.json,test,{other}", header=header)
        with pytest.raises(DatasetError, match=f"line 3: clips of different layouts .found '{other}', expected 'kinect_v1'"):
            OwnDataset(path)


def test_options_of_the_reader(tmp_path):
    entries = [{"image_id": f"{n:03d}.png", "keypoints": keypoints(n, confidence=0.1 * n)} for n in (2, 3)]
    save(tmp_path / "d.json", entries)
    path = kitchen(tmp_path, "d,pour,,d.json,train")
    dataset = OwnDataset(path, min_confidence=0.25, first_frame=1)
    assert dataset.load_skeleton(dataset.records[0]).present.tolist() == [[False], [False], [True]]
    with pytest.raises(ConfigError, match="min_confidence"):
        OwnDataset(path, min_confidence=-1)


def test_it_travels_to_other_processes(tmp_path):
    dataset = OwnDataset(kitchen(tmp_path))
    copy = pickle.loads(pickle.dumps(dataset))
    assert copy.records == dataset.records and copy.protocols() == dataset.protocols()


def test_poses_go_into_a_cache(tmp_path):
    """The interface of data sets holds: two processes, one clip of another layout."""
    path = kitchen(tmp_path)
    np.savez(tmp_path / "b.npz", joints=metric(20), layout="kinect_v1")
    path.write_text(path.read_text().replace("poses/b.json", "b.npz"))
    dataset = OwnDataset(path)
    report = extract_poses(dataset, tmp_path / "cache", cleaning=dataset.cleaning, workers=2, progress=False)
    assert [(clip.clip_id, clip.file) for clip in report.left_out] == [("b", str(tmp_path / "b.npz"))]
    assert report.done == 2
