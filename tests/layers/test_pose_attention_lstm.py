"""The pose-attention LSTM: Keras behaviour, and equations 2 to 9 of RPAN against slow numpy loops, gradients included."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_actrec.errors import ConfigError
from keras_actrec.layers.pose_attention_lstm import PoseAttentionLSTM, PoseAttentionLSTMCell
from tests.harness import make_nonzero, random_array, run_layer_test

B, T, K1, K2, D, H, A = 2, 3, 2, 3, 5, 4, 6  # batch, frames, rows and columns of places, features, units, attention units
PARTS = {
    "human_part": ((0, 3), (1,), (4, 2)),  # joints of a part need not be neighbours
    "separate_joint": ((0,), (1,), (2,), (3,), (4,)),
    "share_all": ((0,),),
}


def weight_shapes(parts, pooling):
    joints, size = sum(map(len, parts)), len(parts) * A
    return {
        "cell/hidden_kernel": (H, size),
        "cell/cube_kernel": (D, size),
        "cell/bias": (size,),
        "cell/joint_vectors": (joints, A),
        "cell/cell/kernel": (D * (len(parts) if pooling == "concat" else 1), 4 * H),
        "cell/cell/recurrent_kernel": (H, 4 * H),
        "cell/cell/bias": (4 * H,),
    }


@pytest.mark.parametrize(("attention", "pooling"), [("human_part", "concat"), ("separate_joint", "mean"), ("share_all", "max")])
def test_layer_contract(attention, pooling, tmp_path):
    parts = PARTS[attention]
    run_layer_test(
        PoseAttentionLSTM,
        init_kwargs={
            "units": H,
            "attention_units": A,
            "parts": [list(part) for part in parts],
            "pooling": pooling,
            "name": "attend",
        },
        inputs={"cubes": random_array((B, T, K1, K2, D), 1)},
        expected_output_shapes=((B, T, H), (B, T, sum(map(len, parts)), K1, K2)),
        expected_weights=weight_shapes(parts, pooling),
        tmp_path=tmp_path,
    )


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def equations_2_to_9(weights, cubes, parts, pooling):
    """Clip by clip, step by step, part by part, joint by joint and place by place, as the paper writes it.

    LSTM gates are in Keras's order: input, forget, candidate, output.
    """
    joints = sum(map(len, parts))
    clips, steps = cubes.shape[:2]
    states, attention = np.zeros((clips, steps, H)), np.zeros((clips, steps, joints, K1, K2))
    for b in range(clips):
        h, r = np.zeros(H), np.zeros(H)
        for t in range(steps):
            features = []
            for p, members in enumerate(parts):
                rows = slice(p * A, (p + 1) * A)  # A_h^P, A_c^P, b^P
                a_h, a_c = weights["cell/hidden_kernel"][:, rows].T, weights["cell/cube_kernel"][:, rows].T
                feature = np.zeros(D)
                for joint in members:
                    scores = np.zeros((K1, K2))
                    for y in range(K1):
                        for x in range(K2):
                            inner = np.tanh(a_h @ h + a_c @ cubes[b, t, y, x] + weights["cell/bias"][rows])
                            scores[y, x] = weights["cell/joint_vectors"][joint] @ inner  # eq. 2
                    alpha = np.exp(scores) / np.exp(scores).sum()  # eq. 3
                    for y in range(K1):
                        for x in range(K2):
                            feature += alpha[y, x] * cubes[b, t, y, x]  # eq. 4
                    attention[b, t, joint] = alpha
                features.append(feature)
            s = {"concat": np.concatenate, "max": lambda f: np.max(f, 0), "mean": lambda f: np.mean(f, 0)}[pooling](features)
            gates = s @ weights["cell/cell/kernel"] + h @ weights["cell/cell/recurrent_kernel"] + weights["cell/cell/bias"]
            i, f, g, o = np.split(gates, 4)
            r = sigmoid(f) * r + sigmoid(i) * np.tanh(g)  # eq. 6 to 8
            h = sigmoid(o) * np.tanh(r)  # eq. 9
            states[b, t] = h
    return states, attention


def built(parts, pooling, dtype):
    keras.utils.set_random_seed(0)
    layer = PoseAttentionLSTM(H, attention_units=A, parts=parts, pooling=pooling, dtype=dtype)
    layer.build((None, T, K1, K2, D))
    make_nonzero(layer.weights)
    return layer


def numpy_weights(layer):
    return {weight.path.removeprefix(f"{layer.name}/"): np.array(weight, np.float64) for weight in layer.weights}


@pytest.mark.parametrize("pooling", ["concat", "max", "mean"])
@pytest.mark.parametrize("attention", list(PARTS))
def test_equations_2_to_9(attention, pooling):
    layer = built(PARTS[attention], pooling, "float32")
    cubes = random_array((B, T, K1, K2, D), 3)
    states, maps = layer(cubes)
    expected = equations_2_to_9(numpy_weights(layer), cubes.astype(np.float64), PARTS[attention], pooling)
    np.testing.assert_allclose(states, expected[0], atol=1e-5)
    np.testing.assert_allclose(maps, expected[1], atol=1e-5)
    assert np.ptp(expected[1]) > 0.05  # maps that are flat everywhere would hide a wrong sum


@pytest.mark.parametrize("pooling", ["concat", "max", "mean"])
@pytest.mark.parametrize("attention", list(PARTS))
def test_gradients_are_the_finite_differences_of_the_equations(attention, pooling):
    """d(Σ c·h + Σ e·α) by automatic differentiation and by central differences of the numpy loops, both in float64."""
    parts = PARTS[attention]
    layer = built(parts, pooling, "float64")
    cubes = random_array((B, T, K1, K2, D), 3).astype(np.float64)
    weights = numpy_weights(layer)
    generator = np.random.default_rng(5)
    with_states = generator.standard_normal((B, T, H))
    with_maps = generator.standard_normal((B, T, sum(map(len, parts)), K1, K2))

    def loss():
        states, maps = equations_2_to_9(weights, cubes, parts, pooling)
        return (with_states * states).sum() + (with_maps * maps).sum()

    variable = tf.Variable(cubes)
    with tf.GradientTape() as tape:
        states, maps = layer(variable)
        total = tf.reduce_sum(with_states * states) + tf.reduce_sum(with_maps * maps)
    found = tape.gradient(total, [variable, *(weight.value for weight in layer.weights)])
    np.testing.assert_allclose(total, loss(), atol=1e-9)
    checked = 0
    for array, gradient in zip([cubes, *weights.values()], found, strict=True):
        for place in generator.choice(array.size, min(array.size, 8), replace=False):
            index = np.unravel_index(place, array.shape)
            kept, sides = array[index], []
            for step in (1e-5, -1e-5):
                array[index] = kept + step
                sides.append(loss())
            array[index] = kept
            np.testing.assert_allclose(gradient.numpy()[index], (sides[0] - sides[1]) / 2e-5, atol=1e-5)
            checked += 1
    assert checked >= 40


def test_joints_of_a_part_share_all_but_their_vector():
    """Equal vectors give joints of one part the same map, and joints of two parts different ones."""
    layer = built(PARTS["human_part"], "concat", "float32")
    layer.cell.joint_vectors.assign(np.ones((5, A)))
    maps = np.asarray(layer(random_array((B, T, K1, K2, D), 3))[1])
    np.testing.assert_array_equal(maps[:, :, 0], maps[:, :, 3])
    np.testing.assert_array_equal(maps[:, :, 4], maps[:, :, 2])
    assert np.abs(maps[:, :, 0] - maps[:, :, 1]).max() > 1e-3


def test_cell_computes_the_projection_where_none_is_given():
    cell = PoseAttentionLSTMCell(H, attention_units=A, parts=PARTS["human_part"])
    cube, state = random_array((B, K1 * K2, D), 3), [random_array((B, H), 4), random_array((B, H), 5)]
    given = cell(cube, state)
    computed = cell(cube, state, cell.project(cube))
    for one, other in zip(given[:2], computed[:2], strict=True):
        np.testing.assert_allclose(one, other, atol=1e-6)
    assert given[0].shape == (B, H) and given[1].shape == (B, 5, K1 * K2)


def test_maps_add_up_to_one_in_half_precision():
    layer = built(PARTS["human_part"], "mean", "mixed_bfloat16")
    maps = layer(random_array((B, T, K1, K2, D), 3))[1]
    assert maps.dtype == "float32"
    np.testing.assert_allclose(np.sum(maps, axis=(-1, -2)), 1, atol=1e-5)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"units": 0}, "units has to be positive"),
        ({"attention_units": 0}, "attention_units has to be positive"),
        ({"pooling": "sum"}, "unknown pooling"),
        ({"parts": ()}, "exactly one part"),
        ({"parts": ((0,), ())}, "exactly one part"),
        ({"parts": ((0, 1), (1,))}, "exactly one part"),
        ({"parts": ((0,), (2,))}, "exactly one part"),
    ],
)
def test_refuses(changes, words):
    with pytest.raises(ConfigError, match=words):
        PoseAttentionLSTM(**{"units": H, "attention_units": A, "parts": PARTS["human_part"]} | changes)


def test_refuses_cubes_of_unknown_shape():
    layer = PoseAttentionLSTM(H, attention_units=A, parts=PARTS["human_part"])
    with pytest.raises(ConfigError, match="shape of the cubes has to be known"):
        layer.build((None, None, K1, K2, D))
    with pytest.raises(ConfigError, match="features of a place have to be known"):
        PoseAttentionLSTMCell(H, attention_units=A, parts=((0,),)).build((None, 4, None))
