"""Computes glimpse_sampler.npz: crops and their gradients by PyTorch's affine_grid and grid_sample, in float64.

    python3.11 -m venv env && env/bin/pip install torch==2.13.0 numpy
    env/bin/python tests/reference/generate_glimpse_sampler.py

tests/layers/test_glimpse_sampler.py compares. Per case, below "<case>/": maps (B, H, W, C), location (B, 4),
upstream (B, height, width, C) = the gradient that arrives at the crop; and for each value of align_corners, below
"<case>/<True|False>/": crop, maps_gradient, location_gradient. PyTorch warns that it takes crops of one cell at their middle
since 1.3; so does this package.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import torch
from torch.nn.functional import affine_grid, grid_sample

OUTPUT = Path(__file__).with_name("glimpse_sampler.npz")
CHANNELS = 2
# x, y, scale_x, scale_y: inside, across two borders, larger than the map, mirrored, wholly outside, without extent.
PLACES = (
    (0.13, -0.27, 0.41, 0.63),
    (-0.91, 0.83, 0.55, 0.37),
    (0.21, 0.34, 1.7, 1.3),
    (0.07, -0.12, -0.8, 0.6),
    (3.1, -2.4, 0.5, 0.5),
    (0.33, -0.44, 0.0, 0.0),
)
WHOLE_MAP = ((0.0, 0.0, 1.0, 1.0),)
# Case → (cells of the map, cells of the crop, places, values of align_corners). In the last two every sample falls on a
# cell's centre without rounding, which would choose the side of the kink.
CASES = {
    "square": ((7, 7), (7, 7), PLACES, (False, True)),
    "odd_even": ((5, 8), (4, 3), PLACES, (False, True)),
    "even_odd": ((4, 7), (5, 6), PLACES, (False, True)),
    "one_cell": ((6, 5), (1, 1), PLACES, (False, True)),
    "on_centres": ((6, 6), (2, 2), WHOLE_MAP, (False,)),
    "on_aligned_centres": ((5, 5), (5, 5), WHOLE_MAP, (True,)),
}


def reference(maps: np.ndarray, location: np.ndarray, upstream: np.ndarray, align_corners: bool) -> dict[str, np.ndarray]:
    image = torch.from_numpy(maps.transpose(0, 3, 1, 2).copy()).requires_grad_()
    place = torch.from_numpy(location).requires_grad_()
    zeros = torch.zeros_like(place[:, 0])
    x, y, scale_x, scale_y = place.unbind(dim=1)
    matrix = torch.stack([torch.stack([scale_x, zeros, x], dim=1), torch.stack([zeros, scale_y, y], dim=1)], dim=1)
    batch, height, width, channels = upstream.shape
    grid = affine_grid(matrix, [batch, channels, height, width], align_corners=align_corners)
    crop = grid_sample(image, grid, mode="bilinear", padding_mode="zeros", align_corners=align_corners)
    crop.backward(torch.from_numpy(upstream.transpose(0, 3, 1, 2).copy()))
    return {
        "crop": crop.detach().numpy().transpose(0, 2, 3, 1),
        "maps_gradient": image.grad.numpy().transpose(0, 2, 3, 1),
        "location_gradient": place.grad.numpy(),
    }


def main() -> None:
    rng = np.random.default_rng(0)
    arrays = {"versions": np.array([f"torch {torch.__version__}", f"numpy {np.__version__}"])}
    for case, (cells, samples, places, alignments) in CASES.items():
        inputs = {
            "maps": rng.standard_normal((len(places), *cells, CHANNELS)),
            "location": np.array(places),
            "upstream": rng.standard_normal((len(places), *samples, CHANNELS)),
        }
        arrays |= {f"{case}/{name}": value for name, value in inputs.items()}
        for align_corners in alignments:
            found = reference(**inputs, align_corners=align_corners)
            arrays |= {f"{case}/{align_corners}/{name}": value for name, value in found.items()}
    part = OUTPUT.with_suffix(".npz.part")
    with part.open("wb") as file:
        np.savez_compressed(file, **arrays)
    os.replace(part, OUTPUT)
    print(f"{OUTPUT.name}: {len(arrays)} arrays, {OUTPUT.stat().st_size} bytes")


if __name__ == "__main__":
    main()
