"""Writes the small synthetic data set in NTU RGB+D's own file formats: `python preprocessing/make_synthetic_ntu.py ROOT`."""

from __future__ import annotations

import argparse
import sys

from keras_actrec.scripts import exit_status
from keras_actrec.synthetic.dataset import SyntheticConfig, synthetic_clips, write_synthetic_ntu


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    default = SyntheticConfig()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("root", help="folder to write to")
    parser.add_argument("--seed", type=int, default=default.seed)
    parser.add_argument("--subjects", type=int, nargs="+", default=default.subjects, help="NTU subject numbers")
    parser.add_argument("--cameras", type=int, nargs="+", default=default.cameras, choices=(1, 2, 3))
    parser.add_argument("--replications", type=int, default=default.replications)
    parser.add_argument("--frames", type=int, nargs=2, default=default.frames, metavar=("FEWEST", "MOST"))
    parser.add_argument("--size", type=int, nargs=2, default=(default.width, default.height), metavar=("WIDTH", "HEIGHT"))
    parser.add_argument("--no-faults", action="store_true", help="no faults in the skeleton files")
    parser.add_argument("--workers", type=int, default=2)
    return parser.parse_args(arguments)


def run(options: argparse.Namespace) -> None:
    config = SyntheticConfig(
        seed=options.seed,
        subjects=tuple(options.subjects),
        cameras=tuple(options.cameras),
        replications=options.replications,
        frames=tuple(options.frames),
        width=options.size[0],
        height=options.size[1],
        faults=not options.no_faults,
    )
    root = write_synthetic_ntu(options.root, config, workers=options.workers)
    print(f"{len(synthetic_clips(config))} clips in {root}")


def main(arguments: list[str] | None = None) -> int:
    options = parse(arguments)
    return exit_status(lambda: run(options))


if __name__ == "__main__":
    sys.exit(main())
