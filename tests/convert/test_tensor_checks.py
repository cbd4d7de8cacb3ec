"""Tensors of published files against those of a network: what is refused, and what the error says."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from keras_actrec.convert.tensor_checks import check_tensors, write_weights_file
from keras_actrec.errors import WeightsError

EXPECTED = {"b.weight": (2, 3), "a.weight": (3,), "c.bias": (1,)}


def whole() -> dict[str, np.ndarray]:
    return {name: np.ones(shape, np.float32) for name, shape in EXPECTED.items()}


def test_a_file_of_the_network_passes():
    check_tensors(whole(), EXPECTED, network="Net", fix="")
    check_tensors(whole() | {"fc.bias": np.full(3, np.nan)}, EXPECTED, network="Net", fix="", beyond=("fc.", "top."))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda t: t.clear() or t.update(z=0, y=0, x=0, w=0),
            "f.pth: the file is of another network than Net: 3 tensors missing, 4 unexpected (found unexpected w, x, y, "
            "expected also b.weight, a.weight, c.bias). Take another",
        ),
        (
            lambda t: t.pop("a.weight"),
            "f.pth: the file is of another network than Net: 1 tensors missing, 0 unexpected (found 2 tensors, expected also "
            "a.weight). Take another",
        ),
        (
            lambda t: t.update({"fc.bias": np.zeros(3)}),
            "f.pth: the file is of another network than Net: 0 tensors missing, 1 unexpected (found unexpected fc.bias, "
            "expected 3 tensors). Take another",
        ),
        (
            lambda t: t.update({"a.weight": np.zeros(4)}),
            "f.pth, tensor a.weight: a tensor of another shape (found (4,), expected (3,)). Take another",
        ),
        (
            lambda t: t["b.weight"].fill(np.inf),
            "f.pth, tensor b.weight: values that are not finite. Fetch the file again",
        ),
    ],
    ids=["other", "missing", "unexpected", "shape", "infinite"],
)  # fmt: skip
def test_files_of_other_networks(change, message):
    tensors = whole()
    change(tensors)
    with pytest.raises(WeightsError) as error:
        check_tensors(tensors, EXPECTED, network="Net", fix="take another", file="f.pth")
    assert str(error.value) == message


def test_variables_are_called_so():
    with pytest.raises(WeightsError, match=r"1 variables missing, 0 unexpected \(found 2 variables"):
        check_tensors({k: v for k, v in whole().items() if k != "c.bias"}, EXPECTED, network="Net", fix="", kind="variable")


def test_the_file_is_whole_and_reads(tmp_path):
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
    write_weights_file(model, tmp_path / "new" / "net.weights.h5")
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["net.weights.h5"]
    other = keras.models.clone_model(model)
    other.load_weights(tmp_path / "new" / "net.weights.h5")
    for found, expected in zip(other.get_weights(), model.get_weights(), strict=True):
        np.testing.assert_array_equal(found, expected)
