"""Data set + pose cache → person clips: every frame cropped to the people in it, as JPEG.

Source: "VPN: Learning Video-Pose Embedding for Activities of Daily Living" (Das, Sharma, Dai, Bremond, Thonnat), section 3.1:
the visual backbone takes a stack of images cropped to the human. The paper does not say how they are cut: the options here are
this project's. With `box="whole"` nothing is cut: the whole frame resized to a square, as "Glimpse Clouds: Human Activity
Recognition from Unstructured Feature Points" (section 7) has its videos.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import cv2
import numpy as np

from keras_actrec.cache.person_clip_writer import STORAGES, PersonClipShardWriter, person_clip_writer
from keras_actrec.cache.reader import PoseCache
from keras_actrec.cache.schema import CLIPS_PER_SHARD, INDEX_NAME, PERSON_CLIPS, CacheIndex, CacheOptions, plan_cache
from keras_actrec.datasets.record import ActionDataset, LeftOut
from keras_actrec.errors import CacheError, ConfigError, VideoError
from keras_actrec.extraction.poses import clips_with_poses
from keras_actrec.extraction.run import ExtractionReport, check_clip_seconds, run_extraction
from keras_actrec.extraction.shard_job import ShardResult, Tick, one_there
from keras_actrec.extraction.workers import Workers
from keras_actrec.skeletons.sequence import SkeletonSequence
from keras_actrec.video.decode import Video, VideoReader
from keras_actrec.video.person_boxes import BOX_MODES, WHOLE, crop_box, person_boxes, whole_frame_boxes
from keras_actrec.video.rescale import resize_frame
from keras_actrec.video.time_limit import CLIP_SECONDS

BOXES = (*BOX_MODES, WHOLE)
_STAGE = "person_clips"
_EXTRA_FRAMES = 5


@dataclass(frozen=True)
class PersonCropConfig:
    """How people are cut out.

    Attributes:
        size: side of the images in pixels.
        margin: widening of the box on each side, as a share of its longer side (`person_boxes`); no part in "whole".
        box: "clip": one box for all frames; "frame": it follows the people; "whole": the whole frame, resized to a square
            without keeping proportions, which needs no joints in pixels.
        quality: of the JPEGs, 1 to 100 (OpenCV's scale).

    Raises:
        ConfigError: a value makes no sense.
    """

    size: int = 224
    margin: float = 0.15
    box: str = "clip"
    quality: int = 95

    def __post_init__(self):
        if self.size < 1:
            raise ConfigError("the size of a person crop must be positive", found=self.size)
        if not 0 <= self.margin < np.inf:
            raise ConfigError("the margin of a person crop is a share, at least 0", found=self.margin)
        if self.box not in BOXES:
            raise ConfigError("unknown kind of box", found=repr(self.box), expected=" or ".join(map(repr, BOXES)))
        if not 1 <= self.quality <= 100:
            raise ConfigError("the quality of a JPEG is 1 to 100", found=self.quality)


_CROP = PersonCropConfig()


def person_clip_options(
    poses: CacheOptions,
    crop: PersonCropConfig = _CROP,
    *,
    storage: str = "hdf5",
    pixel_size: tuple[int, int] | None = None,
) -> CacheOptions:
    """Options of the cache that `extract_person_clips` writes with these arguments; what a reader expects.

    Args:
        poses: options of the pose cache that the boxes come from.
        crop, storage, pixel_size: as for `extract_person_clips`.
    """
    options = {**asdict(crop), "storage": storage, "pixel_size": pixel_size, "cleaning": poses.options["cleaning"]}
    options["margin"] = 0.0 if crop.box == WHOLE else float(crop.margin)
    if "source_layout" in poses.options:
        options["source_layout"] = poses.options["source_layout"]
    return CacheOptions(PERSON_CLIPS, poses.dataset, poses.layout, options)


def extract_person_clips(
    dataset: ActionDataset,
    pose_directory: str | Path,
    directory: str | Path,
    *,
    crop: PersonCropConfig = _CROP,
    storage: str = "hdf5",
    pixel_size: tuple[int, int] | None = None,
    workers: Workers = 1,
    progress: bool | None = None,
    clips_per_shard: int = CLIPS_PER_SHARD,
    share: tuple[int, int] = (0, 1),
    retry_left_out: bool = False,
    clip_seconds: float | None = CLIP_SECONDS,
) -> ExtractionReport:
    """Writes the person clips of a data set, or goes on with a cache that was begun.

    Every frame of the skeleton is stored; further frames of the video are not read. One frame is in memory at a time.

    Args:
        dataset: gives the records with their videos.
        pose_directory: the pose cache of the same data set; its joints in pixels say where the people are.
        directory: folder of the cache to write.
        crop: how people are cut out.
        storage: "hdf5": shards; "jpeg": a folder of images per clip, which other tools read as well, and small shards with the
            boxes. The images are the same.
        pixel_size: (width, height) of the frame that the skeleton's pixels refer to, where the videos have another size.
        workers, progress, share, retry_left_out: see `run_extraction`.
        clips_per_shard: of a new cache; what a killed run can lose.
        clip_seconds: that decoding a clip may take; a clip over it is left out. None sets no limit.

    Returns:
        The report. A clip whose video is absent, does not decode or is shorter than its skeleton is left out, and one without a
        joint in the video unless its frames stay whole.

    Raises:
        CacheError: the pose cache is absent, incomplete or of another data set; the folder holds images that are not of this
            cache; and as for `run_extraction`.
        ConfigError, DiskFullError: see `run_extraction`.
    """
    directory = Path(directory)
    if storage not in STORAGES:
        raise ConfigError("unknown storage", found=repr(storage), expected=" or ".join(map(repr, STORAGES)))
    _check_pixel_size(pixel_size)
    check_clip_seconds(clip_seconds)
    ids, pose_options = clips_with_poses(dataset, pose_directory)
    if storage == "jpeg":
        _check_no_strange_images(directory, ids)
    options = person_clip_options(pose_options, crop, storage=storage, pixel_size=pixel_size)
    index = plan_cache(directory, options, ids, clips_per_shard=clips_per_shard)
    job = _PersonClipJob(
        directory=directory,
        index=index,
        pose_directory=Path(pose_directory),
        videos={record.clip_id: record.video for record in dataset.records},
        crop=crop,
        pixel_size=pixel_size,
        clip_seconds=clip_seconds,
    )
    return run_extraction(
        job,
        directory,
        index,
        ids,
        title="person clips",
        workers=workers,
        progress=progress,
        share=share,
        retry_left_out=retry_left_out,
    )


def clip_person_images(
    video: str | Video,
    sequence: SkeletonSequence,
    crop: PersonCropConfig = _CROP,
    *,
    pixel_size: tuple[int, int] | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """The person clip of one video, without a cache: the same images, through JPEG like those of a cache.

    Args:
        video: the file, or another kind of `Video`.
        sequence: cleaned, with pixels (T, P, J, 2); they may be None where frames stay whole.
        crop, pixel_size: as for `extract_person_clips`.

    Returns:
        images, RGB uint8 (T, S, S, 3), and boxes, float32 (T, 4): (x0, y0, x1, y1) in pixels of the video, whole numbers.

    Raises:
        VideoError: the video is absent, does not decode or is shorter than the skeleton; or no joint lies in it.
        ConfigError: the sequence has no pixels.
    """
    pixels = sequence.pixels
    if pixels is None and crop.box == WHOLE:
        pixels = np.full((*sequence.joints.shape[:3], 2), np.nan)
    if pixels is None:
        raise ConfigError(
            "person crops need the joints in pixels of the video",
            file=str(video),
            fix="use a skeleton file that has them, or take whole frames (box whole)",
        )
    _check_pixel_size(pixel_size)
    images = np.empty((sequence.length, crop.size, crop.size, 3), np.uint8)
    with _PersonVideo(video, pixels, crop, pixel_size) as people:
        for image, jpeg in zip(images, people.jpegs(), strict=True):
            image[:] = cv2.cvtColor(cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)
        return images, people.boxes


class _PersonVideo:
    """A video that is open, with the boxes of its people; a context manager.

    Attributes:
        boxes: float32 (T, 4).
    """

    def __init__(
        self,
        video: str | Video,
        pixels: np.ndarray,
        crop: PersonCropConfig,
        pixel_size: tuple[int, int] | None,
        *,
        threads: int | None = None,
        clip_seconds: float | None = CLIP_SECONDS,
    ):
        self._crop = crop
        self._video = VideoReader(video, threads=threads, time_limit=clip_seconds)
        try:
            size = (self._video.width, self._video.height)
            pixels = np.asarray(pixels, np.float64)
            if pixel_size is not None:
                pixels = pixels * (size[0] / pixel_size[0], size[1] / pixel_size[1])
            if crop.box == WHOLE:
                self.boxes = whole_frame_boxes(len(pixels), size)
            else:
                self.boxes = person_boxes(pixels, size, margin=crop.margin, mode=crop.box, file=self._video.path)
            self._outside = _share_outside(pixels, size)
        except BaseException:
            self._video.close()
            raise

    def __enter__(self) -> _PersonVideo:
        return self

    def __exit__(self, *_) -> None:
        self._video.close()

    def jpegs(self) -> Iterator[bytes]:
        """One JPEG per frame of the skeleton. Decodes the video once."""
        setting = [cv2.IMWRITE_JPEG_QUALITY, self._crop.quality]
        frames = self._video.frames(np.ones(len(self.boxes), bool))
        for frame, box in zip(frames, self.boxes, strict=True):
            done, jpeg = cv2.imencode(".jpg", self._cut(frame, box), setting)
            if not done:
                raise VideoError("OpenCV did not encode the crop", file=self._video.path, found=f"box {tuple(box)}")
            yield jpeg.tobytes()

    def _cut(self, frame: np.ndarray, box: np.ndarray) -> np.ndarray:
        size = self._crop.size
        return resize_frame(frame, size, size) if self._crop.box == WHOLE else crop_box(frame, box, size)

    def notes(self, clip_id: str) -> list[str]:
        """What is worth a look although the clip can be used."""
        notes = []
        extra = self._video.frame_count - len(self.boxes)
        if extra > _EXTRA_FRAMES:
            notes.append(f"{clip_id}: the video has {extra} frames more than its skeleton; they were not read")
        if self._outside > 0.5:
            notes.append(
                f"{clip_id}: {self._outside:.0%} of the joints lie outside of the {self._video.width}x{self._video.height} "
                "video; if the skeleton's pixels refer to a frame of another size, give it as pixel size"
            )
        return notes


def _share_outside(pixels: np.ndarray, size: tuple[int, int]) -> float:
    known = pixels[np.isfinite(pixels).all(axis=3)]
    return float(((known < 0) | (known >= size)).any(axis=1).mean()) if len(known) else 0.0


@dataclass(frozen=True)
class _PersonClipJob:
    """Writes shards of person clips (a `ShardJob`)."""

    directory: Path
    index: CacheIndex
    pose_directory: Path
    videos: Mapping[str, Path | None]
    crop: PersonCropConfig
    pixel_size: tuple[int, int] | None
    clip_seconds: float | None = CLIP_SECONDS

    def reads(self) -> tuple[Path, ...]:
        return (self.pose_directory, *one_there(self.videos.values()))

    def open(self, threads: int | None) -> Callable[[int, Tick], ShardResult]:
        if threads is not None:
            cv2.setNumThreads(1)
        poses = PoseCache(self.pose_directory)
        return lambda shard, tick: self._write(poses, threads, shard, tick)

    def _write(self, poses: PoseCache, threads: int | None, shard: int, tick: Tick) -> ShardResult:
        clips = self.index.shards[shard]
        left_out, notes, images = [], [], 0
        with person_clip_writer(self.directory, self.index, shard) as writer:
            for clip_id in clips:
                writer.begin_clip(clip_id)
                try:
                    count, remarks = self._clip(writer, clip_id, poses.pixels(clip_id), threads)
                except VideoError as error:
                    left_out.append(LeftOut(clip_id, _STAGE, str(error), error.file or ""))
                    writer.discard_clip(left_out[-1])
                else:
                    images += count
                    notes += remarks
                tick(1)
            writer.finish()
        return ShardResult(shard, len(clips) - len(left_out), tuple(left_out), images, tuple(notes))

    def _clip(
        self, writer: PersonClipShardWriter, clip_id: str, pixels: np.ndarray, threads: int | None
    ) -> tuple[int, list[str]]:
        """Writes a clip; gives its number of images and remarks."""
        video = self.videos[clip_id]
        if video is None:
            raise VideoError("the clip has no video", place=f"clip {clip_id}", fix="check the data root, or leave the clip out")
        limits = {"threads": threads, "clip_seconds": self.clip_seconds}
        with _PersonVideo(video, pixels, self.crop, self.pixel_size, **limits) as people:
            for jpeg in people.jpegs():
                writer.write(jpeg)
            writer.end_clip(people.boxes)
            return len(people.boxes), people.notes(clip_id)


def _check_pixel_size(pixel_size: tuple[int, int] | None) -> None:
    if pixel_size is not None and (len(pixel_size) != 2 or min(pixel_size) < 1):
        raise ConfigError("pixel_size is (width, height)", found=pixel_size)


def _check_no_strange_images(directory: Path, ids: list[str]) -> None:
    """Raises CacheError where the folder holds images under names of clips, but no cache: they would be replaced."""
    there = next((clip_id for clip_id in ids if (directory / clip_id).exists()), None)
    if there is not None and not (directory / INDEX_NAME).exists():  # in this order: another process may begin the cache now
        raise CacheError(
            "the folder holds images that are not of a cache of this project and would be replaced",
            file=directory,
            found=f"{there}, and no {INDEX_NAME}",
            fix="give another folder; to use these images as they are, no extraction is needed",
        )
