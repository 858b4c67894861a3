"""Animated PNG (APNG): decoding to composited frames, and encoding."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass

from curate.codec.decoding import open_image, to_frame
from curate.codec.png.chunks import Chunk, Header, deflate, is_exact, write_png
from curate.core.errors import WithheldError
from curate.core.protocols import Frame

_NEEDED = {b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"acTL", b"fcTL", b"fdAT"}
_CONTROL = struct.Struct(">IIIIIHHBB")  # fcTL


@dataclass(frozen=True, slots=True)
class Animation:
    """Timing of an animated PNG.

    Args:
        delays: numerator and denominator of every frame's duration, seconds.
        plays: number of repetitions; 0 is infinite.
        hidden_default: whether the default image is not part of the animation.
    """

    delays: tuple[tuple[int, int], ...]
    plays: int
    hidden_default: bool


def count_images(chunks: Sequence[Chunk]) -> int:
    """Return the number of images: 1, or an animation's frames and hidden default image."""
    kinds = [kind for kind, _ in chunks]
    if b"acTL" not in kinds:
        return 1
    return kinds.count(b"fcTL") + _has_hidden_default(chunks)


def load_animation(chunks: Sequence[Chunk], header: Header) -> tuple[tuple[Frame, ...], Animation]:
    """Decode all frames of an animation as RGBA, with their timing.

    Raises:
        WithheldError: ``corrupt`` or ``frames``.
    """
    if header.depth == 16:
        raise WithheldError("frames", "an animated PNG with 16 bits per sample")
    controls = [payload for kind, payload in chunks if kind == b"fcTL"]
    declared = next(payload for kind, payload in chunks if kind == b"acTL")
    if len(declared) != 8 or any(len(payload) != _CONTROL.size for payload in controls):
        raise WithheldError("corrupt", "the PNG's animation is damaged")
    announced, plays = struct.unpack(">II", declared)
    if announced != len(controls) or not controls:
        raise WithheldError("corrupt", "the PNG's animation has not the frames it announces")
    count = count_images(chunks)
    frames: list[Frame] = []
    with open_image(write_png(c for c in chunks if c[0] in _NEEDED), "PNG") as image:
        if getattr(image, "n_frames", 1) != count:
            raise WithheldError("frames", "the PNG's frames cannot all be read")
        for index in range(count):
            image.seek(index)
            frames.append(to_frame(image, "RGBA"))
    delays = tuple(_CONTROL.unpack(payload)[5:7] for payload in controls)
    return tuple(frames), Animation(delays, plays, _has_hidden_default(chunks))


def animation_chunks(frames: Sequence[Frame], animation: Animation) -> list[Chunk]:
    """Return the chunks of an animation in which each frame replaces the whole canvas."""
    chunks: list[Chunk] = [
        (b"acTL", struct.pack(">II", len(animation.delays), animation.plays)),
    ]
    height, width = frames[0].shape[:2]
    pixels = list(frames)
    if animation.hidden_default:
        chunks.append((b"IDAT", deflate(pixels.pop(0))))
    number = 0
    for index, ((top, bottom), frame) in enumerate(zip(animation.delays, pixels, strict=True)):
        control = _CONTROL.pack(number, width, height, 0, 0, top, bottom, 0, 0)
        chunks.append((b"fcTL", control))
        number += 1
        if index == 0 and not animation.hidden_default:
            chunks.append((b"IDAT", deflate(frame)))
        else:
            chunks.append((b"fdAT", struct.pack(">I", number) + deflate(frame)))
            number += 1
    return chunks


def animation_is_exact(chunks: Sequence[Chunk], header: Header) -> bool:
    """Whether the data of all later frames contain exactly their rows."""
    parts: dict[int, list[bytes]] = {}
    sizes: dict[int, int] = {}
    number = -1
    for kind, payload in chunks:
        if kind == b"fcTL":
            number += 1
            _, width, height, *_ = _CONTROL.unpack(payload)
            sizes[number] = header.data_size(width, height)
        elif kind == b"fdAT":
            parts.setdefault(number, []).append(payload[4:])
    return all(is_exact(b"".join(data), sizes.get(key, 0)) for key, data in parts.items())


def _has_hidden_default(chunks: Sequence[Chunk]) -> bool:
    kinds = [kind for kind, _ in chunks]
    return b"IDAT" in kinds and b"fcTL" not in kinds[: kinds.index(b"IDAT")]
