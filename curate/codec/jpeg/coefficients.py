"""DCT coefficients of a JPEG, read and written through jpeglib without a file on disk.

jpeglib takes file paths only, and its public functions leave a copy of the
source in the system's temporary folder while they work. So the binding below
them is called, on an anonymous file in memory where the system has one.
"""

from __future__ import annotations

import ctypes
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from curate.codec.jpeg.stream import FrameHeader
from curate.core.errors import WithheldError

Coefficients = npt.NDArray[np.int16]
"""Quantised coefficients of one component: block rows × block columns × 64, row by row."""

_VERSION = "turbo210"  # jpeglib's default, 6b, cannot read arithmetic coding
_YCBCR, _GREY = 3, 1  # libjpeg's J_COLOR_SPACE


def read_coefficients(jpeg: bytes, frame: FrameHeader) -> list[Coefficients]:
    """The quantised coefficients of every component of a JPEG of 1 or 3 components.

    Raises:
        WithheldError: ``corrupt`` if libjpeg refuses the file.
    """
    planes = [np.zeros((*shape, 64), np.int16) for shape in block_shapes(frame)]
    tables, numbers = (ctypes.c_ushort * 256)(), (ctypes.c_short * 4)()
    with _memory_file(jpeg) as path:
        status = _library().read_jpeg_dct(path.encode(), *_pointers(planes), tables, numbers)
    if not status:
        raise WithheldError("corrupt", "the JPEG's coefficients cannot be read")
    return planes


def write_coefficients(planes: list[Coefficients], frame: FrameHeader) -> bytes:
    """A sequential Huffman JPEG with these coefficients.

    Its quantisation tables and frame header are placeholders: the caller puts
    the source's in their place, which no coefficient depends on.

    Raises:
        WithheldError: ``corrupt`` if a coefficient cannot be coded.
    """
    factors = [value for c in frame.components for value in (c.v, c.h)]
    blocks = [size for shape in block_shapes(frame) for size in shape]
    contiguous = [np.ascontiguousarray(plane, np.int16) for plane in planes]
    optimise = 1 << 6  # jpeglib's bit for optimised Huffman tables
    with _memory_file(b"") as path:
        status = _library().write_jpeg_dct(
            None,
            path.encode(),
            *_pointers(contiguous),
            (ctypes.c_int * 2)(frame.height, frame.width),
            (ctypes.c_int * len(blocks))(*blocks),
            (ctypes.c_int * len(factors))(*factors),
            _GREY if len(planes) == 1 else _YCBCR,
            len(planes),
            None,
            ctypes.c_short(-1),
            None,
            0,
            None,
            None,
            None,
            ctypes.c_uint(optimise),
            ctypes.c_uint(0xFFFFFFFF),
        )
        written = Path(path).read_bytes()
    if not status:
        raise WithheldError("corrupt", "the JPEG's coefficients cannot be written")
    return written


def are_codable(plane: Coefficients) -> bool:
    """Whether sequential Huffman coding has codes for all coefficients (T.81, F.1.2)."""
    return int(plane.min(initial=0)) >= -1024 and int(plane.max(initial=0)) <= 1023


def block_shapes(frame: FrameHeader) -> list[tuple[int, int]]:
    """Rows and columns of blocks of every component (T.81, A.1.1 and A.2.2)."""
    across = max(component.h for component in frame.components)
    down = max(component.v for component in frame.components)
    return [
        (-(-frame.height * c.v // (8 * down)), -(-frame.width * c.h // (8 * across)))
        for c in frame.components
    ]


def _pointers(planes: list[Coefficients]) -> list[ctypes.c_void_p]:
    pointers = [plane.ctypes.data_as(ctypes.c_void_p) for plane in planes]
    return pointers + [ctypes.c_void_p()] * (4 - len(pointers))


def _library() -> Any:
    from jpeglib._bind import CJpegLib

    if CJpegLib.get_version() != _VERSION:
        CJpegLib.set_version(_VERSION)
    return CJpegLib.get()


@contextmanager
def _memory_file(content: bytes) -> Iterator[str]:
    """A path to a file that holds ``content`` and never touches a disk, if possible."""
    if hasattr(os, "memfd_create") and Path("/proc/self/fd").is_dir():
        handle = os.memfd_create("curate")
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            yield f"/proc/self/fd/{handle}"
        return
    with tempfile.TemporaryDirectory(prefix="curate-") as folder:  # mode 0700
        path = Path(folder, "coefficients.jpg")
        path.write_bytes(content)
        yield str(path)
