"""Control arms of an obfuscated image, made from its manifest entry and never kept."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from curate.core.entries import ManifestEntry, Route
from curate.core.errors import DataError
from curate.core.faces import Region
from curate.core.geometry import Box, clip, shift
from curate.core.ports import Frame, Obfuscator
from curate.formats import codec
from curate.formats.codec import CodecOptions, Picture
from curate.impact.controls import RANDOM_REGION, REENCODED
from curate.pipeline.image import share_hidden
from curate.pipeline.impact.placement import draws_for, place_elsewhere

PerFrame = Sequence[Sequence[Region]]
"""The hidden regions of every frame."""


@dataclass(frozen=True, slots=True)
class Making:
    """What obfuscated the images, to be used again.

    Args:
        obfuscator: the recipe's method.
        options: limits and metadata of the codec.
        recipe: digest of the recipe, which seeds what is drawn.
    """

    obfuscator: Obfuscator
    options: CodecOptions
    recipe: str


@dataclass(frozen=True, slots=True)
class Control:
    """An image of a control arm.

    Args:
        data: the encoded image; None where it shows what the original shows.
        route: how unmasked pixels travelled.
        regions: how many regions are hidden.
        overlapping: how many of them meet a hidden face, for want of room.
        share: share of the image's area that is hidden, 0..1.
    """

    data: bytes | None
    route: Route
    regions: int = 0
    overlapping: int = 0
    share: float = 0.0


def make_control(arm: str, picture: Picture, entry: ManifestEntry, making: Making) -> Control:
    """Make an image of a control arm.

    Args:
        arm: ``reencoded`` or ``random-region``.
        picture: the original.
        entry: what was done to it.
        making: what did it.

    Raises:
        DataError: if the manifest's regions do not fit the image.
        WithheldError: if the codec cannot write it.
    """
    route = entry.route or Route.COPIED
    if not entry.faces and route is not Route.REENCODED:
        return Control(None, route)
    return _MAKERS[arm](picture, entry, making)


def reencode(picture: Picture, entry: ManifestEntry, making: Making) -> Control:
    """Encode what the obfuscation touched again, with the pixels that were there."""
    touched = _touched(picture, regions_of(entry, picture), making)
    encoded = codec.save(picture, picture.frames, touched, making.options)
    return Control(encoded.data, encoded.route)


def hide_elsewhere(picture: Picture, entry: ManifestEntry, making: Making) -> Control:
    """Hide as many regions of the same sizes by the same method, away from the faces."""
    placed = place_elsewhere(
        entry.hidden, picture.width, picture.height, draws_for(making.recipe, entry.id)
    )
    moved = []
    for face, hidden, new in zip(entry.faces, entry.hidden, placed, strict=True):
        dx, dy = new.box.x0 - hidden.x0, new.box.y0 - hidden.y0
        # What of a face lay outside the image would come into it.
        inside = clip(face.box, picture.width, picture.height)
        moved.append((Region(shift(inside, dx, dy), new.box), face.frames))
    regions = [
        [region for region, frames in moved if index in frames]
        for index in range(len(picture.frames))
    ]
    frames = [
        making.obfuscator.apply(frame, sorted(found, key=_place)) if found else frame
        for frame, found in zip(picture.frames, regions, strict=True)
    ]
    encoded = codec.save(picture, frames, _touched(picture, regions, making), making.options)
    return Control(
        encoded.data,
        encoded.route,
        regions=len(placed),
        overlapping=sum(each.overlaps for each in placed),
        share=share_hidden([each.box for each in placed], picture.width, picture.height),
    )


def regions_of(entry: ManifestEntry, picture: Picture) -> PerFrame:
    """What the manifest says is hidden in every frame.

    Raises:
        DataError: if a region is not inside the image.
    """
    for hidden in entry.hidden:
        if hidden.is_empty or clip(hidden, picture.width, picture.height) != hidden:
            raise DataError(
                f"the manifest hides {hidden.xyxy} in {entry.id!r}, which is "
                f"{picture.width}×{picture.height} pixels: it is of another image"
            )
    pairs = list(zip(entry.faces, entry.hidden, strict=True))
    return [
        [Region(face.box, hidden) for face, hidden in pairs if index in face.frames]
        for index in range(len(picture.frames))
    ]


def _touched(picture: Picture, regions: PerFrame, making: Making) -> list[list[Box]]:
    def reach(frame: Frame, found: Sequence[Region]) -> list[Box]:
        height, width = frame.shape[:2]
        return making.obfuscator.reach(found, width, height) if found else []

    return [reach(frame, found) for frame, found in zip(picture.frames, regions, strict=True)]


def _place(region: Region) -> tuple[Box, Box]:
    return region.hidden, region.face


_MAKERS: MappingProxyType[str, Callable[[Picture, ManifestEntry, Making], Control]] = (
    MappingProxyType({REENCODED: reencode, RANDOM_REGION: hide_elsewhere})
)
