"""The arguments of the commands that estimate poses."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from keras_actrec.pose_estimation.estimator import PoseEstimationConfig


def add_pose_estimation(parser: argparse.ArgumentParser) -> None:
    """Adds what says how people are found."""
    group = parser.add_argument_group("poses").add_argument
    model = "model file .task of MediaPipe's pose landmarker (default: found, or fetched once)"
    group("--pose-model", type=Path, metavar="FILE", help=model)
    group("--people", type=int, default=2, help="most people in a frame (default: %(default)s)")
    confidence = "least score, 0 to 1, of a person that is found or followed; lower finds more, false ones too (default: 0.5)"
    group("--pose-confidence", type=float, default=0.5, metavar="SCORE", help=confidence)


def pose_estimation(args: argparse.Namespace) -> PoseEstimationConfig:
    """What these arguments ask for. Raises ConfigError for values that make no sense."""
    from keras_actrec.pose_estimation.estimator import PoseEstimationConfig

    score = args.pose_confidence
    return PoseEstimationConfig(
        people=args.people, detection_confidence=score, presence_confidence=score, tracking_confidence=score
    )
