"""What sources of batches have in common: labelled clips of a pose cache, of a cache beside it or of both, joints in memory."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Self

import numpy as np

from keras_actrec.cache.reader import CacheReader, PoseCache
from keras_actrec.errors import CacheError, ConfigError, DatasetError
from keras_actrec.pipelines.memory import KeptArrays

JOINTS_IN_MEMORY = 2**31
"""Holds those of the training clips of NTU RGB+D 120 (63,026 of its cross-subject protocol: 1.6 GB)."""


class ClipSource:
    """The clips of a source: which there are, their labels, lengths and joints.

    Args:
        pose_cache: has every clip; the lengths of clips are those of their poses. None where no poses are needed: then `beside`
            has every clip.
        labels: clip id → class index. Clips outside of it do not exist for the source.
        inputs: names of the arrays of a batch.
        beside: clip id → frames, of the clips in a second cache; None where there is no such cache.
        beside_holds: what that cache holds, in the plural, for messages.
        joints_in_memory: bytes of joints kept in memory (an NTU clip of two people is about 50 kB).

    Attributes:
        inputs: names of the arrays of a batch.
        clip_ids: the labelled clips that every cache holds, in the order of `labels`.

    Raises:
        CacheError: the caches disagree about the length of a clip.
    """

    draws: int

    def __init__(
        self,
        pose_cache: PoseCache | None,
        labels: Mapping[str, int],
        inputs: Sequence[str],
        *,
        beside: Mapping[str, int] | None = None,
        beside_holds: str = "",
        joints_in_memory: int = JOINTS_IN_MEMORY,
    ):
        self.inputs: tuple[str, ...] = tuple(inputs)
        self._poses, self._labels = pose_cache, dict(labels)
        self._lengths = dict(beside if pose_cache is None else pose_cache.lengths)
        self._content = beside_holds if pose_cache is None else "poses"
        self._joints = KeptArrays(joints_in_memory)
        held = self._lengths.keys()
        if beside is not None and pose_cache is not None:
            held = held & beside.keys()
            _check_lengths(self._lengths, beside, held, beside_holds)
        self.clip_ids = tuple(clip for clip in self._labels if clip in held)

    def select(self, inputs: Iterable[str]) -> Self:
        """The same source limited to some inputs, so that a pose-only stage reads nothing else.

        Raises:
            ConfigError: an input that this source does not have.
        """
        wanted = tuple(inputs)
        for name in wanted:
            if name not in self.inputs:
                raise ConfigError(
                    "the model asks for an input that the caches do not give",
                    found=repr(name),
                    expected=f"one of {', '.join(self.inputs)}",
                    fix=self._input_fix(),
                )
        selected = self._copy()
        selected.inputs = tuple(name for name in self.inputs if name in wanted)
        return selected

    def limited(self, clip_ids: Collection[str]) -> Self:
        """The same source with those of its clips alone that are among `clip_ids`."""
        chosen = self._copy()
        chosen.clip_ids = tuple(clip for clip in self.clip_ids if clip in clip_ids)
        return chosen

    @property
    def dtypes(self) -> dict[str, type[np.floating]]:
        """Type of each of `inputs`."""
        return dict.fromkeys(self.inputs, np.float32)

    def label(self, clip_id: str) -> int:
        """Class index of a clip. Raises DatasetError for a clip without one."""
        return int(self._labels_of((clip_id,))[0])

    def _input_fix(self) -> str:
        """The way out where a model asks for an input that is not here."""
        raise NotImplementedError

    def _copy(self) -> Self:
        """Shares the caches and the joints in memory."""
        copied = object.__new__(type(self))
        copied.__dict__.update(self.__dict__)
        return copied

    def _labels_of(self, clip_ids: Sequence[str]) -> np.ndarray:
        try:
            return np.array([self._labels[clip] for clip in clip_ids], np.int32)
        except KeyError as error:
            raise DatasetError(
                f"clip {error.args[0]} has no label", fix="give labels for every clip that is trained or tested on"
            ) from None

    def _check_uniforms(self, clip_ids: Sequence[str], uniforms: np.ndarray) -> None:
        if uniforms.shape != (len(clip_ids), self.draws):
            expected = (len(clip_ids), self.draws)
            raise ConfigError("a batch takes `draws` random numbers per clip", found=uniforms.shape, expected=expected)

    def _check_options(self, found: Iterable[tuple[str, object, object]]) -> None:
        """(name, value of the pose cache, value asked for) of each option; raises CacheError at the first that differs."""
        check_options(self._poses, "pose cache", found)

    def _length(self, clip_id: str) -> int:
        try:
            return self._lengths[clip_id]
        except KeyError:
            raise CacheError(
                f"the cache of {self._content} does not hold clip {clip_id}",
                file=None if self._poses is None else self._poses.directory,
                fix="use the clips of `clip_ids`, or run the extraction again",
            ) from None

    def _clip_joints(self, clip_id: str) -> np.ndarray:
        joints = self._joints.get(clip_id)
        if joints is None:
            joints = self._read_joints(clip_id)
            self._joints.put(clip_id, joints)
        return joints

    def _read_joints(self, clip_id: str) -> np.ndarray:
        """What is kept in memory of a clip: its cleaned joints (T, 2, J, 3)."""
        return self._poses.joints(clip_id)


def check_options(cache: CacheReader, title: str, found: Iterable[tuple[str, object, object]]) -> None:
    """Refuses a cache that was made with other options.

    Args:
        cache: the cache.
        title: what to call it.
        found: (name, value of the cache, value asked for) of each option.

    Raises:
        CacheError: an option differs; the first one that does is named.
    """
    for name, value, wanted in found:
        if value != wanted:
            raise CacheError(
                f"the {title} was made with other options: {name}",
                file=cache.directory,
                found=value,
                expected=wanted,
                fix="use the options of the cache, or extract into another folder",
            )


def _check_lengths(poses: Mapping[str, int], others: Mapping[str, int], clip_ids: Iterable[str], content: str) -> None:
    for clip in clip_ids:
        if poses[clip] != others[clip]:
            raise CacheError(
                f"the pose cache and the cache of {content} disagree about the length of clip {clip}",
                found=f"{others[clip]} frames with {content}",
                expected=f"{poses[clip]} frames with poses",
                fix=f"delete the cache of {content} and extract it again",
            )
