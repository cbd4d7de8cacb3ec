"""Peak RAM of training from a cache twenty times as large as the RAM that its data may take, under a limit of the kernel."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
from pathlib import Path

from suite.figures import Figure, Must, Settings
from suite.made_caches import CLASSES, cache_bytes, make_caches, open_source

ALLOWED = 96 * 2**20
"""Bytes of RAM for data."""
JOINTS = 8 * 2**20
BATCH = 4
LARGE = 20
_BYTES_PER_CLIP = 1_150_000
"""A little less than `make_caches` writes of a clip on average."""
_STACK = 2**21
"""Of each thread, in bytes: the limit counts the whole of it."""


def measure(settings: Settings) -> list[Figure]:
    """A process of its own trains on a cache of at least 20 times the allowed RAM, another as many steps on a cache of 1 time.

    The RGB stream with a small network and features of full size, in batches of 4, joints in memory 8 MiB. Once the model has
    done some steps on zeros, the process may take 96 MiB more of private memory than it has (RLIMIT_DATA): above that the
    kernel gives none, and the run fails. The figure is by how much its resident memory has grown at its peak; the page cache,
    which the kernel takes back at will, is not part of either.
    """
    large, small = settings.folder / "large", settings.folder / "small"
    make_caches(large, LARGE * ALLOWED // _BYTES_PER_CLIP + 1)
    make_caches(small, ALLOWED // _BYTES_PER_CLIP)
    sizes = {folder: cache_bytes(folder) / ALLOWED for folder in (small, large)}
    if sizes[large] < LARGE:
        raise RuntimeError(f"the cache has only {sizes[large]:.1f} times the allowed RAM")
    steps = 150 if settings.quick else len(open_source(large).clip_ids) // BATCH  # of the large cache: an epoch
    peaks = {folder: _train_in_a_process(folder, steps) for folder in sizes}
    figures = [
        Figure(
            f"training_memory: growth, cache of {sizes[folder]:.0f} times {ALLOWED >> 20} MiB",
            peaks[folder] / 2**20, "MiB", Must("<=", ALLOWED / 2**20),
        )
        for folder in sizes
    ]  # fmt: skip
    return [
        *figures,
        Figure("training_memory: growth, 20 times / 1 time", peaks[large] / peaks[small], "ratio", Must("<=", 1.5)),
    ]


def _train_in_a_process(folder: Path, steps: int) -> int:
    """Peak growth in bytes."""

    def before_python_starts():
        resource.setrlimit(resource.RLIMIT_STACK, (_STACK, resource.getrlimit(resource.RLIMIT_STACK)[1]))

    # Few arenas: else what malloc keeps for each thread is part of the figure.
    environment = {**os.environ, "MALLOC_ARENA_MAX": "2"}
    command = [sys.executable, "-m", "suite.training_memory", str(folder), str(steps)]
    done = subprocess.run(
        command, stdout=subprocess.PIPE, text=True, check=False, cwd=Path(__file__).parents[1], env=environment,
        preexec_fn=before_python_starts,
    )  # fmt: skip
    if done.returncode:
        raise RuntimeError(f"training on {folder.name} ended with exit status {done.returncode}")
    return json.loads(done.stdout.splitlines()[-1])


def train(folder: Path, steps: int) -> int:
    """Trains under the limit; bytes by which the resident memory has grown at its peak."""
    import keras
    import numpy as np
    import tensorflow as tf

    from keras_actrec.models.sta_hands import STAHandsConfig, rgb_stream, sta_hands
    from keras_actrec.pipelines.tf_data import training_dataset

    stream = rgb_stream(sta_hands(STAHandsConfig(CLASSES, pose_features=64, lstm_units=32, temporal_features=32)))
    stream.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    zeros = {name: np.zeros((BATCH, *tensor.shape[1:]), np.float32) for name, tensor in stream.input.items()}
    nothing = tf.data.Dataset.range(8).map(lambda _: (zeros, np.zeros(BATCH, np.int32)), num_parallel_calls=4).prefetch(2)
    stream.fit(nothing, steps_per_epoch=8, shuffle=False, verbose=0)

    before = _status("VmRSS")
    limit = _status("VmData") + ALLOWED
    resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
    Path("/proc/self/clear_refs").write_text("5")  # VmHWM begins anew
    source = open_source(folder, joints_in_memory=JOINTS)
    epochs = -(-steps * BATCH // len(source.clip_ids))
    batches = training_dataset(source, source.clip_ids, batch_size=BATCH, seed=0, epochs=epochs).take(steps)
    stream.fit(batches, steps_per_epoch=steps, shuffle=False, verbose=0)
    return _status("VmHWM") - before


def _status(name: str) -> int:
    """A line of /proc/self/status, in bytes."""
    lines = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return int(lines[name].split()[0]) * 1024


if __name__ == "__main__":
    print(json.dumps(train(Path(sys.argv[1]), int(sys.argv[2]))))
