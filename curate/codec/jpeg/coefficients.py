"""DCT coefficients of a JPEG: quantization, 8×8 transforms, reading and writing.

The inverse DCT equals, integer for integer, the one that decoders use by default:
the fast algorithm of Loeffler, Ligtenberg and Moschytz (ICASSP 1989) in the fixed-point
form of libjpeg's accurate method. Kept samples are therefore exactly those that a
viewer shows, and no hidden fraction of them survives.

jpeglib takes file paths only, and its public functions keep a copy of the source in the
temporary folder while they run. Its underlying binding is therefore called directly, on
an anonymous in-memory file where the system supports it.
"""

from __future__ import annotations

import ctypes
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from curate.codec.jpeg.segments import DQT, FrameHeader, JpegStream
from curate.core.errors import WithheldError

Table = npt.NDArray[np.float64]
"""A quantization table: 64 steps, row-major."""


def quantization_tables(stream: JpegStream) -> list[Table]:
    """Return every component's quantization table, as last defined.

    Raises:
        WithheldError: ``corrupt`` if a component's table is missing or
            contains a zero.
    """
    tables: dict[int, Table] = {}
    for segment in stream.coded:
        if segment.marker == DQT:
            tables.update(_read_tables(segment.payload))
    if any(component.table not in tables for component in stream.frame.components):
        raise WithheldError("corrupt", "the JPEG lacks a quantization table")
    found = [tables[component.table] for component in stream.frame.components]
    if not all(table.all() for table in found):
        raise WithheldError("corrupt", "a JPEG quantization table has a step of zero")
    return found


def _read_tables(payload: bytes) -> dict[int, Table]:
    tables: dict[int, Table] = {}
    at = 0
    while at < len(payload):
        wide, slot = payload[at] >> 4, payload[at] & 15
        size = 128 if wide else 64
        steps = np.frombuffer(payload, ">u2" if wide else "u1", 64, at + 1)
        table = np.empty(64)
        table[zigzag()] = steps
        tables[slot] = table
        at += 1 + size
    return tables


@lru_cache(maxsize=1)
def zigzag() -> npt.NDArray[np.intp]:
    """Return the row-major position of each coefficient in zigzag order (T.81, figure 5)."""
    order = sorted(
        ((y, x) for y in range(8) for x in range(8)),
        key=lambda at: (sum(at), at[0] if sum(at) % 2 else at[1]),
    )
    return np.array([8 * y + x for y, x in order])


Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]
Coefficients = npt.NDArray[np.int16]

_TIE = 1e-6  # above any summation error: halves round up on every machine
_MAX_COEFFICIENT = 1023  # baseline coefficients have at most ten bits
_CONSTANT_BITS, _FIRST_PASS_BITS = 13, 2


def forward(samples: Floats, table: Table) -> Coefficients:
    """Forward DCT and quantization of blocks of samples.

    Args:
        samples: N×64, row by row, 0..255.
        table: 64 quantization steps, row by row.
    """
    scaled = ((samples - 128.0) @ _matrix().T) / table
    return np.clip(np.floor(scaled + 0.5 + _TIE), -_MAX_COEFFICIENT, _MAX_COEFFICIENT).astype(
        np.int16
    )


def inverse(coefficients: Coefficients, table: Table) -> Floats:
    """Dequantization and inverse DCT: samples as decoders output them, integers 0..255, N×64."""
    values = coefficients.astype(np.int64) * table.astype(np.int64)
    blocks = values.reshape(-1, 8, 8)
    columns = _inverse_1d(blocks.swapaxes(0, 1), _CONSTANT_BITS - _FIRST_PASS_BITS)
    rows = _inverse_1d(columns.transpose(2, 1, 0), _CONSTANT_BITS + _FIRST_PASS_BITS + 3)
    samples = rows.transpose(1, 2, 0).reshape(-1, 64)
    return np.clip(samples + 128, 0, 255).astype(np.float64)


def approximate_samples(coefficients: Coefficients, table: Table) -> Floats:
    """Samples of blocks within one level of those of `inverse`, by one matrix product.

    Faster, but not exactly what decoders output: for comparisons only.
    """
    values = (coefficients * table.astype(np.float64)) @ _matrix()
    samples: Floats = np.clip(np.floor(values + 0.5 + _TIE) + 128, 0, 255)
    return samples


def _inverse_1d(lines: Integers, shift: int) -> Integers:
    """One-dimensional inverse DCT along the first axis (length 8), then right shift."""
    even = _even_part(lines)
    odd = _odd_part(lines)
    half = 1 << (shift - 1)
    both = np.concatenate([even + odd, (even - odd)[::-1]])
    return (both + half) >> shift


def _even_part(lines: Integers) -> Integers:
    turned = (lines[2] + lines[6]) * 4433  # √2·cos(6π/16) in 13 bits, and so on below
    low = turned - lines[6] * 15137
    high = turned + lines[2] * 6270
    total = (lines[0] + lines[4]) << _CONSTANT_BITS
    difference = (lines[0] - lines[4]) << _CONSTANT_BITS
    return np.stack([total + high, difference + low, difference - low, total - high])


def _odd_part(lines: Integers) -> Integers:
    first, second = lines[7] + lines[3], lines[5] + lines[1]
    common = (first + second) * 9633
    first, second = common - first * 16069, common - second * 3196
    outer = (lines[7] + lines[1]) * -7373
    inner = (lines[5] + lines[3]) * -20995
    return np.stack(
        [
            lines[1] * 12299 + outer + second,
            lines[3] * 25172 + inner + first,
            lines[5] * 16819 + inner + second,
            lines[7] * 2446 + outer + first,
        ]
    )


@lru_cache(maxsize=1)
def _matrix() -> Floats:
    """The two-dimensional forward DCT of a block as one 64×64 matrix."""
    k, n = np.mgrid[0:8, 0:8]
    line = np.where(k == 0, np.sqrt(0.125), 0.5) * np.cos((2 * n + 1) * k * np.pi / 16)
    return np.kron(line, line)


"""Quantized coefficients of one component: block rows × block columns × 64, row by row."""

_VERSION = "turbo210"  # jpeglib's default, 6b, cannot read arithmetic coding
_YCBCR, _GRAY = 3, 1  # libjpeg's J_COLOR_SPACE


def read_coefficients(jpeg: bytes, frame: FrameHeader) -> list[Coefficients]:
    """Read the quantized coefficients of a JPEG of 1 or 3 components.

    Raises:
        WithheldError: ``corrupt`` if libjpeg cannot read the file.
    """
    planes = [np.zeros((*shape, 64), np.int16) for shape in block_shapes(frame)]
    tables, numbers = (ctypes.c_ushort * 256)(), (ctypes.c_short * 4)()
    with _memory_file(jpeg) as path:
        status = _library().read_jpeg_dct(path.encode(), *_pointers(planes), tables, numbers)
    if not status:
        raise WithheldError("corrupt", "the JPEG's coefficients cannot be read")
    return planes


def write_coefficients(planes: list[Coefficients], frame: FrameHeader) -> bytes:
    """Encode coefficients as a sequential Huffman JPEG.

    Its quantization tables and frame header are placeholders that the caller
    replaces by the source's; coefficients do not depend on them.

    Raises:
        WithheldError: ``corrupt`` if a coefficient cannot be encoded.
    """
    factors = [value for c in frame.components for value in (c.v, c.h)]
    blocks = [size for shape in block_shapes(frame) for size in shape]
    contiguous = [np.ascontiguousarray(plane, np.int16) for plane in planes]
    optimize = 1 << 6  # jpeglib's bit for optimized Huffman tables
    with _memory_file(b"") as path:
        status = _library().write_jpeg_dct(
            None,
            path.encode(),
            *_pointers(contiguous),
            (ctypes.c_int * 2)(frame.height, frame.width),
            (ctypes.c_int * len(blocks))(*blocks),
            (ctypes.c_int * len(factors))(*factors),
            _GRAY if len(planes) == 1 else _YCBCR,
            len(planes),
            None,
            ctypes.c_short(-1),
            None,
            0,
            None,
            None,
            None,
            ctypes.c_uint(optimize),
            ctypes.c_uint(0xFFFFFFFF),
        )
        written = Path(path).read_bytes()
    if not status:
        raise WithheldError("corrupt", "the JPEG's coefficients cannot be written")
    return written


def are_codable(plane: Coefficients) -> bool:
    """Whether sequential Huffman coding can represent all coefficients (T.81, F.1.2)."""
    return int(plane.min(initial=0)) >= -1024 and int(plane.max(initial=0)) <= 1023


def block_shapes(frame: FrameHeader) -> list[tuple[int, int]]:
    """Return rows and columns of blocks of every component (T.81, A.1.1 and A.2.2)."""
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
    """A path to a file with ``content``, in memory where the system supports it."""
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
