"""Computes inflated_resnet.npz: maps of the published Glimpse Clouds backbone with seeded weights on seeded clips.

    git clone https://github.com/fabienbaradel/glimpse_clouds
    pip install torch
    python tests/reference/generate_inflated_resnet.py glimpse_clouds

The file holds numbers only. The published code is run as it is, on PyTorch 2, except for stand-ins: ipdb is empty, and ImageNet
weights are not downloaded. For each case of CASES, "NAME/…":

    names, shapes               of the state_dict: text, and (n, 5), filled up with zeros
    map, pose_map/shape         (T, h, w, c)
    map, pose_map/places        (n, 4): drawn places of the map
    map, pose_map/values        (n,): what is there
"""

import sys
import types
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parent))
from seeded import torch_weight

OUTPUT = Path(__file__).with_name("inflated_resnet.npz")
# Name → blocks of layer1 to layer4, frames, side. Odd sides show at which end zeros are padded.
CASES = {"whole": ((3, 4, 6, 3), 8, 64), "odd": ((1, 2, 1, 2), 5, 77)}
PLACES = 40
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def clip_of(frames, side):
    """(1, frames, side, side, 3) in [-1, 1], float32."""
    rng = np.random.RandomState(side)
    cells = rng.uniform(-1, 1, (frames, 4, 4, 3))
    place = np.arange(side) * 4 // side
    noise = rng.uniform(-1, 1, (frames, side, side, 3))
    return (0.5 * cells[:, place][:, :, place] + 0.5 * noise)[None].astype(np.float32)


def case_arrays(blocks, frames, side):
    import torch
    from model.backbone.resnet.bottleneck import Bottleneck3D
    from model.backbone.resnet.resnet import ResNet

    network = ResNet([Bottleneck3D] * 4, list(blocks)).eval()
    state = {f"cnn.{name}": v for name, v in network.state_dict().items() if not name.endswith("num_batches_tracked")}
    seeded = {name[4:]: torch.from_numpy(torch_weight(name, tuple(v.shape))) for name, v in state.items()}
    network.load_state_dict(seeded, strict=False)
    # The published loader's values: RGB in [0, 1], minus the mean, by the deviation; channels first.
    images = ((clip_of(frames, side) + 1) / 2 - np.float32(MEAN)) / np.float32(STD)
    with torch.no_grad():
        maps = network.get_feature_maps(torch.from_numpy(np.moveaxis(images, -1, 1).copy()))
    arrays = {
        "names": np.array(list(state)),
        "shapes": np.array([(*v.shape, *[0] * (5 - v.ndim)) for v in state.values()], np.int16),
    }
    rng = np.random.RandomState(0)
    for name, value in zip(("map", "pose_map"), maps, strict=True):
        value = np.moveaxis(value[0].numpy(), 0, -1)
        places = np.stack([rng.randint(0, size, PLACES) for size in value.shape], axis=1)
        arrays.update({f"{name}/shape": np.array(value.shape), f"{name}/places": places.astype(np.int16)})
        arrays[f"{name}/values"] = value[tuple(places.T)]
    return arrays


def main(checkout):
    sys.modules["ipdb"] = types.ModuleType("ipdb")
    sys.path.insert(0, str(Path(checkout) / "src"))
    arrays = {f"{case}/{name}": value for case, options in CASES.items() for name, value in case_arrays(*options).items()}
    np.savez_compressed(OUTPUT, **arrays)


if __name__ == "__main__":
    main(sys.argv[1])
