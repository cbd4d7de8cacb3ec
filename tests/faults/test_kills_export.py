"""SIGKILL while an export is written in the place of an older one: under its name there is one of them, whole, or nothing."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import tensorflow as tf

from keras_actrec.export import saved_model
from keras_actrec.export.saved_model import RPANDescription, read_description, write_saved_model
from tests.faults.cache_kinds import left_over
from tests.faults.kills import Instant, Note, live, noted


class Scaled(tf.Module):
    """A graph of one multiplication, and numbers that take 120 kB."""

    def __init__(self, factor: float):
        super().__init__()
        self.factor, self.further = tf.Variable(factor), tf.Variable(tf.range(30_000.0))

    @tf.function(input_signature=[tf.TensorSpec((None,), tf.float32, name="x")])
    def serve(self, x):
        return {"y": self.factor * x}


def write(place: Path, factor: float) -> Path:
    description = RPANDescription(
        (f"times {factor}",), "kinect_v2", ("head",), sampling={}, stream="rgb", attention="none", guided=False, backbone={}
    )
    served = Scaled(factor)
    return write_saved_model(served, place / "export", signatures={"serve": served.serve}, description=description)


def factor_of(directory: Path) -> float:
    loaded = tf.saved_model.load(str(directory))
    factor = float(loaded.signatures["serve"](x=tf.constant([1.0]))["y"][0])
    assert read_description(directory).class_names == (f"times {factor}",)
    return factor


@pytest.fixture(scope="module")
def older(tmp_path_factory):
    place = tmp_path_factory.mktemp("older")
    write(place, 2.0)
    return place


def run(place: Path, note: Note) -> None:
    noted(note, saved_model.tf.saved_model, "save")
    write(place, 3.0)


def test_kills(older, tmp_path):
    found = []
    for step in range(1, 100):
        place = tmp_path / str(step)
        shutil.copytree(older, place)
        life = live(run, place, Instant(step))
        if not life.killed:
            break
        there = factor_of(place / "export") if (place / "export").exists() else None
        assert there in (2.0, 3.0, None), life.where
        found.append(there)
        assert factor_of(write(place, 4.0)) == 4.0, life.where
        assert not left_over(place), life.where
    # The steps in their order: the older one as long as the new one is written, then for an instant none, then the new one.
    assert len(found) > 10 and found == sorted(found, key=[2.0, None, 3.0].index)
    assert set(found) == {2.0, None, 3.0} and found.count(None) == 1
