"""The arguments of every command that runs a trained model, and the `Recognizer` that they stand for."""

from __future__ import annotations

import argparse
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from keras_actrec.recognizer import Recognizer


def add_model_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds --model, and where weights and models beside it are."""
    add = parser.add_argument
    model = "exported model: the folder WORKDIR/export of a training. It is a program: take it from someone you trust"
    add("--model", type=Path, required=True, metavar="FOLDER", help=model)
    group = parser.add_argument_group("of single models").add_argument
    flow = "RPAN: export of the model of optical flow beside that of RGB (WORKDIR/export_flow); both answer as one"
    group("--flow-model", type=Path, metavar="FOLDER", help=flow)
    sensor = "two-stream network: weights file of the image network, if it has moved since the training"
    group("--sensor-weights", metavar="FILE", help=sensor)
    pose = "model file .task of the pose landmarker, where poses are estimated (default: found, or fetched once)"
    group("--pose-model", type=Path, metavar="FILE", help=pose)


@contextmanager
def plain_warnings() -> Iterator[None]:
    """Warnings of a block are a line for the user, without the place in the program that they come from."""
    with warnings.catch_warnings():
        warnings.showwarning = lambda message, *_, **__: print(f"warning: {message}", file=sys.stderr)
        yield


def recognizer_from(args: argparse.Namespace, *, pose: bool = False) -> Recognizer:
    """Loads the model that the arguments name; `pose` as for `Recognizer.load`.

    Raises:
        WeightsError: no export, or weights that cannot be had.
        ConfigError: an option that the model has no use for.
    """
    from keras_actrec.recognizer import Recognizer

    return Recognizer.load(
        args.model, sensor_weights=args.sensor_weights, flow_model=args.flow_model, pose=pose, pose_model=args.pose_model
    )
