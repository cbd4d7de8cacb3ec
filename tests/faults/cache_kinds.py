"""A small cache of each kind, all from one small data set, with tiny networks in the place of the large ones."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import h5py
import keras
import numpy as np
import pytest

from keras_actrec.backbones.sensors import SensorConfig
from keras_actrec.datasets.ntu import NTURGBD
from keras_actrec.extraction import clip_maps, frame_cubes, glimpse_maps, hand_features
from keras_actrec.extraction.flow import extract_flow
from keras_actrec.extraction.person_clips import PersonCropConfig, extract_person_clips
from keras_actrec.extraction.poses import extract_poses
from keras_actrec.extraction.run import ExtractionReport
from keras_actrec.video.optical_flow import FlowConfig
from tests.extraction import test_clip_maps, test_frame_cubes, test_glimpse_maps
from tests.extraction.small import write_clip

OPTIONS = {"clips_per_shard": 2, "progress": False}


def write_data(place: Path, clips: int) -> Path:
    """The data set below place/ntu, and the caches that others are made of: place/poses, place/clips (whole frames)."""
    for action in range(1, clips + 1):
        write_clip(place / "ntu", action, length=4 + action, people=1 + action % 2)
    poses(place, place / "poses")
    crop = PersonCropConfig(size=test_glimpse_maps.STORED, box="whole")
    extract_person_clips(NTURGBD(place / "ntu"), place / "poses", place / "clips", crop=crop, **OPTIONS)
    return place


def tiny_sensor(config: SensorConfig, weights=None) -> keras.Model:
    """(S, S, 3) → 2048 numbers, none of them zero, in the place of the ResNet."""
    image = keras.Input((config.image_size, config.image_size, 3), name="image")
    small = keras.layers.Flatten()(keras.layers.AveragePooling2D(8)(image))
    kernel = keras.initializers.RandomNormal(stddev=0.01, seed=config.seed)
    return keras.Model(image, keras.layers.Dense(2048, "sigmoid", kernel_initializer=kernel, name="values")(small))


def poses(place: Path, directory: Path) -> ExtractionReport:
    return extract_poses(NTURGBD(place / "ntu"), directory, **OPTIONS)


def hands(place: Path, directory: Path) -> ExtractionReport:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(hand_features, "build_sensor", tiny_sensor)
        data, sensor = NTURGBD(place / "ntu"), SensorConfig("resnet50", "random", 32)
        options = OPTIONS | {"sensor": sensor, "crop_size": 20, "batch_size": 8}
        return hand_features.extract_hand_features(data, place / "poses", directory, **options)


def person_clips(place: Path, directory: Path, storage: str = "hdf5") -> ExtractionReport:
    crop = PersonCropConfig(size=16)
    return extract_person_clips(NTURGBD(place / "ntu"), place / "poses", directory, crop=crop, storage=storage, **OPTIONS)


def jpegs(place: Path, directory: Path) -> ExtractionReport:
    return person_clips(place, directory, "jpeg")


def flow(place: Path, directory: Path) -> ExtractionReport:
    config = FlowConfig(picture_size=(32, 32), preset="ultrafast")
    return extract_flow(NTURGBD(place / "ntu").records, directory, dataset="ntu_rgbd", flow=config, **OPTIONS)


def maps(place: Path, directory: Path) -> ExtractionReport:
    return clip_maps.extract_clip_maps(place / "clips", directory, batch_size=4, **test_clip_maps.OPTIONS)


def glimpses(place: Path, directory: Path) -> ExtractionReport:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(glimpse_maps, "build_inflated_resnet", test_glimpse_maps.tiny_backbone)
        return test_glimpse_maps.extract(place, directory)


def cubes(place: Path, directory: Path) -> ExtractionReport:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(frame_cubes, "build_frame_backbone", test_frame_cubes.tiny_backbone)
        return test_frame_cubes.extract(place, directory)


Extract = Callable[[Path, Path], ExtractionReport]
"""Writes a cache of the data set in the first folder into the second, or goes on with one."""
KINDS: dict[str, Extract] = {
    "poses": poses, "hand_features": hands, "person_clips": person_clips, "jpegs": jpegs, "flow": flow,
    "clip_maps": maps, "glimpse_maps": glimpses, "frame_cubes": cubes,
}  # fmt: skip


def content(path: Path) -> dict[str, object]:
    """Everything that a reader can get out of a shard."""
    found: dict[str, object] = {}

    def note(name: str, item: h5py.Group | h5py.Dataset) -> None:
        found.update({f"{name}.{key}": str(value) for key, value in item.attrs.items()})
        if isinstance(item, h5py.Dataset):
            found[name] = (item.dtype.str, item.shape, np.asarray(item[()]).tobytes())

    with h5py.File(path, "r") as file:
        note("", file)
        file.visititems(note)
    return found


def files(directory: Path) -> dict[str, object]:
    """What has a final name: content of shards, and all images of each clip that has a folder."""
    folders = [path for path in directory.glob("*") if path.is_dir() and ".part" not in path.name]
    images = {path.name: {image.name: image.read_bytes() for image in path.iterdir()} for path in folders}
    return images | {path.name: content(path) for path in directory.glob("*.h5")}


def left_over(folder: Path) -> list[str]:
    """Unfinished files, and locks."""
    return sorted(path.name for path in folder.rglob("*") if ".part" in path.name or path.suffix == ".lock")
