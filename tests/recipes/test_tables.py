"""Tables of results: what is shown, what the files hold, and the command that repeats them."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pandas as pd
import pytest

from keras_actrec.datasets.sbu import SBUKinect
from keras_actrec.errors import ConfigError
from keras_actrec.recipes import tables
from keras_actrec.recipes.sta_hands.experiment import Experiment
from keras_actrec.recipes.sta_hands.pose import TASKS, task_of
from keras_actrec.recipes.tables import (
    TableRow,
    at_seed,
    repeat_command,
    report_table,
    run_seeds,
    summary_rows,
    write_table,
)
from keras_actrec.training.summary import COLUMNS, summarise
from tests.recipes.small_data import runs_without_training, write_sbu


def measured(folder: Path, *accuracies: dict[str, float]) -> pd.DataFrame:
    """Runs of seed 0, 1, … with these accuracies, summarised."""
    same = {"dataset": "d", "protocol": "p", "model": "m", "preset": "s", "clips": {"test": 81}}
    files = [folder / f"{seed}.json" for seed in range(len(accuracies))]
    for seed, (file, accuracy) in enumerate(zip(files, accuracies, strict=True)):
        file.write_text(json.dumps({**same, "seed": seed, "accuracy": accuracy}))
    return summarise(files, command="c")


def test_markdown_and_csv(tmp_path):
    # 70 and 74 %: mean 72, deviations ±2, std over n - 1 = √8 = 2.83
    rows = [
        TableRow("A", "Pose only", {"paper": 77.1}, measured(tmp_path, {"pose": 0.70}, {"pose": 0.74})),
        TableRow("K", "Both", {}, measured(tmp_path, {"pose": 0.1, "rgb": 0.2, "fused": 0.963})),
        TableRow("B", "RGB only", {"paper": 61.5}, note="needs videos"),
    ]
    text = write_table(tmp_path / "t" / "table", "Title", rows, command="python x.py")
    assert (tmp_path / "t" / "table.md").read_text(encoding="utf-8") == text
    assert text.splitlines() == [
        "# Title",
        "",
        "| row | method | dataset | protocol | metric | mean ± std in % | test clips | seeds | paper |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- |",
        "| A | Pose only | d | p | accuracy | 72.0 ± 2.8 | 81 | 0 1 | 77.1 |",
        "| K | Both | d | p | accuracy | 96.3 | 81 | 0 |  |",
        "| B | RGB only |  |  |  | needs videos |  |  | 61.5 |",
        "",
        "Mean and standard deviation (n - 1) over seeds. Repeat: `python x.py`",
    ]
    frame = pd.read_csv(tmp_path / "t" / "table.csv").set_index("row")
    assert frame.loc["A", ["mean", "std", "clips", "paper", "inputs"]].tolist() == [72.0, 2.83, 81, 77.1, "pose"]
    assert frame.loc["K", "inputs"] == "pose+rgb" and pd.isna(frame.loc["K", "std"])
    assert frame.loc["B", "note"] == "needs videos" and pd.isna(frame.loc["B", "mean"])
    assert set(frame.command) == {"python x.py"}


def test_a_table_without_any_measurement(tmp_path):
    text = write_table(tmp_path / "t", "Title", [TableRow("A", "Pose only", {"paper": 77.1})], command="c")
    assert "| A | Pose only |  |  |  | not run yet |  |  | 77.1 |" in text
    assert summary_rows([TableRow("A", "Pose only", {})]).columns.tolist() == list(COLUMNS)


def test_all_streams_go_to_the_summary(tmp_path):
    rows = [TableRow("K", "Both", {}, measured(tmp_path, {"pose": 0.1, "fused": 0.9})), TableRow("B", "RGB only", {})]
    assert summary_rows(rows)[["inputs", "mean"]].values.tolist() == [["pose", 10.0], ["pose+rgb", 90.0]]


@pytest.mark.parametrize(("workdir", "shown"), [("runs/w", "runs/w"), (".", ".")])
def test_a_table_is_printed_with_its_place_and_added_to_the_summary(tmp_path, capsys, workdir, shown):
    rows = [TableRow("K", "Both", {}, measured(tmp_path, {"pose": 0.1, "fused": 0.9}))]
    report_table(Path(workdir) / "table4", rows, "| table |")
    assert not (tmp_path / "s.csv").exists()
    report_table(Path(workdir) / "table4", rows, "| table |", summary=tmp_path / "s.csv")
    assert capsys.readouterr().out == f"| table |\nwritten to {shown}/table4.md and .csv\n" * 2
    assert pd.read_csv(tmp_path / "s.csv")["mean"].tolist() == [10.0, 90.0]


def test_the_command_names_folders_instead_of_the_places_of_this_machine(monkeypatch):
    words = ["/x/ablations.py", "--table", "4", "--data-root", "/home/me/sbu/", "--workdir=/tmp/w", "--seeds", "0", "1"]
    monkeypatch.setattr(sys, "argv", words)
    folders = {"DATA_ROOT": Path("/home/me/sbu"), "WORKDIR": Path("/tmp/w"), "CACHE_DIR": None}
    assert repeat_command("experiments/ablations.py", folders) == (
        "python experiments/ablations.py --table 4 --data-root DATA_ROOT --workdir=WORKDIR --seeds 0 1"
    )


def test_runs_of_several_seeds_share_their_caches(tmp_path, monkeypatch):
    calls = []
    monkeypatch.setattr(tables, "run_folds", runs_without_training(calls, lambda e: (0.5, 0.7)[e.seed]))
    dataset = SBUKinect(write_sbu(tmp_path / "sbu"))
    base = Experiment(tmp_path / "w", preset="table6_a", cache_dir=tmp_path / "c")
    rows = run_seeds(dataset, [at_seed(base, seed) for seed in (0, 1)], ("fold1", "fold2"), command="c")
    # 50 and 70 %: mean 60, deviations ±10, std over n - 1 = √200 = 14.14
    assert rows[["protocol", "mean", "std", "seeds"]].values.tolist() == [["2-fold", 60.0, 14.14, "0 1"]]
    for seed, (experiment, protocols) in enumerate(calls):
        assert (experiment.workdir, experiment.caches) == (tmp_path / "w" / f"seed{seed}", tmp_path / "c")
        assert experiment.seed == experiment.pose_stage.seed == experiment.rgb_stage.seed == seed
        assert protocols == ("fold1", "fold2")


@pytest.mark.parametrize("seeds", [(), (0, 1, 0)])
def test_seeds_that_make_no_table(tmp_path, monkeypatch, seeds):
    monkeypatch.setattr(tables, "run_folds", lambda *_: pytest.fail("a run was begun"))
    runs = [at_seed(Experiment(tmp_path, preset="table6_a"), seed) for seed in seeds]
    with pytest.raises(ConfigError, match="each of them once"):
        run_seeds(SBUKinect(write_sbu(tmp_path / "sbu")), runs, ("fold1",), command="c")


def test_how_the_poses_of_a_data_set_are_used(tmp_path):
    dataset = SBUKinect(write_sbu(tmp_path))
    assert task_of("sbu", dataset) is TASKS["sbu"]
    own = task_of("own", dataset)
    assert (own.protocols, own.scale) == (("fold1",), "body")
