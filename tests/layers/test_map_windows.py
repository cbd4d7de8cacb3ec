"""Windows of a feature map: Keras behaviour, and every window by its place."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from keras_actrec.errors import ConfigError
from keras_actrec.layers.map_windows import MapWindows
from tests.harness import random_array, run_layer_test


@pytest.mark.parametrize(("height", "width", "count"), [(2, 3, 6), (4, 4, 1)])
def test_layer_contract(height, width, count, tmp_path):
    run_layer_test(
        MapWindows,
        init_kwargs={"height": height, "width": width, "name": "windows"},
        inputs={"maps": random_array((2, 3, 4, 4, 5), 1)},
        expected_output_shapes=((2, count, 3, height, width, 5),),
        expected_weights={},
        tmp_path=tmp_path,
    )


def test_windows_go_row_by_row():
    # 3 × 4 cells numbered 0 to 11, windows of 2 × 3: two rows of two.
    maps = np.arange(12, dtype="float32").reshape(1, 1, 3, 4, 1)
    windows = np.array(MapWindows(2, 3)(maps))[0, :, 0, :, :, 0]
    assert windows[0].tolist() == [[0, 1, 2], [4, 5, 6]]
    assert windows[1].tolist() == [[1, 2, 3], [5, 6, 7]]
    assert windows[2].tolist() == [[4, 5, 6], [8, 9, 10]]
    assert windows[3].tolist() == [[5, 6, 7], [9, 10, 11]]


def test_a_map_of_the_size_is_its_own_window():
    maps = random_array((2, 3, 4, 5, 6), 1)
    np.testing.assert_array_equal(MapWindows(4, 5)(maps), maps[:, None])


@pytest.mark.parametrize("shape", [(3, 1, 4, 5), (3, 4, 2, 5)])
def test_a_map_smaller_than_the_window_is_refused(shape):
    with pytest.raises(ConfigError, match=r"smaller than the window \(found . x ., expected at least 2 x 3\).*larger images"):
        MapWindows(2, 3)(keras.Input(shape))


@pytest.mark.parametrize("shape", [(3, None, 4, 5), (3, 4, None, 5), (4, 4, 5)])
def test_unknown_shape_is_refused(shape):
    with pytest.raises(ConfigError, match=r"height and width of `maps` have to be known.*full shape"):
        MapWindows(2, 3)(keras.Input(shape))


@pytest.mark.parametrize(("size", "side"), [((0, 3), "height"), ((2, -1), "width")])
def test_sizes_have_to_be_positive(size, side):
    with pytest.raises(ConfigError, match=f"{side} has to be positive.*Give at least 1"):
        MapWindows(*size)
