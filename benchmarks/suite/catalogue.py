"""All benchmarks by name, and which of them can run here."""

from __future__ import annotations

import importlib.util
import os
from dataclasses import dataclass


@dataclass(frozen=True)
class Benchmark:
    """A module of this folder that measures something.

    Attributes:
        name: on the command line, and before the colon of its figures.
        about: one line.
        module: in this folder; has `measure(settings: Settings) -> list[Figure]`.
        needs: modules that must be installed; "tensorflow" must also be Keras's backend.
    """

    name: str
    about: str
    module: str
    needs: tuple[str, ...] = ()


_ALL = (
    Benchmark("skeleton_parsing", "NTU skeleton files read per second by one process", "skeleton_parsing"),
    Benchmark("decode", "1920x1080 frames decoded, and decoded and cropped, per second", "decode", ("cv2",)),
    Benchmark("extraction", "hand features against the bare network; bfloat16", "extraction", ("cv2", "tensorflow")),
    Benchmark("processes", "extraction of poses and hand features by 1 and 2 processes", "processes", ("cv2", "tensorflow")),
    Benchmark("cache_reads", "random sub-sequences read per second, cold and warm; RAM", "cache_reads", ("h5py",)),
    Benchmark("training_step", "training step from the cache against arrays in memory", "training_step", ("tensorflow",)),
    Benchmark("training_memory", "peak RAM of training from a cache 20 times larger", "training_memory", ("tensorflow",)),
    Benchmark("prediction", "from features to logits, batches of 1 and 64", "prediction", ("keras",)),
    Benchmark("models", "forward pass and training step of the four models", "models", ("keras",)),
    Benchmark("saved_model", "exported model against the Keras model", "saved_model", ("tensorflow",)),
)  # fmt: skip
BENCHMARKS = {benchmark.name: benchmark for benchmark in _ALL}


def installed(module: str) -> bool:
    """Whether a module can be imported; it is not."""
    return importlib.util.find_spec(module) is not None


def keras_backend() -> str:
    """Keras's backend in the benchmarks: KERAS_BACKEND where it is set, else TensorFlow where it is installed, else JAX."""
    return os.environ.get("KERAS_BACKEND") or ("tensorflow" if installed("tensorflow") else "jax")


def why_left_out(benchmark: Benchmark) -> str | None:
    """What the benchmark needs and is not there; None where it can run."""
    for need in benchmark.needs:
        if not installed(need):
            return f"{need} is not installed"
        if need == "tensorflow" and keras_backend() != "tensorflow":
            return f"it needs TensorFlow, and KERAS_BACKEND is {keras_backend()}"
    return None
