"""The exported two-stream network against the Keras model that it was made of: the same answers, and the time they take."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import keras
import numpy as np
import tensorflow as tf

from keras_actrec.export import export_saved_model
from keras_actrec.models.sta_hands import preset, sta_hands
from keras_actrec.skeletons.layout import KINECT_V2
from keras_actrec.skeletons.pose_tensor import PoseTensorConfig, clip_pose_tensor
from keras_actrec.skeletons.sampling import SamplingConfig, test_subsequences
from suite.compiled import forward
from suite.figures import Figure, Must, Settings, in_turns, median_figure, ratio_figure
from suite.prediction import CLASSES, example

FRAMES = 100
SAME = Must("<=", 1e-4)
"""Float32 sums of thousands of products, in whatever order; logits are about 1 here."""


def measure(settings: Settings) -> list[Figure]:
    """Signature `serve` on 1 and 10 rows against a compiled function of the Keras model, on inputs that are tensors already;
    and `classify_clip` on a clip of 100 frames against the package's own pose tensors, sub-sequences and average in NumPy
    around that function. Differences are the largest of any output."""
    keras.utils.set_random_seed(0)
    model = sta_hands(preset("sta_hands_paper", CLASSES))
    tensor, sampling = PoseTensorConfig(), SamplingConfig(seed=0)
    folder = export_saved_model(
        model, settings.folder / "export", class_names=[str(i) for i in range(CLASSES)], layout=KINECT_V2, tensor=tensor,
        sampling=sampling, sensor={}, crop_size=50, cleaning={},
    )  # fmt: skip
    loaded = tf.saved_model.load(str(folder))  # whose signatures end with it
    figures = []
    for text, rows in (("1 row", 1), ("10 rows", 10)):
        inputs = example(model, rows, people=1)
        served, own = _served(loaded.signatures["serve"], inputs), forward(model, inputs)
        figures += _compared(f"serve, {text}", served, own, repetitions=(5 if settings.quick else 30) if rows == 1 else 5)

    draw = np.random.default_rng(0)
    joints = draw.normal((0, 0, 3), 0.5, (FRAMES, 2, len(KINECT_V2), 3)).astype(np.float32)
    hands = np.abs(draw.standard_normal((FRAMES, *model.input["hands"].shape[2:]))).astype(np.float32)
    rows_of = tf.function(lambda rows: model(rows, training=False), autograph=False)

    def own_clip() -> dict[str, np.ndarray]:
        frames = test_subsequences(FRAMES, sampling)
        rows = {"pose": clip_pose_tensor(joints, KINECT_V2, tensor)[frames].astype(np.float32), "hands": hands[frames]}
        outputs = rows_of({name: tf.constant(array) for name, array in rows.items()})
        return {"logits": outputs["logits"].numpy().mean(axis=0), "frames": frames}

    served = _served(loaded.signatures["classify_clip"], {"joints": joints, "hands": hands})
    return figures + _compared("classify_clip", served, own_clip, repetitions=3 if settings.quick else 10)


def _served(signature: Callable, inputs: Mapping[str, np.ndarray]) -> Callable[[], dict[str, np.ndarray]]:
    tensors = {name: tf.constant(array) for name, array in inputs.items()}
    return lambda: {name: value.numpy() for name, value in signature(**tensors).items()}


def _compared(name: str, served: Callable, own: Callable, *, repetitions: int) -> list[Figure]:
    """The largest difference between outputs of one name, the time of the first, and its ratio to that of the second."""
    found, expected = served(), own()
    difference = max(float(np.abs(found[key] - value).max()) for key, value in expected.items())
    seconds = in_turns({"served": served, "own": own}, repetitions, warm_up=2)
    return [
        Figure(f"saved_model: {name}, difference from Keras", difference, "absolute", SAME),
        median_figure(f"saved_model: {name}", [each * 1e3 for each in seconds["served"]], "ms"),
        ratio_figure(f"saved_model: {name}, time / Keras", seconds["served"], seconds["own"]),
    ]
