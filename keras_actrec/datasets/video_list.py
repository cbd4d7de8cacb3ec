"""A list of videos and labels, and nothing else: what is missing for `OwnDataset` is filled in.

`video` and `label` have to be there. Filled in where absent:

- `clip`: the video's name without its ending; with its folders where names are there twice
- `skeleton`: by `with_skeletons`, once poses have been estimated
- `split`: drawn, the same for the same list, share and seed
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from keras_actrec.datasets.own import SPLIT
from keras_actrec.errors import ConfigError, DatasetError
from keras_actrec.files import whole_file

NEEDED = ("video", "label")
_SEE = "see docs/own_data.md for an example"


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
        DatasetError: the list cannot be read, is empty, lacks a column, or a clip is there twice; or it has no split and a
            class has a single clip.
    """
    path = Path(path)
    if not 0 < test_share < 1:
        raise ConfigError("test_share is a share of the clips", found=test_share, expected="more than 0, less than 1")
    table = _read(path)
    missing = [column for column in NEEDED if column not in table]
    if missing:
        found = ", ".join(table.columns)
        fix = "separate columns with commas" if len(table.columns) == 1 else f"add {' and '.join(missing)} to the first line"
        raise DatasetError("a column is missing", file=path, place="line 1", found=found, expected="video, label", fix=fix)
    if table.empty:
        raise DatasetError(
            "the list of videos is empty", file=path, found="column names only", expected="a row per clip", fix=_SEE
        )
    for column in NEEDED:
        for row in np.flatnonzero(table[column] == "")[:1]:
            raise DatasetError(
                f"no {column}", file=path, place=f"clip {row + 1}", found="nothing", expected="a value", fix=_SEE
            )
    videos = list(table["video"])
    if "clip" not in table:
        table["clip"] = _names(videos)
    table["video"] = [str((path.parent / video).resolve()) for video in videos]
    for clip, count in Counter(table["clip"]).items():
        if count > 1:
            raise DatasetError("the same clip twice", file=path, found=f"{clip!r}, {count} times", expected="one row per clip")
    drawn = not any(column.startswith(SPLIT) for column in table)
    if drawn:
        table[SPLIT] = _draw(path, table, test_share, seed)
    return VideoList(path, table, drawn)


def _read(path: Path) -> pd.DataFrame:
    try:
        table = pd.read_csv(path, dtype=str, keep_default_na=False, encoding="utf-8-sig", skipinitialspace=True)
    except OSError as error:
        found = error.strerror or str(error)
        raise DatasetError("the list of videos cannot be read", file=path, found=found, fix=_SEE) from error
    except UnicodeDecodeError as error:
        found = f"byte 0x{error.object[error.start]:02x}"
        raise DatasetError("the list of videos is not UTF-8", file=path, found=found, fix="save it as UTF-8") from error
    except (pd.errors.ParserError, pd.errors.EmptyDataError, ValueError) as error:
        raise DatasetError("the list of videos is no CSV", file=path, found=str(error).strip(), fix=_SEE) from error
    table.columns = [str(column).strip() for column in table.columns]
    return table.map(str.strip)


def _names(videos: Sequence[str]) -> list[str]:
    """A name for each clip: as little of its video's path as tells all of them apart."""
    short = [Path(video).stem for video in videos]
    if len(set(short)) == len(short):
        return short
    return ["_".join(part for part in Path(video).with_suffix("").parts if part not in ("/", "..", ".")) for video in videos]


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
