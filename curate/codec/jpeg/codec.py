"""The JPEG codec: image data copied, spliced block by block, or encoded again."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from PIL import Image

from curate.codec.decoding import check_size, decoder_messages
from curate.codec.jpeg.application import (
    EXIF,
    XMP,
    application_data,
    check_further_images,
    color_segments,
    icc_profile,
    metadata_segments,
    segment_leaks,
)
from curate.codec.jpeg.clipping import exceeds_range, may_exceed_range
from curate.codec.jpeg.coefficients import (
    are_codable,
    quantization_tables,
    read_coefficients,
    write_coefficients,
)
from curate.codec.jpeg.padding import border, has_hidden_samples, read_units
from curate.codec.jpeg.segments import (
    DHT,
    DQT,
    SOS,
    JpegStream,
    Segment,
    parse_jpeg,
)
from curate.codec.jpeg.splice import can_read, can_splice, reach, splice
from curate.codec.jpeg.unused import has_free_bits, with_used_steps
from curate.codec.metadata.allow_list import Metadata, icc_leaks, select_metadata
from curate.codec.picture import CodecOptions, Encoded, Picture
from curate.core.entries import Route
from curate.core.errors import WithheldError
from curate.core.geometry import Box
from curate.core.protocols import Frame, Pixels

_RGB_QUALITY = 95
_MAX_SIDE = 65535
_ROWS = 256  # that are compared at a time
_EDGES = "blocks of the edges re-encoded: they held pixels beyond the image"
_CLIPPED = "its coefficients may hold more than its black or white pixels show"
_MODES = {"L": "L", "YCbCr": "RGB", "RGB": "RGB", "CMYK": "CMYK", "YCCK": "CMYK"}
_DECODED = {"L": "GRAY", "RGB": "RGB", "CMYK": "CMYK"}


class JpegCodec:
    """JPEG (ITU-T T.81): copied, spliced block by block, or encoded again."""

    name = "JPEG"

    def load(self, data: bytes, options: CodecOptions) -> Picture:
        """Decode a JPEG; warnings of the decoder are errors.

        Raises:
            WithheldError: ``truncated``, ``corrupt``, ``unsupported``, ``bomb`` or ``frames``.
        """
        stream = parse_jpeg(data)
        frame = stream.frame
        check_size(frame.width, frame.height, 1, options.max_pixels, len(data))
        quantization_tables(stream)
        across, down = max(c.h for c in frame.components), max(c.v for c in frame.components)
        note = check_further_images(data, stream)
        mode = _MODES[stream.color_space]
        pixels = _decode(stream.to_bytes(), mode)
        if pixels.shape[:2] != (frame.height, frame.width):
            raise WithheldError("corrupt", "the JPEG decodes to another size than it states")
        exif, xmp = (application_data(stream, prefix) for prefix in (EXIF, XMP))
        metadata = select_metadata(exif, icc_profile(stream), options.keep_metadata, xmp)
        return Picture(
            format="JPEG",
            mode=mode,
            width=frame.width,
            height=frame.height,
            orientation=metadata.orientation,
            frames=(pixels,),
            metadata=metadata,
            stored=replace(stream, application=color_segments(stream), tail=b""),
            note=note,
            edit_unit=(8 * across, 8 * down),
            edit_apron=(across, down) if across * down > 1 else (0, 0),
        )

    def save(
        self,
        picture: Picture,
        frames: Sequence[Frame] | None,
        touched: Sequence[Sequence[Box]],
        options: CodecOptions,
    ) -> Encoded:
        """Encode a JPEG: copied, spliced, or re-encoded if splicing is impossible."""
        stream: JpegStream = picture.stored
        header = metadata_segments(picture.metadata)
        image = picture.frames[0] if frames is None else frames[0]
        kept: JpegStream | None = stream
        rewritten = frames is not None or (can_splice(stream) and has_free_bits(stream))
        if rewritten:
            boxes = touched[0] if frames is not None else ()
            kept = _spliced(picture, image, boxes) if can_splice(stream) else None
        why = _splice_obstacle(stream)
        kept, is_clipped, is_hidden = _examined(kept, picture.frames[0])
        if is_clipped:
            kept, why = None, _CLIPPED
        if kept is not None and not is_hidden:
            route = Route.LOSSLESS if rewritten else Route.COPIED
            route = route if frames is None else Route.SPLICED
            return Encoded(kept.to_bytes(header), route, picture.note)
        if kept is not None:
            boxes = [*(touched[0] if frames is not None else ()), *border(stream.frame)]
            kept, _, _ = _examined(_spliced(picture, image, boxes), None)
        if kept is not None:
            note = f"{_EDGES}; {picture.note}" if picture.note else _EDGES
            return Encoded(kept.to_bytes(header), Route.REENCODED, note)
        reencoded = parse_jpeg(_reencoded(picture, image))
        if can_read(reencoded):
            reencoded = with_used_steps(reencoded, read_units(reencoded))
        why = f"re-encoded whole: {why}"
        note = f"{why}; {picture.note}" if picture.note else why
        return Encoded(reencoded.to_bytes(header), Route.REENCODED, note)

    def find_leaks(self, data: bytes, options: CodecOptions) -> list[str]:
        """List what a JPEG output contains besides pixels and allow-listed metadata."""
        stream = parse_jpeg(data)
        leaks = [f"{len(stream.tail)} bytes after the end of the image"] if stream.tail else []
        for segment in stream.application:
            leaks += segment_leaks(segment, options)
        profile = icc_profile(stream)
        if profile is not None:
            leaks += icc_leaks(profile)
        examined, is_clipped, is_hidden = _examined(stream, None)
        if examined != stream:
            leaks.append("quantization steps that no coefficient uses hold something")
        if can_splice(stream) and has_free_bits(stream):
            leaks.append("there are restart markers, or Huffman codes of no meaning")
        if is_hidden:
            leaks.append("its last blocks hold pixels beyond the edges of the image")
        if is_clipped:
            leaks.append("its coefficients hold more than its pixels show")
        header = metadata_segments(Metadata(exif=application_data(stream, EXIF), icc=profile))
        if not leaks and stream.to_bytes(header) != data:
            leaks.append("there are bytes between the segments, or segments that are not needed")
        return leaks


def encode_jpeg(image: Pixels) -> bytes:
    """Return a JPEG of an upright image, H×W×3 uint8, without chroma subsampling.

    Raises:
        WithheldError: ``unsupported`` if a side exceeds 65,535 pixels.
    """
    if max(image.shape) > _MAX_SIDE:
        raise WithheldError("unsupported", f"a JPEG has at most {_MAX_SIDE} pixels a side")
    buffer = io.BytesIO()
    Image.fromarray(image, "RGB").save(
        buffer, "JPEG", quality=_RGB_QUALITY, subsampling=0, optimize=True
    )
    stream = parse_jpeg(buffer.getvalue())
    return with_used_steps(stream, read_units(stream)).to_bytes()


def _decode(jpeg: bytes, mode: str) -> Frame:
    """Decode a JPEG; ``strict`` turns libjpeg's warnings into errors."""
    import simplejpeg  # type: ignore[import-untyped]

    try:
        pixels: Frame = simplejpeg.decode_jpeg(jpeg, _DECODED[mode], strict=True)
    except ValueError as error:
        cause = str(error).strip()
        code = "truncated" if "remature end" in cause else "corrupt"
        if "subsampling level" in cause:
            code, cause = "unsupported", "JPEG with sampling factors of no usual kind"
        raise WithheldError(code, cause or "the JPEG cannot be decoded") from error
    if mode == "L":
        return np.ascontiguousarray(pixels[..., 0])
    return np.subtract(255, pixels) if mode == "CMYK" else pixels  # Adobe stores ink inverted


def _spliced(picture: Picture, image: Frame, touched: Sequence[Box]) -> JpegStream | None:
    """The stream with new blocks; None if pixels elsewhere would change.

    Decoders may read a damaged stream differently, and jpeglib is not the decoder
    whose pixels the detector received; so the result is decoded and compared.
    """
    stream: JpegStream = picture.stored
    with decoder_messages() as messages:
        planes = read_coefficients(stream.to_bytes(), stream.frame)
    splice(planes, stream, image, touched)
    if messages or not all(are_codable(plane) for plane in planes):
        return None
    written = parse_jpeg(write_coefficients(planes, stream.frame))
    del planes  # as large as two images
    spliced = replace(stream, coded=_with_source_headers(stream, written))
    decoded = _decode(spliced.to_bytes(), picture.mode)
    for rows, columns in reach(stream.frame, touched):
        decoded[rows, columns] = picture.frames[0][rows, columns]
    return spliced if _are_equal(decoded, picture.frames[0]) else None


def _are_equal(pixels: Frame, others: Frame) -> bool:
    """Compare two images of one size, a few rows at a time."""
    tops = range(0, len(pixels), _ROWS)
    return all(np.array_equal(pixels[at : at + _ROWS], others[at : at + _ROWS]) for at in tops)


def _examined(
    stream: JpegStream | None, pixels: Frame | None
) -> tuple[JpegStream | None, bool, bool]:
    """The stream without steps that no coefficient uses, and two findings.

    Whether coefficients hold more than the pixels, and whether samples hide behind the edges.
    Where blocks cannot be rewritten, the first is whether they may, by the pixels, if given.
    """
    if stream is None:
        return None, False, False
    if not can_read(stream):
        return stream, pixels is not None and may_exceed_range(pixels), False
    planes = read_units(stream)
    kept = with_used_steps(stream, planes)
    if not can_splice(stream):
        return kept, pixels is not None and may_exceed_range(pixels), False
    return kept, exceeds_range(stream, planes), has_hidden_samples(stream, planes)


def _with_source_headers(stream: JpegStream, written: JpegStream) -> tuple[Segment, ...]:
    """The written scan with the source's quantization tables and frame header."""
    tables = [segment for segment in stream.coded if segment.marker == DQT]
    wide = any(segment.payload[0] >> 4 for segment in tables)
    source = next(s.payload for s in stream.coded if s.marker == stream.frame.marker)
    coded = [*tables, Segment(0xC1 if wide else 0xC0, source)]
    for segment in written.coded:
        if segment.marker == DHT:
            coded.append(segment)
        elif segment.marker == SOS:
            coded.append(_with_ids(segment, stream))
    return tuple(coded)


def _with_ids(scan: Segment, stream: JpegStream) -> Segment:
    """Replace the component ids of a scan header by the source's."""
    payload = bytearray(scan.payload)
    for index, component in enumerate(stream.frame.components):
        payload[1 + 2 * index] = component.id
    return Segment(scan.marker, bytes(payload), scan.scan)


def _reencoded(picture: Picture, image: Frame) -> bytes:
    stream: JpegStream = picture.stored
    tables = [table.astype(int).tolist() for table in quantization_tables(stream)]
    first, *others = stream.frame.components
    subsampling = 0
    if stream.color_space == "YCbCr" and all((c.h, c.v) == (1, 1) for c in others):
        subsampling = {(1, 1): 0, (2, 1): 1, (2, 2): 2}.get((first.h, first.v), 0)
    buffer = io.BytesIO()
    Image.fromarray(image, picture.mode).save(
        buffer,
        "JPEG",
        qtables=tables,
        subsampling=subsampling,
        optimize=True,
        keep_rgb=stream.color_space == "RGB",
    )
    return buffer.getvalue()


def _splice_obstacle(stream: JpegStream) -> str:
    space = stream.color_space
    if space in ("CMYK", "YCCK"):
        return f"{space} cannot be spliced"
    return "its subsampling, scans or coefficients cannot be spliced"
