"""Views of clips through a frozen network, into shards: what caches of clip maps, of glimpse maps and of frame cubes share."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import ClassVar, Protocol, Self

import keras
import numpy as np

from keras_actrec.cache.clip_views import ViewShardWriter
from keras_actrec.cache.person_clips import PersonClips, open_person_clips
from keras_actrec.cache.schema import CacheIndex
from keras_actrec.datasets.record import LeftOut
from keras_actrec.errors import ActrecError, ConfigError, WeightsError
from keras_actrec.extraction.shard_job import ShardResult, Tick
from keras_actrec.extraction.workers import Workers, available_cores, in_this_process, limit_threads

BATCH_SIZE = 2
_MOST_CLIPS_AHEAD = 4

Arrays = tuple[np.ndarray, ...]
Network = Callable[[np.ndarray], tuple[object, ...]]
"""uint8 (batch size, F, S, S, 3), or of single frames (batch size, H, W, C) → tensors (batch size, …)."""
Loader = Callable[[str], Arrays]
"""Clip id → the images of its views, uint8 (views, F, S, S, 3), and further arrays of the clip (views, …) for its shard.
A network of single frames gets the frames of all views, uint8 (views · F, H, W, C)."""


class Clips(Protocol):
    """What views are read from. `lengths`: clip id → frames; asked for after the clip was loaded."""

    @property
    def lengths(self) -> Mapping[str, int]: ...


@dataclass(frozen=True, kw_only=True)
class ViewJob:
    """Writes shards of a cache of what a network makes of views (a `ShardJob`); subclasses say which network and views.

    Attributes:
        directory, index: the cache and its plan.
        batch_size: views (or frames) per forward pass.
        model: the network itself where the process that built it does the work.
        weights: its weights where others do, so that all have the same and none has to read or draw them.
    """

    directory: Path
    index: CacheIndex
    batch_size: int
    model: keras.Model | None = None
    weights: Arrays | None = None

    stage: ClassVar[str]
    """Of clips left out."""

    def build(self, weights: Arrays | None) -> keras.Model:
        """The network, frozen, with these weights."""
        raise NotImplementedError

    def network(self, model: keras.Model) -> Network:
        """The network as a function of batches of `batch_size` views."""
        raise NotImplementedError

    def reads(self) -> tuple[Path, ...]:
        """Files and folders that are read, see `ShardJob`."""
        raise NotImplementedError

    def open_clips(self) -> Clips:
        """Opens what is read, in the process that works."""
        raise NotImplementedError

    def loader(self, clips: Clips) -> Loader:
        """How a clip is read; an ActrecError leaves the clip out."""
        raise NotImplementedError

    def writer(self, shard: int, model: keras.Model) -> ViewShardWriter:
        """The writer of a shard; its `add` takes clip, arrays of the network, further ones, the clip's length."""
        raise NotImplementedError

    def arrays(self, result: Arrays) -> Arrays:
        """What the writer takes of the arrays of the network and the further ones."""
        return result

    def with_network(self, model: keras.Model, workers: Workers) -> Self:
        """The same job with its network: the model where this process does the work, else its weights."""
        if in_this_process(workers):
            return replace(self, model=model)
        return replace(self, weights=tuple(model.get_weights()))

    def open(self, threads: int | None) -> Callable[[int, Tick], ShardResult]:
        if threads is not None:
            limit_threads(threads)
        model = self.model or self.build(self.weights)
        network, clips = self.network(model), self.open_clips()
        load = self.loader(clips)
        readers = max(1, (threads or available_cores()) // 2)

        def write(shard: int, tick: Tick) -> ShardResult:
            ids = self.index.shards[shard]
            left_out: list[LeftOut] = []
            loaded = zip(ids, _ahead(load, ids, threads=readers), strict=True)
            with self.writer(shard, model) as writer:
                for clip_id, result in run_network(loaded, network, self.batch_size):
                    if isinstance(result, ActrecError):
                        left_out.append(LeftOut(clip_id, self.stage, str(result), result.file or ""))
                        writer.leave_out(left_out[-1])
                    else:
                        writer.add(clip_id, *self.arrays(result), clips.lengths[clip_id])
                    tick(1)
                writer.finish()
            return ShardResult(shard, len(ids) - len(left_out), tuple(left_out))

        return write


@dataclass(frozen=True, kw_only=True)
class PersonClipJob(ViewJob):
    """A `ViewJob` that reads person clips.

    Attributes:
        clips_directory: the person clips.
    """

    clips_directory: Path

    def reads(self) -> tuple[Path, ...]:
        return (self.clips_directory,)

    def open_clips(self) -> PersonClips:
        return open_person_clips(self.clips_directory)


def graph_network(model: keras.Model, batch_size: int, outputs: Callable[[object], tuple[object, ...]]) -> Network:
    """A network as a graph function of one fixed shape: images uint8 (batch_size, …) → `outputs` of what it makes of them.

    Scaling to [-1, 1] is inside: a quarter of the bytes goes to the device.
    """
    import tensorflow as tf  # here, so that scripts and workers which only plan start without it

    @tf.function(input_signature=[tf.TensorSpec((batch_size, *model.inputs[0].shape[1:]), tf.uint8)], autograph=False)
    def run(images):
        return outputs(model(tf.cast(images, tf.float32) / 127.5 - 1.0, training=False))

    return run


def check_positive(**settings: int) -> None:
    """Raises ConfigError for the first setting that is below 1."""
    for name, value in settings.items():
        if value < 1:
            raise ConfigError(f"{name} must be positive", found=value)


def _ahead(load: Loader, ids: Sequence[str], *, threads: int) -> Iterator[Arrays | ActrecError]:
    """`load(id)` of each id, or its error, in order; threads work ahead of the caller by a few ids, whatever the cores."""

    def tried(clip_id: str) -> Arrays | ActrecError:
        try:
            return load(clip_id)
        except ActrecError as error:
            return error

    threads = min(threads, _MOST_CLIPS_AHEAD)
    pool = ThreadPoolExecutor(threads, "clips")
    try:
        waiting = iter(ids)
        jobs = deque(pool.submit(tried, clip_id) for clip_id in islice(waiting, threads))
        while jobs:
            result = jobs.popleft().result()
            jobs.extend(pool.submit(tried, clip_id) for clip_id in islice(waiting, 1))
            yield result
    finally:
        pool.shutdown(cancel_futures=True)


@dataclass
class _Begun:
    """A clip that is in the network: its number of views, and its further arrays; or why it has none."""

    clip_id: str
    views: int = 0
    further: Arrays = ()
    error: ActrecError | None = None


def run_network(
    clips: Iterable[tuple[str, Arrays | ActrecError]], network: Network, batch_size: int
) -> Iterator[tuple[str, Arrays | ActrecError]]:
    """(clip, what its loader gave or an error) → (clip, arrays (views, …) of the network and further ones, or the error).

    The order stays. Batches run across clips. What a batch holds depends on the list of clips alone.
    """
    begun: deque[_Begun] = deque()  # clips whose views are not all there

    def rows() -> Iterator[np.ndarray]:
        for clip_id, loaded in clips:
            if isinstance(loaded, ActrecError):
                begun.append(_Begun(clip_id, error=loaded))
            else:
                images, *further = loaded
                begun.append(_Begun(clip_id, len(images), tuple(further)))
                yield from images

    views: list[Arrays] = []
    for one in _views(rows(), network, batch_size):
        while begun[0].error is not None:
            failed = begun.popleft()
            yield failed.clip_id, failed.error
        views.append(one)
        if len(views) == begun[0].views:
            whole = begun.popleft()
            yield whole.clip_id, (*map(np.stack, zip(*views, strict=True)), *whole.further)
            views = []
    yield from ((failed.clip_id, failed.error) for failed in begun)


def _views(rows: Iterator[np.ndarray], network: Network, batch_size: int) -> Iterator[Arrays]:
    """Images uint8 (F, S, S, 3) → arrays of one view, in batches of one size: the last one is padded.

    A batch is handed on while the next one runs: on a GPU the call returns before the result is there.
    """
    previous: tuple[tuple[object, ...], int] | None = None
    while batch := list(islice(rows, batch_size)):
        running = network(np.stack(batch + batch[-1:] * (batch_size - len(batch)))), len(batch)
        if previous is not None:
            yield from _finite(*previous)
        previous = running
    if previous is not None:
        yield from _finite(*previous)


def _finite(results: tuple[object, ...], count: int) -> Iterator[Arrays]:
    arrays = [np.asarray(result)[:count] for result in results]
    if not all(np.isfinite(array).all() for array in arrays):
        raise WeightsError(
            "the network gives values that are not finite or exceed float16",
            fix="check the weights file, or use --dtype float32",
        )
    return zip(*arrays, strict=True)
