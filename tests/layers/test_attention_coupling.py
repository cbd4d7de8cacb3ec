"""Attention on a feature map: Keras behaviour, and the coupler of VPN and its variants against plain loops."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from keras_actrec.errors import ConfigError
from keras_actrec.layers.attention_coupling import COUPLINGS, SpatioTemporalCoupling
from tests.harness import random_array, run_layer_test

B, N, T, H, W, C = 2, 3, 4, 2, 3, 5  # batch, windows, time, height, width, channels
every_mode = pytest.mark.parametrize("mode", COUPLINGS)


def inputs(mode):
    arrays = {"features": random_array((B, N, T, H, W, C), 1), "spatial": 1 / (1 + np.exp(random_array((B, H * W), 2)))}
    temporal = np.exp(random_array((B, T), 3))
    return arrays | ({} if mode == "spatial" else {"temporal": temporal / temporal.sum(axis=1, keepdims=True)})


@every_mode
def test_layer_contract(mode, tmp_path):
    run_layer_test(
        SpatioTemporalCoupling,
        init_kwargs={"mode": mode, "name": "coupler"},
        inputs=inputs(mode),
        expected_output_shapes=((B, N, T, H, W, 2 * C if mode == "dissociated" else C), (B, T, H, W)),
        expected_weights={},
        tmp_path=tmp_path,
    )


@every_mode
def test_equals_the_equations_of_the_paper(mode):
    """Cell by cell: A_ST(t, y, x) = A_S(y, x) · A_T(t), f' = A_ST · f + f for every window and channel."""
    arrays = inputs(mode)
    f, spatial, temporal = arrays["features"], arrays["spatial"], arrays.get("temporal")
    modulated, attention = (np.array(output) for output in SpatioTemporalCoupling(mode)(**arrays))
    for b, n, t, y, x in np.ndindex(B, N, T, H, W):
        a_s = spatial[b, y * W + x]
        a_t = 1 if temporal is None else temporal[b, t]
        weighted, cell = (lambda a, g=f[b, n, t, y, x]: a * g + g), modulated[b, n, t, y, x]
        expected = np.concatenate([weighted(a_s), weighted(a_t)]) if mode == "dissociated" else weighted(a_s * a_t)
        np.testing.assert_allclose(cell, expected, atol=1e-6)
        np.testing.assert_allclose(attention[b, t, y, x], a_s * a_t, atol=1e-7)


@every_mode
def test_attention_keeps_float32_under_bfloat16(mode):
    """Weights that came in as float32 are not rounded to bfloat16 on their way; the map is in the compute dtype."""
    arrays = inputs(mode)
    modulated, attention = SpatioTemporalCoupling(mode, dtype="mixed_bfloat16")(**arrays)
    assert keras.backend.standardize_dtype(modulated.dtype) == "bfloat16"
    assert keras.backend.standardize_dtype(attention.dtype) == "float32"
    _, expected = SpatioTemporalCoupling(mode)(**arrays)
    np.testing.assert_array_equal(attention, expected)


def test_unknown_mode_is_refused():
    with pytest.raises(ConfigError, match=r"unknown mode .found 'joint', expected one of coupled, dissociated, spatial"):
        SpatioTemporalCoupling("joint")


def test_weights_have_to_go_with_the_mode():
    arrays = inputs("coupled")
    with pytest.raises(ConfigError, match=r"mode 'spatial' does not go with these weights .found temporal weights"):
        SpatioTemporalCoupling("spatial")(**arrays)
    del arrays["temporal"]
    for mode in ("coupled", "dissociated"):
        with pytest.raises(ConfigError, match=f"mode '{mode}' does not go with these weights .found no temporal weights"):
            SpatioTemporalCoupling(mode)(**arrays)


@pytest.mark.parametrize(("argument", "size"), [("spatial", H * W), ("temporal", T)])
def test_weights_have_to_fit_the_map(argument, size):
    arrays = inputs("coupled")
    arrays[argument] = arrays[argument][:, :-1]
    with pytest.raises(
        ConfigError, match=rf"`{argument}` does not fit the map .*expected \(batch, {size}\) for maps of 4 x 2 x 3"
    ):
        SpatioTemporalCoupling()(**arrays)


@pytest.mark.parametrize("shape", [(N, None, H, W, C), (N, T, None, W, C), (T, H, W, C)], ids=str)
def test_unknown_shape_is_refused(shape):
    with pytest.raises(ConfigError, match=r"of `features` have to be known.*Cut the map with MapWindows first"):
        SpatioTemporalCoupling()(keras.Input(shape), keras.Input((H * W,)), keras.Input((T,)))
