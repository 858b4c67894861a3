"""What a C library says on the process's standard error while it decodes."""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO

_STANDARD_ERROR = 2
_COMPLAINT = re.compile(
    rb"(?:[\w/.-]+: |Apparently should be |Corrupt JPEG data|Premature end of JPEG"
    rb"|Inconsistent progression|Unknown Adobe color|DCT coefficient out of range).*\n?"
)


@contextmanager
def decoder_messages() -> Iterator[list[str]]:
    """Catch the lines that libtiff and libjpeg print, which their bindings do not report.

    They fill what they cannot decode and go on, with a line on standard error
    as the only sign. The lines are in the list when the block is left;
    whatever else was written meanwhile is passed on.
    """
    caught: list[str] = []
    try:
        before = os.dup(_STANDARD_ERROR)
    except OSError:  # no standard error: nothing can be printed either
        yield caught
        return
    with _scratch_file() as file:
        os.dup2(file.fileno(), _STANDARD_ERROR)
        try:
            yield caught
        finally:
            os.dup2(before, _STANDARD_ERROR)
            os.close(before)
            file.seek(0)
            for line in file.readlines():
                if _COMPLAINT.fullmatch(line):
                    caught.append(line.decode("utf-8", "replace").strip())
                else:
                    os.write(_STANDARD_ERROR, line)


def _scratch_file() -> IO[bytes]:
    if hasattr(os, "memfd_create"):
        return os.fdopen(os.memfd_create("messages"), "w+b")
    return tempfile.TemporaryFile()
