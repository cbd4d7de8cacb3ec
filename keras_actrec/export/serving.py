"""The folder that TensorFlow Serving reads: TARGET/NAME/VERSION, each version a SavedModel with its `actrec.json`.

    tensorflow_model_server --rest_api_port=8501 --model_name=NAME --model_base_path=TARGET/NAME

The server takes every subfolder whose name is a number for a version and serves the highest; a version that is still being
written has another name. `find_version` reads such a folder again.
"""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path

from keras_actrec.errors import ConfigError, DiskFullError, WeightsError
from keras_actrec.export.saved_model import DESCRIPTION, read_description
from keras_actrec.files import says_disk_full

FIRST_VERSION = 1
HIGHEST_VERSION = 2**63 - 1  # a 64-bit integer in the server


def export_for_serving(directory: str | Path, target: str | Path, *, name: str, version: int | None = None) -> Path:
    """Copies an export into a folder of versions; the version appears under its number only when it is whole.

    Args:
        directory: export of any model (WORKDIR/export); it stays as it is.
        target: folder of models; made if need be.
        name: of the model, as it stands in addresses.
        version: a number of at least 0 that is not there yet; None for the one after the highest.

    Returns:
        TARGET/NAME/VERSION.

    Raises:
        ConfigError: a name that cannot stand in an address, or a version that is no such number or is there already.
        WeightsError: the directory is no export of this package.
        DiskFullError: no space left; older versions are untouched.
    """
    read_description(directory)
    folder = Path(target) / check_model_name(name)
    there = versions(folder)
    if version is None:
        version = max(there, default=FIRST_VERSION - 1) + 1
    if isinstance(version, bool) or not isinstance(version, int) or not 0 <= version <= HIGHEST_VERSION:
        raise ConfigError("a version is a number", found=repr(version), expected=f"an integer from 0 to {HIGHEST_VERSION}")
    if version in there:
        raise ConfigError(
            "this version of the model is there already", file=folder, found=version,
            expected=f"none of {', '.join(map(str, there))}",
            fix="leave the version out to write the next one, or delete the folder",
        )  # fmt: skip
    return copy_export(directory, folder / str(version))


def copy_export(directory: str | Path, target: str | Path) -> Path:
    """Copies an export; the target appears only when it is whole.

    Raises:
        ConfigError: the target is there already.
        DiskFullError: no space left.
    """
    directory, target = Path(directory), Path(target)
    part = target.with_name(f"{target.name}.part")
    if target.exists():
        raise ConfigError("the folder is there already", file=target, fix="delete it, or give another name")
    shutil.rmtree(part, ignore_errors=True)
    try:
        shutil.copytree(directory, part)
        os.replace(part, target)
    except BaseException as error:
        shutil.rmtree(part, ignore_errors=True)
        if says_disk_full(error):
            fix = "free some space, or write to another disk, and run the same command again"
            raise DiskFullError("no space left to copy the exported model", file=target, fix=fix) from error
        raise
    return target


def check_model_name(name: str) -> str:
    """The name. Raises ConfigError unless it can stand in an address: TensorFlow Serving looks for `/` and `:` behind it."""
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", name):
        raise ConfigError(
            "no such name of a model", found=repr(name), expected="letters, digits, . _ and -, a letter or a digit first"
        )
    return name


def versions(folder: str | Path) -> list[int]:
    """The versions in a folder NAME of `export_for_serving`, in ascending order; none where there is no such folder."""
    folder = Path(folder)
    if not folder.is_dir():
        return []
    return sorted(int(path.name) for path in folder.iterdir() if re.fullmatch(r"0|[1-9]\d*", path.name) and path.is_dir())


def find_version(directory: str | Path) -> tuple[Path, int]:
    """The export that TensorFlow Serving would serve from a directory, and its version.

    Args:
        directory: an export, whose version is the number that it is named by, else 1; or a folder of versions, of which the
            highest is taken.

    Raises:
        WeightsError: neither.
    """
    directory = Path(directory)
    if (directory / DESCRIPTION).is_file():
        return directory, int(directory.name) if re.fullmatch(r"0|[1-9]\d*", directory.name) else FIRST_VERSION
    there = versions(directory)
    if not there:
        raise WeightsError(
            "neither an exported model nor a folder of versions of one", file=directory,
            expected=f"{DESCRIPTION}, or subfolders 1, 2, …",
            fix="give WORKDIR/export of an experiment, or what keras-actrec export --to tf-serving wrote",
        )  # fmt: skip
    return directory / str(there[-1]), there[-1]
