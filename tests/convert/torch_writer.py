"""Files of torch.save assembled opcode by opcode: without PyTorch, and with what it would never write."""

from __future__ import annotations

import io
import struct
import zipfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np

MAGIC = b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19."
PROTOCOL = b"\x80\x02M\xe9\x03."


def text(value: str) -> bytes:
    return b"X" + struct.pack("<I", len(value.encode())) + value.encode()


def number(value: int) -> bytes:
    return b"\x8a\x10" + value.to_bytes(16, "little", signed=True)


def numbers(values) -> bytes:
    return b"(" + b"".join(number(int(value)) for value in values) + b"t"


def name(module: str, attribute: str) -> bytes:
    return f"c{module}\n{attribute}\n".encode()


def storage(key: str, count: int, *, kind: bytes | None = None, view: bytes = b"") -> bytes:
    """A persistent id; `view` is pushed behind it, as files before PyTorch 0.4 do."""
    kind = name("torch", "FloatStorage") if kind is None else kind
    return b"(" + text("storage") + kind + text(key) + text("cpu") + number(count) + view + b"tQ"


def tensor(values: bytes, shape, strides, *, offset: int = 0) -> bytes:
    hooks = name("collections", "OrderedDict") + b")R"
    rebuild = name("torch._utils", "_rebuild_tensor_v2")
    return rebuild + b"(" + values + number(offset) + numbers(shape) + numbers(strides) + b"\x89" + hooks + b"tR"


def dictionary(items: Mapping[str, bytes]) -> bytes:
    return b"}(" + b"".join(text(key) + value for key, value in items.items()) + b"u"


def pickled(content: bytes) -> bytes:
    return b"\x80\x02" + content + b"."


def write_zip(path: Path, content: bytes, values: Mapping[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", pickled(content))
        for key, data in values.items():
            archive.writestr(f"archive/data/{key}", data)
    return path


def write_legacy(path: Path, content: bytes, values: Mapping[str, np.ndarray], *, order: str = "<") -> Path:
    system = dictionary({"little_endian": b"\x88" if order == "<" else b"\x89"})
    keys = b"](" + b"".join(text(key) for key in values) + b"e"
    file = io.BytesIO()
    for part in (MAGIC, PROTOCOL, pickled(system), pickled(content), pickled(keys)):
        file.write(part)
    for array in values.values():
        file.write(struct.pack(f"{order}q", array.size) + array.astype(array.dtype.newbyteorder(order)).tobytes())
    path.write_bytes(file.getvalue())
    return path


def write_state_dict(path: Path, arrays: Mapping[str, np.ndarray]) -> Path:
    """A zip file with float32 tensors, each with values of its own."""
    tensors, values = {}, {}
    for index, (key, array) in enumerate(arrays.items()):
        array = np.ascontiguousarray(array, np.float32)
        strides = [step // array.itemsize for step in array.strides]
        tensors[key] = tensor(storage(str(index), array.size), array.shape, strides)
        values[str(index)] = array.tobytes()
    return write_zip(path, dictionary(tensors), values)
