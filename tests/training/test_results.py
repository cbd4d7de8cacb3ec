"""metrics.json and left_out.csv."""

from __future__ import annotations

import json
import sys
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from keras_actrec.datasets.record import LeftOut
from keras_actrec.errors import ConfigError
from keras_actrec.training.evaluation import Evaluation
from keras_actrec.training.results import RunDescription, write_left_out, write_metrics

RUN = RunDescription(
    dataset="ntu_rgbd",
    protocol="cross_subject",
    model="sta_hands",
    preset="sta_hands_paper",
    seed=7,
    clips={"train": 95, "validation": 5, "test": 2},
    weights={"sensor": "imagenet", "sensor_checksum": "ab12"},
)
LEFT_OUT = (
    LeftOut("S001C001P001R001A001", "index", "missing skeleton"),
    LeftOut("S001C001P001R001A002", "index", "missing skeleton"),
    LeftOut("S001C001P001R001A003", "poses", 'no body, "empty"', "S001C001P001R001A003.skeleton"),
)
NAMES = ("drink", "eat", "wave")


def evaluation() -> Evaluation:
    """Two clips of classes 0 and 1; none of class 2."""
    pose, rgb = np.float32([[1, 0, 0], [1, 0, 0]]), np.float32([[0, 1, 0], [0, 3, 0]])
    return Evaluation(("a", "b"), np.int32([0, 1]), {"pose": pose, "rgb": rgb, "fused": pose + rgb}, 10)


def strict(text: str) -> dict:
    """JSON without NaN or Infinity."""
    return json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))


def test_metrics_hold_what_a_reader_needs_to_compare(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["experiments/ntu_pose_rgb.py", "--workdir", "runs/a b"])
    returned = write_metrics(tmp_path / "metrics.json", RUN, evaluation(), NAMES, LEFT_OUT, extra={"seconds": 12.5})
    metrics = strict((tmp_path / "metrics.json").read_text())
    assert metrics == json.loads(json.dumps(returned))
    # fused scores: [1, 1, 0] and [1, 3, 0]; a tie goes to the lower class.
    assert metrics["accuracy"] == {"pose": 0.5, "rgb": 0.5, "fused": 1.0}
    assert metrics["mean_class_accuracy"]["pose"] == 0.5
    assert metrics["per_class"]["eat"] == {"clips": 1, "pose": 0.0, "rgb": 1.0, "fused": 1.0}
    assert metrics["per_class"]["wave"] == {"clips": 0, "pose": None, "rgb": None, "fused": None}
    assert metrics["clips"] == {
        "train": 95,
        "validation": 5,
        "test": 2,
        "left_out": 3,
        "left_out_reasons": {"index: missing skeleton": 2, 'poses: no body, "empty"': 1},
    }
    for key in ("dataset", "protocol", "model", "preset", "seed", "weights", "fold"):
        assert metrics[key] == json.loads(json.dumps(getattr(RUN, key)))
    assert (metrics["subsequences_per_clip"], metrics["pooling"]) == (10, "mean")
    assert metrics["command"].endswith("experiments/ntu_pose_rgb.py --workdir 'runs/a b'")
    assert {"python", "keras_actrec", "tensorflow", "keras", "numpy"} <= set(metrics["versions"])
    assert metrics["seconds"] == 12.5
    assert [path.name for path in tmp_path.iterdir()] == ["metrics.json"]


def test_metrics_say_that_scores_are_maxima(tmp_path):
    write_metrics(tmp_path / "metrics.json", RUN, replace(evaluation(), pooling="max"), NAMES)
    assert strict((tmp_path / "metrics.json").read_text())["pooling"] == "max"


def test_class_names_have_to_fit(tmp_path):
    with pytest.raises(ConfigError, match=r"class names do not fit .*found 2, expected 3"):
        write_metrics(tmp_path / "metrics.json", RUN, evaluation(), NAMES[:2])
    assert not list(tmp_path.iterdir())


def test_extra_results_replace_nothing(tmp_path):
    with pytest.raises(ConfigError, match="accuracy"):
        write_metrics(tmp_path / "metrics.json", RUN, evaluation(), NAMES, extra={"accuracy": 1})


def test_left_out_clips_as_a_table(tmp_path):
    sides = {LEFT_OUT[0].clip_id: "test", LEFT_OUT[2].clip_id: "train"}
    write_left_out(tmp_path / "left_out.csv", LEFT_OUT, side_of=lambda clip: sides.get(clip, ""))
    table = pd.read_csv(tmp_path / "left_out.csv", keep_default_na=False)
    assert list(table.columns) == ["clip_id", "stage", "reason", "file", "side"]
    assert list(table.pop("side")) == ["test", "", "train"]
    assert [LeftOut(*row) for row in table.itertuples(index=False)] == list(LEFT_OUT)


def test_no_left_out_clips_leave_the_header(tmp_path):
    write_left_out(tmp_path / "left_out.csv", ())
    assert (tmp_path / "left_out.csv").read_text().strip() == "clip_id,stage,reason,file,side"
