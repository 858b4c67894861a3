"""Whether a file beside the images may go to the output as it is.

Annotations are text or tables. A file that holds pictures in another form
(a renamed photo, LabelMe's ``imageData``, FER2013's ``pixels``, a Parquet column
of bytes) would carry faces past the detector, so it stays behind.
"""

from __future__ import annotations

from pathlib import Path

from curate.layouts.sidecars.table import find_in_table
from curate.layouts.sidecars.text import find_in_file

__all__ = ["find_pictures"]


def find_pictures(path: Path) -> str | None:
    """Say why a file may hold pictures, or None if it holds none.

    Memory does not grow with the file.

    Args:
        path: a file whose suffix is on the allow-list of annotations.

    Returns:
        One line for a person, or None.

    Raises:
        OSError: if it cannot be read.
    """
    return find_in_table(path) if path.suffix.lower() == ".parquet" else find_in_file(path)
