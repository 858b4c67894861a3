"""The GIF codec: image data kept, or all frames encoded again with 256 colors each."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt
from PIL import Image

from curate.codec.decoding import (
    check_size,
    merge_equal_colors,
    opaque_as_rgb,
    open_image,
    to_frame,
)
from curate.codec.gif.blocks import GifImage, GifStream, blank_unused, parse_gif, scan_codes
from curate.codec.metadata.allow_list import Metadata
from curate.codec.picture import EQUAL_COLORS, UNUSED_COLORS, CodecOptions, Encoded, Picture
from curate.core.entries import Route
from curate.core.errors import WithheldError
from curate.core.geometry import Box
from curate.core.protocols import Frame

_GRAYS = np.repeat(np.arange(256, dtype=np.uint8)[:, None], 3, axis=1)


class GifCodec:
    """GIF: its image data copied, or every frame encoded again with at most 256 colors."""

    name = "GIF"

    def load(self, data: bytes, options: CodecOptions) -> Picture:
        """Decode a GIF to composited frames.

        Raises:
            WithheldError: ``truncated``, ``corrupt``, ``bomb`` or ``frames``.
        """
        stream = replace(parse_gif(data), dropped=(), tail=b"")
        size = (stream.width, stream.height)
        check_size(*size, len(stream.images), options.max_pixels, len(data))
        for image in stream.images:
            if image.width * image.height > stream.width * stream.height:
                raise WithheldError(
                    "bomb",
                    f"a GIF image of {image.width}×{image.height} pixels is larger than its canvas "
                    f"of {stream.width}×{stream.height}",
                )
            check_size(image.width, image.height, 1, options.max_pixels)
            if image.x + image.width > stream.width or image.y + image.height > stream.height:
                raise WithheldError("corrupt", "a GIF image lies outside the screen")
        scanned = _scan(stream)
        recoded = [
            not exact or _has_equal_colors(stream, number, used)
            for number, (exact, used) in enumerate(scanned)
        ]
        if any(recoded):
            images = zip(stream.images, recoded, strict=True)
            stream = replace(
                stream,
                images=tuple(_with_one_index(stream, i) if r else i for i, r in images),
            )
            scanned = _scan(stream)
        stream = blank_unused(stream, [used for _, used in scanned])
        frames = _decode(stream)
        return Picture(
            format="GIF",
            mode="P",
            width=stream.width,
            height=stream.height,
            orientation=1,
            frames=frames,
            metadata=Metadata(),
            stored=(stream, any(recoded)),
            layer=_layer(stream),
        )

    def save(
        self,
        picture: Picture,
        frames: Sequence[Frame] | None,
        touched: Sequence[Sequence[Box]],
        options: CodecOptions,
    ) -> Encoded:
        """Encode a GIF: unchanged, images with their codes; else every frame on the whole canvas.

        Codes are copied if they are those that an encoder writes, else written again.
        Outside the touched boxes all colors are kept; inside, new colors are quantized
        to the remaining entries of the frame's palette.

        Raises:
            WithheldError: ``frames`` if a frame has more colors than one palette.
        """
        stream: GifStream
        stream, recoded = picture.stored
        if frames is None:
            route = Route.LOSSLESS if recoded else Route.COPIED
            return Encoded(stream.to_bytes(), route, picture.note)
        # not by the source, whose transparent pixels may all be inside the touched boxes
        transparent = any(frame.shape[2] == 4 and _is_clear(frame).any() for frame in frames)
        images = tuple(
            _encode(frame, met, image.delay, transparent)
            for frame, met, image in zip(frames, touched, stream.images, strict=True)
        )
        data = replace(stream, palette=b"", background=0, images=images).to_bytes()
        return Encoded(data, Route.LOSSLESS, picture.note)

    def find_leaks(self, data: bytes, options: CodecOptions) -> list[str]:
        """List what a GIF output contains besides its images."""
        stream = parse_gif(data)
        leaks = [f"{len(stream.tail)} bytes after the end of the image"] if stream.tail else []
        leaks += stream.dropped
        scanned = _scan(stream)
        if not all(exact for exact, _ in scanned):
            leaks.append("the image data has codes or bytes that no encoder writes")
        if blank_unused(stream, [used for _, used in scanned]) != stream:
            leaks.append(UNUSED_COLORS)
        if any(_has_equal_colors(stream, at, used) for at, (_, used) in enumerate(scanned)):
            leaks.append(EQUAL_COLORS)
        if not leaks and stream.to_bytes() != data:
            leaks.append("there are blocks or bytes that the images do not need")
        return leaks


def _scan(stream: GifStream) -> list[tuple[bool, frozenset[int]]]:
    """What ``scan_codes`` finds in each image.

    Raises:
        WithheldError: ``corrupt`` if an index is outside the palette: decoders show it as
            black, or as anything else, whatever picture such indices draw.
    """
    scanned = [scan_codes(image) for image in stream.images]
    for image, (_, used) in zip(stream.images, scanned, strict=True):
        size = len(image.palette or stream.palette) // 3
        if max(used - {_transparent_index(image)}, default=0) >= size:
            raise WithheldError("corrupt", "a pixel's color is not in the palette of the GIF")
    return scanned


def _decode(stream: GifStream) -> tuple[Frame, ...]:
    with open_image(stream.to_bytes(), "GIF") as image:
        if getattr(image, "n_frames", 1) != len(stream.images):
            raise WithheldError("frames", "the GIF's frames cannot all be read")
        if image.size != (stream.width, stream.height):
            raise WithheldError("corrupt", "the GIF has another size than it states")
        frames = opaque_as_rgb(_iter_frames(image, len(stream.images)))
    for frame in frames:
        if frame.shape[2] == 4:
            frame[frame[..., 3] == 0] = 0  # transparent pixels have no color
    return tuple(frames)


def _iter_frames(image: Image.Image, count: int) -> Iterator[Frame]:
    for index in range(count):
        image.seek(index)
        yield to_frame(image, "RGBA")


def _layer(stream: GifStream) -> Callable[[int], Frame | None] | None:
    """Decode images before compositing: which of their pixels are transparent may be a picture."""
    if not any(_transparent_index(image) is not None for image in stream.images):
        return None

    def decode(index: int) -> Frame | None:
        image = stream.images[index]
        transparent = _transparent_index(image)
        if transparent is None:  # the composited frame shows all of it
            return None
        indices = _indices(image)
        palette = (image.palette or stream.palette).ljust(768, b"\0")
        colors = np.frombuffer(palette, np.uint8).reshape(-1, 3)
        layer = np.zeros((stream.height, stream.width, 4), np.uint8)
        region = layer[image.y : image.y + image.height, image.x : image.x + image.width]
        opaque = indices != transparent
        region[opaque, :3] = colors[indices[opaque]]
        region[..., 3] = np.where(opaque, np.uint8(255), np.uint8(0))
        return layer

    return decode


def _indices(image: GifImage) -> npt.NDArray[np.uint8]:
    """Palette indices of one image, H×W uint8."""
    alone = replace(image, x=0, y=0, control=None, palette=_GRAYS.tobytes())
    file = GifStream(image.width, image.height, b"", 0, None, (alone,))
    with open_image(file.to_bytes(), "GIF") as opened:
        return np.ascontiguousarray(to_frame(opened, "RGB")[..., 0])


def _has_equal_colors(stream: GifStream, number: int, used: frozenset[int]) -> bool:
    """Whether pixels of an image use several palette entries of one color."""
    image = stream.images[number]
    palette = image.palette or stream.palette
    opaque = used - {_transparent_index(image)}
    return len({palette[3 * index : 3 * index + 3] for index in opaque}) < len(opaque)


def _with_one_index(stream: GifStream, image: GifImage) -> GifImage:
    """The image compressed again, with one index for each color."""
    palette = np.frombuffer(image.palette or stream.palette, np.uint8).reshape(-1, 3)
    colors = np.full((256, 4), 2, np.uint8)  # no color, and therefore not merged
    colors[:, 0] = np.arange(256)
    colors[: len(palette)] = np.pad(palette, ((0, 0), (0, 1)))
    if (index := _transparent_index(image)) is not None:
        colors[index, 3] = 1
    merged = merge_equal_colors(_indices(image), colors)
    recoded = _compressed(merged)
    return replace(image, data=recoded.data, interlaced=False)


def _transparent_index(image: GifImage) -> int | None:
    return image.control[3] if image.control and image.control[0] & 1 else None


def _encode(frame: Frame, touched: Sequence[Box], delay: bytes, transparent: bool) -> GifImage:
    """Encode one frame on the whole canvas, with a local palette."""
    fixed = np.ones(frame.shape[:2], np.bool_)
    for box in touched:
        fixed[box.slices] = False
    clear = _is_clear(frame) if frame.shape[2] == 4 else None
    max_colors = 255 if transparent else 256
    found = to_palette(frame[..., :3], fixed, clear, max_colors)
    if found is None:
        raise WithheldError("frames", "a GIF frame has more colors than one palette holds")
    indices, palette = found
    unused = len(palette) if transparent else 0
    if clear is not None:
        indices[clear] = unused
    # disposal: transparent frames are cleared, opaque ones are left in place
    flags = 2 << 2 | 1 if transparent else 1 << 2
    table = np.zeros((1 << max(1, (len(palette) + transparent - 1).bit_length()), 3), np.uint8)
    used = np.bincount(indices.ravel(), minlength=256)[: len(palette)] > 0
    table[: len(palette)] = np.where(used[:, None], palette, np.uint8(0))
    control = bytes([flags]) + delay + bytes([unused])
    return replace(_compressed(indices), control=control, palette=table.tobytes())


def _is_clear(frame: Frame) -> npt.NDArray[np.bool_]:
    return np.asarray(frame[..., 3] < 128)


def _compressed(indices: npt.NDArray[np.uint8]) -> GifImage:
    """Compress indices by LZW; as gray levels, which the encoder does not change."""
    buffer = io.BytesIO()
    Image.fromarray(indices, "L").save(buffer, "GIF", optimize=False, interlace=0)
    return parse_gif(buffer.getvalue()).images[0]


Colors = npt.NDArray[np.uint8]
_BATCH = 4096


def to_palette(
    pixels: Frame,
    fixed: npt.NDArray[np.bool_],
    clear: npt.NDArray[np.bool_] | None,
    max_colors: int,
) -> tuple[npt.NDArray[np.uint8], Colors] | None:
    """Quantize an RGB image to a palette, keeping given colors exactly.

    Args:
        pixels: H×W×3 uint8.
        fixed: H×W, pixels whose colors are kept exactly.
        clear: H×W, transparent pixels, or None.
        max_colors: maximum number of palette colors, up to 256.

    Returns:
        Indices, H×W uint8, and the palette, N×3 uint8; None if the fixed pixels
        alone have more than ``max_colors`` colors.
    """
    packed = pixels.astype(np.uint32) @ np.array([1 << 16, 1 << 8, 1], np.uint32)
    shown = np.ones(fixed.shape, np.bool_) if clear is None else ~clear
    kept = np.unique(packed[fixed & shown])
    if len(kept) > max_colors:
        return None
    free = np.setdiff1d(packed[~fixed & shown], kept)
    added = free if len(kept) + len(free) <= max_colors else _reduced(free, max_colors - len(kept))
    palette = _unpack(np.concatenate([kept, added]))
    if not len(palette):
        palette = np.zeros((1, 3), np.uint8)
    colors, inverse = np.unique(packed, return_inverse=True)
    nearest = _nearest(_unpack(colors), palette)
    return nearest[inverse].reshape(fixed.shape), palette


def _reduced(colors: npt.NDArray[np.uint32], max_colors: int) -> npt.NDArray[np.uint32]:
    """Reduce colors to at most ``max_colors`` by median cut."""
    if max_colors < 1:
        return colors[:0]
    strip = Image.fromarray(_unpack(colors)[None])
    reduced = strip.quantize(max_colors, Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE)
    chosen = np.array(reduced.convert("RGB")).reshape(-1, 3).astype(np.uint32)
    return np.unique(chosen @ np.array([1 << 16, 1 << 8, 1], np.uint32))[:max_colors]


def _nearest(colors: Colors, palette: Colors) -> npt.NDArray[np.uint8]:
    """Index of the nearest palette color of each color; the first of equals."""
    targets = palette.astype(np.int32)
    nearest = np.empty(len(colors), np.uint8)
    for start in range(0, len(colors), _BATCH):
        batch = colors[start : start + _BATCH].astype(np.int32)
        distances = ((batch[:, None] - targets[None]) ** 2).sum(axis=2)
        nearest[start : start + _BATCH] = distances.argmin(axis=1)
    return nearest


def _unpack(packed: npt.NDArray[np.uint32]) -> Colors:
    return np.stack([packed >> 16, packed >> 8 & 255, packed & 255], axis=1).astype(np.uint8)
