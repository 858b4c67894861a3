"""Formats of files beside the images, and their check after a run."""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, BinaryIO, cast

from curate.core.errors import DataError
from curate.layouts.sidecars.budget import Budget, OverLimitError
from curate.layouts.sidecars.table import check_table, is_path, rewrite_table
from curate.layouts.sidecars.text import (
    MAX_DOCUMENT,
    rewrite_csv,
    rewrite_document,
    rewrite_image_csv,
    rewrite_image_lines,
    rewrite_info,
    rewrite_json,
    rewrite_json_lines,
    rewrite_lines,
    rewrite_text,
)
from curate.layouts.sidecars.values import Limits
from curate.layouts.voc.rewrite import rewrite_xml
from curate.layouts.yolo.rewrite import rewrite_labels
from curate.storage.regular import open_regular

Rewriter = Callable[[BinaryIO, BinaryIO, str, Limits], None]


def rewrite_caption(file: BinaryIO, target: BinaryIO, name: str, limits: Limits) -> None:
    """Write a text of an image again: boxes or polygons as of YOLO, or words."""
    data = file.read(MAX_DOCUMENT + 1)
    if len(data) > MAX_DOCUMENT:
        raise DataError(f"{name} is larger than 1 MB")
    if _are_labels(data):
        rewrite_labels(io.BytesIO(data), target, name, limits, None)
    else:
        rewrite_text(io.BytesIO(data), target, name, limits)


def _are_labels(data: bytes) -> bool:
    """Return whether each line of a text is a class and four numbers or more."""
    lines = [line.split() for line in data.splitlines() if line.strip()]
    return bool(lines) and all(
        len(words) >= 5 and all(map(_NUMBER.fullmatch, words)) for words in lines
    )


REWRITERS: Mapping[str, Rewriter] = {
    "caption": rewrite_caption,
    "csv": rewrite_csv,
    "document": rewrite_document,
    "image_csv": rewrite_image_csv,
    "image_jsonl": rewrite_image_lines,
    "info": rewrite_info,
    "json": rewrite_json,
    "jsonl": rewrite_json_lines,
    "lines": rewrite_lines,
    "parquet": rewrite_table,
    "tsv": rewrite_csv,
    "xml": rewrite_xml,
}
"""Functions that rewrite a file of a format: source, target, name in messages, limits."""


_NUMBER = re.compile(rb"[\d.eE+-]{1,24}")

EXCESS = "it contains values over the limits of annotations"

_PATHS = frozenset(
    ("id", "uri", "path", "output_path", "source_path", "source_uri", "category", "split", "image")
)
_MESSAGES = frozenset({"reason", "detail", "note", "notes"})
_MAX_PATH = 4096  # characters of a path, which names a file of the dataset
_MAX_MESSAGE = 1024


class ManifestLimits(Limits):
    """Limits on the texts of a manifest, whose paths and ids may be names of any file."""

    def _limit_text(self, key: str, value: str, kind: str | None) -> str:
        if key in _PATHS and is_path(value, _MAX_PATH):
            return value
        if key in _MESSAGES and is_path(value, _MAX_MESSAGE):
            return value
        return super()._limit_text(key, value, kind)

    def _spend_key(self, key: Any) -> None:
        try:
            super()._spend_key(key)
        except OverLimitError:
            if not is_path(str(key), _MAX_PATH):
                raise

    def _is_key(self, name: str) -> bool:
        return super()._is_key(name) or is_path(name, _MAX_PATH)

    def document_record(self, value: Mapping[Any, Any]) -> dict[Any, Any]:
        """Return the values of ``run.json``, which counts the keys of all annotations."""
        self.budget = Budget.of_document()
        for name in ("numbers", "letters", "keys"):
            setattr(self.budget, name, 1 << 18)
        return self._fields(value)


class NullTarget(io.RawIOBase):
    """Target that discards what is written."""

    _size = 0

    def writable(self) -> bool:
        """Return that it can be written."""
        return True

    def write(self, data: Any) -> int:
        """Discard bytes."""
        self._size += len(data)
        return len(data)

    def tell(self) -> int:
        """Return the number of bytes written."""
        return self._size


def find_excess(path: Path) -> str | None:
    """Return why a text or table that curate wrote contains values over the limits, or None."""
    suffix = path.suffix[1:].lower()
    limits = ManifestLimits(())
    readers = {"json": rewrite_info, "parquet": check_table}
    rewrite = readers.get(suffix) or REWRITERS.get(suffix, rewrite_document)
    target = cast(BinaryIO, NullTarget())
    try:
        with open_regular(path) as file:
            rewrite(file, target, path.name, limits)
    except DataError as error:
        is_over = suffix == "parquet" and str(error).endswith("over the limits")
        return f"{EXCESS}: {error}" if is_over else f"it cannot be parsed: {error}"
    except OSError as error:
        return f"it cannot be read: {error.strerror}"
    return EXCESS if limits.content.count_dropped() else None
