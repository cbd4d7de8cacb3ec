"""Runs of the whole path, from files to the export, that the tests of the recipes share."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest
import tensorflow as tf

from keras_actrec.recipes.glimpse_clouds.experiment import GlimpseExperiment
from keras_actrec.recipes.glimpse_clouds.run import run_glimpse_experiment
from keras_actrec.recipes.reports import ExperimentResult
from keras_actrec.recipes.rpan.experiment import RPANExperiment
from keras_actrec.recipes.rpan.run import run_rpan_experiment
from keras_actrec.recipes.sta_hands.two_stream import SyntheticNTU, TwoStreamExperiment, accuracy_by_kind, run_two_stream
from keras_actrec.recipes.vpn.experiment import VPNExperiment
from keras_actrec.recipes.vpn.run import run_vpn_experiment
from tests.recipes import tiny_glimpse, tiny_rpan, tiny_vpn
from tests.recipes.small_data import write_nucla
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


@pytest.fixture(scope="session")
def nucla_root(tmp_path_factory) -> Path:
    """24 clips of Northwestern-UCLA without videos."""
    return write_nucla(tmp_path_factory.mktemp("nucla"))


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


@pytest.fixture
def small_networks():
    """Glimpse Clouds of few units, with a backbone of two convolutions."""
    with tiny_glimpse.small():
        yield


@pytest.fixture
def glimpse_export(monkeypatch) -> dict:
    """What would have been exported: tests/export has that."""
    found = {}

    def export(model, directory, **options):
        found.update(options, inputs=set(model.input), outputs=set(model.output), model=model)
        return directory

    monkeypatch.setattr("keras_actrec.recipes.glimpse_clouds.run.export_glimpse_clouds", export)
    return found


@pytest.fixture
def eagerly():
    """Nothing is traced, which takes most of the time of a run as small as these. TensorFlow warns of it for tf.data."""
    tf.config.run_functions_eagerly(True)
    yield
    tf.config.run_functions_eagerly(False)


@pytest.fixture
def quickly(monkeypatch, eagerly):
    """Nor is anything drawn."""
    for picture in ("confusion_matrix_png", "curves_png"):
        monkeypatch.setattr(f"keras_actrec.recipes.reports.{picture}", lambda *_: None)


@dataclass(frozen=True)
class RPANRun:
    """An experiment with RPAN, its data set and its result."""

    dataset: SyntheticNTU
    experiment: RPANExperiment
    result: ExperimentResult

    @property
    def workdir(self) -> Path:
        return self.experiment.workdir


@pytest.fixture(scope="session")
def rpan_data(tmp_path_factory) -> SyntheticNTU:
    root = tmp_path_factory.mktemp("rpan_data") / "ntu"
    tiny_rpan.write_root(root)
    return SyntheticNTU(root)


@pytest.fixture(scope="session")
def rpan_end_to_end(rpan_data, tmp_path_factory) -> RPANRun:
    """RGB and optical flow from the videos, with the joints of JHMDB."""
    experiment = tiny_rpan.tiny_rpan(tmp_path_factory.mktemp("rpan_end_to_end") / "run")
    with tiny_rpan.small():
        return RPANRun(rpan_data, experiment, run_rpan_experiment(rpan_data, experiment, extra=accuracy_by_kind))


@pytest.fixture(scope="session")
def rpan_on_maps(rpan_data, tmp_path_factory) -> RPANRun:
    """Both streams on the cubes of frozen CNNs."""
    place = tmp_path_factory.mktemp("rpan_on_maps")
    experiment = tiny_rpan.tiny_rpan(place / "run", cache_dir=place / "cache", train="on_maps")
    with tiny_rpan.small():
        return RPANRun(rpan_data, experiment, run_rpan_experiment(rpan_data, experiment))


@pytest.fixture
def small_rpan():
    """RPAN of few units, with a CNN of two convolutions."""
    with tiny_rpan.small():
        yield


@pytest.fixture
def rpan_exports(monkeypatch) -> dict[str, dict]:
    """What would have been exported, by the name of its folder: tests/export has that."""
    found: dict[str, dict] = {}

    def export(model, directory, **options):
        found[directory.name] = {**options, "inputs": set(model.input), "outputs": set(model.output), "model": model}
        return directory

    monkeypatch.setattr("keras_actrec.recipes.rpan.run.export_rpan", export)
    return found
