"""Lists of videos and labels: what is filled in, and everything that is wrong with bad ones."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from keras_actrec.datasets.own import OwnDataset
from keras_actrec.datasets.record import Split
from keras_actrec.datasets.video_list import VideoList, read_video_list
from keras_actrec.errors import ConfigError, DatasetError
from tests.datasets.test_own import poses


def write(folder: Path, text: str) -> Path:
    path = folder / "mine.csv"
    path.write_bytes(text.encode())
    return path


def listed(folder: Path, *rows: str, header: str = "video,label", **options) -> VideoList:
    return read_video_list(write(folder, "\n".join([header, *rows, ""])), **options)


def many(labels: dict[str, int]) -> list[str]:
    return [f"{label}{n}.mp4,{label}" for label, count in labels.items() for n in range(count)]


# What is filled in ------------------------------------------------------------------------------------------------------------


def test_videos_and_labels_alone(tmp_path):
    found = listed(tmp_path, "a/x.mp4, stir", "b/y.avi,pour", "/far/z.mp4,pour", "w.mp4,stir")
    assert list(found.table["clip"]) == ["x", "y", "z", "w"] and list(found.table["label"]) == ["stir", "pour", "pour", "stir"]
    root = tmp_path.resolve()
    assert found.videos == {"x": root / "a/x.mp4", "y": root / "b/y.avi", "z": Path("/far/z.mp4"), "w": root / "w.mp4"}
    assert found.drawn and found.splits == ("split",)


@pytest.mark.parametrize(
    ("videos", "clips"),
    [
        (("a/x.mp4", "b/x.mp4"), ["a_x", "b_x"]),
        (("../a/x.mp4", "./a/y.mp4"), ["x", "y"]),
        (("../a/x.mp4", "x.mp4"), ["a_x", "x"]),
        (("x.mp4", "x.avi"), ["x.mp4", "x.avi"]),
        (("a.b/x.mp4", "a.c/x.mp4"), ["a.b_x", "a.c_x"]),
        (("x.1", "x.2"), ["x.1", "x.2"]),  # folders of images
    ],
)
def test_names_tell_clips_apart(tmp_path, videos, clips):
    found = listed(tmp_path, *(f"{video},stir,train" for video in videos), header="video,label,split")
    assert list(found.table["clip"]) == clips


def test_what_is_given_stays(tmp_path):
    header = "clip,video,label,split_2,split,subject,camera,frame_rate"
    found = listed(tmp_path, "one,x.mp4,stir,train,test,3,1,25", "two,y.mp4,stir,test,train,4,1,", header=header)
    assert not found.drawn and found.splits == ("split_2", "split") and list(found.videos) == ["one", "two"]
    assert list(found.table["subject"]) == ["3", "4"] and list(found.table["split"]) == ["test", "train"]


def test_a_spreadsheets_file(tmp_path):
    path = tmp_path / "mine.csv"
    path.write_bytes(b'\xef\xbb\xbf video , label\r\n"a, b.mp4", stir \r\n\r\n x.mp4,"stir"\r\n')
    table = read_video_list(path).table
    assert list(table["clip"]) == ["a, b", "x"] and set(table["label"]) == {"stir"}


@pytest.mark.parametrize(("share", "tested"), [(0.3, 3), (0.01, 1), (0.99, 9), (0.25, 3)])
def test_the_same_share_of_every_class_is_put_to_the_test(tmp_path, share, tested):
    table = listed(tmp_path, *many({"pour": 10, "stir": 2}), test_share=share).table
    sides = table.groupby("label")["split"].value_counts()
    assert sides["pour", "test"] == tested and sides["pour", "train"] == 10 - tested
    assert sides["stir", "test"] == sides["stir", "train"] == 1


def test_the_draw_follows_from_the_seed(tmp_path):
    draws = [list(listed(tmp_path, *many({"pour": 20, "stir": 20}), seed=seed).table["split"]) for seed in (0, 0, 1)]
    assert draws[0] == draws[1] != draws[2]


def test_subjects_stay_on_one_side(tmp_path):
    rows = [f"{s}_{n}.mp4,{'pour' if n % 2 else 'stir'},{s}" for s in range(5) for n in range(4)]
    table = listed(tmp_path, *rows, header="video,label,subject", test_share=0.4).table
    assert (table.groupby("subject")["split"].nunique() == 1).all()
    assert table[table["split"] == "test"]["subject"].nunique() == 2
    table = listed(tmp_path, "a.mp4,stir,1", "b.mp4,stir,1", header="video,label,subject").table
    assert sorted(table["split"]) == ["test", "train"], "of one subject alone, clips are drawn"


# With skeletons ---------------------------------------------------------------------------------------------------------------


def test_the_whole_list_is_one_of_own_clips(tmp_path):
    for name in ("x", "y"):
        (tmp_path / f"{name}.mp4").touch()
    poses(tmp_path, "given.json")
    poses(tmp_path, "found.json")
    header = "video,label,skeleton,split"
    found = listed(tmp_path, "x.mp4,stir,given.json,train", "y.mp4,pour,,test", "gone.mp4,pour,,test", header=header)
    assert list(found.videos) == ["y", "gone"], "those without a skeleton of their own"
    path = found.with_skeletons({"y": tmp_path / "found.json"}, tmp_path / "cache" / "clips.csv")
    data = OwnDataset(path)
    assert data.left_out == () and data.protocols() == {"split": Split(("x",), ("y",))} and data.class_names == ("pour", "stir")
    x, y = data.records
    assert (x.video, x.skeleton) == (tmp_path.resolve() / "x.mp4", tmp_path.resolve() / "given.json")
    assert y.skeleton == (tmp_path / "found.json").resolve()
    assert list(pd.read_csv(path)["clip"]) == ["x", "y"]


def test_no_clip_is_left(tmp_path):
    with pytest.raises(
        DatasetError, match=r"mine\.csv: no clip of the list can be used \(found no video of it could be read\)"
    ):
        listed(tmp_path, *many({"pour": 2})).with_skeletons({}, tmp_path / "clips.csv")
    assert not (tmp_path / "clips.csv").exists()


# What is refused --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("share", [0, 1, -0.1, float("nan")])
def test_a_share_that_is_none(tmp_path, share):
    with pytest.raises(ConfigError, match=r"test_share is a share of the clips \(found .*, expected more than 0, less than 1"):
        listed(tmp_path, *many({"pour": 2}), test_share=share)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", r"the list of clips is empty \(found no line, expected columns video, label; if there are any clip, skeleton"),
        ("video,label\n", "the list of clips is empty .found column names only, expected a row per clip"),
        ("video;label\nx.mp4;stir\n", "line 1: a column is missing .found video;label, .*Separate columns with commas"),
        ("video,action\nx.mp4,stir\n", r"a column is missing \(found video, action, expected video, label; .*Add label to the"),
        ("file,action\nx.mp4,stir\n", "Add video, label to the first line"),
        ("video,label,spilt\nx.mp4,stir,test\n", "line 1: unknown column .found 'spilt'.*rename it if it is misspelt"),
        ("video,label,label\nx.mp4,stir,stir\n", "two columns have one name .found 'label'"),
        ("video,label\nx.mp4,pour, slowly\n", "line 2: wrong number of values .found 3, expected 2.*Quote values with commas"),
        ("video,label\nx.mp4,pour\ny.mp4\n", "line 3: wrong number of values .found 1, expected 2"),
        ("video,label\nx.mp4,pour\ny.mp4,\n", "line 3: no label .found nothing, expected a value"),
        ("video,label\n\n,pour\n", "line 3: no video"),
        ("video,label,clip\nx.mp4,pour,\n", "line 2: no clip"),
        ("video,label,clip\nx.mp4,pour,a/x\n", "line 2: not a name of a clip .found 'a/x', expected a name without /"),
        ("video,label,clip\nx.mp4,pour,a\ny.mp4,pour,a\n", "line 3: the same clip twice .found 'a', also in line 2"),
        ("video,label\nx.mp4,pour\nx.mp4,stir\n", "line 3: the same clip twice .found 'x.mp4', also in line 2"),
        ("video,label,skeleton\nx.mp4,pour,a.npz\ny.mp4,pour,a.npz\n", "line 3: the same skeleton twice .found 'a.npz'"),
        ("video,label,split\nx.mp4,pour,test\ny.mp4,pour,\n", "line 3: wrong split .found '', expected train or test"),
        ("video,label,split_b\nx.mp4,pour,testing\n", "line 2: wrong split_b .found 'testing'"),
        ("video,label,subject\nx.mp4,pour,anna\n", "line 2: wrong subject .found 'anna', expected a number from 0"),
        ("video,label,frame_rate\nx.mp4,pour,0\n", "line 2: wrong frame_rate .found '0'"),
        ('video,label\n"x.mp4,pour\n', "line 2: the list of clips is no CSV"),
        (
            "video,label\nx.mp4,pour\ny.mp4,pour\nz.mp4,stir\n",
            "a class with a single clip .*found label 'stir', .*or give a column",
        ),
    ],
)
def test_bad_lists(tmp_path, text, words):
    with pytest.raises(DatasetError, match=r"mine\.csv.*" + words):
        read_video_list(write(tmp_path, text))


def test_files_that_are_no_list(tmp_path):
    with pytest.raises(DatasetError, match=r"absent\.csv: the list of clips cannot be read \(found No such file"):
        read_video_list(tmp_path / "absent.csv")
    with pytest.raises(DatasetError, match=r"cannot be read \(found Is a directory\)"):
        read_video_list(tmp_path)
    (tmp_path / "latin.csv").write_bytes("video,label\nx.mp4,gießen\n".encode("latin-1"))
    with pytest.raises(DatasetError, match=r"not UTF-8 \(found byte 0xdf\)\. Save it as UTF-8"):
        read_video_list(tmp_path / "latin.csv")
