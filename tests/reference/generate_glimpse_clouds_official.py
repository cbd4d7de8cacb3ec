"""Writes glimpse_clouds_official.json: what the published Glimpse Clouds code computes with seeded weights on seeded input.

    git clone https://github.com/fabienbaradel/glimpse_clouds
    pip install torch
    python tests/reference/generate_glimpse_clouds_official.py glimpse_clouds tests/reference/glimpse_clouds_official.json

The file holds numbers only: names and shapes of the weights, and outputs. The code of the repository is run as it is, on
PyTorch 2, except for stand-ins: ipdb, PIL and torchvision are empty, ImageNet weights are not downloaded, and the distance
matrix is given. Two versions of the outputs: with the borders of PyTorch 2 (align_corners False) and of PyTorch 0.4 (True),
with which the code was written.
"""

import argparse
import json
import sys
import types
from pathlib import Path

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).parent))
from seeded import distance_matrix, torch_weight, vpn_inputs

CLASSES, BATCH, FRAMES = 60, 2, 8
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def stand_ins():
    """Modules that the published code imports and does not need."""
    for name in ("ipdb", "PIL", "PIL.Image", "PIL.ImageDraw", "torchvision", "torchvision.datasets", "torchvision.transforms"):
        sys.modules[name] = types.ModuleType(name)
        package, _, part = name.partition(".")
        if part:
            setattr(sys.modules[package], part, sys.modules[name])


def build(code):
    """The published network with seeded weights, in evaluation mode."""
    stand_ins()
    sys.path.insert(0, str(code / "src"))
    import model.backbone.inflated_resnet as inflated

    inflated.load_pretrained_2D_weights = lambda *args, **options: None
    from model.glimpse_clouds import GlimpseClouds

    network = GlimpseClouds(nb_classes=CLASSES, options={"glimpse_clouds": True, "pose_predictions": True}).eval()
    state = network.state_dict()
    seeded = {n: torch.from_numpy(torch_weight(n, tuple(v.shape))) for n, v in state.items() if v.dtype == torch.float32}
    network.load_state_dict({**state, **seeded})
    network.inv_covariance_gpu = torch.from_numpy(distance_matrix(2048))
    network.do_pretraining_distance = False
    return network


def clip():
    """(BATCH, 3, 8, 224, 224) as the published loader makes it: RGB in [0, 1], minus ImageNet's mean, by its deviation."""
    _, frames = vpn_inputs(BATCH, frames=FRAMES)
    images = (frames + 1) / 2
    return torch.from_numpy(np.moveaxis((images - np.float32(MEAN)) / np.float32(STD), -1, 1).copy())


def outputs(network, align_corners):
    functional = torch.nn.functional
    grid, sample = functional.affine_grid, functional.grid_sample
    functional.affine_grid = lambda theta, size: grid(theta, size, align_corners=align_corners)
    functional.grid_sample = lambda x, places: sample(x, places, align_corners=align_corners)
    try:
        with torch.no_grad():
            logits, pose, glimpses = network({"clip": clip(), "skeleton": None})
            assignment = torch.stack([torch.stack(w, 1)[..., 0] for w in network.list_attention_worker], 2)
    finally:
        functional.affine_grid, functional.grid_sample = grid, sample
    values = {"logits": logits, "glimpses": glimpses, "assignment": assignment, "pose": pose}
    return {name: [[float(f"{x:.9g}") for x in row.numpy().ravel()] for row in array] for name, array in values.items()}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("code", type=Path, help="folder of the published code")
    parser.add_argument("out", type=Path, help="file to write")
    args = parser.parse_args()
    network = build(args.code)
    weights = [[name, list(value.shape)] for name, value in network.state_dict().items() if value.dtype == torch.float32]
    content = {"weights": weights, "align_corners": {str(flag).lower(): outputs(network, flag) for flag in (False, True)}}
    args.out.write_text(json.dumps(content) + "\n")


if __name__ == "__main__":
    main()
