"""Classifies one clip with an exported model and draws what the model attended to.

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

from keras_actrec.scripts import exit_status


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, required=True, help="exported model: a program, so from someone you trust")
    parser.add_argument("--video", type=Path, required=True, help="RGB video of the clip")
    parser.add_argument(
        "--skeleton", type=Path, help="NTU .skeleton file of the clip; RPAN and Glimpse Clouds on whole frames need none"
    )
    parser.add_argument(
        "--flow-model", type=Path, help="RPAN: export of the model of optical flow beside that of RGB; both answer as one"
    )
    parser.add_argument("--out", type=Path, help="explained clip (default: VIDEO's name + _explained.avi, in this folder)")
    parser.add_argument("--sensor-weights", help="two-stream network: weights file of the image network, if moved")
    parser.add_argument("--pose", action="store_true", help="Glimpse Clouds: draw the poses that it regresses too")
    return parser.parse_args()


def run(args: argparse.Namespace) -> None:
    from keras_actrec.recipes.prediction.explanation import write_explanation
    from keras_actrec.recognizer import Recognizer

    recognizer = Recognizer.load(args.model, sensor_weights=args.sensor_weights, pose=args.pose, flow_model=args.flow_model)
    prediction = recognizer(args.video, args.skeleton)
    for name, probability in prediction.top():
        print(f"{100 * probability:6.2f} %  {name}")
    print(f"wrote {write_explanation(prediction, args.out or Path(f'{args.video.stem}_explained.avi'))}")


def main() -> int:
    args = arguments()
    return exit_status(lambda: run(args))


if __name__ == "__main__":
    sys.exit(main())
