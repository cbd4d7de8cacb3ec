"""Tables 1 to 4 of the RPAN paper: every row on one data set, over its protocols and some seeds, beside the paper's numbers.

Paper: Du, Wang, Qiao, "RPAN: An End-to-End Recurrent Pose-Attention Network for Action Recognition in Videos", ICCV 2017. Its
numbers are those of Sub-JHMDB (split 1) and Penn Action, with TSN's CNN on optical flow; they say nothing about another data
set, and show what a row is worth there. The rows of TSN itself (Table 4) are no variant of RPAN and not run.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from types import MappingProxyType

import pandas as pd

from keras_actrec.datasets.record import ActionDataset
from keras_actrec.errors import ConfigError
from keras_actrec.recipes.folds import run_protocols
from keras_actrec.recipes.rpan.experiment import FLOW, RGB, RPANExperiment
from keras_actrec.recipes.rpan.run import FUSED, has_joints, run_rpan_experiment
from keras_actrec.recipes.tables import TableRow, at_seed, protocols_name, run_seeds, write_table

log = logging.getLogger(__name__)

SUB_JHMDB, PENN = "paper: Sub-JHMDB split 1", "paper: Penn Action"
ON_FLOW = " (TSN, flow)"
"""What the numbers of Tables 1 to 3 were measured on; the rows of Table 4 say so themselves."""
NEEDS_WEIGHTS = "needs weights"
_OF_NETWORK = ("name", "layer", "weights", "dtype")


@dataclass(frozen=True)
class RPANRow:
    """One row of a table of the paper.

    Attributes:
        name: folder of its runs.
        method: the paper's words.
        sub_jhmdb, penn: the paper's accuracies in percent.
        variant: end of the preset's name.
        backbone: CNN of the row; "" keeps that of the base.
        stream: whose accuracy the row shows, of runs that it shares with other rows; "" is that of all streams together.
    """

    name: str
    method: str
    sub_jhmdb: float
    penn: float
    variant: str = ""
    backbone: str = ""
    stream: str = ""


TITLES: Mapping[int, str] = MappingProxyType({
    1: "RPAN, Table 1: pose attention",
    2: "RPAN, Table 2: pooling of the human parts",
    3: "RPAN, Table 3: CNNs",
    4: "RPAN, Table 4: streams",
})  # fmt: skip
TABLES: Mapping[int, tuple[RPANRow, ...]] = MappingProxyType({
    1: (
        RPANRow("without", "Without attention", 68.5, 95.0, variant="_without"),
        RPANRow("share_all", "Share-All", 71.7, 96.4, variant="_share_all"),
        RPANRow("separate_joint", "Separate-Joint", 78.3, 96.5, variant="_separate_joint"),
        RPANRow("human_part", "Human-Part", 80.0, 97.1),
    ),
    2: (
        RPANRow("max", "Max", 82.6, 96.6, variant="_max"),
        RPANRow("mean", "Mean", 81.5, 96.2, variant="_mean"),
        RPANRow("human_part", "Concat", 80.0, 97.1),
    ),
    3: (
        RPANRow("vgg16", "Good-Practice CNN (VGG16)", 69.5, 88.6, backbone="vgg16"),
        RPANRow("bn_inception", "TSN (BN-Inception)", 80.0, 97.1, backbone="bn_inception"),
    ),
    4: (
        RPANRow("human_part", "RPAN-S", 60.0, 84.8, stream=RGB),
        RPANRow("human_part", "RPAN-T", 80.0, 97.1, stream=FLOW),
        RPANRow("human_part", "RPAN-(S+T)", 81.1, 97.4, stream=FUSED),
    ),
})  # fmt: skip
"""Table of the paper → its rows. Rows of one name share their runs, also across tables in one working directory."""


def row_experiment(base: RPANExperiment, row: RPANRow, weights: Mapping[str, str]) -> RPANExperiment:
    """The experiment of one row. Rows share their caches, those of another CNN its own.

    Args:
        base: of the table; its preset is that of the whole model.
        row: of the table.
        weights: CNN → weights file.
    """
    experiment = replace(base, workdir=base.workdir / row.name, cache_dir=base.caches, preset=base.preset + row.variant)
    if not row.backbone:
        return experiment
    network = replace(base.backbone, name=row.backbone, layer="", weights=weights.get(row.backbone, "imagenet"))
    return replace(experiment, backbone=network, flow_weights="", cache_dir=base.caches / row.backbone)


def run_rpan_table(
    table: int,
    dataset: ActionDataset,
    base: RPANExperiment,
    protocols: Sequence[str],
    seeds: Sequence[int],
    *,
    command: str,
    rows: Sequence[str] = (),
    weights: Mapping[str, str] = MappingProxyType({}),
) -> tuple[list[TableRow], str]:
    """Runs every row of a table and writes rpan_tableN.md and rpan_tableN.csv below `base.workdir`, anew after each row.

    Files of the runs: ROW/seedN/, see `run_rpan_experiment`; models are not exported. With `base.resume` runs that are finished
    are not run again.

    Args:
        table: number of the table.
        dataset: the clips, with videos.
        base: what all rows share: a preset of the whole model.
        protocols: run one after the other and averaged, see `run_protocols`.
        seeds: of the runs.
        command: how anyone repeats them.
        rows: names of those to run; none stands for all.
        weights: CNN → weights file, for Table 3. TSN's CNN does not run without.

    Returns:
        The rows, and the table as Markdown.

    Raises:
        ConfigError: no such table, row or CNN; or see `run_seeds`.
        ActrecError: see `run_rpan_experiment`.
    """
    if table not in TABLES:
        raise ConfigError("no such table of RPAN", found=table, expected=", ".join(map(str, TABLES)))
    known = [row.name for row in TABLES[table]]
    networks = [row.backbone for row in TABLES[3]]
    for network in weights:
        if network not in networks:
            raise ConfigError("weights of a CNN that is not in Table 3", found=network, expected=", ".join(networks))
    unknown = [name for name in rows if name not in known]
    if unknown:
        raise ConfigError(f"Table {table} has no such row", found=", ".join(unknown), expected=", ".join(dict.fromkeys(known)))
    if table == 4 and len(base.streams) < 2:
        raise ConfigError("Table 4 compares both streams", found=" ".join(base.streams), expected="rgb flow")
    of = "" if table == 4 else ON_FLOW
    lines = [TableRow(row.name, row.method, {SUB_JHMDB + of: row.sub_jhmdb, PENN + of: row.penn}) for row in TABLES[table]]
    text, measured = "", {}
    for index, row in enumerate(TABLES[table]):
        if rows and row.name not in rows:
            continue
        if row.backbone == "bn_inception" and row.backbone not in weights:
            lines[index] = replace(lines[index], note=NEEDS_WEIGHTS)
        else:
            log.info("table %d, row %s: %s", table, row.name, row.method)
            if row.name not in measured:
                experiments = [at_seed(row_experiment(base, row, weights), seed) for seed in seeds]
                found = run_seeds(
                    dataset, experiments, protocols, metric=dataset.metrics[0], command=command, run=_run, settings=_settings
                )
                # So that the summary of all results keeps the CNNs of Table 3 apart, and from those of the other tables.
                network = experiments[0].backbone.name
                measured[row.name] = found.assign(preset=[f"{preset}, {network}" for preset in found.preset])
            lines[index] = replace(lines[index], measured=_of_stream(measured[row.name], row.stream), note="")
        text = write_table(base.workdir / f"rpan_table{table}", TITLES[table], lines, command=command, strategy=base.strategy)
    return lines, text


def _of_stream(measured: pd.DataFrame, stream: str) -> pd.DataFrame:
    return measured[measured.inputs == stream] if stream else measured


def _run(dataset: ActionDataset, experiment: RPANExperiment, protocols: Sequence[str]) -> None:
    run_protocols(experiment, protocols, lambda one: run_rpan_experiment(dataset, one, export=False).metrics)


def _settings(dataset: ActionDataset, experiment: RPANExperiment, protocols: Sequence[str]) -> dict[str, object]:
    """What a finished run has to say of itself to be taken for one of this table."""
    networks = {name: asdict(experiment.backbone_of(name)) for name in experiment.streams}
    pose_weight = experiment.paper_model(len(dataset.class_names)).pose_weight if has_joints(dataset) else 0.0
    return json.loads(
        json.dumps(
            {
                "dataset": dataset.name,
                "protocol": protocols_name(protocols),
                "preset": experiment.preset,
                "seed": experiment.seed,
                "stage": experiment.stage.as_json(),
                # One by one: "clips" itself is how many there were.
                **{f"clips.{name}": value for name, value in asdict(experiment.clips).items()},
                **{name: getattr(experiment, name) for name in ("train", "streams", "fusion", "holdout", "holdout_unit")},
                **{f"weights.{name}.{field}": one[field] for name, one in networks.items() for field in _OF_NETWORK},
                **{f"model.{name}.pose_weight": pose_weight for name in networks},
            }
        )
    )
