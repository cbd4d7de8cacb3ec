"""What the scripts of RPAN share: their arguments, the run, and what they print."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import TYPE_CHECKING

from keras_actrec.errors import ConfigError
from keras_actrec.recipes.video import script as video_script
from keras_actrec.scripts import given

if TYPE_CHECKING:
    from keras_actrec.recipes.rpan.experiment import RPANExperiment

MODEL = "rpan"


def rpan_arguments(
    name: str, doc: str, *, synthetic: bool, datasets: Sequence[str], preset: str, size: tuple[int, int]
) -> argparse.Namespace:
    """Reads the command line of a script. Imports nothing heavy, so that --help answers at once."""
    presets = f"{preset}, and that with _without, _share_all, _separate_joint (Table 1), _max, _mean (Table 2)"
    parser = video_script.script_parser(
        name, doc, model=MODEL, preset=preset, presets=presets, synthetic=synthetic, datasets=datasets
    )
    add_frames(parser, size=size, synthetic=synthetic)
    train = parser.add_argument_group("training (defaults: the paper's; shorter for synthetic data)").add_argument
    video_script.add_training(train, initial=None)
    train("--pose-weight", type=float, help="weight of the joints' loss; 0 trains without joints (default: 1)")
    return video_script.parsed(parser, name, MODEL)


def add_frames(parser: argparse.ArgumentParser, *, size: tuple[int, int], synthetic: bool) -> None:
    """The arguments that say what the networks see of a video, and through which CNN."""
    video = parser.add_argument_group("video").add_argument
    video("--streams", nargs="+", choices=("rgb", "flow"), help="networks to train; both are fused 1 : 2 (default: rgb flow)")
    video(
        "--backbone", help="resnet50, inception_v3, vgg16 or bn_inception (default: resnet50; the paper: bn_inception of TSN)"
    )
    video(
        "--backbone-weights",
        help="imagenet (default; keras.applications downloads them), a file, or random for trials; TSN's: the file of "
        "preprocessing/convert_tsn_checkpoint.py"
        + (" (synthetic data: random where imagenet cannot be had)" if synthetic else ""),
    )
    video("--flow-weights", help="of the CNN of flow (default: those of RGB, adapted to flow as in TSN)")
    video("--dtype", choices=("float32", "bfloat16"), help="computation of the backbone (default: float32)")
    video("--frames", type=int, help="frames of a clip, at equal intervals (default: 8)")
    video("--height", type=int, help=f"of the pictures that frames are resized to (default: {size[0]})")
    video("--width", type=int, help=f"of these pictures (default: {size[1]})")
    video("--views", type=int, help="test views of different starts, logits averaged (default: 1)")
    video("--training-views", type=int, help="views of a clip that --train on_maps trains on, half mirrored (default: 2)")
    video("--flow-method", choices=("dis", "tvl1"), help="optical flow; tvl1 needs opencv-contrib-python (default: dis)")
    pixel_size = "frame that the skeleton's pixels refer to, where the videos have another size"
    video("--pixel-size", type=int, nargs=2, metavar=("WIDTH", "HEIGHT"), help=pixel_size)
    video("--layout", help="joint layout that the bodies are retargeted to (default: the data set's own)")


def experiment_from(name: str, args: argparse.Namespace) -> RPANExperiment:
    """Arguments over the paper's settings for the data set, or over those of the synthetic one.

    Raises:
        ConfigError: values that make no sense.
    """
    from keras_actrec.recipes.rpan.experiment import embedded_default, rpan_experiment
    from keras_actrec.recipes.seeds import with_seed

    if (args.height is None) != (args.width is None):
        raise ConfigError("the pictures have two sides", found="one of --height and --width", expected="both")
    if args.data_root is None:
        base = embedded_default(args.workdir, preset=args.preset)
        layer = None if args.backbone is None else ""  # that of another network would not do
        network = given(base.backbone, name=args.backbone, weights=args.backbone_weights, layer=layer)
        base = given(base, backbone=network)
    else:
        network = {"backbone": args.backbone, "weights": args.backbone_weights}
        chosen = {key: value for key, value in network.items() if value is not None}
        base = rpan_experiment(name, args.workdir, preset=args.preset, **chosen)
    size = None if args.height is None else (args.height, args.width)
    stage = base.stage if args.epochs is None else base.stage.with_epochs(args.epochs)
    experiment = given(
        base,
        **video_script.of_run(args),
        layout=args.layout,
        streams=args.streams and tuple(args.streams),
        backbone=given(base.backbone, dtype=args.dtype, picture_size=size),
        flow_weights=args.flow_weights,
        clips=given(base.clips, frames=args.frames, views=args.views, picture_size=size),
        flow=given(base.flow, method=args.flow_method, picture_size=size),
        training_views=args.training_views,
        pose_weight=args.pose_weight,
        stage=given(stage, learning_rate=args.learning_rate, batch_size=args.batch_size),
    )
    return with_seed(experiment, args.seed)


def run(name: str, args: argparse.Namespace) -> None:
    """Runs the experiment that the arguments ask for, and prints its metrics."""
    from keras_actrec.recipes.rpan.experiment import open_clips
    from keras_actrec.recipes.rpan.run import run_rpan_experiment

    name = getattr(args, "dataset", name)
    video_script.run(name, args, experiment_from(name, args), run_rpan_experiment, open_clips=open_clips)


def main(
    name: str, doc: str, *, preset: str, size: tuple[int, int], synthetic: bool = False, datasets: Sequence[str] = ()
) -> int:
    """Runs the script of a data set; returns the exit status.

    Args:
        name: of the data set unless `datasets` are given, and of the working directory.
        doc: what --help says.
        preset: default of --preset.
        size: (height, width) of the pictures in the paper, for --help.
        synthetic: whether the script makes a synthetic data set where it is given no data root.
        datasets: data sets of `keras_actrec.datasets.catalogue` to choose from by --dataset.
    """
    args = rpan_arguments(name, doc, synthetic=synthetic, datasets=datasets, preset=preset, size=size)
    return video_script.exit_of(lambda: run(name, args))
