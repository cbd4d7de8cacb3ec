"""The table of all results: one row per measurement, with its spread over seeds."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from keras_actrec.errors import DatasetError
from keras_actrec.files import whole_file

COLUMNS = ("dataset", "protocol", "model", "preset", "inputs", "metric", "mean", "std", "seeds", "clips", "command")
SELECTION_PREFIX = "inner_"
"""Protocols that split training clips to choose settings on them have names that start so."""

INPUTS = {"pose": "pose", "rgb": "rgb", "fused": "pose+rgb"}
_SAME = ("dataset", "protocol", "model", "preset")
_KEY = [*_SAME, "inputs", "metric"]


def summarise(metrics: Sequence[str | Path], *, command: str, metric: str = "accuracy") -> pd.DataFrame:
    """Mean and spread of runs that differ in their seed only.

    Args:
        metrics: metrics.json files of the runs.
        command: how anyone repeats them; `SEED` stands for the seed.
        metric: "accuracy", "mean_class_accuracy" or "macro_f1".

    Returns:
        One row per stream with `COLUMNS`; mean and std (over seeds, n - 1) in percent, clips = tested clips.

    Raises:
        DatasetError: a file that does not read, a run on training clips that settings were chosen on, runs of different things,
            or a seed twice.
    """
    runs = [_read(path) for path in metrics]
    for path, run in zip(metrics, runs, strict=True):
        if run["protocol"].startswith(SELECTION_PREFIX):
            raise DatasetError(
                "settings were chosen on this: it is no result", file=path, found=f"protocol {run['protocol']}",
                expected="a protocol of the data set", fix="run the chosen settings without --select-by",
            )  # fmt: skip
        different = [name for name in _SAME if run[name] != runs[0][name]]
        if different:
            name = different[0]
            raise DatasetError(
                f"the runs differ in their {name}", file=path, found=run[name], expected=runs[0][name],
                fix="summarise them one by one",
            )  # fmt: skip
    seeds = [run["seed"] for run in runs]
    if len(set(seeds)) != len(seeds):
        raise DatasetError("a seed stands twice among the runs", found=seeds, fix="give every run once")
    rows = []
    for stream in runs[0][metric]:
        values = pd.Series([100 * run[metric][stream] for run in runs])
        spread = round(values.std(), 2) if len(values) > 1 else None
        same = [runs[0][name] for name in _SAME]
        row = (*same, INPUTS.get(stream, stream), metric, round(values.mean(), 2), spread)
        rows.append((*row, " ".join(map(str, sorted(seeds))), runs[0]["clips"]["test"], command))
    return pd.DataFrame(rows, columns=list(COLUMNS))


def add_to_summary(path: str | Path, rows: pd.DataFrame) -> pd.DataFrame:
    """Adds rows to a summary file; a row of the same data, model, inputs and metric is replaced. Returns the whole table."""
    path = Path(path)
    table = pd.concat([pd.read_csv(path), rows] if path.exists() else [rows])
    table = table.drop_duplicates(_KEY, keep="last").sort_values(_KEY)
    with whole_file(path) as part:
        table.to_csv(part, index=False)
    return table


def _read(path: str | Path) -> dict:
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DatasetError(
            "cannot be read as the metrics of a run", file=path, found=error, fix="give the metrics.json of a finished run"
        ) from error
