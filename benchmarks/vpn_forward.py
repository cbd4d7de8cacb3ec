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
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "reference"))
sys.path.insert(0, str(Path(__file__).resolve().parent))
from seeded import vpn_inputs
from support.turns import Child, Jobs, take_turns, timed

CLASSES = 60


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--published", type=Path, help="folder of the published code")
    parser.add_argument("--python", type=Path, help="Python 3.6 that runs it")
    parser.add_argument("--batch", type=int, default=2, help="clips at once (default: %(default)s)")
    parser.add_argument("--repeats", type=int, default=10, help="timed passes of each (default: %(default)s)")
    parser.add_argument("--steps", type=int, default=3, help="timed training steps of each (default: %(default)s)")
    return parser.parse_args()


def own_jobs(batch: int) -> Jobs:
    """ "forward" and "step" → a function that does one and returns its seconds."""
    # After the arguments: TensorFlow takes seconds to load, --help should not.
    import keras
    import tensorflow as tf

    from keras_actrec.backbones.i3d import i3d
    from keras_actrec.models.vpn import preset, vpn
    from keras_actrec.training.vpn_objective import vpn_objective

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

    return {
        "forward": timed(lambda: {name: value.numpy() for name, value in serve(inputs).items()}),
        "step": timed(lambda: stream.train_on_batch(inputs, targets)),
    }


def main() -> int:
    args = arguments()
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    programs, child = {"keras_actrec": own_jobs(args.batch)}, None
    if args.published:
        child = Child([args.python, Path(__file__).with_name("support") / "vpn_published.py", args.published, args.batch])
        programs["published"] = child.jobs(("forward", "step"))
    for word, repeats in (("forward", args.repeats), ("step", args.steps)):
        take_turns(programs, word, repeats, per=args.batch)
    if child is not None:
        child.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
