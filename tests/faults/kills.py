"""Runs in processes of their own that get SIGKILL at chosen instants: in place of one of their steps, or a while after it."""

from __future__ import annotations

import bisect
import multiprocessing
import os
import random
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path

SECONDS = 300
"""For one run; a small one takes seconds. What takes longer hangs."""
_FILE_EVENTS = {"open", "os.rename", "os.remove", "os.mkdir", "os.rmdir"}
_WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT
_FAILED = "failed: "

# All processes are forks of one that has imported TensorFlow and has no threads, which a fork would lack.
_CONTEXT = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload(
    ["tensorflow", "keras", "tests.faults.test_kills_extraction", "tests.faults.test_kills_training"]
)

Note = Callable[[str], None]
Run = Callable[[Path, Note], None]
"""What a process does, with the folder that it writes to: it calls the function for each step besides those with files."""


@dataclass(frozen=True)
class Instant:
    """When a run is killed.

    Attributes:
        step: number of the step, from 0.
        seconds: how long after it, by another process; None for a kill in its place, which falls where it is asked for.
    """

    step: int
    seconds: float | None = None


@dataclass(frozen=True)
class Life:
    """What a process did.

    Attributes:
        steps: seconds since the first one, and what each was: files opened for writing, renamed or removed, … The last one of
            a run that was killed in place of a step is that step.
        killed: whether it was killed before it had ended.
        where: where the kill fell, in words.
    """

    steps: tuple[tuple[float, str], ...]
    killed: bool
    where: str


def live(run: Run, folder: Path, instant: Instant | None = None) -> Life:
    """Lets a process do `run(folder, note)`, and kills it at an instant.

    Raises:
        AssertionError: the run failed or hung.
    """
    ours, theirs = _CONTEXT.Pipe(duplex=False)
    within = instant.step if instant is not None and instant.seconds is None else None
    process = _CONTEXT.Process(target=_live, args=(run, str(folder), theirs, within), daemon=True)
    process.start()
    theirs.close()
    steps: list[tuple[float, str]] = []
    deadline = time.monotonic() + SECONDS
    fatal = None
    try:
        while ours.poll(max(0, min(deadline, fatal or deadline) - time.monotonic())):
            moment, _, name = ours.recv_bytes().decode().partition(" ")
            steps.append((float(moment), name))
            if instant is not None and instant.seconds is not None and len(steps) == instant.step + 1:
                fatal = time.monotonic() + instant.seconds
        assert fatal is not None, f"the run hangs after {_in_words(steps)}"
        process.kill()
        while True:  # what it did until then
            moment, _, name = ours.recv_bytes().decode().partition(" ")
            steps.append((float(moment), name))
    except EOFError:
        pass
    finally:
        process.kill()
        process.join()
        ours.close()
    assert not steps or not steps[-1][1].startswith(_FAILED), steps[-1][1]
    killed = process.exitcode == -signal.SIGKILL and steps[-1][1] != "end"
    assert killed or process.exitcode in (0, -signal.SIGKILL), f"exit code {process.exitcode} after {_in_words(steps)}"
    first = steps[0][0]
    where = f"{'in place of' if within is not None else f'{instant.seconds:.4f} s' if instant else 'end'} {_in_words(steps)}"
    return Life(tuple((moment - first, name) for moment, name in steps), killed, where)


def _in_words(steps: Sequence[tuple[float, str]]) -> str:
    return f"step {len(steps) - 1}: {' < '.join(name for _, name in reversed(steps[-3:]))}"


def _live(run: Run, folder: str, pipe: Connection, last: int | None) -> None:
    """The process: tells of each step before it does it, and kills itself in place of the last."""
    silent = os.open(os.devnull, os.O_WRONLY)
    os.dup2(silent, 1)
    os.dup2(silent, 2)
    lock, count = threading.Lock(), 0

    def note(name: str) -> None:
        nonlocal count
        with lock:
            pipe.send_bytes(f"{time.monotonic()} {name}".encode())
            if count == last:
                os.kill(os.getpid(), signal.SIGKILL)
            count += 1

    def heard(event: str, arguments: tuple) -> None:
        if event in _FILE_EVENTS and _writes_below(folder, event, arguments):
            note(f"{event.removeprefix('os.')} {os.path.basename(os.fspath(arguments[0]))}")

    note("begin")
    sys.addaudithook(heard)
    try:
        run(Path(folder), note)
        note("end")
    except BaseException:
        note(_FAILED + traceback.format_exc())


def _writes_below(folder: str, event: str, arguments: tuple) -> bool:
    path = arguments[0]
    if not isinstance(path, str | os.PathLike) or (event == "open" and not arguments[2] & _WRITES):
        return False
    in_a_tree = event in ("os.remove", "os.rmdir") and arguments[-1] != -1  # shutil.rmtree names files within their folder
    return in_a_tree or os.fspath(path).startswith(folder)


def noted(note: Note, owner: object, *names: str) -> None:
    """From here on each call of these functions of a class or module is a step."""
    for name in names:
        function = getattr(owner, name)

        def call(*arguments, _function=function, _name=name, **options):
            note(_name)
            return _function(*arguments, **options)

        setattr(owner, name, call)


def instants(life: Life, count: int, seed: int, begin: str = "begin") -> Iterator[Instant]:
    """Random instants of an undisturbed run: half of them steps, of which the shortest phases have many; half of them moments.

    Both are spread evenly: one in each of equal parts of the steps, and of the time, from the first step named `begin` on.
    """
    draw = random.Random(seed)
    first = [name for _, name in life.steps].index(begin)
    moments = [moment for moment, _ in life.steps]
    span = moments[-1] - moments[first]
    for number in range(count):
        share = (number // 2 + draw.random()) / ((count + 1) // 2 if number % 2 == 0 else count // 2)
        if number % 2 == 0:
            yield Instant(first + int(share * (len(life.steps) - 1 - first)))  # the last is the end
        else:
            moment = moments[first] + share * span
            step = bisect.bisect_right(moments, moment) - 1
            yield Instant(step, moment - moments[step])


def kill(
    run: Run, place: Path, *, count: int, seed: int, check: Callable[[Path, Life], None], begin: str = "begin"
) -> list[Life]:
    """Kills a run `count` times, each in a folder of its own below `place`, and calls `check(folder, life)` after each.

    A run that was faster than its undisturbed twin and is over before the kill is done again, and killed in place of the step.
    """
    place.mkdir(parents=True, exist_ok=True)
    whole = live(run, place / "undisturbed")
    assert not whole.killed and len(whole.steps) > 10
    lives = []
    for number, instant in enumerate(instants(whole, count, seed, begin)):
        for attempt, when in enumerate((instant, Instant(instant.step), Instant(instant.step - 1))):
            folder = place / f"{number}-{attempt}"
            life = live(run, folder, when)
            try:
                check(folder, life)
            except BaseException as error:
                error.add_note(f"kill {number} of seed {seed}: {life.where}")
                raise
            if life.killed:
                break
        assert life.killed, f"kill {number} of seed {seed}, step {instant.step} of {len(whole.steps)}, came too late each time"
        lives.append(life)
    return lives
