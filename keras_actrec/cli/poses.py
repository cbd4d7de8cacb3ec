"""`keras-actrec poses`: the poses of the people in plain videos, as files."""

from __future__ import annotations

import argparse
from pathlib import Path

from keras_actrec.cli.pose_arguments import add_pose_estimation, pose_estimation
from keras_actrec.errors import ConfigError

HELP = """\
Finds the people in videos and follows them: 33 joints each, in pixels and in metres, by MediaPipe (pip install
'keras_actrec[pose]').

in:  videos, or folders with videos
out: FOLDER/NAME.npz for each: joints (frames, people, 33, 3), pixels (frames, people, 33, 2), NaN where a person is absent.
     Other commands read them as skeletons (--skeleton, or the column skeleton of a CSV).

examples:
  keras-actrec poses clip.mp4 --out poses
  keras-actrec poses videos/ --out poses --workers 2 --people 1
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of this command."""
    add = parser.add_argument
    add("videos", type=Path, nargs="+", metavar="VIDEO", help="video file, or folder with video files (in any sub-folders)")
    add("--out", type=Path, required=True, metavar="FOLDER", help="folder for the pose files")
    add("--workers", type=int, default=1, help="processes (default: %(default)s)")
    add_pose_estimation(parser)


def run(args: argparse.Namespace) -> int | None:
    """Estimates the poses that are not there yet. Returns 1 where a video could not be read."""
    from keras_actrec.extraction.estimated_poses import estimate_poses
    from keras_actrec.video.found import video_files

    videos: dict[str, Path] = {}
    for given in args.videos:
        for video in video_files(given):
            other = videos.setdefault(video.stem, video)
            if other.resolve() != video.resolve():
                raise ConfigError(
                    "two videos have one name, and so one pose file", file=video, found=other,
                    expected="names that differ before the ending",
                    fix="run the command once for each folder, with another --out",
                )  # fmt: skip
    found = estimate_poses(
        videos, args.out, config=pose_estimation(args), model=args.pose_model, workers=args.workers, progress=True
    )
    for clip in found.left_out:
        print(f"left out: {clip.clip_id}: {clip.reason}")
    print(f"{found.done} clips done, {len(found.files) - found.done} were there, {len(found.left_out)} left out: {args.out}")
    return 1 if found.left_out else None
