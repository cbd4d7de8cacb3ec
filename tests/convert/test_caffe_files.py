"""Reading .caffemodel files: both versions of layers, every way to write values, and files that are damaged or hostile."""

from __future__ import annotations

import struct

import numpy as np
import pytest
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

from keras_actrec.convert.caffe_files import read_caffemodel
from keras_actrec.errors import WeightsError
from tests.convert import caffe_writer as w

KERNEL = np.arange(24, dtype=np.float32).reshape(2, 3, 2, 2) / 7
BIAS = np.array([-0.5, 3e8], np.float32)


def assert_layers(found, expected):
    assert list(found) == list(expected)
    for name, blobs in expected.items():
        assert [(blob.shape, blob.dtype) for blob in found[name]] == [(blob.shape, blob.dtype) for blob in blobs]
        for blob, other in zip(found[name], blobs, strict=True):
            np.testing.assert_array_equal(blob, other)


def test_layers_with_weights_in_their_order(tmp_path):
    layers = {"z/conv": [KERNEL, BIAS], "a/fc": [KERNEL.reshape(2, 12)], "größe": [BIAS]}
    assert_layers(read_caffemodel(w.write_caffemodel(tmp_path / "net.caffemodel", layers)), layers)


def test_old_layers_and_blobs(tmp_path):
    path = tmp_path / "old.caffemodel"
    path.write_bytes(w.old_layer("data", ()) + w.old_layer("conv", [w.old_blob(KERNEL), w.old_blob(BIAS)]))
    assert_layers(read_caffemodel(path), {"conv": [KERNEL, BIAS.reshape(1, 1, 1, 2)]})


def test_values_in_pieces_doubles_and_without_a_shape(tmp_path):
    halves = w.run_of_bytes(5, BIAS[:1].tobytes()) + w.run_of_bytes(6, b"\0" * 8) + w.run_of_bytes(5, BIAS[1:].tobytes())
    single_dims = w.run_of_bytes(7, w.number(1, 1) + w.number(1, 2)) + w.run_of_bytes(5, BIAS.tobytes())
    doubles = w.blob(KERNEL.astype(np.float64)) + w.run_of_bytes(5, b"\0" * 4)  # Caffe, too, takes the doubles then
    path = tmp_path / "net.caffemodel"
    path.write_bytes(w.layer("x", [halves, single_dims, doubles, w.blob(np.empty(0, np.float32))]))
    expected = [BIAS, BIAS.reshape(1, 2), KERNEL.astype(np.float64), np.empty(0, np.float32)]
    assert_layers(read_caffemodel(path), {"x": expected})


def message_classes() -> dict:
    """The messages of caffe.proto, as far as they hold weights, for the library that Caffe itself writes them with."""
    kinds = descriptor_pb2.FieldDescriptorProto
    file = descriptor_pb2.FileDescriptorProto(name="net.proto", package="net", syntax="proto2")

    def message(name, *fields):
        kind = file.message_type.add(name=name)
        for field, number, form, label, packed, of in fields:
            entry = kind.field.add(name=field, number=number, type=form, label=label, type_name=of and f".net.{of}")
            if packed:
                entry.options.packed = True

    one, many = kinds.LABEL_OPTIONAL, kinds.LABEL_REPEATED
    message("Shape", ("dim", 1, kinds.TYPE_INT64, many, True, None))
    message(
        "Blob",
        ("shape", 7, kinds.TYPE_MESSAGE, one, False, "Shape"),
        ("data", 5, kinds.TYPE_FLOAT, many, True, None),
        ("num", 1, kinds.TYPE_INT32, one, False, None),
    )
    message("Layer", ("name", 1, kinds.TYPE_STRING, one, False, None), ("blobs", 7, kinds.TYPE_MESSAGE, many, False, "Blob"))
    message("Net", ("name", 1, kinds.TYPE_STRING, one, False, None), ("layer", 100, kinds.TYPE_MESSAGE, many, False, "Layer"))
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return {name: message_factory.GetMessageClass(pool.FindMessageTypeByName(f"net.{name}")) for name in ("Net", "Blob")}


def test_files_of_the_protocol_buffers_library(tmp_path):
    net = message_classes()["Net"](name="by another hand")
    large = np.random.default_rng(0).standard_normal((64, 10, 7, 7)).astype(np.float32)
    for name, blobs in {"first": [large, BIAS], "second": [KERNEL]}.items():
        layer = net.layer.add(name=name)
        for values in blobs:
            blob = layer.blobs.add(num=-1, data=values.ravel().tolist())  # int32 below 0 takes ten bytes
            blob.shape.dim.extend(values.shape)
    path = tmp_path / "net.caffemodel"
    path.write_bytes(net.SerializeToString())
    assert_layers(read_caffemodel(path), {"first": [large, BIAS], "second": [KERNEL]})


# Files at fault.


def test_a_file_cut_anywhere_is_refused(tmp_path):
    whole = w.write_caffemodel(tmp_path / "net.caffemodel", {"conv": [KERNEL, BIAS]}).read_bytes()
    path = tmp_path / "cut.caffemodel"
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        with pytest.raises(WeightsError, match=r"cut short, damaged or no|an empty file|no layer with weights"):
            read_caffemodel(path)


def test_a_changed_byte_gives_other_values_or_a_weights_error(tmp_path):
    whole = w.write_caffemodel(tmp_path / "net.caffemodel", {"conv": [KERNEL, BIAS]}).read_bytes()
    path = tmp_path / "other.caffemodel"
    refused = 0
    for place in range(len(whole)):
        for byte in (0x00, 0xFF):
            path.write_bytes(whole[:place] + bytes([byte]) + whole[place + 1 :])
            try:
                read_caffemodel(path)
            except WeightsError:
                refused += 1
    assert 0 < refused < 2 * len(whole)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "no .caffemodel .*found an empty file"),
        (b"\x89HDF\r\n\x1a\n", "found HDF5.*binary .caffemodel"),
        (b"version https://git-lfs.github.com/spec/v1\n", "found a pointer to a file.*Git lfs pull"),
        (b"<!DOCTYPE html>", "found text"),
        (b'name: "BN-Inception"\n', "found text.*Give the binary"),
        (b"PK\x03\x04" + bytes(40), "byte .*cut short, damaged or no .caffemodel"),
        (w.run_of_bytes(1, b"a net"), "no layer with weights.*prototxt"),
        (w.layer("conv", ()), "no layer with weights"),
        (w.layer("conv", [w.blob(BIAS)]) * 2, "layer conv: two layers of the same name"),
        (w.run_of_bytes(2, w.run_of_bytes(1, b"")), "gave up.*upgrade_net_proto_binary"),
        (b"\xff" * 11, "byte 0: .*damaged"),
        (b"\x00\x00", "byte 0: .*damaged"),
        (b"\x0b", "byte 0: .*damaged"),
        (w.number(100, 1), "damaged"),
        (w.layer("conv", []).replace(b"conv", b"\xff\xfe\xfd\xfc"), "damaged"),
        (w.layer("conv", [w.run_of_bytes(5, b"12345")]), "damaged"),
        (w.layer("conv", [w.number(5, 1)]), "damaged"),
        (w.layer("conv", [w.run_of_bytes(1, b"12")]), "damaged"),
        (w.layer("conv", [w.number(7, 1)]), "damaged"),
        (w.layer("conv", [w.blob(BIAS, (3,))]), r"layer conv, blob 0: the shape does not fit.*shape \(3\) and 2 values"),
        (w.layer("conv", [w.blob(BIAS, (-1, -2))]), r"shape \(-1, -2\) and 2"),
        (w.layer("conv", [w.blob(BIAS, (2**62, 2**62))]), "does not fit"),
        (w.layer("conv", [w.blob(BIAS, (0,))]), r"shape \(0\) and 2 values"),
        (w.layer("conv", [w.blob(BIAS, (2, *[1] * 32))]), "does not fit"),
        (w.layer("conv", [w.number(1, 2) + w.run_of_bytes(5, BIAS.tobytes())]), r"shape \(2, 0, 0, 0\) and 2"),
    ],
)
def test_files_that_are_refused(content, message, tmp_path):
    path = tmp_path / "x.caffemodel"
    path.write_bytes(content)
    with pytest.raises(WeightsError, match=f"x.caffemodel.*{message}"):
        read_caffemodel(path)


def test_a_length_beyond_all_memory_costs_nothing(tmp_path):
    path = tmp_path / "x.caffemodel"
    path.write_bytes(w.varint(100 << 3 | 2) + w.varint(2**60) + struct.pack("<f", 1.0))
    with pytest.raises(WeightsError, match=r"byte 0: .*cut short"):
        read_caffemodel(path)


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(WeightsError, match=r"none\.caffemodel: there is no such weights file"):
        read_caffemodel(tmp_path / "none.caffemodel")
