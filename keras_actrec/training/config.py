"""What decides one training stage."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from math import isfinite

from keras_actrec.errors import ConfigError


@dataclass(frozen=True)
class StageConfig:
    """One training stage (paper section 4: Adam, 1e-4, batch 64, early stopping on held-out training clips).

    Attributes:
        name: folder of the stage's files below the working directory.
        learning_rate: of Adam.
        batch_size: clips per step, over all devices.
        epochs: most epochs that are trained.
        patience: epochs without a lower validation loss after which training stops.
        weight_decay: decoupled weight decay (AdamW) per step and unit of learning rate; 0 gives plain Adam.
        checkpoint_seconds: fewest seconds between two checkpoints; 0 writes one after every epoch. A killed run repeats the
            epochs since the last one, with the same result.
        seed: order of the clips, random sub-sequences, dropout.
        jit_compile: XLA: True, False, or "auto", which leaves it to Keras (on for one GPU without a strategy, else off).

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

    def __post_init__(self):
        if not self.name or any(character in self.name for character in "/\\") or self.name.startswith("."):
            raise ConfigError("a stage's name has to be a folder name", found=repr(self.name), expected='e.g. "pose"')
        for field, least in (("batch_size", 1), ("epochs", 1), ("patience", 1), ("seed", 0)):
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

    def _refuse(self, field: str, expected: str) -> None:
        raise ConfigError(f"stage {self.name}: {field} is out of range", found=repr(getattr(self, field)), expected=expected)

    def as_json(self) -> dict[str, object]:
        """Field → value, for checkpoints."""
        return asdict(self)
