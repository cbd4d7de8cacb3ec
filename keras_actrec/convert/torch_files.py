"""Tensors of PyTorch's .pt and .pth files as NumPy arrays, without running anything that the file says.

Such a file is a pickle, a program that may call any function of Python. Here it is read by a closed machine (`torch_pickle`)
that knows tensors and plain values; a file that names anything else (`os.system`) is refused by that name.

Two forms, both of torch.save: a zip archive (PyTorch 1.6 and later), and the older one, five pickles and then the raw values.
"""

from __future__ import annotations

import io
import mmap
import sys
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from math import prod
from pathlib import Path

import numpy as np

from keras_actrec.convert.torch_pickle import AGAIN, BFLOAT16, WAY_OUT, Machine, Storage, Tensor
from keras_actrec.errors import WeightsError

_LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
_LEGACY_PROTOCOL = 1001
_MOST_VALUES = 1 << 40  # a stride of 0 makes a tensor of any size out of one value
# Where training scripts put the weights among other things.
_STATE_KEYS = ("state_dict", "model_state_dict", "model_state", "model")


def read_state_dict(path: str | Path) -> dict[str, np.ndarray]:
    """Reads the tensors of a PyTorch file.

    Args:
        path: a .pt or .pth file of torch.save that holds a state_dict, alone or in a dictionary beside other things (`epoch`,
            `optimizer`), of which only the tensors of the state_dict are returned.

    Returns:
        Name → array in the file's type, bfloat16 as float32. Nested dictionaries are joined by "."; "module." in front, from
        torch.nn.DataParallel, is taken off. Arrays are read-only, and those that share memory in PyTorch share it here.

    Raises:
        WeightsError: no such file, neither form, cut short or damaged, no tensors in it, or it names something that is no part
            of a state_dict, which is not run.
    """
    path = Path(path)
    if not path.is_file():
        raise WeightsError("there is no such weights file", file=path)
    with path.open("rb") as file:
        start = file.read(64)
    if start.startswith(b"PK\x03\x04"):
        tree, values = _read_zip(path)
    elif start[:1] == b"\x80":
        tree, values = _read_legacy(path)
    else:
        raise WeightsError(
            "this is no file of torch.save",
            file=path,
            found=f"bytes {start[:16]!r} at its start" if start else "an empty file",
            expected="a zip archive or a pickle",
            fix="git lfs pull brings the file behind this pointer" if start.startswith(b"version https://git-lfs") else AGAIN,
        )
    tensors = {name: _array(tensor, values, path, name) for name, tensor in _state(tree, path).items()}
    return _without_module(tensors, path)


# The two forms of a file. Both give the tree of the pickle, and storage key → its values.


def _read_zip(path: Path) -> tuple[object, Mapping[str, np.ndarray]]:
    try:
        with zipfile.ZipFile(path) as archive:
            names = set(archive.namelist())
            pickles = [name for name in names if name.endswith("/data.pkl") and name.count("/") == 1]
            if len(pickles) != 1 or any("/code/" in name for name in names):
                raise WeightsError(
                    "the archive is none of torch.save",
                    file=path,
                    found=f"entries {sorted(names)[:4]}",
                    expected="one data.pkl",
                    fix="TorchScript and other archives hold programs: " + WAY_OUT,
                )
            folder = pickles[0].removesuffix("data.pkl")
            order = archive.read(f"{folder}byteorder").decode("ascii", "replace") if f"{folder}byteorder" in names else "little"
            machine = Machine(io.BytesIO(archive.read(pickles[0])), path, f"pickle {pickles[0]}")
            tree = machine.run()
            values = {}
            for storage in machine.storages.values():
                entry = f"{folder}data/{storage.key}"
                if entry not in names:
                    raise WeightsError("values of a tensor are missing", file=path, place=f"entry {entry}", fix=AGAIN)
                values[storage.key] = _values(storage, archive.read(entry), order, path, f"entry {entry}")
    except (zipfile.BadZipFile, zlib.error, EOFError, KeyError, OSError, RuntimeError, ValueError) as error:
        raise WeightsError(f"the archive cannot be read: {error}", file=path, fix=AGAIN) from error
    return tree, values


def _read_legacy(path: Path) -> tuple[object, Mapping[str, np.ndarray]]:
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as stream:
        magic = Machine(stream, path, "first pickle").run()
        if magic != _LEGACY_MAGIC:
            raise WeightsError(
                "this is a pickle, but none of torch.save", file=path, found=f"{str(magic)[:60]} at its start", fix=WAY_OUT
            )
        protocol = Machine(stream, path, "second pickle").run()
        if protocol != _LEGACY_PROTOCOL:
            raise WeightsError("unknown form of torch.save", file=path, found=protocol, expected=_LEGACY_PROTOCOL, fix=WAY_OUT)
        system = Machine(stream, path, "third pickle").run()
        little = system.get("little_endian", True) if isinstance(system, dict) else True
        machine = Machine(stream, path, "fourth pickle")
        tree = machine.run()
        keys = Machine(stream, path, "fifth pickle").run()
        if not isinstance(keys, list) or set(keys) != set(machine.storages):
            raise WeightsError("the list of values does not fit the tensors", file=path, place="fifth pickle", fix=AGAIN)
        values = {}
        for key in keys:
            storage = machine.storages[key]
            place = f"values {key}, byte {stream.tell()}"
            count = int.from_bytes(stream.read(8), "little" if little else "big", signed=True)
            if count != storage.count:
                raise WeightsError(
                    "a wrong number of values", file=path, place=place, found=count, expected=storage.count, fix=AGAIN
                )
            content = stream.read(storage.count * storage.item_bytes)
            values[key] = _values(storage, content, "little" if little else "big", path, place)
    return tree, values


# Values and tensors.


def _values(storage: Storage, content: bytes, order: str, path: Path, place: str) -> np.ndarray:
    """The values of a storage, read-only and in this machine's byte order."""
    expected = storage.count * storage.item_bytes
    if len(content) != expected:
        raise WeightsError(
            "values are cut short" if len(content) < expected else "too many values",
            file=path,
            place=place,
            found=f"{len(content)} bytes",
            expected=f"{expected} bytes",
            fix=AGAIN,
        )
    kind = np.dtype("u2" if storage.kind == BFLOAT16 else storage.kind)
    values = np.frombuffer(content, kind.newbyteorder("<" if order == "little" else ">"))
    if order != sys.byteorder:
        values = values.astype(kind)
    if storage.kind == BFLOAT16:  # the upper half of a float32
        values = (values.astype(np.uint32) << 16).view(np.float32)
    values.flags.writeable = False
    return values


def _array(tensor: Tensor, values: Mapping[str, np.ndarray], path: Path, name: str) -> np.ndarray:
    stored = values[tensor.storage.key]
    last = tensor.offset + sum((size - 1) * step for size, step in zip(tensor.shape, tensor.strides, strict=False))
    empty = prod(tensor.shape) == 0
    too_large = prod(max(size, 1) for size in tensor.shape) > _MOST_VALUES
    if too_large or len(tensor.shape) != len(tensor.strides) or (not empty and last >= stored.size):
        raise WeightsError(
            "the tensor reaches beyond its values",
            file=path,
            place=f"tensor {name}",
            found=f"shape {tensor.shape}, strides {tensor.strides}, offset {tensor.offset}",
            expected=f"{stored.size} values",
            fix=AGAIN,
        )
    if empty:
        return np.empty(tensor.shape, stored.dtype)
    steps = [step * stored.itemsize for step in tensor.strides]
    return np.lib.stride_tricks.as_strided(stored[tensor.offset :], tensor.shape, steps, writeable=False)


def _state(tree: object, path: Path) -> dict[str, Tensor]:
    """The tensors of the state_dict inside the tree."""
    if not isinstance(tree, dict):
        raise WeightsError("the file holds no state_dict", file=path, found=type(tree).__name__.strip("_"), fix=WAY_OUT)
    for key in _STATE_KEYS:
        if isinstance(tree.get(key), dict):
            tree = tree[key]
            break
    try:
        tensors = dict(_flat(tree, ""))
    except RecursionError as error:
        raise WeightsError("a dictionary of the file holds itself", file=path, fix=WAY_OUT) from error
    if not tensors:
        raise WeightsError("the file holds no tensors", file=path, found=f"keys {list(tree)[:5]}", fix=WAY_OUT)
    return tensors


def _flat(tree: Mapping, prefix: str) -> Iterator[tuple[str, Tensor]]:
    for key, value in tree.items():
        if isinstance(value, Tensor):
            yield f"{prefix}{key}", value
        elif isinstance(value, dict):
            yield from _flat(value, f"{prefix}{key}.")


def _without_module(tensors: dict[str, np.ndarray], path: Path) -> dict[str, np.ndarray]:
    short = {name.removeprefix("module."): array for name, array in tensors.items()}
    if len(short) != len(tensors):
        raise WeightsError("some tensors are there with and without module.", file=path, fix=WAY_OUT)
    return short
