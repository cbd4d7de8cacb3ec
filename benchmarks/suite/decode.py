"""How many frames of 1920x1080 one thread decodes in a second, and how many with the crops around two hands."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import cv2
import numpy as np

from keras_actrec.extraction.crop_stream import CropOptions, CropTask, crop_batches
from keras_actrec.video.crops import hand_crops
from keras_actrec.video.decode import VideoReader
from keras_actrec.video.write import write_video
from suite.figures import Figure, Settings, in_turns, peak_bytes, rate_figure

WIDTH, HEIGHT = 1920, 1080
CROP, IMAGE = 50, 299
CODECS = {"MPEG-4": "XVID", "JPEG": "MJPG"}
"""NTU RGB+D comes as MPEG-4 in .avi, 49 kB a frame; videos made here take about as much. Not every OpenCV writes H.264."""


def measure(settings: Settings) -> list[Figure]:
    """Frames per second from the page cache, one decoding thread: skipped, converted to pixels, cropped; and the crop stream.

    "cropped" is what an extraction does with a frame, one after the other: two crops of 50 pixels, resized to 299. The stream
    does the same in its threads. The memory is what reading adds to that of a new process that has loaded the libraries.
    """
    frames, repetitions = (60, 3) if settings.quick else (150, 9)
    centers = hand_places(frames)
    figures = []
    for codec, letters in CODECS.items():
        video = write_camera_video(settings.folder / f"{letters}.avi", frames, codec=letters)
        seconds = in_turns(ways(video, centers), repetitions, warm_up=1)
        figures += [rate_figure(f"decode: {codec}, {way}", frames, each, "frames/s") for way, each in seconds.items()]
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
            memory = pool.submit(reader_bytes, video, frames).result() / 1e6
        figures.append(Figure(f"decode: {codec}, memory of a reader", memory, "MB"))
    return figures


def ways(video: Path, centers: np.ndarray) -> dict[str, Callable[[], object]]:
    """What is timed, by name. centers: (T, 4, 2), NaN where there is no hand."""
    frames = len(centers)

    def cropped() -> None:
        with VideoReader(video, threads=1) as reader:
            for frame, places in zip(reader.frames(np.ones(frames, bool)), centers, strict=True):
                hand_crops(frame, places[np.isfinite(places).all(axis=1)], CROP, IMAGE)

    def stream() -> None:
        for _ in crop_batches([CropTask("clip", video, centers)], CropOptions(CROP, IMAGE), batch_size=64):
            pass

    return {
        "skipped": lambda: read(video, np.zeros(frames, bool)),
        "converted": lambda: read(video, np.ones(frames, bool)),
        "cropped": cropped,
        "crop stream": stream,
    }


def reader_bytes(video: Path, frames: int) -> int:
    """By how much reading a video raises the peak of this process's memory."""
    before = peak_bytes()
    read(video, np.ones(frames, bool))
    return peak_bytes() - before


def read(video: Path, wanted: np.ndarray) -> None:
    """Decodes the frames, of which the wanted ones become pixels. wanted: bool (T,)."""
    with VideoReader(video, threads=1) as reader:
        for _ in reader.frames(wanted):
            pass


def hand_places(frames: int, *, seed: int = 0) -> np.ndarray:
    """Centres (T, 4, 2) of the hands of one person, well inside of the frame; NaN for the other person's."""
    places = np.full((frames, 4, 2), np.nan, np.float32)
    places[:, :2] = np.random.default_rng(seed).uniform((100, 100), (WIDTH - 100, HEIGHT - 100), (frames, 2, 2))
    return places


def write_camera_video(path: Path, frames: int, *, codec: str = CODECS["MPEG-4"], seed: int = 0) -> Path:
    """A video of soft structure that moves under the noise of a sensor: no easier to decode than a recording."""
    return write_video(path, _pictures(frames, seed), 30, codec=codec)


def _pictures(frames: int, seed: int) -> Iterator[np.ndarray]:
    draw = np.random.default_rng(seed)
    coarse = draw.integers(0, 256, (72, 124, 3)).astype(np.uint8)
    scene = cv2.GaussianBlur(cv2.resize(coarse, (WIDTH + 64, HEIGHT + 72), interpolation=cv2.INTER_CUBIC), (0, 0), 1)
    noise = [draw.normal(0, 3, (HEIGHT, WIDTH, 1)).astype(np.int16) for _ in range(4)]
    for frame in range(frames):
        top, left = frame % 8, frame % 32
        part = scene[top : top + HEIGHT, left : left + WIDTH].astype(np.int16)
        yield np.clip(part + noise[frame % 4], 0, 255).astype(np.uint8)
