"""Seeded weights and pictures that the published BN-Inception and this package's are compared on; NumPy alone."""

import numpy as np

from tests.reference.seeded import torch_weight

# Name → channels, height, width, seed of the picture. The sizes beside 224×224 are those of RPAN; 270 rows are an odd number
# where the network halves them.
CASES = {
    "rgb": (3, 224, 224, 1),
    "flow": (10, 240, 320, 2),
    "odd": (3, 270, 480, 3),
}
FIRST_VARIANCE = 1e4
"""The first convolution sees values up to 150; divided by this the biases behind it count."""


def draw_tensor(name: str, shape: tuple[int, ...]) -> np.ndarray:
    """float32 values of one tensor of the state_dict; they depend on its name and shape alone."""
    values = torch_weight(name, shape)
    return values * np.float32(FIRST_VARIANCE) if name == "conv1_7x7_s2_bn.running_var" else values


def draw_picture(case: str) -> np.ndarray:
    """uint8 (height, width, channels) with fine and coarse structure: R, G, B or planes of flow."""
    channels, height, width, seed = CASES[case]
    rng = np.random.default_rng(seed)
    picture = 60.0 * rng.uniform(-1, 1, (height, width, channels))
    for cells in (2, 7):
        coarse = rng.uniform(-1, 1, (cells, cells, channels))
        picture += 50.0 * coarse[np.arange(height)[:, None] * cells // height, np.arange(width) * cells // width]
    return np.clip(picture + rng.uniform(80, 176, channels), 0, 255).astype(np.uint8)
