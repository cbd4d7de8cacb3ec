"""docs/formats.md and docs/models.md say of files and tensors what the code says."""

from __future__ import annotations

import re
from dataclasses import fields

import keras
import pytest

from keras_actrec.cache.schema import KINDS
from keras_actrec.datasets import own
from keras_actrec.datasets.pose_files import SUFFIXES
from keras_actrec.datasets.record import LeftOut
from keras_actrec.export import saved_model
from keras_actrec.models import glimpse_clouds, rpan, sta_hands, vpn
from keras_actrec.training.results import RunDescription
from tests.docs.commands import REPOSITORY

FORMATS = (REPOSITORY / "docs" / "formats.md").read_text(encoding="utf-8")
MODELS = (REPOSITORY / "docs" / "models.md").read_text(encoding="utf-8")
DESCRIPTIONS = {
    kind.model: kind
    for kind in (
        saved_model.ExportDescription, saved_model.VPNDescription, saved_model.GlimpseCloudsDescription,
        saved_model.RPANDescription,
    )
}  # fmt: skip


def rows(text: str, head: str) -> dict[str, list[str]]:
    """The first table whose first line begins with `head`: first cell without code marks → the other cells."""
    table = text[text.index(head) :].split("\n\n")[0].splitlines()[2:]
    cells = [[cell.strip() for cell in line.strip("|").split(" | ")] for line in table]
    return {first.strip(" |`"): rest for first, *rest in cells}


def words(text: str) -> set[str]:
    """Words in code marks."""
    return set(re.findall(r"`([\w.]+)`", text))


# docs/formats.md --------------------------------------------------------------------------------------------------------------


def test_every_kind_of_cache_has_its_row_and_its_script():
    table = rows(FORMATS, "| kind |")
    assert set(table) == set(KINDS)
    for kind, (script, *_) in table.items():
        assert (REPOSITORY / "preprocessing" / script.strip("`")).is_file(), kind


def test_every_column_of_a_list_of_clips_and_every_pose_file():
    paragraph = FORMATS[FORMATS.index("**A list of clips**") :].split("\n\n")[0]
    assert {*own.REQUIRED, *own.OPTIONAL, own.SPLIT} <= words(paragraph)
    assert {f"`{suffix}`" for suffix in SUFFIXES} <= set(re.findall(r"`\.\w+`", FORMATS))


def test_every_field_of_actrec_json():
    common = words(FORMATS[FORMATS.index("**actrec.json**") :].split("\n\n")[0])
    assert common >= {"keras_actrec", "model"}
    table = rows(FORMATS[FORMATS.index("**actrec.json**") :], "| model |")
    assert set(table) == set(DESCRIPTIONS)
    for model, (further,) in table.items():
        assert words(further) | (common - {"keras_actrec", "model"}) == {field.name for field in fields(DESCRIPTIONS[model])}


def test_every_key_of_metrics_json():
    paragraph = FORMATS[FORMATS.index("**metrics.json**") :].split("\n\n")[0]
    assert {field.name for field in fields(RunDescription)} <= words(paragraph)
    source = (REPOSITORY / "keras_actrec" / "training" / "results.py").read_text(encoding="utf-8")
    keys = set(re.findall(r'^        "(\w+)": ', source, re.MULTILINE))
    assert len(keys) > 5 and keys <= words(paragraph)


def test_the_columns_of_left_out_csv():
    line = rows(FORMATS, "| in the working directory |")["left_out.csv"][0]
    assert words(line) == {field.name for field in fields(LeftOut)} | {"side"}


def test_the_columns_of_a_timeline():
    paragraph = FORMATS[FORMATS.index("A **timeline**") :].split("\n\n")[0]
    source = (REPOSITORY / "keras_actrec" / "recipes" / "prediction" / "timeline.py").read_text(encoding="utf-8")
    (columns,) = re.findall(r"writerow\(\[(.+), \*self\.class_names\]\)", source)
    assert set(re.findall(r'"(\w+)"', columns)) <= words(paragraph)


# docs/models.md ---------------------------------------------------------------------------------------------------------------

BUILT = {
    "STA-Hands": lambda: sta_hands.sta_hands(sta_hands.preset("sta_hands_paper", 60)),
    "VPN": lambda: vpn.vpn(vpn.preset("vpn_paper", 60)),
    "Glimpse Clouds": lambda: glimpse_clouds.glimpse_clouds(glimpse_clouds.preset("glimpse_clouds_paper", 60)),
    "RPAN": lambda: rpan.rpan(rpan.preset("rpan_sub_jhmdb", 12)),
}


def section(title: str) -> str:
    return MODELS[MODELS.index(f"\n## {title}\n") :].split("\n## ")[1]


@pytest.mark.parametrize("title", BUILT)
def test_tensors_and_weights_of_a_model(title):
    keras.backend.clear_session()
    model, text = BUILT[title](), section(title)
    documented = {name: shape for name, (shape, *_) in rows(text, "| tensor |").items()}
    inputs = {f"input `{name}": tensor for name, tensor in model.input.items()}
    tensors = {**inputs, **model.output}
    assert set(documented) == set(tensors)
    for name, tensor in tensors.items():
        shape = ", ".join(["B", *map(str, tensor.shape[1:])])
        assert documented[name] == f"({shape})", name
    assert f"{model.count_params():,}" in text


@pytest.mark.parametrize("title", BUILT)
def test_presets_that_are_named_are_there(title):
    presets = {"STA-Hands": sta_hands, "VPN": vpn, "Glimpse Clouds": glimpse_clouds, "RPAN": rpan}[title].PRESETS
    line = section(title)[section(title).index("Presets: ") :].split("\n\n")[0]
    for name in re.findall(r"`(\w+)`", line):
        assert name in presets or (name.startswith("_") and any(known.endswith(name) for known in presets)), name
    for start in re.findall(r"`(\w+_)…`", line):
        assert any(name.startswith(start) for name in presets), start


# Diagrams ---------------------------------------------------------------------------------------------------------------------

NODE = r'(\w+)(?:\["[^"\[\]{}]+"\])?'
EDGE = re.compile(rf'    {NODE} (?:-->|-- "[^"]+" -->|-\. "[^"]+" \.->) {NODE}')
RESERVED = {"end", "graph", "subgraph", "style", "class", "click", "default", "linkStyle"}
DIAGRAMS = re.findall(r"^```mermaid\n(.*?)^```", MODELS, re.MULTILINE | re.DOTALL)


def test_every_model_has_a_diagram():
    assert len(DIAGRAMS) == len(BUILT)
    for title in BUILT:
        assert "```mermaid" in section(title)


@pytest.mark.parametrize("diagram", DIAGRAMS, ids=list(BUILT))
def test_a_diagram_is_of_the_part_of_mermaid_that_github_draws(diagram):
    first, *lines = diagram.splitlines()
    assert first == "flowchart LR" and lines
    named, labelled = set(), set()
    for line in lines:
        edge = EDGE.fullmatch(line)
        assert edge, f"no edge: {line}"
        named |= set(edge.groups())
        labelled |= set(re.findall(r'(\w+)\["', line))
    assert not named & RESERVED, "words that mermaid has a meaning for"
    assert named == labelled, "each node has its text once"
