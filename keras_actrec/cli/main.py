"""The command `keras-actrec`: finds the subcommand, gives it its arguments, and ends with an exit status.

A command is a module beside this one with `HELP` (what it does, what goes in, what comes out, examples),
`add_arguments(parser)` and `run(args)`. It is imported only when it is called, and imports TensorFlow only in `run`, so that
`--help` answers at once.
"""

from __future__ import annotations

import argparse
import difflib
import importlib
import os
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType

from keras_actrec.scripts import exit_status
from keras_actrec.version import __version__

PROGRAM = "keras-actrec"

COMMANDS: Mapping[str, tuple[str, str]] = MappingProxyType({
    "predict": ("keras_actrec.cli.predict", "classify a video, a folder of videos or a camera with a trained model"),
    "train": ("keras_actrec.cli.train", "train a model on your own videos: a CSV of clips and labels is enough"),
    "evaluate": ("keras_actrec.cli.evaluate", "measure a trained model on clips whose classes are known"),
    "report": ("keras_actrec.cli.report", "make the HTML page about a finished training again"),
    "demo": ("keras_actrec.cli.demo", "open a web page on which videos are dropped and explained"),
    "export": ("keras_actrec.cli.export", "write a trained model for TensorFlow Serving or ONNX"),
    "serve": ("keras_actrec.cli.serve", "answer requests to a trained model in TensorFlow Serving's REST form"),
    "poses": ("keras_actrec.cli.poses", "estimate the poses of the people in plain videos"),
    "datasets": ("keras_actrec.cli.datasets", "list the public data sets, check a copy, write its clips as a CSV"),
    "extract": ("keras_actrec.cli.extract", "write the caches that a training reads: poses, hands, clips, maps, flow"),
    "benchmark": ("keras_actrec.cli.benchmark", "time a trained model on this machine, step by step"),
})  # fmt: skip
"""Name → (module, one line), in the order of the help."""

INTERRUPTED = 128 + signal.SIGINT
PIPE_CLOSED = 128 + signal.SIGPIPE if hasattr(signal, "SIGPIPE") else 1
"""Exit statuses as a shell reports them of a program that such a signal ended."""

_DESCRIPTION = """\
Recognises what people do in videos, from their body poses and the pictures.

commands:
{commands}

Each has its own help: {program} COMMAND --help
"""

_EXAMPLES = """\
examples:
  {program} predict clip.mp4 --model runs/mine/export     what is done in this video?
  {program} train clips.csv --workdir runs/mine           learn the classes of your own videos
  {program} datasets check ntu_rgbd /data/ntu             is this copy of NTU RGB+D complete?

exit status: 0 done, 1 an error (one line on stderr), 2 wrong arguments, 130 stopped by Ctrl-C
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs a command.

    Args:
        arguments: words behind the program's name; None takes those of this process.

    Returns:
        Its exit status: 0; 1 after an `ActrecError`, whose text is one line on stderr; 2 for arguments that it does not know;
        130 after Ctrl-C; 141 where the reader of a pipe went away (`… | head`). Other exceptions are faults of the program and
        pass through with their traceback.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    try:
        return _call(words)
    except SystemExit as ended:  # argparse: 0 after a help, 2 after an error
        return ended.code if isinstance(ended.code, int) else int(ended.code is not None)
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:
        if not _stdout_is_closed():  # another pipe of the program: a fault
            raise
        return PIPE_CLOSED


def _call(words: Sequence[str]) -> int:
    if words and words[0] in COMMANDS:
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # TensorFlow's remarks only where somebody asked for them
        name, *rest = words
        command = importlib.import_module(COMMANDS[name][0])
        args = parse(command, rest, program=f"{PROGRAM} {name}")
        return exit_status(lambda: _flushed(lambda: command.run(args)))
    top = _top_parser()
    if not words:
        top.print_help()
        return 0
    args, _ = top.parse_known_args(words)  # --help and --version end here
    if args.command is None:
        top.error(f"no command before {words[0]}")
    near = difflib.get_close_matches(args.command, COMMANDS, n=1)
    top.error(f"no command {args.command!r}" + (f", did you mean {near[0]}?" if near else f"; one of {', '.join(COMMANDS)}"))


def parse(command, words: Sequence[str] | None = None, *, program: str | None = None) -> argparse.Namespace:
    """Reads the arguments of a command.

    Args:
        command: its module, with `HELP` and `add_arguments`.
        words: the arguments; None takes those of this process.
        program: the words before them; None takes the name of this process's script.
    """
    parser = argparse.ArgumentParser(
        prog=program, description=command.HELP, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    command.add_arguments(parser)
    return parser.parse_args(words)


def _top_parser() -> argparse.ArgumentParser:
    width = max(map(len, COMMANDS))
    lines = "\n".join(f"  {name:<{width}}  {line}" for name, (_, line) in COMMANDS.items())
    parser = argparse.ArgumentParser(
        prog=PROGRAM,
        usage=f"{PROGRAM} COMMAND …",
        description=_DESCRIPTION.format(commands=lines, program=PROGRAM),
        epilog=_EXAMPLES.format(program=PROGRAM),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("command", nargs="?", metavar="COMMAND", help=argparse.SUPPRESS)
    parser.add_argument("--version", action="version", version=f"keras_actrec {__version__}")
    return parser


def _flushed(job: Callable[[], None]) -> None:
    """What was printed reaches a closed pipe here, where it is noticed, and not while Python shuts down."""
    job()
    sys.stdout.flush()


def _stdout_is_closed() -> bool:
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        # What Python still holds would fail once more at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return True
    return False


if __name__ == "__main__":
    sys.exit(main())
