"""The tables of RPAN: rows and numbers of the paper, what each row runs, shared runs, and how a table goes on."""

from __future__ import annotations

import json
import runpy
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from types import SimpleNamespace

import keras
import pandas as pd
import pytest

from keras_actrec.backbones.frame_networks import FrameBackboneConfig
from keras_actrec.datasets.jhmdb import JHMDB
from keras_actrec.errors import ConfigError, DatasetError
from keras_actrec.models.rpan_config import PRESETS
from keras_actrec.recipes.rpan import tables as rpan_tables
from keras_actrec.recipes.rpan.experiment import RPANExperiment, rpan_experiment
from keras_actrec.recipes.rpan.tables import (
    NEEDS_WEIGHTS,
    ON_FLOW,
    PENN,
    SUB_JHMDB,
    TABLES,
    TITLES,
    row_experiment,
    run_rpan_table,
)
from keras_actrec.training.summary import COLUMNS
from keras_actrec.video.frame_clips import FrameClipConfig
from tests.recipes.scripts import EXPERIMENTS, assert_ends_with_usage, assert_one_error, give
from tests.recipes.tiny_rpan import ONE_STEP, small, tiny_rpan, write_jhmdb

pytestmark = pytest.mark.filterwarnings("ignore:Even though the `tf.config")  # see `quickly`

SPLITS = ("split1", "split2", "split3")
ACCURACIES = {"rgb": 0.25, "flow": 0.5, "rgb+flow": 0.75}


@pytest.fixture(scope="module")
def dataset(tmp_path_factory) -> JHMDB:
    """12 clips with joints; every split tests 4."""
    return JHMDB(write_jhmdb(tmp_path_factory.mktemp("jhmdb"), joints=True))


def without_training(calls: list[RPANExperiment], accuracy: Callable[[RPANExperiment], float] = lambda one: 0.0) -> Callable:
    """In place of a run: notes its experiment, and writes what a run says of itself; `accuracy` is added to `ACCURACIES`."""

    def run(dataset, experiment, *, export):
        assert not export, "the models of a table are not exported"
        calls.append(experiment)
        names = (*experiment.streams, "rgb+flow") if len(experiment.streams) == 2 else experiment.streams
        found = {name: ACCURACIES[name] + accuracy(experiment) for name in names}
        networks = {name: {**asdict(experiment.backbone_of(name)), "weights_checksum": "0"} for name in experiment.streams}
        weight = {"pose_weight": experiment.paper_model(21).pose_weight}
        metrics = {
            "dataset": dataset.name, "protocol": experiment.protocol, "model": "rpan", "preset": experiment.preset,
            "seed": experiment.seed, "clips": {"test": 4, "left_out": 0}, "weights": networks, "subsequences_per_clip": 1,
            "command": "c", "versions": {}, "seconds": 1.0,
            **{metric: found for metric in ("accuracy", "mean_class_accuracy", "macro_f1")},
            "configuration": {
                "clips": asdict(experiment.clips), "train": experiment.train, "stage": experiment.stage.as_json(),
                "streams": experiment.streams, "fusion": experiment.fusion, "holdout": experiment.holdout,
                "holdout_unit": experiment.holdout_unit, "model": dict.fromkeys(experiment.streams, weight),
            },
        }  # fmt: skip
        experiment.workdir.mkdir(parents=True, exist_ok=True)
        (experiment.workdir / "metrics.json").write_text(json.dumps(metrics))
        return SimpleNamespace(metrics=metrics)

    return run


@pytest.fixture
def no_graphs(monkeypatch) -> None:
    """Where nothing is built there is nothing to forget, which takes longer than all the rest."""
    monkeypatch.setattr(keras.backend, "clear_session", lambda: None)


@pytest.fixture
def calls(monkeypatch, no_graphs) -> list[RPANExperiment]:
    """Experiments of runs that train nothing."""
    made: list[RPANExperiment] = []
    monkeypatch.setattr(rpan_tables, "run_rpan_experiment", without_training(made))
    return made


def base_of(workdir: Path, **changes) -> RPANExperiment:
    return replace(rpan_experiment("jhmdb", workdir), **changes)


def lines_of(text: str) -> list[list[str]]:
    """Cells of the rows of a Markdown table, without its head."""
    return [[cell.strip() for cell in line.split("|")[1:-1]] for line in text.splitlines() if line.startswith("| ")][2:]


# The paper --------------------------------------------------------------------------------------------------------------------


def test_rows_and_numbers_of_the_paper():
    numbers = {table: [(row.sub_jhmdb, row.penn) for row in rows] for table, rows in TABLES.items()}
    assert numbers == {
        1: [(68.5, 95.0), (71.7, 96.4), (78.3, 96.5), (80.0, 97.1)],
        2: [(82.6, 96.6), (81.5, 96.2), (80.0, 97.1)],
        3: [(69.5, 88.6), (80.0, 97.1)],
        4: [(60.0, 84.8), (80.0, 97.1), (81.1, 97.4)],
    }
    assert set(TITLES) == set(TABLES)
    variants = {row.variant for rows in TABLES.values() for row in rows}
    assert {f"rpan_{data}{variant}" for data in ("sub_jhmdb", "penn_action") for variant in variants} == set(PRESETS)


# What each row runs -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("table", [1, 2])
def test_rows_of_tables_1_and_2_differ_in_the_preset_alone(tmp_path, table):
    base = base_of(tmp_path)
    for row in TABLES[table]:
        made = row_experiment(base, row, {})
        assert (made.preset, made.workdir, made.caches) == (base.preset + row.variant, tmp_path / row.name, base.caches)
        assert replace(made, preset=base.preset, workdir=base.workdir, cache_dir=None) == base


def test_rows_of_table_3_differ_in_the_network_and_their_caches(tmp_path):
    base = base_of(tmp_path, flow_weights="flow.h5")
    vgg, tsn = (row_experiment(base, row, {"bn_inception": "tsn.h5"}) for row in TABLES[3])
    assert vgg.backbone == FrameBackboneConfig("vgg16", weights="imagenet")
    assert tsn.backbone == FrameBackboneConfig("bn_inception", weights="tsn.h5")
    for made, name in ((vgg, "vgg16"), (tsn, "bn_inception")):
        assert (made.workdir, made.caches, made.flow_weights) == (tmp_path / name, base.caches / name, "")
        assert replace(made, backbone=base.backbone, workdir=tmp_path, cache_dir=None, flow_weights="flow.h5") == base


def test_rows_of_table_4_are_the_streams_of_one_run(dataset, tmp_path, calls):
    rows, text = run_rpan_table(4, dataset, base_of(tmp_path), SPLITS[:1], (0,), command="c")
    assert [one.workdir for one in calls] == [tmp_path / "human_part" / "seed0"]
    assert [row.measured.inputs.tolist() for row in rows] == [["rgb"], ["flow"], ["rgb+flow"]]
    assert [line[1] for line in lines_of(text)] == ["RPAN-S", "RPAN-T", "RPAN-(S+T)"]
    assert [line[5] for line in lines_of(text)] == ["25.0", "50.0", "75.0"]


def test_every_split_and_seed_is_run_on_shared_caches(dataset, tmp_path, monkeypatch, no_graphs):
    calls: list[RPANExperiment] = []
    gains = {("split2", 0): 0.1, ("split3", 0): 0.2}
    without = without_training(calls, lambda one: gains.get((one.protocol, one.seed), 0.0))
    monkeypatch.setattr(rpan_tables, "run_rpan_experiment", without)
    rows, text = run_rpan_table(1, dataset, base_of(tmp_path), SPLITS, (0, 1), command="python t.py", rows=("share_all",))
    assert [(one.seed, one.stage.seed, one.protocol) for one in calls] == [(s, s, split) for s in (0, 1) for split in SPLITS]
    assert {(one.preset, one.caches) for one in calls} == {("rpan_sub_jhmdb_share_all", tmp_path / "cache")}
    assert [one.workdir.relative_to(tmp_path) for one in calls[:2]] == [
        Path("share_all/seed0/split1"), Path("share_all/seed0/split2")
    ]  # fmt: skip
    # Seed 0: 75, 85, 95, mean 85; seed 1: 75; their mean 80, std over n - 1 = √50 = 7.07; of both streams together.
    assert rows[1].measured["mean"].tolist() == [30.0, 55.0, 80.0] and rows[1].measured["std"].tolist() == [7.07] * 3
    assert [row.measured is None for row in rows] == [True, False, True, True]
    found = lines_of(text)
    assert found[1] == ["share_all", "Share-All", "jhmdb", "3-fold", "accuracy", "80.0 ± 7.1", "12", "0 1", "71.7", "96.4"]
    assert found[0] == ["without", "Without attention", "", "", "", "not run yet", "", "", "68.5", "95.0"]
    assert text.startswith(f"# {TITLES[1]}\n") and text.endswith("Repeat: `python t.py`\n")
    assert (tmp_path / "rpan_table1.md").read_text(encoding="utf-8") == text
    frame = pd.read_csv(tmp_path / "rpan_table1.csv")
    assert frame.row.tolist() == [row.name for row in TABLES[1]] and frame[SUB_JHMDB + ON_FLOW].tolist()[1] == 71.7
    assert frame[PENN + ON_FLOW].tolist() == [95.0, 96.4, 96.5, 97.1] and frame.inputs.tolist()[1] == "rgb+flow"


def test_tsn_needs_its_weights(dataset, tmp_path, calls):
    _, text = run_rpan_table(3, dataset, base_of(tmp_path), SPLITS[:1], (0,), command="c")
    assert [one.backbone.name for one in calls] == ["vgg16"]
    assert [line[5] for line in lines_of(text)] == ["75.0", NEEDS_WEIGHTS]
    rows, _ = run_rpan_table(3, dataset, base_of(tmp_path), SPLITS[:1], (0,), command="c", weights={"bn_inception": "tsn.h5"})
    assert [one.backbone.weights for one in calls[1:]] == ["imagenet", "tsn.h5"]
    # The summary of all results tells them apart.
    assert [set(row.measured.preset) for row in rows] == [{"rpan_sub_jhmdb, vgg16"}, {"rpan_sub_jhmdb, bn_inception"}]


def test_a_single_stream_stands_for_the_row(dataset, tmp_path, calls):
    base = base_of(tmp_path, streams=("flow",))
    rows, text = run_rpan_table(2, dataset, base, SPLITS[:1], (0,), command="c", rows=("max",))
    assert rows[0].measured.inputs.tolist() == ["flow"] and lines_of(text)[0][5] == "50.0"


def test_a_table_that_stops_keeps_the_rows_it_has(dataset, tmp_path, monkeypatch, no_graphs):
    def accuracy(experiment):
        if experiment.preset.endswith("_mean"):
            raise DatasetError("stopped")
        return 0.0

    monkeypatch.setattr(rpan_tables, "run_rpan_experiment", without_training([], accuracy))
    with pytest.raises(DatasetError, match="stopped"):
        run_rpan_table(2, dataset, base_of(tmp_path), SPLITS[:1], (0,), command="c")
    frame = pd.read_csv(tmp_path / "rpan_table2.csv")
    assert frame["mean"].fillna(-1).tolist() == [75.0, -1, -1]
    assert frame["note"].fillna("").tolist() == ["", "not run yet", "not run yet"]


# Again ------------------------------------------------------------------------------------------------------------------------


def test_finished_runs_are_shared_by_the_tables_of_a_folder(dataset, tmp_path, calls):
    run_rpan_table(1, dataset, base_of(tmp_path), SPLITS, (0,), command="c")
    assert len(calls) == 4 * 3
    base = base_of(tmp_path, resume=True)
    run_rpan_table(1, dataset, base, SPLITS, (0,), command="c")
    run_rpan_table(4, dataset, base, SPLITS, (0,), command="c")
    assert len(calls) == 4 * 3
    run_rpan_table(2, dataset, base, SPLITS, (0,), command="c")
    assert [one.preset for one in calls[12:]] == ["rpan_sub_jhmdb_max"] * 3 + ["rpan_sub_jhmdb_mean"] * 3


@pytest.mark.parametrize(
    ("changes", "protocols", "difference"),
    [
        ({"holdout": 0.2}, SPLITS[:1], r"holdout \(found \{'holdout': 0.05\}, expected \{'holdout': 0.2\}"),
        ({"pose_weight": 0.5}, SPLITS[:1], r"model\.flow\.pose_weight, model\.rgb\.pose_weight"),
        ({"streams": ("flow",)}, SPLITS[:1], r"streams"),
        ({"train": "on_maps"}, SPLITS[:1], r"train"),
        ({"clips": FrameClipConfig(views=3)}, SPLITS[:1], r"clips\.views \(found \{'clips\.views': 1\}"),
        ({"backbone": FrameBackboneConfig("vgg16")}, SPLITS[:1], r"weights\.flow\.layer, weights\.flow\.name"),
        ({"backbone": FrameBackboneConfig(weights="random")}, SPLITS[:1], r"weights\.flow\.weights, weights\.rgb\.weights"),
        ({}, SPLITS[1:2], "protocol"),
        ({}, SPLITS, r"protocol \(found \{'protocol': 'split1'\}, expected \{'protocol': '3-fold'\}"),
    ],
    ids=lambda value: next(iter(value), "protocols") if isinstance(value, dict) else "",
)  # fmt: skip
def test_finished_runs_of_other_settings_are_refused(dataset, tmp_path, calls, changes, protocols, difference):
    run_rpan_table(1, dataset, base_of(tmp_path), SPLITS[:1], (0,), command="c", rows=("human_part",))
    base = base_of(tmp_path, resume=True, **changes)
    with pytest.raises(ConfigError, match=rf"human_part/seed0/metrics\.json: .*started with other settings: {difference}"):
        run_rpan_table(1, dataset, base, protocols, (0,), command="c", rows=("human_part",))
    assert len(calls) == 1


def test_a_damaged_metrics_file_is_named(dataset, tmp_path, calls):
    (tmp_path / "max" / "seed0").mkdir(parents=True)
    (tmp_path / "max" / "seed0" / "metrics.json").write_text('{"configuration": "none"}')
    with pytest.raises(ConfigError, match=r"max/seed0/metrics\.json: cannot be read.*without --resume"):
        run_rpan_table(2, dataset, base_of(tmp_path, resume=True), SPLITS[:1], (0,), command="c")
    assert not calls


def test_real_runs(dataset, tmp_path, quickly):
    """Of the small network, on cubes; what they say of themselves is what a resumed table asks for."""
    base = tiny_rpan(
        tmp_path, layout=None, train="on_maps", stage=replace(ONE_STEP, batch_size=3), strategy="none", data_root=dataset.root
    )
    with small():
        rows, text = run_rpan_table(4, dataset, base, SPLITS[:2], (0,), command="c")
    folder = tmp_path / "human_part" / "seed0"
    folds = [json.loads((folder / split / "metrics.json").read_text()) for split in SPLITS[:2]]
    mean = json.loads((folder / "metrics.json").read_text())
    assert mean["protocol"] == "2-fold" and mean["clips"] == {"test": 8, "left_out": 0}
    for row, stream in zip(rows, ("rgb", "flow", "rgb+flow"), strict=True):
        expected = 50 * sum(fold["accuracy"][stream] for fold in folds)
        assert row.measured["mean"].tolist() == [pytest.approx(expected, abs=0.01)]
        assert mean["accuracy"][stream] == pytest.approx(expected / 100)
    assert not [*folder.rglob("export*")], "the models of a table are not exported"
    assert {path.name for path in (tmp_path / "cache").iterdir()} == {"poses", "flow", "cubes_rgb", "cubes_flow"}
    again, repeated = run_rpan_table(4, dataset, replace(base, resume=True), SPLITS[:2], (0,), command="c")
    assert repeated == text and [row.measured.equals(other.measured) for row, other in zip(rows, again, strict=True)]


# What is refused --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("table", "options", "message"),
    [
        (5, {}, r"no such table of RPAN \(found 5, expected 1, 2, 3, 4\)"),
        (
            2,
            {"rows": ("max", "median", "sum")},
            r"Table 2 has no such row \(found median, sum, expected max, mean, human_part\)",
        ),
        (4, {"rows": ("RPAN-S",)}, r"Table 4 has no such row \(found RPAN-S, expected human_part\)"),
        (3, {"weights": {"tsn": "f.h5"}}, r"a CNN that is not in Table 3 \(found tsn, expected vgg16, bn_inception\)"),
    ],
)
def test_what_is_no_table(dataset, tmp_path, calls, table, options, message):
    with pytest.raises(ConfigError, match=message):
        run_rpan_table(table, dataset, base_of(tmp_path / "w"), SPLITS, (0,), command="c", **options)
    assert not calls and not (tmp_path / "w").exists()


def test_table_4_compares_both_streams(dataset, tmp_path, calls):
    with pytest.raises(ConfigError, match=r"Table 4 compares both streams \(found flow, expected rgb flow\)"):
        run_rpan_table(4, dataset, base_of(tmp_path, streams=("flow",)), SPLITS, (0,), command="c")


@pytest.mark.parametrize("seeds", [(), (0, 0)])
def test_seeds_that_make_no_table(dataset, tmp_path, calls, seeds):
    with pytest.raises(ConfigError, match="each of them once"):
        run_rpan_table(1, dataset, base_of(tmp_path), SPLITS, seeds, command="c")
    assert not calls


# The script -------------------------------------------------------------------------------------------------------------------


def script(monkeypatch, *arguments) -> dict:
    """The names of experiments/rpan_tables.py, and its command line."""
    give(monkeypatch, *arguments)
    return runpy.run_path(str(EXPERIMENTS / "rpan_tables.py"))


def test_the_script_prints_the_table_and_adds_it_to_the_summary(dataset, tmp_path, monkeypatch, capsys, calls):
    main = script(
        monkeypatch, "--table", 3, "--dataset", "jhmdb", "--data-root", dataset.root, "--workdir", tmp_path / "w",
        "--seeds", 0, 1, "--protocol", "split2", "--cnn", f"bn_inception={tmp_path / 'tsn.h5'}",
        "--summary", tmp_path / "summary.csv", "--streams", "flow", "--epochs", 3, "--train", "on_maps", "--pose-weight", 0.5,
    )["main"]  # fmt: skip
    assert main() == 0
    printed = capsys.readouterr().out
    assert (tmp_path / "w" / "rpan_table3.md").read_text(encoding="utf-8") in printed
    assert "--data-root DATA_ROOT" in printed and "--cnn bn_inception=BN_INCEPTION_WEIGHTS" in printed
    assert str(tmp_path) not in printed.split("# RPAN")[1].split("written to")[0]
    assert [(one.backbone.name, one.seed) for one in calls] == [
        ("vgg16", 0), ("vgg16", 1), ("bn_inception", 0), ("bn_inception", 1)
    ]  # fmt: skip
    for one in calls:
        assert (one.protocol, one.streams, one.train) == ("split2", ("flow",), "on_maps")
        assert (one.pose_weight, one.stage.epochs) == (0.5, 3)
    assert calls[-1].backbone.weights == str(tmp_path / "tsn.h5")
    summary = pd.read_csv(tmp_path / "summary.csv")
    assert tuple(summary.columns) == COLUMNS
    assert summary.preset.tolist() == ["rpan_sub_jhmdb, bn_inception", "rpan_sub_jhmdb, vgg16"]


def test_the_script_takes_the_settings_and_all_protocols_of_the_data_set(dataset, tmp_path, monkeypatch, calls):
    names = script(monkeypatch, "--table", 2, "--dataset", "jhmdb", "--data-root", dataset.root, "--rows", "mean")
    args = names["arguments"]()
    assert (args.workdir, args.seeds, args.summary) == (Path("runs/jhmdb_rpan_tables"), [0, 1, 2], None)
    args.workdir = tmp_path
    names["run"](args)
    assert [(one.protocol, one.seed) for one in calls] == [(split, seed) for seed in (0, 1, 2) for split in SPLITS]
    expected = replace(rpan_experiment("jhmdb", tmp_path), data_root=dataset.root, preset="rpan_sub_jhmdb_mean")
    varied = {"workdir": tmp_path, "cache_dir": None, "protocol": "split1", "seed": 0, "stage": expected.stage}
    assert all(replace(one, **varied) == expected for one in calls)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--table", 5), "--table"), (("--table", 1, "--cnn", "vgg16"), "--cnn takes pairs"), ((), "--table"),
        (("--table", 1, "--dataset", "sbu"), "--dataset"),
    ],
)  # fmt: skip
def test_the_script_refuses_arguments_that_make_no_sense(monkeypatch, capsys, arguments, words):
    names = script(monkeypatch, "--data-root", "d", *arguments)
    assert_ends_with_usage(names["arguments"], capsys, words)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--table", 1, "--rows", "half"), "Table 1 has no such row (found half"),
        (("--table", 1, "--preset", "rpan_sub_jhmdb_max"), "no such preset of RPAN (found 'rpan_sub_jhmdb_max_without'"),
        (("--table", 3, "--cnn", "tsn=f.h5"), "weights of a CNN that is not in Table 3 (found tsn"),
        (("--table", 4, "--streams", "rgb"), "Table 4 compares both streams (found rgb"),
        (("--table", 1, "--frames", 0), "FrameClipConfig: frames is out of range (found 0"),
    ],
    ids=lambda value: str(value[-2]) if isinstance(value, tuple) else "",
)
def test_the_script_ends_in_one_line(dataset, tmp_path, monkeypatch, capsys, calls, arguments, message):
    given = ("--dataset", "jhmdb", "--data-root", dataset.root, "--workdir", tmp_path / "w", *arguments)
    assert_one_error(script(monkeypatch, *given)["main"], capsys, message, tmp_path / "w")
