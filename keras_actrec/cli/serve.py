"""`keras-actrec serve`: a small REST server over one exported model, in TensorFlow Serving's form."""

from __future__ import annotations

import argparse
from pathlib import Path

HELP = """\
Answers requests to a trained model over HTTP, in TensorFlow Serving's REST form, until Ctrl-C.

A client sends the model's inputs as JSON and gets its probabilities; docs/serving.md says which arrays each model takes. For
videos use `keras-actrec predict`, for large loads TensorFlow Serving itself (`keras-actrec export --to tf-serving`). There is
no password and no encryption: the server listens on this machine alone unless --host says otherwise.

examples:
  keras-actrec serve --model runs/mine/export
  curl http://127.0.0.1:8501/v1/models/actrec/metadata
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--model", type=Path, required=True, metavar="DIR",
        help="exported model, or a folder of versions of one: a program, so from someone you trust",
    )  # fmt: skip
    parser.add_argument("--name", default="actrec", help="name of the model in addresses (default: %(default)s)")
    parser.add_argument(
        "--host", default="127.0.0.1", help="address to listen on (default: %(default)s, this machine alone; 0.0.0.0: everyone)"
    )
    parser.add_argument("--port", type=int, default=8501, help="0 takes a free one (default: %(default)s)")
    parser.add_argument(
        "--max-megabytes", type=int, default=256, metavar="N", help="largest request that is read (default: %(default)s)"
    )


def run(args: argparse.Namespace) -> None:
    from keras_actrec.serving.rest import serve

    serve(
        args.model, name=args.name, host=args.host, port=args.port, max_body=args.max_megabytes << 20,
        ready=lambda address: print(f"serving {args.model} at {address}; Ctrl-C ends it", flush=True),
    )  # fmt: skip
