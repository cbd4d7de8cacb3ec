"""The embedded default, in full: each stream is good at what it can see, and the two together beat both."""

from __future__ import annotations

from dataclasses import replace

import pytest

from keras_actrec.recipes.reports import ExperimentResult
from keras_actrec.recipes.seeds import with_seed
from keras_actrec.recipes.sta_hands.two_stream import embedded_default, run_two_stream

SEEDS = (0, 1, 2)


@pytest.fixture(scope="module")
def results(tmp_path_factory) -> dict[int, ExperimentResult]:
    """Seed → result, on one data set. Random sensor weights, so that it is the same with and without a network."""
    place = tmp_path_factory.mktemp("embedded_default")
    found = {}
    for seed in SEEDS:
        experiment = embedded_default(place / f"seed{seed}")
        experiment = replace(
            experiment, cache_dir=place / "cache", sensor=replace(experiment.sensor, weights="random")
        )  # fmt: skip
        found[seed] = run_two_stream(with_seed(experiment, seed))
    return found


@pytest.mark.slow
@pytest.mark.parametrize("seed", SEEDS)
def test_fused_beats_both_streams(results, seed):
    accuracy = results[seed].metrics["accuracy"]
    assert accuracy["fused"] > max(accuracy["pose"], accuracy["rgb"]), accuracy


@pytest.mark.slow
@pytest.mark.parametrize("seed", SEEDS)
def test_pose_tells_motions_apart_and_not_what_is_held(results, seed):
    by_kind = results[seed].metrics["accuracy_by_kind"]["pose"]
    # Three object classes share one movement: guessing gives 1/3.
    assert by_kind["object"] <= 0.5 and by_kind["motion"] > 0.9, by_kind


@pytest.mark.slow
@pytest.mark.parametrize("seed", SEEDS)
def test_rgb_sees_what_is_held(results, seed):
    by_kind = results[seed].metrics["accuracy_by_kind"]["rgb"]
    assert by_kind["object"] > 0.9, by_kind
