"""Cleaning: raw bodies of a sensor → up to two people, first the one who moves most, without false bodies and short gaps.

The authors of NTU RGB+D (README of https://github.com/shahroudy/NTURGB-D) warn of tables and seats among the bodies, advise
to drop what is too wide for its height, and take the body with the largest variance of its joints as the first person.
Projects on that data set also drop bodies of at most 11 frames, and ones that hardly move. The last rule is applied with
care here: a body that stands still but has the shape of a person stays, as somebody may be handed something.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from keras_actrec.errors import ConfigError, SkeletonFormatError
from keras_actrec.skeletons.sequence import SkeletonSequence

PEOPLE = 2
NO_BODY = -1
INFERRED = 1


@dataclass(frozen=True)
class CleaningConfig:
    """Thresholds of `clean`.

    Attributes:
        min_frames: a body known in fewer frames is false; in clips shorter than twice as much, half of the clip's frames.
        max_width: a body is wide in a frame where its x-extent exceeds this many times its y-extent (no unit).
        wide_fraction: a body that is wide in more than this fraction of its frames is false.
        still_motion: a body hardly moves if its motion is below this fraction of the motion of the most moving one.
        min_height: a body that hardly moves and whose median y-extent is below this, in metres, is false; so is one that
            hardly moves and is wide in half of its frames.
        link_gap: two tracks can be one person if the second starts at most this many frames after the first one's last.
        link_distance: and at most this far from it, in metres (between the means of their joints).
        max_gap: gaps of up to this many frames are interpolated, longer ones stay.
        find_people: False for sources whose bodies are people already, in an order that means something (annotated data
            sets): then the first two bodies stay as they are, and only gaps are filled.

    Raises:
        ConfigError: a negative value or a fraction above 1.
    """

    min_frames: int = 12
    max_width: float = 0.8
    wide_fraction: float = 0.7
    still_motion: float = 0.2
    min_height: float = 0.5
    link_gap: int = 15
    link_distance: float = 0.5
    max_gap: int = 10
    find_people: bool = True

    def __post_init__(self):
        for name, value in vars(self).items():
            if not value >= 0:
                raise ConfigError(f"{name} must not be negative", found=value)
        for name in ("wide_fraction", "still_motion"):
            if getattr(self, name) > 1:
                raise ConfigError(f"{name} is a fraction", found=getattr(self, name), expected="0 to 1")


@dataclass(frozen=True)
class DroppedBody:
    """A body that is no person of the clip: its id in the source (its slot, where there are no ids), frames, and why."""

    body_id: int
    frames: int
    reason: str


@dataclass(frozen=True)
class CleaningReport:
    """What `clean` did to a clip.

    Attributes:
        bodies_found: bodies of the source that are known in at least one frame.
        bodies_dropped: the ones that were taken out, and why.
        linked: (earlier id, later id) of tracks that were joined into one person.
        people: people that remain, 1 or 2.
        frames_interpolated: for each person the frames in which a joint was filled in.
        frames_missing: for each person the frames in which the person is still absent.
    """

    bodies_found: int
    bodies_dropped: tuple[DroppedBody, ...]
    linked: tuple[tuple[int, int], ...]
    people: int
    frames_interpolated: tuple[int, ...]
    frames_missing: tuple[int, ...]


@dataclass(frozen=True, eq=False)
class _Track:
    """One body over the whole clip: joints (T, J, 3), pixels (T, J, 2), tracking (T, J); NaN where unknown."""

    body_id: int
    joints: np.ndarray
    pixels: np.ndarray
    tracking: np.ndarray

    @property
    def frames(self) -> np.ndarray:
        """Indices of the frames in which the body is known."""
        return np.flatnonzero(_known(self.joints).any(axis=1))


def clean(
    sequence: SkeletonSequence, config: CleaningConfig = CleaningConfig(), *, file: str | Path | None = None
) -> tuple[SkeletonSequence, CleaningReport]:
    """Finds the people of a clip among the bodies of its source.

    1. A body whose joints are all exactly 0 in a frame is absent there.
    2. Tracks that do not overlap, and of which one starts soon after and near to where the other ends, become one body.
    3. False bodies go: too short-lived, too wide for their height, or hardly moving without the shape of a person. If
       all of them would go, the longest-lived stays.
    4. Of more than two the two with the largest product of motion and time remain. Motion is the sum over joints and
       coordinates of the variance over time; person 1 is the one with more of it.
    5. Gaps of up to `max_gap` frames are interpolated linearly, joint by joint; tracking is 1 (inferred) there.

    With `find_people=False` steps 2 to 4 do not happen.

    Args:
        sequence: bodies (T, P, J, 3) as read.
        config: thresholds.
        file: where the sequence comes from, for the error message.

    Returns:
        The cleaned sequence (T, 2, J, 3), person 2 all NaN (id -1) where there is none, in new arrays; and what was done.
        A linked person has the id of the earliest track.

    Raises:
        SkeletonFormatError: no frame has a body.
    """
    found = _tracks(sequence)
    if not found:
        raise SkeletonFormatError(
            "no body in any frame",
            file=file,
            found=f"{sequence.length} frames without a body",
            expected="at least one body",
            fix="leave the clip out",
        )
    if config.find_people:
        tracks, linked = _link(found, config)
        people, dropped = _choose(tracks, sequence.length, config)
    else:
        people, linked = found[:PEOPLE], []
        dropped = [DroppedBody(body.body_id, len(body.frames), f"beyond the first {PEOPLE}") for body in found[PEOPLE:]]
    filled = [_interpolate(person, config.max_gap) for person in people]
    people = [person for person, _ in filled]
    report = CleaningReport(
        bodies_found=len(found),
        bodies_dropped=tuple(dropped),
        linked=tuple(linked),
        people=len(people),
        frames_interpolated=tuple(frames for _, frames in filled),
        frames_missing=tuple(sequence.length - len(person.frames) for person in people),
    )
    return _assemble(sequence, people), report


def _tracks(sequence: SkeletonSequence) -> list[_Track]:
    length, people, joints = sequence.joints.shape[:3]
    values = np.where((sequence.joints == 0).all(axis=(2, 3), keepdims=True), np.float32(np.nan), sequence.joints)
    pixels = np.full((length, people, joints, 2), np.nan, np.float32) if sequence.pixels is None else sequence.pixels
    tracking = np.zeros((length, people, joints), np.uint8) if sequence.tracking is None else sequence.tracking
    ids = sequence.body_ids or range(people)
    tracks = [_Track(body_id, values[:, p], pixels[:, p], tracking[:, p]) for p, body_id in enumerate(ids)]
    return [track for track in tracks if len(track.frames)]


def _link(tracks: list[_Track], config: CleaningConfig) -> tuple[list[_Track], list[tuple[int, int]]]:
    """Joins the nearest pair of (end, start) first; each end and each start serves once."""
    pairs = []
    for a, before in enumerate(tracks):
        for b, after in enumerate(tracks):
            end, start = before.frames[-1], after.frames[0]
            if 0 < start - end <= config.link_gap:
                distance = np.linalg.norm(np.nanmean(before.joints[end], axis=0) - np.nanmean(after.joints[start], axis=0))
                if distance <= config.link_distance:
                    pairs.append((distance, a, b))
    followed_by: dict[int, int] = {}
    for _, a, b in sorted(pairs):
        if a not in followed_by and b not in followed_by.values():
            followed_by[a] = b

    joined = []
    for index, track in enumerate(tracks):
        if index in followed_by.values():
            continue  # Part of the track that it follows.
        while index in followed_by:
            index = followed_by[index]
            track = _join(track, tracks[index])
        joined.append(track)
    return joined, [(tracks[a].body_id, tracks[b].body_id) for a, b in sorted(followed_by.items())]


def _join(before: _Track, after: _Track) -> _Track:
    start = after.frames[0]
    parts = (np.concatenate([a[:start], b[start:]]) for a, b in zip(_arrays(before), _arrays(after), strict=True))
    return _Track(before.body_id, *parts)


def _choose(tracks: list[_Track], length: int, config: CleaningConfig) -> tuple[list[_Track], list[DroppedBody]]:
    motions = [_motion(track) for track in tracks]
    reasons = [_why_false(track, motion, max(motions), length, config) for track, motion in zip(tracks, motions, strict=True)]
    if all(reasons):
        reasons[max(range(len(tracks)), key=lambda i: len(tracks[i].frames))] = ""
    real = [i for i, reason in enumerate(reasons) if not reason]
    real.sort(key=lambda i: motions[i] * len(tracks[i].frames), reverse=True)
    for i in real[PEOPLE:]:
        reasons[i] = f"moves less, or for a shorter time, than the {PEOPLE} people of the clip"
    people = sorted(real[:PEOPLE], key=lambda i: motions[i], reverse=True)
    dropped = [DroppedBody(t.body_id, len(t.frames), reason) for t, reason in zip(tracks, reasons, strict=True) if reason]
    return [tracks[i] for i in people], dropped


def _why_false(track: _Track, motion: float, most: float, length: int, config: CleaningConfig) -> str:
    """The reason why a body is no person; empty for a person. `motion` is its own, `most` that of the most moving body."""
    joints = track.joints[track.frames]
    least = min(config.min_frames, length / 2)
    if len(joints) < least:
        return f"too short-lived: {len(joints)} frames, at least {least:g} expected"
    width, height = (np.nanmax(joints[..., axis], axis=1) - np.nanmin(joints[..., axis], axis=1) for axis in (0, 1))
    wide = float((width > config.max_width * height).mean())
    if wide > config.wide_fraction:
        return f"too wide for its height in {wide:.0%} of its frames"
    if motion < config.still_motion * most and (np.median(height) < config.min_height or wide >= 0.5):
        return f"hardly moves ({motion:.2g} m², another body {most:.2g} m²) and does not have the shape of a person"
    return ""


def _motion(track: _Track) -> float:
    """Sum over joints and coordinates of the variance over time, in m²; joints that are never known count as 0."""
    known = _known(track.joints).any(axis=0)
    return float(np.nanvar(track.joints[:, known], axis=0, dtype=np.float64).sum())


def _interpolate(track: _Track, max_gap: int) -> tuple[_Track, int]:
    joints, filled = _fill_gaps(track.joints, max_gap)
    pixels, _ = _fill_gaps(track.pixels, max_gap)
    tracking = np.where(filled, np.uint8(INFERRED), track.tracking)
    return replace(track, joints=joints, pixels=pixels, tracking=tracking), int(filled.any(axis=1).sum())


def _fill_gaps(values: np.ndarray, max_gap: int) -> tuple[np.ndarray, np.ndarray]:
    """Interpolates (T, J, C) along time, joint by joint; returns the values and bool (T, J) of what was filled."""
    known = _known(values)
    length = len(values)
    time = np.arange(length)[:, None]
    before = np.maximum.accumulate(np.where(known, time, -1), axis=0)
    after = np.minimum.accumulate(np.where(known, time, length)[::-1], axis=0)[::-1]
    filled = ~known & (before >= 0) & (after < length) & (after - before - 1 <= max_gap)
    if not filled.any():
        return values, filled
    frame, joint = np.nonzero(filled)
    before, after = before[filled], after[filled]
    weight = ((frame - before) / (after - before)).astype(np.float32)[:, None]
    values = values.copy()
    values[frame, joint] = (1 - weight) * values[before, joint] + weight * values[after, joint]
    return values, filled


def _assemble(sequence: SkeletonSequence, people: list[_Track]) -> SkeletonSequence:
    length, _, count = sequence.joints.shape[:3]
    joints = np.full((length, PEOPLE, count, 3), np.nan, np.float32)
    pixels = np.full((length, PEOPLE, count, 2), np.nan, np.float32)
    tracking = np.zeros((length, PEOPLE, count), np.uint8)
    for slot, person in enumerate(people):
        joints[:, slot], pixels[:, slot], tracking[:, slot] = _arrays(person)
    ids = [person.body_id for person in people] + [NO_BODY] * (PEOPLE - len(people))
    return SkeletonSequence(
        joints=joints,
        layout=sequence.layout,
        pixels=None if sequence.pixels is None else pixels,
        tracking=None if sequence.tracking is None else tracking,
        body_ids=tuple(ids) if sequence.body_ids else (),
    )


def _arrays(track: _Track) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    return track.joints, track.pixels, track.tracking


def _known(values: np.ndarray) -> np.ndarray:
    """bool (T, J): every coordinate of the joint is a number."""
    return ~np.isnan(values).any(axis=-1)
