"""The table of results: mean and spread over seeds, one row per measurement."""

from __future__ import annotations

import json

import pandas as pd
import pytest

from keras_actrec.errors import DatasetError
from keras_actrec.training.summary import COLUMNS, add_to_summary, summarise


def run(folder, seed, pose, fused, protocol="cross_subject"):
    content = {"dataset": "d", "protocol": protocol, "model": "sta_hands", "preset": "p", "seed": seed, "clips": {"test": 81}}
    path = folder / f"{seed}{protocol}.json"
    path.write_text(json.dumps({**content, "accuracy": {"pose": pose, "fused": fused}}))
    return path


def test_mean_and_spread_in_percent(tmp_path):
    # 70 and 74: mean 72, deviations ±2, std over n - 1 = √8 = 2.83
    rows = summarise([run(tmp_path, 0, 0.70, 0.9), run(tmp_path, 1, 0.74, 0.9)], command="c --seed SEED")
    assert tuple(rows.columns) == COLUMNS
    assert rows[["inputs", "mean", "std", "seeds", "clips"]].values.tolist() == [
        ["pose", 72.0, 2.83, "0 1", 81],
        ["pose+rgb", 90.0, 0.0, "0 1", 81],
    ]


def test_a_new_measurement_replaces_its_row_and_leaves_the_others(tmp_path):
    table = tmp_path / "summary.csv"
    add_to_summary(table, summarise([run(tmp_path, 0, 0.5, 0.5)], command="old"))
    add_to_summary(table, summarise([run(tmp_path, 0, 0.5, 0.5, "cross_view")], command="other"))
    add_to_summary(table, summarise([run(tmp_path, 3, 0.6, 0.7)], command="new"))
    found = pd.read_csv(table).set_index(["protocol", "inputs"])
    assert len(found) == 4
    assert found.loc[("cross_subject", "pose"), ["mean", "command"]].tolist() == [60.0, "new"]
    assert found.loc[("cross_view", "pose"), ["mean", "command"]].tolist() == [50.0, "other"]


def test_runs_of_different_things_are_refused(tmp_path):
    first, other = run(tmp_path, 0, 0.5, 0.5), run(tmp_path, 1, 0.5, 0.5, "cross_view")
    with pytest.raises(DatasetError, match=r"differ in their protocol.*found cross_view, expected cross_subject"):
        summarise([first, other], command="c")
    with pytest.raises(DatasetError, match="twice"):
        summarise([first, first], command="c")
    with pytest.raises(DatasetError, match=r"nothing\.json.*metrics\.json of a finished run"):
        summarise([tmp_path / "nothing.json"], command="c")
