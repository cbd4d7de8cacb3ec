"""What the VPN scripts of all data sets share: their arguments, the run, and what they print."""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from keras_actrec.errors import ConfigError
from keras_actrec.scripts import exit_status, given

if TYPE_CHECKING:
    from keras_actrec.recipes.run import ExperimentResult
    from keras_actrec.recipes.vpn_experiment import VPNExperiment


def vpn_arguments(name: str, doc: str, *, synthetic: bool, datasets: Sequence[str]) -> argparse.Namespace:
    """Reads the command line of a VPN script. Imports nothing heavy, so that --help answers at once."""
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    root = "folder of the data set, videos included"
    add(
        "--data-root",
        type=Path,
        required=not synthetic,
        help=root + (" (default: a synthetic one is made)" if synthetic else ""),
    )
    if len(datasets) > 1:
        add("--dataset", choices=datasets, default=datasets[0], help="classes and protocols (default: %(default)s)")
    of_dataset = "runs/DATASET_vpn" if len(datasets) > 1 else f"runs/{name}_vpn"
    add("--workdir", type=Path, help=f"results (default: {of_dataset})")
    add("--cache-dir", type=Path, help="caches, which runs of the same options can share (default: WORKDIR/cache)")
    add("--protocol", help="default: the paper's first")
    add("--preset", default="vpn_paper", help="variant: vpn_paper, vpn_official, table1_l1 … table4_gcn_with")
    add("--seed", type=int, default=0, help="initial weights, hold-out, order and draws (default: %(default)s)")
    add("--resume", action="store_true", help="go on with a training that was stopped")
    add("--retry-left-out", action="store_true", help="try clips again that were left out, once their files are mended")
    add("--workers", type=int, help="processes of the extraction (default: 1)")

    video = parser.add_argument_group("video").add_argument
    video("--backbone", help='"i3d", "resnext101_3d" or "package.module:function" (default: i3d)')
    weights = "file of preprocessing/convert_i3d_checkpoint.py, own for a function that loads them, or random for trials"
    video("--backbone-weights", help=weights + (" (synthetic data: random)" if synthetic else ""))
    video("--frames", type=int, help="frames that the backbone sees (default: 64; published code: 16)")
    video("--stride", type=int, help="step between them (default: 2)")
    video("--views", type=int, help="test views, softmax scores max-pooled; with --train on_maps also those of training")
    video("--image-size", type=int, help="side of the frames (default: 224)")
    video("--test-image-size", type=int, help="larger side in the test: fully convolutional, max-pooled over places")
    video("--dtype", choices=("float32", "bfloat16"), help="computation of the backbone (default: float32)")
    video("--crop-size", type=int, help="side of the stored person crops (default: 224)")
    video("--margin", type=float, help="widening of the skeleton's box on each side, share of its longer side")
    video("--box", choices=("clip", "frame"), help="one box for a clip, or one that follows the people (default: clip)")
    size = "frame that the skeleton's pixels refer to, where the videos have another size"
    video("--pixel-size", type=int, nargs=2, metavar=("WIDTH", "HEIGHT"), help=size)

    pose = parser.add_argument_group("poses").add_argument
    pose("--poses", type=int, help="poses of a clip, t_p (default: the paper's for the data set)")
    pose("--layout", help="joint layout that the bodies are retargeted to (default: the data set's own)")

    train = parser.add_argument_group("training (defaults: the paper's; shorter for synthetic data)").add_argument
    train(
        "--train", choices=("end_to_end", "on_maps"), help="with the backbone, or the rest on its cached maps (no GPU needed)"
    )
    train("--initial", type=Path, help="working directory of a finished VPN run to start from")
    train("--epochs", type=int, help="epochs")
    train("--optimizer", choices=("sgd", "adam"), help="optimizer")
    train("--learning-rate", type=float, help="first learning rate")
    train("--batch-size", type=int, help="clips per step over all devices")
    train("--holdout", type=float, help="share of the training clips held out for validation")
    train("--strategy", choices=("mirrored", "none"), default="mirrored", help="tf.distribute strategy (default: %(default)s)")
    args = parser.parse_args()
    args.workdir = args.workdir or Path(f"runs/{getattr(args, 'dataset', name)}_vpn")  # data sets must not share caches
    return args


def experiment_from(name: str, args: argparse.Namespace) -> VPNExperiment:
    """Arguments over the paper's settings for the data set, or over those of the synthetic one.

    Raises:
        ConfigError: real data without weights for the backbone; values that make no sense.
    """
    from keras_actrec.recipes.vpn_experiment import embedded_default, vpn_experiment, with_seed

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
        data_root=args.data_root,
        cache_dir=args.cache_dir,
        protocol=args.protocol,
        layout=args.layout,
        sampling=sampling,
        backbone=given(
            base.backbone, name=args.backbone, weights=args.backbone_weights, frames=sampling.frames,
            image_size=args.image_size, dtype=args.dtype,
        ),
        crop=given(base.crop, size=args.crop_size, margin=args.margin, box=args.box),
        pixel_size=args.pixel_size and tuple(args.pixel_size),
        train=args.train,
        initial=args.initial,
        stage=given(stage, optimizer=args.optimizer, learning_rate=args.learning_rate, batch_size=args.batch_size),
        test_image_size=args.test_image_size,
        holdout=args.holdout,
        workers=args.workers,
        strategy=args.strategy,
        resume=args.resume,
        retry_left_out=args.retry_left_out,
    )  # fmt: skip
    return with_seed(experiment, args.seed)


def _print(result: ExperimentResult, metrics: Sequence[str], workdir: Path) -> None:
    for metric in metrics:
        print(f"{metric:>28} {100 * result.metrics[metric]['vpn']:5.1f} %  {result.metrics['protocol']}")
    for kind, value in result.metrics.get("accuracy_by_kind", {}).get("vpn", {}).items():
        print(f"{kind:>28} {100 * value:5.1f} %")
    print(f"results in {workdir}, exported model in {result.export}")


def run(name: str, args: argparse.Namespace) -> None:
    """Runs the experiment that the arguments ask for, and prints its metrics."""
    from keras_actrec.datasets.catalogue import open_dataset
    from keras_actrec.recipes.two_stream import accuracy_by_kind, open_synthetic
    from keras_actrec.recipes.vpn import run_vpn_experiment

    experiment = experiment_from(name, args)
    if args.data_root is None:
        dataset, extra = open_synthetic(experiment.caches, experiment.synthetic), accuracy_by_kind
    else:
        dataset, extra = open_dataset(name, args.data_root, video=True), None
    _print(run_vpn_experiment(dataset, experiment, extra=extra), dataset.metrics, args.workdir)


def main(name: str, doc: str, *, synthetic: bool = False, datasets: Sequence[str] = ()) -> int:
    """Runs the VPN script of a data set; returns the exit status.

    Args:
        name: of the data set unless `datasets` are given, and of the working directory.
        doc: what --help says.
        synthetic: whether the script makes a synthetic data set where it is given no data root.
        datasets: data sets of `keras_actrec.datasets.catalogue` to choose from by --dataset.
    """
    args = vpn_arguments(name, doc, synthetic=synthetic, datasets=datasets)
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stdout)
    return exit_status(lambda: run(getattr(args, "dataset", name), args))
