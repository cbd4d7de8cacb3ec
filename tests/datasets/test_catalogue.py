"""The catalogue: every data set, written small in its own format, opens by name and has the interface; counting clips."""

from __future__ import annotations

import importlib
import inspect
import os
import pickle
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from pkgutil import iter_modules

import pytest

from keras_actrec import datasets
from keras_actrec.datasets.catalogue import DATASETS, open_dataset, open_videos
from keras_actrec.datasets.counts import CountMismatch
from keras_actrec.datasets.listed_clips import ListedClips
from keras_actrec.datasets.ntu_skeleton import write_ntu_skeleton
from keras_actrec.datasets.record import ActionDataset, ClipRecord, LeftOut, Split
from keras_actrec.errors import ConfigError, DatasetError
from keras_actrec.skeletons.cleaning import CleaningConfig
from keras_actrec.skeletons.sequence import SkeletonSequence
from tests.datasets import test_jhmdb, test_msr_daily, test_nucla, test_own, test_penn_action, test_sbu, test_smarthome
from tests.extraction.small import skeleton

REPOSITORY = Path(__file__).resolve().parents[2]
MISSING = "S001C002P005R002A008"  # first of the published list of missing skeletons


def write_ntu(root: Path) -> Path:
    for name in ("S001C001P001R001A001", MISSING):
        write_ntu_skeleton(root / f"{name}.skeleton", skeleton(4, 1, 0))
        (root / f"{name}_rgb.avi").touch()
    return root


def write_jhmdb(root: Path, folder: str) -> Path:
    test_jhmdb.write_lists(root, "catch", "a1 b2", "a2 b1", "a1 b1", folder=folder)
    for clip in "ab":
        test_jhmdb.write_clip(root, "catch", clip)
    return root


def write_msr_daily(root: Path) -> Path:
    test_msr_daily.write(root, test_msr_daily.text([[test_msr_daily.body(0.1)]] * 3))
    return root


def write_smarthome(root: Path) -> Path:
    video, skeletons = test_smarthome.pair("Walk_p03_r00_v02_c06")  # an activity of all protocols
    test_smarthome.touch(root, video, skeletons)
    test_smarthome.write(root / skeletons, [[test_smarthome.person()]] * 2)
    return root


def written(write: Callable[[Path], object]) -> Callable[[Path], Path]:
    def root_of(root: Path) -> Path:
        write(root)
        return root

    return root_of


ROOTS: dict[str, Callable[[Path], Path]] = {
    "ntu_rgbd": write_ntu,
    "ntu_rgbd_120": write_ntu,
    "msr_daily": write_msr_daily,
    "sbu": written(test_sbu.write_clip),
    "nucla": written(test_nucla.write_json),
    "smarthome": write_smarthome,
    "smarthome_cross_view": write_smarthome,
    "jhmdb": lambda root: write_jhmdb(root, "splits"),
    "sub_jhmdb": lambda root: write_jhmdb(root, "sub_splits"),
    "penn_action": written(test_penn_action.write),
    "own": test_own.kitchen,
}
"""Name → writes a small data root, returns what `open_dataset` takes."""


def test_every_data_set_is_written_here():
    assert list(ROOTS) == list(DATASETS)


def test_every_data_set_class_has_a_name(tmp_path):
    opened = set()
    for name in DATASETS:
        (tmp_path / name).mkdir()
        opened.update(type(open_dataset(name, ROOTS[name](tmp_path / name), video=True)).__mro__)
    modules = [importlib.import_module(f"{datasets.__name__}.{module.name}") for module in iter_modules(datasets.__path__)]
    classes = {kind for module in modules for _, kind in inspect.getmembers(module, inspect.isclass)}
    without_poses = {ListedClips}  # videos and labels alone: nothing is trained on them before poses are there
    assert {kind for kind in classes if hasattr(kind, "protocols")} <= {*opened, ActionDataset, *without_poses}


@pytest.mark.parametrize("video", [True, False])
@pytest.mark.parametrize("name", DATASETS)
def test_interface(name, video, tmp_path):
    dataset = open_dataset(name, str(ROOTS[name](tmp_path)), video=video)
    assert dataset.name == {"own": "clips", "smarthome_cross_view": "smarthome"}.get(name, name)
    assert dataset.root == tmp_path
    assert all(isinstance(text, str) for text in dataset.class_names) and len(set(dataset.class_names)) == len(
        dataset.class_names
    )
    assert isinstance(dataset.cleaning, CleaningConfig)
    assert dataset.metrics == (("mean_class_accuracy", "accuracy") if name.startswith("smarthome") else ("accuracy",))
    ids = [record.clip_id for record in dataset.records]
    assert ids and ids == sorted(set(ids))
    assert all(isinstance(record, ClipRecord) and 0 <= record.label < len(dataset.class_names) for record in dataset.records)
    assert all(isinstance(clip, LeftOut) and clip.reason for clip in dataset.left_out)
    protocols = dataset.protocols()
    assert protocols and all(isinstance(split, Split) for split in protocols.values())
    for split in protocols.values():
        assert set(split.train) | set(split.test) <= set(ids) and not set(split.train) & set(split.test)
    assert all(isinstance(mismatch, CountMismatch) for mismatch in dataset.count_mismatches())
    assert bool(dataset.count_mismatches()) == (name != "own")  # none of these small roots is the whole data set
    sequence = dataset.load_skeleton(dataset.records[0])
    assert isinstance(sequence, SkeletonSequence) and sequence.layout == dataset.records[0].layout
    assert pickle.loads(pickle.dumps(dataset)).records == dataset.records  # travels to worker processes


@pytest.mark.parametrize(("name", "lists"), [("jhmdb", "splits"), ("sub_jhmdb", "sub_splits")])
def test_videos_of_jhmdb_need_no_joints(name, lists, tmp_path):
    write_jhmdb(tmp_path, lists)
    (tmp_path / "joint_positions" / "catch" / "b" / "joint_positions.mat").unlink()
    dataset = open_videos(name, tmp_path)
    assert (dataset.name, [record.clip_id for record in dataset.records]) == (name, ["a", "b"])
    assert [record.clip_id for record in open_dataset(name, tmp_path, video=True).records] == ["a"]


def test_videos_of_other_data_sets_come_with_their_skeletons(tmp_path):
    write_ntu(tmp_path)
    assert open_videos("ntu_rgbd", tmp_path).records == open_dataset("ntu_rgbd", tmp_path, video=True).records
    with pytest.raises(ConfigError, match="unknown data set"):
        open_videos("hmdb", tmp_path)


@pytest.mark.parametrize("name", DATASETS)
def test_members_have_the_signatures_of_the_interface(name, tmp_path):
    dataset = open_dataset(name, ROOTS[name](tmp_path), video=False)
    for method in ("load_skeleton", "protocols", "count_mismatches"):
        found, wanted = inspect.signature(getattr(dataset, method)), inspect.signature(getattr(ActionDataset, method))
        assert list(found.parameters) == list(wanted.parameters)[1:] and found.return_annotation == wanted.return_annotation
    for attribute in ActionDataset.__annotations__:
        assert hasattr(dataset, attribute), attribute


@pytest.mark.parametrize("name", ["ntu_rgbd", "ntu_rgbd_120", "smarthome", "smarthome_cross_view", "jhmdb", "sub_jhmdb"])
def test_video_decides_whether_clips_without_one_are_left_out(name, tmp_path):
    root = ROOTS[name](tmp_path)
    with_video = {record.clip_id for record in open_dataset(name, root, video=True).records}
    videos = [path for path in root.rglob("*") if path.suffix in (".avi", ".mp4")]
    assert videos
    for video in videos:
        video.unlink()
    assert {record.clip_id for record in open_dataset(name, root, video=False).records} == with_video
    with pytest.raises(DatasetError, match=r'no video.*modality="skeleton"'):
        open_dataset(name, root, video=True)


def test_the_cross_view_measurement_of_smarthome_has_protocols_and_classes_of_its_own(tmp_path):
    root = write_smarthome(tmp_path)
    subjects, views = (open_dataset(name, root, video=False) for name in ("smarthome", "smarthome_cross_view"))
    assert (len(subjects.class_names), len(views.class_names)) == (31, 19)  # as published
    assert (list(subjects.protocols()), list(views.protocols())) == (["cross_subject"], ["cross_view1", "cross_view2"])


def test_unknown_name(tmp_path):
    with pytest.raises(ConfigError, match=r"unknown data set \(found 'ntu', expected one of ntu_rgbd, ntu_rgbd_120, .*, own\)"):
        open_dataset("ntu", tmp_path, video=False)


@pytest.mark.parametrize("name", DATASETS)
def test_missing_folder(name, tmp_path):
    with pytest.raises(DatasetError, match="nothing"):
        open_dataset(name, tmp_path / "nothing", video=False)


# The script -------------------------------------------------------------------------------------------------------------------


def check(*arguments) -> subprocess.CompletedProcess:
    command = [sys.executable, str(REPOSITORY / "preprocessing" / "check_dataset.py"), *map(str, arguments)]
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY)}  # also where the package is not installed
    return subprocess.run(command, capture_output=True, text=True, check=False, env=environment)


def test_script_counts_ntu_by_default(tmp_path):
    (write_ntu(tmp_path) / "mine_rgb.avi").touch()
    result = check(tmp_path)
    assert result.returncode == 0, result.stderr
    lines = result.stdout.splitlines()
    assert lines[0] == "ntu_rgbd: 1 clips of 60 classes, 1 left out"
    assert "cross_subject: 1 train, 0 test" in lines
    # 40,320 published, 229 of them among the missing ones
    assert any(line.startswith("differs: cross_subject train: 1 clips, 40091 were published") for line in lines)
    assert any(line.startswith("left out: 1 clips, listed by") for line in lines)
    assert any(line.startswith("ignored: 1 files") and line.endswith("mine_rgb.avi") for line in lines)


def test_script_counts_any_data_set(tmp_path):
    result = check("--dataset", "sbu", ROOTS["sbu"](tmp_path))
    assert result.returncode == 0, result.stderr
    assert result.stdout.splitlines()[0] == "sbu: 1 clips of 8 classes, 0 left out"
    assert "differs: fold1 test: " in result.stdout


def test_script_without_videos(tmp_path):
    write_ntu(tmp_path)
    for video in tmp_path.glob("*.avi"):
        video.unlink()
    assert check("--modality", "skeleton", tmp_path).returncode == 0
    result = check(tmp_path)
    assert result.returncode == 1 and "no video file" in result.stderr


def test_script_names_the_fault(tmp_path):
    result = check(tmp_path / "nothing")
    assert result.returncode == 1 and "is no folder" in result.stderr and "Traceback" not in result.stderr
