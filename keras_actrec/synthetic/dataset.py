"""Writes the synthetic data set: `.skeleton` and `_rgb.avi` files with NTU RGB+D's names, folders and formats."""

from __future__ import annotations

import json
import multiprocessing
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np

from keras_actrec.datasets.ntu_skeleton import write_ntu_skeleton
from keras_actrec.errors import ConfigError, DatasetError
from keras_actrec.files import whole_file
from keras_actrec.progress import progress_bar
from keras_actrec.skeletons.layout import KINECT_V2
from keras_actrec.skeletons.sequence import SkeletonSequence
from keras_actrec.synthetic.actions import MOVEMENTS, SYNTHETIC_ACTIONS, ActionSpec
from keras_actrec.synthetic.appearance import Appearance
from keras_actrec.synthetic.cameras import CAMERA_ANGLES, SETUPS, Camera, ntu_camera
from keras_actrec.synthetic.choreography import Performance, Style, perform
from keras_actrec.synthetic.kinematics import BodyShape, forward_kinematics
from keras_actrec.synthetic.render import Actor, Held, render_clip
from keras_actrec.synthetic.scenes import render_background
from keras_actrec.synthetic.sensor import measure
from keras_actrec.video.write import write_video

SKELETON_FOLDER, VIDEO_FOLDER = "nturgb+d_skeletons", "nturgb+d_rgb"
MARKER = "synthetic.json"
VERSION = 1
"""Raised when the same configuration gives other files than before."""

_STREAMS = {"subject": 1, "partner": 2, "performance": 3, "held": 4, "sensor": 5, "picture": 6, "room": 7}


@dataclass(frozen=True)
class SyntheticConfig:
    """What to make.

    Attributes:
        seed: of everything random, 0 or more.
        subjects: NTU subject numbers; of the default, NTU's cross-subject protocol tests on 3, 6 and 10 and trains on the rest.
        cameras: 1 (middle), 2 (-45°), 3 (+45°); each films the same performances. Cross-view trains on 2 and 3, tests on 1.
        replications: performances per subject and class.
        frames: fewest and most frames of a clip.
        width, height: size of the videos in pixels, even. With the default 960×540 a hand crop of 50 pixels spans about 28 cm:
            the hand and what it holds. Scale the crop with the width (100 pixels at 1920×1080, 25 at 480×270).
        frame_rate: frames per second.
        faults: some skeleton files have faults as NTU's have them (see `sensor`).

    Raises:
        ConfigError: a value that makes no sense.
    """

    seed: int = 0
    subjects: tuple[int, ...] = (1, 2, 4, 5, 8, 16, 3, 6, 10)
    cameras: tuple[int, ...] = (1, 2, 3)
    replications: int = 1
    frames: tuple[int, int] = (24, 32)
    width: int = 960
    height: int = 540
    frame_rate: float = 30.0
    faults: bool = True

    def __post_init__(self):
        checks = (
            ("seed", self.seed >= 0, "0 or more"),
            ("subjects", _distinct(self.subjects, range(1, 1000)), "different numbers from 1 to 999"),
            ("cameras", _distinct(self.cameras, CAMERA_ANGLES), f"different numbers among {[*CAMERA_ANGLES]}"),
            ("replications", 1 <= self.replications <= 999, "1 to 999"),
            ("frames", len(self.frames) == 2 and 8 <= self.frames[0] <= self.frames[1], "fewest and most frames, at least 8"),
            ("width", self.width >= 64 and self.width % 2 == 0, "an even number of at least 64"),
            ("height", self.height >= 36 and self.height % 2 == 0, "an even number of at least 36"),
            ("frame_rate", self.frame_rate > 0, "above 0"),
        )
        for name, good, expected in checks:
            if not good:
                raise ConfigError(f"synthetic data set: {name} makes no sense", found=getattr(self, name), expected=expected)


def _distinct(numbers: tuple[int, ...], allowed) -> bool:
    return len(numbers) > 0 and len(set(numbers)) == len(numbers) and all(n in allowed for n in numbers)


@dataclass(frozen=True)
class SyntheticClip:
    """One clip's place in the data set; NTU's numbers, action from 1."""

    camera: int
    subject: int
    replication: int
    action: int

    @property
    def setup(self) -> int:
        """Set-up number; neighbouring subjects share one. By default two training subjects and a test subject do."""
        return 1 + self.subject // 3 % len(SETUPS)

    @property
    def spec(self) -> ActionSpec:
        """The clip's class."""
        return SYNTHETIC_ACTIONS[self.action - 1]

    @property
    def name(self) -> str:
        """SsssCccCpppRrrrAaaa."""
        return f"S{self.setup:03d}C{self.camera:03d}P{self.subject:03d}R{self.replication:03d}A{self.action:03d}"


def synthetic_clips(config: SyntheticConfig) -> tuple[SyntheticClip, ...]:
    """All clips of the data set, those that share a room and a camera next to each other."""
    clips = [
        SyntheticClip(camera, subject, replication, action)
        for subject in config.subjects
        for camera in config.cameras
        for replication in range(1, config.replications + 1)
        for action in range(1, len(SYNTHETIC_ACTIONS) + 1)
    ]
    return tuple(sorted(clips, key=lambda clip: (clip.setup, clip.camera)))


@dataclass(frozen=True, eq=False)
class Staging:
    """A performance with bodies: what all cameras of a set-up see.

    Attributes:
        joints: (T, P, 25, 3), true joints in the world, metres.
        shapes, appearances: one per person.
        held: objects in the first person's hands.
        performance: the joint angles behind it.
    """

    joints: np.ndarray
    shapes: tuple[BodyShape, ...]
    appearances: tuple[Appearance, ...]
    held: tuple[Held, ...]
    performance: Performance


def stage(clip: SyntheticClip, config: SyntheticConfig) -> Staging:
    """Bodies, movement and objects of a clip: the same for every camera.

    The stream of random numbers behind the movement knows subject and replication, and which of the movements that mirror each
    other in time it is for only through the choreography. So the three classes that differ by the object alone show the very
    same movement: matched samples, which pose cannot tell apart.
    """
    spec = clip.spec
    rng = _stream(config, "performance", clip.subject, clip.replication, _FAMILIES[spec.movement])
    frames = int(rng.integers(config.frames[0], config.frames[1] + 1))
    people = [_person(config, "subject", clip.subject), _person(config, "partner", clip.subject)][: spec.people]
    performance = perform(spec.movement, tuple(style for _, style, _ in people), frames, rng)
    shapes = tuple(shape for shape, _, _ in people)
    joints = [forward_kinematics(shape, posture) for shape, posture in zip(shapes, performance.postures, strict=True)]
    held = _held(spec, performance.acting, _stream(config, "held", clip.subject, clip.replication))
    return Staging(np.stack(joints, axis=1), shapes, tuple(look for *_, look in people), held, performance)


def record(clip: SyntheticClip, config: SyntheticConfig) -> tuple[SkeletonSequence, Iterator[np.ndarray]]:
    """The two recordings of a clip: its skeleton, and its frames (BGR uint8, drawn as they are asked for)."""
    camera = ntu_camera(clip.setup, clip.camera, config.width, config.height)
    staging = stage(clip, config)
    joints = camera.to_camera(staging.joints)
    numbers = (clip.subject, clip.replication, clip.camera, clip.action)
    skeleton = measure(joints, camera, _stream(config, "sensor", *numbers), faults=config.faults)
    actors = tuple(
        Actor(joints[:, person], staging.shapes[person], staging.appearances[person], staging.held if person == 0 else ())
        for person in range(joints.shape[1])
    )
    background = _background(camera, config.seed * 1000 + clip.setup)
    return skeleton, render_clip(actors, camera, background, _stream(config, "picture", *numbers))


def write_synthetic_ntu(
    root: str | Path, config: SyntheticConfig | None = None, *, workers: int = 2, progress: bool = True
) -> Path:
    """Writes the data set; files that are already there are kept, so a stopped run goes on where it was.

    The files depend on `config` alone, not on the number of workers.

    Args:
        root: folder to write to: `nturgb+d_skeletons/`, `nturgb+d_rgb/` and `synthetic.json`, which holds the configuration.
        config: what to make; the default configuration if None.
        workers: processes; with 1 this process does the work. Workers start anew ("spawn"), so a script that calls this needs
            `if __name__ == "__main__":`.
        progress: show a progress bar.

    Returns:
        The root.

    Raises:
        ConfigError: workers below 1.
        DatasetError: the root holds data of another configuration, or data that is not synthetic.
        DiskFullError: no space left.
    """
    root, config = Path(root), config or SyntheticConfig()
    if workers < 1:
        raise ConfigError("workers must be at least 1", found=workers)
    _claim(root, config)
    todo = [clip for clip in synthetic_clips(config) if not all(path.is_file() for path in _paths(root, clip))]
    with progress_bar(len(todo), "synthetic clips", show=progress) as bar:
        for _ in _write_all(root, config, todo, min(workers, max(1, len(todo)))):
            bar.update()
    return root


def _write_all(root: Path, config: SyntheticConfig, clips: list[SyntheticClip], workers: int) -> Iterator[None]:
    if workers == 1:
        for clip in clips:
            yield _write_clip(root, config, clip)
        return
    context = multiprocessing.get_context("spawn")  # forking a process that runs TensorFlow's threads may hang
    with ProcessPoolExecutor(workers, mp_context=context, initializer=cv2.setNumThreads, initargs=(1,)) as pool:
        futures = [pool.submit(_write_clip, root, config, clip) for clip in clips]
        try:
            for future in as_completed(futures):
                yield future.result()
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _write_clip(root: Path, config: SyntheticConfig, clip: SyntheticClip) -> None:
    skeleton_path, video_path = _paths(root, clip)
    skeleton, frames = record(clip, config)
    if not video_path.is_file():
        write_video(video_path, frames, config.frame_rate)
    if not skeleton_path.is_file():
        write_ntu_skeleton(skeleton_path, skeleton)


def _paths(root: Path, clip: SyntheticClip) -> tuple[Path, Path]:
    return root / SKELETON_FOLDER / f"{clip.name}.skeleton", root / VIDEO_FOLDER / f"{clip.name}_rgb.avi"


def _claim(root: Path, config: SyntheticConfig) -> None:
    """Makes the folders and the marker, or checks the marker that is there."""
    marker = root / MARKER
    wanted = {"version": VERSION, **json.loads(json.dumps(asdict(config)))}
    if marker.is_file():
        try:
            found = json.loads(marker.read_text(encoding="utf-8"))
        except ValueError:
            found = {}
        other = [key for key in wanted if not isinstance(found, dict) or found.get(key) != wanted[key]]
        if other:
            raise DatasetError(
                "the folder holds a synthetic data set made with another configuration",
                file=marker,
                place=", ".join(other),
                found=[found.get(key) for key in other] if isinstance(found, dict) else found,
                expected=[wanted[key] for key in other],
                fix="choose another folder, or delete this one to make the data set anew",
            )
        return
    for name in (SKELETON_FOLDER, VIDEO_FOLDER):
        if (root / name).is_dir() and any((root / name).iterdir()):
            raise DatasetError(
                "the folder holds data that was not made here, which will not be mixed with synthetic clips",
                file=root / name,
                expected=f"an empty folder, or one with {MARKER}",
                fix="choose another folder",
            )
        (root / name).mkdir(parents=True, exist_ok=True)
    with whole_file(marker) as part:
        part.write_text(json.dumps(wanted, indent=1) + "\n", encoding="utf-8")


# Movements of one family draw the same random numbers: their classes are matched samples.
_FAMILIES = {name: number for number, name in enumerate(MOVEMENTS)}
_FAMILIES |= {"step_back": _FAMILIES["approach"], "right_then_left": _FAMILIES["left_then_right"]}


def _stream(config: SyntheticConfig, purpose: str, *numbers: int) -> np.random.Generator:
    return np.random.default_rng([config.seed, _STREAMS[purpose], *numbers])


def _person(config: SyntheticConfig, role: str, subject: int) -> tuple[BodyShape, Style, Appearance]:
    rng = _stream(config, role, subject)
    return BodyShape.sample(rng), Style.sample(rng), Appearance.sample(rng)


def _held(spec: ActionSpec, acting: np.ndarray, rng: np.random.Generator) -> tuple[Held, ...]:
    """Objects in the hands: a lamp in each hand, lit while it acts, or one thing in the hand that acts."""
    tilts = rng.uniform(-12, 12, 2)
    if not spec.held:
        return ()
    sides = (0, 1) if spec.held == "lamp" else (int(acting[0].argmax()),)
    return tuple(Held(spec.held, KINECT_V2.hands[side], float(tilts[side]), acting[:, side]) for side in sides)


@lru_cache(maxsize=4)
def _background(camera: Camera, seed: int) -> np.ndarray:
    background = render_background(camera, seed)
    background.setflags(write=False)
    return background
