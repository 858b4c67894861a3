"""Reports: results as JSON, as an HTML page and as a summary for the terminal."""

from __future__ import annotations

import html
import json
from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import curate
from curate.core.errors import DataError, SchemaVersionError
from curate.report.page import render_fragment, render_page
from curate.report.text import typeset
from curate.report.values import Page
from curate.storage.atomic import save_text
from curate.storage.regular import load_json


class Printable(ABC):
    """The result of a public function: a short line in Python, its text in a notebook."""

    @abstractmethod
    def to_text(self) -> str:
        """The main figures, one per line, at most 80 columns; the first line is the result."""

    def __repr__(self) -> str:
        return f"<{type(self).__name__}: {self.to_text().partition(chr(10))[0]}>"

    def _repr_html_(self) -> str:
        return f"<pre>{html.escape(typeset(self.to_text()))}</pre>"


class Report(Printable):
    """The result of a command that measures something.

    A subclass provides three forms of the same figures: `to_dict` for programs, `to_page`
    for a browser and `to_text` for the terminal.
    """

    @abstractmethod
    def to_dict(self) -> Mapping[str, Any]:
        """Plain values for JSON, with the key ``version``; see the schema in ``manifests/``."""

    @abstractmethod
    def to_page(self) -> Page:
        """The contents of the HTML page."""

    def _repr_html_(self) -> str:
        return render_fragment(self.to_page())

    def to_json(self) -> str:
        """The report as JSON text, without NaN or infinity."""
        return json.dumps(self.to_dict(), indent=2, ensure_ascii=False, allow_nan=False) + "\n"

    def to_html(self, source: str = "") -> str:
        """The report as one HTML document that needs no network; `source` is shown at its top."""
        return render_page(self.to_page(), source)

    def save(self, json: Path | None = None, html: Path | None = None, source: str = "") -> None:
        """Write the report to files, each atomically.

        Args:
            json: where to write the JSON, or None.
            html: where to write the page, or None.
            source: names of the inputs, shown on the page.

        Raises:
            OSError: if a file cannot be written.
        """
        if html is not None:
            save_text(Path(html), self.to_html(source))
        if json is not None:
            save_text(Path(json), self.to_json())


def load_report(path: Path, name: str, command: str, version: int) -> dict[str, Any]:
    """Load the JSON of a report.

    Args:
        path: the file.
        name: what it is, in messages.
        command: the command that writes it, in messages.
        version: the newest version that this release reads.

    Raises:
        DataError: if it cannot be read or is not a JSON object.
        SchemaVersionError: if it was written by a newer release.
    """
    try:
        report = load_json(path)
    except OSError as error:
        raise DataError(f"the {name} {path} cannot be read: {error.strerror}") from None
    except ValueError:
        raise DataError(f"{path} is not valid JSON; give a report of {command}") from None
    if not isinstance(report, dict):
        raise DataError(f"{path} is not a report of {command}")
    found = report.get("version")
    if type(found) is int and found > version:
        raise SchemaVersionError(
            f"{path} has version {found}, this release reads up to {version}; upgrade "
            "curate-dataset"
        )
    return report


def describe_tool() -> dict[str, str]:
    """Return the entry of a report about this package."""
    return {"name": "curate-dataset", "version": curate.__version__}
