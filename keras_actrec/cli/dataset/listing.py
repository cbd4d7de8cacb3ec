"""`keras-actrec datasets list`: the public data sets that can be read."""

from __future__ import annotations

import argparse

from keras_actrec.datasets.about import ABOUT

HELP = """\
Lists the public data sets: the names that other commands take, and what each holds. docs/data_sets.md says more.

in:  nothing
out: a table: name, published clips, classes, joint layout of the skeletons, usual protocols; and the authors' pages

example:
  keras-actrec datasets list
"""

_HEAD = ("name", "clips", "classes", "skeletons", "usual protocols")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """There are none."""


def run(args: argparse.Namespace) -> None:
    """Prints the table, and how data of one's own are named."""
    rows = [(name, f"{one.clips:,}", str(one.classes), one.layout, ", ".join(one.protocols)) for name, one in ABOUT.items()]
    widths = [max(map(len, column)) for column in zip(_HEAD, *rows, strict=True)]
    for row in (_HEAD, *rows):
        cells = [
            cell.rjust(width) if name in ("clips", "classes") else cell.ljust(width)
            for name, cell, width in zip(_HEAD, row, widths, strict=True)
        ]
        print("  ".join(cells).rstrip())
    print("\nto be had from their authors, on their terms:")
    for name, one in ABOUT.items():
        print(f"{name:<{widths[0]}}  {one.title}: {one.address}")
    print("\nown: clips of your own that a CSV lists, see docs/own_data.md; the CSV stands in the place of the folder")
