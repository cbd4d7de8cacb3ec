"""The recurrence of Glimpse Clouds: its equations and those of the published code as plain loops, variants, bad arguments."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_actrec.errors import ConfigError
from keras_actrec.models.glimpse_recurrence import GlimpseRecurrence
from tests.harness import random_array, run_layer_test

# Every size different, so that a swapped axis shows; from the third frame on there are more glimpses than slots.
B, T, ROWS, COLUMNS, D, E, G, C = 5, 4, 3, 6, 7, 8, 2, 3
SIZES = {"glimpses": G, "workers": C, "glimpse_units": 9, "worker_units": 10, "location_units": 11, "memory_slots": 3}
OFFICIAL = {**SIZES, "official": True}


def arrays(batch: int = B, frames: int = T) -> dict[str, np.ndarray]:
    """Maps whose means differ from frame to frame too."""
    maps = random_array((batch, frames, ROWS, COLUMNS, D), 1) + 2 * random_array((batch, frames, 1, 1, D), 2)
    return {"maps": maps, "context": random_array((batch, frames, E), 3)}


def built(inputs=None, **arguments) -> GlimpseRecurrence:
    """With seeded weights, large enough that everything matters, glimpses well inside of the frame, and a sharp softmax."""
    layer = GlimpseRecurrence(**{**SIZES, "temperature": 0.1, **arguments})
    layer(**(inputs or arrays()))
    for index, weight in enumerate(layer.weights):
        weight.assign(random_array(tuple(weight.shape), 10 + index, scale=0.35))
    if layer.locate is not None:
        bias = np.array(layer.locate.bias)
        layer.locate.bias.assign(bias + np.tile([0.3, -0.2, -3.5, -2.5], len(bias) // 4))
    return layer


def numbers(outputs) -> list[np.ndarray]:
    return [np.array(output, np.float64) for output in outputs]


# The equations, one sample, one glimpse, one place at a time.


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def softmax(x):
    return np.exp(x - x.max()) / np.exp(x - x.max()).sum()


def gru(cell, x, h):
    """Cho et al., in the form whose reset gate acts behind the matrix."""
    kernel, recurrent, bias = (np.array(w, np.float64) for w in cell.get_weights())
    xz, xr, xh = np.split(x @ kernel + bias[0], 3)
    hz, hr, hh = np.split(h @ recurrent + bias[1], 3)
    z, r = sigmoid(xz + hz), sigmoid(xr + hr)
    return z * h + (1 - z) * np.tanh(xh + r * hh)


def dense(layer, x):
    kernel, bias = (np.array(w, np.float64) for w in layer.get_weights())
    return x @ kernel + bias


def bilinear(image, x, y, align_corners):
    """Eq. 4's sampler at a point in [-1, 1]; zeros outside."""
    rows, columns, _ = image.shape
    column = (x + 1) / 2 * (columns - 1) if align_corners else ((x + 1) * columns - 1) / 2
    row = (y + 1) / 2 * (rows - 1) if align_corners else ((y + 1) * rows - 1) / 2
    return sum(
        max(0, 1 - abs(column - m)) * max(0, 1 - abs(row - n)) * image[n, m] for n in range(rows) for m in range(columns)
    )


def cropped_mean(image, location, align_corners):
    """Eq. 1 and 4."""
    rows, columns, _ = image.shape
    x, y, scale_x, scale_y = location

    def grid(count):
        return np.linspace(-1, 1, count) if align_corners else (2 * np.arange(count) + 1) / count - 1

    points = [(x + scale_x * u, y + scale_y * v) for v in grid(rows) for u in grid(columns)]
    return sum(bilinear(image, *point, align_corners) for point in points) / (rows * columns)


def squash(raw):
    return np.concatenate([np.tanh(raw[:2]), sigmoid(raw[2:] + 3)])


def embedded(layer, place):
    """Λ of eq. 5."""
    return dense(layer.where, np.maximum(dense(layer.where_hidden, place), 0))


def paper_by_hand(layer, maps, context, over):
    """Eq. 1 to 10. `over`: "batch" or "clip", what distances are normalised over."""
    batch, frames = maps.shape[:2]
    units, worker_units = layer.glimpse_units, layer.worker_units
    factor = np.array(layer.metric.factor, np.float64)
    d = factor.T @ factor
    h = [np.zeros(units)] * batch
    z = [np.zeros(maps.shape[-1])] * batch
    r = [[np.zeros(worker_units)] * C for _ in range(batch)]
    memory = [[] for _ in range(batch)]  # (frame, vector, importance for each worker), the oldest first
    places, shares = np.zeros((batch, frames, G, 4)), np.zeros((batch, frames, C, G))
    states, features = np.zeros((batch, frames, C, worker_units)), np.zeros((batch, frames, G, maps.shape[-1]))
    for t in range(frames):
        phi = []
        for b in range(batch):
            total = sum(r[b])  # eq. 7
            for g in range(G):
                h[b] = gru(layer.cell, np.concatenate([z[b], total]), h[b])  # eq. 2
                places[b, t, g] = squash(dense(layer.locate, np.concatenate([h[b], context[b, t]])))  # eq. 3
                z[b] = cropped_mean(maps[b, t], places[b, t, g], layer.align_corners)
                features[b, t, g] = z[b] * embedded(layer, places[b, t, g])  # eq. 5
            differences = [[v - m for v in features[b, t]] for _, m, _ in memory[b]]
            phi.append(np.array([[np.sqrt(x @ d @ x) for x in row] for row in differences]))  # eq. 9
        for b in range(batch):
            for c in range(C):
                if t == 0:
                    p = softmax(np.array(layer.first, np.float64)[c] / layer.temperature)
                else:
                    ends = np.concatenate([x.ravel() for x in (phi if over == "batch" else [phi[b]])])
                    scaled = (phi[b] - ends.min()) / (ends.max() - ends.min())
                    votes = [
                        sum(np.exp(-(t - frame)) * w[c] * (1 - scaled[k, g]) for k, (frame, _, w) in enumerate(memory[b]))
                        for g in range(G)
                    ]
                    p = softmax(np.array(votes) / layer.temperature)  # eq. 10
                shares[b, t, c] = p
                r[b][c] = gru(layer.cells[c], sum(p[g] * features[b, t, g] for g in range(G)), r[b][c])  # eq. 8 and 6
            memory[b] += [(t, features[b, t, g], shares[b, t, :, g]) for g in range(G)]
            memory[b] = memory[b][-layer.memory_slots :]
            states[b, t] = r[b]
    return places, shares, states, features


def official_by_hand(layer, maps, context, over):
    """The published code, as far as it computes something else than the paper: see the comments."""
    batch, frames = maps.shape[:2]
    factor = np.array(layer.metric.factor, np.float64)
    d = factor.T @ factor
    h = [np.zeros(layer.glimpse_units)] * batch
    r = [[np.zeros(layer.worker_units)] * C for _ in range(batch)]
    places, shares = np.zeros((batch, frames, G, 4)), np.zeros((batch, frames, C, G))
    states, features = np.zeros((batch, frames, C, layer.worker_units)), np.zeros((batch, frames, G, maps.shape[-1]))
    for t in range(frames):
        phi = np.zeros((batch, t, G, G))
        for b in range(batch):
            total = sum(r[b])
            for g in range(G):
                raw = dense(layer.locate, np.concatenate([context[b, t], h[b]]))  # from the state before this glimpse
                places[b, t, g] = squash(raw)
                z = cropped_mean(maps[b, t], places[b, t, g], layer.align_corners)
                features[b, t, g] = z * embedded(layer, raw)  # Λ of what is not squashed yet
                h[b] = gru(layer.cell, np.concatenate([features[b, t, g], total]), h[b])  # fed by v
            for i in range(t):
                for old in range(G):
                    for new in range(G):
                        x = features[b, i, old] - features[b, t, new]
                        phi[b, i, old, new] = min(x @ d @ x, 1e5)  # no root
        for b in range(batch):
            for c in range(C):
                if t == 0:
                    scores = np.array(layer.first, np.float64)[c]
                else:
                    similarity = 1 - phi[b] / (phi if over == "batch" else phi[b]).max()  # the least is always 0
                    scores = np.zeros(G)
                    for i in range(t):  # all frames: no slots; the weights fall from the oldest to the newest
                        for old in range(G):
                            scores += np.exp(-i / 4) * shares[b, i, c, old] * similarity[i, old] / G
                shares[b, t, c] = softmax(scores / layer.temperature)
                mixed = sum(shares[b, t, c, g] * features[b, t, g] for g in range(G))
                r[b][c] = gru(layer.cells[c], mixed, r[b][0])  # from worker 0's state, which is already that of this frame
            states[b, t] = r[b]
    return places, shares, states, features


@pytest.mark.parametrize("align_corners", [False, True])
@pytest.mark.parametrize("over", ["batch", "clip"])
@pytest.mark.parametrize(("official", "by_hand"), [(False, paper_by_hand), (True, official_by_hand)])
def test_equations(official, by_hand, over, align_corners):
    """Locations, assignments, states and features of all frames, with more glimpses than slots."""
    layer = built(normalise_over=over, align_corners=align_corners, official=official)
    inputs = arrays()
    expected = by_hand(layer, *(inputs[name].astype(np.float64) for name in ("maps", "context")), over)
    for found, wanted, name in zip(numbers(layer(**inputs)), expected, ("glimpses", "p", "r", "v"), strict=True):
        np.testing.assert_allclose(found, wanted, atol=1e-5, rtol=0, err_msg=name)
    later = expected[1][:, 1:]
    assert np.abs(later - 1 / G).max() > 0.1  # assignments are not even
    assert np.abs(later[:, :, 0] - later[:, :, 1]).max() > 1e-3  # nor the same for all workers


def test_slots_beyond_k_matter_and_are_dropped():
    """K = 3 is not K = 4, and the memory holds no more than all glimpses."""
    inputs, assignments = arrays(), []
    for slots in (3, 4, 6, 100):
        other = built(memory_slots=slots)
        assignments.append(np.array(other(**inputs)[1]))
    few, more, all_but_last, hundred = assignments
    np.testing.assert_array_equal(few[:, :2], more[:, :2])  # two glimpses so far
    assert np.abs(few[:, 2] - more[:, 2]).max() > 1e-4
    np.testing.assert_array_equal(all_but_last, hundred)


@pytest.mark.parametrize("official", [False, True])
def test_workers(official):
    """p adds up to 1; r_{t,c} follows from ṽ_{t,c} = Σ_g p v (eq. 8) and each worker's own GRU (eq. 6)."""
    layer = built(official=official)
    _, p, r, v = numbers(layer(**arrays()))
    np.testing.assert_allclose(p.sum(axis=-1), 1, atol=1e-6)
    first = np.array(layer.first, np.float64)
    for c in range(C):
        np.testing.assert_allclose(p[:, 0, c], np.tile(softmax(first[c] / layer.temperature), (B, 1)), atol=1e-6)
    state = np.zeros((B, C, 10))
    for t in range(T):
        for b in range(B):
            for c in range(C):
                state[b, c] = gru(layer.cells[c], p[b, t, c] @ v[b, t], state[b, 0] if official else state[b, c])
        np.testing.assert_allclose(r[:, t], state, atol=1e-5)


def test_workers_do_not_share_weights():
    """After a change of one worker the others are as they were in the first frame; those of the code start from the first."""
    for changed, official, others in ((1, False, [0, 2]), (1, True, [0, 2]), (0, False, [1, 2]), (0, True, [])):
        layer = built(official=official)
        before = np.array(layer(**arrays())[2])[:, 0]
        layer.cells[changed].kernel.assign(layer.cells[changed].kernel * 2.0)
        after = np.array(layer(**arrays())[2])[:, 0]
        assert [c for c in range(C) if np.array_equal(before[:, c], after[:, c])] == others


def location_gradient(layer: GlimpseRecurrence, *, output: int) -> float:
    """Largest derivative of one output by the weights of the locations."""
    with tf.GradientTape() as tape:
        y = layer(**arrays())[output]
        loss = tf.reduce_sum(y * random_array(tuple(y.shape), 3))
    gradient = tape.gradient(loss, layer.locate.kernel.value)
    return 0.0 if gradient is None else float(np.abs(gradient).max())


def test_no_gradient_through_crops_of_the_published_code():
    """With Λ = 1, v = z: there the published code's locations learn nothing. The paper's do, and both do through Λ and L_G."""
    for official in (False, True):
        layer = built(official=official)
        assert location_gradient(layer, output=0) > 1e-3
        assert location_gradient(layer, output=3) > 1e-3
        layer.where.kernel.assign(np.zeros(layer.where.kernel.shape))
        layer.where.bias.assign(np.ones(D))
        through_crops = location_gradient(layer, output=3)
        assert through_crops == 0 if official else through_crops > 1e-3


def test_random_places():
    """In training other places for each clip and call, centres anywhere and scales of 1/8 to 1/2; in use always the same."""
    layer = built(attention="random")
    used = np.array(layer(**arrays())[0])
    np.testing.assert_array_equal(used, np.array(layer(**arrays())[0]))
    np.testing.assert_array_equal(used, np.tile(used[:1], (B, 1, 1, 1)))  # every clip's
    again = GlimpseRecurrence(**SIZES, attention="random")
    np.testing.assert_array_equal(used, np.array(again(**arrays())[0]))
    assert len(np.unique(used[0].reshape(-1, 4), axis=0)) == T * G
    first, second = (np.array(layer(**arrays(), training=True)[0]) for _ in range(2))
    for drawn in (first, second):
        assert len(np.unique(drawn.reshape(-1, 4), axis=0)) == B * T * G
    assert not np.isin(first, second).any()
    for places in (used, first, second):
        assert np.abs(places[..., :2]).max() <= 1 and places[..., 2:].min() >= 1 / 8 and places[..., 2:].max() <= 1 / 2
    assert first[..., :2].min() < -0.8 and first[..., :2].max() > 0.8
    assert layer.cell is None and layer.locate is None


def test_saliency():
    """All places of a frame from its context alone, whatever was seen."""
    layer = built(attention="saliency")
    inputs = arrays()
    other = {**inputs, "maps": inputs["maps"] + 1}
    found, elsewhere = (np.array(layer(**x)[0]) for x in (inputs, other))
    np.testing.assert_array_equal(found, elsewhere)
    raw = dense(layer.locate, inputs["context"].astype(np.float64)).reshape(B, T, G, 4)
    expected = np.apply_along_axis(squash, -1, raw)
    np.testing.assert_allclose(found, expected, atol=1e-6)
    assert layer.cell is None
    sequential = built()
    assert np.abs(numbers(sequential(**inputs))[0] - numbers(sequential(**other))[0]).max() > 1e-3


def test_sum_of_glimpses():
    """Table 3's baseline: one GRU on Σ_g v, no memory."""
    layer = built(pooling="sum", workers=1)
    _, p, r, v = numbers(layer(**arrays()))
    np.testing.assert_array_equal(p, np.ones((B, T, 1, G)))
    for b in range(B):
        state = np.zeros(10)
        for t in range(T):
            state = gru(layer.cells[0], v[b, t].sum(axis=0), state)
            np.testing.assert_allclose(r[b, t, 0], state, atol=1e-5)
    assert layer.metric is None and not any("first_attention" in weight.path for weight in layer.weights)


def test_concatenated_encoding():
    """v is z and l side by side, without Λ."""
    layer = built(encoding="concat")
    places, _, _, v = numbers(layer(**arrays()))
    np.testing.assert_allclose(v[..., D:], places, atol=1e-6)
    maps = arrays()["maps"].astype(np.float64)
    np.testing.assert_allclose(v[1, 2, 1, :D], cropped_mean(maps[1, 2], places[1, 2, 1], False), atol=1e-5)
    assert not any("where" in weight.path for weight in layer.weights)


def test_what_distances_are_normalised_over():
    """A clip's answer hangs on its neighbours with "batch" always, with "training_batch" in training."""
    for over, training, alone in (
        ("batch", False, False), ("clip", False, True), ("clip", True, True), ("training_batch", False, True),
        ("training_batch", True, False),
    ):  # fmt: skip
        layer = built(normalise_over=over)
        inputs = arrays()
        inputs["maps"][1:] *= 3  # neighbours with larger distances
        whole = np.array(layer(**inputs, training=training)[1])[:1]
        single = np.array(layer(**{name: value[:1] for name, value in inputs.items()}, training=training)[1])
        difference = np.abs(whole - single).max()
        assert difference < 1e-5 if alone else difference > 1e-3


@pytest.mark.parametrize("distance", ["learned", "fixed", "random"])
def test_trained_distance(distance):
    layer = built(distance=distance)
    trained = any("distance/factor" in weight.path for weight in layer.trainable_weights)
    assert trained == (distance != "fixed")
    assert layer.metric.factor.shape == (D, D)


def test_one_frame_has_no_memory():
    layer = built(arrays(frames=1))
    assert layer.metric is None
    _, p, _, _ = numbers(layer(**arrays(frames=1)))
    np.testing.assert_allclose(p.sum(axis=-1), 1, atol=1e-6)


def expected_weights(**arguments) -> dict[str, tuple[int, ...]]:
    """By hand, from the sizes above."""
    attention, pooling = arguments.get("attention", "sequential"), arguments.get("pooling", "memory")
    fed = D + 4 if arguments.get("encoding") == "concat" else D
    weights = {}
    if attention == "sequential":
        weights |= {"glimpse_cell/kernel": (D + 10, 27), "glimpse_cell/recurrent_kernel": (9, 27), "glimpse_cell/bias": (2, 27)}
        weights |= {"location/kernel": (9 + E, 4), "location/bias": (4,)}
    if attention == "saliency":
        weights |= {"location/kernel": (E, 8), "location/bias": (8,)}
    if fed == D:
        weights |= {"where_hidden/kernel": (4, 11), "where_hidden/bias": (11,), "where/kernel": (11, D), "where/bias": (D,)}
    for c in range(1, arguments.get("workers", C) + 1):
        weights |= {f"worker{c}/kernel": (fed, 30), f"worker{c}/recurrent_kernel": (10, 30), f"worker{c}/bias": (2, 30)}
    if pooling == "memory":
        weights |= {"first_attention": (C, G), "distance/factor": (fed, fed)}
    return weights


@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"normalise_over": "clip", "official": True, "distance": "fixed", "align_corners": True, "temperature": 0.7},
        {"attention": "saliency", "encoding": "concat"},
        {"attention": "random", "pooling": "sum", "workers": 1},
    ],
    ids=["paper", "official", "saliency, concat", "random, sum"],
)
def test_layer(arguments, tmp_path):
    workers = arguments.get("workers", C)
    fed = D + 4 if "encoding" in arguments else D
    run_layer_test(
        GlimpseRecurrence,
        init_kwargs={**SIZES, **arguments},
        inputs=arrays(frames=3),
        expected_output_shapes=((B, 3, G, 4), (B, 3, workers, G), (B, 3, workers, 10), (B, 3, G, fed)),
        expected_weights=expected_weights(**arguments),
        tmp_path=tmp_path,
    )


def test_types_under_reduced_precision():
    """All but the states stay float32, of a loaded layer too."""
    layer = GlimpseRecurrence(**SIZES, dtype="mixed_bfloat16")
    symbolic = layer(*(keras.Input(value.shape[1:]) for value in arrays().values()))
    again = GlimpseRecurrence.from_config(layer.get_config())
    for outputs in (symbolic, layer(**arrays()), again(**arrays())):
        types = [keras.backend.standardize_dtype(output.dtype) for output in outputs]
        assert types == ["float32", "float32", "bfloat16", "float32"]
    assert again.cell.compute_dtype == again.cells[0].compute_dtype == "bfloat16"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"attention": "tubes"}, r"unknown attention.*'tubes'.*sequential \| saliency \| random"),
        ({"pooling": "mean"}, "unknown pooling"),
        ({"encoding": "sum"}, "unknown encoding"),
        ({"distance": "euclidean"}, "unknown distance"),
        ({"normalise_over": "sample"}, "unknown normalise_over"),
        ({"glimpses": 0}, "glimpses has to be positive"),
        ({"memory_slots": 0}, "memory_slots has to be positive"),
        ({"temperature": 0.0}, "the temperature has to be positive"),
        ({"official": True, "attention": "saliency"}, "the published code has no such variant"),
        ({"official": True, "encoding": "concat"}, "the published code has no such variant"),
        ({"official": True, "pooling": "sum"}, "the published code has no such variant"),
    ],
)
def test_bad_arguments(arguments, words):
    with pytest.raises(ConfigError, match=words):
        GlimpseRecurrence(**arguments)


@pytest.mark.parametrize(
    ("maps", "context"),
    [
        ((None, 3, 4, 5), (3, 6)),
        ((3, None, 4, 5), (3, 6)),
        ((3, 4, 4, 5), (3, None)),
        ((3, 4, 4, 5), (2, 6)),
        ((3, 4, 5), (3, 6)),
        ((3, 4, 4, 5), (6,)),
    ],
)
def test_bad_shapes(maps, context):
    with pytest.raises(ConfigError, match="maps and context have to be of known shapes and as many frames"):
        GlimpseRecurrence(**SIZES)(keras.Input(maps), keras.Input(context))
