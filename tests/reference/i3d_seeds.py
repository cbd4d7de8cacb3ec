"""Weights and clips for I3D that follow from names alone: what both sides of the comparison draw, NumPy only.

Shared by generate_i3d_tensorflow.py and generate_i3d_pytorch.py, which run under old versions of Python, and by the tests.
"""

import zlib

import numpy as np

FRAMES, IMAGE_SIZE = 16, 224
PLACES = 64  # values of a map that are compared one by one


def generator(name):
    """RandomState gives the same numbers in every version of NumPy."""
    return np.random.RandomState(zlib.crc32(name.encode()))


def draw(name, shape, kernel_axes):
    """Values for one variable: He-normal kernels, batch statistics around 0 and 1, so that activations keep their size.

    Args:
        name: of the variable, without what frameworks put behind it.
        shape: of the variable.
        kernel_axes: axes of a kernel that one output sums over; None for everything else.
    """
    random = generator(name)
    if kernel_axes is not None:
        deviation = np.sqrt(2.0 / np.prod([shape[axis] for axis in kernel_axes]))
        return (random.standard_normal(shape) * deviation).astype("float32")
    if name.endswith(("variance", "running_var", "bn.weight")):
        return random.uniform(0.5, 1.5, shape).astype("float32")
    return (0.1 * random.standard_normal(shape)).astype("float32")


def clip(inputs):
    """A clip (1, F, S, S, channels) in [-1, 1]."""
    channels = {"rgb": 3, "flow": 2}[inputs]
    return generator("clip/" + inputs).uniform(-1.0, 1.0, (1, FRAMES, IMAGE_SIZE, IMAGE_SIZE, channels)).astype("float32")


def summary(endpoint, values):
    """What is kept of an endpoint's values: all of (1, classes); of a map (1, t, h, w, c) mean, deviation, largest and some."""
    values = np.asarray(values, "float64")
    if values.ndim == 2:
        return values[0]
    places = generator("places/" + endpoint).randint(0, values.size, PLACES)
    return np.concatenate([[values.mean(), values.std(), np.abs(values).max()], values.reshape(-1)[places]])
