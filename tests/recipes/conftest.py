"""Runs of the whole path, from files to the export, that the tests of the recipes share."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest

from keras_actrec.recipes.glimpse_clouds import run_glimpse_experiment
from keras_actrec.recipes.glimpse_experiment import GlimpseExperiment
from keras_actrec.recipes.run import ExperimentResult
from keras_actrec.recipes.two_stream import SyntheticNTU, TwoStreamExperiment, accuracy_by_kind, run_two_stream
from keras_actrec.recipes.vpn import run_vpn_experiment
from keras_actrec.recipes.vpn_experiment import VPNExperiment
from tests.recipes import tiny_glimpse, tiny_vpn
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


@dataclass(frozen=True)
class VPNRun:
    """A VPN experiment, its data set and its result."""

    dataset: SyntheticNTU
    experiment: VPNExperiment
    result: ExperimentResult

    @property
    def workdir(self) -> Path:
        return self.experiment.workdir


@pytest.fixture(scope="session")
def vpn_data(tmp_path_factory) -> SyntheticNTU:
    root = tmp_path_factory.mktemp("vpn_data") / "ntu"
    tiny_vpn.write_root(root)
    return SyntheticNTU(root)


@pytest.fixture(scope="session")
def vpn_end_to_end(vpn_data, tmp_path_factory) -> VPNRun:
    """All 25 joints; the backbone trains."""
    experiment = tiny_vpn.tiny_vpn(tmp_path_factory.mktemp("vpn_end_to_end") / "run")
    return VPNRun(vpn_data, experiment, run_vpn_experiment(vpn_data, experiment, extra=accuracy_by_kind))


@pytest.fixture(scope="session")
def vpn_on_maps(vpn_data, tmp_path_factory) -> VPNRun:
    """Bodies retargeted to 13 joints; a frozen backbone."""
    place = tmp_path_factory.mktemp("vpn_on_maps")
    changes = {"cache_dir": place / "cache", "layout": "lcrnet_13", "train": "on_maps"}
    experiment = tiny_vpn.tiny_vpn(place / "run", **changes)
    return VPNRun(vpn_data, experiment, run_vpn_experiment(vpn_data, experiment))


@dataclass(frozen=True)
class GlimpseRun:
    """An experiment with Glimpse Clouds, its data set and its result."""

    dataset: SyntheticNTU
    experiment: GlimpseExperiment
    result: ExperimentResult

    @property
    def workdir(self) -> Path:
        return self.experiment.workdir


@pytest.fixture(scope="session")
def glimpse_data(tmp_path_factory) -> SyntheticNTU:
    root = tmp_path_factory.mktemp("glimpse_data") / "ntu"
    tiny_glimpse.write_root(root)
    return SyntheticNTU(root)


@pytest.fixture(scope="session")
def glimpse_end_to_end(glimpse_data, tmp_path_factory) -> GlimpseRun:
    """Both stages on whole frames, with all 25 joints."""
    experiment = tiny_glimpse.tiny_glimpse(tmp_path_factory.mktemp("glimpse_end_to_end") / "run")
    with tiny_glimpse.small():
        return GlimpseRun(glimpse_data, experiment, run_glimpse_experiment(glimpse_data, experiment, extra=accuracy_by_kind))


@pytest.fixture(scope="session")
def glimpse_on_maps(glimpse_data, tmp_path_factory) -> GlimpseRun:
    """A frozen backbone; bodies retargeted to 13 joints."""
    place = tmp_path_factory.mktemp("glimpse_on_maps")
    changes = {"cache_dir": place / "cache", "layout": "lcrnet_13", "train": "on_maps"}
    experiment = tiny_glimpse.tiny_glimpse(place / "run", **changes)
    with tiny_glimpse.small():
        return GlimpseRun(glimpse_data, experiment, run_glimpse_experiment(glimpse_data, experiment))
