"""keras-actrec report: the HTML page about a finished run, made anew from the files that the run left."""

from __future__ import annotations

import argparse
from pathlib import Path

HELP = """\
Makes the HTML page about a finished run again: accuracies by stream and class, confusions and their clips, learning curves,
attention by class, left-out clips, configuration. Every run leaves this page as report.html; this command is for runs of
earlier versions, for folders that were copied from elsewhere, and for a page in another place.

The page is one file that loads nothing and runs no script: it can be mailed, and read offline and on a phone. It names
clips, but no folders of this machine.

examples:
  keras-actrec report runs/ntu_pose_rgb
  keras-actrec report runs/sbu_pose --out sbu.html       of several protocols: their mean, and a table of each
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of the command."""
    add = parser.add_argument
    add("run", type=Path, metavar="RUN", help="folder of a finished run, the one with metrics.json in it")
    add("--out", type=Path, metavar="FILE", help="HTML file to write (default: RUN/report.html)")


def run(args: argparse.Namespace) -> None:
    """Writes the page; of several protocols also that of each, where the page lies beside them.

    Raises:
        DatasetError: the folder holds no finished run.
        WeightsError: its scores or its attention do not read.
        DiskFullError: no space left.
    """
    from keras_actrec.recipes.report_page import REPORT, protocols_of, run_report
    from keras_actrec.visualize.report_page import write_report_page

    if args.out is None:
        for fold in protocols_of(args.run):  # first: the page links to theirs
            write_report_page(run_report(args.run / fold), args.run / fold / REPORT)
    path = write_report_page(run_report(args.run), args.out or args.run / REPORT)
    print(f"wrote {path}")
