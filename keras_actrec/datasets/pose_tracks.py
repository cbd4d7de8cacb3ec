"""People over time: the bodies that a pose estimator lists frame by frame become the slots of a `SkeletonSequence`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from keras_actrec.datasets.files import check_joint_count
from keras_actrec.errors import SkeletonFormatError
from keras_actrec.skeletons.layout import SkeletonLayout
from keras_actrec.skeletons.sequence import SkeletonSequence

MOST_PEOPLE = 256
"""In a frame: who is who is found by comparing each with each, so that a list without end would take time without end."""


@dataclass(frozen=True, eq=False)
class Person:
    """A body in one frame; what is unknown is NaN.

    Attributes:
        joints: (J, 3), metres; or pixels with z = 0.
        pixels: (J, 2), (x, y) in the video's pixels. None where the source has none.
        body_id: who it is, from 0. None where the source does not say.
        place: (J, 2) or (J, 3): where the body is, to find it again in the next frame, for sources whose joints do not tell
            (each body centred on itself). Pixels, else joints, by default.
    """

    joints: np.ndarray
    pixels: np.ndarray | None = None
    body_id: int | None = None
    place: np.ndarray | None = None

    @property
    def known(self) -> bool:
        """At least one joint is known."""
        return not np.isnan(self.joints).any(axis=1).all()

    @property
    def position(self) -> np.ndarray:
        """(J, 2) or (J, 3): where the body is."""
        return next(values for values in (self.place, self.pixels, self.joints) if values is not None)


@dataclass(eq=False)
class _Track:
    """A body over time: its id, the frames in which it is known, and the body there."""

    body_id: int | None
    frames: list[int] = field(default_factory=list)
    people: list[Person] = field(default_factory=list)

    def add(self, frame: int, person: Person) -> None:
        self.frames.append(frame)
        self.people.append(person)


def join_frames(frames: Sequence[Sequence[Person]], layout: SkeletonLayout, *, file: str | Path) -> SkeletonSequence:
    """Puts the people of each frame into slots that stay with a person.

    People with an id go by it. The others go, nearest pair first, to the track without id that was last seen nearest to them
    (mean distance over the joints known in both); a frame with more of them than there are tracks opens new ones.

    Slots are in the order of the number of frames in which a body is known: false detections come and go, and sources without
    false bodies are cleaned by taking the first two. Equal numbers: by id, then by first appearance.

    Args:
        frames: the people of each frame; those without a known joint are not there.
        layout: what the joints are.
        file: for the error message.

    Returns:
        Joints (T, P, J, 3); pixels (T, P, J, 2), None where no person has any; ids where a person has one: then those without
        get numbers above the highest.

    Raises:
        SkeletonFormatError: no frame, an id twice in one, more than `MOST_PEOPLE` in one, or too many bodies in all.
    """
    if not frames:
        raise SkeletonFormatError(
            "the clip has no frame", file=file, found="0 frames", expected="at least 1", fix="leave the clip out"
        )
    most = max(range(len(frames)), key=lambda frame: len(frames[frame]))
    if len(frames[most]) > MOST_PEOPLE:
        raise SkeletonFormatError(
            "too many people in a frame", file=file, place=f"frame {most}", found=len(frames[most]),
            expected=f"at most {MOST_PEOPLE}",
            fix="keep the people that count, those of the highest scores for instance, or leave the clip out",
        )  # fmt: skip
    named: dict[int, _Track] = {}
    nameless: list[_Track] = []
    for frame, people in enumerate(frames):
        people = [person for person in people if person.known]
        for person in people:
            if person.body_id is not None:
                track = named.setdefault(person.body_id, _Track(person.body_id))
                if track.frames[-1:] == [frame]:
                    raise SkeletonFormatError(
                        "the same person is in a frame twice",
                        file=file,
                        place=f"frame {frame}",
                        found=f"id {person.body_id}",
                        expected="one entry per id",
                        fix="track the people anew, or take the ids out",
                    )
                track.add(frame, person)
        _match(nameless, frame, [person for person in people if person.body_id is None])
    tracks = [*(named[body_id] for body_id in sorted(named)), *nameless]
    tracks.sort(key=lambda track: -len(track.frames))  # stable
    check_joint_count(file, len(frames), len(tracks), len(layout), fix="keep the people that count, or leave the clip out")
    return _sequence(tracks, len(frames), layout)


def _match(tracks: list[_Track], frame: int, people: list[Person]) -> None:
    """Adds each person to the nearest of the tracks, or to a new one."""
    pairs = sorted(
        (_distance(track.people[-1], person), p, t) for p, person in enumerate(people) for t, track in enumerate(tracks)
    )
    track_of: dict[int, int] = {}
    for _, p, t in pairs:
        if p not in track_of and t not in track_of.values():
            track_of[p] = t
    for p, person in enumerate(people):
        if p not in track_of:
            track_of[p] = len(tracks)
            tracks.append(_Track(None))
        tracks[track_of[p]].add(frame, person)


def _distance(before: Person, after: Person) -> float:
    places = before.position, after.position
    if places[0].shape != places[1].shape:  # pixels of one of the two are not known
        places = before.joints, after.joints
    with np.errstate(over="ignore", invalid="ignore"):  # of absurd coordinates: infinitely far
        distances = np.linalg.norm(places[0] - places[1], axis=1)
        known = ~np.isnan(distances)
        return float(distances[known].mean()) if known.any() else float("inf")


def _sequence(tracks: list[_Track], length: int, layout: SkeletonLayout) -> SkeletonSequence:
    joints = np.full((length, len(tracks), len(layout), 3), np.nan, np.float32)
    pixels = np.full((length, len(tracks), len(layout), 2), np.nan, np.float32)
    has_pixels = False
    with np.errstate(over="ignore"):  # what float32 cannot hold becomes infinite, which is unknown
        for slot, track in enumerate(tracks):
            joints[track.frames, slot] = [person.joints for person in track.people]
            for frame, person in zip(track.frames, track.people, strict=True):
                if person.pixels is not None:
                    pixels[frame, slot], has_pixels = person.pixels, True
    for array in (joints, pixels):
        array[~np.isfinite(array).all(axis=-1)] = np.nan
    ids = [track.body_id for track in tracks]
    given = [body_id for body_id in ids if body_id is not None]
    if given:
        free = iter(range(max(given) + 1, max(given) + 1 + len(ids)))
        ids = [next(free) if body_id is None else body_id for body_id in ids]
    return SkeletonSequence(joints, layout, pixels if has_pixels else None, body_ids=tuple(ids) if given else ())
