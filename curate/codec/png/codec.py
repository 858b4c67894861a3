"""The PNG codec: rows kept and compressed again, or all frames encoded again without loss."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from curate.codec.decoding import check_size, merge_equal_colors, open_image, to_frame
from curate.codec.metadata.allow_list import Metadata, exif_leaks, icc_leaks, select_metadata
from curate.codec.picture import UNUSED_COLORS, CodecOptions, Encoded, Picture
from curate.codec.png.animation import (
    Animation,
    animation_chunks,
    animation_is_exact,
    count_images,
    load_animation,
)
from curate.codec.png.chunks import (
    Chunk,
    Header,
    compress,
    compress_again,
    deflate,
    header_for,
    is_exact,
    pack_rows,
    parse_chunks,
    parse_header,
    write_png,
)
from curate.core.entries import Route
from curate.core.errors import WithheldError
from curate.core.geometry import Box
from curate.core.protocols import Frame, Pixels

_COLOR_CHUNKS = {b"gAMA": 4, b"cHRM": 32, b"sRGB": 1, b"cICP": 4}
_GAMMAS = range(30_000, 100_001)
_CHROMATICITIES = (  # white, red, green and blue, x and y; 100,000 is 1
    *(range(25_000, 40_001), range(25_000, 40_001), range(55_000, 80_001), range(20_000, 40_001)),
    *(range(10_000, 40_001), range(50_000, 90_001), range(20_001), range(15_001)),
)
_PRIMARIES = (1, 4, 5, 6, 7, 9, 11, 12, 22)  # of cICP: those of displays
_TRANSFERS = (1, 6, 13, 14, 15)  # of cICP (ITU-T H.273): none of high dynamic range
_MODES = {0: "L", 2: "RGB", 3: "P", 4: "LA", 6: "RGBA"}
_PROFILE_NAME = b"icc\0\0"
_DROPPED_COLORS = "left out color chunks that are damaged or not of an ordinary display"


@dataclass(frozen=True, slots=True)
class _Stored:
    """What is needed to encode a PNG again.

    Args:
        copied: the chunks of an unchanged copy, without metadata; None if the file
            must be encoded again.
        packed: its rows, if samples have less than 8 bits: those in the file may have
            bits after their ends, which filters mix with the others.
        color: color-space chunks.
        animation: how an animation plays, or None.
    """

    copied: tuple[Chunk, ...] | None
    packed: bytes | None
    color: tuple[Chunk, ...]
    animation: Animation | None = None


class PngCodec:
    """PNG and animated PNG: rows compressed again, or frames encoded again without loss."""

    name = "PNG"

    def load(self, data: bytes, options: CodecOptions) -> Picture:
        """Decode a PNG, all frames.

        Raises:
            WithheldError: ``truncated``, ``corrupt``, ``bomb`` or ``frames``.
        """
        chunks, _ = parse_chunks(data)
        header = parse_header(chunks)
        found = dict(reversed(chunks))  # the first chunk of each kind
        check_size(
            *(header.width, header.height, count_images(chunks), options.max_pixels, len(data))
        )
        compressed = _image_data(chunks)
        is_exact(compressed, header.data_size(header.width, header.height))
        profile = _profile(found.get(b"iCCP"))
        metadata = select_metadata(found.get(b"eXIf"), profile, options.keep_metadata, _xmp(chunks))
        color = tuple((k, found[k]) for k in _COLOR_CHUNKS if _is_usual(k, found.get(k, b"")))
        if b"acTL" in found:
            frames, animation = load_animation(chunks, header)
            stored = _Stored(None, None, color, animation)
        else:
            del chunks  # another copy of the image data
            frames, copied, packed = _load_still(header, found, compressed)
            stored = _Stored(copied, packed, color)
        return Picture(
            format="PNG",
            mode="I;16" if (header.depth, header.color) == (16, 0) else _mode(header),
            width=header.width,
            height=header.height,
            orientation=metadata.orientation,
            frames=frames,
            metadata=metadata,
            stored=stored,
            note=_DROPPED_COLORS if len(color) < len(_COLOR_CHUNKS.keys() & found.keys()) else None,
        )

    def save(
        self,
        picture: Picture,
        frames: Sequence[Frame] | None,
        touched: Sequence[Sequence[Box]],
        options: CodecOptions,
    ) -> Encoded:
        """Encode a PNG: rows compressed again, or all frames encoded again without loss."""
        stored: _Stored = picture.stored
        if frames is None and stored.copied is not None:
            header, *rest, (kind, compressed) = stored.copied
            between = (*stored.color, *_metadata_chunks(picture.metadata))
            if stored.packed is not None:
                data = compress(stored.packed)
            else:
                size = parse_header([header]).data_size(picture.width, picture.height)
                data = compress_again(compressed, size)
            route = Route.COPIED if data == compressed else Route.LOSSLESS
            return Encoded(write_png([header, *between, *rest, (kind, data)]), route, picture.note)
        pixels = picture.frames if frames is None else tuple(frames)
        if frames is not None and stored.animation is None and "A" not in picture.mode:
            # transparent pixels of a palette or of one color may all have been hidden
            pixels = (_without_opaque_alpha(pixels[0]),)
        chunks = [
            (b"IHDR", header_for(pixels[0]).to_bytes()),
            *stored.color,
            *_metadata_chunks(picture.metadata),
        ]
        if stored.animation is not None:
            chunks += animation_chunks(pixels, stored.animation)
        else:
            chunks.append((b"IDAT", deflate(pixels[0])))
        return Encoded(write_png(chunks), Route.LOSSLESS, picture.note)

    def find_leaks(self, data: bytes, options: CodecOptions) -> list[str]:
        """List what a PNG output contains besides pixels and allow-listed metadata."""
        chunks, tail = parse_chunks(data)
        header = parse_header(chunks)
        leaks = [f"{len(tail)} bytes after the end of the image"] if tail else []
        for kind, payload in chunks:
            leaks += _chunk_leaks(kind, payload, options)
        kinds = [kind for kind, _ in chunks if kind not in (b"IDAT", b"fcTL", b"fdAT")]
        if len(kinds) > len(set(kinds)):
            leaks.append("duplicate chunks")
        size = header.data_size(header.width, header.height)
        if not leaks and not (
            is_exact(_image_data(chunks), size) and animation_is_exact(chunks, header)
        ):
            leaks.append("there are bytes after the image data")
        return leaks or _still_leaks(data, chunks, options)


def encode_png(image: Pixels) -> bytes:
    """Return a PNG of an upright image, H×W×3 uint8."""
    return write_png([(b"IHDR", header_for(image).to_bytes()), (b"IDAT", deflate(image))])


def _still_leaks(data: bytes, chunks: list[Chunk], options: CodecOptions) -> list[str]:
    """Colors that no pixel uses, and bits after the ends of rows."""
    present = [chunk for chunk in chunks if chunk[0] in (b"PLTE", b"tRNS")]
    if not present and parse_header(chunks).depth >= 8:
        return []
    stored: _Stored = PngCodec().load(data, options).stored
    needed = [chunk for chunk in stored.copied or () if chunk[0] in (b"PLTE", b"tRNS")]
    leaks = [] if present == needed else [UNUSED_COLORS]
    if stored.packed is not None and zlib.decompress(_image_data(chunks)) != stored.packed:
        leaks.append("there are bits after the ends of rows, or filters of bits")
    return leaks


def _load_still(
    header: Header, found: dict[bytes, bytes], compressed: bytes
) -> tuple[tuple[Frame, ...], tuple[Chunk, ...] | None, bytes | None]:
    """The frame, and ``copied`` and ``packed`` of what is stored."""
    needed = [(b"IHDR", header.to_bytes())]
    if header.color == 3:
        needed.append((b"PLTE", found.get(b"PLTE", b"")))
    pixels = _decode(write_png([*needed, (b"IDAT", compressed)]), header)
    packed = None
    if header.depth < 8:
        step = 1 if header.color == 3 else 255 // ((1 << header.depth) - 1)
        packed = pack_rows(pixels // step, header.depth)
        needed[0] = (b"IHDR", replace(header, interlaced=False).to_bytes())
    transparency = found.get(b"tRNS")
    if header.color != 3:
        if transparency is not None and header.color in (0, 2):
            needed.append((b"tRNS", transparency))
            pixels = _with_key(pixels, header, transparency)
        return (pixels,), (*needed, (b"IDAT", compressed)), packed
    palette, alpha = _used_palette(found.get(b"PLTE", b""), transparency, pixels)
    colors = np.frombuffer(palette, np.uint8).reshape(-1, 3)
    needed[1] = (b"PLTE", palette)
    if alpha is not None:
        needed.append((b"tRNS", alpha))
        opaque = np.frombuffer(alpha.ljust(len(colors), b"\xff"), np.uint8)
        colors = np.concatenate([colors, opaque[:, None]], axis=1)
    frame = np.ascontiguousarray(colors[pixels])
    if (merge_equal_colors(pixels, colors) != pixels).any():
        return (frame,), None, None
    return (frame,), (*needed, (b"IDAT", compressed)), packed


def _decode(png: bytes, header: Header) -> Frame:
    """Samples of a PNG without transparency chunks; palette images as their indices."""
    if header.depth == 16 and header.color != 0:
        return _decode_deep(png, header)
    with open_image(png, "PNG") as image:
        if header.color == 0 and header.depth == 16:
            return to_frame(image).astype(np.uint16)
        return to_frame(image, "L" if header.color == 0 else None)


def _decode_deep(png: bytes, header: Header) -> Frame:
    """Decode 16-bit color, which Pillow would reduce to 8 bits."""
    import cv2

    pixels = cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_UNCHANGED)
    if pixels is None or pixels.dtype != np.uint16:
        raise WithheldError("corrupt", "the PNG cannot be decoded")
    order = {2: [2, 1, 0], 4: [0, 3], 6: [2, 1, 0, 3]}[header.color]
    return np.ascontiguousarray(pixels[..., order])


def _with_key(pixels: Frame, header: Header, key: bytes) -> Frame:
    """Replace the transparent color (tRNS) by an alpha channel."""
    if len(key) != 2 * header.channels:
        raise WithheldError("corrupt", "the PNG's transparent color is damaged")
    samples = np.frombuffer(key, ">u2").astype(np.int64)
    largest = np.iinfo(pixels.dtype).max
    samples = samples * largest // ((1 << header.depth) - 1)
    stacked = pixels[..., None] if pixels.ndim == 2 else pixels
    alpha = np.where((stacked == samples).all(axis=2), 0, largest).astype(pixels.dtype)
    return np.concatenate([stacked, alpha[..., None]], axis=2)


def _without_opaque_alpha(frame: Frame) -> Frame:
    channels = 1 if frame.ndim == 2 else frame.shape[2]
    if channels % 2 or frame[..., -1].min() < np.iinfo(frame.dtype).max:
        return frame
    return frame[..., 0] if channels == 2 else frame[..., :-1]


def _used_palette(
    palette: bytes, alpha: bytes | None, indices: Frame
) -> tuple[bytes, bytes | None]:
    """The palette with unused entries set to black."""
    used = np.bincount(indices.ravel(), minlength=256) > 0
    size = int(np.flatnonzero(used)[-1]) + 1
    if len(palette) % 3 or len(palette) < 3 * size:
        raise WithheldError("corrupt", "the PNG's palette is too short")
    colors = np.frombuffer(palette, np.uint8).reshape(-1, 3)[:size] * used[:size, None]
    if alpha is None:
        return colors.astype(np.uint8).tobytes(), None
    opacity = np.frombuffer(alpha[:size], np.uint8)
    return colors.astype(np.uint8).tobytes(), (
        np.where(used[: len(opacity)], opacity, 255).astype(np.uint8).tobytes()
    )


def _is_usual(kind: bytes, payload: bytes) -> bool:
    """Whether a color-space chunk has values of ordinary displays.

    Others would show a picture that the pixels as they are do not.
    """
    if len(payload) != _COLOR_CHUNKS[kind]:
        return False
    if kind == b"cHRM":
        values = struct.unpack(">8I", payload)
        return all(value in usual for value, usual in zip(values, _CHROMATICITIES, strict=True))
    if kind == b"gAMA":
        return int.from_bytes(payload, "big") in _GAMMAS
    if kind == b"sRGB":
        return payload[0] < 4
    primaries, transfer, matrix, full_range = payload
    is_rgb = matrix == 0 and full_range < 2
    return is_rgb and primaries in _PRIMARIES and transfer in _TRANSFERS


def _mode(header: Header) -> str:
    mode = _MODES[header.color]
    return "1" if mode == "L" and header.depth == 1 else mode


def _image_data(chunks: list[Chunk]) -> bytes:
    return b"".join(payload for kind, payload in chunks if kind == b"IDAT")


def _profile(payload: bytes | None) -> bytes | None:
    """The profile inside an iCCP chunk, or None if it is damaged."""
    if payload is None:
        return None
    _, _, rest = payload.partition(b"\0")
    inflater = zlib.decompressobj()
    try:
        profile = inflater.decompress(rest[1:], 8 << 20)
    except zlib.error:
        return None
    return profile if inflater.eof else None


def _xmp(chunks: list[Chunk]) -> bytes | None:
    """The XMP packet, if it is stored uncompressed as the standard requires."""
    prefix = b"XML:com.adobe.xmp\0\0\0"
    packets = (p for k, p in chunks if k == b"iTXt" and p.startswith(prefix))
    return next(packets, None)


def _metadata_chunks(metadata: Metadata) -> list[Chunk]:
    chunks: list[Chunk] = []
    if metadata.icc:
        chunks.append((b"iCCP", _PROFILE_NAME + zlib.compress(metadata.icc, 9)))
    if metadata.exif:
        chunks.append((b"eXIf", metadata.exif))
    return chunks


def _chunk_leaks(kind: bytes, payload: bytes, options: CodecOptions) -> list[str]:
    if kind == b"eXIf":
        return exif_leaks(payload, options.keep_metadata)
    if kind == b"iCCP":
        profile = _profile(payload)
        inflater = zlib.decompressobj()
        if profile is None or not payload.startswith(_PROFILE_NAME):
            return ["a color profile that is damaged or has a name"]
        inflater.decompress(payload[len(_PROFILE_NAME) :])
        return icc_leaks(profile) + (["bytes after the profile"] if inflater.unused_data else [])
    if kind in _COLOR_CHUNKS and not _is_usual(kind, payload):
        return [f"a chunk {kind.decode('latin-1')!r} of unusual values"]
    sizes = {b"IEND": 0, b"IHDR": 13, b"acTL": 8, b"fcTL": 26} | _COLOR_CHUNKS
    if kind in (b"PLTE", b"tRNS", b"IDAT", b"fdAT") or sizes.get(kind) == len(payload):
        return []
    return [f"a chunk {kind.decode('latin-1')!r}"]
