"""Small data roots in the formats of SBU Kinect Interaction and Northwestern-UCLA, and runs that train nothing."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from keras_actrec.datasets.record import ActionDataset
from keras_actrec.datasets.sbu import SETS
from keras_actrec.models.sta_hands import preset
from keras_actrec.recipes.sta_hands.experiment import Experiment
from tests.datasets.test_nucla import write_json
from tests.datasets.test_sbu import row
from tests.datasets.test_sbu import write_clip as write_sbu_clip

FRAMES = 6


def write_sbu(root: Path) -> Path:
    """21 sets of the classes 1 and 2: 42 clips with bodies at random places; fold 1 tests 8 of them."""
    rng = np.random.default_rng(0)
    for pair in SETS:
        for action in (1, 2):
            frames = [row(frame, rng.uniform(0.3, 0.7, 90)) for frame in range(FRAMES)]
            write_sbu_clip(root, f"{pair}/{action:02}/001", frames)
    return root


def write_nucla(root: Path) -> Path:
    """2 actions of 4 subjects before 3 cameras: 24 clips, of which view 3 tests 8."""
    rng = np.random.default_rng(1)
    for name in (f"a{a:02}_s{s:02}_e00_v{v:02}" for a in (1, 2) for s in (1, 2, 3, 4) for v in (1, 2, 3)):
        write_json(root, name, skeletons=rng.uniform(0.5, 2, (FRAMES, 20, 3)).tolist())
    return root


def runs_without_training(
    calls: list[tuple[Experiment, tuple[str, ...]]], accuracy: Callable[[Experiment], float] = lambda experiment: 0.5
) -> Callable[[ActionDataset, Experiment, Sequence[str]], None]:
    """In place of `run_folds`: notes its arguments in `calls` and writes a metrics.json with the accuracy given."""

    def run(dataset, experiment, protocols):
        calls.append((experiment, tuple(protocols)))
        streams = {"both": ("pose", "rgb", "fused"), "pose": ("pose",), "rgb": ("rgb",)}[preset(experiment.preset, 2).streams]
        content = {
            "dataset": dataset.name,
            "protocol": protocols[0] if len(protocols) == 1 else f"{len(protocols)}-fold",
            "model": "sta_hands",
            "preset": experiment.settings or experiment.preset,
            "seed": experiment.seed,
            "clips": {"test": 8},
            "accuracy": {stream: accuracy(experiment) for stream in streams},
        }
        experiment.workdir.mkdir(parents=True)
        (experiment.workdir / "metrics.json").write_text(json.dumps(content))

    return run
