"""Files of Caffe assembled byte by byte, without Caffe: both versions, and what it would never write."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np


def varint(value: int) -> bytes:
    out = bytearray()
    value &= (1 << 64) - 1
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def number(field: int, value: int) -> bytes:
    return varint(field << 3) + varint(value)


def run_of_bytes(field: int, content: bytes) -> bytes:
    return varint(field << 3 | 2) + varint(len(content)) + content


def blob(values: np.ndarray, shape: Sequence[int] | None = None) -> bytes:
    """float32, or double_data for float64; with the array's own shape or another."""
    dims = b"".join(varint(size) for size in (values.shape if shape is None else shape))
    field, kind = (8, "<f8") if values.dtype == np.float64 else (5, "<f4")
    return run_of_bytes(7, run_of_bytes(1, dims)) + run_of_bytes(field, values.astype(kind).tobytes())


def old_blob(values: np.ndarray) -> bytes:
    """With num, channels, height and width in place of a shape, and values one by one."""
    sizes = (1,) * (4 - values.ndim) + values.shape
    single = b"".join(varint(5 << 3 | 5) + value.tobytes() for value in values.astype("<f4").ravel())
    return b"".join(number(field, size) for field, size in enumerate(sizes, start=1)) + single


def layer(name: str, blobs: Sequence[bytes], kind: str = "Convolution") -> bytes:
    """A LayerParameter: its name, its type, what a convolution says of itself, and its blobs."""
    settings = run_of_bytes(106, number(1, 64) + run_of_bytes(7, run_of_bytes(1, b"xavier")))
    parts = [run_of_bytes(1, name.encode()), run_of_bytes(2, kind.encode()), run_of_bytes(3, b"below"), settings]
    return run_of_bytes(100, b"".join(parts) + b"".join(run_of_bytes(7, blob) for blob in blobs))


def old_layer(name: str, blobs: Sequence[bytes]) -> bytes:
    """A V1LayerParameter; its blobs come before its name, which the format allows."""
    parts = [*(run_of_bytes(6, blob) for blob in blobs), run_of_bytes(4, name.encode()), number(5, 4)]
    return run_of_bytes(2, b"".join(parts))


def write_caffemodel(path: Path, layers: Mapping[str, Sequence[np.ndarray]]) -> Path:
    data = layer("data", (), "VideoData")
    network = [layer(name, [blob(array) for array in blobs]) for name, blobs in layers.items()]
    path.write_bytes(run_of_bytes(1, b"BN-Inception") + data + b"".join(network))
    return path
