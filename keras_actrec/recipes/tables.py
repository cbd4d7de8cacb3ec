"""Tables of results: runs of several seeds, their mean and spread beside the paper's numbers, as Markdown and CSV."""

from __future__ import annotations

import json
import logging
import shlex
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import keras
import pandas as pd

from keras_actrec.cache.schema import flatten
from keras_actrec.datasets.record import ActionDataset
from keras_actrec.errors import ConfigError
from keras_actrec.files import whole_file
from keras_actrec.recipes.seeds import AnyExperiment, with_seed
from keras_actrec.recipes.sta_hands.experiment import Experiment
from keras_actrec.recipes.sta_hands.pose import run_folds
from keras_actrec.recipes.sta_hands.two_stream import TwoStreamExperiment, run_two_stream
from keras_actrec.recipes.together import chief_alone, connected
from keras_actrec.recipes.video.experiment import VideoExperiment
from keras_actrec.training.checkpoints import check_same_run
from keras_actrec.training.config import with_added_fields
from keras_actrec.training.summary import COLUMNS, add_to_summary, summarise

log = logging.getLogger(__name__)

NOT_RUN = "not run yet"

Run = Callable[[ActionDataset, Any, Sequence[str]], object]
"""(data set, experiment, protocols): runs it and leaves metrics.json in the experiment's `workdir`."""
Settings = Callable[[ActionDataset, Any, Sequence[str]], Mapping[str, object]]
"""The same → name in metrics.json, or in its configuration → value; "weights.rgb.name" is the name in the rgb of weights."""


@dataclass(frozen=True, eq=False)
class TableRow:
    """One row of a table of results.

    Attributes:
        name: short name, e.g. the letter that the paper gives the row.
        method: what was run, in the paper's words.
        paper: column → the paper's number in percent.
        measured: rows of `keras_actrec.training.summary.summarise`, one per stream; None where nothing was measured.
        note: why nothing was measured.
    """

    name: str
    method: str
    paper: Mapping[str, float]
    measured: pd.DataFrame | None = None
    note: str = NOT_RUN


# Runs -------------------------------------------------------------------------------------------------------------------------


def at_seed(experiment: AnyExperiment, seed: int) -> AnyExperiment:
    """The experiment from one seed, with the folder seedN below its working directory as its own, and the same caches."""
    return with_seed(replace(experiment, workdir=experiment.workdir / f"seed{seed}", cache_dir=experiment.caches), seed)


def run_seeds(
    dataset: ActionDataset,
    experiments: Sequence[Experiment] | Sequence[VideoExperiment],
    protocols: Sequence[str],
    *,
    metric: str = "accuracy",
    command: str,
    run: Run | None = None,
    settings: Settings | None = None,
) -> pd.DataFrame:
    """Runs experiments that differ in their seed only. One with `resume` whose metrics.json exists is not run again.

    Args:
        dataset: the clips. A `TwoStreamExperiment` opens its own, which has to be the same.
        experiments: from `at_seed`.
        protocols: run one after the other and averaged, see `run_folds`.
        metric: a metric of metrics.json.
        command: how anyone repeats the runs.
        run: runs an experiment on the protocols; None: `run_folds` or `run_two_stream`.
        settings: what the metrics.json of a finished run has to say; None: those of the two-stream network.

    Returns:
        One row per stream, see `keras_actrec.training.summary.summarise`.

    Raises:
        ConfigError: no experiment; a seed twice; a finished run that was made with other settings.
        ActrecError: see `run_experiment`.
    """
    seeds = [experiment.seed for experiment in experiments]
    if not seeds or len(set(seeds)) < len(seeds):
        raise ConfigError("a table needs seeds, each of them once", found=seeds, expected="e.g. 0 1 2")
    files, strategy = [], experiments[0].strategy
    connected(strategy)  # before anything else
    for experiment in experiments:
        files.append(experiment.workdir / "metrics.json")
        expected = (settings or _two_stream_settings)(dataset, experiment, protocols)
        if chief_alone(strategy, lambda one=experiment, expected=expected: one.resume and _is_finished(one.workdir, expected)):
            log.info("%s is finished", experiment.workdir)
            continue
        keras.backend.clear_session()  # The graphs of the run before are of no more use.
        (run or _run_two_stream)(dataset, experiment, protocols)
    found = chief_alone(strategy, lambda: summarise(files, command=command, metric=metric).to_dict("list"))
    return pd.DataFrame(found, columns=list(COLUMNS))


def protocols_name(protocols: Sequence[str]) -> str:
    """What a run of these protocols is called in its metrics.json, see `keras_actrec.recipes.folds.run_protocols`."""
    return protocols[0] if len(protocols) == 1 else f"{len(protocols)}-fold"


def _run_two_stream(dataset: ActionDataset, experiment: Experiment, protocols: Sequence[str]) -> None:
    if isinstance(experiment, TwoStreamExperiment):
        run_two_stream(replace(experiment, protocol=protocols[0]))
    else:
        run_folds(dataset, experiment, protocols)


def _two_stream_settings(dataset: ActionDataset, experiment: Experiment, protocols: Sequence[str]) -> dict[str, object]:
    return {
        "dataset": dataset.name,
        "protocol": protocols_name(protocols),
        "preset": experiment.settings or experiment.preset,
        "seed": experiment.seed,
        "layout": experiment.joint_layout(dataset).name,
        **{name: getattr(experiment, name) for name in ("holdout", "holdout_unit")},
        "test_views": experiment.test_views,
        **{name: asdict(getattr(experiment, name)) for name in ("tensor", "sampling", "augmentation")},
        **{name: getattr(experiment, name).as_json() for name in ("pose_stage", "rgb_stage")},
    }


def _is_finished(workdir: Path, expected: Mapping[str, object]) -> bool:
    """Whether there is a finished run; raises ConfigError where it is one of other data or settings."""
    file = workdir / "metrics.json"
    if file.exists():
        _check_same(file, expected)
    return file.exists()


def _check_same(file: Path, expected: Mapping[str, object]) -> None:
    """Refuses to take a finished run for one of other data or settings. Raises ConfigError that names the difference."""
    try:
        metrics = json.loads(file.read_text(encoding="utf-8"))
        recorded = {**metrics["configuration"], **metrics}
        recorded = {**flatten(metrics["configuration"]), **flatten(metrics), **recorded}
        # Stages of earlier versions lack the fields that came later.
        recorded |= {key: with_added_fields(recorded[key]) for key in recorded if key == "stage" or key.endswith("_stage")}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ConfigError(
            "cannot be read as the metrics of a finished run", file=file, found=error,
            fix="delete it, or run without --resume",
        ) from error  # fmt: skip
    expected = json.loads(json.dumps(expected))  # tuples become lists, as in the file
    check_same_run(flatten({name: recorded.get(name) for name in expected}), flatten(expected), file)


def repeat_command(script: str, folders: Mapping[str, Path | None]) -> str:
    """The command of this process with the names of `folders` in place of the folders, which are others on each machine.

    Args:
        script: e.g. "experiments/ablations.py".
        folders: name, e.g. "DATA_ROOT" → folder as given on the command line, or None.
    """
    names = {str(folder): name for name, folder in folders.items() if folder is not None}
    words = []
    for word in sys.argv[1:]:
        option, equals, value = word.rpartition("=")
        words.append(option + equals + names.get(str(Path(value)), value))
    return shlex.join(["python", script, *words])


# Tables -----------------------------------------------------------------------------------------------------------------------


def fused(measured: pd.DataFrame) -> pd.Series:
    """The row of the streams together, or of the only one."""
    both = measured[measured.inputs.str.contains("+", regex=False)]  # pose+rgb, rgb+flow
    return (both if len(both) else measured).iloc[0]


def table_frame(rows: Sequence[TableRow], *, command: str) -> pd.DataFrame:
    """A line per row: row, method, dataset, protocol, inputs, metric, mean, std, seeds, clips, the paper's columns, note,
    command. What was not measured is empty."""
    lines = []
    for row in rows:
        measured = {} if row.measured is None else fused(row.measured)
        shown = ("dataset", "protocol", "inputs", "metric", "mean", "std", "seeds", "clips")
        line = {"row": row.name, "method": row.method, **{name: measured.get(name) for name in shown}, **row.paper}
        lines.append({**line, "note": "" if row.measured is not None else row.note, "command": command})
    return pd.DataFrame(lines).astype({"clips": "Int64"})


def write_table(path: Path, title: str, rows: Sequence[TableRow], *, command: str, strategy: str = "none") -> str:
    """Writes a table as PATH.csv, see `table_frame`, and PATH.md. Of the workers of a strategy the chief does.

    Returns:
        The Markdown.

    Raises:
        DiskFullError: no space left.
    """
    frame = table_frame(rows, command=command)
    found = [_percent(line) for _, line in frame.iterrows()]
    shown = frame[["row", "method", "dataset", "protocol", "metric"]].assign(**{"mean ± std in %": found})
    shown[["test clips", "seeds"]] = frame[["clips", "seeds"]]
    papers = dict.fromkeys(name for row in rows for name in row.paper)
    shown = shown.join(frame[list(papers)])
    text = f"# {title}\n\n{markdown_table(shown)}\n\nMean and standard deviation (n - 1) over seeds. Repeat: `{command}`\n"
    chief_alone(strategy, lambda: _write(path, frame, text))
    return text


def _write(path: Path, frame: pd.DataFrame, text: str) -> None:
    with whole_file(path.with_name(f"{path.name}.csv")) as part:
        frame.to_csv(part, index=False)
    with whole_file(path.with_name(f"{path.name}.md")) as part:
        part.write_text(text, encoding="utf-8")


def _percent(line: pd.Series) -> str:
    """E.g. 77.8 ± 0.5; without a spread from one seed; the note where nothing was measured."""
    if pd.isna(line["mean"]):
        return line.note
    return f"{line['mean']:.1f}" + ("" if pd.isna(line["std"]) else f" ± {line['std']:.1f}")


def markdown_table(frame: pd.DataFrame) -> str:
    """A data frame as a Markdown table, without its index; empty cells for what is missing."""
    lines = [list(frame.columns), ["---"] * len(frame.columns)]
    lines += [["" if pd.isna(value) else str(value) for value in line] for line in frame.itertuples(index=False)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def summary_rows(rows: Sequence[TableRow]) -> pd.DataFrame:
    """The measurements of all streams for `keras_actrec.training.summary.add_to_summary`."""
    measured = [row.measured for row in rows if row.measured is not None]
    return pd.concat(measured) if measured else pd.DataFrame(columns=list(COLUMNS))


def report_table(
    path: Path, rows: Sequence[TableRow], text: str, *, summary: Path | None = None, strategy: str = "none"
) -> None:
    """Prints a table and where it is, and adds its measurements to the table of all results.

    Args:
        path: of the table, without suffix, as `write_table` had it.
        rows: of the table.
        text: its Markdown.
        summary: CSV file of all results, see `keras_actrec.training.summary.add_to_summary`; None adds them to none.
        strategy: of the runs: of several workers the chief adds them.

    Raises:
        DiskFullError: no space left.
    """
    if summary is not None:
        chief_alone(strategy, lambda: len(add_to_summary(summary, summary_rows(rows))))
    print(text)
    print(f"written to {path.parent}/{path.name}.md and .csv")
