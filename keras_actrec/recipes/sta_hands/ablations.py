"""The ablations of the STA-Hands paper, Tables 4 to 6: every row of a table on one data set, beside the paper's numbers.

Paper: Baradel, Wolf, Mille, "Pose-conditioned Spatio-Temporal Attention for Human Action Recognition", 2017. Its numbers are
those of NTU RGB+D, cross-subject and cross-view, and say nothing about another data set; they show what a row is worth there.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType

from keras_actrec.datasets.catalogue import open_dataset
from keras_actrec.datasets.record import ActionDataset
from keras_actrec.errors import ConfigError, DatasetError
from keras_actrec.models.sta_hands import preset
from keras_actrec.recipes.sta_hands.experiment import Experiment
from keras_actrec.recipes.sta_hands.pose import PAPER, PoseTask, pose_experiment
from keras_actrec.recipes.sta_hands.two_stream import SyntheticNTU, embedded_default, open_synthetic
from keras_actrec.recipes.tables import TableRow, at_seed, run_seeds, write_table
from keras_actrec.synthetic.dataset import SyntheticConfig

log = logging.getLogger(__name__)

CROSS_SUBJECT, CROSS_VIEW = "paper: NTU cross-subject", "paper: NTU cross-view"
NEEDS_VIDEOS = "needs videos"


@dataclass(frozen=True)
class AblationRow:
    """One row of a table of the paper.

    Attributes:
        name: folder of its runs; the letter in Table 6.
        method: the paper's words.
        cross_subject, cross_view: the paper's accuracies on NTU RGB+D in percent.
        preset: preset of `keras_actrec.models.sta_hands`; "" keeps that of the settings.
        order: joint order of the pose tensors; "" keeps that of the settings.
    """

    name: str
    method: str
    cross_subject: float
    cross_view: float
    preset: str = ""
    order: str = ""

    @property
    def needs_videos(self) -> bool:
        """Whether the row reads hand features."""
        return bool(self.preset) and preset(self.preset, classes=2).has_rgb_stream


TITLES: Mapping[int, str] = MappingProxyType({
    4: "Table 4: pose only, effect of the joint order",
    5: "Table 5: conditioning the attention on pose",
    6: "Table 6: effect of attention",
})  # fmt: skip
TABLES: Mapping[int, tuple[AblationRow, ...]] = MappingProxyType({
    4: (
        AblationRow("random", "Random joint order", 75.5, 83.2, order="random"),
        AblationRow("no_repeats", "Topological order w/o double entries", 76.2, 83.9, order="no_repeats"),
        # The same network as row A of Table 6; the average of its two numbers, 80.8, stands in both tables.
        AblationRow("topological", "Topological order", 77.1, 84.5, order="topological"),
    ),
    5: (
        AblationRow("rgb_unconditioned", "RGB only", 66.5, 72.0, "table5_rgb_unconditioned"),
        AblationRow("rgb_conditioned", "RGB only, attention conditional to pose", 75.6, 80.5, "table5_rgb_conditioned"),
        AblationRow("multimodal_unconditioned", "Multi-modal", 83.9, 90.0, "table5_multimodal_unconditioned"),
        AblationRow(
            "multimodal_conditioned", "Multi-modal, attention conditional to pose", 84.8, 90.6, "table5_multimodal_conditioned"
        ),
    ),
    6: (
        AblationRow("A", "Pose only", 77.1, 84.5, "table6_a"),
        AblationRow("B", "RGB only, no attention (sum of features)", 61.5, 65.9, "table6_b"),
        AblationRow("C", "RGB only, no attention (concat of features)", 63.2, 67.2, "table6_c"),
        AblationRow("E", "RGB only + spatial attention", 67.4, 71.2, "table6_e"),
        AblationRow("G", "RGB only + spatio-temporal attention", 75.6, 80.5, "table6_g"),
        AblationRow("H", "Multi-modal, no attention (A+B)", 83.0, 88.5, "table6_h"),
        AblationRow("I", "Multi-modal, spatial attention (A+E)", 84.1, 90.0, "table6_i"),
        AblationRow("K", "Multi-modal, spatio-temporal attention (A+G)", 84.8, 90.6, "table6_k"),
    ),
})  # fmt: skip
"""Table of the paper → its rows."""


def open_for_table(table: int, name: str, root: Path | None, caches: Path, *, strategy: str = "none") -> ActionDataset:
    """Opens the data set of a table: with videos for Tables 5 and 6, where there are any.

    Args:
        table: number of the table.
        name: name in `keras_actrec.datasets.catalogue`.
        root: its folder; None makes the synthetic data set below `caches`.
        caches: folder of the caches.
        strategy: of the runs, see `open_synthetic`.

    Raises:
        ConfigError: no root, and not the synthetic data set.
        DatasetError: a data root that does not fit the data set.
    """
    if root is None:
        if name != SyntheticNTU.name:
            raise ConfigError(
                f"no data root for {name}", fix=f"give its folder by --data-root, or take --dataset {SyntheticNTU.name}"
            )
        return open_synthetic(caches, SyntheticConfig(), strategy=strategy)
    if table == 4:
        return open_dataset(name, root, video=False)
    try:
        return open_dataset(name, root, video=True)
    except DatasetError as error:
        dataset = open_dataset(name, root, video=False)  # fails again where the root itself is at fault
        log.warning("goes on without videos: %s", error)
        return dataset


def table_experiment(table: int, task: PoseTask, settings: str, workdir: Path, *, synthetic: bool = False) -> Experiment:
    """The settings that all rows of a table share.

    Args:
        table: number of the table.
        task: how the data set's poses are used.
        settings: "paper" or "tuned"; Tables 5 and 6 have "paper" only.
        workdir: for all runs of the table.
        synthetic: whether the data set is the synthetic one, for which Tables 5 and 6 take `embedded_default`.

    Raises:
        ConfigError: no such table or settings.
    """
    if table not in TABLES:
        raise ConfigError("no such table of ablations", found=table, expected=", ".join(map(str, TABLES)))
    if table == 4:
        return pose_experiment(task, settings, workdir)
    if settings != PAPER:
        raise ConfigError(f"Table {table} has the settings of the paper only", found=repr(settings), expected=PAPER)
    if synthetic:
        return embedded_default(workdir)
    return replace(pose_experiment(task, PAPER, workdir), settings="")


def row_experiment(base: Experiment, row: AblationRow) -> Experiment:
    """The experiment of one row. Rows of equal pose tensors share their caches; each joint order has a cache of its own."""
    experiment = replace(base, workdir=base.workdir / row.name, cache_dir=base.caches, preset=row.preset or base.preset)
    if not row.order:
        return experiment
    return replace(
        experiment,
        settings=f"{base.settings}, joints {row.order}",
        tensor=replace(base.tensor, order=row.order),
        cache_dir=base.caches / f"joints_{row.order}",
    )


def run_ablations(
    table: int,
    dataset: ActionDataset,
    base: Experiment,
    protocols: Sequence[str],
    seeds: Sequence[int],
    *,
    command: str,
) -> tuple[list[TableRow], str]:
    """Runs every row of a table and writes tableN.md and tableN.csv below `base.workdir`, anew after each row.

    Rows that need hand features are left out, with that remark, where no clip has a video. Files of the runs:
    ROW/seedN/, see `run_experiment`. With `base.resume` runs that are finished are not run again.

    Args:
        table: number of the table.
        dataset: from `open_for_table`.
        base: from `table_experiment`, its options changed at will.
        protocols: run one after the other and averaged, see `run_folds`.
        seeds: of the runs.
        command: how anyone repeats them.

    Returns:
        The rows, and the table as Markdown. A row with several streams shows their sum.

    Raises:
        ConfigError: no row can run; or see `run_seeds`.
        ActrecError: see `run_experiment`.
    """
    videos = any(record.video is not None for record in dataset.records)
    chosen = {row.name for row in TABLES[table] if videos or not row.needs_videos}
    if not chosen:
        raise ConfigError(
            f"no row of Table {table} can run without videos", found=f"no clip of {dataset.name} with a video",
            fix="give a data root with videos, or run Table 4 or row A of Table 6",
        )  # fmt: skip
    rows = []
    for row in TABLES[table]:
        paper = {CROSS_SUBJECT: row.cross_subject, CROSS_VIEW: row.cross_view}
        line = TableRow(row.name, row.method, paper)
        rows.append(line if row.name in chosen else replace(line, note=NEEDS_VIDEOS))
    text = ""
    for index, row in enumerate(TABLES[table]):
        if row.name in chosen:
            log.info("table %d, row %s: %s", table, row.name, row.method)
            experiments = [at_seed(row_experiment(base, row), seed) for seed in seeds]
            measured = run_seeds(dataset, experiments, protocols, metric=dataset.metrics[0], command=command)
            rows[index] = replace(rows[index], measured=measured, note="")
        text = write_table(base.workdir / f"table{table}", TITLES[table], rows, command=command, strategy=base.strategy)
    return rows, text
