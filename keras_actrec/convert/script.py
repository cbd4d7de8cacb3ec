"""What the scripts that convert published weights share: their arguments, the run, and what they print."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from keras_actrec.errors import ConfigError
from keras_actrec.scripts import tensorflow_script

if TYPE_CHECKING:
    import keras

ENDING = ".weights.h5"


def conversion_parser(doc: str, *, source: str) -> argparse.ArgumentParser:
    """A parser with the files. `doc` is what --help says, `source` what it says about the published file."""
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", type=Path, help=source)
    parser.add_argument("out", type=Path, help=f"file to write; its name ends in {ENDING}")
    return parser


def conversion_script(
    arguments: Callable[[], argparse.Namespace],
    convert: Callable[[argparse.Namespace], keras.Model],
    *,
    remark: Callable[[keras.Model], str] = lambda model: "",
) -> int:
    """Runs a conversion and prints what it has written; returns the exit status.

    Args:
        arguments: reads the command line, with a parser of `conversion_parser`.
        convert: writes the file; gives the model with its weights. Called once the name of the file is known to be good.
        remark: what the line about the file says beside the number of its values and layers.
    """
    return tensorflow_script(arguments, lambda args: _run(args, convert, remark))


def _run(
    args: argparse.Namespace, convert: Callable[[argparse.Namespace], keras.Model], remark: Callable[[keras.Model], str]
) -> None:  # fmt: skip
    if not args.out.name.endswith(ENDING):
        raise ConfigError("a Keras weights file needs another name", found=args.out.name, expected=f"one that ends in {ENDING}")
    model = convert(args)
    layers = sum(bool(layer.weights) for layer in model.layers)
    print(f"{args.out}: {model.count_params():,} values in {layers} layers{remark(model)}")
