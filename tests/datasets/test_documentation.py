"""docs/data_sets.md says of every data set and layout what the code says."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from keras_actrec.datasets import jhmdb, ntu, ntu120, nucla, penn_action, sbu, smarthome
from keras_actrec.datasets.catalogue import DATASETS, open_dataset
from keras_actrec.skeletons.layouts import LAYOUTS
from tests.datasets.test_catalogue import ROOTS

REPOSITORY = Path(__file__).resolve().parents[2]
TEXT = (REPOSITORY / "docs" / "data_sets.md").read_text(encoding="utf-8")


def rows(head: str) -> dict[str, list[str]]:
    """The table whose first column is called `head`: code word in that column → the other columns."""
    table = TEXT[TEXT.index(f"\n| {head} |") :].lstrip().split("\n\n")[0].splitlines()[2:]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in table]
    return {first.strip("`"): rest for first, *rest in cells}


def test_every_data_set_has_its_row_and_its_script():
    assert set(rows("name")) == set(DATASETS) - {"own"}
    scripts = set(re.findall(r"`experiments/(\w+\.py)`", TEXT))
    assert {path.name for path in (REPOSITORY / "experiments").glob("*_pose.py")} - {"own_pose.py"} <= scripts
    assert all((REPOSITORY / "experiments" / script).is_file() for script in scripts)


@pytest.mark.parametrize("name", sorted(set(DATASETS) - {"own"}))
def test_a_row_has_the_classes_the_layout_and_the_protocols_of_its_data_set(name, tmp_path):
    _, classes, layout, _, _, _, protocols = rows("name")[name]
    dataset = open_dataset(name, ROOTS[name](tmp_path), video=False)
    assert int(classes) == len(dataset.class_names)
    assert layout == f"`{dataset.records[0].layout.name}`"
    assert set(re.findall(r"`(\w+)`", protocols)) <= set(dataset.protocols())


@pytest.mark.parametrize(
    "expected",
    [
        ntu.EXPECTED_CLIPS, ntu.NTU60.published_kept, ntu120.EXPECTED_CLIPS, ntu120.NTU120.published_kept,
        nucla.EXPECTED_CLIPS, smarthome.EXPECTED_CLIPS, jhmdb.EXPECTED_CLIPS, penn_action.EXPECTED_CLIPS,
    ],
    ids=["ntu", "ntu kept", "ntu120", "ntu120 kept", "nucla", "smarthome", "jhmdb", "penn"],
)  # fmt: skip
def test_the_counts_are_those_that_data_roots_are_compared_with(expected):
    for protocol in {protocol for protocol, _ in expected if protocol != "all"}:
        assert f"{expected[protocol, 'train']:,}/{expected[protocol, 'test']:,}" in TEXT


def test_the_folds_of_sbu():
    assert f"test clips {', '.join(map(str, sbu.FOLD_CLIPS))} of {sbu.CLIPS}" in TEXT


def test_the_table_of_layouts():
    table = rows("layout")
    assert set(table) == set(LAYOUTS)
    for name, (joints, root, hands, _) in table.items():
        layout = LAYOUTS[name]
        assert (int(joints), root) == (len(layout), f"`{layout.joints[layout.root]}`")
        assert [layout.joints[index] for index in layout.hands] == [f"{hands[:-1]}_left", f"{hands[:-1]}_right"]
