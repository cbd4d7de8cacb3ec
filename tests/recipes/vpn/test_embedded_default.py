"""The embedded default of VPN, in full: on the maps of a random backbone it learns what guessing does not give."""

from __future__ import annotations

from dataclasses import replace

import pytest

from keras_actrec.recipes.reports import ExperimentResult
from keras_actrec.recipes.seeds import with_seed
from keras_actrec.recipes.sta_hands.two_stream import accuracy_by_kind, open_synthetic
from keras_actrec.recipes.vpn.experiment import embedded_default
from keras_actrec.recipes.vpn.run import run_vpn_experiment

SEEDS = (0,)


@pytest.fixture(scope="module")
def results(tmp_path_factory) -> dict[int, ExperimentResult]:
    """Seed → result, on one data set and one cache of maps; what `python experiments/ntu_vpn.py` runs."""
    place = tmp_path_factory.mktemp("vpn_embedded_default")
    found = {}
    for seed in SEEDS:
        experiment = with_seed(replace(embedded_default(place / f"seed{seed}"), cache_dir=place / "cache"), seed)
        dataset = open_synthetic(experiment.caches, experiment.synthetic)
        found[seed] = run_vpn_experiment(dataset, experiment, extra=accuracy_by_kind)
    return found


@pytest.mark.slow
@pytest.mark.parametrize("seed", SEEDS)
def test_it_learns_the_nine_classes(results, seed):
    metrics = results[seed].metrics
    assert metrics["clips"]["test"] == 81 and metrics["clips"]["left_out"] == 0
    # Guessing gives 1/9, and more than a quarter in one of a thousand tests; seeds 0, 1, 2 gave 0.47, 0.43, 0.33.
    assert metrics["accuracy"]["vpn"] > 0.25, metrics["accuracy_by_kind"]
