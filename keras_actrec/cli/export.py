"""`keras-actrec export`: a trained model for other programs."""

from __future__ import annotations

import argparse
from pathlib import Path

from keras_actrec.errors import ConfigError, WeightsError

TARGETS = ("saved-model", "tf-serving", "onnx")
NAME = "actrec"
DESCRIPTION = "actrec.json"  # as in export/saved_model.py, whose import takes TensorFlow's seconds

HELP = """\
Writes a trained model for other programs.

in:  the folder of a finished training (its WORKDIR, or WORKDIR/export itself)
out: --to tf-serving    OUT/NAME/1, 2, …: the folder of versions that TensorFlow Serving reads, each a SavedModel
     --to onnx          OUT, one file: the network itself, batches of any size. It is compared with the SavedModel before it is
                        kept; needs pip install 'keras_actrec[onnx]'
     --to saved-model   OUT, a copy of the SavedModel with its actrec.json, as other commands take it by --model

docs/serving.md says which arrays each model takes and gives. An export is a program: take it from someone you trust.

examples:
  keras-actrec export runs/mine --to tf-serving models --name gestures
  keras-actrec export runs/mine --to onnx gestures.onnx
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of this command."""
    add = parser.add_argument
    add("source", type=Path, metavar="RUN", help="folder of a training, or an export; of RPAN's flow: WORKDIR/export_flow")
    add("--to", choices=TARGETS, required=True, help="form")
    add("out", type=Path, metavar="OUT", help="file (onnx) or folder to write")
    serving = parser.add_argument_group("tf-serving").add_argument
    serving("--name", metavar="NAME", help=f"of the model, as it stands in addresses (default: {NAME})")
    serving("--version", type=int, metavar="N", help="number that is not there yet (default: the one after the highest)")


def find_export(directory: str | Path) -> Path:
    """The export in a folder of a training, or that folder, if it is one itself.

    Raises:
        WeightsError: neither.
    """
    directory = Path(directory)
    for folder in (directory, directory / "export"):
        if (folder / DESCRIPTION).is_file():
            return folder
    raise WeightsError(
        "neither an exported model nor the folder of a finished training", file=directory,
        expected=f"{DESCRIPTION} or export/{DESCRIPTION} in it",
        fix="give the WORKDIR of a training that has ended (keras-actrec train, experiments/…), or its folder export",
    )  # fmt: skip


def run(args: argparse.Namespace) -> None:
    """Writes the model and prints where, and how it is used."""
    source = find_export(args.source)
    if args.to != "tf-serving":
        for option, value in (("--name", args.name), ("--version", args.version)):
            if value is not None:
                raise ConfigError(f"{option} is of --to tf-serving", found=f"--to {args.to}", fix=f"leave out {option}")
    if args.to == "saved-model":
        from keras_actrec.export.serving import copy_export

        print(f"wrote {copy_export(source, args.out)}")
    elif args.to == "onnx":
        if args.out.is_dir():
            raise ConfigError("an ONNX model is a file, and this is a folder", file=args.out, fix="give a name like model.onnx")
        from keras_actrec.export.onnx import export_onnx

        print(f"wrote {export_onnx(source, args.out)}")
    else:
        from keras_actrec.export.serving import export_for_serving

        name = NAME if args.name is None else args.name
        written = export_for_serving(source, args.out, name=name, version=args.version)
        print(f"wrote {written}; to serve it:")
        base = written.parent.absolute()
        print(f"tensorflow_model_server --rest_api_port=8501 --model_name={name} --model_base_path={base}")
