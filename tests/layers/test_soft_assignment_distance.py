"""The learned distance of the soft assignment: equation 9 against plain numpy, and D set from matrices and from samples."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_actrec.errors import ConfigError
from keras_actrec.layers.soft_assignment import MahalanobisDistance
from tests.harness import random_array, run_layer_test

B, K, G, DIM = 3, 4, 2, 6
SETS = {"x": random_array((B, K, DIM), 1), "y": random_array((B, G, DIM), 2)}


def built(dim: int = DIM, **arguments) -> MahalanobisDistance:
    layer = MahalanobisDistance(**arguments)
    layer.build((None, K, dim), (None, G, dim))
    return layer


def definite_matrix(seed: int = 5) -> np.ndarray:
    root = random_array((DIM, DIM), seed).astype("float64")
    return root @ root.T + 0.1 * np.eye(DIM)


def squared_by_equation_9(x, y, matrix) -> np.ndarray:
    """(B, K, G), one pair after the other."""
    result = np.zeros((len(x), x.shape[1], y.shape[1]))
    for b, k, g in np.ndindex(result.shape):
        difference = (x[b, k] - y[b, g]).astype("float64")
        result[b, k, g] = difference @ matrix @ difference
    return result


@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"initial": "identity", "squared": True, "maximum": 9.0, "seed": 3, "name": "distance"},
        {"maximum": 3.5, "trainable": False},
    ],
)
def test_layer_contract(arguments, tmp_path):
    run_layer_test(
        MahalanobisDistance,
        init_kwargs=arguments,
        inputs=SETS,
        expected_output_shapes=((B, K, G),),
        expected_weights={"factor": (DIM, DIM)},
        tmp_path=tmp_path,
    )


@pytest.mark.parametrize("squared", [False, True])
def test_distance_is_equation_9(squared):
    layer, matrix = built(squared=squared), definite_matrix()
    layer.set_matrix(matrix)
    squares = squared_by_equation_9(SETS["x"], SETS["y"], matrix)
    np.testing.assert_allclose(layer(**SETS), squares if squared else np.sqrt(squares), rtol=1e-5)
    np.testing.assert_allclose(layer.matrix(), matrix, rtol=1e-5, atol=1e-5)


def test_larger_distances_become_the_maximum():
    plain, limited = (np.array(built(initial="identity", maximum=maximum)(**SETS)) for maximum in (None, 3.0))
    assert (plain > 3).any()
    np.testing.assert_array_equal(limited, np.minimum(plain, 3))


def test_distances_of_what_was_projected_before():
    layer = built(seed=1)
    projected = layer.project(SETS["x"]), layer.project(SETS["y"])
    assert projected[0].shape == (B, K, DIM)
    np.testing.assert_array_equal(layer.between(*projected), layer(**SETS))


def test_initial_matrices():
    np.testing.assert_array_equal(built(initial="identity").matrix(), np.eye(DIM))
    first, again, other = (built(dim=400, seed=seed).matrix() for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert np.abs(first - other).max() > 0.1
    # On average as long as with the Euclidean distance: D is the identity in the mean.
    assert np.trace(first) / 400 == pytest.approx(1, abs=0.03)


@pytest.mark.parametrize("squared", [False, True])
def test_gradient_at_distance_0_is_0_and_elsewhere_that_of_the_root(squared):
    layer = built(initial="identity", squared=squared)
    x = np.zeros((1, 2, DIM), "float32")
    x[0, 1, :2] = [3, 4]  # the first at distance 0, the second at 5
    x = tf.constant(x)
    with tf.GradientTape() as tape:
        tape.watch(x)
        distances = layer(x, np.zeros((1, 1, DIM), "float32"))
    to_x, to_factor = tape.gradient(distances, [x, layer.factor.value])
    assert np.array(distances)[0, :, 0].tolist() == [0, 25 if squared else 5]
    np.testing.assert_allclose(to_x[0, 0], np.zeros(DIM))
    np.testing.assert_allclose(to_x[0, 1, :2], [6, 8] if squared else [0.6, 0.8], rtol=1e-6)
    assert np.isfinite(to_factor).all()


def test_gradients_against_finite_differences():
    layer = built(seed=1, dtype="float64")
    arrays = [SETS["x"].astype("float64"), layer.factor.numpy()]
    y, upstream = SETS["y"].astype("float64"), random_array((B, K, G), 6).astype("float64")

    def value(x, factor) -> float:
        layer.factor.assign(factor)
        return float(tf.reduce_sum(layer(x, y) * upstream))

    x = tf.constant(arrays[0])
    with tf.GradientTape() as tape:
        tape.watch(x)
        total = tf.reduce_sum(layer(x, y) * upstream)
    gradients = tape.gradient(total, [x, layer.factor.value])
    for index, gradient in enumerate(gradients):
        for place in range(0, arrays[index].size, 5):
            moved = []
            for sign in (1, -1):
                copies = [array.copy() for array in arrays]
                copies[index].flat[place] += sign * 1e-6
                moved.append(value(*copies))
            assert (moved[0] - moved[1]) / 2e-6 == pytest.approx(float(gradient.numpy().flat[place]), abs=1e-6)


def test_a_semidefinite_matrix_can_be_set():
    direction = np.arange(1.0, DIM + 1)
    matrix = np.outer(direction, direction)
    layer = built()
    layer.set_matrix(matrix.astype("float32"))
    np.testing.assert_allclose(layer.matrix(), matrix, atol=1e-4)
    difference = SETS["x"][:, :, None] - SETS["y"][:, None]
    np.testing.assert_allclose(layer(**SETS), np.abs(difference @ direction), rtol=1e-4, atol=1e-4)


def test_inverse_covariance_of_many_samples():
    mixing = random_array((DIM, DIM), 7)
    features = random_array((500, DIM), 8) @ mixing + 100
    layer = built()
    assert layer.set_inverse_covariance(features, shrinkage=0.0) == 0
    inverse = np.linalg.inv(np.cov(features.T.astype("float64")))
    np.testing.assert_allclose(layer.matrix(), inverse, rtol=1e-4, atol=1e-4 * np.abs(inverse).max())
    # The Mahalanobis distance: samples are √(2 · dim) apart in the root of the mean square, whatever the mixing.
    squares = np.square(layer(features[None, :100], features[None, 100:200]))
    assert squares.mean() == pytest.approx(2 * DIM, rel=0.1)


def test_inverse_covariance_of_fewer_samples_than_dimensions():
    features = random_array((DIM - 2, DIM), 9)
    layer = built()
    assert layer.set_inverse_covariance(features, shrinkage=0.25) == 0.25
    covariance = np.cov(features.T.astype("float64"))
    shrunk = 0.75 * covariance + 0.25 * np.trace(covariance) / DIM * np.eye(DIM)
    np.testing.assert_allclose(layer.matrix(), np.linalg.inv(shrunk), rtol=1e-4, atol=1e-4)
    assert 0 < layer.set_inverse_covariance(features) <= 1
    assert np.isfinite(np.array(layer(**SETS))).all()


def test_estimated_shrinkage_is_that_of_ledoit_and_wolf():
    features = (random_array((20, DIM), 10) * np.arange(1, DIM + 1)).astype("float64")
    centred = features - features.mean(axis=0)
    covariance = centred.T @ centred / 20
    target = np.trace(covariance) / DIM * np.eye(DIM)
    # Lemmas 3.2 to 3.4 of their paper, one sample after the other; norms squared over dim.
    distance = np.square(covariance - target).sum() / DIM
    error = sum(np.square(np.outer(row, row) - covariance).sum() / DIM for row in centred) / 20**2
    found = built().set_inverse_covariance(features)
    assert found == pytest.approx(min(error, distance) / distance)
    assert 0.01 < found < 0.99


def test_a_feature_that_never_changes_gets_a_finite_weight():
    features = random_array((5000, DIM), 11)
    features[:, 2] = 0
    layer = built()
    assert layer.set_inverse_covariance(features) >= 1e-3
    weights = layer.matrix().diagonal()
    assert weights[2] == weights.max() <= 1e3 * 1.3


def test_two_samples_are_enough():
    # Both lie equally far from their mean: the estimate of Ledoit and Wolf itself would be 0, and Σ has rank 1.
    layer = built()
    assert layer.set_inverse_covariance(random_array((2, DIM), 12)) == 1e-3
    assert np.isfinite(layer.matrix()).all()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            {"initial": "covariance"},
            "unknown initial matrix .found 'covariance', expected one of random, identity.*For an inverse",
        ),
        ({"maximum": 0.0}, "maximum has to be positive.*None for no limit"),
    ],
)
def test_bad_arguments_are_refused(arguments, message):
    with pytest.raises(ConfigError, match=message):
        MahalanobisDistance(**arguments)


@pytest.mark.parametrize(("x", "y"), [((K, DIM), (G, DIM + 1)), ((K, None), (G, None)), ((DIM,), (G, DIM))])
def test_sets_that_do_not_fit_are_refused(x, y):
    with pytest.raises(ConfigError, match=r"do not fit together \(found .* and .*, expected \(batch, count, dim\) twice"):
        MahalanobisDistance()(keras.Input(x), keras.Input(y))


def test_the_matrix_needs_a_built_layer():
    for call in (
        lambda layer: layer.set_matrix(np.eye(DIM)),
        lambda layer: layer.set_inverse_covariance(random_array((9, DIM), 1)),
        lambda layer: layer.matrix(),
    ):
        with pytest.raises(ConfigError, match=r"not built yet.*Call the layer, or its model, once"):
            call(MahalanobisDistance())


@pytest.mark.parametrize(
    ("matrix", "message"),
    [
        (np.eye(DIM - 1), r"no matrix D for the features \(found shape \(5, 5\), expected finite numbers of shape \(6, 6\)"),
        (np.full((DIM, DIM), np.nan), "found numbers that are not finite"),
        (np.triu(np.ones((DIM, DIM))), r"not symmetric.*differ by up to 1\).*Give \(D \+ D.T\) / 2"),
        (np.diag([1.0, 1, 1, 1, 1, -0.5]), "makes no distance.*eigenvalues from -0.5 to 1, expected a positive semidefinite"),
    ],
)
def test_matrices_that_make_no_distance_are_refused(matrix, message):
    with pytest.raises(ConfigError, match=message):
        built().set_matrix(matrix)


@pytest.mark.parametrize(
    ("features", "shrinkage", "message"),
    [
        (random_array((9, DIM + 1), 1), None, r"no covariance can be made.*found shape \(9, 7\), expected .* \(glimpses, 6\)"),
        (random_array((2, 9, DIM), 1), None, "no covariance can be made.*found shape"),
        (random_array((1, DIM), 1), None, "two glimpses or more"),
        (np.full((9, DIM), np.inf), None, "found numbers that are not finite"),
        (np.ones((9, DIM)), None, "all features are equal.*found 9 times the same.*several clips"),
        (random_array((9, DIM), 1), 1.5, "shrinkage has to be between 0 and 1 .found 1.5"),
        (random_array((4, DIM), 1), 0.0, "has no inverse .found 4 glimpses of 6 features, shrinkage 0.0.*larger shrinkage"),
    ],
)
def test_features_without_an_inverse_covariance_are_refused(features, shrinkage, message):
    with pytest.raises(ConfigError, match=message):
        built().set_inverse_covariance(features, shrinkage=shrinkage)
