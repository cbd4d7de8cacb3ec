"""A data set as a CSV: what it says of each clip, and that it opens as data of one's own with the same poses and protocols."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest

from keras_actrec.datasets.about import ABOUT
from keras_actrec.datasets.catalogue import DATASETS, open_dataset, open_videos
from keras_actrec.datasets.clip_list import write_clip_list
from keras_actrec.datasets.own import OwnDataset
from keras_actrec.datasets.record import Split
from keras_actrec.errors import ConfigError, DatasetError
from keras_actrec.skeletons.cleaning import clean
from tests.datasets.test_catalogue import ROOTS
from tests.datasets.test_documentation import rows as documented


def table(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize("name", ABOUT)
def test_what_is_said_of_a_data_set_is_what_the_documentation_says(name):
    clips, classes, layout, *_, protocols = documented("name")[name]
    about = ABOUT[name]
    assert (f"{about.clips:,}", str(about.classes), f"`{about.layout}`") == (clips, classes, layout)
    assert all(protocol in protocols for protocol in about.protocols if not protocol.startswith(("fold", "split")))


def test_every_data_set_but_ones_own_is_described():
    assert [*ABOUT, "own"] == list(DATASETS)


def test_clips_of_ntu_with_their_own_files(tmp_path):
    dataset = open_videos("ntu_rgbd", ROOTS["ntu_rgbd"](tmp_path / "ntu"))
    written = write_clip_list(dataset, tmp_path / "ntu.csv")
    assert (written.clips, written.splits) == (1, ("split_cross_subject", "split_cross_view"))
    assert [clip.clip_id for clip in written.left_out] == [clip.clip_id for clip in dataset.left_out]
    (row,) = table(written.csv)
    assert row == {
        "clip": "S001C001P001R001A001", "label": "drink water", "video": "ntu/S001C001P001R001A001_rgb.avi",
        "skeleton": "ntu/S001C001P001R001A001.skeleton", "split_cross_subject": "train", "split_cross_view": "test",
        "subject": "1", "camera": "1", "frame_rate": "30",
    }  # fmt: skip
    own = OwnDataset(written.csv)
    assert own.protocols()["split_cross_subject"] == Split(("S001C001P001R001A001",), ())
    np.testing.assert_array_equal(own.load_skeleton(own.records[0]).joints, dataset.load_skeleton(dataset.records[0]).joints)


def test_poses_are_written_cleaned_for_files_that_no_other_tool_reads(tmp_path):
    dataset = open_dataset("jhmdb", ROOTS["jhmdb"](tmp_path / "jhmdb"), video=False)
    written = write_clip_list(dataset, tmp_path / "jhmdb.csv", protocols=["split1"], poses=tmp_path / "poses")
    assert written.splits == ("split",) and [row["skeleton"] for row in table(written.csv)] == ["poses/a.npz", "poses/b.npz"]
    own = OwnDataset(written.csv)
    assert own.protocols() == {"split": dataset.protocols()["split1"]} and own.class_names == ("catch",)
    for record, other in zip(own.records, dataset.records, strict=True):
        expected, _ = clean(dataset.load_skeleton(other), dataset.cleaning)
        found, _ = clean(own.load_skeleton(record), own.cleaning)
        np.testing.assert_allclose(found.joints, expected.joints, rtol=1e-6)
        assert found.layout.name == "jhmdb_15"


def test_a_clip_whose_poses_do_not_read_is_left_out(tmp_path):
    root = ROOTS["jhmdb"](tmp_path / "jhmdb")
    (root / "joint_positions" / "catch" / "b" / "joint_positions.mat").write_bytes(b"junk")
    written = write_clip_list(open_dataset("jhmdb", root, video=False), tmp_path / "a.csv", poses=tmp_path / "poses")
    assert written.clips == 1 and written.splits == ("split1", "split2", "split3")
    (clip,) = written.left_out
    assert (clip.clip_id, clip.stage) == ("b", "poses") and "joint_positions.mat" in clip.reason
    assert str(written).endswith("protocols: split1, split2, split3; 1 left out")


def test_paths_outside_of_the_folder_of_the_csv_are_absolute(tmp_path):
    dataset = open_videos("jhmdb", ROOTS["jhmdb"](tmp_path / "jhmdb"))
    written = write_clip_list(dataset, tmp_path / "lists" / "jhmdb.csv", protocols=["split2"])
    assert [row["video"] for row in table(written.csv)] == [str(record.video) for record in dataset.records]
    assert "skeleton" not in table(written.csv)[0]


def test_images_of_a_folder_are_a_video_of_a_clip(tmp_path):
    root = ROOTS["penn_action"](tmp_path / "penn")
    (root / "frames" / "0001").mkdir(parents=True)
    (root / "frames" / "0001" / "000001.jpg").touch()
    dataset = open_dataset("penn_action", root, video=True)
    written = write_clip_list(dataset, tmp_path / "penn.csv", poses=tmp_path / "poses")
    assert OwnDataset(written.csv).records[0].video == root / "frames" / "0001"


def test_protocols_that_do_not_have_the_same_clips(tmp_path):
    class Two:
        def __init__(self, dataset):
            self.__dict__.update({name: getattr(dataset, name) for name in ("records", "left_out", "class_names", "root")})

        def protocols(self):
            return {"all": Split(("a",), ("b",)), "half": Split(("a",), ())}

    dataset = Two(open_videos("jhmdb", ROOTS["jhmdb"](tmp_path / "jhmdb")))
    with pytest.raises(
        ConfigError, match=r"found 2 clips of all, 1 of all of all, half.*Write a list for each, with --protocol NAME"
    ):
        write_clip_list(dataset, tmp_path / "a.csv")
    assert write_clip_list(dataset, tmp_path / "a.csv", protocols=["half"]).clips == 1
    with pytest.raises(ConfigError, match=r"unknown protocol .found 'third', expected one of all, half"):
        write_clip_list(dataset, tmp_path / "a.csv", protocols=["third"])


def test_a_data_set_without_videos_needs_poses(tmp_path):
    dataset = open_dataset("sbu", ROOTS["sbu"](tmp_path / "sbu"), video=False)
    with pytest.raises(DatasetError, match=r"no clip has a video.*found 1 usable clips, 1 left out.*With --poses FOLDER"):
        write_clip_list(dataset, tmp_path / "sbu.csv")
    assert write_clip_list(dataset, tmp_path / "sbu.csv", poses=tmp_path / "poses").clips == 1
