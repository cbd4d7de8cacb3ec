"""What converters of published weights share: whether the tensors of a file are those of the network, and the file written."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import keras
import numpy as np

from keras_actrec.errors import WeightsError
from keras_actrec.files import whole_file


def check_tensors(
    found: Mapping[str, np.ndarray],
    expected: Mapping[str, tuple[int, ...]],
    *,
    network: str,
    fix: str,
    kind: str = "tensor",
    beyond: tuple[str, ...] = (),
    file: str | Path | None = None,
) -> None:
    """Compares every name and every shape, both ways.

    Args:
        found: name → values, those of the file.
        expected: name → shape, those of the network.
        network: its name, for messages.
        fix: what to do about a file of another network.
        kind: what the file calls them, "tensor" or "variable".
        beyond: beginnings of the names that the file may have beside those of the network.
        file: for messages.

    Raises:
        WeightsError: a tensor is missing, unexpected, of another shape or not finite.
    """
    missing = [name for name in expected if name not in found]
    unexpected = sorted(name for name in found if name not in expected and not name.startswith(beyond))
    if missing or unexpected:
        raise WeightsError(
            f"the file is of another network than {network}: {len(missing)} {kind}s missing, {len(unexpected)} unexpected",
            file=file,
            found="unexpected " + ", ".join(unexpected[:3]) if unexpected else f"{len(found)} {kind}s",
            expected="also " + ", ".join(missing[:3]) if missing else f"{len(expected)} {kind}s",
            fix=fix,
        )
    for name, shape in expected.items():
        place = f"{kind} {name}"
        if found[name].shape != shape:
            raise WeightsError(
                f"a {kind} of another shape", file=file, place=place, found=found[name].shape, expected=shape, fix=fix
            )  # fmt: skip
        if not np.isfinite(found[name]).all():
            raise WeightsError("values that are not finite", file=file, place=place, fix="fetch the file again")


def write_weights_file(model: keras.Model, out: str | Path) -> None:
    """Writes the weights of a converted model.

    Args:
        model: the model.
        out: file to write, ending in .weights.h5.

    Raises:
        DiskFullError: no space left.
    """
    size = sum(4 * weight.size for weight in model.get_weights())
    with whole_file(out, ending=".weights.h5", size=size) as part:
        model.save_weights(part)
