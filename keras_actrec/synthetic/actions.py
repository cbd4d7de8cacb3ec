"""The classes of the synthetic data set and what tells each of them apart from its siblings."""

from __future__ import annotations

from dataclasses import dataclass

from keras_actrec.errors import ConfigError

KINDS = ("motion", "object", "order")
MOVEMENTS = ("clap", "wave_hands", "approach", "step_back", "hand_to_head", "left_then_right", "right_then_left")
OBJECTS = ("", "cup", "phone", "book", "lamp")


@dataclass(frozen=True)
class ActionSpec:
    """One class.

    Attributes:
        name: shown in plots and exports.
        kind: what tells it apart: "motion" (only the movement differs), "object" (only what the hand holds differs) or
            "order" (which hand acts when; movement and lit lamp both show it, a sum over hands does not).
        movement: what the bodies do: a key of `choreography.CHOREOGRAPHY`. Classes that share it move alike.
        held: what is held: "" (empty hands), "cup", "phone" or "book" (in the acting hand), or "lamp" (one in each hand,
            lit while that hand acts).
        people: 1 or 2.

    Raises:
        ConfigError: an unknown kind, movement or object, or a count of people other than 1 or 2.
    """

    name: str
    kind: str
    movement: str
    held: str = ""
    people: int = 1

    def __post_init__(self):
        for field, allowed in (("kind", KINDS), ("movement", MOVEMENTS), ("held", OBJECTS), ("people", (1, 2))):
            if getattr(self, field) not in allowed:
                raise ConfigError(f"action {self.name}: unknown {field}", found=getattr(self, field), expected=allowed)


SYNTHETIC_ACTIONS: tuple[ActionSpec, ...] = (
    ActionSpec("clap hands", "motion", "clap"),
    ActionSpec("wave both hands", "motion", "wave_hands"),
    ActionSpec("approach each other", "motion", "approach", people=2),
    ActionSpec("step back from each other", "motion", "step_back", people=2),
    ActionSpec("bring a cup to the head", "object", "hand_to_head", held="cup"),
    ActionSpec("bring a phone to the head", "object", "hand_to_head", held="phone"),
    ActionSpec("bring a book to the head", "object", "hand_to_head", held="book"),
    ActionSpec("raise the left lamp, then the right", "order", "left_then_right", held="lamp"),
    ActionSpec("raise the right lamp, then the left", "order", "right_then_left", held="lamp"),
)
"""Class i is NTU action number i + 1: `A001` claps hands."""


def synthetic_class_names() -> tuple[str, ...]:
    """Names of the classes in label order."""
    return tuple(action.name for action in SYNTHETIC_ACTIONS)
