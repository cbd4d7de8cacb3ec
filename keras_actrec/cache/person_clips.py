"""Reading person clips: images cropped to the people of a clip, from HDF5 shards or from a folder of images per clip.

What the files hold: `person_clip_writer.py`. Folders that other tools made have no index, only DIR/<clip id>/ with a .jpg or
.png file per frame; `PersonClipFolder` reads them too.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

import cv2
import h5py
import numpy as np

from keras_actrec.cache.person_clip_writer import frame_name
from keras_actrec.cache.reader import CacheReader, read_rows
from keras_actrec.cache.schema import INDEX_NAME, PERSON_CLIPS, CacheOptions, check_options, load_index
from keras_actrec.datasets.record import LeftOut
from keras_actrec.errors import CacheError, ConfigError, VideoError
from keras_actrec.video.frame_folder import image_files, read_image
from keras_actrec.video.person_boxes import WHOLE

_ANEW = "run preprocessing/verify_cache.py with --repair, then the extraction again; get images of other tools anew"
_RESIZE = "give image_size: images that other tools made are then resized to it"


class _PersonClipShards(CacheReader):
    """Shards of person clips of either storage."""

    kind = PERSON_CLIPS

    @property
    def storage(self) -> str:
        """One of `STORAGES`."""
        return str(self.options.options["storage"])

    @property
    def image_size(self) -> int:
        """Side S of the images in pixels."""
        return int(self.options.options["size"])

    def boxes(self, clip_id: str) -> np.ndarray:
        """What each image was cut from: float32 (T, 4), whole numbers (x0, y0, x1, y1) in pixels of the video.

        A box may leave the video, where its image is black. Raises CacheError: an unknown clip, or a damaged shard.
        """
        path = self._place(clip_id)
        rows = slice(self._offsets[clip_id], self._offsets[clip_id] + self._lengths[clip_id])
        return self._read(path, lambda file: file["boxes"][rows], f"clip {clip_id}, boxes")


class PersonClipCache(_PersonClipShards):
    """Person clips in HDF5 shards. Arguments and attributes: see `CacheReader`. `open_person_clips` reads either storage.

    Attributes:
        image_size: side S of the images in pixels.
    """

    def __init__(
        self,
        directory: str | Path,
        expected: CacheOptions | None = None,
        *,
        allow_incomplete: bool = False,
        open_shards: int = 16,
    ):
        super().__init__(directory, expected, allow_incomplete=allow_incomplete, open_shards=open_shards)
        if self.storage != "hdf5":
            raise CacheError("the images lie in folders, not in shards", file=directory, fix="use open_person_clips")

    def images(self, clip_id: str, frames: np.ndarray) -> np.ndarray:
        """Images of chosen frames; nothing but their bytes is read.

        Args:
            clip_id: the clip.
            frames: int (m,), in any order, repeats allowed.

        Returns:
            RGB uint8 (m, S, S, 3).

        Raises:
            CacheError: an unknown clip, a frame outside it, or a damaged shard.
        """
        path, place = self._place(clip_id), f"clip {clip_id}"
        frames = _checked(frames, self._lengths[clip_id], path, place)
        unique, order = np.unique(frames, return_inverse=True)
        rows = unique + self._offsets[clip_id]
        jpegs = self._read(path, lambda file: _jpegs(file, rows), place)
        result = np.empty((len(frames), self.image_size, self.image_size, 3), np.uint8)
        for number, jpeg in enumerate(jpegs):
            image = cv2.imdecode(jpeg, cv2.IMREAD_COLOR)
            result[order == number] = _rgb(image, self.image_size, path, f"{place}, frame {unique[number]}")
        return result


class PersonClipFolder:
    """Person clips in a folder per clip: those of storage "jpeg", or of any other tool.

    Without an index.json every sub-folder that holds .jpg or .png files is a clip, named as the sub-folder; the images are its
    frames in the order of their names, numbers by value. They are counted once, when this is made. `options` then names no
    data set and no layout ("").

    Args:
        directory: the folder.
        expected: options that the cache must have; None takes any.
        allow_incomplete: also read a cache some of whose shards are not there yet.
        image_size: for folders without an index: images are resized to this side, and stretched where they are not square.
            None takes the side of the first image; all must then be squares of that side.

    Attributes:
        directory, options.
        lengths: clip id -> number of frames T.
        left_out: clips that the extraction left out, with reasons; without an index, sub-folders that hold no image.
        image_size: side S of the images in pixels.

    Raises:
        CacheError: there are no clips, or as for `CacheReader`.
        ConfigError: image_size is not positive.
    """

    def __init__(
        self,
        directory: str | Path,
        expected: CacheOptions | None = None,
        *,
        allow_incomplete: bool = False,
        image_size: int | None = None,
    ):
        self.directory = Path(directory)
        self._shards: _PersonClipShards | None = None
        if (self.directory / INDEX_NAME).exists():
            self._open(expected, allow_incomplete, image_size)
        else:
            self._list(expected, image_size)

    def _open(self, expected: CacheOptions | None, allow_incomplete: bool, image_size: int | None) -> None:
        shards = _PersonClipShards(self.directory, expected, allow_incomplete=allow_incomplete)
        if shards.storage != "jpeg":
            raise CacheError("the images lie in shards, not in folders", file=self.directory, fix="use open_person_clips")
        if image_size not in (None, shards.image_size):
            raise _other_size(self.directory, shards.image_size, image_size)
        self._shards, self._resize = shards, False
        self.options, self.image_size, self.left_out = shards.options, shards.image_size, shards.left_out
        self._lengths = dict(shards.lengths)

    def _list(self, expected: CacheOptions | None, image_size: int | None) -> None:
        folders = sorted(path for path in self.directory.glob("*") if path.is_dir() and not path.name.startswith("."))
        counts = {path.name: len(image_files(path)) for path in folders}
        self._lengths = {clip: count for clip, count in counts.items() if count}
        self.left_out = tuple(
            LeftOut(clip, "person_clips", "the folder has no .jpg or .png files", str(self.directory / clip))
            for clip, count in counts.items()
            if not count
        )
        if not self._lengths:
            raise CacheError(
                "there are no person clips here", file=self.directory,
                expected=f"{INDEX_NAME}, or a folder of .jpg or .png files for each clip",
                fix="run preprocessing/extract_person_clips.py into this folder first, or check its name",
            )  # fmt: skip
        self._resize = image_size is not None
        if image_size is None:
            first = image_files(self.directory / next(iter(self._lengths)))[0]
            image_size = len(_read_file(first))
        if image_size < 1:
            raise ConfigError("the side of images must be positive", file=self.directory, found=image_size)
        self.image_size = image_size
        self.options = CacheOptions(PERSON_CLIPS, "", "", {"storage": "folders", "size": image_size})
        if expected is not None:
            check_options(self.options, expected, self.directory)

    @property
    def lengths(self) -> Mapping[str, int]:
        return MappingProxyType(self._lengths)

    @property
    def clip_ids(self) -> tuple[str, ...]:
        """Clips that are there."""
        return tuple(self._lengths)

    def images(self, clip_id: str, frames: np.ndarray) -> np.ndarray:
        """Images of chosen frames: RGB uint8 (m, S, S, 3). As `PersonClipCache.images`, but whole files are read.

        Raises:
            CacheError: an unknown clip, a frame outside it, or an image that is missing, damaged or of another size.
        """
        folder, place = self.directory / clip_id, f"clip {clip_id}"
        frames = _checked(frames, self._length(clip_id), folder, place)
        files = None if self._shards is not None else image_files(folder)
        result = np.empty((len(frames), self.image_size, self.image_size, 3), np.uint8)
        unique, order = np.unique(frames, return_inverse=True)
        for number, frame in enumerate(unique):
            if files is not None and frame >= len(files):
                raise CacheError("images are gone", file=folder, found=len(files), expected=self._lengths[clip_id])
            file = folder / frame_name(frame) if files is None else files[frame]
            image = _read_file(file)
            if self._resize and image.shape[:2] != (self.image_size, self.image_size):
                image = _resized(image, self.image_size)
            result[order == number] = _rgb(image, self.image_size, file, "", _ANEW if files is None else _RESIZE)
        return result

    def boxes(self, clip_id: str) -> np.ndarray:
        """What each image was cut from: see `PersonClipCache.boxes`. Raises CacheError also where there is no index."""
        self._length(clip_id)
        if self._shards is None:
            raise CacheError(
                "folders without an index do not say where their images were cut", file=self.directory,
                place=f"clip {clip_id}", fix="use what needs no boxes, or extract the clips with extract_person_clips.py",
            )  # fmt: skip
        return self._shards.boxes(clip_id)

    def close(self) -> None:
        """Closes the shards that this process has open; they open again when read."""
        if self._shards is not None:
            self._shards.close()

    def __enter__(self) -> PersonClipFolder:
        return self

    def __exit__(self, *_) -> None:
        self.close()

    def _length(self, clip_id: str) -> int:
        if clip_id not in self._lengths:
            raise CacheError(
                "there is no such person clip", file=self.directory, place=f"clip {clip_id}",
                fix="it was left out or never extracted: see `left_out`, or run the extraction for it",
            )  # fmt: skip
        return self._lengths[clip_id]


PersonClips = PersonClipCache | PersonClipFolder


def open_person_clips(
    directory: str | Path,
    expected: CacheOptions | None = None,
    *,
    allow_incomplete: bool = False,
    image_size: int | None = None,
) -> PersonClips:
    """Person clips in whichever form the folder has them.

    Args:
        directory: of a cache with storage "hdf5" or "jpeg", or of folders of images without an index.
        expected, allow_incomplete: as for `CacheReader`.
        image_size: as for `PersonClipFolder`; a cache must have this size.

    Raises:
        CacheError: see `PersonClipFolder` and `CacheReader`.
    """
    directory = Path(directory)
    if (directory / INDEX_NAME).exists():
        options = load_index(directory).options
        if options.kind == PERSON_CLIPS and options.options["storage"] == "jpeg":
            return PersonClipFolder(directory, expected, allow_incomplete=allow_incomplete, image_size=image_size)
        cache = PersonClipCache(directory, expected, allow_incomplete=allow_incomplete)
        if image_size not in (None, cache.image_size):
            raise _other_size(directory, cache.image_size, image_size)
        return cache
    return PersonClipFolder(directory, expected, image_size=image_size)


def joints_in_images(clips: PersonClips, clip_id: str, pixels: np.ndarray) -> np.ndarray:
    """Joints in pixels of the video → in pixels of the stored images: (x - x0) / (x1 - x0) · S with the box of each frame.

    Where the clips were cut with a `pixel_size`, the pixels are taken to refer to a frame of that size.

    Args:
        clips: with boxes.
        clip_id: the clip.
        pixels: (T, P, J, 2), (x, y); not finite where absent.

    Returns:
        float32 (T, P, J, 2); not finite where absent.

    Raises:
        CacheError: an unknown clip, a folder of images of other tools, which has no boxes, or clips that were cut around people
            in videos of another size than their skeletons refer to: that size is not known any more.
    """
    boxes = clips.boxes(clip_id)[:, None, None].astype(np.float64)
    low, size = boxes[..., :2], boxes[..., 2:] - boxes[..., :2]
    pixel_size = clips.options.options.get("pixel_size")
    if pixel_size is not None:
        if clips.options.options["box"] != WHOLE:
            raise CacheError(
                "joints cannot be placed: the clips were cut from videos of another size than the skeletons' pixels refer to",
                file=clips.directory, place=f"clip {clip_id}", found=f"box {clips.options.options['box']}", expected=WHOLE,
                fix="extract person clips with --box whole",
            )  # fmt: skip
        size = np.asarray(pixel_size, np.float64)
    return ((pixels - low) / size * clips.image_size).astype(np.float32)


def _other_size(directory: Path, found: int, expected: int) -> CacheError:
    fix = "do without image_size, or extract person clips of that size"
    return CacheError("the images have another size", file=directory, found=found, expected=expected, fix=fix)


def _checked(frames: np.ndarray, length: int, file: Path, place: str) -> np.ndarray:
    frames = np.asarray(frames)
    if frames.ndim != 1 or frames.dtype.kind not in "iu":
        raise CacheError("frames are integers (m,)", file=file, place=place, found=f"{frames.shape} {frames.dtype}")
    wrong = frames[(frames < 0) | (frames >= length)]
    if wrong.size:
        expected = f"0..{length - 1}"
        raise CacheError("there is no such frame", file=file, place=place, found=int(wrong[0]), expected=expected)
    return frames.astype(np.int64)


def _jpegs(file: h5py.File, rows: np.ndarray) -> list[np.ndarray]:
    """Bytes of images. rows: int64 (m,), rising. One read per run of neighbouring images."""
    jpegs: list[np.ndarray] = []
    if len(rows):
        table = read_rows(file["frame_bytes"], rows)
        for run in np.split(table, np.flatnonzero(np.diff(rows) != 1) + 1):
            data = file["jpegs"][run[0, 0] : run[-1].sum()]
            jpegs += np.split(data, np.cumsum(run[:-1, 1]))
    return jpegs


def _read_file(file: Path) -> np.ndarray:
    try:
        return read_image(file)
    except VideoError as error:
        raise CacheError(error.problem, file=error.file, found=error.found, expected=error.expected, fix=_ANEW) from error


def _resized(image: np.ndarray, size: int) -> np.ndarray:
    shrinks = image.shape[0] * image.shape[1] > size * size
    return cv2.resize(image, (size, size), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)


def _rgb(image: np.ndarray | None, size: int, file: Path, place: str, fix: str = _ANEW) -> np.ndarray:
    """BGR (S, S, 3) → RGB. Raises CacheError where an image did not decode (None) or has another size; then with `fix`."""
    if image is None:
        raise CacheError("the image does not decode", file=file, place=place, fix=_ANEW)
    if image.shape[:2] != (size, size):
        found, expected = f"{image.shape[1]}x{image.shape[0]}", f"{size}x{size}"
        raise CacheError("an image of another size", file=file, place=place, found=found, expected=expected, fix=fix)
    return cv2.cvtColor(image, cv2.COLOR_BGR2RGB)
