"""What tests of extractions into caches of test and training views share: three clips, arrays of a cache, kills."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import keras
import numpy as np

from keras_actrec.cache.clip_views import SplitViewCache, ViewShardWriter
from keras_actrec.datasets.ntu import NTURGBD
from keras_actrec.extraction.run import ExtractionReport
from tests.experiments.test_scripts import REPOSITORY
from tests.extraction.small import clip_name, write_clip

LENGTHS = {clip_name(action): 8 + action for action in (1, 2, 3)}
LABELS = {clip: label for label, clip in enumerate(LENGTHS)}
_IN_SHARD_1 = "in the middle of shard 1"


def write_clips(root: Path) -> NTURGBD:
    """The clips of `LENGTHS`, the second of one person, the others of two."""
    for action, length in enumerate(LENGTHS.values(), 1):
        write_clip(root, action, length=length, people=1 + action % 2)
    return NTURGBD(root)


def every_array(reader: type[SplitViewCache], directory: Path, names: Sequence[str]) -> dict[str, np.ndarray]:
    """All views of all clips, (clips · views, …) of each array."""
    with reader(directory) as cache:
        ids, views = np.repeat(list(cache.lengths), cache.views).tolist(), np.tile(np.arange(cache.views), len(cache.lengths))
        return {name: getattr(cache, name)(ids, views) for name in names}


def assert_equal(one: Mapping[str, np.ndarray], two: Mapping[str, np.ndarray]) -> None:
    for name in one:
        np.testing.assert_array_equal(one[name], two[name])


def assert_close(one: Mapping[str, np.ndarray], two: Mapping[str, np.ndarray]) -> None:
    """The same joints; what the network makes may be summed in another order, and differ in the last bit of float16."""
    assert "joints" in one and one.keys() == two.keys()
    for name in one:
        if name == "joints":
            np.testing.assert_array_equal(one[name], two[name])
        else:
            np.testing.assert_allclose(one[name], two[name], rtol=2e-3, atol=1e-3)


def enlarged(build: Callable[..., keras.Model], factor: float) -> Callable[..., keras.Model]:
    """Builds the same network with weights that are `factor` times as large."""

    def large(config, weights=None):
        model = build(config, weights=weights)
        model.set_weights([array * factor for array in model.get_weights()])
        return model

    return large


def pause_in_shard_1() -> None:
    """From here on this process stops in the middle of shard 1 of a cache of views, and says so."""
    add = ViewShardWriter._add

    def slow(self, *arguments):
        add(self, *arguments)
        if self.path.name.endswith("-00001.h5"):
            self._file.flush()
            print(_IN_SHARD_1, flush=True)
            time.sleep(60)

    ViewShardWriter._add = slow


def kill_in_shard_1(script: str, *arguments: object) -> int:
    """Runs a script that calls `pause_in_shard_1`, and kills it there. Returns the number that its process had."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(REPOSITORY), os.environ.get("PYTHONPATH", "")])}
    command = [sys.executable, "-c", script, *map(str, arguments)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)
    try:
        assert _IN_SHARD_1 in process.stdout.readline()
        process.send_signal(signal.SIGKILL)
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
    return process.pid


def check_kill(script: str, place: Path, directory: Path, extract: Callable[[Path, Path], ExtractionReport]) -> None:
    """A kill in the middle of shard 1, the second of two with one clip of three, loses that shard only; `extract` goes on."""
    kill_in_shard_1(script, place, directory)
    assert len(list(directory.glob("*.part"))) == 1
    report = extract(place, directory)
    assert (report.done, report.skipped) == (1, 2)
    assert not list(directory.glob("*.part"))
