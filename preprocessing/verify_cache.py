"""Checks caches: every shard, clip, option and checksum. Exits with 1 if anything is wrong.

python preprocessing/verify_cache.py /data/cache/poses /data/cache/hands
python preprocessing/verify_cache.py --repair /data/cache/hands      # deletes damaged shards; then run the extraction again
"""

from __future__ import annotations

import argparse
import sys
from functools import partial
from pathlib import Path

from tqdm import tqdm

from keras_actrec.cache.verify import VerifyReport, repair_cache, verify_cache
from keras_actrec.scripts import exit_status


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cache", type=Path, nargs="+", help="folder of a cache")
    parser.add_argument("--repair", action="store_true", help="delete the damaged shards")
    return parser.parse_args()


def main() -> int:
    args = arguments()
    reports: list[VerifyReport] = []

    def verify(directory: Path) -> None:
        with tqdm(desc=f"verify {directory.name}", unit="shard", disable=None) as bar:
            report = verify_cache(directory, on_shard=lambda _: bar.update())
        print(report)
        for path in repair_cache(report) if args.repair else ():
            print(f"deleted {path}")
        reports.append(report)

    unread = [exit_status(partial(verify, directory)) for directory in args.cache]  # goes on after one that cannot be read
    return int(any(unread) or not all(report.ok for report in reports))


if __name__ == "__main__":
    sys.exit(main())
