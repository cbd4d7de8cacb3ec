"""Computes resnext3d_reference.npz: maps and logits of the published 3D ResNeXt, on seeded weights and a seeded clip.

The network is run from a checkout of github.com/kenshohara/3D-ResNets-PyTorch, branch CVPR2018, with any PyTorch:

    python -m tests.reference.generate_resnext3d_reference path/of/the/checkout

tests/convert/test_resnext3d.py draws the same weights and clips without PyTorch and compares. For each case, NAME/:

    blocks (4,), clip (4,)              of the network; frames, height, width, seed of the clip
    names, shapes                       of the state_dict: text, and (n, 5), filled up with zeros
    layer1 … layer4/shape (4,)          t, h, w, c
    layer1 … layer4/places (n, 4), /values (n,)    drawn places of the map and what is there
    logits (classes,)
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

from tests.reference.resnext3d_draws import CASES, CLASSES, MEAN, draw_clip, draw_tensor

OUTPUT = Path(__file__).with_name("resnext3d_reference.npz")
PLACES = 24


def case_arrays(resnext, name: str) -> dict[str, np.ndarray]:
    import torch

    blocks, clip_shape = CASES[name]
    model = resnext.ResNeXt(
        resnext.ResNeXtBottleneck, list(blocks), sample_size=clip_shape[1], sample_duration=clip_shape[0], num_classes=CLASSES
    ).eval()
    state = {key: value for key, value in model.state_dict().items() if not key.endswith("num_batches_tracked")}
    drawn = {key: torch.from_numpy(draw_tensor(key, tuple(value.shape))) for key, value in state.items()}
    model.load_state_dict(drawn, strict=False)

    maps = {}
    for stage in ("layer1", "layer2", "layer3", "layer4"):
        getattr(model, stage).register_forward_hook(lambda _m, _i, y, stage=stage: maps.__setitem__(stage, y[0].clone()))
    # The published loader's values: 0..255 minus the mean, channels first.
    clip = (draw_clip(clip_shape).astype(np.float64) + 1.0) * 127.5 - MEAN
    with torch.no_grad():
        logits = model(torch.from_numpy(clip.astype(np.float32).transpose(3, 0, 1, 2)[None]))[0].numpy()

    arrays = {
        "blocks": np.array(blocks),
        "clip": np.array(clip_shape),
        "names": np.array(list(state)),
        "shapes": np.array([(*value.shape, *[0] * (5 - value.ndim)) for value in state.values()]),
        "logits": logits,
    }
    rng = np.random.default_rng(0)
    for stage, value in maps.items():
        value = value.numpy().transpose(1, 2, 3, 0)
        places = np.stack([rng.integers(0, size, PLACES) for size in value.shape], axis=1)
        arrays |= {f"{stage}/shape": np.array(value.shape), f"{stage}/places": places.astype(np.int16)}
        arrays[f"{stage}/values"] = value[tuple(places.T)]
    return {f"{name}/{key}": value for key, value in arrays.items()}


def main(checkout: str) -> None:
    sys.path.insert(0, checkout)
    from models import resnext

    np.savez_compressed(OUTPUT, **{k: v for name in CASES for k, v in case_arrays(resnext, name).items()})


if __name__ == "__main__":
    main(sys.argv[1])
