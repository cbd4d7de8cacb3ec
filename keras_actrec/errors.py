"""The errors a user can meet: each names the file, the place, what was found, what was expected, and the way out."""

from __future__ import annotations

import errno
from pathlib import Path


class ActrecError(Exception):
    """Base of every error that this package raises on purpose.

    Args:
        problem: what is wrong, as a short clause.
        file: the file at fault.
        place: where in it (line, frame, key, …).
        found: the value found.
        expected: the value expected.
        fix: what the user can do about it.
    """

    def __init__(
        self,
        problem: str,
        *,
        file: str | Path | None = None,
        place: str | None = None,
        found: object = None,
        expected: object = None,
        fix: str | None = None,
    ):
        self.problem, self.file, self.place = problem, None if file is None else str(file), place
        self.found, self.expected, self.fix = found, expected, fix
        super().__init__(self._text())

    def _text(self) -> str:
        where = ", ".join(part for part in (self.file, self.place) if part)
        text = f"{where}: {self.problem}" if where else self.problem
        values = [
            f"{name} {value}" for name, value in (("found", self.found), ("expected", self.expected)) if value is not None
        ]
        if values:
            text += f" ({', '.join(values)})"
        if self.fix:
            text += f". {self.fix[0].upper()}{self.fix[1:]}"
        return text

    def __reduce__(self):
        # Exceptions travel between worker processes: keyword arguments need a hand.
        fields = {k: getattr(self, k) for k in ("file", "place", "found", "expected", "fix")}
        return _rebuild, (type(self), self.problem, fields)


def _rebuild(kind: type[ActrecError], problem: str, fields: dict) -> ActrecError:
    return kind(problem, **fields)


class ConfigError(ActrecError):
    """A configuration value, or a combination of them, that makes no sense."""


class DatasetError(ActrecError):
    """A data root, name, label or protocol that does not fit the data set."""


class SkeletonFormatError(ActrecError):
    """A skeleton file that is empty, cut short or not of its format."""


class VideoError(ActrecError):
    """A video that does not open, does not decode, or does not fit its skeleton."""


class CacheError(ActrecError):
    """A cache that is incomplete, damaged, or made with other options than those asked for."""


class WeightsError(ActrecError):
    """Weights that are missing or do not fit the network."""


class TrainingError(ActrecError):
    """A training over several workers that cannot go on because one of them has stopped."""


class DiskFullError(ActrecError):
    """No space left while writing; what has a final name is whole."""


DISK_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
"""Error numbers: no space left, over the quota, a file larger than allowed."""


def is_disk_full(error: BaseException | None) -> bool:
    """Whether an error of the operating system says that the disk takes no more."""
    return isinstance(error, OSError) and error.errno in DISK_FULL
