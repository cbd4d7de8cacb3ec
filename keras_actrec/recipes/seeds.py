"""The same experiment from another seed."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import TypeVar

from keras_actrec.training.config import StageConfig

AnyExperiment = TypeVar("AnyExperiment")


def with_seed(experiment: AnyExperiment, seed: int) -> AnyExperiment:
    """The same experiment of any model from another seed, its stages included; the data, their views and the image network
    stay."""
    values = {field.name: getattr(experiment, field.name) for field in fields(experiment)}
    stages = {name: replace(value, seed=seed) for name, value in values.items() if isinstance(value, StageConfig)}
    return replace(experiment, seed=seed, **stages)
