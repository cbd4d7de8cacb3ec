"""A public data set as a CSV in the form of docs/own_data.md: its clips, classes and protocols."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from keras_actrec.datasets.own import SPLIT
from keras_actrec.datasets.pose_files import write_pose_file
from keras_actrec.datasets.record import ActionDataset, ClipRecord, LeftOut
from keras_actrec.errors import ConfigError, DatasetError, SkeletonFormatError
from keras_actrec.files import whole_file
from keras_actrec.progress import progress_bar
from keras_actrec.skeletons.cleaning import clean

READABLE = (".skeleton",)
"""Suffixes of skeleton files of data sets that `read_pose_file` reads too; the others have forms of their own."""


@dataclass(frozen=True)
class ClipList:
    """What was written.

    Attributes:
        csv: the file.
        clips: rows.
        splits: names of its columns of protocols.
        left_out: clips of the data root that are not in it.
    """

    csv: Path
    clips: int
    splits: tuple[str, ...]
    left_out: tuple[LeftOut, ...]

    def __str__(self) -> str:
        text = f"{self.clips} clips in {self.csv}, protocols: {', '.join(self.splits)}"
        return text + (f"; {len(self.left_out)} left out" if self.left_out else "")


def write_clip_list(
    dataset: ActionDataset,
    path: str | Path,
    *,
    protocols: Sequence[str] | None = None,
    poses: str | Path | None = None,
    progress: bool | None = None,
) -> ClipList:
    """Writes the clips of a data set as a CSV that `OwnDataset` opens.

    Columns: clip, label (the class's name), video, skeleton (where files are of a form that `read_pose_file` reads), a column
    for each protocol, subject, camera, frame_rate. Paths are relative to the CSV's folder where the files lie below it. A
    single protocol is called "split", several keep their names behind "split_".

    Args:
        dataset: the clips.
        path: the CSV.
        protocols: the ones to write, by default all. A clip has to be on a side of each of them.
        poses: folder to write the cleaned poses into, one `.npz` for each clip, which become the skeletons of the CSV; for data
            sets whose skeleton files have forms of their own.
        progress: of writing poses, see `progress_bar`.

    Raises:
        ConfigError: an unknown protocol, or clips that are on a side of some protocols only.
        DatasetError: no clip is left.
        DiskFullError: no space left.
    """
    path = Path(path)
    sides = _sides(dataset, protocols)
    columns = {name: _column(name, alone=len(sides) == 1) for name in sides}
    used = [record for record in dataset.records if all(record.clip_id in side_of for side_of in sides.values())]
    left_out, skeletons = list(dataset.left_out), {}
    with progress_bar(len(used) if poses else 0, "poses", show=progress) as bar:
        for record in used:
            if poses is None:
                skeletons[record.clip_id] = record.skeleton if _readable(record) else None
                continue
            try:
                sequence, _ = clean(dataset.load_skeleton(record), dataset.cleaning, file=record.skeleton)
                skeletons[record.clip_id] = write_pose_file(Path(poses) / f"{record.clip_id}.npz", sequence)
            except SkeletonFormatError as error:
                left_out.append(LeftOut(record.clip_id, "poses", str(error), str(record.skeleton)))
            bar.update()
    rows = []
    for record in used:
        if record.clip_id not in skeletons:
            continue
        if record.video or skeletons[record.clip_id]:
            rows.append(record)
        else:
            left_out.append(LeftOut(record.clip_id, "clip list", "no video, and no skeleton file that a CSV can name"))
    if not rows:
        raise DatasetError(
            "no clip has a video, or a skeleton file of a form that a CSV can name", file=dataset.root,
            found=f"{len(dataset.records)} usable clips, {len(left_out)} left out",
            fix="with --poses FOLDER their poses are written as files that it can name",
        )  # fmt: skip
    known = any(skeletons[record.clip_id] for record in rows)
    with whole_file(path) as part, part.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        head = ["skeleton"] if known else []
        writer.writerow(["clip", "label", "video", *head, *columns.values(), "subject", "camera", "frame_rate"])
        for record in rows:
            writer.writerow([
                record.clip_id, dataset.class_names[record.label], _relative(record.video, path.parent),
                *([_relative(skeletons[record.clip_id], path.parent)] if known else []),
                *(sides[name][record.clip_id] for name in columns),
                record.subject, record.camera, f"{record.frame_rate:g}" if record.frame_rate else "",
            ])  # fmt: skip
    return ClipList(path, len(rows), tuple(columns.values()), tuple(left_out))


def _sides(dataset: ActionDataset, protocols: Sequence[str] | None) -> dict[str, dict[str, str]]:
    """Protocol → clip → "train" or "test". Raises ConfigError, see `write_clip_list`."""
    splits = dataset.protocols()
    chosen = tuple(splits) if protocols is None else tuple(dict.fromkeys(protocols))
    unknown = [name for name in chosen if name not in splits]
    if unknown:
        raise ConfigError("unknown protocol", found=repr(unknown[0]), expected=f"one of {', '.join(splits)}")
    sides = {
        name: {**dict.fromkeys(splits[name].train, "train"), **dict.fromkeys(splits[name].test, "test")} for name in chosen
    }
    everywhere = set.intersection(*map(set, sides.values()))
    for name, side_of in sides.items():
        if set(side_of) != everywhere:
            raise ConfigError(
                "one list cannot hold these protocols: some clips are on no side of some of them",
                found=f"{len(side_of)} clips of {name}, {len(everywhere)} of all of {', '.join(chosen)}",
                expected="clips that are on a side of each", fix="write a list for each, with --protocol NAME",
            )  # fmt: skip
    return sides


def _column(protocol: str, *, alone: bool) -> str:
    if alone:
        return SPLIT
    return protocol if protocol.startswith(SPLIT) else f"{SPLIT}_{protocol}"


def _readable(record: ClipRecord) -> bool:
    return record.skeleton is not None and record.skeleton.suffix in READABLE


def _relative(file: Path | None, folder: Path) -> str:
    """As a CSV in this folder names the file: relative where it lies below, so that both can move together."""
    if file is None:
        return ""
    file, folder = file.absolute(), folder.absolute()
    return str(file.relative_to(folder) if file.is_relative_to(folder) else file)
