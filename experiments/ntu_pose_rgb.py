"""Trains and tests the two-stream pose + RGB network on NTU RGB+D, and exports it.

    python experiments/ntu_pose_rgb.py                             # a small synthetic data set in NTU's formats, a few minutes
    python experiments/ntu_pose_rgb.py --data-root /data/ntu       # the real one: *.skeleton and *_rgb.avi below that folder

Everything is cached, so that the same command goes on where it was stopped; with --resume the training does too.
"""

from __future__ import annotations

import argparse
import logging
import sys
from pathlib import Path

from keras_actrec.scripts import STRATEGIES, STRATEGY_HELP, exit_status, given


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--data-root", type=Path, help="folder of NTU RGB+D (default: a synthetic data set is made)")
    add("--workdir", type=Path, default=Path("runs/ntu_pose_rgb"), help="results (default: %(default)s)")
    add("--cache-dir", type=Path, help="pose and feature caches (default: WORKDIR/cache)")
    add("--protocol", choices=("cross_subject", "cross_view"), default="cross_subject", help="default: %(default)s")
    add("--preset", default="sta_hands_paper", help="variant of the model: sta_hands_paper, table5_…, table6_a … table6_k")
    add("--joint-order", choices=("topological", "no_repeats", "random"), help="columns of the pose tensors (Table 4)")
    add("--seed", type=int, default=0, help="initial weights, hold-out, order and draws (default: %(default)s)")
    add("--resume", action="store_true", help="go on with a training that was stopped")
    add("--retry-left-out", action="store_true", help="try clips again that were left out, once their files are mended")

    sensor = parser.add_argument_group("hand features").add_argument
    sensor("--sensor", choices=("inception_v3", "resnet50"), help="image network (default: inception_v3)")
    sensor("--sensor-weights", help="imagenet, random, or a weights file (default: imagenet)")
    sensor("--image-size", type=int, help="side of the resized crops (default: 299; 91 for the synthetic data)")
    sensor("--dtype", choices=("float32", "bfloat16"), help="computation of the image network (default: float32)")
    sensor("--crop-size", type=int, help="side in pixels of the square around each hand (default: 50)")
    sensor("--workers", type=int, help="processes of the extraction (default: 1)")

    train = parser.add_argument_group(
        "training (defaults: the paper's; larger steps and fewer for the synthetic data)"
    ).add_argument
    train("--epochs", type=int, nargs=2, metavar=("POSE", "RGB"), help="most epochs of the two stages")
    train("--batch-size", type=int, help="clips per step over all devices")
    train("--learning-rate", type=float, nargs=2, metavar=("POSE", "RGB"), help="of Adam, in the two stages")
    train("--patience", type=int, help="epochs without improvement on the held-out clips before a stage stops")
    train("--holdout", type=float, help="share of the training clips held out for early stopping")
    train("--strategy", choices=STRATEGIES, default="mirrored", help=f"{STRATEGY_HELP} (default: %(default)s)")
    return parser.parse_args()


def experiment_from(args: argparse.Namespace):
    """Arguments over the defaults of the paper, or of the synthetic data set."""
    from keras_actrec.recipes.seeds import with_seed
    from keras_actrec.recipes.sta_hands.two_stream import TwoStreamExperiment, embedded_default

    paper = TwoStreamExperiment(args.workdir, data_root=args.data_root)
    base = embedded_default(args.workdir) if args.data_root is None else paper

    stages = {}
    for index, name in enumerate(("pose_stage", "rgb_stage")):
        stages[name] = given(
            getattr(base, name),
            epochs=args.epochs and args.epochs[index],
            learning_rate=args.learning_rate and args.learning_rate[index],
            batch_size=args.batch_size,
            patience=args.patience,
        )
    sensor = given(base.sensor, name=args.sensor, weights=args.sensor_weights, image_size=args.image_size, dtype=args.dtype)
    experiment = given(
        base,
        protocol=args.protocol,
        preset=args.preset,
        resume=args.resume,
        retry_left_out=args.retry_left_out,
        strategy=args.strategy,
        cache_dir=args.cache_dir,
        tensor=given(base.tensor, order=args.joint_order),
        sensor=sensor,
        crop_size=args.crop_size,
        workers=args.workers,
        holdout=args.holdout,
        **stages,
    )
    return with_seed(experiment, args.seed)


def run(args: argparse.Namespace) -> None:
    from keras_actrec.recipes.sta_hands.two_stream import run_two_stream

    result = run_two_stream(experiment_from(args))
    for stream, accuracy in result.metrics["accuracy"].items():
        kinds = result.metrics.get("accuracy_by_kind", {}).get(stream, {})
        print(
            f"{stream:>6} {100 * accuracy:5.1f} %" + "".join(f"   {kind} {100 * value:.0f} %" for kind, value in kinds.items())
        )
    print(f"results in {args.workdir}, exported model in {result.export}")


def main() -> int:
    args = arguments()
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stdout)
    return exit_status(lambda: run(args))


if __name__ == "__main__":
    sys.exit(main())
