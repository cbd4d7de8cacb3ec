"""`keras-actrec predict FOLDER`: every video below a folder, and predictions.csv with a row for each."""

from __future__ import annotations

import argparse
import csv
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from keras_actrec.cli import answers
from keras_actrec.errors import ActrecError, ConfigError, DatasetError, DiskFullError
from keras_actrec.files import whole_file
from keras_actrec.progress import progress_bar

if TYPE_CHECKING:
    from keras_actrec.recognizer import Recognizer

SUMMARY = "predictions.csv"
COLUMNS = ("video", "start_seconds", "stop_seconds", "class", "probability", "error")
"""Of `SUMMARY`; both times are empty where a video is one clip."""


def check_folders(args: argparse.Namespace) -> None:
    """Raises ConfigError where --out or --timeline-out would put all videos into one file."""
    for option, paths in (("--out", [args.out]), ("--timeline-out", args.timeline_out)):
        for path in paths:
            if path is not None and path.suffix:
                raise ConfigError(
                    f"{option} is a folder for a folder of videos", file=path, found="the name of a file",
                    fix="give a name without an ending",
                )  # fmt: skip


def predict_folder(
    recognizer: Recognizer, folder: Path, args: argparse.Namespace, slide: Mapping[str, float] | None
) -> int | None:
    """Classifies every video; one that cannot be is written down with the reason, and the next one follows.

    Args:
        recognizer: the model.
        folder: searched with its sub-folders.
        args: of the command.
        slide: seconds and stride of windows; None: one answer per video.

    Returns:
        1 where a video could not be classified.

    Raises:
        DiskFullError: no space left.
    """
    from keras_actrec.video.found import video_files

    videos, rows, failed = video_files(folder), [], 0
    with progress_bar(len(videos), "videos", unit="video") as bar:
        for video in videos:
            name = video.relative_to(folder).as_posix()
            try:
                rows += _rows(recognizer, video, name, args, slide)
            except DiskFullError:
                raise
            except ActrecError as error:
                failed += 1
                rows.append((name, "", "", "", "", str(error)))
                print(f"{name}: {error}", file=sys.stderr)
            bar.update(1)
    summary = _write_summary((args.out or Path()) / SUMMARY, rows)
    done = f"{len(videos) - failed} of {len(videos)} videos classified"
    print(f"{done}; wrote {summary}", file=sys.stderr if args.json else sys.stdout)
    return 1 if failed else None


def _rows(
    recognizer: Recognizer, video: Path, name: str, args: argparse.Namespace, slide: Mapping[str, float] | None
) -> list[tuple]:
    skeleton = None if args.skeleton is None else skeleton_of(video, args.skeleton)
    stem = name.replace("/", "_").rpartition(".")[0]
    out = None if args.out is None else args.out / f"{stem}_explained.mp4"
    if slide is None:
        prediction = recognizer(video, skeleton, frame_rate=args.frame_rate)
        ((label, probability),) = prediction.top(1)
        if out is not None:
            answers.write_explained(prediction, out)
        if args.json:
            answers.print_prediction(prediction, name, as_json=True)
        else:
            print(f"{100 * probability:6.2f} %  {label}  {name}", flush=True)
        return [(name, "", "", label, f"{probability:.6f}", "")]
    found = answers.windows_of(recognizer, video, skeleton, slide, args.frame_rate)
    answers.write_timeline(found.timeline, args.timeline_out, stem)
    if out is not None:
        found.write_film(out)
    if not args.json:
        print(f"{name}:", flush=True)
    answers.print_timeline(found.timeline, name, as_json=args.json)
    return [
        (name, f"{part.start_seconds:.3f}", f"{part.stop_seconds:.3f}", part.class_name, f"{part.probability:.6f}", "")
        for part in found.timeline.segments()
    ]


def skeleton_of(video: Path, folder: Path) -> Path:
    """The pose file of a video: of its name, or, as NTU has it, of its name without _rgb.

    Raises:
        DatasetError: there is none, or `folder` is none.
    """
    from keras_actrec.datasets.pose_files import SUFFIXES

    if not folder.is_dir():
        fix = "give the folder of the skeletons, or leave out --skeleton"
        raise DatasetError("--skeleton is no folder, and the video is a folder of videos", file=folder, fix=fix)
    stems = (video.stem, video.stem.removesuffix("_rgb"))
    found = next((file for stem in stems for s in SUFFIXES if (file := folder / f"{stem}{s}").is_file()), None)
    if found is None:
        raise DatasetError(
            "the video has no skeleton in the folder", file=folder, found=f"nothing for {video.name}",
            expected=" or ".join(f"{video.stem}{suffix}" for suffix in SUFFIXES),
            fix="add it, or leave out --skeleton, and poses are estimated for all videos",
        )  # fmt: skip
    return found


def _write_summary(path: Path, rows: list[tuple]) -> Path:
    with whole_file(path) as part, part.open("w", newline="", encoding="utf-8-sig") as file:
        table = csv.writer(file)
        table.writerow(COLUMNS)
        table.writerows(rows)
    return path
