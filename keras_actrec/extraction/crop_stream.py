"""Videos → batches of hand crops: threads decode ahead of the network, in bounded memory and in a fixed order.

    decoding threads (a clip each) --frames of small crops--> batching thread (order, resize) --batches--> the caller

The order of crops depends on the list of clips alone, so an interrupted run and an uninterrupted one compute the same batches.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np

from keras_actrec.errors import ActrecError, VideoError
from keras_actrec.video.crops import crop_square, resize_to_rgb
from keras_actrec.video.decode import Video, VideoReader
from keras_actrec.video.time_limit import CLIP_SECONDS

HANDS = 4
_FRAMES_AHEAD = 256
_CLIPS_AHEAD = 2
"""Clips per decoding thread that are being decoded, or are and wait: short ones would else pile up by the shard."""
_BATCHES_AHEAD = 2
_EXTRA_FRAMES = 5
_POLL_SECONDS = 0.1


@dataclass(frozen=True, eq=False)
class CropTask:
    """A clip whose hands are to be cut out.

    Attributes:
        clip_id: its name.
        video: the file, or another kind of `Video`; None where the clip has none.
        centers: float32 (T, 4, 2), hands in pixels (x, y): person 1 left, right, person 2 left, right; NaN where absent.
    """

    clip_id: str
    video: Video | None
    centers: np.ndarray


@dataclass(frozen=True)
class ClipBegin:
    """The crops of a clip follow; it has `length` frames."""

    clip_id: str
    length: int


@dataclass(frozen=True, eq=False)
class ClipCrops:
    """Crops of the clip that was begun: rows `start`, `start` + 1, … of the batch show these frames and hands."""

    frames: np.ndarray
    hands: np.ndarray
    start: int


@dataclass(frozen=True)
class ClipEnd:
    """The clip that was begun is whole, or it failed with `error` (then its crops do not count)."""

    clip_id: str
    error: ActrecError | None = None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class CropBatch:
    """What the network takes at once.

    Attributes:
        images: RGB uint8 (batch_size, output_size, output_size, 3); rows from `count` on are padding.
        count: crops in the batch.
        events: what the rows are, in order.
    """

    images: np.ndarray
    count: int
    events: tuple[ClipBegin | ClipCrops | ClipEnd, ...]


@dataclass(frozen=True)
class CropOptions:
    """How crops are cut.

    Attributes:
        crop_size: side of the square in pixels of the video.
        output_size: side that the network takes.
        pixel_size: (width, height) of the frame that the skeleton's pixels refer to; None: the video's own size.
        clip_seconds: that decoding a clip may take; None sets no limit.
    """

    crop_size: int
    output_size: int
    pixel_size: tuple[int, int] | None = None
    clip_seconds: float | None = CLIP_SECONDS


def crop_batches(
    tasks: Sequence[CropTask], options: CropOptions, *, batch_size: int, decode_threads: int = 1
) -> Iterator[CropBatch]:
    """Decodes each clip once and yields full batches; the last one may be padded.

    Memory is bounded by the number of threads, whatever the length of a clip. Closing the iterator stops the threads.

    Raises:
        Exception: whatever a thread met that is no ActrecError, with its traceback. (An ActrecError ends its clip only.)
    """
    stop = threading.Event()
    channels = [_Channel(_FRAMES_AHEAD, stop) for _ in tasks]
    batches = _Channel(_BATCHES_AHEAD, stop)
    waiting = iter(list(zip(tasks, channels, strict=True)))
    lock = threading.Lock()
    places = threading.Semaphore(_CLIPS_AHEAD * decode_threads)

    def decode_some() -> None:
        while not stop.is_set():
            if not places.acquire(timeout=_POLL_SECONDS):
                continue
            with lock:  # clips begin in order, so the one that is needed next has its place
                task, channel = next(waiting, (None, None))
            if task is None:
                return
            channel.fill(lambda t=task: _clip_items(t, options))

    def items_in_order() -> Iterator[ClipBegin | _FrameCrops | ClipEnd]:
        for channel in channels:
            yield from channel
            places.release()

    def batch_all() -> None:
        resizers = max(1, decode_threads // 2)
        with ThreadPoolExecutor(resizers, "resize") as pool:
            batches.fill(lambda: _Batcher(options.output_size, batch_size, pool, resizers).batches(items_in_order()))

    threads = [threading.Thread(target=decode_some, name=f"decode-{i}", daemon=True) for i in range(decode_threads)]
    threads.append(threading.Thread(target=batch_all, name="batch", daemon=True))
    for thread in threads:
        thread.start()
    try:
        yield from batches
    finally:
        stop.set()
        for thread in threads:
            thread.join()


class _Stopped(Exception):
    """The other side has gone: the thread ends."""


@dataclass(frozen=True)
class _Failure:
    error: BaseException


_END = object()


class _Channel:
    """A bounded queue from one thread to another that passes exceptions on and gives up when `stop` is set."""

    def __init__(self, size: int, stop: threading.Event):
        self._queue, self._stop = queue.Queue(size), stop

    def fill(self, make: Callable[[], Iterator]) -> None:
        """Puts everything that the iterator gives, then the end or the exception that it raised."""
        try:
            try:
                for item in make():
                    self._put(item)
                self._put(_END)
            except _Stopped:
                raise
            except BaseException as error:
                self._put(_Failure(error))
        except _Stopped:
            return

    def __iter__(self) -> Iterator:
        while (item := self._get()) is not _END:
            if isinstance(item, _Failure):
                raise item.error
            yield item

    def _put(self, item: object) -> None:
        while not self._stop.is_set():
            try:
                return self._queue.put(item, timeout=_POLL_SECONDS)
            except queue.Full:
                continue
        raise _Stopped

    def _get(self) -> object:
        while not self._stop.is_set():
            try:
                return self._queue.get(timeout=_POLL_SECONDS)
            except queue.Empty:
                continue
        raise _Stopped


@dataclass(frozen=True, eq=False)
class _FrameCrops:
    """Small BGR crops (m, size, size, 3) of the hands (m,) of one frame."""

    frame: int
    hands: np.ndarray
    crops: np.ndarray


def _clip_items(task: CropTask, options: CropOptions) -> Iterator[ClipBegin | _FrameCrops | ClipEnd]:
    """Begin, crops frame by frame, end. Decodes the video once."""
    yield ClipBegin(task.clip_id, len(task.centers))
    try:
        yield from _decode(task, options)
    except ActrecError as error:
        yield ClipEnd(task.clip_id, error)


def _decode(task: CropTask, options: CropOptions) -> Iterator[_FrameCrops | ClipEnd]:
    if task.video is None:
        raise VideoError(
            "the clip has no video", place=f"clip {task.clip_id}", fix="check the data root, or leave the clip out"
        )
    present = np.isfinite(task.centers).all(axis=2)
    outside = 0
    # One thread each: there are as many clips at once as threads to decode them, and FFmpeg's own hold a frame each.
    with VideoReader(task.video, threads=1, time_limit=options.clip_seconds) as video:
        centers = task.centers.astype(np.float64)
        if options.pixel_size is not None:
            centers = centers * (video.width / options.pixel_size[0], video.height / options.pixel_size[1])
        for index, frame in enumerate(video.frames(present.any(axis=1))):
            if frame is None:
                continue
            hands = np.flatnonzero(present[index])
            crops = np.stack([crop_square(frame, centers[index, hand], options.crop_size) for hand in hands])
            outside += sum(not crop.any() for crop in crops)
            yield _FrameCrops(index, hands, crops)
        notes = _notes(task, video, outside, int(present.sum()))
    yield ClipEnd(task.clip_id, notes=notes)


def _notes(task: CropTask, video: VideoReader, outside: int, total: int) -> tuple[str, ...]:
    notes = []
    extra = video.frame_count - len(task.centers)
    if extra > _EXTRA_FRAMES:
        notes.append(f"{task.clip_id}: the video has {extra} frames more than its skeleton; they were not read")
    if 2 * outside > total:
        size = f"{video.width}x{video.height}"
        notes.append(
            f"{task.clip_id}: {outside} of {total} hands lie outside of the {size} video or on black; if the skeleton's pixels "
            "refer to a frame of another size, give it as pixel size"
        )
    return tuple(notes)


@dataclass
class _Batcher:
    """Collects crops across frames and clips into batches of one shape."""

    output_size: int
    batch_size: int
    pool: ThreadPoolExecutor
    resizers: int
    _rows: list[np.ndarray] = field(default_factory=list)
    _events: list = field(default_factory=list)

    def batches(self, items: Iterator[ClipBegin | _FrameCrops | ClipEnd]) -> Iterator[CropBatch]:
        for item in items:
            if not isinstance(item, _FrameCrops):
                self._events.append(item)
                continue
            done = 0
            while done < len(item.hands):
                free = self.batch_size - len(self._rows)
                hands = item.hands[done : done + free]
                self._events.append(ClipCrops(np.full(len(hands), item.frame), hands, len(self._rows)))
                self._rows.extend(item.crops[done : done + free])
                done += len(hands)
                if len(self._rows) == self.batch_size:
                    yield self._take()
        if self._events:
            yield self._take()

    def _take(self) -> CropBatch:
        size, count = self.output_size, len(self._rows)
        images = np.empty((self.batch_size, size, size, 3), np.uint8)
        images[count:] = 0
        if count:
            crops = np.stack(self._rows)
            parts = np.array_split(np.arange(count), min(count, self.resizers))
            jobs = [self.pool.submit(resize_to_rgb, crops[p], size, out=images[p[0] : p[-1] + 1]) for p in parts]
            for job in jobs:
                job.result()
        batch = CropBatch(images, count, tuple(_merged(self._events)))
        self._rows, self._events = [], []
        return batch


def _merged(events: list) -> Iterator[ClipBegin | ClipCrops | ClipEnd]:
    """Neighbouring frames of a clip become one event: one write for many frames."""
    group: list[ClipCrops] = []
    for event in [*events, None]:
        if isinstance(event, ClipCrops):
            group.append(event)
            continue
        if group:
            frames, hands = np.concatenate([e.frames for e in group]), np.concatenate([e.hands for e in group])
            yield ClipCrops(frames, hands, group[0].start)
            group = []
        if event is not None:
            yield event
