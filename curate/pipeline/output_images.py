"""The images of a finished output, by their paths in the manifest."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path

from curate.core.entries import ManifestEntry
from curate.core.errors import SourceChangedError, WithheldError
from curate.layouts import open_source
from curate.layouts.access.address import is_address
from curate.layouts.access.folder import MAX_IMAGE
from curate.layouts.access.remote import RemoteFolder
from curate.manifest.store import DATA
from curate.storage.regular import read_regular


def has_output(out: Path, entry: ManifestEntry) -> bool:
    """Whether the output of a record is there and has its size; a file inside one is not read."""
    path = out / DATA / str(entry.output_path)
    try:
        return path.stat().st_size == entry.output_bytes
    except NotADirectoryError:  # inside a container
        return next(parent for parent in path.parents if parent.exists()).is_file()
    except OSError:
        return False


def open_outputs(out: Path | str, layout: str, in_containers: bool) -> Callable[[str], bytes]:
    """Return a function that reads an output image by its path in the manifest.

    Args:
        out: the output folder, or its URI.
        layout: its layout.
        in_containers: whether its images are inside larger files.

    Returns:
        A function that raises `OSError` if there is no such image.
    """
    if not in_containers and is_address(str(out)):
        return _open_remote_outputs(f"{out}/{DATA}")
    if not in_containers:
        data = Path(out) / DATA
        return lambda path: read_regular(data / path, max_bytes=2 * MAX_IMAGE)
    outputs = open_source(f"{out}/{DATA}", layout, "OUT")

    def read(path: str) -> bytes:
        record = outputs.find(path)
        if record is None:
            raise FileNotFoundError(errno.ENOENT, "is not in its container", path)
        return outputs.read(record)

    return read


def _open_remote_outputs(uri: str) -> Callable[[str], bytes]:
    folder = RemoteFolder(uri, "OUT", is_listed=False)

    def read(path: str) -> bytes:
        try:
            return folder.read(path)
        except SourceChangedError:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path) from None
        except WithheldError as error:
            raise PermissionError(errno.EACCES, error.detail, path) from None

    return read
