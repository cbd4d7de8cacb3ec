"""A limit on the time that a decoder may take: its calls run on a thread of their own, which is left behind where one hangs.

Python cannot end a thread that hangs inside of a library. It is left behind: it costs its memory and, if it spins, a core, but
the run goes on, and the process can end.
"""

from __future__ import annotations

import queue
import threading
import time
import weakref
from collections.abc import Callable

CLIP_SECONDS = 600.0
"""Default: decoding time that a clip may take in all. A minute of full HD takes a core about 10 s."""


class LimitedCalls:
    """Calls of functions that may take some time in all; what happens between the calls does not count.

    Args:
        seconds: the time; None calls the functions as they are, without a thread.
    """

    def __init__(self, seconds: float | None):
        self._left = seconds
        self._hangs = False
        self._asked: queue.SimpleQueue | None = None
        self._answers: queue.SimpleQueue = queue.SimpleQueue()
        self._thread: threading.Thread | None = None

    def __call__(self, function: Callable, *arguments):
        """`function(*arguments)`; its exceptions pass.

        Raises:
            TimeoutError: the time is up. A function that has not come back by then is left behind.
        """
        if self._left is None:
            return function(*arguments)
        if self._left <= 0:
            raise TimeoutError
        if self._asked is None:
            self._start()
        begin = time.monotonic()
        self._asked.put((function, arguments))
        try:
            whole, value = self._answers.get(timeout=self._left)
        except queue.Empty:
            self._hangs, self._left = True, 0.0
            raise TimeoutError from None
        self._left -= time.monotonic() - begin
        if not whole:
            raise value
        return value

    def close(self, release: Callable[[], None]) -> None:
        """Ends the thread. `release` frees what the functions use: now, or when the call that hangs has come back."""
        if not self._hangs:
            release()
        elif self._asked is not None:
            self._asked.put((release, ()))
        if self._asked is not None:
            self._asked.put(None)
            if not self._hangs:
                self._thread.join()
            self._asked = self._thread = None

    def _start(self) -> None:
        self._asked = queue.SimpleQueue()
        self._thread = threading.Thread(target=_serve, args=(self._asked, self._answers), name="decoder", daemon=True)
        self._thread.start()
        weakref.finalize(self, self._asked.put, None)  # for those who forget to close


def _serve(asked: queue.SimpleQueue, answers: queue.SimpleQueue) -> None:
    while (task := asked.get()) is not None:
        function, arguments = task
        try:
            answers.put((True, function(*arguments)))
        except BaseException as error:
            answers.put((False, error))
        task = function = arguments = None  # nothing is held on to while waiting
