"""Read the images of a finished OUT by their paths in its manifest."""

from __future__ import annotations

import errno
from collections.abc import Callable
from pathlib import Path

from curate.layouts import open_source
from curate.manifest.layout import DATA
from curate.storage.regular import read_regular


def open_outputs(out: Path, layout: str, in_containers: bool) -> Callable[[str], bytes]:
    """What reads an output by its path in the manifest.

    Args:
        out: the output folder.
        layout: its layout.
        in_containers: whether its images stand inside larger files.

    Returns:
        A function that raises OSError if there is no such output.
    """
    data = out / DATA
    if not in_containers:
        return lambda path: read_regular(data / path)
    outputs = open_source(str(data), layout, "OUT")

    def read(path: str) -> bytes:
        record = outputs.find(path)
        if record is None:
            raise FileNotFoundError(errno.ENOENT, "is not in its container", path)
        return outputs.read(record)

    return read
