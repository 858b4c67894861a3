"""Files beside the images: parsed, limited, and written again from the parsed values."""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, BinaryIO, cast

from curate.core.errors import DataError
from curate.layouts.sidecars.table import check_table, rewrite_table
from curate.layouts.sidecars.text import (
    MAX_DOCUMENT,
    rewrite_csv,
    rewrite_document,
    rewrite_json,
    rewrite_json_lines,
    rewrite_lines,
    rewrite_text,
)
from curate.layouts.sidecars.values import Limits
from curate.storage.regular import open_regular

Rewriter = Callable[[BinaryIO, BinaryIO, str, Limits], None]


def rewrite_caption(file: BinaryIO, target: BinaryIO, name: str, limits: Limits) -> None:
    """Write a text of an image again: boxes or polygons as of YOLO, or words."""
    from curate.layouts.yolo.rewrite import rewrite_labels

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


def _rewrite_xml(file: BinaryIO, target: BinaryIO, name: str, limits: Limits) -> None:
    from curate.layouts.voc.rewrite import rewrite_xml

    rewrite_xml(file, target, name, limits)


REWRITERS: Mapping[str, Rewriter] = {
    "caption": rewrite_caption,
    "csv": rewrite_csv,
    "document": rewrite_document,
    "json": rewrite_json,
    "jsonl": rewrite_json_lines,
    "lines": rewrite_lines,
    "parquet": rewrite_table,
    "tsv": rewrite_csv,
    "xml": _rewrite_xml,
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


def find_excess(path: Path) -> str | None:
    """Return why a text or table that curate wrote contains values over the limits, or None."""
    suffix = path.suffix[1:].lower()
    limits = Limits(())
    rewrite = check_table if suffix == "parquet" else REWRITERS.get(suffix, rewrite_document)
    target = cast(BinaryIO, NullTarget())
    try:
        with open_regular(path) as file:
            rewrite(file, target, path.name, limits)
    except DataError as error:
        return f"it cannot be parsed: {error}"
    except OSError as error:
        return f"it cannot be read: {error.strerror}"
    return EXCESS if limits.content.count_dropped() else None
