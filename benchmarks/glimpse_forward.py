"""Times the forward pass of Glimpse Clouds on a CPU, beside the published code where it is at hand.

    python benchmarks/glimpse_forward.py                                                 # this project alone
    python benchmarks/glimpse_forward.py --published glimpse_clouds --python env/bin/python

`glimpse_clouds` is a checkout of github.com/fabienbaradel/glimpse_clouds, `env` an environment with PyTorch 2. Both networks
are `glimpse_clouds_official` on 2 clips of 8 frames of 224 pixels, float32. "keras_actrec" is the network as it is trained;
"… folded" has the backbone as exports and map extraction run it, which gives the same maps. "head" is all but the backbone:
glimpses, memory, workers. They take turns, so that what else the machine does meets all of them; what counts is the ratio of
the fastest passes.
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

CLASSES, BATCH, FRAMES = 60, 2, 8


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--published", type=Path, help="folder of the published code")
    parser.add_argument("--python", type=Path, help="Python with PyTorch that runs it")
    parser.add_argument("--repeats", type=int, default=10, help="timed passes of each (default: %(default)s)")
    return parser.parse_args()


def own_jobs() -> dict[str, Jobs]:
    """Jobs "forward", "backbone" and "head" of the network as it is trained and as it is exported."""
    # After the arguments: TensorFlow takes seconds to load, --help should not.
    import keras
    import tensorflow as tf

    from keras_actrec.backbones.folded_resnet import folded_for_inference
    from keras_actrec.backbones.inflated_resnet import inflated_resnet50
    from keras_actrec.models.glimpse_clouds import glimpse_clouds, preset

    config = preset("glimpse_clouds_official", CLASSES)
    backbone = inflated_resnet50(structure="torchvision")
    clip = tf.constant(vpn_inputs(BATCH, frames=FRAMES)[1])
    head = glimpse_clouds(config)
    maps = {name: tf.random.stateless_uniform((BATCH, *tensor.shape[1:]), seed=(0, 0)) for name, tensor in head.input.items()}

    def compiled(model: keras.Model, inputs):
        function = tf.function(lambda arrays: model(arrays, training=False))
        return timed(lambda: tf.nest.map_structure(lambda value: value.numpy(), function(inputs)))

    programs = {}
    for name, network in (("keras_actrec folded", folded_for_inference(backbone)), ("keras_actrec", backbone)):
        programs[name] = {
            "forward": compiled(glimpse_clouds(config, network), {"clip": clip}),
            "backbone": compiled(network, clip),
            "head": compiled(head, maps),
        }
    return programs


def main() -> int:
    args = arguments()
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    programs, child = own_jobs(), None
    if args.published:
        child = Child([args.python, Path(__file__).with_name("support") / "glimpse_published.py", args.published])
    for word in ("forward", "backbone"):
        others = {} if child is None else {"published": child.jobs((word,))}
        take_turns({**programs, **others}, word, args.repeats, per=BATCH)
    take_turns({"keras_actrec": programs["keras_actrec"]}, "head", args.repeats, per=BATCH)
    if child is not None:
        child.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
