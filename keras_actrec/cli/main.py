"""The command `keras-actrec`: finds the subcommand, gives it its arguments, and ends with an exit status.

A command is a module with `HELP` (what it does, what goes in, what comes out, examples), `add_arguments(parser)` and
`run(args)`, which prints, raises `ActrecError`, and returns None, or 1 where what it found is not as it should be. A group of
commands (`datasets check`, `extract poses`) is a module with `HELP` and a table `COMMANDS` like the one below. A module is
imported only when it is called, and imports TensorFlow only in `run`, so that `--help` answers at once.
"""

from __future__ import annotations

import argparse
import difflib
import importlib
import os
import select
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType, ModuleType

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

HELP = f"""\
Recognises what people do in videos, from their body poses and the pictures.

examples:
  {PROGRAM} predict clip.mp4 --model runs/mine/export     what is done in this video?
  {PROGRAM} train clips.csv --workdir runs/mine           learn the classes of your own videos
  {PROGRAM} datasets check ntu_rgbd /data/ntu             is this copy of NTU RGB+D complete?

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
    return _ended(lambda: _run(sys.modules[__name__], words, PROGRAM))


def script(command: ModuleType) -> int:
    """Runs a command as a script of its own with the arguments of this process: what the scripts of preprocessing/ are.

    Returns:
        Its exit status, as of `main`.
    """
    return _ended(lambda: _run(command, sys.argv[1:], None))


def parse(command: ModuleType, words: Sequence[str] | None = None, *, program: str | None = None) -> argparse.Namespace:
    """Reads the arguments of a command.

    Args:
        command: its module, with `HELP` and `add_arguments`.
        words: the arguments; None takes those of this process.
        program: the words before them; None takes the name of this process's script.

    Raises:
        SystemExit: after --help, with 0; for arguments that the command does not know, with 2.
    """
    parser = argparse.ArgumentParser(
        prog=program, description=command.HELP, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    command.add_arguments(parser)
    return parser.parse_args(words)


def _run(command: ModuleType, words: Sequence[str], program: str | None) -> int:
    """Of a command, or of the one in a group that the first of the words names."""
    group: Mapping[str, tuple[str, str]] | None = getattr(command, "COMMANDS", None)
    if group is None:
        args = parse(command, words, program=program)
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # TensorFlow's remarks only where somebody asked for them
        found: list[int | None] = []
        return exit_status(lambda: found.append(_flushed(lambda: command.run(args)))) or found[0] or 0
    if words and words[0] in group:
        return _run(importlib.import_module(group[words[0]][0]), words[1:], f"{program} {words[0]}")
    parser = _group_parser(command, group, program)
    if not words:
        parser.print_help()
        return 0
    args, _ = parser.parse_known_args(words)  # --help and --version end here
    if args.command is None:
        parser.error(f"no command before {words[0]}")
    near = difflib.get_close_matches(args.command, group, n=1)
    parser.error(f"no command {args.command!r}" + (f", did you mean {near[0]}?" if near else f"; one of {', '.join(group)}"))


def _group_parser(command: ModuleType, group: Mapping[str, tuple[str, str]], program: str) -> argparse.ArgumentParser:
    width = max(map(len, group))
    lines = "\n".join(f"  {name:<{width}}  {line}" for name, (_, line) in group.items())
    what, _, more = command.HELP.partition("\n\n")
    parser = argparse.ArgumentParser(
        prog=program,
        usage=f"{program} COMMAND …",
        description=f"{what}\n\ncommands:\n{lines}\n\nEach has its own help: {program} COMMAND --help",
        epilog=more,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("command", nargs="?", metavar="COMMAND", help=argparse.SUPPRESS)
    if program == PROGRAM:
        parser.add_argument("--version", action="version", version=f"keras_actrec {__version__}")
    return parser


def _ended(job: Callable[[], int]) -> int:
    """The exit status of a job, however it ends."""
    try:
        return job()
    except SystemExit as ended:  # argparse: 0 after a help, 2 after an error
        return ended.code if isinstance(ended.code, int) else int(ended.code is not None)
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:
        if not _stdout_is_closed():  # another pipe of the program: a fault
            raise
        return PIPE_CLOSED


def _flushed(job: Callable[[], int | None]) -> int | None:
    """What was printed reaches a closed pipe here, where it is noticed, and not while Python shuts down."""
    status = job()
    sys.stdout.flush()
    return status


def _stdout_is_closed() -> bool:
    """Whether nobody reads what is printed; then it goes nowhere from here on, as Python would try once more at its end."""
    try:
        stdout, ready = sys.stdout.fileno(), select.poll()
    except (OSError, AttributeError):  # no file of the system, or a system without poll
        return False
    ready.register(stdout, 0)
    if not any(event & select.POLLERR for _, event in ready.poll(0)):
        return False
    os.dup2(os.open(os.devnull, os.O_WRONLY), stdout)
    return True


if __name__ == "__main__":
    sys.exit(main())
