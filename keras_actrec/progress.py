"""The progress bar of long jobs: clips done, rate, time left; a line every few seconds where the output is no terminal."""

from __future__ import annotations

import sys

from tqdm import tqdm

SECONDS_BETWEEN_LINES = 10


def progress_bar(total: int, title: str, *, show: bool | None = None, unit: str = "clip") -> tqdm:
    """A bar over clips, as a context manager with `update(n)`.

    Args:
        total: clips to do.
        title: what is being done.
        unit: what is counted.
        show: True shows it, in a log file as a line every 10 seconds; None shows it on a terminal only.
    """
    terminal = sys.stderr.isatty()
    hidden = total == 0 or not (terminal if show is None else show)
    return tqdm(total=total, desc=title, unit=unit, disable=hidden, mininterval=0.1 if terminal else SECONDS_BETWEEN_LINES)
