"""The room behind the people: textured walls, floor and a few things on the wall, as a given camera sees them."""

from __future__ import annotations

import cv2
import numpy as np

from keras_actrec.synthetic.cameras import Camera

ROOM = (2.6, 2.7)
"""Half the width of the square room and its height, metres. Cameras look in from outside: near walls are not drawn."""

TEXELS = 128
"""Texture pixels per metre."""


def render_background(camera: Camera, seed: int) -> np.ndarray:
    """Picture of the empty room.

    Args:
        camera: where from.
        seed: of the room's colours and patterns; the same seed is the same room from every camera.

    Returns:
        uint8 (height, width, 3), BGR.
    """
    rng = np.random.default_rng([seed, 1])
    half, ceiling = ROOM
    textures = {
        "floor": _floor_texture(int(2 * half * TEXELS), rng),
        "ceiling": np.full((int(2 * half * TEXELS),) * 2 + (3,), 205, np.uint8),
        "x": _wall_texture(int(2 * half * TEXELS), int(ceiling * TEXELS), rng),
        "z": _wall_texture(int(2 * half * TEXELS), int(ceiling * TEXELS), rng),
    }
    rays, origin = camera.rays(), camera.position.astype(np.float32)
    frame = np.zeros((camera.pixel_height, camera.width, 3), np.uint8)
    with np.errstate(divide="ignore", invalid="ignore"):
        # The far side of a box: the last plane in each direction, and of those the first.
        bounds = np.where(rays > 0, np.float32([half, ceiling, half]), np.float32([-half, 0.0, -half]))
        distances = (bounds - origin) / rays
    distances[~np.isfinite(distances)] = np.inf
    nearest = distances.argmin(axis=-1)
    points = origin + rays * distances.min(axis=-1)[..., None]
    upwards = rays[..., 1] > 0
    across = {0: points[..., 2], 1: points[..., 0], 2: points[..., 0]}
    down = {0: ceiling - points[..., 1], 1: points[..., 2] + half, 2: ceiling - points[..., 1]}
    for name, axis, chosen in (
        ("x", 0, nearest == 0),
        ("z", 2, nearest == 2),
        ("floor", 1, (nearest == 1) & ~upwards),
        ("ceiling", 1, (nearest == 1) & upwards),
    ):
        columns = (across[axis][chosen] + half) * TEXELS
        rows = down[axis][chosen] * TEXELS
        texture = textures[name]
        sampled = cv2.remap(texture, *_sheet(columns, rows), cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        frame[chosen] = sampled.reshape(-1, 3)[: int(chosen.sum())]
    return cv2.GaussianBlur(frame, (3, 3), 0)


def _sheet(columns: np.ndarray, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Two lists of coordinates as two pictures of equal size: OpenCV's remap takes no side beyond 32767."""
    width = 1024
    padding = -len(columns) % width
    return tuple(np.pad(v, (0, padding)).reshape(-1, width).astype(np.float32) for v in (columns, rows))


def _noise(height: int, width: int, cell: int, rng: np.random.Generator) -> np.ndarray:
    """Smooth noise (height, width, 1), standard deviation about 1, with blobs of about `cell` pixels."""
    coarse = rng.standard_normal((height // cell + 2, width // cell + 2)).astype(np.float32)
    return cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)[..., None]


def _grained(picture: np.ndarray, rng: np.random.Generator, strength: float) -> np.ndarray:
    height, width = picture.shape[:2]
    grain = strength * (_noise(height, width, 2, rng) + 1.3 * _noise(height, width, 40, rng))
    return np.clip(picture + grain, 0, 255).astype(np.uint8)


def _wall_texture(width: int, height: int, rng: np.random.Generator) -> np.ndarray:
    """Painted or papered wall with a skirting board, a poster and a cupboard."""
    base = np.float32(rng.uniform((120, 125, 120), (185, 180, 180)))
    picture = np.broadcast_to(base, (height, width, 3)).copy()
    period = int(rng.integers(18, 40))
    pattern = rng.integers(3)
    if pattern == 0:
        picture[:, (np.arange(width) // period) % 2 == 0] -= 14
    elif pattern == 1:
        rows, columns = np.arange(height)[:, None] // period, np.arange(width)[None] // period
        picture[(rows + columns) % 2 == 0] -= 10
    picture[int(0.96 * height) :] = base * 0.45
    for _ in range(2):
        wide, high = rng.integers(50, 110), rng.integers(60, 120)
        left, top = rng.integers(0, width - wide), rng.integers(int(0.12 * height), int(0.3 * height))
        _poster(picture[top : top + high, left : left + wide], rng)
    wide, high = int(rng.integers(70, 130)), int(rng.integers(90, 150))
    left = int(rng.integers(0, width - wide))
    cupboard = picture[height - high :, left : left + wide]
    cupboard[:] = np.float32(rng.uniform((50, 70, 90), (90, 115, 140)))
    cupboard[:3] *= 0.6
    cupboard[:, wide // 2 - 1 : wide // 2 + 1] *= 0.5
    return _grained(picture, rng, 3.5)


def _poster(area: np.ndarray, rng: np.random.Generator) -> None:
    """Draws a framed picture of random blocks into a part of a texture of its own."""
    blocks = rng.uniform(50, 200, (4, 3, 3)).astype(np.float32)
    area[:] = cv2.resize(blocks, area.shape[1::-1], interpolation=cv2.INTER_NEAREST)
    area[:3] = area[-3:] = area[:, :3] = area[:, -3:] = 40


def _floor_texture(size: int, rng: np.random.Generator) -> np.ndarray:
    """Planks or tiles."""
    base = np.float32(rng.uniform((60, 80, 95), (110, 125, 140)))
    picture = np.broadcast_to(base, (size, size, 3)).copy()
    if rng.random() < 0.5:
        planks = rng.normal(0, 12, size // 16 + 1).astype(np.float32)
        picture += planks[np.arange(size) // 16][:, None, None]
        picture[::16] *= 0.7
    else:
        tiles = rng.normal(0, 7, (size // 42 + 1,) * 2).astype(np.float32)
        index = np.arange(size) // 42
        picture += tiles[index][:, index][..., None]
        picture[::42] *= 0.75
        picture[:, ::42] *= 0.75
    return _grained(picture, rng, 4.5)
