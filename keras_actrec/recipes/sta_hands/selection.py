"""How settings are chosen without a look at a test clip: the training clips of a protocol, split once more.

Settings that were compared on the test clips fit the test clips. Here a choice (rotations, weight decay, …) is scored on
training clips alone, split as the test is: by camera where the test brings a new camera, by subject where it brings new people.
"""

from __future__ import annotations

from collections.abc import Mapping

from keras_actrec.datasets.counts import CountMismatch
from keras_actrec.datasets.record import ActionDataset, ClipRecord, Split
from keras_actrec.errors import ConfigError, DatasetError
from keras_actrec.recipes.sta_hands.experiment import Experiment
from keras_actrec.recipes.sta_hands.pose import run_folds
from keras_actrec.skeletons.sequence import SkeletonSequence
from keras_actrec.training.holdout import hold_out
from keras_actrec.training.summary import SELECTION_PREFIX

CLIP = "clip"
UNITS = ("subject", "camera", "setup", CLIP)
FOLDS = 5
SHARE_OF_CLIPS = 0.2


class InnerSplits:
    """The training clips of one protocol as a data set of their own (`ActionDataset`), whose protocols split them once more.

    The other clips are not among its records and do not load. `name` stays that of the data set, so that both can share a pose
    cache.

    Protocols by unit, those of view3 of Northwestern-UCLA as an example:

    - "camera", "subject", "setup": the clips of one value test, the others train: "inner_camera1_of_view3",
      "inner_camera2_of_view3". More than `folds` values are dealt out to that many folds in turn: "inner_subjects1_of_view3"
      to "inner_subjects5_of_view3", the first of which tests the 1st, 6th, 11th, … subject.
    - "clip": every fifth clip of each class, at random, tests: "inner_clip_of_view3".

    Where the protocols of the data set are folds (SBU), the training clips of one fold are test clips of the others: settings
    chosen on fold 1 have seen clips that folds 2 to 5 test. Choose on each fold for itself where that must not be.

    Args:
        dataset: the whole data set.
        protocol: one of its protocols; its test clips stay out.
        unit: what is never on both sides: a "subject", a "camera", a "setup" (fields of `ClipRecord`) or a "clip".
        folds: most protocols; without meaning for "clip".
        seed: of the draw for "clip".

    Attributes:
        selection: what the protocols are together, e.g. "inner_camera_of_view3"; the only one for "clip".

    Raises:
        ConfigError: no such protocol or unit, fewer than 2 folds, or training clips that the unit does not tell apart.
        DatasetError: the protocol has no training clip.
    """

    def __init__(self, dataset: ActionDataset, protocol: str, unit: str, *, folds: int = FOLDS, seed: int = 0):
        protocols = dataset.protocols()
        for what, value, known in (("protocol", protocol, tuple(protocols)), ("unit", unit, UNITS)):
            if value not in known:
                raise ConfigError(f"unknown {what}", found=repr(value), expected=f"one of {', '.join(known)}")
        if folds < 2:
            raise ConfigError("too few folds for a selection", found=folds, expected="at least 2")
        self.name, self.class_names, self.metrics = dataset.name, dataset.class_names, dataset.metrics
        self.root, self.left_out, self.cleaning = dataset.root, dataset.left_out, dataset.cleaning
        self.selection = f"{SELECTION_PREFIX}{unit}_of_{protocol}"
        self._dataset, self._protocol = dataset, protocol
        self._train = frozenset(protocols[protocol].train)
        self.records: tuple[ClipRecord, ...] = tuple(record for record in dataset.records if record.clip_id in self._train)
        if not self.records:
            raise DatasetError(
                f"protocol {protocol} has no training clip to choose settings on", file=self.root,
                found=f"{len(dataset.records)} usable clips", fix="give a data root with the clips of both sides",
            )  # fmt: skip
        self._splits = self._by_clip(seed) if unit == CLIP else self._by_unit(unit, folds)

    def _by_clip(self, seed: int) -> dict[str, Split]:
        label = {record.clip_id: record.label for record in self.records}
        return {self.selection: Split(*hold_out(tuple(label), label.__getitem__, fraction=SHARE_OF_CLIPS, seed=seed))}

    def _by_unit(self, unit: str, folds: int) -> dict[str, Split]:
        value_of = {record.clip_id: getattr(record, unit) for record in self.records}
        values = sorted(set(value_of.values()))
        if len(values) < 2:
            raise ConfigError(
                f"the training clips of {self._protocol} cannot be split by {unit}", found=f"{unit} {values[0]} in all of them",
                expected="at least 2 values", fix=f"choose another unit: {', '.join(name for name in UNITS if name != unit)}",
            )  # fmt: skip
        if len(values) <= folds:
            tested = {f"{unit}{value}": {value} for value in values}
        else:
            tested = {f"{unit}s{fold + 1}": set(values[fold::folds]) for fold in range(folds)}
        return {
            f"{SELECTION_PREFIX}{name}_of_{self._protocol}": Split(
                train=tuple(clip for clip, value in value_of.items() if value not in chosen),
                test=tuple(clip for clip, value in value_of.items() if value in chosen),
            )
            for name, chosen in tested.items()
        }

    def load_skeleton(self, record: ClipRecord) -> SkeletonSequence:
        """Reads the skeleton of a training clip.

        Raises:
            DatasetError: the record is no training clip of the protocol.
            SkeletonFormatError: see the data set.
        """
        if record.clip_id not in self._train:
            raise DatasetError(
                f"not a training clip of {self._protocol}: selection reads no other", file=record.skeleton, found=record.clip_id
            )
        return self._dataset.load_skeleton(record)

    def protocols(self) -> Mapping[str, Split]:
        """Protocol name → training clips of the protocol, split once more."""
        return dict(self._splits)

    def count_mismatches(self) -> tuple[CountMismatch, ...]:
        """None: nobody has published numbers of these."""
        return ()


def run_selection(dataset: ActionDataset, experiment: Experiment, protocol: str, unit: str) -> dict[str, object]:
    """Scores settings on the training clips of a protocol: `run_folds` on its `InnerSplits`.

    Args:
        dataset: the whole data set.
        experiment: the settings.
        protocol: one of the data set's protocols.
        unit: see `InnerSplits`.

    Returns:
        The content of metrics.json. Its protocol is named e.g. "inner_camera_of_view3", which the table of results refuses.

    Raises:
        ActrecError: see `InnerSplits` and `run_experiment`.
    """
    inner = InnerSplits(dataset, protocol, unit)
    return run_folds(inner, experiment, tuple(inner.protocols()), name=inner.selection)
