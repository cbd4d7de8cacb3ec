"""Choosing settings: inner splits hold no test clip, and what is found on them cannot pass for a result."""

from __future__ import annotations

import itertools
import json
import pickle
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from keras_actrec.cache.schema import load_index
from keras_actrec.datasets.nucla import NorthwesternUCLA
from keras_actrec.datasets.record import ActionDataset
from keras_actrec.datasets.sbu import SBUKinect
from keras_actrec.errors import ConfigError, DatasetError
from keras_actrec.recipes.reports import ExperimentResult
from keras_actrec.recipes.sta_hands import pose
from keras_actrec.recipes.sta_hands.experiment import Experiment
from keras_actrec.recipes.sta_hands.pose import TASKS, pose_experiment
from keras_actrec.recipes.sta_hands.run import prepare_source
from keras_actrec.recipes.sta_hands.selection import UNITS, InnerSplits, run_selection
from keras_actrec.training.summary import SELECTION_PREFIX, summarise
from tests.datasets.test_nucla import write_json
from tests.recipes.small_data import write_nucla, write_sbu


@pytest.fixture(scope="module")
def sbu(tmp_path_factory) -> SBUKinect:
    return SBUKinect(write_sbu(tmp_path_factory.mktemp("sbu")))


@pytest.fixture(scope="module")
def nucla(tmp_path_factory) -> NorthwesternUCLA:
    return NorthwesternUCLA(write_nucla(tmp_path_factory.mktemp("nucla")))


# Splits -----------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "unit"),
    [*(("sbu", unit) for unit in UNITS if unit != "camera"), *(("nucla", unit) for unit in UNITS if unit != "setup")],
)
def test_no_test_clip_is_in_any_inner_split(request, name, unit):
    dataset = request.getfixturevalue(name)
    records = {record.clip_id: record for record in dataset.records}
    for protocol, outer in dataset.protocols().items():
        inner = InnerSplits(dataset, protocol, unit)
        assert [record.clip_id for record in inner.records] == list(outer.train)
        tested = []
        for split in inner.protocols().values():
            assert sorted(split.train + split.test) == sorted(outer.train) and split.train and split.test
            tested += split.test
            if unit != "clip":
                sides = [{getattr(records[clip], unit) for clip in side} for side in (split.train, split.test)]
                assert not sides[0] & sides[1]
        if unit != "clip":
            assert sorted(tested) == sorted(outer.train), "every training clip is tested once"


def test_cameras_of_northwestern_ucla(nucla):
    inner = InnerSplits(nucla, "view3", "camera")
    splits = inner.protocols()
    assert list(splits) == ["inner_camera1_of_view3", "inner_camera2_of_view3"]
    assert inner.selection == "inner_camera_of_view3"
    first, second = splits.values()
    assert {clip[-3:] for clip in first.test} == {"v01"} == {clip[-3:] for clip in second.train}
    assert {clip[-3:] for clip in first.train} == {"v02"} == {clip[-3:] for clip in second.test}
    assert len(first.test) == len(first.train) == 8  # 2 actions of 4 subjects


def test_many_values_are_dealt_out_in_turn(sbu):
    # Without the sets s01s02, s03s04, s05s02 and s06s04 of fold 1 all 7 actors still act: 5 folds, of which two test 2 actors.
    splits = InnerSplits(sbu, "fold1", "subject").protocols()
    actors = [{int(clip[1:3]) for clip in split.test} for split in splits.values()]
    assert actors == [{1, 6}, {2, 7}, {3}, {4}, {5}]
    assert list(splits) == [f"inner_subjects{fold}_of_fold1" for fold in range(1, 6)]
    three = InnerSplits(sbu, "fold1", "subject", folds=3).protocols()
    assert [{int(clip[1:3]) for clip in split.test} for split in three.values()] == [{1, 4, 7}, {2, 5}, {3, 6}]
    assert list(InnerSplits(sbu, "fold1", "subject", folds=7).protocols())[6] == "inner_subject7_of_fold1"


def test_a_fifth_of_the_clips_of_each_class(sbu):
    inner = InnerSplits(sbu, "fold1", "clip")
    ((name, split),) = inner.protocols().items()
    assert name == inner.selection == "inner_clip_of_fold1"
    # 17 sets of 2 classes: 34 clips, a fifth is 6.8: 7 clips, 3.5 of each class.
    labels = np.bincount([int(clip.split("_")[1]) - 1 for clip in split.test])
    assert sorted(labels.tolist()) == [3, 4] and len(split.train) == 27
    assert InnerSplits(sbu, "fold1", "clip").protocols() == {name: split}
    assert InnerSplits(sbu, "fold1", "clip", seed=1).protocols()[name].test != split.test


def test_names_can_be_folders_and_begin_alike(sbu, nucla):
    made = [(sbu, protocol, unit) for protocol in sbu.protocols() for unit in ("subject", "setup", "clip")]
    made += [(nucla, protocol, unit) for protocol in nucla.protocols() for unit in ("subject", "camera", "clip")]
    names = [list(InnerSplits(*arguments).protocols()) for arguments in made]
    flat = list(itertools.chain(*names))
    assert all(re.fullmatch(r"inner_[a-z0-9_]+", name) for name in flat) and len(set(flat)) == len(flat)
    assert SELECTION_PREFIX == "inner_" and not any(name.startswith("inner_") for name in (*sbu.protocols(), *TASKS))


def test_interface_of_a_data_set(nucla):
    inner = InnerSplits(nucla, "view3", "camera")
    for attribute in ActionDataset.__annotations__:
        assert hasattr(inner, attribute), attribute
    assert (inner.name, inner.class_names, inner.metrics) == (nucla.name, nucla.class_names, nucla.metrics)
    assert (inner.root, inner.cleaning, inner.count_mismatches()) == (nucla.root, nucla.cleaning, ())
    travelled = pickle.loads(pickle.dumps(inner))  # to worker processes
    assert travelled.records == inner.records and travelled.protocols() == inner.protocols()


def test_test_clips_do_not_load(nucla):
    inner = InnerSplits(nucla, "view3", "subject")
    for record in nucla.records:
        if record.camera == 3:
            with pytest.raises(DatasetError, match=rf"{record.clip_id}\.json: not a training clip of view3"):
                inner.load_skeleton(record)
        else:
            np.testing.assert_array_equal(inner.load_skeleton(record).joints, nucla.load_skeleton(record).joints)


@pytest.mark.parametrize(
    ("protocol", "unit", "folds", "message"),
    [
        ("view4", "camera", 5, r"unknown protocol \(found 'view4', expected one of view1, view2, view3"),
        ("view3", "room", 5, r"unknown unit \(found 'room', expected one of subject, camera, setup, clip"),
        ("view3", "setup", 5, r"cannot be split by setup \(found setup 0 in all of them.*another unit: subject, camera, clip"),
        ("view3", "camera", 1, r"too few folds for a selection \(found 1, expected at least 2"),
    ],
)
def test_splits_that_cannot_be(nucla, protocol, unit, folds, message):
    with pytest.raises(ConfigError, match=message):
        InnerSplits(nucla, protocol, unit, folds=folds)


def test_a_protocol_without_training_clips(tmp_path):
    write_json(tmp_path, "a01_s02_e03_v03")
    with pytest.raises(DatasetError, match=r"protocol view3 has no training clip to choose settings on \(found 1 usable clips"):
        InnerSplits(NorthwesternUCLA(tmp_path), "view3", "camera")


# Runs -------------------------------------------------------------------------------------------------------------------------


def short(workdir: Path) -> Experiment:
    experiment = pose_experiment(TASKS["nucla"], "paper", workdir)
    return replace(experiment, pose_stage=replace(experiment.pose_stage, epochs=1), holdout=0.2)


@pytest.fixture(scope="module")
def selection(tmp_path_factory) -> tuple[Path, dict[str, object]]:
    """Working directory and metrics of a selection by camera, one epoch each, on data whose test clips do not read."""
    place = tmp_path_factory.mktemp("selection")
    root = write_nucla(place / "nucla")
    for file in root.glob("*_v03.json"):
        file.write_text("not for selection")
    return place / "run", run_selection(NorthwesternUCLA(root), short(place / "run"), "view3", "camera")


def test_a_selection_trains_and_tests_on_training_clips(selection):
    workdir, metrics = selection
    assert metrics == json.loads((workdir / "metrics.json").read_text())
    assert metrics["protocol"] == "inner_camera_of_view3" and metrics["dataset"] == "nucla"
    assert metrics["clips"] == {"test": 16, "left_out": 0}, "views 1 and 2, nothing that does not read was asked for"
    for camera in (1, 2):
        name = f"inner_camera{camera}_of_view3"
        with np.load(workdir / name / "scores.npz") as scores:
            assert {str(clip)[-3:] for clip in scores["clip_ids"]} == {f"v0{camera}"}
        assert metrics["folds"][name]["clips"]["test"] == 8
        assert json.loads((workdir / name / "metrics.json").read_text())["protocol"] == name
    cached = {clip for clips in load_index(workdir / "cache" / "poses").shards for clip in clips}
    assert {clip[-3:] for clip in cached} == {"v01", "v02"}


@pytest.mark.parametrize("folder", [".", "inner_camera1_of_view3"])
def test_the_table_of_results_refuses_a_selection(selection, folder):
    workdir, _ = selection
    with pytest.raises(DatasetError, match=r"metrics\.json: .*it is no result \(found protocol inner_camera1?_of_view3"):
        summarise([workdir / folder / "metrics.json"], command="c")


def test_a_selection_by_clips_is_one_run_under_its_own_name(nucla, tmp_path, monkeypatch):
    calls = []

    def run(dataset, experiment):
        calls.append(experiment)
        return ExperimentResult({"protocol": experiment.protocol}, None, (), Path())

    monkeypatch.setattr(pose, "run_experiment", run)
    assert run_selection(nucla, short(tmp_path), "view3", "clip") == {"protocol": "inner_clip_of_view3"}
    assert [(e.protocol, e.workdir) for e in calls] == [("inner_clip_of_view3", tmp_path)]


def test_a_result_goes_on_with_the_cache_of_the_selection(nucla, tmp_path):
    experiment = short(tmp_path)
    chosen, _ = prepare_source(InnerSplits(nucla, "view3", "camera"), experiment)
    assert {clip[-3:] for clip in chosen.clip_ids} == {"v01", "v02"}
    source, left_out = prepare_source(nucla, experiment)
    assert len(source.clip_ids) == 24 and left_out == ()
    again, _ = prepare_source(InnerSplits(nucla, "view3", "camera"), experiment)
    assert again.clip_ids == chosen.clip_ids, "cached test clips stay out"
