"""Model files from strangers never run code: a file for every loader that would leave a mark if it were run.

Hostile .pt and .pth files (pickles of torch.save) are in tests/convert/test_torch_files.py.
"""

from __future__ import annotations

import ast
import io
import json
import pickle
import zipfile
from pathlib import Path

import h5py
import keras
import numpy as np
import pytest

import keras_actrec
from keras_actrec.backbones import inflated_weights
from keras_actrec.backbones.i3d import load_i3d_weights
from keras_actrec.backbones.sensors import load_sensor_weights
from keras_actrec.convert import glimpse_clouds_official, vpn_official
from keras_actrec.convert.caffe_files import read_caffemodel
from keras_actrec.convert.resnext3d import load_resnext3d_weights
from keras_actrec.convert.safetensors_files import read_safetensors
from keras_actrec.convert.torch_files import read_state_dict
from keras_actrec.convert.tsn_bn_inception import read_tsn
from keras_actrec.datasets.pose_files import read_pose_file
from keras_actrec.errors import ActrecError, SkeletonFormatError, WeightsError
from keras_actrec.skeletons.layouts import COCO_17
from keras_actrec.training.checkpoints import load_weights, read_checkpoint
from keras_actrec.training.evaluation import load_scores


class Mark:
    """Makes a file when it is unpickled."""

    def __init__(self, path: Path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


@pytest.fixture
def mark(tmp_path):
    """The file that none of the readers may make."""
    path = tmp_path / "ran"
    yield path
    assert not path.exists()


def model() -> keras.Model:
    inputs = keras.Input((4,))
    return keras.Model(inputs, keras.layers.Dense(3, name="dense")(inputs), name="small")


def with_lambda(mark: Path) -> keras.Model:
    """The same network and a layer that makes the mark when it runs, or when Keras builds the model from the file."""

    inputs = keras.Input((4,))
    path = str(mark)
    run = keras.layers.Lambda(lambda x: (open(path, "w").close(), x)[1], output_shape=(3,))
    outputs = run(keras.layers.Dense(3, name="dense")(inputs))
    built = keras.Model(inputs, outputs)
    mark.unlink(missing_ok=True)  # building it has run it
    return built


def keras_file(mark: Path, path: Path) -> Path:
    """A model with code in it, as the `.keras` or the older `.h5` form, under any name."""
    form = ".h5" if path.name.endswith(".h5") else ".keras"
    written = path.with_name(f"written{form}")
    with_lambda(mark).save(written)
    return written.rename(path)


def object_archive(mark: Path, path: Path, *names: str) -> Path:
    """A .npz whose arrays are pickled objects."""
    array = np.empty(1, object)
    array[0] = Mark(mark)
    with path.open("wb") as file:
        np.savez(file, **{name: array for name in names})
    mark.unlink(missing_ok=True)
    return path


def object_arrays(mark: Path, path: Path) -> Path:
    """A checkpoint whose every array is a pickled object."""
    array = np.empty(1, object)
    array[0] = Mark(mark)
    with path.open("wb") as file:
        for _ in range(4):
            np.save(file, array, allow_pickle=True)
    return path


def half_object_arrays(mark: Path, path: Path) -> Path:
    """A checkpoint that begins as one should, and goes on with pickled objects."""
    state = {"schema": 1, "run": {}, "progress": {}, "arrays": {"model": 1, "optimizer": 1, "best": 1}}
    array = np.empty(1, object)
    array[0] = Mark(mark)
    with path.open("wb") as file:
        np.save(file, np.frombuffer(json.dumps(state).encode(), np.uint8))
        for _ in range(4):
            np.save(file, array, allow_pickle=True)
    return path


def test_the_files_are_what_they_seem(tmp_path):
    """Readers that trust a file do run it."""
    mark = tmp_path / "ran"
    np.load(object_archive(mark, tmp_path / "a.npz", "x"), allow_pickle=True)["x"]
    assert mark.exists()
    mark.unlink()
    np.load(object_arrays(mark, tmp_path / "a.npys"), allow_pickle=True)
    assert mark.exists()
    mark.unlink()
    for name in ("a.keras", "a.h5"):
        trusting = keras.models.load_model(keras_file(mark, tmp_path / name), safe_mode=False)
        trusting(np.zeros((1, 4), np.float32))
        assert mark.exists()
        mark.unlink()


# The readers behind functions that take one network only are called themselves.
LOADERS = {
    "sensor": load_sensor_weights,
    "i3d": load_i3d_weights,
    "inflated": inflated_weights._load_own,
    "stage": load_weights,
    "vpn_official": lambda _, path: vpn_official._read(path),
    "glimpse_clouds_official": lambda _, path: glimpse_clouds_official._read(path),
    "resnext3d": load_resnext3d_weights,
}


@pytest.mark.parametrize("name", ["file.keras", "file.h5", "file.weights.h5"])
@pytest.mark.parametrize("loader", LOADERS)
def test_keras_models_with_code(loader, name, mark, tmp_path):
    """The weights that fit may be taken; the layers in the file are not built."""
    path = keras_file(mark, tmp_path / name)
    try:
        LOADERS[loader](model(), path)
    except ActrecError as error:
        assert type(error) is WeightsError and error.file


@pytest.mark.parametrize("loader", LOADERS)
def test_a_keras_archive_under_the_name_of_weights(loader, mark, tmp_path):
    path = keras_file(mark, tmp_path / "file.keras").rename(tmp_path / "renamed.weights.h5")
    with pytest.raises(WeightsError, match=r"renamed\.weights\.h5"):
        LOADERS[loader](model(), path)


@pytest.mark.parametrize("ending", [".npz", ".weights.h5", ".pth"])
@pytest.mark.parametrize(
    "read",
    [
        *LOADERS.values(), load_scores, read_checkpoint, read_state_dict, read_safetensors, read_caffemodel, read_tsn,
    ],
)  # fmt: skip
def test_archives_of_pickled_objects(read, ending, mark, tmp_path):
    names = ("clip_ids", "labels", "subsequences", "scores_fused", "fc_pose.bias", "x")
    path = object_archive(mark, tmp_path / f"file{ending}", *names)
    with pytest.raises(WeightsError, match="file"):
        read(model(), path) if read in LOADERS.values() else read(path)


@pytest.mark.parametrize("write", [object_arrays, half_object_arrays])
def test_checkpoints_of_pickled_objects(write, mark, tmp_path):
    path = write(mark, tmp_path / "checkpoint.npys")
    with pytest.raises(WeightsError, match="cannot be read as a checkpoint"):
        read_checkpoint(path)


def test_poses_of_pickled_objects(mark, tmp_path):
    path = object_archive(mark, tmp_path / "clip.npz", "joints", "pixels", "layout")
    with pytest.raises(SkeletonFormatError, match="allow_pickle"):
        read_pose_file(path, layout=COCO_17)


def test_a_pickle_in_place_of_an_array(mark, tmp_path):
    """A member of a zip that is no array at all: NumPy falls back to pickle where it is allowed to."""
    path = tmp_path / "clip.npz"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("joints.npy", pickle.dumps(Mark(mark)))
    mark.unlink(missing_ok=True)
    with pytest.raises(SkeletonFormatError):
        read_pose_file(path, layout=COCO_17)
    path.write_bytes(pickle.dumps(Mark(mark)))
    with pytest.raises(SkeletonFormatError, match="cannot be read"):
        read_pose_file(path, layout=COCO_17)


def test_keras_configurations_in_weights_files(mark, tmp_path):
    """An HDF5 file of weights that also describes a model with code: the description is not looked at."""
    path = tmp_path / "file.weights.h5"
    small = model()
    small.save_weights(path)
    buffer = io.BytesIO()
    archive = keras_file(mark, tmp_path / "a.keras")
    with zipfile.ZipFile(archive) as file:
        buffer.write(file.read("config.json"))
    with h5py.File(path, "a") as file:
        file.attrs["model_config"] = buffer.getvalue().decode()
        file.attrs["training_config"] = buffer.getvalue().decode()
    load_weights(model(), path)
    load_sensor_weights(model(), path)


# The source -------------------------------------------------------------------------------------------------------------------

FORBIDDEN = {"pickle", "cPickle", "dill", "cloudpickle", "joblib", "shelve", "marshal"}
CALLS = {"eval", "exec", "enable_unsafe_deserialization", "unsafe_load", "full_load", "loadmat", "read_pickle"}


def sources() -> list[Path]:
    package = Path(keras_actrec.__file__).parent
    folders = [package, *(package.parent / name for name in ("preprocessing", "experiments", "benchmarks"))]
    return sorted(path for folder in folders for path in folder.rglob("*.py"))


def called(node: ast.Call) -> str:
    return ast.unparse(node.func)


def test_no_source_file_could_run_what_it_reads():
    """No pickle, no eval; every np.load without objects; every load_model in safe mode."""
    assert len(sources()) > 200
    wrong = []
    for path in sources():
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            place = f"{path.name}:{getattr(node, 'lineno', 0)}"
            if isinstance(node, ast.Import | ast.ImportFrom):
                names = {alias.name.split(".")[0] for alias in node.names}
                wrong += [f"{place} imports {name}" for name in (names | {getattr(node, "module", None)}) & FORBIDDEN]
            if not isinstance(node, ast.Call):
                continue
            name, keywords = called(node), {word.arg: ast.unparse(word.value) for word in node.keywords}
            if name.split(".")[-1] in CALLS and not name.startswith("re."):
                wrong.append(f"{place} calls {name}")
            if name in ("np.load", "numpy.load") and keywords.get("allow_pickle") != "False":
                wrong.append(f"{place} reads arrays without allow_pickle=False")
            if name.endswith("load_model") and keywords.get("safe_mode") != "True":
                wrong.append(f"{place} loads a model without safe_mode=True")
            if name.endswith("torch.load") or "weights_only" in keywords:
                wrong.append(f"{place} reads pickles of PyTorch")
    assert not wrong
