"""What decides one training stage."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from math import isfinite

from keras_actrec.errors import ConfigError

OPTIMIZERS = ("adam", "sgd")
SCHEDULES = ("constant", "cosine", "step")
KEEPS = ("best", "last")
DECAYS = ("decoupled", "coupled")


@dataclass(frozen=True)
class StageConfig:
    """One training stage (paper section 4: Adam, 1e-4, batch 64, early stopping on held-out training clips).

    Attributes:
        name: folder of the stage's files below the working directory.
        learning_rate: of the optimizer; with a schedule the highest.
        batch_size: clips per step, over all devices.
        epochs: most epochs that are trained.
        patience: epochs without a lower validation loss after which training stops; without effect where the stage does not
            stop early, see `stops_early`.
        weight_decay: weight decay λ of either optimizer, of all variables that train; how it acts, `decay` says.
        checkpoint_seconds: fewest seconds between two checkpoints; 0 writes one after every epoch. A killed run repeats the
            epochs since the last one, with the same result.
        schedule: of the learning rate, step by step. "constant", or "cosine": from 0 linearly up over `warmup_epochs`, then
            half a cosine down to 0 at the end of `epochs` (I. Loshchilov, F. Hutter, "SGDR", ICLR 2017, without restarts), or
            "step": learning_rate · step_factor^(epoch // step_epochs), epochs counted from 0 (VPN, section 4.1). The latter two
            always train all epochs: one that is stopped halfway has not annealed, and with steps the loss stands still before
            a rate falls and gets lower after, so that patience would run out where the small rates begin.
        warmup_epochs: epochs of "cosine" during which the learning rate rises, fewer than `epochs`.
        label_smoothing: share ε of a training target that all classes have in common, the clip's own included:
            1 - ε + ε / classes for the clip's class, ε / classes for the others (C. Szegedy et al., "Rethinking the Inception
            Architecture", CVPR 2016). The validation loss is without, so that the losses of different ε compare.
        keep: weights that the stage ends with: "best", of the epoch of the lowest validation loss, or "last", of the last
            epoch, as for a schedule that ends at 0; then all epochs are trained. The validation loss is that of the whole
            objective, where a stage has one of several terms.
        seed: order of the clips, random sub-sequences, dropout.
        jit_compile: XLA: True, False, or "auto", which leaves it to Keras (on for one GPU without a strategy, else off).
        optimizer: "adam", or "sgd", stochastic gradient descent with `momentum`.
        momentum: share of the last step that the next one of "sgd" repeats (the step, not the gradient: after the rate has
            fallen, the steps before it still count with the rate that they were taken with); without effect on "adam".
        step_epochs: epochs with the same rate in the schedule "step"; without effect on others.
        step_factor: what the rate is multiplied with after them; without effect on others.
        falls: how often the rate of "step" falls at most; 0 sets no limit (RPAN, section 4.1: once in 100 epochs, after 40).
        decay: "decoupled": before each step a variable loses learning rate · λ of itself ("adam": AdamW), or "coupled", of
            "sgd" alone: λθ is added to the gradient, so that it gains momentum as the rest does. That is the gradient of
            λ/2 ‖θ‖² in the loss, as Caffe has it (RPAN, equation 11); the losses of a history are without.

    Raises:
        ConfigError: a value out of range.
    """

    name: str
    learning_rate: float = 1e-4
    batch_size: int = 64
    epochs: int = 100
    patience: int = 10
    weight_decay: float = 0.0
    checkpoint_seconds: float = 0.0
    seed: int = 0
    jit_compile: bool | str = "auto"
    schedule: str = "constant"
    warmup_epochs: int = 0
    label_smoothing: float = 0.0
    keep: str = "best"
    optimizer: str = "adam"
    momentum: float = 0.9
    step_epochs: int = 10
    step_factor: float = 0.1
    falls: int = 0
    decay: str = "decoupled"

    def __post_init__(self):
        if not self.name or any(character in self.name for character in "/\\") or self.name.startswith("."):
            raise ConfigError("a stage's name has to be a folder name", found=repr(self.name), expected='e.g. "pose"')
        counts = {"batch_size": 1, "epochs": 1, "patience": 1, "seed": 0, "warmup_epochs": 0, "step_epochs": 1, "falls": 0}
        for field, least in counts.items():
            value = getattr(self, field)
            if isinstance(value, bool) or not isinstance(value, int) or value < least:
                self._refuse(field, f"an integer of at least {least}")
        if not (isfinite(self.learning_rate) and self.learning_rate > 0):
            self._refuse("learning_rate", "a number above 0")
        for field in ("weight_decay", "checkpoint_seconds"):
            if not (isfinite(getattr(self, field)) and getattr(self, field) >= 0):
                self._refuse(field, "0 or a number above 0")
        if self.jit_compile not in (True, False, "auto"):
            self._refuse("jit_compile", 'True, False or "auto"')
        for field, values in (("optimizer", OPTIMIZERS), ("schedule", SCHEDULES), ("keep", KEEPS), ("decay", DECAYS)):
            if getattr(self, field) not in values:
                self._refuse(field, " or ".join(f'"{value}"' for value in values))
        for field in ("label_smoothing", "momentum"):
            if not 0 <= getattr(self, field) < 1:  # not a number fails, too
                self._refuse(field, "a number from 0 to below 1")
        if not 0 < self.step_factor <= 1:
            self._refuse("step_factor", "a number above 0, at most 1")
        if self.decay == "coupled" and self.optimizer != "sgd":
            self._refuse("decay", '"decoupled": only the optimizer "sgd" has coupled weight decay')
        if self.warmup_epochs and self.schedule != "cosine":
            self._refuse("warmup_epochs", '0: only the schedule "cosine" has a warm-up')
        if self.warmup_epochs >= self.epochs:
            self._refuse("warmup_epochs", f"fewer than the {self.epochs} epochs")

    def with_epochs(self, epochs: int) -> StageConfig:
        """The same stage over another number of epochs; of a warm-up that does not fit in, all but the last epoch remain."""
        return replace(self, epochs=epochs, warmup_epochs=max(0, min(self.warmup_epochs, epochs - 1)))

    def _refuse(self, field: str, expected: str) -> None:
        raise ConfigError(f"stage {self.name}: {field} is out of range", found=repr(getattr(self, field)), expected=expected)

    @property
    def stops_early(self) -> bool:
        """Whether the stage ends when patience runs out, and not always after `epochs`."""
        return self.schedule == "constant" and self.keep == "best"

    def as_json(self) -> dict[str, object]:
        """Field → value, for checkpoints."""
        return asdict(self)


_ADDED = {
    **{"schedule": "constant", "warmup_epochs": 0, "label_smoothing": 0.0, "keep": "best"},
    **{"optimizer": "adam", "momentum": 0.9, "step_epochs": 10, "step_factor": 0.1, "falls": 0},
    **{"decay": "decoupled"},
}


def with_added_fields(run: Mapping[str, object]) -> dict[str, object]:
    """What a stage was started with, completed by the fields that `StageConfig` did not have then: their defaults."""
    return {**_ADDED, **run}
