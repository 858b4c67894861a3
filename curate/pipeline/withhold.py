"""Which errors withhold an image, and which end the run."""

from __future__ import annotations

import re
import sqlite3

from curate.core.errors import CurateError, DataError, SetupError, WithheldError, name_error
from curate.detectors.device import is_gpu_failure
from curate.storage.errors import find_full

_AGAIN = "run the same command again to go on"
_MEMORY = re.compile(
    r"out of memory|insufficient memory|memory allocation|bad_alloc"
    r"|(?:not enough|can.?t allocate|cannot allocate|unable to allocate) memory",
    re.IGNORECASE,
)


def to_withheld(
    error: Exception,
    image: str,
    code: str = "internal",
    detail: str = "the image could not be processed",
) -> WithheldError:
    """Return the reason to withhold an image; raises the error that must end the run.

    Args:
        error: raised while the image was processed.
        image: its id.
        code: code of the reason, unless the error has its own.
        detail: text of the reason, unless the error has its own.
    """
    if isinstance(error, WithheldError):
        # Without the frames of its traceback, which hold the content of the file.
        return WithheldError(error.code, error.detail)
    if fatal := find_run_error(error, image):
        raise fatal from error
    return WithheldError(code, f"{detail} ({name_error(error)})")


def find_run_error(error: Exception, image: str) -> CurateError | None:
    """Return the error that must end the run, or None if the image is withheld.

    A withheld image stays withheld, so a lack of memory or a failing GPU, which another
    attempt may not have, ends the run instead.

    Args:
        error: raised while an image was processed.
        image: its id.
    """
    if isinstance(error, CurateError):
        return error if isinstance(error, SetupError | DataError) else None
    line = name_error(error)
    if is_gpu_failure(error):
        return SetupError(
            f"the GPU failed at {image!r} ({line}); free its memory or repair it and {_AGAIN}, "
            "or use --device cpu with another OUT"
        )
    if isinstance(error, MemoryError) or _MEMORY.search(line):
        return SetupError(
            f"memory ran out at {image!r} ({line}); free some or use fewer --workers and "
            f"{_AGAIN}, or use a lower --max-pixels with another OUT"
        )
    if isinstance(error, sqlite3.Error):
        return SetupError(f"the index of given faces cannot be read ({line}); {_AGAIN}")
    if reason := find_full(error):
        return SetupError(f"the output cannot be written: {reason} and {_AGAIN}")
    # A codec's OSError about a damaged image has no number.
    if isinstance(error, ImportError) or (isinstance(error, OSError) and error.errno is not None):
        return SetupError(f"{image!r} could not be processed ({line}); repair that and {_AGAIN}")
    return None
