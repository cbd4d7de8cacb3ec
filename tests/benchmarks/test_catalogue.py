"""The list of benchmarks, and which of them can run."""

from __future__ import annotations

import importlib.util

import pytest
from suite import catalogue
from suite.catalogue import BENCHMARKS, Benchmark, keras_backend, why_left_out


@pytest.fixture
def without(monkeypatch):
    """Makes modules absent."""

    def forget(*modules: str) -> None:
        installed = catalogue.installed
        monkeypatch.setattr(catalogue, "installed", lambda module: module not in modules and installed(module))

    monkeypatch.delenv("KERAS_BACKEND", raising=False)
    return forget


def test_the_list_covers_what_is_to_be_measured():
    assert list(BENCHMARKS) == [
        "skeleton_parsing", "decode", "extraction", "processes", "cache_reads", "training_step", "training_memory",
        "prediction", "models", "saved_model",
    ]  # fmt: skip


@pytest.mark.parametrize("benchmark", BENCHMARKS.values(), ids=lambda benchmark: benchmark.name)
def test_every_benchmark_has_its_module(benchmark):
    assert importlib.util.find_spec(f"suite.{benchmark.module}") is not None


def test_keras_runs_on_tensorflow_where_it_is_installed_else_on_jax(without, monkeypatch):
    assert keras_backend() == "tensorflow"
    without("tensorflow")
    assert keras_backend() == "jax"
    monkeypatch.setenv("KERAS_BACKEND", "torch")
    assert keras_backend() == "torch"


def test_what_is_absent_is_named(without):
    without("tensorflow")
    assert why_left_out(Benchmark("b", "", "b", ("keras", "tensorflow"))) == "tensorflow is not installed"
    assert why_left_out(Benchmark("b", "", "b", ("keras",))) is None


def test_on_another_backend_those_that_need_tensorflow_are_left_out(monkeypatch):
    monkeypatch.setenv("KERAS_BACKEND", "jax")
    left_out = {name for name, benchmark in BENCHMARKS.items() if why_left_out(benchmark)}
    assert {"extraction", "training_step", "saved_model"} <= left_out
    assert left_out.isdisjoint({"skeleton_parsing", "decode", "prediction", "models"})
    assert why_left_out(BENCHMARKS["saved_model"]) == "it needs TensorFlow, and KERAS_BACKEND is jax"
