"""Checks of a file that a command is to write, before it begins its work."""

from __future__ import annotations

import tempfile
from pathlib import Path

from curate.core.errors import UsageError

FORMATS = {
    "json": (".json",),
    "html": (".html", ".htm"),
    "csv": (".csv",),
    "parquet": (".parquet", ".pq"),
}
"""Suffixes of the formats in which results are written."""

_OTHERS = (
    *(".tsv", ".jsonl", ".ndjson", ".txt", ".md", ".xml", ".yaml", ".yml", ".toml", ".xlsx"),
    *(".pdf", ".png", ".jpg", ".jpeg", ".svg", ".zip", ".tar", ".gz", ".feather", ".arrow", ".npz"),
)


def check_output(path: Path, form: str, hint: str = "") -> None:
    """Refuse a file that cannot be written, or whose suffix is that of another format.

    Args:
        path: the file.
        form: the format in which it is written, a key of `FORMATS`.
        hint: how the command writes other formats, for the message.

    Raises:
        UsageError: if it is a folder, is in no folder that can be written, or has the suffix of
            another format.
    """
    known = {suffix for suffixes in FORMATS.values() for suffix in suffixes} | {*_OTHERS}
    if path.suffix.lower() in known - {*FORMATS[form]}:
        name = {"html": "an HTML page", "parquet": "a Parquet table"}.get(form, form.upper())
        raise UsageError(
            f"cannot write {path}: it would be {name}; give a name that ends in "
            f"{FORMATS[form][0]}{hint}"
        )
    try:
        if path.is_dir():
            raise UsageError(f"cannot write {path}: it is a folder; give a file")
        if not path.parent.is_dir():
            raise UsageError(f"cannot write {path}: give a file in an existing folder")
        path.with_name(f"{path.name}.partial").exists()  # too long a name is an error
        with tempfile.TemporaryFile(dir=path.parent):
            pass
    except OSError as error:
        raise UsageError(f"cannot write {path}: {error.strerror}") from None
