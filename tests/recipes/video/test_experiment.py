"""What the experiments of all video networks share: places, layouts, how a paper uses a data set, values without sense."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

from keras_actrec.errors import ConfigError
from keras_actrec.recipes.video.experiment import VideoExperiment, paper_task
from keras_actrec.skeletons.layouts import KINECT_V2

W = Path("w")
DATASET = SimpleNamespace(records=(SimpleNamespace(layout=KINECT_V2),))


def test_places_and_layouts():
    assert VideoExperiment(W, "any").caches == W / "cache"
    assert VideoExperiment(W, "any", cache_dir=Path("c")).caches == Path("c")
    assert VideoExperiment(W, "any").joint_layout(DATASET) is KINECT_V2
    assert VideoExperiment(W, "any", layout="penn_13").joint_layout(DATASET).name == "penn_13"


def test_how_the_paper_uses_a_data_set():
    tasks = {"jhmdb": "split1", "penn_action": "split"}
    assert paper_task(tasks, "penn_action") == "split"
    with pytest.raises(ConfigError, match=r"no settings for this data set \(found 'sbu', expected jhmdb, penn_action\)"):
        paper_task(tasks, "sbu")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"holdout": 1.0}, r"holdout is a share.*found 1.0, expected 0 < holdout < 1"),
        ({"holdout_unit": "room"}, r"unknown holdout_unit \(found 'room', expected one of clip, subject, camera, setup\)"),
        ({"train": "head"}, r"unknown train \(found 'head', expected one of end_to_end, on_maps\)"),
        ({"layout": "kinect"}, r"unknown layout \(found 'kinect', expected one of None, kinect_v2"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_values_that_make_no_sense(changes, message):
    with pytest.raises(ConfigError, match=message):
        VideoExperiment(W, "any", **changes)
