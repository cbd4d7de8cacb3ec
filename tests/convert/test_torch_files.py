"""PyTorch files: both forms against what PyTorch wrote, and files that are damaged or want something to be run."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest

from keras_actrec.convert.torch_files import read_state_dict
from keras_actrec.errors import WeightsError
from tests.convert import torch_writer as w

REFERENCE = Path(__file__).parents[1] / "reference"
# Written by tests/reference/generate_torch_files.py under the PyTorch of that version.
WRITTEN = ("zip_2.13.0", "legacy_2.13.0", "legacy_1.0.0")
VALUES = np.arange(6, dtype=np.float32)


def written(form: str) -> Path:
    return REFERENCE / f"torch_{form}.pt"


def with_state(content: bytes, tmp_path: Path) -> Path:
    """A zip file whose pickle is `content`, with six values under the key 0."""
    return w.write_zip(tmp_path / "file.pt", content, {"0": VALUES.tobytes()})


# What PyTorch wrote -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", WRITTEN)
def test_tensors_that_pytorch_wrote(form):
    random = np.random.RandomState(0)
    base = random.standard_normal((4, 6)).astype(np.float32)
    expected = {
        "conv.weight": random.standard_normal((2, 3, 2)).astype(np.float32),
        "base": base,
        "transposed": base.T,
        "part": base[1:3, ::2],
        "half": base.astype(np.float16),
        "double": random.standard_normal(3),
        "steps": np.array(123456789012),
        "small": np.array([-3, 7], np.int8),
        "bytes": np.array([0, 255], np.uint8),
        "empty": np.zeros((0, 3), np.float32),
        "one": np.ones(3, np.float32),
    }
    found = read_state_dict(written(form))
    if not form.endswith("1.0.0"):  # it has neither type
        expected["flags"] = np.array([True, False])
        brain = found.pop("brain")
        assert brain.dtype == np.float32
        np.testing.assert_allclose(brain, base, rtol=2**-8)  # 8 bits are kept
        assert not np.any(brain.view(np.uint32) & 0xFFFF)
    assert list(found) == list(expected)
    for name, array in expected.items():
        assert found[name].dtype == array.dtype, name
        np.testing.assert_array_equal(found[name], array, err_msg=name)


@pytest.mark.parametrize("form", WRITTEN)
def test_values_are_shared_and_read_only(form):
    found = read_state_dict(written(form))
    assert np.shares_memory(found["base"], found["transposed"]) and np.shares_memory(found["base"], found["part"])
    assert not np.shares_memory(found["base"], found["half"])
    assert not any(array.flags.writeable for name, array in found.items() if array.size)


# The layout of files ----------------------------------------------------------------------------------------------------------


def test_views_of_old_files(tmp_path):
    """Before version 0.4 a persistent id could name a part of a storage: key of the view, offset, number."""
    view = b"(" + w.text("1") + w.number(2) + w.number(4) + b"t"
    content = w.dictionary({"x": w.tensor(w.storage("0", 6, view=view), (2,), (1,), offset=1)})
    path = w.write_legacy(tmp_path / "old.pt", content, {"0": VALUES})
    np.testing.assert_array_equal(read_state_dict(path)["x"], [3, 4])


def test_big_endian_files(tmp_path):
    content = w.dictionary({"x": w.tensor(w.storage("0", 6), (2, 3), (3, 1))})
    path = w.write_legacy(tmp_path / "big.pt", content, {"0": VALUES}, order=">")
    np.testing.assert_array_equal(read_state_dict(path)["x"], [[0, 1, 2], [3, 4, 5]])
    with zipfile.ZipFile(with_state(content, tmp_path), "a") as archive:
        archive.writestr("archive/byteorder", "big")
    np.testing.assert_array_equal(read_state_dict(tmp_path / "file.pt")["x"], VALUES.byteswap().reshape(2, 3))


def test_nested_dictionaries(tmp_path):
    one = w.tensor(w.storage("0", 6), (1,), (1,), offset=1)
    plain = w.dictionary({"encoder": w.dictionary({"w": one}), "epoch": w.number(3), "module.b": one})
    assert list(read_state_dict(with_state(plain, tmp_path))) == ["encoder.w", "b"]
    for key in ("state_dict", "model_state_dict", "model"):
        beside = w.dictionary({"other": one, key: w.dictionary({"w": one})})
        found = read_state_dict(with_state(beside, tmp_path))
        assert list(found) == ["w"] and found["w"] == [1]


def test_pickles_of_other_protocols(tmp_path):
    """What Python 2 and protocol 4 write instead: short strings, pairs in a list, names from the stack, MEMOIZE."""
    pairs = b"](](U\x01x" + w.tensor(w.storage("0", 6), (6,), (1,)) + b"ee"
    content = w.name("collections", "OrderedDict") + b"(" + pairs + b"tR"
    np.testing.assert_array_equal(read_state_dict(with_state(content, tmp_path))["x"], VALUES)
    content = (
        b"\x8c\x0bcollections\x94\x8c\x0bOrderedDict\x94\x93)R" + w.text("x") + w.tensor(w.storage("0", 6), (6,), (1,)) + b"s"
    )
    np.testing.assert_array_equal(read_state_dict(with_state(content, tmp_path))["x"], VALUES)


# Files that want something to be run ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["zip", "legacy"])
@pytest.mark.parametrize("place", ["alone", "as a value", "from the stack"])
def test_a_file_that_wants_to_run_something(form, place, tmp_path):
    mark = tmp_path / "ran"
    system = w.name("os", "system") if place != "from the stack" else w.text("os") + w.text("system") + b"\x93"
    call = system + b"(" + w.text(f"touch {mark}") + b"tR"
    content = call if place == "alone" else w.dictionary({"x": call})
    path = with_state(content, tmp_path) if form == "zip" else w.write_legacy(tmp_path / "file.pt", content, {})
    with pytest.raises(
        WeightsError, match=r"file\.pt, (pickle archive/data\.pkl|fourth pickle), byte \d+: .* is not run"
    ) as error:
        read_state_dict(path)
    assert error.value.found == "os.system" and "state_dict()" in error.value.fix
    assert not mark.exists()
    # The file is what it seems: Python's own reader would have run it.
    if form == "zip":
        with zipfile.ZipFile(path) as archive:
            pickled = archive.read("archive/data.pkl")
        subprocess.run([sys.executable, "-c", f"import pickle; pickle.loads({pickled!r})"], check=True)
        assert mark.exists()


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (w.name("builtins", "eval"), "builtins.eval"),
        (w.name("torch.nn.modules.conv", "Conv3d") + b")\x81", "torch.nn.modules.conv.Conv3d"),
        (w.name("numpy.core.multiarray", "scalar"), "numpy.core.multiarray.scalar"),
        (w.name("torch._utils", "_rebuild_tensor_v3"), "torch._utils._rebuild_tensor_v3"),
        (w.name("collections", "OrderedDict") + b")\x81", "opcode NEWOBJ"),
        (b"(ios\nsystem\n", "opcode INST os system"),
        (b"\x82\x01", "opcode EXT1 1"),
        (w.text("module") + b"\x85Q", "module as a stored object"),
        (w.number(3) + b")R", "a call of 3"),
        (w.name("torch", "FloatStorage") + b")R", "a call of torch.FloatStorage with 0 arguments"),
        (w.storage("0", 6, kind=w.name("collections", "OrderedDict")), r"collections\.OrderedDict.* as the type of values"),
    ],
)
def test_what_is_refused(content, found, tmp_path):
    with pytest.raises(WeightsError, match=f"it is not run .found .*{found}"):
        read_state_dict(with_state(content, tmp_path))


# Damaged files ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", WRITTEN)
def test_files_cut_short_anywhere(form, tmp_path):
    whole = written(form).read_bytes()
    path = tmp_path / "cut.pt"
    for size in (*range(0, len(whole), 97), len(whole) - 1):
        path.write_bytes(whole[:size])
        with pytest.raises(WeightsError, match=r"cut\.pt"):
            read_state_dict(path)


@pytest.mark.filterwarnings("ignore:invalid escape sequence:DeprecationWarning")  # pickletools, on a damaged string
@pytest.mark.parametrize("form", WRITTEN)
def test_files_with_one_wrong_byte(form, tmp_path):
    """Whatever a byte becomes: arrays or a WeightsError, never another exception."""
    whole = bytearray(written(form).read_bytes())
    path = tmp_path / "wrong.pt"
    refused = 0
    for place in np.random.default_rng(0).integers(0, len(whole), 400):
        wrong = bytearray(whole)
        wrong[place] ^= 0x41
        path.write_bytes(wrong)
        try:
            read_state_dict(path)
        except WeightsError:
            refused += 1
    assert refused > 200


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"s", "IndexError"),
        (b"(", "a mark where a value should be"),
        (b"h\x05", "KeyError"),
        (b"}]Ns", "unhashable"),
        (w.number(1) + w.number(2) + b"a", "int where a list should be"),
        (b"}" + w.text("x") + b"Nsb", "IndexError"),
        (w.dictionary({"x": w.tensor(w.storage("0", 6), (-2,), (1,))}), "-2 where a number"),
        (w.dictionary({"x": w.tensor(w.text("x"), (2,), (1,))}), "a tensor without values"),
        (
            w.dictionary({"x": w.storage("0", 6), "y": w.storage("0", 5)}),
            "two descriptions of the values 0",
        ),
    ],
)
def test_pickles_that_make_no_sense(content, message, tmp_path):
    with pytest.raises(WeightsError, match=rf"pickle archive/data\.pkl, byte \d+: the pickle makes no sense: .*{message}"):
        read_state_dict(with_state(content, tmp_path))


@pytest.mark.parametrize(
    ("shape", "strides", "offset"),
    [
        ((7,), (1,), 0),
        ((6,), (1,), 1),
        ((2, 3), (4, 1), 0),
        ((1,), (1,), 6),
        ((2,), (1, 1), 0),
        ((10**9,), (10**9,), 0),
        ((2**70,), (0,), 0),
        ((2**70, 0), (0, 1), 0),
    ],
)
def test_tensors_that_reach_beyond_their_values(shape, strides, offset, tmp_path):
    path = with_state(w.dictionary({"conv.weight": w.tensor(w.storage("0", 6), shape, strides, offset=offset)}), tmp_path)
    with pytest.raises(WeightsError, match=r"tensor conv\.weight: .*beyond its values \(found shape .*expected 6 values"):
        read_state_dict(path)


def test_values_that_do_not_fit(tmp_path):
    content = w.dictionary({"x": w.tensor(w.storage("0", 6), (6,), (1,))})
    for values, message in {
        VALUES.tobytes()[:-1]: r"entry archive/data/0: values are cut short \(found 23 bytes, expected 24 bytes\)",
        VALUES.tobytes() + b"0": "too many values",
    }.items():
        with pytest.raises(WeightsError, match=message):
            read_state_dict(w.write_zip(tmp_path / "file.pt", content, {"0": values}))
    with pytest.raises(WeightsError, match="entry archive/data/0: values of a tensor are missing"):
        read_state_dict(w.write_zip(tmp_path / "file.pt", content, {}))
    with pytest.raises(WeightsError, match=r"values 0, byte \d+: a wrong number of values \(found 5, expected 6\)"):
        read_state_dict(w.write_legacy(tmp_path / "file.pt", content, {"0": VALUES[:5]}))
    with pytest.raises(WeightsError, match="fifth pickle: the list of values does not fit"):
        read_state_dict(w.write_legacy(tmp_path / "file.pt", content, {"1": VALUES}))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"}", r"holds no tensors \(found keys \[\]"),
        (w.dictionary({"epoch": w.number(3)}), "holds no tensors .*epoch"),
        (w.tensor(w.storage("0", 6), (6,), (1,)), r"no state_dict \(found Tensor"),
        (b"}q\x00" + w.text("x") + b"h\x00s", "a dictionary of the file holds itself"),
        (w.dictionary({k: w.tensor(w.storage("0", 6), (6,), (1,)) for k in ("x", "module.x")}), "with and without module"),
    ],
)
def test_files_without_a_state_dict(content, message, tmp_path):
    with pytest.raises(WeightsError, match=message):
        read_state_dict(with_state(content, tmp_path))


def test_files_of_another_kind(tmp_path):
    path = tmp_path / "file.pt"
    with pytest.raises(WeightsError, match=r"file\.pt: there is no such weights file"):
        read_state_dict(path)
    for content, message in {
        b"": "found an empty file",
        b"\x89HDF\r\n\x1a\n": "no file of torch.save .*HDF.*fetch it again",
        b"version https://git-lfs.github.com/spec/v1\noid": "Git lfs pull brings the file",
        w.pickled(w.text("hello")): "none of torch.save .found hello",
        w.MAGIC + w.pickled(w.number(1002)): "unknown form of torch.save .found 1002, expected 1001",
    }.items():
        path.write_bytes(content)
        with pytest.raises(WeightsError, match=message):
            read_state_dict(path)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", w.pickled(b"}"))
        archive.writestr("archive/code/__torch__.py", "")
    with pytest.raises(WeightsError, match="TorchScript and other archives hold programs"):
        read_state_dict(path)
