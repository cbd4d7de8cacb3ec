"""Command-line arguments that every extraction script has."""

from __future__ import annotations

import argparse

from keras_actrec.cache.schema import CLIPS_PER_SHARD
from keras_actrec.video.time_limit import CLIP_SECONDS


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
    add("--workers", type=int, default=1, help="processes (default: %(default)s)")
    share = f"write every N-th {shares} from the I-th on, I from 0"
    add("--shard", dest="share", type=_share, default=(0, 1), metavar="I/N", help=share)
    add("--progress", action=argparse.BooleanOptionalAction, help="progress bar (default: on a terminal)")
    return group


def run_options(args: argparse.Namespace) -> dict[str, object]:
    """The keyword arguments of `extract_poses`, `extract_hand_features`, … that were added by the functions above."""
    names = ("workers", "share", "clips_per_shard", "retry_left_out", "progress", "clip_seconds")
    return {name: getattr(args, name) for name in names if hasattr(args, name)}


def _share(text: str) -> tuple[int, int]:
    try:
        part, parts = (int(number) for number in text.split("/"))
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no share like 0/4") from None
    return part, parts
