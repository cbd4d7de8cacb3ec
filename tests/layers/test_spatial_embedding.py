"""The embedding of video and pose: Keras behaviour, equations 3 and 4 of VPN, and the divergences of its Table 3."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_actrec.errors import ConfigError
from keras_actrec.layers.spatial_embedding import EMBEDDING_LOSSES, SpatialEmbedding
from tests.harness import random_array, run_layer_test

B, N, T, H, W, C, D, U = 3, 2, 4, 2, 3, 5, 6, 7  # batch, windows, time, height, width, channels, z_1, units
every_loss = pytest.mark.parametrize("loss", EMBEDDING_LOSSES)


def inputs(seed=1):
    return {"features": random_array((B, N, T, H, W, C), seed), "latent": random_array((B, D), seed + 1)}


def built(loss="euclidean", **arguments):
    layer = SpatialEmbedding(U, loss, **arguments)
    layer(**inputs())
    return layer


@every_loss
def test_layer_contract(loss, tmp_path):
    run_layer_test(
        SpatialEmbedding,
        init_kwargs={"units": U, "loss": loss, "name": "embedding"},
        inputs=inputs(),
        expected_output_shapes=((B,),),
        expected_weights={"visual_kernel": (H * W * C, U), "pose_kernel": (D, U)},
        tmp_path=tmp_path,
    )


def softmax(x):
    return np.exp(x) / np.exp(x).sum()


def divergence(p, q):
    return np.sum(p * np.log(p / q))


@every_loss
def test_equals_the_equations_of_the_paper(loss):
    layer = built(loss)
    arrays = inputs()
    visual_kernel, pose_kernel = (np.array(weight, "float64") for weight in (layer.visual_kernel, layer.pose_kernel))
    expected = np.zeros(B)
    for b in range(B):
        for n in range(N):
            f_s = sum(arrays["features"][b, n, t].astype("float64") for t in range(T)).ravel()  # rows, columns, channels
            f_e, p_e = visual_kernel.T @ f_s, pose_kernel.T @ arrays["latent"][b]  # eq. 3
            f_e, p_e = f_e / np.linalg.norm(f_e), p_e / np.linalg.norm(p_e)
            p, q = softmax(np.sqrt(U) * f_e), softmax(np.sqrt(U) * p_e)
            expected[b] += {
                "euclidean": np.sum((f_e - p_e) ** 2),  # eq. 4
                "kl_visual_pose": divergence(p, q),
                "kl_pose_visual": divergence(q, p),
                "kl_both": divergence(p, q) + divergence(q, p),
            }[loss] / N
    np.testing.assert_allclose(layer(**arrays), expected, rtol=1e-4)
    assert np.ptp(expected) > 0.01


def test_the_two_divergences_differ():
    """Otherwise a mix-up of the two would not show above."""
    layer, other = built("kl_visual_pose"), built("kl_pose_visual")
    other.set_weights(layer.get_weights())
    assert np.abs(np.array(layer(**inputs())) - np.array(other(**inputs()))).min() > 1e-3


def test_distance_of_like_and_of_opposite_vectors():
    """Both maps copy their input: 0 for the same direction, 4 for opposite ones, 2 for a right angle, whatever the lengths."""
    layer = SpatialEmbedding(2)
    latent = np.array([[1, 0], [1, 0], [1, 0]], "float32")
    features = np.array([[3, 0], [-0.1, 0], [0, 5]], "float32").reshape(3, 1, 1, 1, 1, 2)
    layer(features, latent)
    layer.set_weights([np.eye(2) / np.sqrt(2)] * 2)
    np.testing.assert_allclose(layer(features, latent), [0, 4, 2], atol=1e-6)


@every_loss
def test_norms_are_1_from_the_start_and_stay_so(loss):
    """‖T_v‖ = ‖T_p‖ = 1 (eq. 4), before training and after a step of it."""
    layer = built(loss)
    before = [np.array(weight) for weight in layer.weights]
    with tf.GradientTape() as tape:
        distance = tf.reduce_mean(layer(**inputs()))
    gradients = tape.gradient(distance, [variable.value for variable in layer.trainable_variables])
    keras.optimizers.SGD(0.5).apply(gradients, layer.trainable_variables)
    for old, weight in zip(before, layer.weights, strict=True):
        assert np.linalg.norm(old) == pytest.approx(1, abs=1e-5)
        assert np.linalg.norm(weight) == pytest.approx(1, abs=1e-5)
        assert np.abs(np.array(weight) - old).max() > 1e-3


@every_loss
def test_no_output_depends_on_the_norms_of_the_maps(loss):
    layer = built(loss)
    expected = np.array(layer(**inputs()))
    layer.set_weights([factor * weight for factor, weight in zip((30, 0.02), layer.get_weights(), strict=True)])
    np.testing.assert_allclose(layer(**inputs()), expected, rtol=1e-4)


def test_small_divergences_are_half_of_the_distance():
    """What lets one λ_1 weigh all losses: D_KL ≈ L_e / 2 for near vectors, about, as p is not quite uniform."""
    distances = {}
    for loss in ("euclidean", "kl_visual_pose", "kl_pose_visual"):
        layer = SpatialEmbedding(256, loss)
        latent = random_array((4, 256), 1)
        features = (latent + random_array((4, 256), 2, scale=0.05)).reshape(4, 1, 1, 1, 1, 256)
        layer(features, latent)
        layer.set_weights([np.eye(256) / 16] * 2)
        distances[loss] = np.array(layer(features, latent))
    for loss in ("kl_visual_pose", "kl_pose_visual"):
        np.testing.assert_allclose(distances[loss], distances["euclidean"] / 2, rtol=0.3)


@every_loss
def test_vectors_of_zeros_have_finite_gradients(loss):
    """An empty map, or a latent vector of zeros as a network may begin with: the norm has no gradient there."""
    layer = built(loss)
    arrays = {name: tf.constant(np.zeros_like(value)) for name, value in inputs().items()}
    variables = [variable.value for variable in layer.trainable_variables]
    with tf.GradientTape() as tape:
        tape.watch(list(arrays.values()))
        distance = layer(**arrays)
    np.testing.assert_array_equal(distance, 0)
    for gradient in tape.gradient(distance, [*variables, *arrays.values()]):
        assert np.isfinite(gradient).all() and np.abs(gradient).max() <= 10


@every_loss
def test_distance_keeps_float32_under_bfloat16(loss):
    """The same distance to float32's precision: nothing inside is rounded to bfloat16."""
    layer, mixed = built(loss), built(loss, dtype="mixed_bfloat16")
    mixed.set_weights(layer.get_weights())
    distance = mixed(**inputs())
    assert keras.backend.standardize_dtype(distance.dtype) == "float32"
    np.testing.assert_allclose(distance, layer(**inputs()), rtol=1e-6)


def test_arguments_are_checked():
    with pytest.raises(ConfigError, match=r"units has to be positive.*Give at least 1"):
        SpatialEmbedding(0)
    with pytest.raises(
        ConfigError, match=r"unknown loss .found 'cosine', expected one of euclidean, kl_visual_pose, kl_pose_visual"
    ):
        SpatialEmbedding(U, "cosine")


@pytest.mark.parametrize(
    ("features", "latent"),
    [((None, T, H, W, C), (D,)), ((N, T, H, W, None), (D,)), ((T, H, W, C), (D,)), ((N, T, H, W, C), (None,))],
    ids=str,
)
def test_unknown_shapes_are_refused(features, latent):
    with pytest.raises(ConfigError, match=r"shapes of `features` and `latent` have to be known.*MapWindows"):
        SpatialEmbedding(U)(keras.Input(features), keras.Input(latent))
