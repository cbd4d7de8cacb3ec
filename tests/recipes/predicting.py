"""One clip through a model that is loaded for it alone."""

from __future__ import annotations

from pathlib import Path

from keras_actrec.recipes.prediction.explanation import Prediction
from keras_actrec.recognizer import Recognizer


def predict_clip(model: str | Path, video, skeleton=None, **options) -> Prediction:
    """`options` are those of `Recognizer.load`."""
    return Recognizer.load(model, **options)(video, skeleton)
