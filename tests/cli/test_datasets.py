"""The commands about public data sets: the list, the counts, the CSV that other commands read."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from keras_actrec.cli.main import main
from keras_actrec.datasets.about import ABOUT
from tests.datasets.test_catalogue import ROOTS

REPOSITORY = Path(__file__).resolve().parents[2]


def test_the_list_names_every_data_set_and_where_to_get_it(capsys):
    assert main(["datasets", "list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    for name, about in ABOUT.items():
        (row,) = [line for line in lines if line.startswith(f"{name} ") and about.layout in line]
        assert f" {about.clips:,} " in row and f" {about.classes} " in row and row.endswith(", ".join(about.protocols))
        assert any(line.startswith(f"{name} ") and line.endswith(f"{about.title}: {about.address}") for line in lines)
    assert lines[-1].startswith("own: ") and max(map(len, lines)) < 128


def test_check_counts_the_clips_and_names_what_differs(tmp_path, capsys):
    assert main(["datasets", "check", "jhmdb", str(ROOTS["jhmdb"](tmp_path))]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "jhmdb: 2 clips of 21 classes, 0 left out"
    assert "split1: 1 train, 1 test" in lines
    assert any(line.startswith("differs: split1 train: 1 clips, 660 were published") for line in lines)


def test_check_of_ntu_says_why_clips_are_left_out(tmp_path, capsys):
    root = ROOTS["ntu_rgbd"](tmp_path)
    assert main(["datasets", "check", "ntu_rgbd", str(root)]) == 0
    text = capsys.readouterr().out
    assert "1 left out" in text and "left out: 1 clips, " in text
    assert main(["datasets", "check", "ntu", str(root)]) == 2
    assert "argument NAME: invalid choice: 'ntu'" in capsys.readouterr().err


def test_check_of_an_empty_folder(tmp_path, capsys):
    assert main(["datasets", "check", "jhmdb", str(tmp_path)]) == 1
    assert capsys.readouterr().err.startswith(f"error: {tmp_path}")


def test_the_script_says_the_same_as_the_command(tmp_path, capsys):
    root = str(ROOTS["sbu"](tmp_path))
    assert main(["datasets", "check", "sbu", root, "--modality", "skeleton"]) == 0
    command = [sys.executable, REPOSITORY / "preprocessing" / "check_dataset.py", "--dataset", "sbu", root]
    done = subprocess.run(
        [*map(str, command), "--modality", "skeleton"], capture_output=True, text=True, check=False, timeout=120
    )
    assert (done.returncode, done.stderr) == (0, "") and done.stdout == capsys.readouterr().out


def test_csv_of_videos_and_labels(tmp_path, capsys):
    root = ROOTS["jhmdb"](tmp_path / "jhmdb")
    out = tmp_path / "list" / "jhmdb.csv"
    assert main(["datasets", "csv", "jhmdb", str(root), str(out), "--protocol", "split1"]) == 0
    assert capsys.readouterr().out == f"2 clips in {out}, protocols: split\n"
    head, *rows = out.read_text().splitlines()
    assert head == "clip,label,video,split,subject,camera,frame_rate" and len(rows) == 2


def test_csv_says_what_was_left_out(tmp_path, capsys):
    root = ROOTS["ntu_rgbd"](tmp_path / "ntu")
    assert main(["datasets", "csv", "ntu_rgbd", str(root), str(tmp_path / "clips.csv")]) == 0
    first, second = capsys.readouterr().out.splitlines()
    assert first.endswith("protocols: split_cross_subject, split_cross_view; 1 left out")
    assert second.startswith("left out: 1 clips, ")


@pytest.mark.parametrize(
    ("words", "message"),
    [(["--protocol", "split9"], "unknown protocol (found 'split9', expected one of split1, split2, split3)")],
)
def test_csv_that_cannot_be_written(tmp_path, words, message, capsys):
    root = ROOTS["jhmdb"](tmp_path / "jhmdb")
    assert main(["datasets", "csv", "jhmdb", str(root), str(tmp_path / "clips.csv"), *words]) == 1
    assert message in capsys.readouterr().err and not (tmp_path / "clips.csv").exists()
