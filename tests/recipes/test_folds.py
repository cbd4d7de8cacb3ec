"""Several protocols one after the other: their places, their mean, and one alone."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from keras_actrec.errors import DatasetError
from keras_actrec.recipes.folds import run_protocols
from keras_actrec.recipes.rpan.experiment import RPANExperiment

FOUND = {"split1": (0.5, 0.25, 10), "split2": (0.75, 0.5, 20)}  # accuracies of RGB and flow, test clips


def noted(calls: list[RPANExperiment]):
    """In place of a run: notes its experiment and gives what a run finds."""

    def run(experiment: RPANExperiment) -> dict:
        calls.append(experiment)
        rgb, flow, clips = FOUND[experiment.protocol]
        return {
            "dataset": "d", "protocol": experiment.protocol, "model": "rpan", "preset": experiment.preset, "seed": 0,
            "weights": {"rgb": "w"}, "subsequences_per_clip": 1, "command": "c", "versions": {},
            "configuration": {"train": "t"},
            "clips": {"train": 5, "validation": 1, "test": clips, "left_out": 3}, "seconds": 1.5,
            **{metric: {"rgb": rgb, "flow": flow} for metric in ("accuracy", "mean_class_accuracy", "macro_f1")},
        }  # fmt: skip

    return run


def test_the_mean_of_two(tmp_path):
    calls: list[RPANExperiment] = []
    metrics = run_protocols(RPANExperiment(tmp_path / "w", protocol="split3"), ("split1", "split2"), noted(calls))
    assert [(one.protocol, one.workdir, one.caches) for one in calls] == [
        (name, tmp_path / "w" / name, tmp_path / "w" / "cache") for name in ("split1", "split2")
    ]  # fmt: skip
    assert metrics["protocol"] == "2-fold" and metrics["clips"] == {"test": 30, "left_out": 3} and metrics["seconds"] == 3.0
    for metric in ("accuracy", "mean_class_accuracy", "macro_f1"):
        assert metrics[metric] == {"rgb": 0.625, "flow": 0.375}
    assert {name: fold["accuracy"]["flow"] for name, fold in metrics["folds"].items()} == {"split1": 0.25, "split2": 0.5}
    assert (metrics["model"], metrics["weights"], metrics["configuration"]) == ("rpan", {"rgb": "w"}, {"train": "t"})
    assert json.loads((tmp_path / "w" / "metrics.json").read_text()) == metrics


def test_a_name_of_their_own(tmp_path):
    assert run_protocols(RPANExperiment(tmp_path), ("split1", "split2"), noted([]), name="both")["protocol"] == "both"


def test_one_alone_keeps_its_name_and_its_place(tmp_path):
    calls: list[RPANExperiment] = []
    metrics = run_protocols(RPANExperiment(tmp_path / "w", cache_dir=Path("c")), ("split2",), noted(calls), name="all")
    assert [(one.protocol, one.workdir, one.caches) for one in calls] == [("split2", tmp_path / "w", Path("c"))]
    assert metrics == noted([])(calls[0]), "what the run itself found, whose metrics.json it wrote"
    assert not (tmp_path / "w").exists()


def test_an_error_of_a_run_passes_through(tmp_path):
    def fails(experiment):
        raise DatasetError("no clip to train on")

    with pytest.raises(DatasetError, match="no clip to train on"):
        run_protocols(RPANExperiment(tmp_path), ("split1", "split2"), fails)
    assert not (tmp_path / "metrics.json").exists()
