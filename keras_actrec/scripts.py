"""What every script does: errors that a user can meet end it in one line, and given arguments go over the defaults."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable
from dataclasses import replace
from typing import TypeVar

from keras_actrec.errors import ActrecError

Config = TypeVar("Config")

STRATEGIES = ("mirrored", "multiworker", "none")
STRATEGY_HELP = "devices: all of this machine, those of all processes in TF_CONFIG (docs/distributed.md), or one"


def exit_status(job: Callable[[], None]) -> int:
    """Runs the job of a script.

    Args:
        job: called once, without arguments.

    Returns:
        0 when the job ends; 1 after an `ActrecError`, whose text is printed on stderr as `error: …`. Other exceptions are
        faults of the program and pass through with their traceback.
    """
    try:
        job()
    except ActrecError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


def tensorflow_script(arguments: Callable[[], argparse.Namespace], run: Callable[[argparse.Namespace], None]) -> int:
    """Runs a script whose job loads TensorFlow, without TensorFlow's own remarks unless the environment asks for them.

    Args:
        arguments: reads the command line; loads nothing heavy, so that --help answers at once.
        run: the job.

    Returns:
        Its exit status, see `exit_status`.
    """
    args = arguments()
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    return exit_status(lambda: run(args))


def given(config: Config, **values: object) -> Config:
    """The configuration with the arguments that were given on the command line.

    Args:
        config: a frozen dataclass.
        values: field → value; None stands for an argument that was not given. 0, False and empty values are given ones.

    Returns:
        A new one of the same class.

    Raises:
        TypeError: a value for a field that the class does not have.
        ActrecError: whatever the class raises for a value that makes no sense.
    """
    return replace(config, **{name: value for name, value in values.items() if value is not None})
