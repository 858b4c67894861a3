"""Rendering of a page as one HTML file, without scripts or network access."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator
from importlib.resources import files
from typing import Any

import jinja2
from markupsafe import Markup, escape

from curate.core.records import escape_controls
from curate.report.svg import NARROW, draw_bars, draw_lines
from curate.report.text import name_classes, typeset
from curate.report.values import BarChart, Gallery, LineChart, Page, Section, Table

_OPTION = re.compile(r"(?<![\w-])(--[a-z][a-z-]*)")
_PERCENT = re.compile(r"(?<=\d) %")


def render_page(page: Page, source: str = "") -> str:
    """Render a page as one HTML document; every text is escaped, and control characters are shown.

    Args:
        page: its contents.
        source: names of the inputs, shown at the top.
    """
    text = (files("curate.report") / "page.html").read_text(encoding="utf-8")
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, finalize=_typeset
    )
    template = environment.from_string(text)
    values = {"page": page, "source": source, "blocks": _iter_blocks, "base64": _to_base64}
    values["is_wide"] = _is_wide
    forms = {"prose": _mark_commands, "heading": _keep_percent, "named": name_classes}
    return escape_controls(template.render(values, **forms)) + "\n"


_MAX_ROWS = 60  # of a table in a notebook
_CELL = "text-align:left;white-space:normal;max-width:30em;overflow-wrap:anywhere"


def render_fragment(page: Page) -> str:
    """The title, result and tables of a page as HTML for a notebook, which has a style of its own.

    Args:
        page: its contents; charts and pictures are left out.
    """
    texts = [text for text in (page.verdict, *page.lead) if text]
    parts = [Markup("<p><strong>{}</strong></p>").format(_typeset(page.title))]
    parts += [Markup("<p>{}</p>").format(_mark_commands(text)) for text in texts]
    for section in page.sections:
        for block in section.blocks:
            if isinstance(block, Table) and block.rows:
                parts.append(_draw_table(block))
    return escape_controls(Markup("\n").join(parts))


def _draw_table(table: Table) -> Markup:
    cell = Markup('<{0} style="{1}">{2}</{0}>')
    rows = [("th", table.head), *(("td", row) for row in table.rows[:_MAX_ROWS])]
    lines = Markup("\n").join(
        Markup("<tr>{}</tr>").format(
            Markup().join(cell.format(tag, _CELL, _typeset(str(text))) for text in row)
        )
        for tag, row in rows
    )
    left = len(table.rows) - _MAX_ROWS
    more = Markup("<p>… and {:,} more rows</p>").format(left) if left > 0 else ""
    return Markup("<p>{}</p>\n<table>\n{}\n</table>{}").format(_typeset(table.caption), lines, more)


def _typeset(value: Any) -> Any:
    """Typeset plain texts, with class names; markup, such as charts, is left as it is."""
    return name_classes(typeset(value)) if type(value) is str else value


def _keep_percent(text: str) -> str:
    """A text whose percent signs do not start a line."""
    return _PERCENT.sub("\u00a0%", text)


def _mark_commands(text: str) -> Markup:
    """A paragraph, in which a command between backticks is set as one."""
    text = _keep_percent(_typeset(text))
    parts = text.split("`")
    if len(parts) % 2 == 0:  # a backtick of its own, as in the name of a file
        return escape(text)
    return Markup().join(
        Markup("<code>{}</code>").format(part) if number % 2 else _keep_options(part)
        for number, part in enumerate(parts)
    )


def _keep_options(text: str) -> Markup:
    """A text whose options stay in one line: browsers break after a hyphen."""
    return Markup().join(
        Markup('<span style="white-space:nowrap">{}</span>').format(part) if number % 2 else part
        for number, part in enumerate(_OPTION.split(text))
    )


def _iter_blocks(section: Section) -> Iterator[tuple[str, Any]]:
    for block in section.blocks:
        if isinstance(block, BarChart):
            yield "chart", {"chart": block, "svg": draw_bars(block) + draw_bars(block, NARROW)}
        elif isinstance(block, LineChart):
            yield "chart", {"chart": block, "svg": draw_lines(block) + draw_lines(block, NARROW)}
        elif isinstance(block, Table):
            yield "table", block
        elif isinstance(block, Gallery):
            yield "gallery", block
        else:
            yield "text", block


_PHONE = 46  # characters that fit a phone of 390 px
_HEAD = 13  # longer names of columns are wrapped


def _is_wide(table: Table) -> bool:
    """Whether a table is wider than a phone, though long names of rows wrap."""
    columns = zip(table.head, *table.rows, strict=False)
    widths = [
        max(min(len(head), _HEAD), *(len(cell) for cell in cells), 0) + 2
        for head, *cells in columns
    ]
    if len(widths) == 2:
        widths[0] = min(widths[0], _PHONE // 2)
    return sum(widths) > _PHONE


def _to_base64(data: bytes) -> str:
    return base64.b64encode(data).decode()
