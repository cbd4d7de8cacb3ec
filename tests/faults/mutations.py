"""Seeded mutations of files, and bounds on the time and the memory that reading one may take."""

from __future__ import annotations

import random
import re
import resource
import signal
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from keras_actrec.errors import ActrecError

SECONDS = 20
"""For one file; a small one takes milliseconds. What takes longer hangs."""
BYTES = 2 << 30
"""More than the process has: enough for every honest small file many times over."""

NUMBERS = (
    b"nan", b"NaN", b"inf", b"-inf", b"Infinity", b"1e999", b"-1e999", b"1e38", b"-1e308", b"1e-320", b"0", b"-0", b"-1", b"-7",
    b"2", b"6", b"25", b"99999", b"999999999", b"2147483648", b"9223372036854775808", b"-9223372036854775809", b"9" * 400,
    b"9" * 4000, b"9" * 5000, b"0x10", b"1_000", b"text", b"", b"null", b"true", b"[]", b"{}", b"[[1,2]]", b'"7"', b"[{}]",
    b"[" * 3000, b"[" * 90000, b"[" * 3000 + b"]" * 3000, b"[" * 800 + b"]" * 800, b"[" * 960 + b"1" + b"]" * 960,
    b'{"a":' * 2000 + b"1" + b"}" * 2000, "\N{ARABIC-INDIC DIGIT THREE}".encode(), b"\xff\xfe", b"\x00",
)  # fmt: skip
"""What a number may be replaced by: not finite, huge, negative, no number, text in another alphabet, brackets without end."""
_NUMBER = re.compile(rb"-?\d+(?:\.\d+)?(?:[eE][-+]?\d+)?")


def mutated(data: bytes, draw: random.Random, *, text: bool) -> bytes:
    """The bytes of a file with one to three faults. `text`: lines and numbers are struck too, else only bytes."""
    faults = (*_OF_BYTES, *_OF_TEXT, *_OF_TEXT) if text else _OF_BYTES
    for _ in range(draw.choice((1, 1, 2, 3))):
        data = draw.choice(faults)(data, draw)
    return data


def _flip(data: bytes, draw: random.Random) -> bytes:
    changed = bytearray(data)
    for _ in range(draw.choice((1, 1, 1, 8, 64))):
        if changed:
            changed[draw.randrange(len(changed))] ^= 1 << draw.randrange(8)
    return bytes(changed)


def _replace(data: bytes, draw: random.Random) -> bytes:
    at = _place(data, draw)
    odd = bytes([draw.choice((0, 1, 0x7F, 0x80, 0xFF, draw.randrange(256)))]) * draw.choice((1, 2, 4, 8))
    return data[:at] + odd + data[at + len(odd) :]


def _cut(data: bytes, draw: random.Random) -> bytes:
    return data[: _place(data, draw)]


def _take_out(data: bytes, draw: random.Random) -> bytes:
    at = _place(data, draw)
    return data[:at] + data[at + draw.randrange(1, 400) :]


def _double(data: bytes, draw: random.Random) -> bytes:
    at = _place(data, draw)
    stop = at + draw.randrange(1, 400)
    return data[:stop] + data[at:]


def _line_out(data: bytes, draw: random.Random) -> bytes:
    lines = data.split(b"\n")
    del lines[draw.randrange(len(lines))]
    return b"\n".join(lines)


def _line_twice(data: bytes, draw: random.Random) -> bytes:
    lines = data.split(b"\n")
    lines.insert(draw.randrange(len(lines)), draw.choice(lines))
    return b"\n".join(lines)


def _number(data: bytes, draw: random.Random) -> bytes:
    numbers = list(_NUMBER.finditer(data))
    if not numbers:
        return data
    match = draw.choice(numbers[:40] if draw.random() < 0.4 else numbers)  # headers and counts are at the start
    return data[: match.start()] + draw.choice(NUMBERS) + data[match.end() :]


_OF_BYTES = (_flip, _flip, _replace, _cut, _take_out, _double)
_OF_TEXT = (_line_out, _line_twice, _number, _number)


def _place(data: bytes, draw: random.Random) -> int:
    """Anywhere; or near the start or the end, where headers and indices are."""
    size = len(data)
    low, high = draw.choice(((0, size), (0, min(size, 256)), (max(0, size - 256), size)))
    return draw.randrange(low, max(high, low + 1))


@contextmanager
def bounded(seconds: float = SECONDS, *, memory: bool = True) -> Iterator[None]:
    """Fails the test where the block hangs; a request for more than `BYTES` of memory is a MemoryError in it (`memory`)."""

    def hangs(*_):
        raise AssertionError(f"still reading after {seconds:g} s")

    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    before = signal.signal(signal.SIGALRM, hangs)
    if memory:
        resource.setrlimit(resource.RLIMIT_AS, (used + BYTES, hard))
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


def outcomes(
    whole: bytes, read: Callable[[bytes], object], *, count: int, seed: int, allowed: type[ActrecError], text: bool
) -> tuple[int, int]:
    """Reads `count` mutations of a file.

    Args:
        whole: the sound file.
        read: writes the bytes to a file, reads it and checks what comes out.
        count, seed: how many, and which.
        allowed: the only exception that `read` may raise; it has to name the file and a way out.
        text: as for `mutated`.

    Returns:
        How many were read, and how many refused.
    """
    refused = 0
    for number in range(count):
        data = mutated(whole, random.Random(f"{seed} {number}"), text=text)
        try:
            with bounded(), warnings.catch_warnings():
                warnings.simplefilter("error")
                read(data)
        except allowed as error:
            assert type(error) is allowed, f"mutation {seed} {number}: {error!r}"
            assert error.file and error.fix, f"mutation {seed} {number}: {error}"
            refused += 1
        except BaseException as error:
            error.add_note(f"mutation {seed} {number}: {data[:200]!r}")
            raise
    return count - refused, refused
