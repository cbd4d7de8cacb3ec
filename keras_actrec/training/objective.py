"""What a stage minimises where classification is not all: cross-entropy and further terms, each of one output of the model."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from math import isfinite

import keras
from keras import ops

from keras_actrec.errors import ConfigError

LOGITS = "logits"
LABELS = "labels"
"""In the place of an array that is a target: the targets of the logits themselves."""


@dataclass(frozen=True, eq=False)
class Objective:
    """weights["logits"] · cross-entropy + Σ weights[name] · losses[name](target, output `name`), e.g. VPN, equation 5.

    Attributes:
        weights: "logits" and each name in `losses` → weight of the term, at least 0.
        losses: name of an output → its loss, one value per row (B,) whose weighted mean is taken, see `losses.py`. It has to be
            finite for every row: padding rows have weight 0, which takes no NaN out of a mean.
        targets: name in `losses` → name of the array that the source gives beside the inputs of the stream and that is the
            loss's target, e.g. Glimpse Clouds: {"pose": "joints"}. An array may be the target of several outputs, and an input
            too. Its shape need not be that of the output. "labels" is no array of the source but what the logits learn: classes
            (B,), or distributions over them (B, classes) where labels are smoothed, e.g. RPAN: {"step_logits": "labels"}. The
            target of outputs without an entry is float32 (B,), all 0.

    Raises:
        ConfigError: other names in `weights` than "logits" and those of `losses`, a weight that is negative or no number, a
            loss that is no Keras loss or does not take the mean over the rows, a target of an output that has no loss.
    """

    weights: Mapping[str, float]
    losses: Mapping[str, keras.losses.Loss]
    targets: Mapping[str, str] = field(default_factory=dict)

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
        for name in self.targets:
            if name not in self.losses:
                raise ConfigError(
                    "the objective has a target for an output without a loss", found=name, expected=", ".join(self.losses)
                )

    @property
    def arrays(self) -> tuple[str, ...]:
        """Names of the arrays of the source that are targets, each once; the labels are none of them."""
        return tuple(dict.fromkeys(array for array in self.targets.values() if array != LABELS))

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

    def batch_targets(self, labels: keras.KerasTensor, arrays: Mapping[str, keras.KerasTensor]) -> dict[str, keras.KerasTensor]:
        """The targets of all terms.

        Args:
            labels: targets of the logits, (B,) or (B, classes).
            arrays: name → array of the batch; those in `arrays` among them.

        Returns:
            Output → its target: the labels, the array that `targets` names, or zeros (B,).
        """
        known = {**arrays, LABELS: labels}
        zeros = ops.zeros(ops.shape(labels)[:1])
        named = {name: known[self.targets[name]] if name in self.targets else zeros for name in self.losses}
        return {LOGITS: labels, **named}

    def history_names(self) -> dict[str, str]:
        """Name of a number of Keras's → its name in a stage's history, which is the same for every stage."""
        return {f"{part}{LOGITS}_accuracy": f"{part}accuracy" for part in ("", "val_")}

    def as_json(self) -> dict[str, object]:
        """Output → weight, class and settings of its loss, and its target: what a checkpoint knows the objective by."""
        terms: dict[str, object] = {LOGITS: {"weight": float(self.weights[LOGITS])}}
        for name, loss in self.losses.items():
            # Keras numbers the names of losses within a process.
            settings = {key: value for key, value in loss.get_config().items() if key != "name"}
            kind = keras.saving.get_registered_name(type(loss))
            terms[name] = {"weight": float(self.weights[name]), "loss": kind, "settings": json.loads(json.dumps(settings))}
            if name in self.targets:
                terms[name] |= {"target": self.targets[name]}
        return terms
