"""What a C library says on the process's standard error while it decodes."""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager

_STANDARD_ERROR = 2
_LIBTIFF = re.compile(rb"[\w/.-]+: .*\n?")


@contextmanager
def libtiff_messages() -> Iterator[list[str]]:
    """Catch the lines that libtiff prints, which no binding reports otherwise.

    libtiff fills what it cannot decode and goes on, with a line on standard
    error as the only sign. The lines are in the list when the block is left;
    whatever else was written meanwhile is passed on.
    """
    caught: list[str] = []
    try:
        before = os.dup(_STANDARD_ERROR)
    except OSError:  # no standard error: nothing can be printed either
        yield caught
        return
    with tempfile.TemporaryFile() as file:
        os.dup2(file.fileno(), _STANDARD_ERROR)
        try:
            yield caught
        finally:
            os.dup2(before, _STANDARD_ERROR)
            os.close(before)
            file.seek(0)
            for line in file.readlines():
                if _LIBTIFF.fullmatch(line):
                    caught.append(line.decode("utf-8", "replace").strip())
                else:
                    os.write(_STANDARD_ERROR, line)
