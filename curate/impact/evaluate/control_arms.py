"""Control arms of an obfuscated image, made from its manifest entry and never kept."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
import numpy.typing as npt

from curate import codec
from curate.codec import CodecOptions, Picture
from curate.core.entries import ManifestEntry, Route
from curate.core.errors import DataError
from curate.core.faces import Region
from curate.core.geometry import Box, clip, intersection, shift
from curate.core.protocols import Frame, Obfuscator
from curate.impact.evaluate.controls import RANDOM_REGION, REENCODED, Placement
from curate.impact.prediction_store import PredictionStore
from curate.pipeline.image import share_hidden

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


Sums = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Placed:
    """A region that was put elsewhere.

    Args:
        box: where it is now, whole pixels.
        overlaps: whether it meets a hidden region all the same, for want of room.
    """

    box: Box
    overlaps: bool


def place_elsewhere(
    hidden: Sequence[Box], width: int, height: int, random: np.random.Generator
) -> list[Placed]:
    """Give each hidden region another place in the image, drawn evenly from where it fits.

    A place must meet no hidden region and no region that was placed before; where there
    is none, one that meets only the latter as little as can be; where there is none of
    these either, one that meets the hidden regions as little as can be.

    Args:
        hidden: whole-pixel boxes inside the image, not empty.
        width: of the image, pixels.
        height: of the image, pixels.
        random: what places are drawn from.

    Returns:
        One for each hidden region, in order, of the same size.
    """
    faces, taken = (np.zeros((height, width), dtype=bool) for _ in range(2))
    for box in hidden:
        faces[box.slices] = True
    placed: dict[int, Placed] = {}
    # The largest first: once the small ones lie about, there may be no room for it.
    for number in sorted(range(len(hidden)), key=lambda number: (-hidden[number].area, number)):
        size = int(hidden[number].width), int(hidden[number].height)
        met = _met(faces, *size)
        least = met == met.min()
        again = np.where(least, _met(taken, *size), np.iinfo(np.int64).max)
        rows, columns = np.nonzero(again == again.min())
        drawn = int(random.integers(len(rows)))
        x0, y0 = int(columns[drawn]), int(rows[drawn])
        box = Box(x0, y0, x0 + size[0], y0 + size[1])
        taken[box.slices] = True
        placed[number] = Placed(box, any(intersection(box, other) > 0 for other in hidden))
    return [placed[number] for number in range(len(hidden))]


def draws_for(recipe: str, record: str) -> np.random.Generator:
    """What an image's places are drawn from: the recipe's digest and the image's id alone."""
    digest = hashlib.sha256(f"random-region {recipe} {record}".encode()).digest()
    return np.random.default_rng(np.frombuffer(digest, dtype=np.uint32))


def _met(mask: npt.NDArray[np.bool_], width: int, height: int) -> Sums:
    """How much of a mask each place of a ``width`` × ``height`` box meets.

    Returns:
        One number for each place of its upper left corner.
    """
    sums = np.zeros((mask.shape[0] + 1, mask.shape[1] + 1), dtype=np.int64)
    np.cumsum(np.cumsum(mask, axis=0, dtype=np.int64), axis=1, out=sums[1:, 1:])
    return np.asarray(
        sums[height:, width:] - sums[:-height, width:] - sums[height:, :-width]
        + sums[:-height, :-width]
    )  # fmt: skip


def count_routes(store: PredictionStore) -> Counter[str]:
    """How the images of the arm ``reencoded`` travelled; nothing if it was not run."""
    return Counter(row["route"] for row in store.iter_facts(REENCODED, ["route"]))


def count_placement(store: PredictionStore) -> Placement | None:
    """Where the regions of the arm ``random-region`` came to lie; None if there are none."""
    names = ["regions", "overlapping", "hidden_share", "faces_share"]
    images = regions = overlapping = crowded = 0
    share = faces_share = 0.0
    for row in store.iter_facts(RANDOM_REGION, names):
        if row["regions"]:
            images += 1
            regions += row["regions"]
            overlapping += row["overlapping"]
            crowded += row["overlapping"] > 0
            share += row["hidden_share"]
            faces_share += row["faces_share"]
    if not images:
        return None
    return Placement(images, regions, overlapping, crowded, faces_share / images, share / images)
