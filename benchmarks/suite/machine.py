"""One line about the machine and the programs that figures come from."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from suite.catalogue import keras_backend

_PACKAGES = ("numpy", "opencv-python", "h5py", "keras", "tensorflow", "jax")


def describe_machine() -> str:
    """Processor, cores that this process may use, how busy they are, memory, GPUs, and versions."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    load = f" (load {os.getloadavg()[0]:.1f})" if hasattr(os, "getloadavg") else ""
    versions = [f"{package} {number}" for package in _PACKAGES if (number := _version(package))]
    parts = [
        f"{_processor()}, {cores} cores{load}, {_memory()}",
        " + ".join(_gpus()) or "no GPU",
        ", ".join([f"Python {platform.python_version()}", *versions, f"Keras backend {keras_backend()}"]),
    ]
    return "; ".join(parts)


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def _memory() -> str:
    try:
        return f"{os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 2**30:.0f} GiB"
    except (AttributeError, ValueError, OSError):
        return "memory unknown"


def _gpus() -> list[str]:
    if shutil.which("nvidia-smi") is None:
        return []
    command = ["nvidia-smi", "--query-gpu=name", "--format=csv,noheader"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    return [line.strip() for line in done.stdout.splitlines()] if done.returncode == 0 else []
