"""Glimpse sampler: Keras behaviour, PyTorch's crops and gradients, finite differences, crops by hand, the pooled glimpse."""

from __future__ import annotations

from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import ops

from keras_actrec.errors import ConfigError
from keras_actrec.layers.glimpse_sampler import GlimpseSampler, pooled_glimpse
from tests.harness import layer_model, numpy_outputs, outputs_on_jax, random_array, run_layer_test, run_model_test

REFERENCE = Path(__file__).parents[1] / "reference" / "glimpse_sampler.npz"
CASES = [(case, aligned) for case in ("square", "odd_even", "even_odd", "one_cell") for aligned in (False, True)]
KINKS = [("on_centres", False), ("on_aligned_centres", True)]
# x, y, scale_x, scale_y: inside, across borders and larger than the map, wholly outside.
PLACES = np.array([[0.1, -0.3, 0.4, 0.6], [-0.7, 0.9, 1.6, 1.2], [2.9, 0.1, 0.5, 0.5]], "float32")


@pytest.fixture(scope="module")
def reference() -> dict[str, np.ndarray]:
    with np.load(REFERENCE) as stored:
        return dict(stored)


def crop(maps, location, samples, align_corners):
    """In the dtype of the maps."""
    return GlimpseSampler(*samples, align_corners=align_corners, dtype=str(maps.dtype.name))(maps, location)


def pooled_model(height: int, width: int, cells: tuple[int, ...], align_corners: bool = False) -> keras.Model:
    inputs = {"maps": keras.Input(cells, name="maps"), "location": keras.Input((4,), name="location")}
    return keras.Model(inputs, {"pooled": pooled_glimpse(**inputs, height=height, width=width, align_corners=align_corners)})


@pytest.mark.parametrize(
    ("cells", "height", "width", "align_corners"), [((5, 5), 5, 5, False), ((4, 7), 3, 2, True), ((3, 6), 1, 4, False)]
)
def test_layer_contract(cells, height, width, align_corners, tmp_path):
    run_layer_test(
        GlimpseSampler,
        init_kwargs={"height": height, "width": width, "align_corners": align_corners, "name": "glimpse"},
        inputs={"maps": random_array((3, *cells, 6), 1), "location": PLACES},
        expected_output_shapes=((3, height, width, 6),),
        expected_weights={},
        tmp_path=tmp_path,
    )


def test_location_keeps_its_precision_under_mixed_precision():
    maps = np.arange(256, dtype="float32").reshape(1, 1, 256, 1) / 256  # the value is the column, exact in bfloat16
    location = np.array([[1 / 128 + 1 / 256, 0, 1, 1]], "float32")  # half a column more than bfloat16 could say
    found = GlimpseSampler(1, 1, dtype="mixed_bfloat16")(maps, location)
    assert found.dtype == "bfloat16"
    assert float(found[0, 0, 0, 0]) == (127.5 + 1.5) / 256


@pytest.mark.parametrize(("case", "align_corners"), CASES + KINKS)
def test_crops_and_gradients_are_those_of_pytorch(case, align_corners, reference):
    maps, location, upstream = (reference[f"{case}/{name}"] for name in ("maps", "location", "upstream"))
    maps, location = tf.constant(maps), tf.constant(location)
    with tf.GradientTape() as tape:
        tape.watch([maps, location])
        found = crop(maps, location, upstream.shape[1:3], align_corners)
    gradients = tape.gradient(found, [maps, location], output_gradients=tf.constant(upstream))
    assert found.dtype == "float64"
    for name, value in zip(("crop", "maps_gradient", "location_gradient"), (found, *gradients), strict=True):
        np.testing.assert_allclose(value, reference[f"{case}/{align_corners}/{name}"], rtol=1e-9, atol=1e-9, err_msg=name)


def test_reference_holds_what_it_should(reference):
    assert reference["versions"][0].startswith("torch 2.")
    for case, align_corners in KINKS:
        # The derivative from one side. Of a plain hat function it would be 0, and a crop of the whole map never move.
        assert np.abs(reference[f"{case}/{align_corners}/location_gradient"]).min() > 0.1
    assert not reference["square/False/crop"][4].any(), "the fifth place is wholly outside"


@pytest.mark.parametrize("align_corners", [False, True])
def test_gradients_against_finite_differences(align_corners):
    rng = np.random.default_rng(0)
    arrays = [rng.standard_normal((2, 6, 5, 3)), np.array([[0.13, -0.27, 0.41, 0.63], [-0.71, 0.52, 1.4, -0.9]])]
    upstream = rng.standard_normal((2, 4, 3, 3))

    def value(maps, location):
        return tf.reduce_sum(crop(maps, location, (4, 3), align_corners) * upstream)

    tensors = [tf.constant(array) for array in arrays]
    with tf.GradientTape() as tape:
        tape.watch(tensors)
        total = value(*tensors)
    step = 1e-6
    for index, gradient in enumerate(tape.gradient(total, tensors)):
        for place in rng.permutation(arrays[index].size)[:24]:
            moved = []
            for sign in (1, -1):
                copies = [array.copy() for array in arrays]
                copies[index].flat[place] += sign * step
                moved.append(float(value(*[tf.constant(copy) for copy in copies])))
            assert (moved[0] - moved[1]) / (2 * step) == pytest.approx(float(gradient.numpy().flat[place]), abs=1e-6)


def test_a_crop_by_hand():
    maps = np.arange(16, dtype="float32").reshape(1, 4, 4, 1)  # value = 4 · row + column
    # The upper left quarter, two samples a side: rows and columns 0 and 1.
    quarter = GlimpseSampler(2, 2)(maps, np.array([[-0.5, -0.5, 0.5, 0.5]], "float32"))
    assert np.array(quarter)[0, :, :, 0].tolist() == [[0, 1], [4, 5]]
    # Half a column to the right: the 4 columns go from -1 to 1.
    right = GlimpseSampler(2, 2)(maps, np.array([[-0.25, -0.5, 0.5, 0.5]], "float32"))
    assert np.array(right)[0, :, :, 0].tolist() == [[0.5, 1.5], [4.5, 5.5]]
    # Twice the map, with the corners at -2 and 2: the samples lie in the zeros.
    assert not np.array(GlimpseSampler(2, 2, align_corners=True)(maps, np.array([[0, 0, 2, 2]], "float32"))).any()
    # With aligned corners the whole map is the map, and mirrored by a negative scale.
    whole = GlimpseSampler(4, 4, align_corners=True)
    np.testing.assert_allclose(whole(maps, np.array([[0, 0, 1, 1]], "float32")), maps, atol=1e-5)
    np.testing.assert_allclose(whole(maps, np.array([[0, 0, -1, 1]], "float32")), maps[:, :, ::-1], atol=1e-5)


@pytest.mark.parametrize("align_corners", [False, True])
@pytest.mark.parametrize(("cells", "samples"), [((7, 7), (7, 7)), ((5, 5), (3, 3)), ((6, 6), (5, 4)), ((4, 7), (3, 3))])
def test_pooled_glimpse_is_the_mean_of_the_crop(cells, samples, align_corners):
    rng = np.random.default_rng(1)
    maps, location = tf.constant(rng.standard_normal((3, *cells, 4))), tf.constant(PLACES.astype("float64"))
    upstream = tf.constant(rng.standard_normal((3, 4)))
    results = []
    for pooled in (False, True):
        with tf.GradientTape() as tape:
            tape.watch([maps, location])
            if pooled:
                found = pooled_glimpse(maps, location, height=samples[0], width=samples[1], align_corners=align_corners)
            else:
                found = ops.mean(crop(maps, location, samples, align_corners), axis=(1, 2))
        results.append((found, *tape.gradient(found, [maps, location], output_gradients=upstream)))
    for expected, found in zip(*results, strict=True):
        assert found.dtype == "float64"
        np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-12)


def test_pooled_glimpse_in_a_model(tmp_path):
    # Two sizes: axes weighted together, and one after the other.
    inputs = {"maps": random_array((3, 5, 5, 6), 1), "location": PLACES}
    for size in ((5, 5), (3, 2)):
        run_model_test(
            lambda size=size: pooled_model(*size, (5, 5, 6)),
            inputs,
            expected_output_shapes={"pooled": (3, 6)},
            tmp_path=tmp_path,
        )


def test_pooled_glimpse_has_the_dtype_of_the_map():
    maps = ops.cast(random_array((3, 4, 4, 2), 1), "bfloat16")
    assert pooled_glimpse(maps, ops.convert_to_tensor(PLACES), height=4, width=4).dtype == "bfloat16"


def test_jax_gives_the_same_outputs(tmp_path):
    inputs = {"maps": random_array((3, 4, 7, 5), 1), "location": PLACES}
    models = {
        "sampler": layer_model(GlimpseSampler(3, 5), inputs),
        "aligned": layer_model(GlimpseSampler(4, 4, align_corners=True), inputs),
        "pooled": pooled_model(3, 5, (4, 7, 5)),
    }
    found = outputs_on_jax({name: (model, inputs) for name, model in models.items()}, tmp_path)
    for name, model in models.items():
        for output, expected in numpy_outputs(model, inputs).items():
            np.testing.assert_allclose(found[name][output], expected, rtol=1e-4, atol=1e-5, err_msg=name)


@pytest.mark.parametrize(("size", "side"), [((0, 3), "height"), ((2, -1), "width")])
def test_sizes_have_to_be_positive(size, side):
    with pytest.raises(ConfigError, match=f"GlimpseSampler: {side} has to be positive.*Give at least 1"):
        GlimpseSampler(*size)
    with pytest.raises(ConfigError, match=f"pooled_glimpse: {side} has to be positive.*Give at least 1"):
        pooled_glimpse(np.zeros((1, 4, 4, 2)), PLACES[:1], height=size[0], width=size[1])


@pytest.mark.parametrize("shape", [(None, 4, 2), (4, 4, None), (8, 4, 4, 2)])
def test_maps_of_unknown_shape_are_refused(shape):
    message = r"height, width and channels of `maps` have to be known.*expected \(batch, height, width, channels\)"
    with pytest.raises(ConfigError, match=f"GlimpseSampler: {message}.*time into the batch"):
        GlimpseSampler(2, 3)(keras.Input(shape), keras.Input((4,)))
    with pytest.raises(ConfigError, match=f"pooled_glimpse: {message}"):
        pooled_glimpse(keras.Input(shape), keras.Input((4,)), height=2, width=3)


@pytest.mark.parametrize("shape", [(3,), (3, 4)])
def test_location_of_another_shape_is_refused(shape):
    with pytest.raises(ConfigError, match=r"no place and scale \(found .*expected \(batch, 4\): x, y, scale_x, scale_y\)"):
        GlimpseSampler(2, 3)(keras.Input((4, 4, 2)), keras.Input(shape))
