"""Links between the documents lead to files and headings that are there."""

from __future__ import annotations

import re

import pytest

from tests.docs.commands import REPOSITORY, documents

LINK = re.compile(r"\]\((?!https?://)([^)\s]+)\)")


BLOCK = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("path", documents(), ids=lambda path: path.name)
def test_links_lead_somewhere(path):
    for target in LINK.findall(BLOCK.sub("", path.read_text(encoding="utf-8"))):
        name, _, anchor = target.partition("#")
        file = (path.parent / name).resolve() if name else path
        assert file.exists(), f"{path.name}: {target}"
        if anchor:
            assert anchor in anchors(file.read_text(encoding="utf-8")), f"{path.name}: no heading for {target}"


def anchors(text: str) -> set[str]:
    """Anchors of the headings as GitHub makes them."""
    titles = re.findall(r"^#+ (.+)$", BLOCK.sub("", text), re.MULTILINE)
    plain = [re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", title).strip().lower() for title in titles]
    return {re.sub(r"[^\w\- ]", "", title).replace(" ", "-") for title in plain}


def test_every_document_is_linked():
    """From README.md or another document: a page that nobody links is not found."""
    texts = {path.resolve(): BLOCK.sub("", path.read_text(encoding="utf-8")) for path in documents()}
    linked = {
        (path.parent / target.partition("#")[0]).resolve()
        for path, text in texts.items()
        for target in LINK.findall(text)
        if not target.startswith("#")
    }
    assert {path for path in texts if path.name != "README.md"} <= linked, REPOSITORY
