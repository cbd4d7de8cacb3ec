"""`vpn_official` against the published code: its weights file in, its outputs out.

tests/reference/vpn_official.json was computed by the authors' code (generate_vpn_official.py beside it says how): outputs for
seeded weights and inputs. The weights file that its Keras 2.1 would have written is made here from the same seeds.
"""

from __future__ import annotations

import json
from pathlib import Path

import h5py
import keras
import numpy as np
import pytest

from keras_actrec.backbones.i3d import i3d
from keras_actrec.convert.vpn_official import load_official_vpn
from keras_actrec.errors import ConfigError, WeightsError
from keras_actrec.models.vpn import preset, vpn
from tests.harness import numpy_outputs
from tests.reference.seeded import vpn_inputs, weight

REFERENCE = json.loads((Path(__file__).parents[1] / "reference" / "vpn_official.json").read_text())


def write_keras2(path: Path, layers, *, root: str = "", nested: str = "") -> Path:
    """A weights file in the layout of Keras 2.1: attribute `layer_names`, a group per layer, attribute `weight_names`.

    `root`: "model_weights" for what `model.save` wrote. `nested`: name of an inner model that holds all layers, as in a file of
    Keras's multi_gpu_model.
    """
    with h5py.File(path, "w") as file:
        top = file.create_group(root) if root else file
        names = [nested] if nested else [layer for layer, _ in layers]
        top.attrs["layer_names"] = [name.encode() for name in ["input_1", *names]]
        top.create_group("input_1").attrs["weight_names"] = np.array([], "S1")
        weights = [(layer, name, shape) for layer, shapes in layers for name, shape in shapes]
        for group_name in names:
            group = top.create_group(group_name)
            mine = [w for w in weights if nested or w[0] == group_name]
            group.attrs["weight_names"] = [f"{layer}/{name}:0".encode() for layer, name, _ in mine]
            for layer, name, shape in mine:
                group[f"{layer}/{name}:0"] = weight(layer, name, shape)
    return path


@pytest.fixture(scope="module")
def model() -> keras.Model:
    return vpn(preset("vpn_official", 60), i3d(frames=16))


def test_size(model):
    """The published network counts its parameters itself."""
    assert model.count_params() == sum(np.prod(shape) for _, shapes in REFERENCE["layers"] for _, shape in shapes) == 39_102_743


def test_same_outputs_as_the_published_code(model, tmp_path):
    """Class probabilities, both attentions, the attention over space and time, and the embedding output, to 1e-4."""
    load_official_vpn(model, write_keras2(tmp_path / "official.h5", REFERENCE["layers"]))
    pose, clip = vpn_inputs()
    found = numpy_outputs(model, {"clip": clip, "pose": pose})
    assert sorted(REFERENCE["outputs"]) == sorted(set(found) - {"logits"})
    for name, rows in REFERENCE["outputs"].items():
        expected = np.array(rows).reshape(found[name].shape)
        np.testing.assert_allclose(found[name], expected, atol=1e-4, rtol=0, err_msg=name)
        assert np.abs(expected[0] - expected[1]).max() > 1e-2, f"{name} tells the two clips apart"


# Errors and other forms of the file, with few weights in each layer: shapes are checked last.


def tiny(layers):
    return [(layer, [(name, [1] * len(shape)) for name, shape in shapes]) for layer, shapes in layers]


@pytest.mark.parametrize("form", [{"root": "model_weights"}, {"nested": "spatial_temporal_attention"}])
def test_other_forms_of_the_file_are_read(model, tmp_path, form):
    """All names are found; the shapes of this small file are not those of the network."""
    path = write_keras2(tmp_path / "official.h5", tiny(REFERENCE["layers"]), **form)
    with pytest.raises(WeightsError, match=r"do not fit layer Conv3d_1a_7x7.conv_3d"):
        load_official_vpn(model, path)


def test_layers_numbered_otherwise(model, tmp_path):
    """A network that was built second in its process: numbers go on."""
    renamed = [
        (f"conv2d_{int(name[7:]) + 9}" if name.startswith("conv2d_") else name, shapes) for name, shapes in REFERENCE["layers"]
    ]
    with pytest.raises(WeightsError, match="do not fit"):
        load_official_vpn(model, write_keras2(tmp_path / "official.h5", tiny(renamed)))


def test_other_number_of_classes(model, tmp_path):
    """Every layer of the file fits but the classifier: nothing is assigned."""
    before = np.array(model.get_layer("classifier").weights[0])
    layers = [
        (name, [(w, [49, 49] if (name, w) == ("action_output", "kernel") else shape) for w, shape in shapes])
        for name, shapes in REFERENCE["layers"]
    ]
    graph = np.array(model.get_layer("pose_graph").weights[0])
    with pytest.raises(WeightsError, match=r"action_output.*do not fit layer classifier.*\(49, 49\).*\(60, 60\)"):
        load_official_vpn(model, write_keras2(tmp_path / "official.h5", layers))
    np.testing.assert_array_equal(before, np.array(model.get_layer("classifier").weights[0]))
    np.testing.assert_array_equal(graph, np.array(model.get_layer("pose_graph").weights[0]))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda layers: [x for x in layers if x[0] != "z1_layer"], "no z1_layer/kernel"),
        (lambda layers: [x for x in layers if x[0] != "Conv3d_5c_2b_3x3_bn"], "no Conv3d_5c_2b_3x3_bn/beta"),
        (lambda layers: [x for x in layers if x[0] != "multi_graph_cnn_16"], r"layers multi_graph_cnn_….*15.*16"),
        (lambda layers: [*layers, ("dense_9", [("kernel", [1, 1]), ("bias", [1])])], r"layers dense_….*3.*2"),
    ],
)
def test_files_of_another_network(model, tmp_path, change, words):
    path = write_keras2(tmp_path / "official.h5", change(tiny(REFERENCE["layers"])))
    with pytest.raises(WeightsError, match=words):
        load_official_vpn(model, path)


def test_files_that_are_none(model, tmp_path):
    with pytest.raises(WeightsError, match="there is no such weights file"):
        load_official_vpn(model, tmp_path / "absent.h5")
    (tmp_path / "text.h5").write_text("no HDF5")
    with pytest.raises(WeightsError, match="damaged or no HDF5 file"):
        load_official_vpn(model, tmp_path / "text.h5")
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["x"] = 1
    with pytest.raises(WeightsError, match="not written by Keras 2"):
        load_official_vpn(model, tmp_path / "other.h5")


def test_models_that_are_none(tmp_path):
    path = write_keras2(tmp_path / "official.h5", tiny(REFERENCE["layers"]))
    with pytest.raises(ConfigError, match=r"no vpn_official with an I3D backbone.*no layer backbone"):
        load_official_vpn(vpn(preset("vpn_official", 60)), path)
