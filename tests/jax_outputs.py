"""Loads each NAME.keras of a folder on the JAX backend, calls it on NAME.inputs.npz and writes NAME.outputs.npz.

Run by `tests.harness.outputs_on_jax` in a process of its own with KERAS_BACKEND=jax, since Keras has one backend a process.
"""

from __future__ import annotations

import sys
from pathlib import Path

import keras
import numpy as np

# Importing the models registers the layers of this package with Keras.
import keras_actrec.backbones.bn_inception
import keras_actrec.backbones.folded_resnet
import keras_actrec.backbones.frame_networks
import keras_actrec.backbones.inflated_resnet
import keras_actrec.backbones.resnext3d
import keras_actrec.layers.glimpse_sampler
import keras_actrec.layers.soft_assignment
import keras_actrec.models.glimpse_clouds
import keras_actrec.models.rpan
import keras_actrec.models.sta_hands
import keras_actrec.models.vpn  # noqa: F401


def main(folder: Path) -> None:
    if keras.backend.backend() != "jax":
        raise SystemExit(f"the backend is {keras.backend.backend()}: start this with KERAS_BACKEND=jax")
    for path in sorted(folder.glob("*.keras")):
        model = keras.saving.load_model(path)
        with np.load(folder / f"{path.stem}.inputs.npz") as inputs:
            outputs = model({name: inputs[name] for name in inputs.files})
        arrays = {name: keras.ops.convert_to_numpy(keras.ops.cast(value, "float32")) for name, value in outputs.items()}
        np.savez(folder / f"{path.stem}.outputs.npz", **arrays)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
