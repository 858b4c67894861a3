"""Samples beyond the right and lower edges of a JPEG, which fill its last blocks and MCUs.

Encoders repeat the edge there. A lossless crop, or a header with a smaller size, leaves pixels of
the larger image in up to 15 columns and rows, which no viewer shows.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from curate.codec.decoding import decoder_messages
from curate.codec.jpeg.coefficients import (
    Coefficients,
    Table,
    approximate_samples,
    quantization_tables,
    read_coefficients,
)
from curate.codec.jpeg.segments import SOS, FrameHeader, JpegStream, Segment
from curate.core.geometry import Box

_MAX_DIFFERENCE = 32.0
"""Mean difference from the edge in a block, in levels; on 277 photos at most 18."""


def read_units(stream: JpegStream) -> list[Coefficients]:
    """Read the coefficients of a JPEG whose blocks can be rewritten.

    Blocks of the last MCUs beyond the edges are included, where the file has them in one scan.
    """
    frame = stream.frame
    across, down = max(c.h for c in frame.components), max(c.v for c in frame.components)
    whole = stream
    if frame.width % (8 * across) or frame.height % (8 * down):
        whole = _with_whole_units(stream, 8 * across, 8 * down)
    with decoder_messages():
        return read_coefficients(whole.to_bytes(), whole.frame)


def has_hidden_samples(stream: JpegStream, planes: Sequence[Coefficients]) -> bool:
    """Return whether samples beyond the edges are something else than the edge, repeated.

    Args:
        stream: a JPEG whose blocks can be rewritten.
        planes: its coefficients, from `read_units`.
    """
    frame, tables = stream.frame, quantization_tables(stream)
    across, down = max(c.h for c in frame.components), max(c.v for c in frame.components)
    if frame.width % (8 * across) == 0 and frame.height % (8 * down) == 0:
        return False
    for plane, component, table in zip(planes, frame.components, tables, strict=True):
        width = -(-frame.width * component.h // across)
        height = -(-frame.height * component.v // down)
        samples = _samples(plane[:, (width - 1) // 8 :], table)
        if _differs(samples, (width - 1) % 8):
            return True
        samples = _samples(plane[(height - 1) // 8 :], table)
        if _differs(samples.T, (height - 1) % 8):
            return True
    return False


def border(frame: FrameHeader) -> list[Box]:
    """Return the last column and row of pixels where their MCUs are larger than the image.

    To rewrite the blocks of these boxes repeats the edge.
    """
    width, height = frame.width, frame.height
    right, lower = Box(width - 1, 0, width, height), Box(0, height - 1, width, height)
    across, down = max(c.h for c in frame.components), max(c.v for c in frame.components)
    return [right] * bool(width % (8 * across)) + [lower] * bool(height % (8 * down))


def _samples(blocks: Coefficients, table: Table) -> npt.NDArray[np.float64]:
    """Samples of rows × columns of blocks, as one plane."""
    rows, columns = blocks.shape[:2]
    samples = approximate_samples(blocks.reshape(-1, 64), table).reshape(rows, columns, 8, 8)
    return samples.swapaxes(1, 2).reshape(8 * rows, 8 * columns)


def _differs(samples: npt.NDArray[np.float64], edge: int) -> bool:
    """Whether samples behind a column differ from it; flat blocks, as of libjpeg, do not count."""
    rest = samples[:, edge + 1 :]
    first = 7 - edge  # columns left of the block of the edge
    parts = [
        rest[:, :first],
        *np.split(rest[:, first:], range(8, rest.shape[1] - first, 8), axis=1),
    ]
    for number, part in enumerate(parts):
        if not part.size:
            continue
        blocks = part.reshape(-1, 8, part.shape[1])
        edges = samples[:, edge].reshape(-1, 8, 1)
        difference = np.abs(blocks - edges).mean(axis=(1, 2))
        if number:
            difference[np.ptp(blocks, axis=(1, 2)) == 0] = 0
        if difference.max() > _MAX_DIFFERENCE:
            return True
    return False


def _with_whole_units(stream: JpegStream, across: int, down: int) -> JpegStream:
    """The stream with a size of whole MCUs, if all blocks of those are in its one scan."""
    scans = [segment for segment in stream.coded if segment.marker == SOS]
    frame = stream.frame
    if frame.progressive or len(scans) > 1:
        return stream
    width, height = -(-frame.width // across) * across, -(-frame.height // down) * down
    if max(width, height) > 65_535:
        return stream
    coded = tuple(
        Segment(
            each.marker, each.payload[:1] + struct.pack(">HH", height, width) + each.payload[5:]
        )
        if each.marker == frame.marker
        else each
        for each in stream.coded
    )
    return replace(stream, frame=replace(frame, width=width, height=height), coded=coded)
