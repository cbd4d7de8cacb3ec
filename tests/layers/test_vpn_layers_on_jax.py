"""The layers of VPN on Keras's JAX backend: the same outputs as on TensorFlow, in one other process for all of them."""

from __future__ import annotations

import numpy as np

from keras_actrec.layers.attention_coupling import COUPLINGS, SpatioTemporalCoupling
from keras_actrec.layers.graph_convolution import PoseGraphConvolution
from keras_actrec.layers.map_windows import MapWindows
from keras_actrec.layers.spatial_embedding import EMBEDDING_LOSSES, SpatialEmbedding
from tests.harness import layer_model, make_nonzero, numpy_outputs, outputs_on_jax, random_array


def test_jax_gives_the_same_outputs(tmp_path):
    maps = random_array((2, 3, 4, 2, 3, 5), 1)
    filters = [np.eye(6).tolist(), random_array((6, 6), 2).tolist()]
    cases = {
        "graph": (PoseGraphConvolution(7, filters, activation="elu", use_bias=True), {"poses": random_array((2, 4, 6, 3), 3)}),
        "windows": (MapWindows(2, 2), {"maps": maps[:, 0]}),
    }
    weights = {"spatial": random_array((2, 6), 4), "temporal": random_array((2, 4), 5)}
    for mode in COUPLINGS:
        used = {name: value for name, value in weights.items() if name == "spatial" or mode != "spatial"}
        cases[mode] = (SpatioTemporalCoupling(mode), {"features": maps, **used})
    for loss in EMBEDDING_LOSSES:
        cases[loss] = (SpatialEmbedding(7, loss), {"features": maps, "latent": random_array((2, 6), 6)})
    models = {}
    for case, (layer, inputs) in cases.items():
        model = layer_model(layer, inputs)
        make_nonzero(model.weights)
        models[case] = (model, inputs)
    found = outputs_on_jax(models, tmp_path)
    for case, (model, inputs) in models.items():
        expected = numpy_outputs(model, inputs)
        assert sorted(found[case]) == sorted(expected)
        for name, value in expected.items():
            np.testing.assert_allclose(found[case][name], value, rtol=1e-4, atol=1e-5, err_msg=f"{case}: {name}")
