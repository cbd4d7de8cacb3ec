"""`keras-actrec extract verify`: checks caches."""

from __future__ import annotations

import argparse
from functools import partial
from pathlib import Path

from tqdm import tqdm

from keras_actrec.cache.verify import VerifyReport, repair_cache, verify_cache
from keras_actrec.scripts import exit_status

HELP = """\
Checks caches: every shard, clip, option and checksum.

in:  folders of any of the caches that `keras-actrec extract` writes
out: what each holds and what is wrong with it; an exit status of 1 if anything is

examples:
  keras-actrec extract verify /data/cache/poses /data/cache/hands
  keras-actrec extract verify --repair /data/cache/hands      # deletes damaged shards; then run the extraction again
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of this command."""
    parser.add_argument("cache", type=Path, nargs="+", metavar="FOLDER", help="folder of a cache")
    parser.add_argument("--repair", action="store_true", help="delete the damaged shards")


def run(args: argparse.Namespace) -> int:
    """Verifies each cache, also behind one that cannot be read; gives 1 where anything is wrong."""
    reports: list[VerifyReport] = []

    def verify(directory: Path) -> None:
        with tqdm(desc=f"verify {directory.name}", unit="shard", disable=None) as bar:
            report = verify_cache(directory, on_shard=lambda _: bar.update())
        print(report)
        for path in repair_cache(report) if args.repair else ():
            print(f"deleted {path}")
        reports.append(report)

    unread = [exit_status(partial(verify, directory)) for directory in args.cache]
    return int(any(unread) or not all(report.ok for report in reports))
