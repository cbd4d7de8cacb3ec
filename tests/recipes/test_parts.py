"""Which clips train, stop the training early and test: both sides of a protocol, what was left out, what is held out."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import pytest

from keras_actrec.datasets.record import CountMismatch, LeftOut, Split
from keras_actrec.errors import ConfigError, DatasetError
from keras_actrec.recipes.parts import HOLDOUT_UNITS, check_holdout, clip_parts, listed_parts, protocol_split
from keras_actrec.recipes.together import connected

# Clip s3c1 is of subject 3 before camera 1; the label is the camera's number.
CLIPS = tuple(f"s{subject}c{camera}" for subject in range(1, 11) for camera in (1, 2))
SPLIT = Split(train=CLIPS[:16], test=CLIPS[16:])


@dataclass
class Options:
    """What an experiment says about its parts."""

    workdir: Path = Path("w")
    protocol: str = "cross_subject"
    holdout: float = 0.25
    holdout_unit: str = "clip"
    seed: int = 0


class Dataset:
    """Protocols and records, of which nothing is read."""

    records = tuple(
        SimpleNamespace(clip_id=clip, subject=int(clip[1:-2]), camera=int(clip[-1]), setup=1) for clip in CLIPS
    )  # fmt: skip

    def __init__(self, *mismatches: CountMismatch):
        self._mismatches = mismatches

    def protocols(self):
        return {"cross_subject": SPLIT, "no_test": Split(CLIPS, ()), "no_train": Split((), CLIPS)}

    def count_mismatches(self):
        return self._mismatches


class Source:
    """Clips that the caches hold, with labels."""

    def __init__(self, *left_out: str):
        self.clip_ids = tuple(clip for clip in reversed(CLIPS) if clip not in left_out)

    def label(self, clip: str) -> int:
        return int(clip[-1])


# Protocols --------------------------------------------------------------------------------------------------------------------


def test_both_sides():
    assert protocol_split(Dataset(), "cross_subject") is SPLIT


def test_an_unknown_protocol_names_those_that_exist():
    with pytest.raises(
        ConfigError, match=r"unknown protocol \(found 'fold1', expected one of cross_subject, no_test, no_train"
    ):
        protocol_split(Dataset(), "fold1")


@pytest.mark.parametrize("side", ["train", "test"])
def test_an_empty_side(side):
    with pytest.raises(DatasetError, match=rf"protocol no_{side} has no clip to {side} on .found 20 usable clips.*both sides"):
        protocol_split(Dataset(), f"no_{side}")


def test_counts_that_were_not_published_are_a_warning_for_their_protocol_alone(caplog):
    mismatches = [CountMismatch(protocol, "test", 4, 5) for protocol in ("cross_subject", "cross_view")]
    with caplog.at_level(logging.WARNING):
        protocol_split(Dataset(*mismatches), "cross_subject")
    assert caplog.messages == ["not the published clips: cross_subject test: 4 clips, 5 were published"]


# Parts ------------------------------------------------------------------------------------------------------------------------


def test_validation_is_held_out_of_the_training_clips():
    parts = clip_parts(Dataset(), SPLIT, Source(), Options())
    assert set(parts) == {"train", "validation", "test"} and parts["test"] == SPLIT.test
    assert len(parts["validation"]) == 4 and not set(parts["train"]) & set(parts["validation"])
    assert sorted(parts["train"] + parts["validation"]) == sorted(SPLIT.train)
    assert clip_parts(Dataset(), SPLIT, Source(), Options()) == parts
    assert clip_parts(Dataset(), SPLIT, Source(), Options(seed=1))["validation"] != parts["validation"]


def test_clips_that_were_left_out_are_in_no_part():
    parts = clip_parts(Dataset(), SPLIT, Source("s1c1", "s5c2", "s9c1"), Options())
    assert parts["test"] == ("s9c2", "s10c1", "s10c2")
    assert sorted(parts["train"] + parts["validation"]) == sorted(set(SPLIT.train) - {"s1c1", "s5c2"})


def test_whole_subjects_are_held_out():
    parts = clip_parts(Dataset(), SPLIT, Source(), Options(holdout_unit="subject"))
    subjects = {name: {clip[:-2] for clip in parts[name]} for name in ("train", "validation")}
    assert len(subjects["validation"]) == 2 and not subjects["train"] & subjects["validation"]


@pytest.mark.parametrize("side", ["train", "test"])
def test_a_side_whose_clips_were_all_left_out(side):
    with pytest.raises(
        DatasetError, match=rf"has no clip to {side} on: all of them were left out.*left_out\.csv lists"
    ) as error:
        clip_parts(Dataset(), SPLIT, Source(*getattr(SPLIT, side)), Options(workdir=Path("runs")))
    assert error.value.file == "runs/left_out.csv"


# Options ----------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("unit", HOLDOUT_UNITS)
def test_units(unit):
    check_holdout(Options(holdout_unit=unit))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (Options(holdout=0), "found 0, expected 0 < holdout < 1"),
        (Options(holdout=1), "found 1, expected 0 < holdout < 1"),
        (Options(holdout=float("nan")), "found nan"),
        (Options(holdout_unit="person"), "unknown holdout_unit .found 'person', expected one of clip, subject, camera, setup"),
    ],
)
def test_options_that_make_no_sense(options, message):
    with pytest.raises(ConfigError, match=message):
        check_holdout(options)


# The list ---------------------------------------------------------------------------------------------------------------------


def test_left_out_clips_are_listed_and_counted(tmp_path, caplog):
    dataset, source, options = Dataset(), Source("s1c1", "s9c1"), Options(workdir=tmp_path / "new" / "run")
    dataset.name = "small"
    left_out = tuple(LeftOut(clip, "poses", "bad", "f.skeleton") for clip in ("s1c1", "s9c1"))
    with caplog.at_level(logging.INFO):
        parts = listed_parts(dataset, SPLIT, source, left_out, options, connected("none"))
    assert parts == clip_parts(dataset, SPLIT, source, options)
    listed = (options.workdir / "left_out.csv").read_text().splitlines()
    found = [(line.split(",")[0], line.split(",")[-1]) for line in listed[1:]]
    assert found == [("s1c1", "train"), ("s9c1", "test")]
    sizes = ", ".join(f"{len(clips)} {name}" for name, clips in parts.items())
    assert caplog.messages == [f"small cross_subject: clips: {sizes}; 2 left out"]


def test_where_all_clips_of_a_side_were_left_out_the_list_is_there(tmp_path):
    left_out = tuple(LeftOut(clip, "poses", "bad", "f.skeleton") for clip in SPLIT.test)
    with pytest.raises(DatasetError, match=r"left_out\.csv: protocol cross_subject has no clip to test on"):
        listed_parts(Dataset(), SPLIT, Source(*SPLIT.test), left_out, Options(workdir=tmp_path), connected("none"))
    assert len((tmp_path / "left_out.csv").read_text().splitlines()) == 1 + len(SPLIT.test)
