"""`keras-actrec demo`: a web page on which videos are dropped and explained."""

from __future__ import annotations

import argparse

from keras_actrec.cli.model_arguments import add_model_arguments

HELP = """\
Opens a web page on which a video is dropped and comes back explained: what the model attended to, the most probable classes,
and for long videos what is done when. Needs Gradio: pip install 'keras_actrec[demo]'. Ctrl-C ends it.

The page is for this machine alone unless --host says otherwise, and loads nothing from other hosts.

examples:
  keras-actrec demo --model runs/mine/export
  keras-actrec demo --model runs/mine/export --host 0.0.0.0 --port 8080    for everyone who reaches this machine
"""

LOCAL = ("127.0.0.1", "localhost", "::1")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of this command."""
    add_model_arguments(parser)
    parser.add_argument("--pose", action="store_true", help="Glimpse Clouds: draw the poses that it regresses too")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen at (default: %(default)s, this machine alone)")
    parser.add_argument("--port", type=int, help="port (default: the first free one from 7860 on)")


def run(args: argparse.Namespace) -> None:
    """Serves the page until Ctrl-C."""
    from keras_actrec.demo import serve_demo
    from keras_actrec.recognizer import Recognizer

    recognizer = Recognizer.load(
        args.model, sensor_weights=args.sensor_weights, flow_model=args.flow_model, pose=args.pose, pose_model=args.pose_model
    )
    page = serve_demo(recognizer, host=args.host, port=args.port)
    if args.host not in LOCAL:
        print("everyone who reaches this machine can use the page, and send it videos")
    print(f"open {page.url} in a browser; Ctrl-C ends it", flush=True)
    page.wait()
