"""Command-line arguments that every extraction script has."""

from __future__ import annotations

import argparse
from pathlib import Path

from keras_actrec.cache.schema import CLIPS_PER_SHARD
from keras_actrec.datasets.catalogue import DATASETS
from keras_actrec.errors import ConfigError
from keras_actrec.extraction.ray_cluster import RayCluster
from keras_actrec.extraction.workers import Workers
from keras_actrec.video.time_limit import CLIP_SECONDS

_LOCAL = "local"
_ADDRESSES = "auto, HOST:PORT or ray://HOST:PORT; without an address one of this machine, for this run"


CONFIG_TITLE = "what the cache holds (another choice needs another folder)"


def add_dataset_arguments(parser: argparse.ArgumentParser, *, default: str | None = None) -> None:
    """Adds --dataset and --data-root; without a default, --dataset has to be given."""
    text = "name of the data set, see `keras-actrec datasets list`; own is a CSV of your own clips"
    text += "" if default is None else " (default: %(default)s)"
    parser.add_argument("--dataset", choices=DATASETS, default=default, required=default is None, metavar="NAME", help=text)
    root = "folder of the data set, with its files in any sub-folders; of own: the CSV file"
    parser.add_argument("--data-root", type=Path, required=True, metavar="FOLDER", help=root)


def add_run_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds how to run: workers, progress, share, shards. None of them changes what the cache holds."""
    add = add_worker_arguments(parser, shares="shard").add_argument
    add("--clips-per-shard", type=int, default=CLIPS_PER_SHARD, help="of a new cache (default: %(default)s)")
    add("--retry-left-out", action="store_true", help="write shards anew in which clips were left out")


def add_clip_seconds(parser: argparse.ArgumentParser) -> None:
    """Adds the time limit for decoding a clip, for extractions that read videos; `run_options` hands it on."""
    text = "of decoding that a clip may take; one over it is left out (default: %(default)s)"
    parser.add_argument("--clip-seconds", type=float, default=CLIP_SECONDS, metavar="SECONDS", help=text)


def add_network_arguments(parser: argparse.ArgumentParser, *, batch_size: int, rows: str) -> None:
    """`add_run_arguments`, and how many `rows` ("views") of crops or frames a network takes at once."""
    add_run_arguments(parser)
    parser.add_argument("--batch-size", type=int, default=batch_size, help=f"{rows} per forward pass (default: %(default)s)")


def add_worker_arguments(parser: argparse.ArgumentParser, *, shares: str) -> argparse._ArgumentGroup:
    """Adds workers, share and progress to a parser, in a group that is returned. `shares`: what is shared among machines."""
    group = parser.add_argument_group("how to run")
    add = group.add_argument
    add(
        "--workers",
        type=int,
        metavar="N",
        help="processes (default: 1); with --ray, of the cluster (default: all there is room for)",
    )
    add("--ray", nargs="?", const=_LOCAL, metavar="ADDRESS", help=f"on a Ray cluster: {_ADDRESSES} (docs/distributed.md)")
    add("--cpus-per-worker", type=float, metavar="N", help="that Ray sets aside (default: 1)")
    add(
        "--gpus-per-worker", type=float, metavar="N", help="that Ray sets aside, e.g. 1 or 0.5 (default: 0, workers see no GPU)"
    )
    share = f"write every N-th {shares} from the I-th on, I from 0"
    add("--shard", dest="share", type=_share, default=(0, 1), metavar="I/N", help=share)
    add("--progress", action=argparse.BooleanOptionalAction, help="progress bar (default: on a terminal)")
    return group


def run_options(args: argparse.Namespace) -> dict[str, object]:
    """The keyword arguments of `extract_poses`, `extract_hand_features`, … that were added by the functions above."""
    names = ("share", "clips_per_shard", "retry_left_out", "progress", "clip_seconds")
    return {"workers": workers_from(args), **{name: getattr(args, name) for name in names if hasattr(args, name)}}


def workers_from(args: argparse.Namespace) -> Workers:
    """Who does the work, by the arguments of `add_worker_arguments`.

    Raises:
        ConfigError: a value that makes no sense, or one for Ray without --ray.
    """
    of_ray = {"cpus": args.cpus_per_worker, "gpus": args.gpus_per_worker}
    given = {name: value for name, value in of_ray.items() if value is not None}
    if args.ray is not None:
        return RayCluster(args.workers, None if args.ray == _LOCAL else args.ray, **given)
    if given:
        names = " and ".join(f"--{name}-per-worker" for name in given)
        raise ConfigError(f"{names}: only Ray sets something aside for a worker", fix="give --ray as well")
    return 1 if args.workers is None else args.workers


def _share(text: str) -> tuple[int, int]:
    try:
        part, parts = (int(number) for number in text.split("/"))
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no share like 0/4") from None
    return part, parts
