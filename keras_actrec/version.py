"""The one place of the version, and the versions of the libraries that numbers depend on."""

from __future__ import annotations

import platform
from importlib import metadata

__version__ = "0.1.0"

LIBRARIES = ("tensorflow", "keras", "numpy", "h5py", "opencv-python", "opencv-python-headless", "pandas")


def library_versions() -> dict[str, str]:
    """Versions of Python, of this package and of the installed libraries that shape its numbers."""
    versions = {"python": platform.python_version(), "keras_actrec": __version__}
    for name in LIBRARIES:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return versions
