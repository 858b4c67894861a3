"""Load a vocabulary of labels from a list, a table or a dataset."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from curate.balance.records import iter_categories
from curate.core.errors import DataError
from curate.core.protocols import Source
from curate.layouts import open_source
from curate.layouts.access.address import is_address
from curate.layouts.faces.truth import format_value
from curate.layouts.groups import TABLES, holds_images, iter_rows, list_names, load_columns
from curate.manifest.store import digest_file
from curate.storage.regular import iter_short_lines, load_json, open_regular

MAX_LABELS = 200_000
"""Maximum number of labels of a vocabulary."""

_DESCRIBED_BY = ("name", "gloss")


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """The labels to decide.

    Args:
        form: format: ``text``, ``json``, ``table`` or ``dataset``.
        sha256: digest of the file; None for a dataset.
        labels: each label with its ``name`` and ``gloss``, if given.
    """

    form: str
    sha256: str | None
    labels: Mapping[str, Mapping[str, str]]


def load_vocabulary(source: str, layout: str = "auto") -> Vocabulary:
    """Load a vocabulary: text with one label per line, a JSON list, a table, or a dataset.

    Args:
        source: path or URI.
        layout: layout of a dataset.

    Raises:
        DataError: if it cannot be read, is empty, or has a duplicate label.
        UsageError: if the layout is unknown.
    """
    path = Path(source)
    if _is_dataset(source):
        labels = _of_dataset(open_source(source, layout, "VOCABULARY"))
        return Vocabulary("dataset", None, labels)
    ending = path.suffix.lower()
    form = "json" if ending == ".json" else "table" if ending in TABLES else "text"
    read = {"json": _iter_json, "table": _iter_table, "text": _iter_lines}[form]
    try:
        labels = _collect(read(path), path)
        return Vocabulary(form, digest_file(path), labels)
    except OSError as error:
        raise DataError(f"the vocabulary {path} cannot be read: {error.strerror}") from None


def _is_dataset(source: str) -> bool:
    path = Path(source)
    if is_address(source) or path.is_dir() or "{" in source or path.suffix.lower() == ".tar":
        return True
    return holds_images(path)


def _of_dataset(source: Source) -> dict[str, Mapping[str, str]]:
    found: dict[str, Mapping[str, str]] = {}
    for record in iter_categories(source):
        for category in record.categories:
            found.setdefault(category, {})
            _check_size(found, source.uri)
    if not found:
        raise DataError(f"no image of {source.uri} has a category; give the labels as a list")
    return dict(sorted(found.items()))


def _collect(rows: Iterator[tuple[str, Any, Mapping[str, Any]]], path: Path) -> dict[str, Any]:
    found: dict[str, Mapping[str, str]] = {}
    for where, value, row in rows:
        label = None if isinstance(value, (bool, float)) else format_value(value)
        if label is None:
            raise DataError(f"{where} has no label")
        if label in found:
            raise DataError(f"{where} has the label {label!r}, which is duplicated")
        fields = {name: format_value(row.get(name)) for name in _DESCRIBED_BY}
        found[label] = {name: text for name, text in fields.items() if text is not None}
        _check_size(found, path)
    if not found:
        raise DataError(
            f"{path} has no labels; expected one per line, a JSON list, or a column label"
        )
    return found


def _check_size(found: Mapping[str, Any], source: object) -> None:
    if len(found) > MAX_LABELS:
        raise DataError(
            f"{source} has more than {MAX_LABELS:,} labels, the maximum of a vocabulary"
        )


def _iter_lines(path: Path) -> Iterator[tuple[str, Any, Mapping[str, Any]]]:
    try:
        with open_regular(path, follow_links=True) as file:
            for number, line in enumerate(iter_short_lines(file), start=1):
                if text := line.decode("utf-8-sig" if number == 1 else "utf-8").strip():
                    yield f"{path}, line {number},", text, {}
    except UnicodeDecodeError:
        raise DataError(f"{path} is not valid UTF-8 text; expected one label per line") from None
    except ValueError as error:
        raise DataError(f"{path} has a line that is not a label: {error}") from None


def _iter_json(path: Path) -> Iterator[tuple[str, Any, Mapping[str, Any]]]:
    try:
        items = load_json(path)
    except (ValueError, RecursionError):
        raise DataError(f"{path} is not valid JSON; is it truncated?") from None
    if not isinstance(items, list):
        raise DataError(f"{path} is not a JSON list of labels")
    for number, item in enumerate(items):
        where = f"{path}: [{number}]"
        if isinstance(item, dict):
            yield where, item.get("label"), item
        else:
            yield where, item, {}


def _iter_table(path: Path) -> Iterator[tuple[str, Any, Mapping[str, Any]]]:
    columns = load_columns(path)
    if "label" not in columns:
        raise DataError(f"{path} has no column 'label'; it has: {list_names(columns)}")
    for number, row in enumerate(iter_rows(path, ("label", *_DESCRIBED_BY)), start=1):
        yield f"{path}, record {number},", row.get("label"), row
