"""Numbers that another program and a test both draw, so that only seeds and outputs have to be kept. Runs on Python 3.6 too."""

import zlib

import numpy as np


def weight(layer, name, shape):
    """The weight `name` ("kernel", "bias", "gamma", "beta", "moving_mean", "moving_variance") of a layer, float32.

    Sized so that activations neither fade nor grow: He's scale for kernels, near 1 for scales and variances, small for
    the rest.
    """
    rng = np.random.RandomState(zlib.crc32(f"{layer}/{name}".encode()) & 0xFFFFFFFF)
    values = rng.standard_normal(shape)
    if name in ("gamma", "moving_variance"):
        values = 1 + 0.1 * np.clip(values, -3, 3)
    elif name == "kernel":
        values = values * np.sqrt(2.0 / np.prod(shape[:-1]))
    else:
        values = 0.1 * values
    return values.astype(np.float32)


def vpn_inputs(batch=2, poses=16, joints=25, frames=16, side=224):
    """Poses (batch, poses, joints, 3) and clips (batch, frames, side, side, 3) in [-1, 1], float32.

    The clips have fine and coarse structure, so that a network tells them apart.
    """
    pose = np.random.RandomState(1).standard_normal((batch, poses, joints, 3))
    rng = np.random.RandomState(2)
    clip = 0.4 * rng.uniform(-1, 1, (batch, frames, side, side, 3))
    for cells in (2, 7):
        coarse = rng.uniform(-1, 1, (batch, frames, cells, cells, 3))
        place = np.arange(side) * cells // side
        clip += 0.3 * coarse[:, :, place][:, :, :, place]
    return pose.astype(np.float32), clip.astype(np.float32)


# Factors of single weights of Glimpse Clouds. Layers in front of a tanh or sigmoid would be saturated by the context, the first
# 1024 of their inputs; the rest is a state in [-1, 1], which has to move glimpses. Features in the hundreds would turn the
# recurrence into one that makes a difference of 1e-7 grow tenfold with every frame. Workers begin with different attention.
_FACTORS = {
    "fc_pose.weight": 0.005,
    "mlp_glimpse_location.weight": np.where(np.arange(1536) < 1024, 0.005, 1.0),
    "mlp_embedding_location.2.weight": 0.01,
    "mlp_embedding_location.2.bias": 0.01,
    "list_first_attention.0": 10.0,
    "list_first_attention.1": 10.0,
    "list_first_attention.2": 10.0,
}


def torch_weight(name, shape):
    """The entry `name` of a PyTorch state_dict, float32: as `weight`, for PyTorch's order of axes (outputs first)."""
    rng = np.random.RandomState(zlib.crc32(name.encode()) & 0xFFFFFFFF)
    values = rng.standard_normal(shape)
    if name.endswith("running_var") or (len(shape) == 1 and name.endswith("weight")):
        values = 1 + 0.1 * np.clip(values, -3, 3)
    elif len(shape) > 1:
        values = values * np.sqrt(2.0 / np.prod(shape[1:]))
    else:
        values = 0.1 * values
    return (values * _FACTORS.get(name, 1.0)).astype(np.float32)


def distance_matrix(size):
    """A symmetric positive definite matrix (size, size), float32; with it some distances are above 1e5 and most below."""
    factor = np.random.RandomState(3).standard_normal((size, size)) / size
    return (1e4 * (factor @ factor.T + np.eye(size) / size)).astype(np.float32)
