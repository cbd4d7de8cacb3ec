"""Glimpses: crops of a feature map at any place and scale, differentiable in both.

Paper: Baradel et al., "Glimpse Clouds: Human Activity Recognition from Unstructured Feature Points", CVPR 2018, section 3.3,
equation 4.

Equation 4 scales and moves each axis on its own, so that bilinear interpolation is a product of two matrices: a sample's row is
a weighted sum of two rows of the map, its column one of two columns. Nothing is gathered, and a mean over the crop needs the
means of these weights only (`pooled_glimpse`).
"""

from __future__ import annotations

import keras
import numpy as np
from keras import backend, ops

from keras_actrec.errors import ConfigError
from keras_actrec.layers.attention import attention_dtype


@keras.saving.register_keras_serializable(package="keras_actrec")
class GlimpseSampler(keras.layers.Layer):
    """Crops maps by equation 4 with bilinear interpolation; what lies outside of a map counts as zeros.

    The same as torch.nn.functional.affine_grid and grid_sample(mode="bilinear", padding_mode="zeros") of PyTorch 2 with the
    matrix [[scale_x, 0, x], [0, scale_y, y]]. Values of the map have to be finite also where the crop does not reach.

    The gradient reaches maps, location and scale. Where a sample falls on a cell's centre, interpolation has a kink; the
    derivative is the one of one side then, as in PyTorch (towards higher cells, but for rounding), and not zero: a crop that
    begins as the whole map can move. For none to the location, as in the published code, give `ops.stop_gradient(location)`.

    Args:
        height, width: size of the crop in cells.
        align_corners: what -1 and 1 are. False: the borders of the map, the default of PyTorch 2. True: the centres of the
            first and the last cell, which PyTorch 0.4 always computed, and with it the published code. A crop that is one cell
            high or wide is taken at its middle either way.

    Call arguments:
        maps: (B, H, W, C); H, W and C have to be known when the layer is built.
        location: (B, 4) = x, y, scale_x, scale_y. (x, y) is the middle of the crop in [-1, 1], x to the right and y down; the
            scale is the crop's share of the map: 1 takes all of it, more than 1 zeros around it, a negative scale mirrors.

    Returns:
        (B, height, width, C) in the layer's compute dtype. Places are computed in at least float32.

    Raises:
        ConfigError: a size below 1, or maps or location of unknown or wrong shape.
    """

    def __init__(
        self,
        height: int,
        width: int,
        *,
        align_corners: bool = False,
        trainable: bool = True,
        name: str | None = None,
        dtype=None,
    ):
        # No autocast: bfloat16 would round a place to 1/128 of the map.
        super().__init__(trainable=trainable, name=name, dtype=dtype, autocast=False)
        _check_size("GlimpseSampler", height, width)
        self.height = height
        self.width = width
        self.align_corners = align_corners

    def build(self, maps_shape, location_shape):
        _check_shapes("GlimpseSampler", maps_shape, location_shape)

    def call(self, maps, location):
        _, map_height, map_width, channels = maps.shape
        maps = ops.cast(maps, self.compute_dtype)
        rows, columns = _weights(
            location, (map_height, map_width), (self.height, self.width), align_corners=self.align_corners, mean=False
        )
        rows, columns = ops.cast(rows, maps.dtype), ops.cast(columns, maps.dtype)
        cropped = ops.matmul(rows, ops.reshape(maps, (-1, map_height, map_width * channels)))
        return ops.matmul(columns[:, None], ops.reshape(cropped, (-1, self.height, map_width, channels)))

    def get_config(self):
        return {**super().get_config(), "height": self.height, "width": self.width, "align_corners": self.align_corners}


def pooled_glimpse(maps, location, *, height: int, width: int, align_corners: bool = False):
    """The mean over the cells of a crop, without the crop: what `GlimpseSampler` and a mean over its two axes give.

    Args:
        maps: (B, H, W, C); H, W and C known.
        location: (B, 4), see `GlimpseSampler`.
        height, width: size of the crop in cells.
        align_corners: see `GlimpseSampler`.

    Returns:
        (B, C) in the dtype of `maps`.

    Raises:
        ConfigError: a size below 1, or maps or location of unknown or wrong shape.
    """
    _check_size("pooled_glimpse", height, width)
    _check_shapes("pooled_glimpse", maps.shape, location.shape)
    _, map_height, map_width, channels = maps.shape
    rows, columns = _weights(location, (map_height, map_width), (height, width), align_corners=align_corners, mean=True)
    shares = ops.reshape(rows[:, :, None] * columns[:, None], (-1, 1, map_height * map_width))
    shares = ops.cast(shares, backend.standardize_dtype(maps.dtype))
    # One product of matrices: an einsum of the three tensors takes up to four times as long.
    return ops.matmul(shares, ops.reshape(maps, (-1, map_height * map_width, channels)))[:, 0]


def _weights(location, cells: tuple[int, int], samples: tuple[int, int], *, align_corners: bool, mean: bool):
    """Shares of a map's rows in those of the crop, (B, height, H), and of its columns, (B, width, W).

    With `mean`, their means over the crop, (B, H) and (B, W). In at least float32.
    """
    location = ops.cast(location, attention_dtype(backend.standardize_dtype(location.dtype)))
    centre, scale = location[:, :2], location[:, 2:]
    if cells[0] == cells[1] and samples[0] == samples[1]:
        # Both axes at once: the recurrence over glimpses takes this way at each of its steps.
        both = _axis_weights(centre, scale, cells[0], samples[0], align_corners=align_corners)
        both = ops.mean(both, axis=-2) if mean else both
        return both[:, 1], both[:, 0]
    axes = [
        _axis_weights(centre[:, axis], scale[:, axis], cells[1 - axis], samples[1 - axis], align_corners=align_corners)
        for axis in (1, 0)
    ]
    return [ops.mean(weights, axis=-2) for weights in axes] if mean else axes


def _axis_weights(centre, scale, cells: int, samples: int, *, align_corners: bool):
    """Share of each cell of one axis in each sample, for centre and scale of shape (...): (..., samples, cells)."""
    if align_corners:
        grid = np.linspace(-1.0, 1.0, samples) if samples > 1 else np.zeros(1)
        radius = (cells - 1) / 2
    else:
        grid = (2 * np.arange(samples) + 1) / samples - 1
        radius = cells / 2
    grid = ops.cast(grid, centre.dtype)
    position = (centre[..., None] + scale[..., None] * grid) * radius + (cells - 1) / 2
    # From floor and fraction and not as max(0, 1 - |position - cell|): the gradient of that is 0 on a cell's centre, so that a
    # crop of the whole map would never move.
    lower = ops.floor(position)
    fraction = (position - lower)[..., None]
    offset = ops.arange(cells, dtype=centre.dtype) - lower[..., None]
    return ops.where(ops.equal(offset, 0), 1 - fraction, ops.where(ops.equal(offset, 1), fraction, 0.0))


def _check_size(caller: str, height: int, width: int) -> None:
    for side, value in (("height", height), ("width", width)):
        if value < 1:
            raise ConfigError(f"{caller}: {side} has to be positive", found=value, fix="give at least 1")


def _check_shapes(caller: str, maps_shape, location_shape) -> None:
    if len(maps_shape) != 4 or None in maps_shape[1:]:
        raise ConfigError(
            f"{caller}: height, width and channels of `maps` have to be known",
            found=tuple(maps_shape),
            expected="(batch, height, width, channels)",
            fix="give keras.Input the full shape of the maps; for frames, put time into the batch",
        )
    if len(location_shape) != 2 or location_shape[1] != 4:
        raise ConfigError(
            f"{caller}: `location` is no place and scale",
            found=tuple(location_shape),
            expected="(batch, 4): x, y, scale_x, scale_y",
        )
