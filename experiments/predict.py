"""Classifies one clip with an exported model and draws what the model attended to: `keras-actrec predict` under another name.

    python experiments/predict.py --model runs/ntu_pose_rgb/export --video CLIP_rgb.avi --skeleton CLIP.skeleton
    python experiments/predict.py --model runs/ntu_glimpse_clouds/export --video CLIP_rgb.avi
    python experiments/predict.py --model runs/jhmdb_rpan/export --flow-model runs/jhmdb_rpan/export_flow --video CLIP.avi

Prints the five most probable classes and writes the explained clip: `.avi` or `.mp4` gives a video, `.png` a picture of the
moments that the model attended to most. The two-stream network is explained by squares around the hands, VPN by a heat map over
the person, Glimpse Clouds by the boxes of its glimpses and by which worker takes them in, RPAN by heat maps and the joints
where they are highest; a video of it stops at the frames that RPAN looked at.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from types import SimpleNamespace

from keras_actrec.cli import predict
from keras_actrec.cli.main import script


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--video", required=True, help="RGB video of the clip, or what else `keras-actrec predict` takes")
    predict.add_options(parser)


def run(args: argparse.Namespace) -> int | None:
    if args.out is None and predict.kind_of(args.video) == "clip":
        args.out = Path(f"{Path(args.video).stem}_explained.avi")
    return predict.run(args)


def main() -> int:
    return script(SimpleNamespace(HELP=__doc__, add_arguments=add_arguments, run=run))


if __name__ == "__main__":
    sys.exit(main())
