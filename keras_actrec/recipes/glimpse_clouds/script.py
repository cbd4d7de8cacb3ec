"""What the scripts of Glimpse Clouds share: their arguments, the run, and what they print."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from keras_actrec.recipes.video import script as video_script
from keras_actrec.scripts import given

if TYPE_CHECKING:
    from keras_actrec.recipes.glimpse_clouds.experiment import GlimpseExperiment

MODEL = "glimpse_clouds"
_PRESETS = (
    "glimpse_clouds_paper, glimpse_clouds_official, global (stage 1 alone), table3_global … table4_attention, distance_random, "
    "distance_fixed, encoding_concat"
)


def glimpse_arguments(name: str, doc: str, *, synthetic: bool) -> argparse.Namespace:
    """Reads the command line of a script. Imports nothing heavy, so that --help answers at once."""
    parser = video_script.script_parser(
        name, doc, model=MODEL, preset="glimpse_clouds_paper", presets=_PRESETS, synthetic=synthetic
    )  # fmt: skip
    video = parser.add_argument_group("video").add_argument
    video(
        "--backbone-weights",
        help="imagenet (default; keras.applications downloads them), a file, or random for trials"
        + (" (synthetic data: random where imagenet cannot be had)" if synthetic else ""),
    )
    video("--structure", choices=("keras", "torchvision"), help="whose ResNet-50 it is, see docs/backbones.md (default: keras)")
    video("--frames", type=int, help="frames of a sub-sequence (default: 8)")
    video("--views", type=int, help="test sub-sequences, logits averaged (default: 5)")
    video("--training-views", type=int, help="sub-sequences of a clip that --train on_maps trains on (default: 5)")
    video_script.add_pictures(
        video, boxes=("whole", "clip", "frame"), box="whole frames, or crops around the people (default: whole)",
        image_size=224, stored="pictures, which training and test crop", stored_size=256,
    )  # fmt: skip
    video("--layout", help="joint layout that the bodies are retargeted to (default: the data set's own)")
    train = parser.add_argument_group("training (defaults: the paper's; shorter for synthetic data)").add_argument
    video_script.add_training(
        train, initial="working directory of a finished run to start from, in the place of stage 1 (--preset global)"
    )
    train(
        "--freeze-backbone", action=argparse.BooleanOptionalAction, default=None,
        help="whether it stays in stage 2 as it is (default: as the preset has it)",
    )  # fmt: skip
    return video_script.parsed(parser, name, MODEL)


def experiment_from(name: str, args: argparse.Namespace) -> GlimpseExperiment:
    """Arguments over the paper's settings for the data set, or over those of the synthetic one.

    Raises:
        ConfigError: values that make no sense.
    """
    from keras_actrec.recipes.glimpse_clouds.experiment import embedded_default, glimpse_experiment
    from keras_actrec.recipes.seeds import with_seed

    if args.data_root is None:
        base = embedded_default(args.workdir, preset=args.preset)
    else:
        base = glimpse_experiment(name, args.workdir, preset=args.preset)
    clips = given(base.clips, frames=args.frames, image_size=args.image_size, views=args.views)
    stages = {}
    for stage_name in ("global_stage", "clouds_stage"):
        stage = getattr(base, stage_name)
        stage = stage if args.epochs is None else stage.with_epochs(args.epochs)
        stages[stage_name] = given(stage, learning_rate=args.learning_rate, batch_size=args.batch_size)
    experiment = given(
        base,
        **video_script.of_run(args),
        layout=args.layout,
        clips=clips,
        backbone=given(
            base.backbone, weights=args.backbone_weights, structure=args.structure, frames=clips.frames,
            image_size=clips.image_size, dtype=args.dtype,
        ),
        crop=given(base.crop, size=args.crop_size, margin=args.margin, box=args.box),
        training_views=args.training_views,
        freeze_backbone=args.freeze_backbone,
        **stages,
    )  # fmt: skip
    return with_seed(experiment, args.seed)


def run(name: str, args: argparse.Namespace) -> None:
    """Runs the experiment that the arguments ask for, and prints its metrics."""
    from keras_actrec.recipes.glimpse_clouds.run import run_glimpse_experiment

    video_script.run(name, args, experiment_from(name, args), run_glimpse_experiment)


def main(name: str, doc: str, *, synthetic: bool = False) -> int:
    """Runs the script of a data set; returns the exit status.

    Args:
        name: of the data set, and of the working directory.
        doc: what --help says.
        synthetic: whether the script makes a synthetic data set where it is given no data root.
    """
    args = glimpse_arguments(name, doc, synthetic=synthetic)
    return video_script.exit_of(lambda: run(name, args))
