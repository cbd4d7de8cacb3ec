"""One run of the whole path, from files to the export, that the tests of the recipes share."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest

from keras_actrec.recipes.run import ExperimentResult
from keras_actrec.recipes.two_stream import TwoStreamExperiment, run_two_stream
from tests.recipes.tiny import tiny_experiment, write_roots


@dataclass(frozen=True)
class TinyRun:
    """The experiment, its result, the data root that it read, and the same one without faults."""

    experiment: TwoStreamExperiment
    result: ExperimentResult
    root: Path
    whole_root: Path

    @property
    def workdir(self) -> Path:
        return self.experiment.workdir


@pytest.fixture(scope="session")
def tiny_run(tmp_path_factory) -> TinyRun:
    place = tmp_path_factory.mktemp("two_stream")
    write_roots(place / "whole", place / "ntu")
    experiment = tiny_experiment(place / "run", place / "ntu")
    return TinyRun(experiment, run_two_stream(experiment), place / "ntu", place / "whole")
