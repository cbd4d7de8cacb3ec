"""What a stage minimises where classification is not all: cross-entropy and further terms, each of one output of the model."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from math import isfinite

import keras
import tensorflow as tf

from keras_actrec.errors import ConfigError

LOGITS = "logits"


@dataclass(frozen=True, eq=False)
class Objective:
    """weights["logits"] · cross-entropy + Σ weights[name] · losses[name](0, output `name`), e.g. VPN, equation 5.

    Attributes:
        weights: "logits" and each name in `losses` → weight of the term, at least 0.
        losses: name of an output → its loss, one value per row (B,) whose weighted mean is taken, see `losses.py`. The target
            it is given is float32 (B,), all 0.

    Raises:
        ConfigError: other names in `weights` than "logits" and those of `losses`, a weight that is negative or no number, a
            loss that is no Keras loss or does not take the mean over the rows.
    """

    weights: Mapping[str, float]
    losses: Mapping[str, keras.losses.Loss]

    def __post_init__(self):
        if LOGITS in self.losses:
            raise ConfigError(f'the objective has a loss for "{LOGITS}"', fix="leave it out: the logits are classified")
        if set(self.weights) != {LOGITS, *self.losses}:
            raise ConfigError(
                "the weights of the objective are not those of its terms",
                found=", ".join(self.weights), expected=", ".join((LOGITS, *self.losses)),
            )  # fmt: skip
        for name, weight in self.weights.items():
            if not (isfinite(weight) and weight >= 0):
                raise ConfigError(f"the weight of {name} in the objective is out of range", found=weight, expected="at least 0")
        for name, loss in self.losses.items():
            if not isinstance(loss, keras.losses.Loss):
                raise ConfigError(f"the loss of {name} is no Keras loss", found=repr(loss), fix="give an object, not its name")
            if loss.reduction not in ("sum_over_batch_size", "mean"):  # others do not add up to the mean over all real rows
                raise ConfigError(
                    f"the loss of {name} does not take the mean over rows", found=repr(loss.reduction),
                    expected='"sum_over_batch_size"',
                )  # fmt: skip

    def select(self, stream: keras.Model) -> keras.Model:
        """The stream limited to the outputs of the terms, on the same layers.

        Raises:
            ConfigError: the stream has no such outputs.
        """
        names = (LOGITS, *self.losses)
        outputs = stream.output if isinstance(stream.output, Mapping) else {}
        missing = [name for name in names if name not in outputs]
        if missing:
            raise ConfigError(
                f"model {stream.name} lacks outputs of the objective: {', '.join(missing)}",
                found=", ".join(outputs) if outputs else "no outputs with names", expected=", ".join(names),
            )  # fmt: skip
        return keras.Model(stream.input, {name: outputs[name] for name in names}, name=stream.name)

    def targets(self, labels: tf.Tensor) -> dict[str, tf.Tensor]:
        """Targets of the logits, (B,) or (B, classes) → targets of all terms; zeros (B,) for all others."""
        return {LOGITS: labels, **{name: tf.zeros(tf.shape(labels)[:1]) for name in self.losses}}

    def history_names(self) -> dict[str, str]:
        """Name of a number of Keras's → its name in a stage's history, which is the same for every stage."""
        return {f"{part}{LOGITS}_accuracy": f"{part}accuracy" for part in ("", "val_")}

    def as_json(self) -> dict[str, object]:
        """Output → weight, and class and settings of its loss: what a checkpoint knows the objective by."""
        terms: dict[str, object] = {LOGITS: {"weight": float(self.weights[LOGITS])}}
        for name, loss in self.losses.items():
            # Keras numbers the names of losses within a process.
            settings = {key: value for key, value in loss.get_config().items() if key != "name"}
            kind = keras.saving.get_registered_name(type(loss))
            terms[name] = {"weight": float(self.weights[name]), "loss": kind, "settings": json.loads(json.dumps(settings))}
        return terms
