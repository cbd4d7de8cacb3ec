"""Writes torch_<zip|legacy>_<version>.pt: small files of torch.save in both of its forms, with everything a reader can meet.

    python tests/reference/generate_torch_files.py zip       # PyTorch 1.6 and later
    python tests/reference/generate_torch_files.py legacy    # any PyTorch

tests/convert/test_torch_files.py reads them. Random numbers, laid out as training scripts do: weights beside other things.
"""

import os
import sys
from collections import OrderedDict

import numpy as np
import torch


def content():
    random = np.random.RandomState(0)
    base = torch.from_numpy(random.standard_normal((4, 6)).astype("float32"))
    state = OrderedDict()
    state["module.conv.weight"] = torch.nn.Parameter(torch.from_numpy(random.standard_normal((2, 3, 2)).astype("float32")))
    state["module.base"] = base
    state["module.transposed"] = base.t()  # the same values, other strides
    state["module.part"] = base[1:3, ::2]  # an offset and a gap
    state["module.half"] = base.half()
    state["module.double"] = torch.from_numpy(random.standard_normal(3))
    state["module.steps"] = torch.tensor(123456789012)
    state["module.small"] = torch.tensor([-3, 7], dtype=torch.int8)
    state["module.bytes"] = torch.tensor([0, 255], dtype=torch.uint8)
    state["module.empty"] = torch.zeros(0, 3)
    state["module.one"] = torch.ones(1).expand(3)  # strides of 0
    if hasattr(torch, "bfloat16"):
        state["module.brain"] = base.to(torch.bfloat16)
        state["module.flags"] = torch.tensor([True, False])
    state._metadata = OrderedDict([("", {"version": 1})])  # as torch.nn.Module.state_dict leaves it
    optimizer = {
        "state": {0: {"momentum_buffer": torch.zeros(2)}},
        "param_groups": [{"lr": 0.1, "params": [0], "nesterov": False}],
    }
    return {"epoch": 7, "arch": "tiny", "best": None, "state_dict": state, "optimizer": optimizer}


def main():
    form = sys.argv[1]
    version = torch.__version__.split("+")[0]
    path = os.path.join(os.path.dirname(os.path.abspath(__file__)), f"torch_{form}_{version}.pt")
    options = {} if version.startswith(("0.", "1.0")) else {"_use_new_zipfile_serialization": form == "zip"}
    torch.save(content(), path, **options)
    print(path, os.path.getsize(path), "bytes")


if __name__ == "__main__":
    main()
