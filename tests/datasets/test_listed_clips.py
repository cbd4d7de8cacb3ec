"""Lists of videos and labels as clips to test on: with skeletons, without, and wrong."""

from __future__ import annotations

import pytest

from keras_actrec.datasets.listed_clips import ListedClips, open_listed
from keras_actrec.datasets.own import OwnDataset
from keras_actrec.datasets.record import Split
from keras_actrec.errors import DatasetError
from tests.datasets.test_own import kitchen, poses


def test_videos_and_labels_are_enough(tmp_path):
    (tmp_path / "clips.csv").write_text("video,label,split\nb/x.mp4,stir,test\na/y.mp4,pour,train\n")
    clips = open_listed(tmp_path / "clips.csv")
    assert isinstance(clips, ListedClips) and clips.class_names == ("pour", "stir") and clips.left_out == ()
    assert [record.clip_id for record in clips.records] == ["x", "y"] and [record.label for record in clips.records] == [1, 0]
    x, _ = clips.records
    assert x.video == (tmp_path / "b" / "x.mp4").resolve() and x.skeleton is None
    assert clips.protocols() == {"split": Split(("y",), ("x",))} and clips.count_mismatches() == ()


def test_some_have_skeletons(tmp_path):
    poses(tmp_path, "poses/a.json", x=7)
    (tmp_path / "clips.csv").write_text("video,label,skeleton,split\na.mp4,stir,poses/a.json,test\nb.mp4,pour,,test\n")
    a, b = open_listed(tmp_path / "clips.csv").records
    assert a.skeleton == tmp_path / "poses" / "a.json" and b.skeleton is None
    assert ListedClips(tmp_path / "clips.csv").load_skeleton(a).joints[0, 0, 0].tolist() == [7, 50, 0]


def test_a_list_whose_clips_all_have_skeletons_is_that_of_a_training(tmp_path):
    clips = open_listed(kitchen(tmp_path))
    assert isinstance(clips, OwnDataset) and len(clips.records) == 3  # one of them has no video
    kitchen(tmp_path, "a,pour,a.mp4,poses/a.json,test")
    assert isinstance(open_listed(tmp_path / "clips.csv", skeletons=False), ListedClips)


def test_without_a_split_the_one_of_train_is_drawn(tmp_path):
    rows = "".join(f"{label}{number}.mp4,{label}\n" for label in ("pour", "stir") for number in range(10))
    (tmp_path / "clips.csv").write_text("video,label\n" + rows)
    split = open_listed(tmp_path / "clips.csv").protocols()["split"]
    assert len(split.test) == 6 and len(split.train) == 14
    assert sum(clip.startswith("pour") for clip in split.test) == 3


def test_a_side_that_is_none(tmp_path):
    (tmp_path / "clips.csv").write_text("video,label,split\na.mp4,stir,testing\n")
    with pytest.raises(DatasetError, match=r"line 2: wrong split \(found 'testing', expected train or test\)"):
        open_listed(tmp_path / "clips.csv")


@pytest.mark.parametrize("text", [None, "", "video,split\na.mp4,test\n"])
def test_a_list_that_is_none(tmp_path, text):
    if text is not None:
        (tmp_path / "clips.csv").write_text(text)
    with pytest.raises(DatasetError, match=r"clips\.csv"):
        open_listed(tmp_path / "clips.csv")
