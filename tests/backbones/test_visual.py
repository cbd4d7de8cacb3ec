"""Visual backbones: weights of every origin, networks of one's own, the example of docs/backbones.md, errors with a way out."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest

from keras_actrec.backbones import visual
from keras_actrec.backbones.i3d import i3d
from keras_actrec.backbones.resnext3d import resnext101_3d
from keras_actrec.backbones.sensors import weights_checksum
from keras_actrec.backbones.visual import BackboneConfig, build_backbone, map_shape
from keras_actrec.errors import ConfigError, WeightsError
from tests.harness import random_array

DOCS = Path(__file__).parents[2] / "docs" / "backbones.md"
TINY = {"frames": 4, "image_size": 8}
# One module for all tests: Python keeps what it imported.
OWN = """
import keras
from keras import layers

def shape(config):
    return (config.frames, config.image_size, config.image_size, 3)

def network(clip):
    x = layers.Conv3D(6, 3, strides=2, padding="same", use_bias=False)(clip)
    return layers.ReLU()(layers.BatchNormalization()(x))

def plain(config):
    clip = keras.Input(shape(config), name="clip")
    return keras.Model(clip, network(clip), name="plain")

def frozen(config):
    model = plain(config)
    model.trainable = False
    return model

def other_name(config):
    video = keras.Input(shape(config), name="video")
    return keras.Model({"video": video}, network(video))

def free(config):
    clip = keras.Input((None, None, None, 3), name="clip")
    return keras.Model(clip, network(clip))

def sequential(config):
    return keras.Sequential([keras.Input(shape(config)), layers.Conv3D(5, 1), layers.MaxPooling3D(2)])

def nested(config):
    clip = keras.Input(shape(config), name="clip")
    return keras.Model(clip, layers.AveragePooling3D(2)(plain(config)(clip)))

@keras.saving.register_keras_serializable("own_backbones")
class Subclass(keras.Model):
    def __init__(self):
        super().__init__()
        self.convolution = layers.Conv3D(4, 2, strides=2)

    def call(self, clip):
        return self.convolution(clip)

def subclass(config):
    return Subclass()

def with_top(config):
    model = plain(config)
    return keras.Model(model.input, layers.GlobalAveragePooling3D()(model.output))

def two_outputs(config):
    model = plain(config)
    return keras.Model(model.input, [model.output, model.output])

def two_inputs(config):
    clip, flow = keras.Input(shape(config)), keras.Input(shape(config))
    return keras.Model([clip, flow], network(clip + flow))

def classes(config):
    clip = keras.Input(shape(config), name="clip")
    return keras.Model(clip, keras.ops.cast(network(clip), "int32"))

def fixed_size(config):
    clip = keras.Input((16, 112, 112, 3), name="clip")
    return keras.Model(clip, network(clip))

def images(config):
    image = keras.Input((config.image_size, config.image_size, 3), name="clip")
    return keras.Model(image, layers.Conv2D(4, 1)(image))

def nothing(config):
    return "nothing"

not_a_function = 3
"""


@pytest.fixture(scope="module")
def own(tmp_path_factory):
    """A name like "own_backbones:plain" for each function of `OWN`."""
    folder = tmp_path_factory.mktemp("own")
    (folder / "own_backbones.py").write_text(OWN)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(folder))
        yield lambda name: f"own_backbones:{name}"
    sys.modules.pop("own_backbones", None)


def clip_of(config: BackboneConfig, count: int = 3) -> np.ndarray:
    """Clips unlike those of the calibration."""
    rng = np.random.default_rng(5)
    coarse = rng.uniform(-1, 1, (count, config.frames, 4, 4, 3))
    return np.kron(coarse, np.ones((config.image_size // 4,) * 2 + (1,))).astype(np.float32)


@pytest.mark.parametrize(
    ("config", "shape"),
    [
        (BackboneConfig("i3d", frames=8, image_size=32), (1, 1, 1, 1024)),
        (BackboneConfig("resnext101_3d", frames=4, image_size=16), (1, 1, 1, 2048)),
    ],
)
def test_random_networks(config, shape):
    model = build_backbone(config)
    assert (model.input.name, model.input_shape) == ("clip", (None, config.frames, config.image_size, config.image_size, 3))
    assert map_shape(model) == shape
    assert not model.trainable_weights
    maps = np.asarray(model(clip_of(config)))
    assert maps.dtype == np.float32
    assert 0.05 < maps.mean() < 20
    assert maps.max() < 1000  # float16 holds it
    assert maps.std(axis=0).mean() > 0.1 * maps.std()  # clips differ


def test_maps_of_the_paper():
    """Section 4.1: Mixed_5c of 64 frames of 224 is 8 × 7 × 7 × 1024. No weights are drawn for that."""
    assert map_shape(i3d(frames=64, image_size=224)) == (8, 7, 7, 1024)
    assert map_shape(resnext101_3d(frames=64, image_size=112, blocks=(1, 1, 1, 1))) == (4, 4, 4, 2048)


def test_the_same_seed_gives_the_same_weights_in_another_process_with_other_threads(own):
    config = BackboneConfig("i3d", **TINY)
    script = (
        "import tensorflow as tf; tf.config.threading.set_intra_op_parallelism_threads(1)\n"
        "from keras_actrec.backbones.visual import *\nfrom keras_actrec.backbones.sensors import weights_checksum\n"
        f"print(weights_checksum(build_backbone({config!r})))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == weights_checksum(build_backbone(config))
    plain = [weights_checksum(build_backbone(BackboneConfig(own("plain"), seed=seed, **TINY))) for seed in (0, 0, 1)]
    assert plain[0] == plain[1] != plain[2]


def test_calibration_is_on_small_clips(monkeypatch):
    """A full clip in float64 would take minutes."""
    seen = []

    def spy(model, seed, clips, *, measured):
        seen.append((model.input_shape[1:3], measured.input_shape[1:3], clips.shape[1:3]))

    monkeypatch.setattr(visual, "randomise", spy)
    build_backbone(BackboneConfig("i3d"))
    build_backbone(BackboneConfig("i3d", frames=32, image_size=64))
    assert seen == [((64, 224), (16, 112), (16, 112)), ((32, 64), (16, 64), (16, 64))]


def test_weights_for_workers(own):
    config = BackboneConfig(own("plain"), **TINY)
    weights = [random_array(array.shape, 3) for array in build_backbone(config).get_weights()]
    for found, given in zip(build_backbone(config, weights=weights).get_weights(), weights, strict=True):
        np.testing.assert_array_equal(found, given)
    with pytest.raises(WeightsError, match=r"do not fit own_backbones:plain .*found 4 arrays, expected 5"):
        build_backbone(config, weights=weights[:-1])


@pytest.mark.parametrize("name", ["i3d", "plain", "nested", "sequential", "other_name"])
def test_bfloat16_computes_about_the_same(name, own):
    name = name if name == "i3d" else own(name)
    config = BackboneConfig(name, frames=8, image_size=32)
    exact = build_backbone(config)
    half = build_backbone(BackboneConfig(name, frames=8, image_size=32, dtype="bfloat16"), weights=exact.get_weights())
    assert weights_checksum(half) == weights_checksum(exact)
    assert (half.input.name, map_shape(half), half.trainable_weights) == ("clip", map_shape(exact), [])
    found, expected = np.asarray(half(clip_of(config))), np.asarray(exact(clip_of(config)))
    assert found.dtype == np.float32
    # bfloat16 keeps 8 bits: about 0.4 % per operation.
    assert 0 < np.abs(found - expected).mean() / expected.std() < 0.1


# Files.


def test_i3d_from_a_file_with_a_classifier(tmp_path):
    whole = i3d(endpoint="Logits", frames=16, image_size=224, classes=7)
    whole.save_weights(tmp_path / "i3d.weights.h5")
    model = build_backbone(BackboneConfig("i3d", str(tmp_path / "i3d.weights.h5"), **TINY))
    kernel = model.get_layer("Mixed_5c.Branch_0.Conv3d_0a_1x1.conv_3d").get_weights()[0]
    np.testing.assert_array_equal(kernel, whole.get_layer("Mixed_5c.Branch_0.Conv3d_0a_1x1.conv_3d").get_weights()[0])


@pytest.fixture
def shallow(monkeypatch):
    """A 3D ResNeXt of 14 layers in the place of the one of 101: the same code around it, in a second."""

    def build(config, **options):
        return resnext101_3d(frames=config.frames, image_size=config.image_size, blocks=(1, 1, 1, 1), cardinality=1, **options)

    real = visual._NETWORKS["resnext101_3d"]
    monkeypatch.setitem(visual._NETWORKS, "resnext101_3d", visual._Network(build, real.load, real.ways_out))
    return build


def test_resnext_from_a_file_with_a_classifier(shallow, tmp_path):
    path = tmp_path / "resnext.weights.h5"
    whole = shallow(BackboneConfig(**TINY), endpoint="Logits", classes=5)
    whole.save_weights(path)
    model = build_backbone(BackboneConfig("resnext101_3d", str(path), **TINY))
    for found, expected in zip(model.get_weights(), whole.get_weights(), strict=False):
        np.testing.assert_array_equal(found, expected)
    assert len(model.get_weights()) == len(whole.get_weights()) - 2


def test_a_file_of_ones_own_network(own, tmp_path):
    path = tmp_path / "plain.weights.h5"
    built = build_backbone(BackboneConfig(own("plain"), seed=4, **TINY))
    built.save_weights(path)
    assert weights_checksum(build_backbone(BackboneConfig(own("plain"), str(path), **TINY))) == weights_checksum(built)
    with pytest.raises(WeightsError, match=r"plain\.weights\.h5: the weights do not fit sequential.*save_weights of the model"):
        build_backbone(BackboneConfig(own("sequential"), str(path), **TINY))


def test_files_of_other_networks(own, shallow, tmp_path):
    path = tmp_path / "plain.weights.h5"
    build_backbone(BackboneConfig(own("plain"), **TINY)).save_weights(path)
    with pytest.raises(WeightsError, match=r"plain\.weights\.h5: the file lacks .*i3d.*convert_i3d_checkpoint"):
        build_backbone(BackboneConfig("i3d", str(path), **TINY))
    with pytest.raises(WeightsError, match=r"plain\.weights\.h5: the weights do not fit resnext101_3d.*convert_resnext3d"):
        build_backbone(BackboneConfig("resnext101_3d", str(path), **TINY))


@pytest.mark.parametrize(
    ("name", "fix"),
    [
        ("i3d", r"convert_i3d_checkpoint\.py makes .*weights random"),
        ("resnext101_3d", r"convert_resnext3d_checkpoint\.py makes .*weights random"),
        ("plain", r"save_weights of the model .*weights random"),
    ],
)
def test_no_file_names_the_ways_out(name, fix, own, shallow, tmp_path):
    config = {"name": own(name) if name == "plain" else name, **TINY}
    with pytest.raises(WeightsError, match=rf"none\.weights\.h5: there is no such weights file\. .*{fix}"):
        build_backbone(BackboneConfig(weights=str(tmp_path / "none.weights.h5"), **config))
    (tmp_path / "published.pth").write_bytes(b"x")
    with pytest.raises(WeightsError, match=rf"published\.pth: .* by its name \(expected \.weights\.h5\)\. .*{fix}"):
        build_backbone(BackboneConfig(weights=str(tmp_path / "published.pth"), **config))
    (tmp_path / "text.weights.h5").write_text("no weights")
    with pytest.raises(WeightsError, match=r"text\.weights\.h5: "):
        build_backbone(BackboneConfig(weights=str(tmp_path / "text.weights.h5"), **config))


# Networks of one's own.


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("plain", (2, 4, 4, 6)),
        ("frozen", (2, 4, 4, 6)),
        ("other_name", (2, 4, 4, 6)),
        ("free", (2, 4, 4, 6)),
        ("sequential", (2, 4, 4, 5)),
        ("nested", (1, 2, 2, 6)),
    ],
)
def test_networks_of_ones_own(name, shape, own):
    config = BackboneConfig(own(name), **TINY)
    model = build_backbone(config)
    assert (model.input.name, model.input_shape, map_shape(model)) == ("clip", (None, 4, 8, 8, 3), shape)
    assert not model.trainable_weights
    # Calibrated or not, the kernels are those of the seed.
    kernel = next(array for array in model.get_weights() if array.ndim == 5)
    fan_in = np.prod(kernel.shape[:-1])
    expected = np.random.default_rng([0, 0]).standard_normal(kernel.shape) * np.sqrt(2 / fan_in)
    np.testing.assert_array_equal(kernel, expected.astype(np.float32))
    assert model(clip_of(config)).shape == (3, *shape)


def test_own_weights_stay(own):
    for name in ("plain", "subclass"):
        keras.utils.set_random_seed(1)
        expected = build_backbone(BackboneConfig(own(name), "own", **TINY)).get_weights()
        keras.utils.set_random_seed(1)
        model = build_backbone(BackboneConfig(own(name), "own", **TINY))
        kernel = np.asarray(expected[0])
        np.testing.assert_array_equal(model.get_weights()[0], kernel)
        he = np.random.default_rng([0, 0]).standard_normal(kernel.shape) * np.sqrt(2 / np.prod(kernel.shape[:-1]))
        assert not np.allclose(kernel, he)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("with_top", r"gives no map .*shape \(None, 6\).*\(B, t, h, w, c\).*Cut the network"),
        ("two_outputs", "gives no map .*found 2 outputs"),
        ("classes", r"gives no map .*shape \(None, 2, 4, 4, 6\), int32.*floating-point"),
        ("two_inputs", r"takes other clips .*found .*8, 8, 3\), \(.*expected one input \(None, 4, 8, 8, 3\)"),
        ("fixed_size", r"takes other clips .*found \(None, 16, 112, 112, 3\), expected one input \(None, 4, 8, 8, 3\)"),
        ("images", r"takes other clips .*found \(None, 8, 8, 3\)"),
        ("nothing", "returns no model .*own_backbones:nothing → str, expected keras.Model"),
        ("not_a_function", r"no such function .*own_backbones:not_a_function.*lies at .*own_backbones\.py"),
        ("absent", "no such function .*own_backbones:absent"),
    ],
)
def test_models_that_are_no_backbone(name, message, own):
    with pytest.raises(ConfigError, match=message):
        build_backbone(BackboneConfig(own(name), "own", **TINY))


def test_a_map_of_free_size():
    clip = keras.Input((4, None, None, 3), name="clip")
    with pytest.raises(ConfigError, match=r"gives no map .*None.*fixed size"):
        map_shape(keras.Model(clip, keras.layers.Conv3D(2, 1)(clip)))


@pytest.mark.parametrize("options", [{"weights": "random"}, {"weights": "own", "dtype": "bfloat16"}])
def test_a_subclass_cannot_be_copied(options, own):
    with pytest.raises(ConfigError, match=r"cannot be copied.*own_backbones:subclass.*functional model"):
        build_backbone(BackboneConfig(own("subclass"), **options, **TINY))


def test_a_module_that_is_not_there():
    with pytest.raises(ConfigError, match=r"No module named 'nowhere'.*found nowhere\.at:all.*PYTHONPATH"):
        build_backbone(BackboneConfig("nowhere.at:all"))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"name": "c3d"}, "unknown backbone .*found c3d, expected i3d, resnext101_3d or package.module:function"),
        ({"name": "module:"}, "unknown backbone"),
        ({"name": ":function"}, "unknown backbone"),
        ({"name": ".module:function"}, "unknown backbone"),
        ({"weights": "own"}, "i3d has no weights of its own .*random or a weights file"),
        ({"dtype": "float16"}, "unknown dtype"),
        ({"frames": 0}, "frames of the backbone"),
        ({"image_size": 0}, "image_size of the backbone"),
        ({"seed": -1}, "seed"),
    ],
)
def test_configurations_that_make_no_sense(options, message):
    with pytest.raises(ConfigError, match=message):
        BackboneConfig(**options)


# Documentation.


def test_the_example_of_the_documentation_runs(tmp_path, monkeypatch):
    blocks = re.findall(r"```python\n(.*?)```", DOCS.read_text(encoding="utf-8"), re.DOTALL)
    module, use = (next(block for block in blocks if word in block) for word in ("def small_c3d", "my_backbone:"))
    (tmp_path / "my_backbone.py").write_text(module)
    monkeypatch.syspath_prepend(str(tmp_path))
    names: dict = {}
    exec(use.replace("frames=16, image_size=64", "frames=8, image_size=16"), names)
    sys.modules.pop("my_backbone")
    assert map_shape(names["backbone"]) == (2, 2, 2, 64)
    assert names["network"].output["logits"].shape == (None, 60)
    exec(use, names)
    assert map_shape(names["backbone"]) == tuple(map(int, re.search(r"the map is \((.*?)\)", use)[1].split(", ")))


def test_the_map_shapes_of_the_documentation():
    text = DOCS.read_text(encoding="utf-8")
    for name, build in (("i3d", i3d), ("resnext101_3d", lambda **k: resnext101_3d(**k, blocks=(1, 1, 1, 1), cardinality=1))):
        row = next(line for line in text.splitlines() if line.startswith(f"| `{name}`"))
        sizes = re.findall(r"(\d+) × (\d+): \((\d+), (\d+), (\d+), (\d+)\)", row)
        assert sizes
        for frames, size, *shape in (map(int, match) for match in sizes):
            assert map_shape(build(frames=frames, image_size=size)) == tuple(shape)
