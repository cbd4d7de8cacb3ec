"""A list of videos and labels, and nothing else: what is missing for `OwnDataset` is filled in.

`video` and `label` have to be there. Filled in where absent:

- `clip`: the video's name without its ending; with its folders where names are there twice
- `skeleton`: by `with_skeletons`, once poses have been estimated
- `split`: drawn, the same for the same list, share and seed
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd

from keras_actrec.datasets.own import SPLIT, check_unique, read_rows, row_settings, row_side
from keras_actrec.errors import ConfigError, DatasetError
from keras_actrec.files import whole_file

NEEDED = ("video", "label")


@dataclass(frozen=True, eq=False)
class VideoList:
    """The clips of a list.

    Attributes:
        file: where it was read from.
        table: a row per clip, all values text; columns `clip`, `video` (absolute paths), `label`, at least one that starts with
            "split", and whatever else the list has.
        drawn: whether the split was drawn here.
    """

    file: Path
    table: pd.DataFrame
    drawn: bool

    @property
    def splits(self) -> tuple[str, ...]:
        """Names of the protocols."""
        return tuple(column for column in self.table if column.startswith(SPLIT))

    @property
    def videos(self) -> Mapping[str, Path]:
        """Clip → video, of those without a skeleton of their own."""
        without = self.table if "skeleton" not in self.table else self.table[self.table["skeleton"] == ""]
        return {clip: Path(video) for clip, video in zip(without["clip"], without["video"], strict=True)}

    def with_skeletons(self, files: Mapping[str, Path], path: str | Path) -> Path:
        """Writes the list with a skeleton for every clip, as `OwnDataset` reads it; paths are absolute.

        Args:
            files: clip → pose file, of those without a skeleton of their own. Clips that are not there are not written.
            path: the CSV to write.

        Raises:
            DatasetError: no clip is left.
            DiskFullError: no space left.
        """
        table = self.table.copy()
        given = table.get("skeleton", pd.Series("", index=table.index))
        beside = self.file.parent.resolve()
        table["skeleton"] = [
            str(beside / own) if own else str(Path(files[clip]).resolve()) if clip in files else ""
            for clip, own in zip(table["clip"], given, strict=True)
        ]
        table = table[table["skeleton"] != ""]
        if table.empty:
            raise DatasetError(
                "no clip of the list can be used", file=self.file, found="no video of it could be read",
                fix="check the paths: they are relative to the folder of the CSV",
            )  # fmt: skip
        with whole_file(path) as part:
            table.to_csv(part, index=False)
        return Path(path)


def read_video_list(path: str | Path, *, test_share: float = 0.3, seed: int = 0) -> VideoList:
    """Reads a list of videos.

    Args:
        path: a CSV, UTF-8, with commas between the columns and a first line with their names. Videos are relative to its
            folder.
        test_share: share of each class's clips (of its subjects, where the list has any) that is put to the test, where the
            list has no split.
        seed: of that draw.

    Raises:
        ConfigError: test_share is no share.
        DatasetError: the list cannot be read, is empty, lacks a column or has an unknown one; a row is wrong, or a clip is
            there twice (the message names the line); or it has no split and a class has a single clip.
    """
    path = Path(path)
    if not 0 < test_share < 1:
        raise ConfigError("test_share is a share of the clips", found=test_share, expected="more than 0, less than 1")
    columns, rows = read_rows(path, required=NEEDED)
    if "clip" not in columns:
        names = _names([row.values["video"] for row in rows])
        rows = [replace(row, values={**row.values, "clip": name}) for row, name in zip(rows, names, strict=True)]
    check_unique(path, rows, "clip")
    check_unique(path, [row for row in rows if row.values.get("skeleton")], "skeleton")
    for row in rows:  # now, and not when poses have been estimated for hours
        row_settings(path, row)
        for column in columns:
            if column.startswith(SPLIT):
                row_side(path, row, column)
    table = pd.DataFrame([row.values for row in rows])
    table["video"] = [str((path.parent / video).resolve()) for video in table["video"]]
    drawn = not any(column.startswith(SPLIT) for column in table)
    if drawn:
        table[SPLIT] = _draw(path, table, test_share, seed)
    return VideoList(path, table, drawn)


def _names(videos: Sequence[str]) -> list[str]:
    """A name for each clip: as little of its video's path as tells all of them apart; the whole of it where nothing does."""
    whole = ["_".join(part for part in Path(video).parts if part not in ("/", "..", ".")) for video in videos]
    ways = (
        [Path(video).stem for video in videos],
        [name.removesuffix(Path(name).suffix) for name in whole],
        whole,
    )
    return next((names for names in ways if len(set(names)) == len(names)), whole)


def _draw(path: Path, table: pd.DataFrame, share: float, seed: int) -> list[str]:
    """A side for each clip: of every class, the same share; a subject's clips stay on one side, where subjects are known."""
    rng = np.random.default_rng(seed)
    if "subject" in table and table["subject"].nunique() > 1:
        subjects = sorted(table["subject"].unique())
        tested = set(rng.permutation(subjects)[: max(1, min(len(subjects) - 1, round(share * len(subjects))))])
        return ["test" if subject in tested else "train" for subject in table["subject"]]
    rows = defaultdict(list)
    for row, label in enumerate(table["label"]):
        rows[label].append(row)
    sides = ["train"] * len(table)
    for label in sorted(rows):
        if len(rows[label]) < 2:
            raise DatasetError(
                "a class with a single clip cannot be trained and tested", file=path, found=f"label {label!r}",
                expected="at least 2 clips of each class", fix="add clips of it, or take it out; or give a column split",
            )  # fmt: skip
        count = min(len(rows[label]) - 1, max(1, math.floor(share * len(rows[label]) + 0.5)))
        for row in rng.permutation(rows[label])[:count]:
            sides[row] = "test"
    return sides
