"""Formats of files beside the images, by name."""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Mapping
from typing import Any, BinaryIO

from curate.core.errors import DataError
from curate.layouts.sidecars.table import rewrite_table
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
