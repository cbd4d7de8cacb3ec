"""Computes bn_inception.npz: cubes and pooled features of the published BN-Inception, on seeded weights and pictures.

The network is run from a checkout of github.com/yjxiong/tensorflow-model-zoo.torch (tf_model_zoo of tsn-pytorch), with any
PyTorch and PyYAML:

    python -m tests.reference.generate_bn_inception path/of/the/checkout

tests/convert/test_tsn_bn_inception.py draws the same weights and pictures without PyTorch and compares. For each case, NAME/:

    names, shapes                     of the state_dict but for the classifier: text, and (n, 4), filled up with zeros
    cube/shape (3,)                   K1, K2, d at the end of inception_5a
    cube/places (n, 3), /values (n,)  drawn places of the cube and what is there
    pooled (1024,)                    mean over the places of inception_5b

Two things are changed. The last pooling, over 7×7 places there, is over all of them. And where inception_3c or inception_4e
meets a side of odd length, the published network stops with an error, since its pooling is shorter there than its convolutions:
the map is given one more row or column of -∞ before the pooling, below or to the right, and so the pooling one more window.
"""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from unittest import mock

import numpy as np

from tests.reference.bn_inception_draws import CASES, draw_picture, draw_tensor

OUTPUT = Path(__file__).with_name("bn_inception.npz")
PLACES = 96
BGR_MEAN = np.array([104.0, 117.0, 123.0])  # of the Caffe release; tsn-pytorch has 128 for red
FLOW_MEAN = 128.0


def published_network(checkout: Path, channels: int):
    import torch
    import yaml

    sys.path.insert(0, str(checkout))
    bninception = importlib.import_module("bninception.pytorch_load")
    load = yaml.load
    with (
        mock.patch.object(yaml, "load", lambda file: load(file, yaml.SafeLoader)),  # today's asks for a loader
        mock.patch.object(torch.utils.model_zoo, "load_url"),  # its ImageNet weights are not wanted
        mock.patch.object(bninception.BNInception, "load_state_dict"),
    ):
        network = bninception.BNInception(model_path=str(checkout / "bninception" / "bn_inception.yaml")).eval()
    if channels != 3:  # as tsn-pytorch does
        network.conv1_7x7_s2 = torch.nn.Conv2d(channels, 64, 7, 2, 3)
    state = {name: value for name, value in network.state_dict().items() if not name.endswith("num_batches_tracked")}
    drawn = {name: torch.from_numpy(draw_tensor(name, tuple(value.shape))) for name, value in state.items()}
    network.load_state_dict(drawn, strict=False)

    class LongerPooling(torch.nn.MaxPool2d):
        def forward(self, maps):
            height, width = maps.shape[2:]
            return super().forward(torch.nn.functional.pad(maps, (0, width % 2, 0, height % 2), value=-torch.inf))

    network.inception_3c_pool = LongerPooling(3, 2, ceil_mode=True)
    network.inception_4e_pool = LongerPooling(3, 2, ceil_mode=True)
    network.global_pool = torch.nn.AdaptiveAvgPool2d(1)
    return network


def case_arrays(checkout: Path, name: str) -> dict[str, np.ndarray]:
    import torch

    network = published_network(checkout, CASES[name][0])
    maps = {}
    network.inception_5b_1x1.register_forward_hook(lambda _m, inputs, _y: maps.__setitem__("cube", inputs[0][0].clone()))
    network.global_pool.register_forward_hook(lambda _m, _i, y: maps.__setitem__("pooled", y[0].clone()))
    picture = draw_picture(name).astype(np.float64)
    picture = picture[..., ::-1] - BGR_MEAN if picture.shape[-1] == 3 else picture - FLOW_MEAN
    with torch.no_grad():
        network(torch.from_numpy(picture.astype(np.float32).transpose(2, 0, 1)[None].copy()))
    cube = maps["cube"].numpy().transpose(1, 2, 0)
    rng = np.random.default_rng(0)
    places = np.stack([rng.integers(0, size, PLACES) for size in cube.shape], axis=1)
    places[: PLACES // 4, 0] = cube.shape[0] - 1  # borders, where geometries differ
    places[PLACES // 4 : PLACES // 2, 1] = cube.shape[1] - 1
    state = {key: value for key, value in network.state_dict().items() if not key.startswith("fc")}
    state = {key: value for key, value in state.items() if not key.endswith("num_batches_tracked")}
    arrays = {
        "names": np.array(list(state)),
        "shapes": np.array([(*value.shape, *[0] * (4 - value.ndim)) for value in state.values()]),
        "cube/shape": np.array(cube.shape),
        "cube/places": places.astype(np.int16),
        "cube/values": cube[tuple(places.T)],
        "pooled": maps["pooled"].numpy().reshape(-1),
    }
    return {f"{name}/{key}": value for key, value in arrays.items()}


def main(checkout: str) -> None:
    place = Path(checkout).resolve()
    np.savez_compressed(OUTPUT, **{k: v for name in CASES for k, v in case_arrays(place, name).items()})


if __name__ == "__main__":
    main(sys.argv[1])
