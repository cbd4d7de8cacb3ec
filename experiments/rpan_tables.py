"""Runs every row of Table 1, 2, 3 or 4 of the RPAN paper on one data set and writes the table beside the paper's numbers.

    python experiments/rpan_tables.py --table 1 --dataset sub_jhmdb --data-root /data/jhmdb --train on_maps
    python experiments/rpan_tables.py --table 3 --dataset penn_action --data-root /data/penn --cnn bn_inception=tsn.weights.h5

All protocols of the data set are averaged: split1 to split3 of JHMDB and Sub-JHMDB, the official one of Penn Action. Results:
WORKDIR/rpan_tableN.md and .csv, and the files of every run in WORKDIR/ROW/seedN. With --resume the same command goes on where
it was stopped. Without joint_positions JHMDB's attention learns from the actions alone.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from keras_actrec.recipes.rpan.script import MODEL, add_frames, experiment_from
from keras_actrec.recipes.video import script as video_script


def arguments() -> argparse.Namespace:
    parser = video_script.script_parser(
        "", __doc__, model=f"{MODEL}_tables", preset="", presets="that of the data set", synthetic=False,
        datasets=("sub_jhmdb", "jhmdb", "penn_action"),
    )  # fmt: skip
    add = parser.add_argument
    add("--table", type=int, choices=(1, 2, 3, 4), required=True, help="table of the paper")
    add("--rows", nargs="+", default=[], metavar="NAME", help="rows to run (default: all)")
    add("--seeds", type=int, nargs="+", default=[0, 1, 2], help="seeds of the runs (default: 0 1 2)")
    add("--cnn", nargs="+", default=[], metavar="NAME=FILE", help="Table 3: weights of vgg16 and bn_inception")
    add("--summary", type=Path, metavar="CSV", help="table of all results that the rows are added to, e.g. results/summary.csv")
    add_frames(parser, size=(240, 320), synthetic=False)
    train = parser.add_argument_group("training (defaults: the paper's; the same in all rows)").add_argument
    video_script.add_training(train, initial=None)
    train("--pose-weight", type=float, help="weight of the joints' loss; 0 trains without joints (default: 1)")
    args = video_script.parsed(parser, "", f"{MODEL}_tables")
    if any("=" not in pair for pair in args.cnn):
        parser.error("--cnn takes pairs such as bn_inception=tsn.weights.h5")
    return args


def run(args: argparse.Namespace) -> None:
    from keras_actrec.recipes.rpan.experiment import TASKS, open_clips
    from keras_actrec.recipes.rpan.tables import run_rpan_table
    from keras_actrec.recipes.tables import repeat_command, report_table

    files = {"DATA_ROOT": args.data_root, "WORKDIR": args.workdir, "CACHE_DIR": args.cache_dir, "SUMMARY": args.summary}
    files |= {"WEIGHTS": args.backbone_weights, "FLOW_WEIGHTS": args.flow_weights}
    weights = dict(pair.split("=", 1) for pair in args.cnn)
    files |= {f"{name.upper()}_WEIGHTS": file for name, file in weights.items()}
    command = repeat_command("experiments/rpan_tables.py", files)
    task = TASKS[args.dataset]
    args.preset = args.preset or task.preset
    base = experiment_from(args.dataset, args)
    rows, text = run_rpan_table(
        args.table, open_clips(args.dataset, args.data_root), base,
        (args.protocol,) if args.protocol else task.protocols, args.seeds,
        command=command, rows=args.rows, weights=weights,
    )  # fmt: skip
    report_table(args.workdir / f"rpan_table{args.table}", rows, text, summary=args.summary, strategy=base.strategy)


def main() -> int:
    args = arguments()
    return video_script.exit_of(lambda: run(args))


if __name__ == "__main__":
    sys.exit(main())
