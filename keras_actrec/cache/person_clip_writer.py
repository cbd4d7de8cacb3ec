"""Writing person clips: images cropped to the people of a clip as JPEG, in HDF5 shards or in a folder per clip.

    storage "hdf5"                          storage "jpeg"
    DIR/person_clips-00000.h5               DIR/<clip id>/000000.jpg, 000001.jpg, …   one per frame, whole clips only
                                            DIR/person_clips-00000.h5                 lengths, boxes, clips left out

Both have DIR/index.json and shards with `offsets` (first row of each clip) and `boxes` (sum of T, 4) float32. With "hdf5" a
shard also holds `jpegs`, uint8, the bytes of all images, and `frame_bytes` (sum of T, 2) int64: the first byte of each image
and their number. The bytes of an image are the same in both forms.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import numpy as np

from keras_actrec.cache.schema import CacheIndex
from keras_actrec.cache.writer import ShardWriter, new_dataset
from keras_actrec.datasets.record import LeftOut
from keras_actrec.errors import ConfigError

STORAGES = ("hdf5", "jpeg")
_CHUNK = 32 * 1024
_WRITE_AT_ONCE = 1 << 20


def frame_name(frame: int) -> str:
    """File name of an image with storage "jpeg"."""
    return f"{frame:06d}.jpg"


def person_clip_writer(directory: str | Path, index: CacheIndex, shard: int) -> PersonClipShardWriter:
    """The writer of a shard in the storage that the options of the plan name."""
    kind = PersonClipShardWriter if index.options.options["storage"] == "hdf5" else PersonFolderShardWriter
    return kind(directory, index, shard)


class PersonClipShardWriter(ShardWriter):
    """A shard with storage "hdf5". Clips are written one after the other, each in order of frames."""

    def _create(self) -> None:
        self._boxes: list[np.ndarray] = []
        self._clip: str | None = None
        self._prepare()

    def begin_clip(self, clip_id: str) -> None:
        """Starts a clip."""
        self._clip, self._count = clip_id, 0
        self._begin()

    def write(self, jpeg: bytes) -> None:
        """Adds the next image of the clip that was begun. Raises DiskFullError where no space is left."""
        self._store(jpeg)
        self._count += 1

    def end_clip(self, boxes: np.ndarray) -> None:
        """The clip that was begun is whole.

        Args:
            boxes: (T, 4), a row for each image: (x0, y0, x1, y1) in pixels of the video.

        Raises:
            ConfigError: the boxes do not fit the images.
            DiskFullError: no space left.
        """
        if boxes.shape != (self._count, 4):
            raise ConfigError("boxes do not fit the images", found=boxes.shape, expected=(self._count, 4))
        self._end()
        self._boxes.append(np.asarray(boxes, np.float32))
        self._lengths[self._clip] = self._count
        self._clip = None

    def discard_clip(self, left_out: LeftOut) -> None:
        """The clip that was begun stays out: nothing of it remains."""
        self._discard()
        self._clip = None
        self.leave_out(left_out)

    def _close_clips(self) -> None:
        lengths = [len(boxes) for boxes in self._boxes]
        new_dataset(self._file, "boxes", np.concatenate([np.zeros((0, 4), np.float32), *self._boxes]))
        new_dataset(self._file, "offsets", np.cumsum([0, *lengths], dtype=np.int64)[:-1])
        self._close_images()

    def _prepare(self) -> None:
        self._jpegs = self._file.create_dataset("jpegs", (0,), np.uint8, maxshape=(None,), chunks=(_CHUNK,), fletcher32=True)
        self._sizes: list[int] = []
        self._pending = bytearray()

    def _begin(self) -> None:
        self._clip_start = len(self._jpegs), len(self._sizes)

    def _store(self, jpeg: bytes) -> None:
        self._sizes.append(len(jpeg))
        self._pending += jpeg
        if len(self._pending) >= _WRITE_AT_ONCE:
            self._flush()

    def _end(self) -> None:
        self._flush()

    def _discard(self) -> None:
        size, count = self._clip_start
        self._pending.clear()
        del self._sizes[count:]
        with self._guard(f"clip {self._clip}", 0):
            self._jpegs.resize(size, axis=0)

    def _close_images(self) -> None:
        sizes = np.array(self._sizes, np.int64)
        new_dataset(self._file, "frame_bytes", np.stack([np.cumsum(sizes) - sizes, sizes], axis=1))

    def _flush(self) -> None:
        with self._guard(f"clip {self._clip}", len(self._pending)):
            start = len(self._jpegs)
            self._jpegs.resize(start + len(self._pending), axis=0)
            self._jpegs[start:] = np.frombuffer(self._pending, np.uint8).copy()
        self._pending.clear()


class PersonFolderShardWriter(PersonClipShardWriter):
    """A shard with storage "jpeg": a clip's folder gets its name when the clip is whole."""

    def __init__(self, directory: str | Path, index: CacheIndex, shard: int):
        super().__init__(directory, index, shard)
        # Named like the unfinished shard, so that `remove_stale_parts` knows whose it is.
        self._images = self._part.with_name(self._part.name.replace(".h5.", ".h5.images.", 1))

    def _prepare(self) -> None:
        shutil.rmtree(self._images, ignore_errors=True)
        self._images.mkdir()

    def _begin(self) -> None:
        self._folder = self._images / self._clip
        with self._guard(f"clip {self._clip}", 0):
            self._folder.mkdir()

    def _store(self, jpeg: bytes) -> None:
        with self._guard(f"clip {self._clip}", len(jpeg)):
            (self._folder / frame_name(self._count)).write_bytes(jpeg)

    def _end(self) -> None:
        final = self.path.parent / self._clip
        with self._guard(f"clip {self._clip}", 0):
            if final.exists():  # of a run that was killed before the shard was whole, or of a shard that is written anew
                os.replace(final, self._images / f"{self._clip}.before")
            os.replace(self._folder, final)
        shutil.rmtree(self._images / f"{self._clip}.before", ignore_errors=True)

    def _discard(self) -> None:
        shutil.rmtree(self._folder, ignore_errors=True)
        shutil.rmtree(self.path.parent / self._clip, ignore_errors=True)  # of an earlier run, where the clip was still sound

    def _close_images(self) -> None:
        if hasattr(os, "sync"):  # once for all images: the shard that vouches for them is renamed after this
            os.sync()

    def _abandon(self, *, keep: bool = False) -> None:
        super()._abandon(keep=keep)
        shutil.rmtree(self._images, ignore_errors=True)
