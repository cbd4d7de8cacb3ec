"""Human action recognition from body pose and RGB video, in Keras.

    keras_actrec.Recognizer.load(DIR)("clip.mp4").top()

Importing the package is cheap: TensorFlow and Keras are imported by the rooms that need them (layers, models, training, …), and
by `Recognizer` when somebody asks for it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from keras_actrec.version import __version__

if TYPE_CHECKING:
    from keras_actrec.recognizer import Recognizer

__all__ = ["Recognizer", "__version__"]


def __getattr__(name: str):
    if name == "Recognizer":
        from keras_actrec.recognizer import Recognizer

        return Recognizer
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
