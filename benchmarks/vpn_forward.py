"""Times VPN on a CPU: forward pass and training step, beside the published code where it is at hand.

    python benchmarks/vpn_forward.py                                                     # this project alone
    python benchmarks/vpn_forward.py --published VPN --python env/bin/python             # beside the published code

VPN is a checkout of github.com/srijandas07/VPN, env an environment of tests/reference/requirements-vpn.txt. Both networks are
`vpn_official` with an I3D of 16 frames of 224 pixels, float32. They take turns, so that what else the machine does meets both;
what counts is the ratio of the fastest passes. A forward pass here is the compiled function that an export serves.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import keras
import numpy as np
import tensorflow as tf

from keras_actrec.backbones.i3d import i3d
from keras_actrec.models.vpn import preset, vpn
from keras_actrec.training.vpn_objective import vpn_objective

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "reference"))
from seeded import vpn_inputs

CLASSES = 60


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--published", type=Path, help="folder of the published code")
    parser.add_argument("--python", type=Path, help="Python 3.6 that runs it")
    parser.add_argument("--batch", type=int, default=2, help="clips at once (default: %(default)s)")
    parser.add_argument("--repeats", type=int, default=10, help="timed passes of each (default: %(default)s)")
    parser.add_argument("--steps", type=int, default=3, help="timed training steps of each (default: %(default)s)")
    return parser.parse_args()


def own_jobs(batch: int) -> dict[str, Callable[[], float]]:
    """ "forward" and "step" → a function that does one and returns its seconds."""
    config = preset("vpn_official", CLASSES)
    model = vpn(config, i3d(frames=16))
    pose, clip = (tf.constant(array) for array in vpn_inputs(batch))
    inputs = {"clip": clip, "pose": pose}
    serve = tf.function(lambda arrays: model(arrays, training=False))
    objective = vpn_objective(config)
    stream = objective.select(model)
    cross_entropy = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    stream.compile(
        optimizer=keras.optimizers.SGD(0.01, momentum=0.9),
        loss={"logits": cross_entropy, **objective.losses}, loss_weights=dict(objective.weights),
    )  # fmt: skip
    targets = objective.batch_targets(tf.range(batch), {})

    def timed(job: Callable[[], object]) -> Callable[[], float]:
        def run() -> float:
            start = time.perf_counter()
            job()
            return time.perf_counter() - start

        return run

    return {
        "forward": timed(lambda: {name: value.numpy() for name, value in serve(inputs).items()}),
        "step": timed(lambda: stream.train_on_batch(inputs, targets)),
    }


def published_jobs(child: subprocess.Popen) -> dict[str, Callable[[], float]]:
    def ask(word: str) -> float:
        child.stdin.write(f"{word}\n")
        child.stdin.flush()
        return float(child.stdout.readline())

    return {word: lambda word=word: ask(word) for word in ("forward", "step")}


def main() -> int:
    args = arguments()
    jobs = {"keras_actrec": own_jobs(args.batch)}
    child = None
    if args.published:
        script = Path(__file__).with_name("vpn_published.py")
        # TensorFlow 2 tells its children by a variable to be TensorFlow 2.
        environment = {name: value for name, value in os.environ.items() if not name.startswith(("TF2_", "KERAS"))}
        child = subprocess.Popen(
            [str(args.python), str(script), str(args.published), str(args.batch)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment,
        )  # fmt: skip
        jobs["published"] = published_jobs(child)
    for word, repeats in (("forward", args.repeats), ("step", args.steps)):
        for part in jobs.values():  # graphs are built by the first call
            part[word]()
        seconds = {name: [] for name in jobs}
        for _ in range(repeats):
            for name, part in jobs.items():
                seconds[name].append(part[word]() / args.batch)
        for name, values in seconds.items():
            print(f"{word:>8} {name:>13}: {min(values):.3f} s per clip at best, median {statistics.median(values):.3f}")
        if child:
            ratios = np.array(seconds["published"]) / np.array(seconds["keras_actrec"])
            best = min(seconds["published"]) / min(seconds["keras_actrec"])
            print(f"{word:>8}: {best:.2f} times the published code's rate (pairs: median {np.median(ratios):.2f})")
    if child:
        child.stdin.close()
        child.wait()
    return 0


if __name__ == "__main__":
    sys.exit(main())
