"""The clips of a list of videos and labels, with skeletons for those that have some: what a model is tried on, not trained."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from keras_actrec.datasets.counts import CountMismatch
from keras_actrec.datasets.own import FRAME_RATE, REQUIRED, SIDES, SPLIT, OwnDataset
from keras_actrec.datasets.pose_files import read_pose_file
from keras_actrec.datasets.record import ClipRecord, LeftOut, Split
from keras_actrec.datasets.video_list import read_video_list
from keras_actrec.skeletons.cleaning import CleaningConfig
from keras_actrec.skeletons.layouts import MEDIAPIPE_33
from keras_actrec.skeletons.sequence import SkeletonSequence


def open_listed(csv: str | Path, *, skeletons: bool = True) -> OwnDataset | ListedClips:
    """Opens a list of clips: as `OwnDataset`, which takes clips without videos too, where every row names a skeleton.

    Args:
        csv: the list.
        skeletons: whether the skeletons that it names count.

    Raises:
        DatasetError: the list is wrong, see `OwnDataset` and `ListedClips`.
    """
    return OwnDataset(csv) if skeletons and _is_complete(Path(csv)) else ListedClips(csv)


def _is_complete(path: Path) -> bool:
    """Whether every row has what `OwnDataset` asks for. A file that does not read is not: `ListedClips` says why."""
    try:
        table = pd.read_csv(path, dtype=str, keep_default_na=False, encoding="utf-8-sig", skipinitialspace=True)
    except (OSError, ValueError):
        return False
    table.columns = [str(column).strip() for column in table.columns]
    split = any(column.startswith(SPLIT) for column in table)
    return split and all(column in table and (table[column].str.strip() != "").all() for column in REQUIRED)


class ListedClips:
    """The clips of a CSV with the columns video and label; see `read_video_list` for the others.

    Unlike `OwnDataset` it needs no skeletons, and no file is looked at before it is used: a clip whose video is not there is
    noticed by whoever reads it.

    Args:
        csv: the list. Where it has no split, the one is drawn that `keras-actrec train` draws by default.

    Attributes:
        records: sorted by clip. `skeleton` is None where the list has none; `layout` is that of poses to be estimated.

    Raises:
        DatasetError: the list is wrong, see `read_video_list`.
    """

    metrics = ("accuracy",)

    def __init__(self, csv: str | Path):
        self.csv = Path(csv)
        self.root, self.name = self.csv.parent, self.csv.stem
        self.cleaning = CleaningConfig(find_people=False)
        self.left_out: tuple[LeftOut, ...] = ()
        table = read_video_list(self.csv).table.sort_values("clip")
        self.class_names = tuple(sorted(set(table["label"])))
        skeletons = table["skeleton"] if "skeleton" in table else [""] * len(table)
        self.records = tuple(
            ClipRecord(
                clip, self.class_names.index(label), 0, 0, 0, self.root / skeleton if skeleton else None, Path(video),
                FRAME_RATE, MEDIAPIPE_33,
            )
            for clip, label, video, skeleton in zip(table["clip"], table["label"], table["video"], skeletons, strict=True)
        )  # fmt: skip
        self._sides = {name: dict(zip(table["clip"], table[name], strict=True)) for name in table if name.startswith(SPLIT)}

    def load_skeleton(self, record: ClipRecord) -> SkeletonSequence:
        """Reads the record's poses. Raises SkeletonFormatError, see `read_pose_file`."""
        return read_pose_file(record.skeleton)

    def protocols(self) -> Mapping[str, Split]:
        """A protocol per column whose name starts with "split"."""
        return {
            name: Split(*(tuple(clip for clip, found in side_of.items() if found == side) for side in SIDES))
            for name, side_of in self._sides.items()
        }

    def count_mismatches(self) -> tuple[CountMismatch, ...]:
        """None: no numbers were published."""
        return ()
