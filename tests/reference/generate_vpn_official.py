"""Writes vpn_official.json: what the published VPN code computes with seeded weights on seeded input.

    git clone https://github.com/srijandas07/VPN
    python3.6 -m venv env && env/bin/pip install -r tests/reference/requirements-vpn.txt
    env/bin/python tests/reference/generate_vpn_official.py VPN tests/reference/vpn_official.json [--weights weights.h5]

The file holds numbers only: the network's layers with the shapes of their weights, and outputs. Runs on Python 3.6. The code of
the repository is run as it is, except that I3D starts without the weights that it would download.
"""

import argparse
import json
import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parent))
from seeded import vpn_inputs, weight

CLASSES, BATCH = 60, 2
# Layer of the published network → name of its output in the file.
OUTPUTS = {
    "action_output": "scores",
    "embed_output": "embedding_distance",
    "dense_spatial": "spatial_attention",
    "dense_temporal": "temporal_attention",
    "multiply_1": "attention",
}


def build(batch):
    """The published network with 16 frames, 16 poses and 25 joints, and its graph filters (batch, 50, 25)."""
    import embedding_gcnn_attention_model as published
    import utils
    from compute_adjacency import compute_adjacency
    from i3d_inception import Inception_Inflated3d

    def start(self, weights=None):
        self.model = Inception_Inflated3d(include_top=True, weights=None)

    published.i3d_modified.__init__ = start
    adjacency = np.repeat(compute_adjacency("NTU", 5, 2)[None], batch, axis=0)
    filters = utils.preprocess_adj_tensor_with_identity(adjacency, True)
    model = published.embed_model_spatio_temporal_gcnn(64, 16, 25, 3, filters.shape[1], filters.shape[2], 2, CLASSES, 0.3, "CS")
    return model, filters


def inputs_of(pose, clip, filters):
    """Inputs in the order of the published network: each pose, all poses, graph filters, clip."""
    return [*(pose[:, step] for step in range(pose.shape[1])), pose, filters, clip]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("code", type=Path, help="folder of the published code")
    parser.add_argument("out", type=Path, help="file to write")
    parser.add_argument("--weights", type=Path, help="also save the weights as the published code does")
    args = parser.parse_args()
    sys.path.insert(0, str(args.code))
    model, filters = build(BATCH)

    layers = []
    for layer in model.layers:
        shapes = [[w.name.split("/")[-1].split(":")[0], [int(n) for n in w.shape]] for w in layer.weights]
        if shapes:
            layer.set_weights([weight(layer.name, name, shape) for name, shape in shapes])
            layers.append([layer.name, shapes])

    from keras.models import Model

    values = Model(model.inputs, [model.get_layer(name).output for name in OUTPUTS]).predict_on_batch(
        inputs_of(*vpn_inputs(BATCH), filters)
    )
    named = dict(zip(OUTPUTS.values(), values))  # noqa: B905 - Python 3.6 has no strict
    named["attention"] = named["attention"][..., 0]  # the same in every channel
    rounded = {name: [[float(f"{x:.9g}") for x in row.ravel()] for row in array] for name, array in named.items()}
    args.out.write_text(json.dumps({"layers": layers, "outputs": rounded}) + "\n")
    if args.weights:
        model.save_weights(str(args.weights))


if __name__ == "__main__":
    main()
