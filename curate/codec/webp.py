"""WebP (RFC 9649): the container is rewritten; lossless images exact, lossy re-encoded."""

from __future__ import annotations

import io
import struct
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image

from curate.codec.decoding import check_size, open_image, to_frame
from curate.codec.metadata.allow_list import Metadata, exif_leaks, icc_leaks, select_metadata
from curate.codec.picture import CodecOptions, Encoded, Picture
from curate.core.entries import Route
from curate.core.errors import WithheldError
from curate.core.geometry import Box
from curate.core.protocols import Frame

Chunk = tuple[bytes, bytes]

_ICC_FLAG, _ALPHA_FLAG, _EXIF_FLAG, _ANIMATION_FLAG = 0x20, 0x10, 0x08, 0x02
_BITSTREAM = (b"ALPH", b"VP8 ", b"VP8L")
_QUALITY = 90


@dataclass(frozen=True, slots=True)
class _Stored:
    """What is needed to encode a WebP again.

    Args:
        images: bitstream chunks of every frame, as in the source.
        controls: for an animation, the 16-byte header of every frame.
        loop: for an animation, the ANIM payload: background color and loop count.
        copyable: whether the bitstreams contain only what the frames show.
    """

    images: tuple[tuple[Chunk, ...], ...]
    controls: tuple[bytes, ...]
    loop: bytes
    copyable: bool


class WebpCodec:
    """WebP: its bitstreams copied, or changed frames encoded again."""

    name = "WEBP"

    def load(self, data: bytes, options: CodecOptions) -> Picture:
        """Decode a WebP, all frames.

        Raises:
            WithheldError: ``truncated``, ``corrupt``, ``bomb`` or ``frames``.
        """
        chunks, _ = _parse(data)
        found = dict(reversed(chunks))
        stored = _stored(chunks)
        width, height = _canvas(chunks, stored)
        count = len(stored.images)
        check_size(width, height, count, options.max_pixels)
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
        )

    def save(
        self,
        picture: Picture,
        frames: Sequence[Frame] | None,
        touched: Sequence[Sequence[Box]],
        options: CodecOptions,
    ) -> Encoded:
        """Encode a WebP: bitstreams copied, or all frames encoded again if one changed."""
        stored: _Stored = picture.stored
        size = (picture.width, picture.height)
        if frames is None and stored.copyable:
            return Encoded(_write(stored, size, picture.metadata), Route.COPIED, picture.note)
        pixels = picture.frames if frames is None else tuple(frames)
        lossless = all(chunks[-1][0] == b"VP8L" for chunks in stored.images)
        images = tuple(_encode(frame, lossless) for frame in pixels)
        whole = b"\0" * 6 + _uint24(size[0] - 1) + _uint24(size[1] - 1)
        controls = tuple(whole + control[12:15] + b"\x02" for control in stored.controls)
        renewed = _Stored(images, controls, stored.loop, copyable=True)
        data = _write(renewed, size, picture.metadata)
        if lossless:
            return Encoded(data, Route.LOSSLESS, picture.note)
        return Encoded(data, Route.REENCODED, f"re-encoded whole at quality {_QUALITY}")

    def find_leaks(self, data: bytes, options: CodecOptions) -> list[str]:
        """List what a WebP output contains besides pixels and allow-listed metadata."""
        chunks, tail = _parse(data)
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
        if _write(stored, _canvas(chunks, stored), Metadata(exif=exif, icc=icc)) != data:
            leaks.append("there are chunks or bytes that the image does not need")
        return leaks


def _decode(data: bytes, count: int, size: tuple[int, int]) -> tuple[Frame, ...]:
    """Composited frames; RGB if all are opaque."""
    with open_image(data, "WEBP") as image:
        if getattr(image, "n_frames", 1) != count or image.size != size:
            raise WithheldError("corrupt", "the WebP holds other frames than it announces")
        frames = []
        for index in range(count):
            image.seek(index)
            frames.append(to_frame(image, image.mode if image.mode == "RGBA" else "RGB"))
    if all(frame.shape[2] == 4 and frame[..., 3].min() == 255 for frame in frames):
        return tuple(np.ascontiguousarray(frame[..., :3]) for frame in frames)
    return tuple(frames)


def _parse(data: bytes) -> tuple[list[Chunk], bytes]:
    end = 8 + int.from_bytes(data[4:8], "little")
    if end > len(data):
        raise WithheldError("truncated", "the WebP is shorter than it states")
    chunks = _parse_chunks(data[12:end])
    if not chunks:
        raise WithheldError("corrupt", "the WebP holds no chunk")
    return chunks, data[end:]


def _parse_chunks(data: bytes) -> list[Chunk]:
    chunks: list[Chunk] = []
    at = 0
    while at + 8 <= len(data):
        kind, size = struct.unpack_from("<4sI", data, at)
        if at + 8 + size > len(data):
            raise WithheldError("truncated", "the WebP ends inside a chunk")
        chunks.append((kind, data[at + 8 : at + 8 + size]))
        at += 8 + size + size % 2
    return chunks


def _stored(chunks: list[Chunk]) -> _Stored:
    frames = [payload for kind, payload in chunks if kind == b"ANMF"]
    if not frames:
        still = _bitstream(chunks)
        return _Stored((still,), (), b"", copyable=True)
    loop = next((payload for kind, payload in chunks if kind == b"ANIM"), b"")
    if len(loop) != 6 or any(len(payload) < 24 for payload in frames):
        raise WithheldError("corrupt", "the WebP's animation is damaged")
    images = tuple(_bitstream(_parse_chunks(payload[16:])) for payload in frames)
    controls = tuple(payload[:15] + bytes([payload[15] & 3]) for payload in frames)
    # a transparent frame may contain colors that no composited frame shows
    return _Stored(images, controls, loop, copyable=not any(_has_alpha(i) for i in images))


def _bitstream(chunks: list[Chunk]) -> tuple[Chunk, ...]:
    images = [chunk for chunk in chunks if chunk[0] in (b"VP8 ", b"VP8L")]
    alphas = [chunk for chunk in chunks if chunk[0] == b"ALPH"]
    if len(images) != 1 or len(alphas) > 1:
        raise WithheldError("corrupt", "the WebP holds no image, or more than one")
    if len(images[0][1]) < 10:
        raise WithheldError("truncated", "the WebP's image data ends too early")
    return (*alphas, images[0]) if images[0][0] == b"VP8 " else (images[0],)


def _has_alpha(image: tuple[Chunk, ...]) -> bool:
    kind, payload = image[-1]
    return image[0][0] == b"ALPH" or (kind == b"VP8L" and bool(payload[4] >> 4 & 1))


def _image_size(image: tuple[Chunk, ...]) -> tuple[int, int]:
    kind, payload = image[-1]
    if kind == b"VP8 ":
        width, height = struct.unpack_from("<HH", payload, 6)
        return width & 0x3FFF, height & 0x3FFF
    packed = int.from_bytes(payload[1:5], "little")
    return (packed & 0x3FFF) + 1, (packed >> 14 & 0x3FFF) + 1


def _canvas(chunks: list[Chunk], stored: _Stored) -> tuple[int, int]:
    if not stored.controls:
        return _image_size(stored.images[0])
    kind, payload = chunks[0]
    if kind != b"VP8X" or len(payload) != 10:
        raise WithheldError("corrupt", "the WebP's animation has no header")
    sizes = payload[4:7], payload[7:10]
    width, height = (int.from_bytes(triple, "little") + 1 for triple in sizes)
    return width, height


def _write(stored: _Stored, size: tuple[int, int], metadata: Metadata) -> bytes:
    animated = bool(stored.controls)
    alpha = any(_has_alpha(image) for image in stored.images)
    flags = _ICC_FLAG * bool(metadata.icc) | _EXIF_FLAG * bool(metadata.exif)
    flags |= _ANIMATION_FLAG * animated
    chunks: list[Chunk] = []
    if flags or stored.images[0][0][0] == b"ALPH":
        flags |= _ALPHA_FLAG * alpha
        header = struct.pack("<I", flags) + _uint24(size[0] - 1) + _uint24(size[1] - 1)
        chunks.append((b"VP8X", header))
    chunks += [(b"ICCP", metadata.icc)] if metadata.icc else []
    if animated:
        chunks.append((b"ANIM", stored.loop))
        for control, image in zip(stored.controls, stored.images, strict=True):
            chunks.append((b"ANMF", control + _join(image)))
    else:
        chunks += stored.images[0]
    chunks += [(b"EXIF", metadata.exif)] if metadata.exif else []
    body = b"WEBP" + _join(chunks)
    return b"RIFF" + struct.pack("<I", len(body)) + body


def _join(chunks: Sequence[Chunk]) -> bytes:
    parts: list[bytes] = []
    for kind, payload in chunks:
        parts += [struct.pack("<4sI", kind, len(payload)), payload, b"\0" * (len(payload) % 2)]
    return b"".join(parts)


def _uint24(value: int) -> bytes:
    return value.to_bytes(3, "little")


def _encode(frame: Frame, lossless: bool) -> tuple[Chunk, ...]:
    buffer = io.BytesIO()
    quality = 50 if lossless else _QUALITY  # of a lossless file: effort, not fidelity
    Image.fromarray(frame).save(
        buffer, "WEBP", lossless=lossless, quality=quality, method=4, exact=True
    )
    return _bitstream(_parse(buffer.getvalue())[0])
