"""`keras-actrec predict`: what is done in a video, in every video of a folder, or in front of a camera."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from keras_actrec.cli.answers import check_timeline_path
from keras_actrec.cli.model_arguments import add_model_arguments, plain_warnings, recognizer_from
from keras_actrec.errors import ConfigError

if TYPE_CHECKING:
    from keras_actrec.recognizer import Recognizer

HELP = """\
Says what is done in a video: the most probable classes, and on request an explained video or a timeline.

in:  a video file; a folder with an image per frame; a folder with videos; or a camera: camera:0 (the first one),
     camera:rtsp://… (a stream). Where the model needs poses and no --skeleton is given, they are estimated in the video
     (pip install 'keras_actrec[pose]').
out: the most probable classes on the screen. With --window they come with their times, window by window.
     --out writes the video with what the model attended to drawn on it. Of a folder of videos, predictions.csv has a row for
     each; a video that cannot be classified has the reason there, and the exit status is 1.

examples:
  keras-actrec predict clip.mp4 --model runs/mine/export
  keras-actrec predict clip.mp4 --model runs/mine/export --out explained.mp4
  keras-actrec predict an_hour.mp4 --model runs/mine/export --window 3 --stride 1.5 --timeline-out timeline.csv timeline.png
  keras-actrec predict videos/ --model runs/mine/export --out explained/
  keras-actrec predict camera:0 --model runs/mine/export
"""

CAMERA = "camera:"
EXPLAINED = (".mp4", ".avi", ".webm", ".mkv", ".mov", ".png", ".jpg", ".jpeg")
"""Endings of what --out writes."""
_SECONDS, _STRIDE = 3.0, 1.5


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of this command."""
    parser.add_argument("video", metavar="VIDEO", help="video file, folder of images or of videos, or camera:NUMBER")
    add_options(parser)


def add_options(parser: argparse.ArgumentParser) -> None:
    """Adds all arguments but the video."""
    add = parser.add_argument
    skeleton = (
        "poses of the clip: .skeleton (NTU), .npz, .json, or a folder of OpenPose's files; for a folder of videos the folder "
        "with a file NAME.npz, .json or .skeleton for each (default: estimated, where the model needs them)"
    )
    add("--skeleton", type=Path, metavar="FILE", help=skeleton)
    out = "explained video (.mp4, .avi, .webm) or a picture of four moments (.png, .jpg); for a folder of videos, a folder"
    add("--out", type=Path, metavar="FILE", help=out)
    add("--json", action="store_true", help="print JSON: an object per line, with the probabilities of all classes")
    add("--frame-rate", type=float, metavar="FPS", help="of a folder of images, or instead of what the video says")
    windows = parser.add_argument_group("long videos and cameras").add_argument
    window = f"answer for windows of so many seconds (default for a camera, and where it is left out: {_SECONDS:g})"
    windows("--window", type=float, nargs="?", const=_SECONDS, metavar="SECONDS", help=window)
    windows("--stride", type=float, metavar="SECONDS", help=f"from one window to the next (default: {_STRIDE:g})")
    timeline = "timeline of the windows: files .csv, .json or .png, or a folder for all three"
    windows("--timeline-out", type=Path, nargs="+", default=[], metavar="FILE", help=timeline)
    windows("--limit", type=int, metavar="N", help="camera: end after so many windows (default: Ctrl-C ends it)")
    add_model_arguments(parser)
    parser.add_argument("--pose", action="store_true", help="Glimpse Clouds: draw the poses that it regresses too")


def run(args: argparse.Namespace) -> int | None:
    """Predicts and prints. Returns 1 where a video of a folder could not be classified."""
    source = str(args.video)
    kind = kind_of(source)
    _check(args, kind)
    recognizer = recognizer_from(args, pose=args.pose)
    with plain_warnings():
        return {"camera": _camera, "folder": _folder, "clip": _clip}[kind](recognizer, source, args)


def kind_of(source: str) -> str:
    """One of camera, folder (of videos), clip. Raises VideoError for a folder with neither videos nor images."""
    from keras_actrec.errors import VideoError
    from keras_actrec.video.found import video_files
    from keras_actrec.video.frame_folder import image_files

    if source.startswith(CAMERA):
        return "camera"
    path = Path(source)
    if not path.is_dir() or image_files(path):
        return "clip"
    try:
        video_files(path)
    except VideoError as error:
        raise VideoError(
            "the folder has neither videos nor images", file=path, expected=f"{error.expected}, .jpg or .png",
            fix="check the path",
        ) from error  # fmt: skip
    return "folder"


def _check(args: argparse.Namespace, kind: str) -> None:
    """Raises ConfigError for options that have no meaning for this kind of video."""
    if kind == "camera":
        for option, given in (("--out", args.out), ("--skeleton", args.skeleton), ("--frame-rate", args.frame_rate)):
            if given is not None:
                raise ConfigError(f"{option} is not for a camera", found=str(args.video), fix=f"leave out {option}")
        if args.timeline_out and args.limit is None:
            fix = "say when it ends (--limit N), or leave out --timeline-out"
            raise ConfigError("a camera's timeline needs an end", found=str(args.video), fix=fix)
    elif args.limit is not None:
        raise ConfigError("--limit is for a camera alone", found=str(args.video), fix="leave out --limit")
    if kind == "folder":
        from keras_actrec.cli.folder_predictions import check_folders

        check_folders(args)
    elif args.out is not None and args.out.suffix.lower() not in EXPLAINED:
        raise ConfigError(
            "--out is no such file", file=args.out, found=args.out.suffix or "no ending", expected=", ".join(EXPLAINED),
            fix="give the file a name with one of these endings",
        )  # fmt: skip
    for path in args.timeline_out:
        check_timeline_path(path)


def _slide(args: argparse.Namespace) -> dict[str, float]:
    return {
        "seconds": _SECONDS if args.window is None else args.window,
        "stride": _STRIDE if args.stride is None else args.stride,
    }


def wants_windows(args: argparse.Namespace) -> bool:
    """Whether the answer is a timeline: --window, or another option that has no meaning without."""
    return args.window is not None or args.stride is not None or bool(args.timeline_out)


def _clip(recognizer: Recognizer, source: str, args: argparse.Namespace) -> None:
    from keras_actrec.cli import answers

    video = Path(source)
    if wants_windows(args):
        found = answers.windows_of(recognizer, video, args.skeleton, _slide(args), args.frame_rate)
        answers.print_timeline(found.timeline, source, as_json=args.json)
        written = answers.write_timeline(found.timeline, args.timeline_out, video.stem)
        if args.out is not None:
            written.append(found.write_film(args.out))
    else:
        prediction = recognizer(video, args.skeleton, frame_rate=args.frame_rate)
        answers.print_prediction(prediction, source, as_json=args.json)
        written = [] if args.out is None else [answers.write_explained(prediction, args.out)]
    for path in written:
        print(f"wrote {path}", file=sys.stderr if args.json else sys.stdout)


def _folder(recognizer: Recognizer, source: str, args: argparse.Namespace) -> int | None:
    from keras_actrec.cli.folder_predictions import predict_folder

    return predict_folder(recognizer, Path(source), args, _slide(args) if wants_windows(args) else None)


def _camera(recognizer: Recognizer, source: str, args: argparse.Namespace) -> None:
    from keras_actrec.cli import answers
    from keras_actrec.recipes.prediction.timeline import Timeline

    windows = answers.printed(recognizer.camera(source[len(CAMERA) :], **_slide(args), limit=args.limit), as_json=args.json)
    if not args.timeline_out:
        for _ in windows:
            pass
        return
    timeline = Timeline.of(windows)
    for path in answers.write_timeline(timeline, args.timeline_out, "camera"):
        print(f"wrote {path}", file=sys.stderr if args.json else sys.stdout)
