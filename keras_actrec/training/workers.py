"""What several training processes tell each other: the chief's word, equal weights, and who has stopped."""

from __future__ import annotations

import hashlib
import json
import re
import socket
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache

import keras
import numpy as np
import tensorflow as tf

from keras_actrec.errors import ActrecError, ConfigError, TrainingError
from keras_actrec.training.checkpoints import arrays_of

AGAIN = "look at its output for the reason, then start all workers again, each with the same command and --resume"
_WORD = np.dtype("<u4")
_CHUNK = 1 << 20
"""Words that one message holds."""
_DIGEST_BYTES = 16
_PEER_ERRORS = (
    *(tf.errors.UnavailableError, tf.errors.AbortedError, tf.errors.DeadlineExceededError, tf.errors.CancelledError),
    *(tf.errors.InternalError, tf.errors.FailedPreconditionError),
)


@dataclass(frozen=True)
class Workers:
    """The processes that train one model together, or the one process that does.

    All methods but `watched` have to be called by all workers in the same order: each waits for the others.

    Attributes:
        strategy: what connects them; of a single process any.
        index: number of this one, from 0.
        addresses: "host:port" of each.
    """

    strategy: tf.distribute.Strategy
    index: int = 0
    addresses: tuple[str, ...] = ("",)

    @classmethod
    def of(cls, strategy: tf.distribute.Strategy) -> Workers:
        """The workers of a strategy that `build_strategy` made."""
        if not isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy):
            return cls(strategy)
        resolver = strategy.cluster_resolver
        return cls(strategy, resolver.task_id, tuple(resolver.cluster_spec().as_dict()["worker"]))

    @property
    def count(self) -> int:
        """Number of workers."""
        return len(self.addresses)

    @property
    def is_chief(self) -> bool:
        """Whether this one writes the files."""
        return self.index == 0

    def chief_does(self, work: Callable[[], object]) -> object:
        """Runs something on the chief, while the others wait.

        Returns:
            On the chief what `work` returned, on the others the same by way of JSON.

        Raises:
            ActrecError: on the chief what `work` raised.
            TrainingError: on the others, with the words of that error.
        """
        if self.count == 1:
            return work()
        if not self.is_chief:
            answer = json.loads(self._from_chief(b""))
            if "error" in answer:
                raise TrainingError("the first worker has given up", found=answer["error"], fix=AGAIN)
            return answer["result"]
        try:
            result = work()
        except ActrecError as error:
            self._from_chief(json.dumps({"error": str(error)}).encode())
            raise
        self._from_chief(json.dumps({"result": result}).encode())
        return result

    def wait(self) -> None:
        """Waits for the others, as long as they work: what stands still or ends is noticed, see `watched`."""
        if self.count > 1:
            self._sum(np.zeros(1))

    def check_same(self, settings: Mapping[str, object]) -> None:
        """Refuses workers that were started with different settings.

        Raises:
            ConfigError: on all of them; names the settings, and the first worker that differs from the chief.
        """
        if self.count == 1:
            return
        said = [json.loads(text) for text in self._everyone(json.dumps(settings).encode())]
        for index, other in enumerate(said):
            differing = sorted(name for name in said[0].keys() | other.keys() if said[0].get(name) != other.get(name))
            if differing:
                raise ConfigError(
                    f"the workers were started with different settings: {', '.join(differing)}", place=self._name(index),
                    found={name: other.get(name) for name in differing},
                    expected={name: said[0].get(name) for name in differing},
                    fix="give all workers the same command, code and files",
                )  # fmt: skip

    def share(self, variables: Sequence[keras.Variable]) -> None:
        """Gives variables on all workers the chief's values, to the bit. Only those that differ travel.

        Raises:
            ConfigError: the workers have variables of other shapes.
        """
        if self.count == 1:
            return
        arrays = arrays_of(variables)
        shapes = json.dumps([(array.shape, array.dtype.name) for array in arrays]).encode()
        digests = [_digest(array) for array in arrays]
        said = self._everyone(b"".join((_digest(np.frombuffer(shapes, np.uint8)), *digests)))
        for index, other in enumerate(said):
            if other[:_DIGEST_BYTES] != said[0][:_DIGEST_BYTES]:
                raise ConfigError("the workers have different models", place=self._name(index), fix="give all the same command")
        places = ((place, (place + 1) * _DIGEST_BYTES) for place in range(len(arrays)))
        differing = [place for place, first in places if len({other[first : first + _DIGEST_BYTES] for other in said}) > 1]
        if not differing:
            return
        data = self._from_chief(b"".join(arrays[place].tobytes() for place in differing) if self.is_chief else b"")
        for place in () if self.is_chief else differing:
            array = arrays[place]
            variables[place].assign(np.frombuffer(data[: array.nbytes], array.dtype).reshape(array.shape))
            data = data[array.nbytes :]

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Turns what TensorFlow raises when a worker has stopped into words.

        Raises:
            TrainingError: names the worker.
        """
        try:
            yield
        except _PEER_ERRORS as error:
            if self.count == 1:
                raise
            stopped = self._stopped(str(error))
            if not stopped and "ollective" not in str(error):  # some other fault
                raise
            names = " and ".join(self._name(index) for index in stopped) or "another worker"
            raise TrainingError(f"{names} stopped: the job goes on with all {self.count} workers only", fix=AGAIN) from error

    def _stopped(self, text: str) -> list[int]:
        """Workers that do not answer; where all do, those that TensorFlow's message speaks of."""
        others = [index for index in range(self.count) if index != self.index]
        for _ in range(3):  # one that has raised an error takes a moment to end
            silent = [index for index in others if not _answers(self.addresses[index])]
            if silent:
                return silent
            time.sleep(1)
        spoken = {int(index) for index in re.findall(r"/job:worker/(?:replica:\d+/)?task:(\d+)", text)}
        return [index for index in others if index in spoken]

    def _name(self, index: int) -> str:
        return f"worker {index} ({self.addresses[index]})"

    def _everyone(self, own: bytes) -> list[bytes]:
        """What each worker says, in their order. For short texts."""
        sizes = np.zeros(self.count)
        sizes[self.index] = len(own)
        sizes = [int(size) for size in self._sum(sizes)]
        words = np.zeros((self.count, _room(-(-max(sizes) // _WORD.itemsize))))
        said = _words(own)
        words[self.index, : len(said)] = said
        rows = self._sum(words).astype(_WORD)
        return [row.tobytes()[:size] for row, size in zip(rows, sizes, strict=True)]

    def _from_chief(self, data: bytes) -> bytes:
        """The chief's bytes on all workers; those of others are ignored."""
        size = int(self._sum(np.array([float(len(data)) if self.is_chief else 0.0]))[0])
        words = np.zeros(_room(-(-size // _WORD.itemsize)), _WORD)
        if self.is_chief:
            words[: -(-size // _WORD.itemsize)] = _words(data)
        parts = [self._sum(words[first : first + _CHUNK].astype(float)) for first in range(0, len(words), _CHUNK)]
        return b"".join(part.astype(_WORD).tobytes() for part in parts)[:size]

    def _sum(self, values: np.ndarray) -> np.ndarray:
        """Sum over the workers, float64: exact for words of 32 bits where all but one say 0."""
        return _summing(self.strategy, values.shape)(tf.constant(values, tf.float64)).numpy()


@lru_cache(maxsize=64)
def _summing(strategy: tf.distribute.Strategy, shape: tuple[int, ...]) -> Callable:
    """Sum over the workers as a graph: without one of its own TensorFlow makes a new graph for each sum."""
    signature = [tf.TensorSpec(shape, tf.float64)]
    return tf.function(lambda values: strategy.reduce("SUM", values, axis=None), input_signature=signature)


def _room(words: int) -> int:
    """Words of a message that may be longer than what it says: few lengths, few graphs."""
    return 1 << max(6, (words - 1).bit_length()) if words <= _CHUNK else -(-words // _CHUNK) * _CHUNK


def _words(data: bytes) -> np.ndarray:
    return np.frombuffer(data + bytes(-len(data) % _WORD.itemsize), _WORD)


def _digest(array: np.ndarray) -> bytes:
    return hashlib.blake2b(array.tobytes(), digest_size=_DIGEST_BYTES).digest()


def _answers(address: str) -> bool:
    host, port = address.rsplit(":", 1)
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=5).close()
    except OSError:
        return False
    return True
