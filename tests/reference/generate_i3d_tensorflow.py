"""Computes i3d_tensorflow.npz: what DeepMind's own I3D gives with seeded weights, for RGB and for flow.

It needs TensorFlow 1 and Sonnet 1, hence an old Python, and a checkout of github.com/google-deepmind/kinetics-i3d:

    python3.6 -m venv i3d
    i3d/bin/pip install tensorflow==1.14.0 'protobuf<3.18' 'numpy<1.17' tensorflow-probability==0.7 contextlib2
    i3d/bin/pip install --no-deps dm-sonnet==1.36
    i3d/bin/python tests/reference/generate_i3d_tensorflow.py PATH_OF_THE_CHECKOUT [FOLDER_FOR_CHECKPOINTS]

tests/convert/test_i3d.py compares. Arrays: <rgb|flow>/<endpoint>, see `i3d_seeds.summary`; <rgb|flow>/variables, the number.
"""

import os
import sys

import i3d_seeds
import numpy as np
import sonnet
import tensorflow as tf

OUTPUT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "i3d_tensorflow.npz")
SCOPES = {"rgb": "RGB", "flow": "Flow"}


def outputs(network, inputs, folder):
    clip = i3d_seeds.clip(inputs)
    with tf.Graph().as_default(), tf.Session() as session:
        with tf.variable_scope(SCOPES[inputs]):
            _, endpoints = network(400, final_endpoint="Predictions")(tf.constant(clip), is_training=False)
        variables = tf.global_variables()
        for variable in variables:
            name = variable.op.name
            kernel = (0, 1, 2, 3) if name.endswith("conv_3d/w") else None
            variable.load(i3d_seeds.draw(name, variable.shape.as_list(), kernel), session)
        if folder:
            tf.train.Saver(variables).save(session, os.path.join(folder, inputs, "model.ckpt"), write_meta_graph=False)
        values = session.run(endpoints)
    arrays = {inputs + "/" + name: i3d_seeds.summary(name, value) for name, value in values.items()}
    arrays[inputs + "/variables"] = np.array(len(variables))
    return arrays


def main():
    sys.path.insert(0, sys.argv[1])
    import i3d

    folder = sys.argv[2] if len(sys.argv) > 2 else None
    arrays = {}
    for inputs in SCOPES:
        arrays.update(outputs(i3d.InceptionI3d, inputs, folder))
    versions = {"tensorflow": tf.__version__, "dm-sonnet": sonnet.__version__, "numpy": np.__version__}
    arrays["versions"] = np.array([f"{name} {version}" for name, version in sorted(versions.items())])
    np.savez_compressed(OUTPUT + ".part.npz", **arrays)
    os.replace(OUTPUT + ".part.npz", OUTPUT)
    print(OUTPUT, len(arrays), "arrays", os.path.getsize(OUTPUT), "bytes")


if __name__ == "__main__":
    main()
