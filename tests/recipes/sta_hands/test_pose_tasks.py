"""How the poses of each data set are used: every task fits the data set that it is for."""

from __future__ import annotations

import pytest

from keras_actrec.datasets.catalogue import DATASETS, open_dataset
from keras_actrec.extraction.poses import dataset_layout
from keras_actrec.recipes.sta_hands.pose import SETTINGS, TASKS, pose_experiment, task_of
from keras_actrec.skeletons.retarget import retarget_map
from tests.datasets.test_catalogue import ROOTS


def test_every_data_set_has_a_task():
    assert set(TASKS) - {"synthetic_ntu"} == set(DATASETS) - {"own"}


@pytest.mark.parametrize("name", DATASETS)
def test_a_task_names_protocols_and_a_layout_that_the_data_set_can_give(name, tmp_path):
    dataset = open_dataset(name, ROOTS[name](tmp_path), video=False)
    task = task_of(name, dataset)
    assert task.protocols and set(task.protocols) <= set(dataset.protocols())
    for settings in SETTINGS:
        experiment = pose_experiment(task, settings, tmp_path / "run")
        assert experiment.protocol == task.protocols[0]
        layout = experiment.joint_layout(dataset)
        retarget_map(dataset_layout(dataset), layout)  # raises ConfigError where a joint cannot be derived
        # Layouts without a spine are rooted at a hip, so that a pose tensor would be centred on it.
        assert name == "own" or layout.joints[layout.root] == "spine_mid"


def test_smarthome_is_measured_across_people_and_across_views():
    assert TASKS["smarthome"].protocols == ("cross_subject",)
    assert TASKS["smarthome_cross_view"].protocols == ("cross_view2",)
