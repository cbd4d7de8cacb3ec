"""Heat maps of joints on the grid of a feature cube: what the attention maps of RPAN learn.

Paper: Du et al., "RPAN: An End-to-End Recurrent Pose-Attention Network for Action Recognition in Videos", ICCV 2017,
section 4.1: "we add a fixed Gaussian (std: 5) centered at the joint location. Then, we resize the ground truth heat map of each
human joint to be the same size as the attention heat map and normalize it".
"""

from __future__ import annotations

from math import isfinite
from types import ModuleType

import numpy as np

from keras_actrec.errors import ConfigError


def heat_maps(joints, *, picture_size: tuple[int, int], grid: tuple[int, int], std: float = 5.0, xp: ModuleType = np):
    """Renders a Gaussian at each joint of a batch, resized to a grid, without ever making the maps of full size.

    A Gaussian is a product of one over the rows and one over the columns, and so is resizing by area: the map is the outer
    product of two profiles, each the Gaussian at the middles of the pixels, summed over the cells of the grid. Pixels that lie
    across a border count for both cells by their share, as in OpenCV's INTER_AREA.

    Args:
        joints: (..., J, 2), x and y in [-1, 1] from border to border of the picture; NaN where absent.
        picture_size: (height, width) of the picture in pixels.
        grid: (K1, K2), at most the picture's size.
        std: standard deviation of the Gaussian in pixels of the picture.
        xp: `numpy`, or `keras.ops` inside a graph.

    Returns:
        maps: float32 (..., J, K1, K2), of sum 1; 0 for joints that are absent or outside of the picture.
        known: bool (..., J), whether the joint has a map.

    Raises:
        ConfigError: joints of another shape, sizes that are no two sides, a grid finer than the picture, a `std` not above 0.
    """
    check_heat_maps(picture_size, grid, std)
    if len(joints.shape) < 2 or joints.shape[-1] != 2:
        raise ConfigError(
            "heat maps are drawn of joints in a picture", found=f"shape {tuple(joints.shape)}", expected="(..., J, 2)"
        )
    joints = xp.array(joints, dtype="float32")
    known = xp.all(xp.abs(joints) <= 1, axis=-1)  # false for NaN
    joints = xp.where(known[..., None], joints, np.float32(0))  # NaN must not reach a gradient
    columns = _profile(joints[..., 0], picture_size[1], grid[1], std, xp)
    rows = _profile(joints[..., 1], picture_size[0], grid[0], std, xp)
    maps = rows[..., :, None] * columns[..., None, :]
    return xp.where(known[..., None, None], maps, np.float32(0)), known


def _profile(places, side: int, cells: int, std: float, xp: ModuleType):
    """Places (...) in [-1, 1] → float32 (..., cells) of sum 1, the Gaussian along one side of the picture."""
    middles = np.arange(side, dtype=np.float32) + np.float32(0.5)
    distances = (middles - (places[..., None] + 1) * np.float32(side / 2)) / np.float32(std)
    exponents = np.float32(-0.5) * xp.square(distances)
    # As in a softmax: the nearest pixel has 1, however narrow the Gaussian is.
    heights = xp.exp(exponents - xp.max(exponents, axis=-1, keepdims=True))
    return xp.matmul(heights / xp.sum(heights, axis=-1, keepdims=True), area_shares(side, cells))


def area_shares(side: int, cells: int) -> np.ndarray:
    """How `side` pixels in a row belong to `cells` cells of the same length together.

    Returns:
        float32 (side, cells), the share of each pixel that lies in each cell, rows of sum 1.
    """
    pixels = np.arange(side)[:, None]
    borders = np.arange(cells + 1) * side / cells
    shares = np.minimum(pixels + 1, borders[1:]) - np.maximum(pixels, borders[:-1])
    return np.maximum(shares, 0).astype(np.float32)


def check_heat_maps(picture_size: tuple[int, int], grid: tuple[int, int] | None, std: float) -> None:
    """Raises ConfigError for sizes or a standard deviation that heat maps cannot have; `grid` may be unknown yet."""
    for name, size in (("picture", picture_size), ("grid", grid)):
        if size is not None and (len(size) != 2 or not all(isinstance(side, int) and side > 0 for side in size)):
            raise ConfigError(f"the {name} of heat maps has no such size", found=size, expected="(height, width)")
    if grid is not None and any(cells > side for cells, side in zip(grid, picture_size, strict=True)):
        raise ConfigError("the grid of heat maps is finer than the picture", found=grid, expected=f"at most {picture_size}")
    if not (isfinite(std) and std > 0):
        raise ConfigError("the standard deviation of heat maps is out of range", found=std, expected="above 0 pixels")
