"""Descriptions of exports: each kind comes back as what it was, older ones are read, others are refused."""

from __future__ import annotations

import json
from dataclasses import asdict

import pytest

from keras_actrec.errors import WeightsError
from keras_actrec.export.saved_model import ExportDescription, GlimpseCloudsDescription, VPNDescription, read_description

TWO_STREAM = ExportDescription(("wave", "clap"), "kinect_v2", ("a", "b"), {}, 50, {}, {"seed": 5}, {}, ("plain", "mirrored"))
VPN = VPNDescription(("wave", "clap"), "kinect_v2", ("a", "b"), {"frames": 4}, {"size": 8}, {}, {"name": "i3d"}, 8, (2, 3))
GLIMPSES = GlimpseCloudsDescription(("wave", "clap"), "kinect_v2", ("a", "b"), {"views": 5}, 256, {"box": "whole"}, {})


def write(directory, content: dict) -> None:
    (directory / "actrec.json").write_text(json.dumps(content))


@pytest.mark.parametrize("description", [TWO_STREAM, VPN, GLIMPSES], ids=lambda description: description.model)
def test_each_kind_comes_back(tmp_path, description):
    write(tmp_path, {"keras_actrec": "0.1", "model": description.model, **asdict(description)})
    assert read_description(tmp_path) == description


def test_an_older_export_has_the_plain_view(tmp_path):
    content = asdict(TWO_STREAM)
    del content["views"]
    write(tmp_path, {"model": "sta_hands", **content})
    assert read_description(tmp_path).views == ("plain",)


def test_a_directory_that_is_no_export_is_refused(tmp_path):
    with pytest.raises(WeightsError, match=r"actrec\.json: no description.*FileNotFoundError.*WORKDIR/export"):
        read_description(tmp_path)


@pytest.mark.parametrize("text", ["{", "[]", "{}", '{"model": "vpn", "class_names": ["wave"]}'])
def test_a_damaged_description_is_refused(tmp_path, text):
    (tmp_path / "actrec.json").write_text(text)
    with pytest.raises(WeightsError, match=r"actrec\.json: no description of an exported model \(found .*WORKDIR/export"):
        read_description(tmp_path)


def test_a_model_of_a_later_version_is_refused(tmp_path):
    write(tmp_path, {"model": "later", **asdict(VPN)})
    with pytest.raises(
        WeightsError, match=r"does not know the model.*later, expected one of sta_hands, vpn, glimpse_clouds.*version that"
    ):
        read_description(tmp_path)
