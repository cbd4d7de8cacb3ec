"""Computes i3d_pytorch.npz: what the PyTorch port of I3D gives with seeded weights, for RGB and for flow.

It needs PyTorch and a checkout of github.com/piergiaj/pytorch-i3d:

    python tests/reference/generate_i3d_pytorch.py PATH_OF_THE_CHECKOUT [FOLDER_FOR_STATE_DICTS]

tests/convert/test_i3d.py compares. Arrays: <rgb|flow>/<endpoint>, see `i3d_seeds.summary`, maps with channels last; "Logits"
are averaged over time; <rgb|flow>/tensors, the number without counters of batches.
"""

import os
import sys

import i3d_seeds
import numpy as np
import torch

OUTPUT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "i3d_pytorch.npz")
COUNTER = "num_batches_tracked"


def outputs(network, inputs, folder):
    clip = i3d_seeds.clip(inputs)
    model = network(400, in_channels=clip.shape[-1]).eval()
    state = model.state_dict()
    names = [name for name in state if not name.endswith(COUNTER)]
    for name in names:
        kernel = (1, 2, 3, 4) if name.endswith("conv3d.weight") else None
        state[name].copy_(torch.from_numpy(i3d_seeds.draw(inputs + "/" + name, tuple(state[name].shape), kernel)))
    if folder:
        for zipped in (True, False):
            path = os.path.join(folder, f"{inputs}_{'zip' if zipped else 'legacy'}.pt")
            torch.save(state, path, _use_new_zipfile_serialization=zipped)
    x = torch.from_numpy(np.ascontiguousarray(clip.transpose(0, 4, 1, 2, 3)))
    arrays = {inputs + "/tensors": np.array(len(names))}
    with torch.no_grad():
        arrays[inputs + "/Logits"] = i3d_seeds.summary("Logits", model(x).mean(dim=2).numpy())
        for endpoint in model.VALID_ENDPOINTS[:-2]:
            x = getattr(model, endpoint)(x)
            arrays[inputs + "/" + endpoint] = i3d_seeds.summary(endpoint, x.numpy().transpose(0, 2, 3, 4, 1))
    return arrays


def main():
    sys.path.insert(0, sys.argv[1])
    import pytorch_i3d

    folder = sys.argv[2] if len(sys.argv) > 2 else None
    arrays = {}
    for inputs in ("rgb", "flow"):
        arrays.update(outputs(pytorch_i3d.InceptionI3d, inputs, folder))
    arrays["versions"] = np.array(["numpy " + np.__version__, "torch " + torch.__version__])
    np.savez_compressed(OUTPUT + ".part.npz", **arrays)
    os.replace(OUTPUT + ".part.npz", OUTPUT)
    print(OUTPUT, len(arrays), "arrays", os.path.getsize(OUTPUT), "bytes")


if __name__ == "__main__":
    main()
