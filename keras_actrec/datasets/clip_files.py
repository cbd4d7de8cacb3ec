"""Finds the files of clips below a data root by their names: what data sets with one name per clip share."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TypeVar

from keras_actrec.datasets.files import walk_folders
from keras_actrec.errors import DatasetError

Clip = TypeVar("Clip")


def find_clip_files(
    root: Path, suffixes: Sequence[str], parse: Callable[[str], Clip], *, expected: str, fix: str
) -> tuple[dict[Clip, dict[str, Path]], tuple[Path, ...]]:
    """Looks for files called clip name + suffix in any folder below a data root. Links are followed.

    Args:
        root: the folder.
        suffixes: e.g. ".skeleton", "_rgb.avi"; other files are passed over.
        parse: clip name → clip (hashable); raises DatasetError for what is no clip name.
        expected: what a data root is, for the message where there is none.
        fix: the way out there: where to get the data set.

    Returns:
        Clip → suffix → file; and the files with these suffixes whose names are no clip names.

    Raises:
        DatasetError: no such folder, a folder that cannot be read, or the same file of a clip in two places.
    """
    files: dict[Clip, dict[str, Path]] = {}
    ignored = []
    for path in _paths(root, tuple(suffixes), expected, fix):
        suffix = next(suffix for suffix in suffixes if path.name.endswith(suffix))
        try:
            clip = parse(path.name.removesuffix(suffix))
        except DatasetError:
            ignored.append(path)
            continue
        other = files.setdefault(clip, {}).setdefault(suffix, path)
        if other != path:
            raise DatasetError(
                "the same file of a clip is in two places", file=path, found=f"also {other}", expected="one",
                fix="take one of the two out of the data root",
            )  # fmt: skip
    return files, tuple(ignored)


def _paths(root: Path, suffixes: tuple[str, ...], expected: str, fix: str) -> Iterator[Path]:
    for folder, names in walk_folders(root, expected=expected, fix=fix):
        yield from (folder / name for name in names if name.endswith(suffixes))
