"""What the VPN scripts of all data sets share: their arguments, the run, and what they print."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import TYPE_CHECKING

from keras_actrec.errors import ConfigError
from keras_actrec.recipes.video import script as video_script
from keras_actrec.scripts import given

if TYPE_CHECKING:
    from keras_actrec.recipes.vpn.experiment import VPNExperiment

MODEL = "vpn"


def vpn_arguments(name: str, doc: str, *, synthetic: bool, datasets: Sequence[str]) -> argparse.Namespace:
    """Reads the command line of a VPN script. Imports nothing heavy, so that --help answers at once."""
    parser = video_script.script_parser(
        name, doc, model=MODEL, preset="vpn_paper", presets="vpn_paper, vpn_official, table1_l1 … table4_gcn_with",
        synthetic=synthetic, datasets=datasets,
    )  # fmt: skip
    video = parser.add_argument_group("video").add_argument
    video("--backbone", help='"i3d", "resnext101_3d" or "package.module:function" (default: i3d)')
    weights = "file of preprocessing/convert_i3d_checkpoint.py, own for a function that loads them, or random for trials"
    video("--backbone-weights", help=weights + (" (synthetic data: random)" if synthetic else ""))
    video("--frames", type=int, help="frames that the backbone sees (default: 64; published code: 16)")
    video("--stride", type=int, help="step between them (default: 2)")
    video("--views", type=int, help="test views, softmax scores max-pooled; with --train on_maps also those of training")
    video("--test-image-size", type=int, help="larger side in the test: fully convolutional, max-pooled over places")
    video_script.add_pictures(
        video, boxes=("clip", "frame"), box="one box for a clip, or one that follows the people (default: clip)",
        image_size=224, stored="person crops", stored_size=224,
    )  # fmt: skip

    pose = parser.add_argument_group("poses").add_argument
    pose("--poses", type=int, help="poses of a clip, t_p (default: the paper's for the data set)")
    pose("--layout", help="joint layout that the bodies are retargeted to (default: the data set's own)")

    train = parser.add_argument_group("training (defaults: the paper's; shorter for synthetic data)").add_argument
    video_script.add_training(train, initial="working directory of a finished VPN run to start from")
    train("--optimizer", choices=("sgd", "adam"), help="optimizer")
    return video_script.parsed(parser, name, MODEL)


def experiment_from(name: str, args: argparse.Namespace) -> VPNExperiment:
    """Arguments over the paper's settings for the data set, or over those of the synthetic one.

    Raises:
        ConfigError: real data without weights for the backbone; values that make no sense.
    """
    from keras_actrec.recipes.seeds import with_seed
    from keras_actrec.recipes.vpn.experiment import embedded_default, vpn_experiment

    if args.data_root is None:
        base = embedded_default(args.workdir, preset=args.preset)
    elif args.backbone_weights is None:
        raise ConfigError(
            "the backbone needs weights: a random one cannot tell real actions apart", found="no --backbone-weights",
            fix="convert the published I3D weights by preprocessing/convert_i3d_checkpoint.py and give the file; for a trial "
            "without them give --backbone-weights random",
        )  # fmt: skip
    else:
        base = vpn_experiment(name, args.workdir, preset=args.preset)
    sampling = given(base.sampling, frames=args.frames, stride=args.stride, poses=args.poses, views=args.views)
    stage = base.stage if args.epochs is None else base.stage.with_epochs(args.epochs)
    experiment = given(
        base,
        **video_script.of_run(args),
        layout=args.layout,
        sampling=sampling,
        backbone=given(
            base.backbone, name=args.backbone, weights=args.backbone_weights, frames=sampling.frames,
            image_size=args.image_size, dtype=args.dtype,
        ),
        crop=given(base.crop, size=args.crop_size, margin=args.margin, box=args.box),
        stage=given(stage, optimizer=args.optimizer, learning_rate=args.learning_rate, batch_size=args.batch_size),
        test_image_size=args.test_image_size,
    )  # fmt: skip
    return with_seed(experiment, args.seed)


def run(name: str, args: argparse.Namespace) -> None:
    """Runs the experiment that the arguments ask for, and prints its metrics."""
    from keras_actrec.recipes.vpn.run import run_vpn_experiment

    video_script.run(name, args, experiment_from(name, args), run_vpn_experiment)


def main(name: str, doc: str, *, synthetic: bool = False, datasets: Sequence[str] = ()) -> int:
    """Runs the VPN script of a data set; returns the exit status.

    Args:
        name: of the data set unless `datasets` are given, and of the working directory.
        doc: what --help says.
        synthetic: whether the script makes a synthetic data set where it is given no data root.
        datasets: data sets of `keras_actrec.datasets.catalogue` to choose from by --dataset.
    """
    args = vpn_arguments(name, doc, synthetic=synthetic, datasets=datasets)
    return video_script.exit_of(lambda: run(getattr(args, "dataset", name), args))
