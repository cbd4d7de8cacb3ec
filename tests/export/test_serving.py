"""Folders of versions for TensorFlow Serving: each version whole and under its number, and what is refused."""

from __future__ import annotations

import pytest

from keras_actrec.errors import ConfigError, DiskFullError, WeightsError
from keras_actrec.export import export_rpan, read_description
from keras_actrec.export.loading import load_export
from keras_actrec.export.serving import export_for_serving, find_version, versions
from keras_actrec.skeletons.layouts import JHMDB_15
from tests.export.small_rpan import BACKBONE, SAMPLING, small_rpan


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    return export_rpan(
        small_rpan(), tmp_path_factory.mktemp("rpan") / "export", class_names=("wave", "clap", "drink"), layout=JHMDB_15,
        sampling=SAMPLING, stream="rgb", backbone=BACKBONE, attention="human_part",
    )  # fmt: skip


def files(folder) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_version_is_the_export_with_its_description(exported, tmp_path):
    made = export_for_serving(exported, tmp_path / "models", name="rpan")
    assert made == tmp_path / "models" / "rpan" / "1"
    assert files(made) == files(exported) and read_description(made) == read_description(exported)
    assert "classify_clip" in load_export(made).signatures


def test_versions_are_counted_on(exported, tmp_path):
    made = [export_for_serving(exported, tmp_path, name="rpan", version=version).name for version in (None, None, 9, None, 0)]
    assert made == ["1", "2", "9", "10", "0"]
    assert versions(tmp_path / "rpan") == [0, 1, 2, 9, 10]
    assert find_version(tmp_path / "rpan") == (tmp_path / "rpan" / "10", 10)
    assert find_version(tmp_path / "rpan" / "9") == (tmp_path / "rpan" / "9", 9)
    assert find_version(exported) == (exported, 1)


def test_only_numbers_are_versions(tmp_path):
    for name in ("2", "3.part", "latest", "-4", "05"):
        (tmp_path / name).mkdir()
    (tmp_path / "7").write_text("a file")
    assert versions(tmp_path) == [2] and versions(tmp_path / "nowhere") == []


def test_a_version_that_is_there_is_not_replaced(exported, tmp_path):
    export_for_serving(exported, tmp_path, name="rpan", version=3)
    with pytest.raises(ConfigError, match=r"there already \(found 3, expected none of 3\)\. Leave the version out"):
        export_for_serving(exported, tmp_path, name="rpan", version=3)


@pytest.mark.parametrize("version", [-1, 2**63, 1.0, True, "1"])
def test_versions_that_are_none(exported, tmp_path, version):
    with pytest.raises(ConfigError, match="a version is a number"):
        export_for_serving(exported, tmp_path, name="rpan", version=version)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["", "a/b", "a:b", "..", "-a", "a b"])
def test_names_that_cannot_stand_in_an_address(exported, tmp_path, name):
    with pytest.raises(ConfigError, match=r"no such name of a model.*letters, digits"):
        export_for_serving(exported, tmp_path, name=name)
    assert not list(tmp_path.iterdir())


def test_what_is_no_export_is_not_copied(tmp_path):
    (tmp_path / "other").mkdir()
    with pytest.raises(WeightsError, match="no description of an exported model"):
        export_for_serving(tmp_path / "other", tmp_path / "models", name="rpan")
    assert not (tmp_path / "models").exists()


def test_a_full_disk_leaves_the_older_versions(exported, tmp_path, full_disk):
    older = export_for_serving(exported, tmp_path, name="rpan")
    with full_disk(5_000), pytest.raises(DiskFullError, match=r"rpan/2: no space left .*Free some space"):
        export_for_serving(exported, tmp_path, name="rpan")
    assert [path.name for path in (tmp_path / "rpan").iterdir()] == ["1"] and files(older) == files(exported)
