"""Rules that every HTML page of a report follows."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import jsonschema

import curate
from curate.report.document import Report
from curate.report.text import imagenet_classes

MANIFESTS = Path(__file__).resolve().parents[2] / "manifests"

_WNID = re.compile(r"(?<![\w./-])(n\d{8})(?![\w/-]|\.\w)(.*)", re.DOTALL)
_HYPHEN = re.compile(r"(?<![^\s(\[])-\d|\d[eE]-\d")
_ZERO = re.compile(r"\b0 (?:of|images (?:are|were|that)|groups? (?:are|is)|faces that)\b")
_CUT = re.compile("…")


@dataclass
class _Page(HTMLParser):
    """The texts of a page by element."""

    texts: list[tuple[str, str]] = field(default_factory=list)
    tables: list[list[list[str]]] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__()
        self._open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in ("meta", "img", "path", "rect", "line"):
            return
        name = dict(attrs).get("class") or ""
        self._open.append(f"{tag}.{name}" if name in ("about", "verdict") else tag)
        if tag == "table":
            self.tables.append([])
        elif tag == "tr":
            self.tables[-1].append([])
        elif tag in ("th", "td"):
            self.tables[-1][-1].append("")

    def handle_endtag(self, tag: str) -> None:
        if tag not in ("meta", "img", "path", "rect", "line"):
            self._open.pop()

    def handle_data(self, data: str) -> None:
        if not data.strip() or self._open[-1] in ("style", "title"):
            return
        self.texts.append((self._open[-1], data.replace("\u00a0", " ")))
        if self._open[-1] in ("th", "td"):
            self.tables[-1][-1][-1] += data.replace("\u00a0", " ")

    def of(self, element: str) -> list[str]:
        return [text for name, text in self.texts if name == element]


def check_page(text: str, *sources: str) -> None:
    """Check a page.

    Args:
        text: the HTML document.
        sources: names of inputs that its top must show.
    """
    page = _Page()
    page.feed(text)
    [about] = page.of("p.about")
    assert f"curate-dataset {curate.__version__}" in about
    assert all(re.search(rf"Source: [^;]*{re.escape(each)}\b", about) for each in sources)
    assert page.of("p.verdict")
    cells = []
    for head, *rows in page.tables:
        assert all(head[1:]), head
        assert all(len(row) == len(head) for row in rows), head
        cells += [cell for row in rows for cell in row[1:]]
    if any("(95 %" in name for head, *_ in page.tables for name in head):
        values = [each for each in page.of("text") if re.match(r"[\d+−].* \(.* to .*\)$", each)]
        assert set(values) <= set(cells)
    for element, each in page.texts:
        assert not _HYPHEN.search(each), each
        if element in ("p", "p.verdict"):
            assert not _ZERO.search(each), each
        found = None if _CUT.search(each) else _WNID.search(each)
        if found is not None and found[1] in imagenet_classes():
            assert found[2].startswith(f" {imagenet_classes()[found[1]]}"), each


def check_schema(report: Report, name: str) -> dict[str, Any]:
    """Check the JSON of a report against its schema in ``manifests/``, and return it."""
    values: dict[str, Any] = json.loads(json.dumps(report.to_dict(), allow_nan=False))
    schema = json.loads((MANIFESTS / f"{name}.schema.json").read_text())
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.validate(values, schema)
    return values
