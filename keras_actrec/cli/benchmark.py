"""`keras-actrec benchmark`: how long a trained model takes on this machine, step by step."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING

from keras_actrec.cli.model_arguments import add_model_arguments, plain_warnings
from keras_actrec.files import whole_file

if TYPE_CHECKING:
    from keras_actrec.cli.timing import Benchmark

HELP = """\
Times a trained model on this machine: how many frames per second, and which step takes how long?

in:  an exported model, and a clip as long as those that it will see
out: a table of seconds for each step, the median of the repeats: poses (estimated, or read from --skeleton), hand features
     (crops through the image network; two-stream network only), network (the exported model itself, with the image network
     of VPN, Glimpse Clouds and RPAN), frames and crops (decoding, cutting and all else). With --out also as JSON.

The first clip takes longer, as TensorFlow prepares its graphs: it is given for itself.

example:
  keras-actrec benchmark clip.mp4 --model runs/mine/export --repeats 10 --out benchmark.json
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of this command."""
    add = parser.add_argument
    add("video", type=Path, metavar="CLIP", help="video file, or a folder with an image per frame")
    skeleton = "poses of the clip: .skeleton, .npz or .json (default: estimated, where the model needs them)"
    add("--skeleton", type=Path, metavar="FILE", help=skeleton)
    add("--repeats", type=int, default=5, metavar="N", help="measured clips, after a first one (default: %(default)s)")
    add("--out", type=Path, metavar="FILE.json", help="also write every measurement, and what machine this is, as JSON")
    add("--progress", action=argparse.BooleanOptionalAction, help="progress bar (default: on a terminal)")
    add_model_arguments(parser)


def table(found: Benchmark) -> str:
    """The measurements for a screen."""
    seconds, of_clip = found.seconds, ""
    total = seconds["total"]
    if found.frame_rate:
        length = found.frames / found.frame_rate
        of_clip = f" at {found.frame_rate:g} per second ({length:.2f} s)"
    lines = [
        f"{found.model}, {found.clip}: {found.frames} frames{of_clip}",
        f"loading the model  {found.loading:8.3f} s",
        f"first clip         {found.first:8.3f} s",
        f"then, median of {len(found.repeats)}:",
        *(f"  {name:<17}{value:8.3f} s  {value / total:4.0%}" for name, value in seconds.items() if name != "total"),
        f"  {'whole clip':<17}{total:8.3f} s, {found.frames_per_second:.1f} frames per second",
    ]
    if found.frame_rate:
        lines[-1] += f", {found.frames_per_second / found.frame_rate:.2f} times real time"
    return "\n".join(lines)


def run(args: argparse.Namespace) -> None:
    """Measures, prints the table and writes the JSON."""
    from keras_actrec.cli.timing import benchmark

    with plain_warnings():
        found = benchmark(
            args.model, args.video, args.skeleton, repeats=args.repeats, sensor_weights=args.sensor_weights,
            flow_model=args.flow_model, pose_model=args.pose_model, progress=args.progress,
        )  # fmt: skip
    print(table(found))
    if args.out is not None:
        with whole_file(args.out) as part:
            part.write_text(json.dumps(found.as_json(), indent=2) + "\n", encoding="utf-8")
        print(f"wrote {args.out}")
