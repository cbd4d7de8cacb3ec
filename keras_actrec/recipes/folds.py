"""Several protocols of a data set, one after the other on shared caches, and their mean: folds, the splits of JHMDB."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

import keras
import numpy as np

from keras_actrec.files import whole_file
from keras_actrec.recipes.report_page import leave_report
from keras_actrec.recipes.sta_hands.experiment import Experiment
from keras_actrec.recipes.together import chief_alone, connected
from keras_actrec.recipes.video.experiment import VideoExperiment

AnyRun = TypeVar("AnyRun", Experiment, VideoExperiment)
Metrics = Mapping[str, object]

_METRICS = ("accuracy", "mean_class_accuracy", "macro_f1")
_SAME = ("dataset", "model", "preset", "seed", "weights", "subsequences_per_clip", "command", "versions", "configuration")


def run_protocols(
    experiment: AnyRun, protocols: Sequence[str], run: Callable[[AnyRun], Metrics], *, name: str = ""
) -> dict[str, object]:
    """Runs one protocol after the other on shared caches and averages what they found.

    Files below `workdir`: metrics.json (mean over protocols of every metric), report.html over all of them, and a folder with
    the files of `run` for each protocol, where there are more than one.

    Args:
        experiment: what is done; its own protocol does not count.
        protocols: what is averaged.
        run: runs one protocol and gives the content of its metrics.json.
        name: what they are together, in result files; "" gives e.g. "5-fold". One protocol alone keeps its own.

    Returns:
        The content of metrics.json. Its "folds" hold the accuracies one by one.

    Raises:
        ActrecError: whatever `run` raises.
    """
    experiment = replace(experiment, cache_dir=experiment.caches)
    connected(experiment.strategy)  # before anything else
    if len(protocols) == 1:
        return dict(run(replace(experiment, protocol=protocols[0])))
    folds = []
    for protocol in protocols:
        keras.backend.clear_session()  # The graphs of the fold before are of no more use.
        folds.append(run(replace(experiment, protocol=protocol, workdir=experiment.workdir / protocol)))
    first = folds[0]
    means = {
        metric: {stream: float(np.mean([fold[metric][stream] for fold in folds])) for stream in first[metric]}
        for metric in _METRICS
    }
    metrics = {
        **{key: first[key] for key in _SAME},
        "protocol": name or f"{len(folds)}-fold",
        "clips": {"test": sum(fold["clips"]["test"] for fold in folds), "left_out": first["clips"]["left_out"]},
        **means,
        "folds": {key: {"accuracy": f["accuracy"], "clips": f["clips"]} for key, f in zip(protocols, folds, strict=True)},
        "seconds": round(sum(fold["seconds"] for fold in folds), 1),
    }
    chief_alone(experiment.strategy, lambda: _write(experiment.workdir, metrics))
    return metrics


def _write(workdir: Path, metrics: Metrics) -> None:
    with whole_file(workdir / "metrics.json") as part:
        part.write_text(json.dumps(metrics, indent=2) + "\n", encoding="utf-8")
    leave_report(workdir)
