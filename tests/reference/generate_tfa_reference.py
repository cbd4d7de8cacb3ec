"""Computes tfa_reference.npz: what tensorflow-addons 0.23 gave for the parts that this project now takes from Keras 3.

tensorflow-addons ended in 2024 and imports with no TensorFlow after 2.15, so its values are computed once, here, and kept:

    python3.11 -m venv tfa && tfa/bin/pip install -r tests/reference/requirements-tfa.txt
    tfa/bin/python tests/reference/generate_tfa_reference.py

tests/test_tensorflow_addons_reference.py compares. Each array of the file is an input, a hyperparameter or an output:

    optimizer/start (3, 4), optimizer/gradients (steps, 3, 4), optimizer/<hyperparameter>
    adamw/values, sgdw/values            (steps, 3, 4): the variable after each step
    metrics/labels (batches, 16), metrics/scores (batches, 16, classes)
    f1/<macro | micro | weighted | none>  F1 after all batches; class by argmax
    confusion/per_class                   (classes, 2, 2): [[TN, FP], [FN, TP]] of all batches
    sampling/image (2, 5, 7, 3), sampling/points (2, 40, 2): row and column, inside the image and up to 2 px outside
    sampling/interpolate_bilinear         (2, 40, 3): points outside take the nearest border
    sampling/resampler                    (2, 40, 3): the image is surrounded by zeros
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import tensorflow as tf
import tensorflow_addons as tfa

OUTPUT = Path(__file__).with_name("tfa_reference.npz")
SEED, STEPS, CLASSES, BATCHES = 0, 6, 4, 3


def optimizers(rng: np.random.Generator) -> dict[str, np.ndarray]:
    start = rng.standard_normal((3, 4)).astype("float32")
    gradients = rng.standard_normal((STEPS, 3, 4)).astype("float32")
    arrays = {"optimizer/start": start, "optimizer/gradients": gradients}
    hyperparameters = {
        "learning_rate": 0.05,
        "weight_decay": 0.004,
        "momentum": 0.9,
        "beta_1": 0.9,
        "beta_2": 0.99,
        "epsilon": 1e-7,
    }
    arrays |= {f"optimizer/{name}": np.float64(value) for name, value in hyperparameters.items()}
    shared = {name: hyperparameters[name] for name in ("learning_rate", "weight_decay")}
    adam = {name: hyperparameters[name] for name in ("beta_1", "beta_2", "epsilon")}
    for name, optimizer in {
        "adamw": tfa.optimizers.AdamW(**shared, **adam),
        "sgdw": tfa.optimizers.SGDW(**shared, momentum=hyperparameters["momentum"]),
    }.items():
        variable, values = tf.Variable(start), []
        for gradient in gradients:
            optimizer.apply_gradients([(tf.constant(gradient), variable)])
            values.append(variable.numpy())
        arrays[f"{name}/values"] = np.stack(values)
    return arrays


def metrics(rng: np.random.Generator) -> dict[str, np.ndarray]:
    labels = rng.integers(0, CLASSES, (BATCHES, 16)).astype("int32")
    scores = rng.random((BATCHES, 16, CLASSES)).astype("float32")
    scores[np.arange(BATCHES)[:, None], np.arange(16), labels] += 0.3  # right more often than by chance
    arrays = {"metrics/labels": labels, "metrics/scores": scores}
    for average in ("macro", "micro", "weighted", None):
        f1 = tfa.metrics.F1Score(num_classes=CLASSES, average=average)
        for y, s in zip(labels, scores, strict=True):
            f1.update_state(tf.one_hot(y, CLASSES), s)
        arrays[f"f1/{average or 'none'}"] = f1.result().numpy()
    confusion = tfa.metrics.MultiLabelConfusionMatrix(num_classes=CLASSES)
    for y, s in zip(labels, scores, strict=True):
        confusion.update_state(tf.one_hot(y, CLASSES), tf.one_hot(s.argmax(axis=-1), CLASSES))
    return arrays | {"confusion/per_class": confusion.result().numpy()}


def sampling(rng: np.random.Generator) -> dict[str, np.ndarray]:
    image = rng.standard_normal((2, 5, 7, 3)).astype("float32")
    points = (rng.random((2, 40, 2)) * [5 + 3, 7 + 3] - 2).astype("float32")
    points[:, :4] = [[0, 0], [4, 6], [2, 3], [4, 0]]  # exact pixels, corners among them
    return {
        "sampling/image": image,
        "sampling/points": points,
        "sampling/interpolate_bilinear": tfa.image.interpolate_bilinear(image, points, indexing="ij").numpy(),
        "sampling/resampler": tfa.image.resampler(image, points[..., ::-1]).numpy(),  # wants x before y
    }


def main() -> None:
    rng = np.random.default_rng(SEED)
    arrays = optimizers(rng) | metrics(rng) | sampling(rng)
    versions = {"tensorflow": tf.__version__, "tensorflow-addons": tfa.__version__, "numpy": np.__version__}
    arrays["versions"] = np.array([f"{name} {version}" for name, version in versions.items()])
    part = OUTPUT.with_suffix(".npz.part")
    with part.open("wb") as file:
        np.savez_compressed(file, **arrays)
    os.replace(part, OUTPUT)
    print(f"{OUTPUT.name}: {len(arrays)} arrays, {OUTPUT.stat().st_size} bytes")


if __name__ == "__main__":
    main()
