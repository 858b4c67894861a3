"""Tell the environment's trouble from an image's: it ends the run and withholds nothing."""

from __future__ import annotations

import re
import sqlite3

from curate.core.errors import CurateError, DataError, SetupError

_AGAIN = "run the same command again to go on"
_GPU = re.compile(r"\b(?:cuda|cudnn|cublas|cufft|cusolver|nvrtc)", re.IGNORECASE)
_MEMORY = re.compile(
    r"out of memory|insufficient memory|memory allocation|bad_alloc"
    r"|(?:not enough|can.?t allocate|cannot allocate|unable to allocate) memory",
    re.IGNORECASE,
)


def find_trouble(error: Exception, image: str) -> CurateError | None:
    """The error that must end the run, or None if the image itself is at fault.

    An image that is withheld stays so; what a machine with more memory or a
    working GPU could have done must not be settled by one without.

    Args:
        error: what was raised while an image was worked on.
        image: its id.
    """
    if isinstance(error, CurateError):
        return error if isinstance(error, SetupError | DataError) else None
    line = describe(error)
    if _GPU.search(line):
        return SetupError(
            f"the GPU failed at {image!r} ({line}); free its memory or mend it and {_AGAIN}, "
            "or use --device cpu with another OUT"
        )
    if isinstance(error, MemoryError) or _MEMORY.search(line):
        return SetupError(
            f"memory ran out at {image!r} ({line}); free some or use fewer --workers and "
            f"{_AGAIN}, or use a lower --max-pixels with another OUT"
        )
    if isinstance(error, sqlite3.Error):
        return SetupError(f"the index of given faces cannot be read ({line}); {_AGAIN}")
    # A codec's OSError about a damaged image has no number.
    if isinstance(error, ImportError) or (isinstance(error, OSError) and error.errno is not None):
        return SetupError(f"{image!r} could not be worked on ({line}); mend that and {_AGAIN}")
    return None


def describe(error: Exception) -> str:
    """Kind and text of an error, in one line of bounded length."""
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text[:200]}" if text else type(error).__name__
