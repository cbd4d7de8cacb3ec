"""docs/serving.md: its Python does what it says, in its order, with a small model in the place of the reader's."""

from __future__ import annotations

import re
import threading
from pathlib import Path

import keras
import numpy as np
import pytest

from keras_actrec.export import export_saved_model
from keras_actrec.models.sta_hands import STAHandsConfig, sta_hands
from keras_actrec.serving.rest import RestServer
from keras_actrec.skeletons.layouts import KINECT_V2
from keras_actrec.skeletons.pose_tensor import PoseTensorConfig
from keras_actrec.skeletons.sampling import SamplingConfig

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "serving.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```python\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
ADDRESS = "http://127.0.0.1:8501/v1/models/actrec"
CLASSES = ("wave", "clap", "drink")


@pytest.fixture
def exported(tmp_path) -> Path:
    keras.utils.set_random_seed(1)
    sizes = {"lstm_units": 4, "spatial_attention_units": 3, "temporal_attention_units": 3, "temporal_features": 3}
    model = sta_hands(STAHandsConfig(classes=3, pose_filters=(2, 2), pose_features=4, **sizes))
    return export_saved_model(
        model, tmp_path / "runs" / "mine" / "export", class_names=CLASSES, layout=KINECT_V2, tensor=PoseTensorConfig(),
        sampling=SamplingConfig(), sensor={}, crop_size=50, cleaning={},
    )  # fmt: skip


def test_the_examples_run(exported, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    with RestServer(exported, name="actrec", port=0) as server:
        threading.Thread(target=server.run, daemon=True).start()
        try:
            for block in BLOCKS:
                exec(block.replace(ADDRESS, server.address), names)
                if ADDRESS in block:
                    assert names["answer"]["probabilities"].shape == (3,)
                    np.testing.assert_allclose(names["answer"]["probabilities"].sum(), 1, atol=1e-5)
        finally:
            server.stop()
    assert (tmp_path / "models" / "actrec" / "1" / "saved_model.pb").is_file()
    assert names["class_names"] == list(CLASSES) and names["options"]["layout"] == "kinect_v2"
    assert names["probabilities"].shape == (3, 3)


def test_the_page_tells_what_the_command_is_told():
    from keras_actrec.cli import serve

    options = set(re.findall(r"--[a-z-]+", PAGE)) - {"--to"}
    assert {"--name", "--host", "--port", "--max-megabytes", "--model"} <= options
    assert "docs/serving.md" in serve.HELP
