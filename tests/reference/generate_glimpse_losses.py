"""Writes glimpse_losses.npz: what the loss functions of the published Glimpse Clouds code compute on seeded input.

    git clone https://github.com/fabienbaradel/glimpse_clouds
    python tests/reference/generate_glimpse_losses.py glimpse_clouds/src tests/reference/glimpse_losses.npz

The file holds numbers only: joints, predictions, and for each row the losses and their gradients. Needs torch and NumPy. The
functions are run as they are, with an empty module in place of the debugger that they import. They read a second person whose
coordinates are all -1 as absent; the joints are stored so.
"""

import argparse
import sys
import types
from pathlib import Path

import numpy as np
import torch

ROWS, FRAMES, GLIMPSES = 4, 3, 3
# (row, frame) without a second person: none of row 0, one of row 1, all of row 2.
ALONE = ((1, 1), (2, 0), (2, 1), (2, 2))


def inputs():
    """joints (B, T, 2, 25, 2), pose and glimpses as predictions, float32."""
    rng = np.random.default_rng(7)
    joints = rng.uniform(-1, 1, (ROWS, FRAMES, 2, 25, 2))
    pose = np.tanh(rng.normal(size=joints.shape))
    # The first prediction is a little nearer to the first person and much nearer to the second: two ways to assign them.
    joints[3, :, 1] = joints[3, :, 0] + 0.8
    pose[3, :, 0] = joints[3, :, 0] + 0.3
    pose[3, :, 1] = joints[3, :, 0] - 0.4
    for row, frame in ALONE:
        joints[row, frame, 1] = -1
    places = rng.uniform(-1.2, 1.2, (ROWS, FRAMES, GLIMPSES, 2))
    glimpses = np.concatenate([places, rng.uniform(0, 1, places.shape)], axis=-1)
    return tuple(array.astype(np.float32) for array in (joints, pose, glimpses))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("code", type=Path, help="folder src of the published code")
    parser.add_argument("out", type=Path, help="file to write")
    args = parser.parse_args()
    sys.modules["ipdb"] = types.ModuleType("ipdb")
    sys.path.insert(0, str(args.code))
    from utils import loss as published

    joints, pose, glimpses = inputs()
    terms = {
        "pose_loss": (pose, published.pose_l2_loss),
        "regulariser": (glimpses, published.loss_regularizer_glimpses),
        "attraction": (glimpses, lambda *pair: published.loss_regularizer_glimpses(*pair, alpha_encourage_diversity=0.0)),
        "diversity": (glimpses, lambda *pair: published.loss_regularizer_glimpses(*pair, alpha_attraction_humans=0.0)),
    }
    results = {"joints": joints, "pose": pose, "glimpses": glimpses}
    for name, (predictions, function) in terms.items():
        values, gradients = [], []
        for row in range(ROWS):  # one by one: the functions take the mean of a batch
            prediction = torch.tensor(predictions[row : row + 1], requires_grad=True)
            value = function(torch.tensor(joints[row : row + 1]), prediction)
            value.backward()
            values.append(value.item())
            gradients.append(prediction.grad[0].numpy())
        results[name], results[f"{name}_gradient"] = np.float32(values), np.stack(gradients)
    np.savez_compressed(args.out, versions=[f"torch {torch.__version__}", f"numpy {np.__version__}"], **results)


if __name__ == "__main__":
    main()
