"""Search of sidecar files for encoded images, which would bypass face detection.

Annotations are text or tables. A file that contains images in another form (a renamed photo,
``imageData`` of LabelMe, ``pixels`` of FER2013, a Parquet column of bytes) is left out.
"""

from __future__ import annotations

from pathlib import Path

from curate.layouts.sidecars.table import find_in_table
from curate.layouts.sidecars.text import find_in_file

__all__ = ["find_pictures"]


def find_pictures(path: Path) -> str | None:
    """Return in one line why a file may contain images, or None; memory is bounded.

    Args:
        path: file with the suffix of an annotation file.

    Raises:
        OSError: if it cannot be read.
    """
    return find_in_table(path) if path.suffix.lower() == ".parquet" else find_in_file(path)
