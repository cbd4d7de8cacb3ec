"""What the scripts of the video networks share (VPN, Glimpse Clouds, RPAN): arguments, the run, and what they print."""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from keras_actrec.scripts import STRATEGIES, STRATEGY_HELP, exit_status

if TYPE_CHECKING:
    from keras_actrec.datasets.record import ActionDataset
    from keras_actrec.recipes.reports import ExperimentResult

Add = Callable[..., argparse.Action]


def script_parser(
    name: str, doc: str, *, model: str, preset: str, presets: str, synthetic: bool, datasets: Sequence[str] = ()
) -> argparse.ArgumentParser:
    """A parser with the arguments of every run.

    Args:
        name: of the data set unless `datasets` are given.
        doc: what --help says.
        model: what the working directory is named by, "vpn" or "glimpse_clouds".
        preset: default of --preset; presets: the names that --help gives.
        synthetic: whether the script makes a synthetic data set where it is given no data root.
        datasets: data sets to choose from by --dataset.
    """
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    root = "folder of the data set, videos included" + (" (default: a synthetic one is made)" if synthetic else "")
    add("--data-root", type=Path, required=not synthetic, help=root)
    if len(datasets) > 1:
        add("--dataset", choices=datasets, default=datasets[0], help="classes and protocols (default: %(default)s)")
    of_dataset = f"runs/{'DATASET' if len(datasets) > 1 else name}_{model}"
    add("--workdir", type=Path, help=f"results (default: {of_dataset})")
    add("--cache-dir", type=Path, help="caches, which runs of the same options can share (default: WORKDIR/cache)")
    add("--protocol", help="default: the paper's first")
    add("--preset", default=preset, help=f"variant: {presets}")
    add("--seed", type=int, default=0, help="initial weights, hold-out, order and draws (default: %(default)s)")
    add("--resume", action="store_true", help="go on with a training that was stopped")
    add("--retry-left-out", action="store_true", help="try clips again that were left out, once their files are mended")
    add("--workers", type=int, help="processes of the extraction (default: 1)")
    return parser


def add_pictures(add: Add, *, boxes: Sequence[str], box: str, image_size: int, stored: str, stored_size: int) -> None:
    """The arguments that say what the network sees of a video, and how it computes.

    Args:
        add: of a parser or a group.
        boxes: choices of --box; box: what --help says about its default.
        image_size, stored_size: defaults that --help names.
        stored: what the stored pictures are, for --help.
    """
    add("--image-size", type=int, help=f"side of the frames that the network sees (default: {image_size})")
    add("--dtype", choices=("float32", "bfloat16"), help="computation of the backbone (default: float32)")
    add("--crop-size", type=int, help=f"side of the stored {stored} (default: {stored_size})")
    add("--margin", type=float, help="widening of the skeleton's box on each side, share of its longer side")
    add("--box", choices=boxes, help=box)
    size = "frame that the skeleton's pixels refer to, where the videos have another size"
    add("--pixel-size", type=int, nargs=2, metavar=("WIDTH", "HEIGHT"), help=size)


def add_training(add: Add, *, initial: str | None) -> None:
    """The arguments of the training; `initial` is the help of --initial, None for a model that starts from no other run."""
    add("--train", choices=("end_to_end", "on_maps"), help="with the backbone, or the rest on its cached maps (no GPU needed)")
    if initial is not None:
        add("--initial", type=Path, help=initial)
    add("--epochs", type=int, help="epochs")
    add("--learning-rate", type=float, help="first learning rate")
    add("--batch-size", type=int, help="clips per step over all devices")
    add("--holdout", type=float, help="share of the training clips held out for validation")
    add("--strategy", choices=STRATEGIES, help=f"{STRATEGY_HELP} (default: mirrored)")


def parsed(parser: argparse.ArgumentParser, name: str, model: str) -> argparse.Namespace:
    """The command line, with a working directory of its own for each data set: they must not share caches."""
    args = parser.parse_args()
    args.workdir = args.workdir or Path(f"runs/{getattr(args, 'dataset', name)}_{model}")
    return args


def of_run(args: argparse.Namespace) -> dict[str, Any]:
    """Fields of an experiment that arguments name as they are; None where an argument was not given."""
    same = ("data_root", "cache_dir", "protocol", "train", "initial", "holdout", "workers", "strategy", "resume")
    fields = {name: getattr(args, name, None) for name in (*same, "retry_left_out")}
    return {**fields, "pixel_size": args.pixel_size and tuple(args.pixel_size)}


def run(
    name: str,
    args: argparse.Namespace,
    experiment: Any,
    run_experiment: Callable[..., ExperimentResult],
    *,
    open_clips: Callable[[str, Path], ActionDataset] | None = None,
) -> None:
    """Opens the data set, runs the experiment on it, and prints its metrics.

    Args:
        name: of the data set.
        args: the arguments.
        experiment: what they ask for.
        run_experiment: (data set, experiment, extra=...) -> result.
        open_clips: opens a data root; None asks for clips with skeleton and video.
    """
    from keras_actrec.datasets.catalogue import open_dataset
    from keras_actrec.recipes.sta_hands.two_stream import accuracy_by_kind, open_synthetic

    if args.data_root is None:
        dataset = open_synthetic(experiment.caches, experiment.synthetic, strategy=experiment.strategy)
        extra = accuracy_by_kind
    else:
        opened = open_dataset(name, args.data_root, video=True) if open_clips is None else open_clips(name, args.data_root)
        dataset, extra = opened, None
    result = run_experiment(dataset, experiment, extra=extra)
    _print_metrics(dataset, result)
    print(f"results in {args.workdir}, exported model in {result.export}")


def _print_metrics(dataset: ActionDataset, result: ExperimentResult) -> None:
    streams = result.metrics[dataset.metrics[0]]
    for stream in streams:
        of = f"  {stream}" if len(streams) > 1 else ""
        for metric in dataset.metrics:
            print(f"{metric:>28} {100 * result.metrics[metric][stream]:5.1f} %  {result.metrics['protocol']}{of}")
        for kind, value in result.metrics.get("accuracy_by_kind", {}).get(stream, {}).items():
            print(f"{kind:>28} {100 * value:5.1f} %")
    for stream, found in result.metrics.get("pose_estimation", {}).items():
        if found["pck"] is not None:  # there is a joint of the test clips that is known
            print(f"{'joints found (PCK 0.2)':>28} {100 * found['pck']:5.1f} %  {stream}")


def exit_of(job: Callable[[], None]) -> int:
    """Runs the job of a script with its log on the screen; returns the exit status."""
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stdout)
    return exit_status(job)
