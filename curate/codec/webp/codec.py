"""WebP (RFC 9649): container and lossless images are written again, exactly; lossy re-encoded."""

from __future__ import annotations

import io
import struct
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from PIL import Image

from curate.codec.decoding import check_size, opaque_as_rgb, open_image, to_frame
from curate.codec.metadata.allow_list import Metadata, exif_leaks, icc_leaks, select_metadata
from curate.codec.picture import CodecOptions, Encoded, Picture
from curate.codec.webp.bitstream import (
    ALPHA_FLAG,
    Chunk,
    bitstream_size,
    has_alpha,
    join_chunks,
    parse_chunks,
    parse_webp,
    select_bitstream,
    trim_bitstream,
    uint24,
    write_still,
)
from curate.codec.webp.padding import has_hidden_pixels
from curate.core.entries import Route
from curate.core.errors import WithheldError
from curate.core.geometry import Box
from curate.core.protocols import Frame

_ICC_FLAG, _EXIF_FLAG, _ANIMATION_FLAG = 0x20, 0x08, 0x02
_BITSTREAM = (b"ALPH", b"VP8 ", b"VP8L")
_QUALITY = 90
_COMPRESSED, _VP8L_HEADER = 1, 5  # ALPH: a VP8L image in green, without its header of 5 bytes


@dataclass(frozen=True, slots=True)
class _Stored:
    """What is needed to encode a WebP again.

    Args:
        images: bitstream chunks of every frame, as in the source.
        controls: for an animation, the 16-byte header of every frame.
        loop: for an animation, the ANIM payload: background color and loop count.
    """

    images: tuple[tuple[Chunk, ...], ...]
    controls: tuple[bytes, ...]
    loop: bytes


class WebpCodec:
    """WebP: its bitstreams copied, or changed frames encoded again."""

    name = "WEBP"

    def load(self, data: bytes, options: CodecOptions) -> Picture:
        """Decode a WebP, all frames.

        Raises:
            WithheldError: ``truncated``, ``corrupt``, ``bomb`` or ``frames``.
        """
        chunks, _ = parse_webp(data)
        found = dict(reversed(chunks))
        stored = _stored(chunks)
        width, height = _canvas(chunks, stored)
        count = len(stored.images)
        check_size(width, height, count, options.max_pixels, len(data))
        bare = _write(stored, (width, height), Metadata())
        frames = _decode(bare, count, (width, height))
        exif = found.get(b"EXIF", b"").removeprefix(b"Exif\0\0")
        metadata = select_metadata(
            exif, found.get(b"ICCP"), options.keep_metadata, found.get(b"XMP ")
        )
        return Picture(
            format="WEBP",
            mode="RGBA" if frames[0].shape[2] == 4 else "RGB",
            width=width,
            height=height,
            orientation=metadata.orientation,
            frames=frames,
            metadata=metadata,
            stored=stored,
            layer=_layer(stored, (width, height)),
        )

    def save(
        self,
        picture: Picture,
        frames: Sequence[Frame] | None,
        touched: Sequence[Sequence[Box]],
        options: CodecOptions,
    ) -> Encoded:
        """Encode a WebP: lossy bitstreams copied, or all frames encoded again if one changed.

        Lossless ones and compressed alpha channels are always encoded again, without loss: their
        transforms and palettes are images, of which decoders ignore channels.
        """
        stored: _Stored = picture.stored
        size = (picture.width, picture.height)
        hidden = any(map(has_hidden_pixels, stored.images))
        if frames is None and not hidden:
            kept = replace(stored, images=tuple(map(_without_loss, stored.images)))
            sources, results = (
                [chunk for image in each.images for chunk in image if chunk[0] != b"VP8 "]
                for each in (stored, kept)
            )
            route = Route.COPIED if sources == results else Route.LOSSLESS
            return Encoded(_write(kept, size, picture.metadata), route, picture.note)
        pixels = picture.frames if frames is None else tuple(frames)
        lossless = all(chunks[-1][0] == b"VP8L" for chunks in stored.images)
        images = tuple(_encode(frame, lossless) for frame in pixels)
        if any(map(has_hidden_pixels, images)):  # noise: the encoder does not repeat the edge
            lossless = True
            images = tuple(_encode(frame, lossless) for frame in pixels)
        whole = b"\0" * 6 + uint24(size[0] - 1) + uint24(size[1] - 1)
        controls = tuple(whole + control[12:15] + b"\x02" for control in stored.controls)
        renewed = _Stored(images, controls, stored.loop)
        data = _write(renewed, size, picture.metadata)
        if lossless:
            return Encoded(data, Route.LOSSLESS, picture.note)
        note = f"re-encoded whole at quality {_QUALITY}"
        note += ": it held pixels beyond the edges" if hidden else ""
        return Encoded(data, Route.REENCODED, f"{note}; {picture.note}" if picture.note else note)

    def find_leaks(self, data: bytes, options: CodecOptions) -> list[str]:
        """List what a WebP output contains besides pixels and allow-listed metadata."""
        chunks, tail = parse_webp(data)
        leaks = [f"{len(tail)} bytes after the end of the image"] if tail else []
        found = dict(reversed(chunks))
        known = (b"VP8X", b"ICCP", b"ANIM", b"ANMF", b"EXIF", *_BITSTREAM)
        leaks += [f"a chunk {kind.decode('latin-1')!r}" for kind, _ in chunks if kind not in known]
        exif, icc = found.get(b"EXIF"), found.get(b"ICCP")
        leaks += exif_leaks(exif, options.keep_metadata) if exif is not None else []
        leaks += icc_leaks(icc) if icc is not None else []
        if leaks:
            return leaks
        stored = _stored(chunks)
        stored = replace(stored, images=tuple(trim_bitstream(i) for i in stored.images))
        if _write(stored, _canvas(chunks, stored), Metadata(exif=exif, icc=icc)) != data:
            leaks.append("there are chunks or bytes that the image does not need")
        if any(map(has_hidden_pixels, stored.images)):
            leaks.append("its last macroblocks hold pixels beyond the edges of the image")
        return leaks


def _decode(data: bytes, count: int, size: tuple[int, int]) -> tuple[Frame, ...]:
    """Composited frames; RGB if all are opaque."""
    with open_image(data, "WEBP") as image:
        if getattr(image, "n_frames", 1) != count or image.size != size:
            raise WithheldError("corrupt", "the WebP holds other frames than it announces")
        return tuple(opaque_as_rgb(_iter_frames(image, count)))


def _iter_frames(image: Image.Image, count: int) -> Iterator[Frame]:
    for index in range(count):
        image.seek(index)
        yield to_frame(image, image.mode if image.mode == "RGBA" else "RGB")


def _stored(chunks: list[Chunk]) -> _Stored:
    frames = [payload for kind, payload in chunks if kind == b"ANMF"]
    if not frames:
        still = select_bitstream(chunks)
        return _Stored((still,), (), b"")
    loop = next((payload for kind, payload in chunks if kind == b"ANIM"), b"")
    if len(loop) != 6 or any(len(payload) < 24 for payload in frames):
        raise WithheldError("corrupt", "the WebP's animation is damaged")
    images = tuple(select_bitstream(parse_chunks(payload[16:])) for payload in frames)
    controls = tuple(payload[:15] + bytes([payload[15] & 3]) for payload in frames)
    return _Stored(images, controls, loop)


def _layer(stored: _Stored, size: tuple[int, int]) -> Callable[[int], Frame | None] | None:
    """Decode frames of a transparent animation before compositing, on their own canvas.

    Transparent pixels of a frame may have colors that no composited frame shows.
    """
    if not stored.controls or not any(has_alpha(image) for image in stored.images):
        return None

    def decode(index: int) -> Frame:
        control, image = stored.controls[index], stored.images[index]
        with open_image(write_still(image), "WEBP") as opened:
            frame = to_frame(opened, "RGBA")
        x, y = (2 * int.from_bytes(control[at : at + 3], "little") for at in (0, 3))
        layer = np.zeros((size[1], size[0], 4), np.uint8)
        region = layer[y : y + frame.shape[0], x : x + frame.shape[1]]
        region[:] = frame[: region.shape[0], : region.shape[1]]
        return layer

    return decode


def _canvas(chunks: list[Chunk], stored: _Stored) -> tuple[int, int]:
    if not stored.controls:
        return bitstream_size(stored.images[0])
    kind, payload = chunks[0]
    if kind != b"VP8X" or len(payload) != 10:
        raise WithheldError("corrupt", "the WebP's animation has no header")
    sizes = payload[4:7], payload[7:10]
    width, height = (int.from_bytes(triple, "little") + 1 for triple in sizes)
    return width, height


def _write(stored: _Stored, size: tuple[int, int], metadata: Metadata) -> bytes:
    animated = bool(stored.controls)
    alpha = any(has_alpha(image) for image in stored.images)
    flags = _ICC_FLAG * bool(metadata.icc) | _EXIF_FLAG * bool(metadata.exif)
    flags |= _ANIMATION_FLAG * animated
    chunks: list[Chunk] = []
    if flags or stored.images[0][0][0] == b"ALPH":
        flags |= ALPHA_FLAG * alpha
        header = struct.pack("<I", flags) + uint24(size[0] - 1) + uint24(size[1] - 1)
        chunks.append((b"VP8X", header))
    chunks += [(b"ICCP", metadata.icc)] if metadata.icc else []
    if animated:
        chunks.append((b"ANIM", stored.loop))
        for control, image in zip(stored.controls, stored.images, strict=True):
            chunks.append((b"ANMF", control + join_chunks(image)))
    else:
        chunks += stored.images[0]
    chunks += [(b"EXIF", metadata.exif)] if metadata.exif else []
    body = b"WEBP" + join_chunks(chunks)
    return b"RIFF" + struct.pack("<I", len(body)) + body


def _without_loss(image: tuple[Chunk, ...]) -> tuple[Chunk, ...]:
    """The bitstream chunks of a frame: VP8 trimmed, VP8L and ALPH encoded again."""
    kind, payload = image[-1]
    if kind == b"VP8 " and len(image) == 1:
        return trim_bitstream(image)
    with open_image(write_still(image), "WEBP") as opened:
        frame = to_frame(opened)
    if kind == b"VP8L":
        return _encode(frame, lossless=True)
    green = np.zeros((*frame.shape[:2], 3), np.uint8)
    green[..., 1] = frame[..., 3]
    ((_, encoded),) = _encode(green, lossless=True)
    alpha = (b"ALPH", bytes([_COMPRESSED]) + encoded[_VP8L_HEADER:])
    return trim_bitstream((alpha, (kind, payload)))


def _encode(frame: Frame, lossless: bool) -> tuple[Chunk, ...]:
    buffer = io.BytesIO()
    quality = 25 if lossless else _QUALITY  # of a lossless file: effort, not fidelity
    Image.fromarray(frame).save(
        buffer, "WEBP", lossless=lossless, quality=quality, method=4, exact=True
    )
    return trim_bitstream(select_bitstream(parse_webp(buffer.getvalue())[0]))
