"""Exports for other programs: the folder of a training is enough, nothing is overwritten, the files are those of export/."""

from __future__ import annotations

from pathlib import Path

import pytest

from keras_actrec.cli import export as command
from keras_actrec.cli.export import find_export
from keras_actrec.cli.main import main
from keras_actrec.errors import DiskFullError, WeightsError
from keras_actrec.export.saved_model import DESCRIPTION
from keras_actrec.export.serving import copy_export


@pytest.fixture
def run_folder(tmp_path) -> Path:
    """A finished training with an export, which nothing here loads."""
    folder = tmp_path / "run" / "export"
    (folder / "variables").mkdir(parents=True)
    (folder / DESCRIPTION).write_text('{"keras_actrec": "0", "model": "vpn", "class_names": ["a"], "layout": "kinect_v2", '
                                      '"joints": [], "sampling": {}, "crop": {}, "cleaning": {}, "backbone": {}, '
                                      '"image_size": 8, "map_size": [1, 1]}')  # fmt: skip
    (folder / "variables" / "variables.index").write_bytes(b"x" * 5000)
    return tmp_path / "run"


def files(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def test_the_name_of_the_description_is_that_of_the_exports():
    assert command.DESCRIPTION == DESCRIPTION


def test_a_training_or_its_export(run_folder, tmp_path):
    assert find_export(run_folder) == find_export(run_folder / "export") == run_folder / "export"
    with pytest.raises(WeightsError, match=r"neither an exported model nor the folder of a finished training.*WORKDIR"):
        find_export(tmp_path)


def test_a_copy_of_the_saved_model(run_folder, tmp_path, capsys):
    out = tmp_path / "copy"
    assert main(["export", str(run_folder), "--to", "saved-model", str(out)]) == 0
    assert capsys.readouterr().out == f"wrote {out}\n" and files(out) == files(run_folder / "export")
    assert main(["export", str(run_folder), "--to", "saved-model", str(out)]) == 1
    assert f"{out}: the folder is there already. Delete it" in capsys.readouterr().err


def test_a_full_disk_leaves_no_copy(run_folder, tmp_path, full_disk):
    with full_disk(1000), pytest.raises(DiskFullError, match="copy: no space left to copy"):
        copy_export(run_folder / "export", tmp_path / "copy")
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


def test_versions_for_tensorflow_serving(run_folder, tmp_path, capsys):
    arguments = ["export", str(run_folder), "--to", "tf-serving", str(tmp_path / "models")]
    assert main(arguments) == 0
    text = capsys.readouterr().out
    folder = tmp_path / "models" / "actrec"
    assert f"wrote {folder / '1'}" in text and f"--model_name=actrec --model_base_path={folder}" in text
    assert files(folder / "1") == files(run_folder / "export")
    assert main(arguments) == 0 and f"wrote {folder / '2'}" in capsys.readouterr().out
    assert main([*arguments, "--name", "gestures", "--version", "7"]) == 0
    assert (tmp_path / "models" / "gestures" / "7" / DESCRIPTION).is_file()
    assert main([*arguments, "--version", "2"]) == 1
    assert "this version of the model is there already" in capsys.readouterr().err


def test_onnx_goes_to_its_function(run_folder, tmp_path, monkeypatch, capsys):
    calls = []
    monkeypatch.setattr("keras_actrec.export.onnx.export_onnx", lambda *paths: calls.append(paths) or paths[1])
    assert main(["export", str(run_folder), "--to", "onnx", str(tmp_path / "m.onnx")]) == 0
    assert calls == [(run_folder / "export", tmp_path / "m.onnx")]
    assert capsys.readouterr().out == f"wrote {tmp_path / 'm.onnx'}\n"
    assert main(["export", str(run_folder), "--to", "onnx", str(tmp_path)]) == 1
    assert "an ONNX model is a file, and this is a folder" in capsys.readouterr().err


@pytest.mark.parametrize("option", [["--name", "x"], ["--version", "3"]])
def test_options_of_another_form(run_folder, tmp_path, option, capsys):
    assert main(["export", str(run_folder), "--to", "onnx", str(tmp_path / "m.onnx"), *option]) == 1
    assert f"{option[0]} is of --to tf-serving (found --to onnx). Leave out {option[0]}" in capsys.readouterr().err


def test_a_form_that_is_not_known(run_folder, capsys):
    assert main(["export", str(run_folder), "--to", "caffe", "out"]) == 2
    assert "argument --to: invalid choice: 'caffe'" in capsys.readouterr().err
