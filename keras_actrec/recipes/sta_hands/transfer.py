"""Transfer: a pose network trained on one data set goes on with another, against the same network from random weights.

Paper: Baradel, Wolf, Mille, "Pose-conditioned Spatio-Temporal Attention for Human Action Recognition", 2017, section 5:
initialised from NTU RGB+D, skeleton definitions adapted, all layers fine-tuned with a learning rate 10 times smaller.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType

from keras_actrec.datasets.record import ActionDataset
from keras_actrec.extraction.poses import dataset_layout
from keras_actrec.recipes.sta_hands.experiment import Experiment
from keras_actrec.recipes.sta_hands.pose import PoseTask, pose_experiment
from keras_actrec.recipes.tables import TableRow, at_seed, run_seeds, write_table
from keras_actrec.skeletons.layouts import LAYOUTS
from keras_actrec.skeletons.retarget import retarget_map

log = logging.getLogger(__name__)

FINE_TUNING = 0.1
"""Learning rate of the fine-tuning as a share of that of the training (paper section 5)."""

PAPER_COLUMN = "paper: transfer from NTU"
PAPER_ACCURACY: Mapping[tuple[str, str], float] = MappingProxyType({
    ("ntu_rgbd", "sbu"): 90.5,  # Table 2, "Ours (Pose only)"
    ("ntu_rgbd", "msr_daily"): 74.6,  # Table 3, "Ours (Pose only)"
})  # fmt: skip
"""(source, target) → the paper's accuracy with transfer, pose only, in percent. It has none without."""


@dataclass(frozen=True)
class TransferExperiments:
    """The three experiments of a transfer; their pose tensors have the same columns in the same unit.

    Attributes:
        source: training on the source data set.
        without: training on the target data set from random weights.
        fine_tuning: the same from the weights of `source`, with a tenth of the learning rate; `initial` is set for each seed.
    """

    source: Experiment
    without: Experiment
    fine_tuning: Experiment


def transfer_experiments(
    source: ActionDataset,
    target: ActionDataset,
    source_task: PoseTask,
    target_task: PoseTask,
    settings: str,
    workdir: Path,
    *,
    cache_dir: Path | None = None,
    epochs: int | None = None,
    learning_rate: float | None = None,
    batch_size: int | None = None,
    strategy: str = "none",
    resume: bool = False,
) -> TransferExperiments:
    """Makes the experiments of a transfer.

    The target's skeletons are retargeted to the source's layout. The tensors hold the people of the task that has more, in
    body sizes if one of the tasks asks for it.

    Args:
        source, target: the data sets.
        source_task, target_task: how their poses are used.
        settings: "paper" or "tuned", see `pose_experiment`.
        workdir: for all runs.
        cache_dir: for the pose caches, in its folders source and target; None: WORKDIR/cache.
        epochs, learning_rate, batch_size: instead of those of the settings; the learning rate is not that of the fine-tuning,
            which takes a tenth of it.
        strategy: of all runs.
        resume: go on with runs that were stopped.

    Raises:
        ConfigError: unknown settings, or the target's skeletons do not give the joints of the source's layout.
    """
    layout = source_task.layout or dataset_layout(source).name
    retarget_map(dataset_layout(target), LAYOUTS[layout])  # raises where a joint cannot be had
    tasks = source_task, target_task
    people = max(task.people for task in tasks)
    scale = "body" if any(task.scale == "body" for task in tasks) else "none"
    stage = {"learning_rate": learning_rate, "batch_size": batch_size}
    stage = {name: value for name, value in stage.items() if value is not None}

    def experiment(task: PoseTask, part: str, name: str, caches: str) -> Experiment:
        base = pose_experiment(replace(task, people=people, scale=scale, layout=layout), settings, workdir / part)
        longest = base.pose_stage if epochs is None else base.pose_stage.with_epochs(epochs)
        return replace(
            base,
            settings=f"{settings}, {name}",
            pose_stage=replace(longest, **stage),
            cache_dir=(cache_dir or workdir / "cache") / caches,
            strategy=strategy,
            resume=resume,
        )

    without = experiment(target_task, "without", f"without transfer from {source.name}", "target")
    fine_tuning = experiment(target_task, "transfer", f"transfer from {source.name}", "target")
    rate = FINE_TUNING * fine_tuning.pose_stage.learning_rate
    return TransferExperiments(
        source=experiment(source_task, "source", f"source of transfer to {target.name}", "source"),
        without=without,
        fine_tuning=replace(fine_tuning, pose_stage=replace(fine_tuning.pose_stage, learning_rate=rate)),
    )


def run_transfer(
    source: ActionDataset,
    target: ActionDataset,
    experiments: TransferExperiments,
    protocols: Sequence[str],
    seeds: Sequence[int],
    workdir: Path,
    *,
    command: str,
) -> tuple[list[TableRow], str]:
    """Trains on the source, then on the target without and with transfer, and writes transfer.md and transfer.csv.

    Files below `workdir`: the table, anew after each row, and source/seedN, without/seedN, transfer/seedN, see `run_folds`.

    Args:
        source, target: the data sets.
        experiments: from `transfer_experiments`. The source is trained on the first protocol of its task.
        protocols: of the target, run one after the other and averaged.
        seeds: of the runs; each has a source of its own.
        workdir: for the table.
        command: how anyone repeats the runs.

    Returns:
        The rows, and the table as Markdown.

    Raises:
        ActrecError: see `run_seeds`.
    """
    known = PAPER_ACCURACY.get((source.name, target.name))
    paper = {} if known is None else {PAPER_COLUMN: known}
    rows = [
        TableRow("source", f"{source.name} from random weights", {}),
        TableRow("without", f"{target.name} from random weights", {}),
        TableRow("transfer", f"{target.name} from the weights of {source.name}, all layers fine-tuned", paper),
    ]
    jobs = (
        (source, experiments.source, (experiments.source.protocol,)),
        (target, experiments.without, protocols),
        (target, experiments.fine_tuning, protocols),
    )
    text = ""
    for index, (dataset, base, folds) in enumerate(jobs):
        log.info("%s: %s", rows[index].name, rows[index].method)
        runs = [at_seed(base, seed) for seed in seeds]
        if base is experiments.fine_tuning:
            runs = [replace(run, initial=at_seed(experiments.source, run.seed).workdir) for run in runs]
        measured = run_seeds(dataset, runs, folds, metric=dataset.metrics[0], command=command)
        rows[index] = replace(rows[index], measured=measured, note="")
        title = f"Transfer from {source.name} to {target.name}, pose only"
        text = write_table(workdir / "transfer", title, rows, command=command, strategy=base.strategy)
    return rows, text
