"""`glimpse_clouds_official` against the published code: its state_dict in, its outputs out.

tests/reference/glimpse_clouds_official.json was computed by the authors' code (generate_glimpse_clouds_official.py beside it
says how): outputs for seeded weights and clips. The files that its state_dict would have been saved to are made here from the
same seeds.
"""

from __future__ import annotations

import dataclasses
import json
import zipfile
from pathlib import Path

import keras
import numpy as np
import pytest

from keras_actrec.backbones.inflated_resnet import inflated_resnet50, torch_backbone_tensors
from keras_actrec.convert.glimpse_clouds_official import load_official_glimpse_clouds
from keras_actrec.errors import ConfigError, WeightsError
from keras_actrec.models.glimpse_clouds import BACKBONE, RECURRENCE, GlimpseCloudsConfig, glimpse_clouds, preset
from tests.convert.test_safetensors_files import write_tensors
from tests.harness import make_nonzero, numpy_outputs, random_array
from tests.reference.seeded import distance_matrix, torch_weight, vpn_inputs

REFERENCE = json.loads((Path(__file__).parents[1] / "reference" / "glimpse_clouds_official.json").read_text())
TOLERANCE = 5e-5  # found: 2e-6


def write_npz(path: Path, tensors: dict[str, np.ndarray]) -> Path:
    np.savez(path, **tensors)
    return path


def head_of(model: keras.Model, config: GlimpseCloudsConfig) -> keras.Model:
    """The part behind the backbone with the weights of a whole model."""
    head = glimpse_clouds(config)
    for layer in head.layers:
        if layer.weights:
            layer.set_weights(model.get_layer(layer.name).get_weights())
    return head


def test_same_outputs_as_the_published_code(tmp_path):
    """Logits, poses, glimpses and assignments, for both meanings of a crop's borders, from either form of file."""
    config = preset("glimpse_clouds_official", 60)
    model = glimpse_clouds(config, inflated_resnet50(structure="torchvision"))
    sizes = {name: np.prod(shape, dtype=int) for name, shape in REFERENCE["weights"]}
    beside = sum(size for name, size in sizes.items() if name.startswith("fc_global_model"))
    assert model.count_params() - 2048**2 == sum(sizes.values()) - beside

    tensors = {name: torch_weight(name, tuple(shape)) for name, shape in REFERENCE["weights"]}
    load_official_glimpse_clouds(model, write_tensors(tmp_path / "official.safetensors", tensors))
    from_safetensors = model.get_weights()
    for weight in model.weights:
        weight.assign(np.zeros(weight.shape, "float32"))
    path = write_npz(tmp_path / "official.npz", tensors)
    load_official_glimpse_clouds(model, path, distance_matrix=distance_matrix(2048))
    for weight, other in zip(model.weights, from_safetensors, strict=True):
        if weight.name != "factor":  # D is in no file
            np.testing.assert_array_equal(np.array(weight), other, err_msg=weight.path)

    maps = model.get_layer(BACKBONE).predict(vpn_inputs(2, frames=8)[1], batch_size=1, verbose=0)  # half the memory
    inputs = {"map": maps["map"], "context": maps["pose_map"].mean(axis=(2, 3))}
    for align_corners in (False, True):
        found = numpy_outputs(head_of(model, dataclasses.replace(config, align_corners=align_corners)), inputs)
        reference = REFERENCE["align_corners"][str(align_corners).lower()]
        assert sorted(reference) == sorted(set(found) - {"worker_logits"})
        for name, rows in reference.items():
            expected = np.array(rows).reshape(found[name].shape)
            np.testing.assert_allclose(found[name], expected, atol=TOLERANCE, rtol=0, err_msg=name)
            assert np.abs(expected[0] - expected[1]).max() > 1e-2, f"{name} tells the two clips apart"


def test_reference_tells_mistakes_apart():
    """Glimpses of a frame, workers, and the two meanings of borders differ by far more than the tolerance."""
    for reference in REFERENCE["align_corners"].values():
        glimpses = np.array(reference["glimpses"]).reshape(2, 8, 3, 4)
        assignment = np.array(reference["assignment"]).reshape(2, 8, 3, 3)
        assert np.ptp(glimpses, axis=2).max() > 0.1
        assert np.abs(assignment[:, 1:] - 1 / 3).max() > 1e-2
        assert np.abs(assignment[:, 1:, 0] - assignment[:, 1:, 1]).max() > 1e-3
    unaligned, aligned = (np.array(REFERENCE["align_corners"][flag]["logits"]) for flag in ("false", "true"))
    assert np.abs(unaligned - aligned).max() > 1e-2


# A small network of the same kind.

CLASSES, D, E = 5, 12, 8
SIZES = {"frames": 2, "map_shape": (1, 1, D), "context_size": E, "glimpse_units": 4, "worker_units": 3, "location_units": 7}


def small(classes: int = CLASSES, **fields) -> keras.Model:
    """With noise in every weight, so that one that is not assigned shows."""
    config = dataclasses.replace(preset("glimpse_clouds_official", classes), **SIZES, **fields)
    model = glimpse_clouds(config, backbone())
    make_nonzero(model.weights)
    return model


def small_global(classes: int = CLASSES) -> keras.Model:
    return small(classes, model="global", glimpse_loss=False)


def backbone(structure: str = "torchvision") -> keras.Model:
    return inflated_resnet50(frames=2, image_size=32, structure=structure, blocks=(1, 1, 1, 1), widths=(1, 1, 2, 3))


def state_dict(classes: int = CLASSES) -> dict[str, np.ndarray]:
    """All tensors of the published network in these sizes; as written by hand."""
    shapes = dict(torch_backbone_tensors(backbone()))
    shapes |= {"fc_pose.weight": (100, E), "fc_pose.bias": (100,)}
    grus = {"rnn_zoomer": (D + 3, 4), **{f"list_worker.{c}": (D, 3) for c in range(3)}}
    for name, (inputs, units) in grus.items():
        shapes |= {f"{name}.weight_ih_l0": (3 * units, inputs), f"{name}.weight_hh_l0": (3 * units, units)}
        shapes |= {f"{name}.bias_ih_l0": (3 * units,), f"{name}.bias_hh_l0": (3 * units,)}
    dense = {"mlp_glimpse_location": (4, E + 4), "mlp_embedding_location.0": (7, 4), "mlp_embedding_location.2": (D, 7)}
    dense |= {f"list_fc.{c}": (classes, 3) for c in range(3)} | {"fc_global_model": (classes, D)}
    for name, shape in dense.items():
        shapes |= {f"{name}.weight": shape, f"{name}.bias": shape[:1]}
    shapes |= {f"list_first_attention.{c}": (3,) for c in range(3)}
    return {name: np.abs(random_array(shape, index)) for index, (name, shape) in enumerate(shapes.items())}


def weights(model: keras.Model) -> dict[str, np.ndarray]:
    return {weight.path: np.array(weight) for weight in model.weights}


FACTOR = f"{RECURRENCE}/distance/factor"  # L of D, which no file has


def test_every_weight_of_the_model_comes_from_the_file(tmp_path):
    """But D. Gates reset, update, new become update, reset, new."""
    model, tensors = small(), state_dict()
    before = weights(model)
    load_official_glimpse_clouds(model, write_npz(tmp_path / "x.npz", tensors))
    after = weights(model)
    assert [path for path in after if np.array_equal(before[path], after[path])] == [FACTOR]
    layer = model.get_layer(RECURRENCE)
    reset, update, new = np.split(tensors["list_worker.1.weight_hh_l0"], 3)
    np.testing.assert_array_equal(np.array(layer.cells[1].recurrent_kernel), np.concatenate([update, reset, new]).T)
    for row, name in enumerate(("rnn_zoomer.bias_ih_l0", "rnn_zoomer.bias_hh_l0")):
        reset, update, new = np.split(tensors[name], 3)
        np.testing.assert_array_equal(np.array(layer.cell.bias)[row], np.concatenate([update, reset, new]))
    np.testing.assert_array_equal(np.array(layer.first)[2], tensors["list_first_attention.2"])
    np.testing.assert_array_equal(np.array(model.get_layer("worker3_classifier").kernel), tensors["list_fc.2.weight"].T)
    np.testing.assert_array_equal(np.array(model.get_layer("pose_regression").bias), tensors["fc_pose.bias"])


@pytest.mark.parametrize("write", [write_npz, write_tensors])
@pytest.mark.parametrize("form", ["module.", "float64", "float16", "fortran"])
def test_forms_of_the_file(tmp_path, write, form):
    """With "module." in front and counters of batches, in other types, in the other order of axes."""
    tensors, model, other = state_dict(), small(), small()
    load_official_glimpse_clouds(model, write_npz(tmp_path / "plain.npz", tensors))
    if form == "module.":
        tensors = {f"module.{name}": value for name, value in tensors.items()}
        tensors["module.cnn.bn1.num_batches_tracked"] = np.array(7)
    elif form == "fortran":
        tensors = {name: np.asfortranarray(value) for name, value in tensors.items()}
    else:
        tensors = {name: value.astype(form) for name, value in tensors.items()}
    load_official_glimpse_clouds(other, write(tmp_path / "other.npz", tensors))
    expected, found = weights(model), weights(other)
    for path in expected.keys() - {FACTOR}:
        np.testing.assert_allclose(found[path], expected[path], rtol=1e-3 if form == "float16" else 0, atol=0, err_msg=path)


def test_global_model(tmp_path):
    """Its own weights from the same file; what the clouds have beyond it is passed over, or not there."""
    tensors, model = state_dict(), small_global()
    own = {name: value for name, value in tensors.items() if name.startswith(("cnn.", "fc_pose.", "fc_global_model."))}
    for content in (tensors, own):
        make_nonzero(model.weights)
        before = weights(model)
        load_official_glimpse_clouds(model, write_npz(tmp_path / "x.npz", content))
        assert not any(np.array_equal(value, before[path]) for path, value in weights(model).items())
    clip = random_array((2, 2, 32, 32, 3), 1)
    features = np.array(model.get_layer(BACKBONE)(clip)["map"]).mean(axis=(1, 2, 3))
    expected = features @ tensors["fc_global_model.weight"].T + tensors["fc_global_model.bias"]
    np.testing.assert_allclose(numpy_outputs(model, {"clip": clip})["logits"], expected, rtol=1e-5, atol=1e-5)
    with pytest.raises(ConfigError, match="the model has no distance matrix"):
        load_official_glimpse_clouds(model, tmp_path / "x.npz", distance_matrix=np.eye(D))


def test_distance_matrix(tmp_path):
    model, path = small(), write_npz(tmp_path / "x.npz", state_dict())
    matrix = np.diag(np.arange(1.0, D + 1))
    matrix[0, 1] = matrix[1, 0] = 0.5
    load_official_glimpse_clouds(model, path, distance_matrix=matrix)
    np.testing.assert_allclose(model.get_layer(RECURRENCE).metric.matrix(), matrix, atol=1e-5)
    load_official_glimpse_clouds(model, path)
    np.testing.assert_allclose(model.get_layer(RECURRENCE).metric.matrix(), matrix, atol=1e-5)


@pytest.mark.parametrize(
    ("matrix", "words"),
    [
        (np.eye(D + 1), r"no matrix D for the features.*\(13, 13\)"),
        (-np.eye(D), "negative eigenvalues"),
        (np.triu(np.ones((D, D))), "not symmetric"),
        (np.full((D, D), np.nan), "not finite"),
    ],
)
def test_matrices_that_do_not_fit(tmp_path, matrix, words):
    model, path = small(), write_npz(tmp_path / "x.npz", state_dict())
    before = weights(model)
    with pytest.raises(ConfigError, match=words):
        load_official_glimpse_clouds(model, path, distance_matrix=matrix)
    np.testing.assert_equal(weights(model), before)


def without(name):
    return lambda tensors: {key: value for key, value in tensors.items() if key != name}


def with_tensor(name, change):
    return lambda tensors: {**tensors, name: change(tensors.get(name))}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (without("fc_pose.bias"), r"1 tensors missing, 0 unexpected.*also fc_pose.bias"),
        (without("list_first_attention.2"), "also list_first_attention.2"),
        (without("cnn.bn1.running_var"), "also cnn.bn1.running_var"),
        (lambda tensors: {k: v for k, v in tensors.items() if not k.startswith("cnn.")}, "tensors missing"),
        (with_tensor("list_fc.3.weight", lambda _: np.ones((5, 3))), r"0 tensors missing, 1 unexpected.*list_fc.3.weight"),
        (with_tensor("cnn.layer5.0.conv1.weight", lambda _: np.ones(3)), "unexpected cnn.layer5.0.conv1.weight"),
        (with_tensor("list_fc.2.weight", lambda x: x[:4]), r"list_fc.2.weight: a tensor of another shape.*\(4, 3\).*\(5, 3\)"),
        (with_tensor("rnn_zoomer.bias_hh_l0", lambda x: x[:9]), r"tensor rnn_zoomer.bias_hh_l0: a tensor of another shape"),
        (with_tensor("rnn_zoomer.weight_ih_l0", lambda x: x.T), r"tensor rnn_zoomer.weight_ih_l0: a tensor of another shape"),
        (with_tensor("list_first_attention.1", lambda x: x[:, None]), r"found \(3, 1\), expected \(3,\)"),
        (with_tensor("cnn.conv1.weight", lambda x: x[:, :2]), r"tensor cnn.conv1.weight: a tensor of another shape"),
        (with_tensor("fc_pose.bias", lambda x: x * np.nan), "tensor fc_pose.bias: values that are no finite numbers"),
        (with_tensor("cnn.bn1.bias", lambda x: x + np.inf), "tensor cnn.bn1.bias: values that are no finite numbers"),
        (with_tensor("fc_pose.bias", lambda x: x.astype("i4")), "no finite numbers .found int32"),
        (with_tensor("module.fc_pose.bias", lambda _: np.ones(100)), "with and without module."),
    ],
)
@pytest.mark.parametrize("write", [write_npz, write_tensors])
def test_files_of_another_network(tmp_path, write, change, words):
    """Nothing is assigned."""
    model = small()
    before = weights(model)
    path = write(tmp_path / "other.npz", change(state_dict()))
    with pytest.raises(WeightsError, match=words) as error:
        load_official_glimpse_clouds(model, path, distance_matrix=np.eye(D))
    assert str(path) in str(error.value)
    np.testing.assert_equal(weights(model), before)


def test_other_number_of_classes(tmp_path):
    path = write_npz(tmp_path / "x.npz", state_dict(classes=6))
    for model in (small(), small_global()):
        with pytest.raises(WeightsError, match=r"\(6, .*\(5, .*[Bb]uild the model with the file's number of classes"):
            load_official_glimpse_clouds(model, path)


def test_files_that_are_none(tmp_path):
    model = small()
    before = weights(model)

    def refused(content, words):
        path = tmp_path / "file"
        if isinstance(content, bytes):
            path.write_bytes(content)
        with pytest.raises(WeightsError, match=words):
            load_official_glimpse_clouds(model, path)

    refused(None, r"no such weights file.*numpy.savez or as .safetensors")
    refused(b"", "cut short or no .safetensors file")
    refused(b"PK\x03\x04 and no more", "the archive cannot be read")
    refused(b"\x80\x02}q\x00.", "the file is a pickle, which is not read")
    whole = write_npz(tmp_path / "x.npz", state_dict()).read_bytes()
    refused(whole[: len(whole) // 2], "the archive cannot be read")
    middle = whole.index(b"fc_pose.weight.npy") + 400
    refused(whole[:middle] + bytes(100) + whole[middle + 100 :], "the archive cannot be read")
    np.testing.assert_equal(weights(model), before)


def test_nothing_is_unpickled(tmp_path):
    """Neither an array of objects nor the archive of torch.save."""
    path = tmp_path / "x.npz"
    np.savez(path, **{**state_dict(), "fc_pose.bias": np.array([Canary()], dtype=object)})
    with pytest.raises(WeightsError, match=r"cannot be read.*allow_pickle"):
        load_official_glimpse_clouds(small(), path)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", b"\x80\x02}q\x00.")
    with pytest.raises(WeightsError, match=r"none of numpy.savez .found entry archive/data.pkl"):
        load_official_glimpse_clouds(small(), path)


class Canary:
    """Ends the test when it is unpickled."""

    def __reduce__(self):
        return exec, ("raise AssertionError('unpickled')",)


def test_a_header_may_begin_like_a_pickle(tmp_path):
    """A header of 0x..80 bytes: the length stands first in the file."""
    tensors = state_dict()
    plain = write_tensors(tmp_path / "x.safetensors", tensors)
    length = int.from_bytes(plain.read_bytes()[:8], "little")
    path = write_tensors(tmp_path / "x.safetensors", tensors, padding=(0x80 - length) % 256)
    assert path.read_bytes()[:1] == b"\x80"
    load_official_glimpse_clouds(small(), path)


def test_models_that_are_none(tmp_path):
    path = write_npz(tmp_path / "x.npz", state_dict())
    config = dataclasses.replace(preset("glimpse_clouds_official", CLASSES), **SIZES)
    paper = dataclasses.replace(preset("glimpse_clouds_paper", CLASSES), **SIZES)
    other = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)], name="other")
    for model, words in (
        (glimpse_clouds(config), r"none of the published code .found no layer backbone"),
        (glimpse_clouds(paper, backbone()), r"none of the published code .found the recurrence of the paper"),
        (other, r"model other is none of the published code .found no layer pose_regression"),
    ):
        with pytest.raises(ConfigError, match=words + r".*glimpse_clouds_official"):
            load_official_glimpse_clouds(model, path)
    with pytest.raises(ConfigError, match="structure torchvision"):
        load_official_glimpse_clouds(glimpse_clouds(config, backbone("keras")), path)
