"""Graph convolution per pose: Keras behaviour, and equation 1 of VPN pose by pose."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from keras_actrec.errors import ConfigError
from keras_actrec.layers.graph_convolution import PoseGraphConvolution
from keras_actrec.skeletons.graph import bone_graph, normalised_adjacency
from keras_actrec.skeletons.layouts import SBU_15
from tests.harness import make_nonzero, random_array, run_layer_test

B, P, J, C, U = 3, 4, 15, 3, 6  # batch, poses, joints, coordinates, units
ADJACENCY = normalised_adjacency(bone_graph(SBU_15))
FILTERS = {
    "adjacency": [ADJACENCY.tolist()],
    "with identity": [np.eye(J).tolist(), ADJACENCY.tolist()],
    "not symmetric": [np.triu(ADJACENCY).tolist()],  # tells rows from columns
}
every_filters = pytest.mark.parametrize("filters", FILTERS.values(), ids=FILTERS)


@every_filters
@pytest.mark.parametrize("use_bias", [False, True])
def test_layer_contract(filters, use_bias, tmp_path):
    kernel = {"kernel": (P, len(filters) * C, U)}
    run_layer_test(
        PoseGraphConvolution,
        init_kwargs={"units": U, "filters": filters, "activation": "elu", "use_bias": use_bias, "name": "graph"},
        inputs={"poses": random_array((B, P, J, C), 1)},
        expected_output_shapes=((B, P, J, U),),
        expected_weights=kernel | ({"bias": (P, U)} if use_bias else {}),
        tmp_path=tmp_path,
    )


@every_filters
def test_equals_equation_1(filters):
    """f⁺_t = Â G_t W_t, sample by sample and pose by pose; several filters side by side, then tanh for an activation."""
    layer = PoseGraphConvolution(U, filters, activation="tanh", use_bias=True)
    poses = random_array((B, P, J, C), 1)
    layer(poses)
    make_nonzero(layer.weights)
    kernel, bias = (np.array(weight, "float64") for weight in (layer.kernel, layer.bias))
    found = np.array(layer(poses))
    for b in range(B):
        for t in range(P):
            seen = np.concatenate([np.array(one) @ poses[b, t] for one in filters], axis=1)  # column k·C + c
            np.testing.assert_allclose(found[b, t], np.tanh(seen @ kernel[t] + bias[t]), atol=1e-5)


def test_a_pose_has_weights_of_its_own():
    """The same pose at all times comes out different, each within Glorot's range for one pose."""
    layer = PoseGraphConvolution(U, FILTERS["adjacency"])
    poses = np.repeat(random_array((1, 1, J, C), 2), P, axis=1)
    found = np.array(layer(poses))
    assert all(np.abs(found[0, t] - found[0, 0]).max() > 1e-3 for t in range(1, P))
    kernel = np.abs(np.array(layer.kernel))
    limit = np.sqrt(6 / (C + U))
    assert 0.9 * limit < kernel.max() <= limit


def test_filters_come_as_arrays_too():
    layer = PoseGraphConvolution(U, ADJACENCY[None])
    assert layer.get_config()["filters"] == FILTERS["adjacency"]
    assert layer.get_config()["activation"] is None


def test_units_have_to_be_positive():
    with pytest.raises(ConfigError, match=r"units has to be positive.*Give at least 1"):
        PoseGraphConvolution(0, FILTERS["adjacency"])


@pytest.mark.parametrize(
    ("filters", "found"),
    [
        (ADJACENCY, r"shape \(15, 15\)"),
        (np.zeros((1, 3, 2)), r"shape \(1, 3, 2\)"),
        (np.zeros((0, 3, 3)), r"shape \(0, 3, 3\)"),
        (np.full((1, 2, 2), np.nan), r"shape \(1, 2, 2\)"),
        ([[[1, 2], [3]]], "no array of numbers"),
    ],
    ids=["one matrix", "not square", "none", "not finite", "ragged"],
)
def test_what_is_no_stack_of_filters_is_refused(filters, found):
    with pytest.raises(ConfigError, match=rf"no stack of matrices.*found {found}.*\(filters, joints, joints\).*a list even"):
        PoseGraphConvolution(U, filters)


@pytest.mark.parametrize("shape", [(None, J, C), (P, J + 1, C), (P, J, None), (J, C)], ids=str)
def test_poses_of_another_shape_are_refused(shape):
    with pytest.raises(ConfigError, match=r"`poses` does not fit the filters.*\(batch, poses, 15, channels\)"):
        PoseGraphConvolution(U, FILTERS["adjacency"])(keras.Input(shape))
