"""Images of the control arms, generated from manifest entries and never stored."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np

from curate import codec
from curate.codec import CodecOptions, Picture
from curate.core.entries import ManifestEntry, Route
from curate.core.errors import DataError
from curate.core.faces import Region
from curate.core.geometry import Box, clip, shift
from curate.core.protocols import Frame, Obfuscator
from curate.impact.placement import place_boxes
from curate.impact.prediction_store import PredictionStore
from curate.impact.predictions.control_arms import RANDOM_REGION, REENCODED, Placement
from curate.pipeline.image import share_hidden

PerFrame = Sequence[Sequence[Region]]
"""Hidden regions of every frame."""


@dataclass(frozen=True, slots=True)
class Obfuscation:
    """The method that obfuscated the dataset, to be applied again.

    Args:
        obfuscator: the recipe's method.
        options: limits and metadata of the codec.
        recipe: digest of the recipe, which seeds random positions.
    """

    obfuscator: Obfuscator
    options: CodecOptions
    recipe: str


@dataclass(frozen=True, slots=True)
class ControlImage:
    """An image of a control arm.

    Args:
        data: the encoded image; None where it shows the same pixels as the original.
        route: how unmasked pixels were written.
        regions: number of hidden regions.
        overlapping: number of regions that overlap a hidden face for lack of space.
        share: hidden share of the image's area, 0..1.
    """

    data: bytes | None
    route: Route
    regions: int = 0
    overlapping: int = 0
    share: float = 0.0


def make_control(
    arm: str, picture: Picture, entry: ManifestEntry, obfuscation: Obfuscation
) -> ControlImage:
    """Generate an image of a control arm.

    Args:
        arm: ``reencoded`` or ``random-region``.
        picture: the original.
        entry: its manifest entry.
        obfuscation: the method.

    Raises:
        DataError: if the manifest's regions do not fit the image.
        WithheldError: if the codec cannot write it.
    """
    route = entry.route or Route.COPIED
    if not entry.faces and route is not Route.REENCODED:
        return ControlImage(None, route)
    return _MAKERS[arm](picture, entry, obfuscation)


def reencode(picture: Picture, entry: ManifestEntry, obfuscation: Obfuscation) -> ControlImage:
    """Encode the obfuscated parts again with their original pixels."""
    touched = _touched(picture, regions_of(entry, picture), obfuscation)
    encoded = codec.save(picture, picture.frames, touched, obfuscation.options)
    return ControlImage(encoded.data, encoded.route)


def hide_random(picture: Picture, entry: ManifestEntry, obfuscation: Obfuscation) -> ControlImage:
    """Hide as many regions of the same sizes by the same method, away from the faces."""
    random = make_random(obfuscation.recipe, entry.id)
    placed = place_boxes(entry.hidden, picture.width, picture.height, random)
    moved = []
    for face, hidden, new in zip(entry.faces, entry.hidden, placed, strict=True):
        dx, dy = new.box.x0 - hidden.x0, new.box.y0 - hidden.y0
        # Parts of a face outside the image would move into it.
        inside = clip(face.box, picture.width, picture.height)
        moved.append((Region(shift(inside, dx, dy), new.box), face.frames))
    regions = [
        [region for region, frames in moved if index in frames]
        for index in range(len(picture.frames))
    ]
    frames = [
        obfuscation.obfuscator.apply(frame, sorted(found, key=_sort_key)) if found else frame
        for frame, found in zip(picture.frames, regions, strict=True)
    ]
    touched = _touched(picture, regions, obfuscation)
    encoded = codec.save(picture, frames, touched, obfuscation.options)
    return ControlImage(
        encoded.data,
        encoded.route,
        regions=len(placed),
        overlapping=sum(each.overlaps for each in placed),
        share=share_hidden([each.box for each in placed], picture.width, picture.height),
    )


def regions_of(entry: ManifestEntry, picture: Picture) -> PerFrame:
    """Return the hidden regions of every frame.

    Raises:
        DataError: if a region is not inside the image.
    """
    for hidden in entry.hidden:
        if hidden.is_empty or clip(hidden, picture.width, picture.height) != hidden:
            raise DataError(
                f"the manifest hides {hidden.xyxy} in {entry.id!r}, which has "
                f"{picture.width}×{picture.height} pixels: it is of another image"
            )
    pairs = list(zip(entry.faces, entry.hidden, strict=True))
    return [
        [Region(face.box, hidden) for face, hidden in pairs if index in face.frames]
        for index in range(len(picture.frames))
    ]


def make_random(recipe: str, record: str) -> np.random.Generator:
    """Return the generator of an image's random positions, seeded by recipe and image id."""
    digest = hashlib.sha256(f"random-region {recipe} {record}".encode()).digest()
    return np.random.default_rng(np.frombuffer(digest, dtype=np.uint32))


def _touched(picture: Picture, regions: PerFrame, obfuscation: Obfuscation) -> list[list[Box]]:
    def reach(frame: Frame, found: Sequence[Region]) -> list[Box]:
        height, width = frame.shape[:2]
        return obfuscation.obfuscator.reach(found, width, height) if found else []

    return [reach(frame, found) for frame, found in zip(picture.frames, regions, strict=True)]


def _sort_key(region: Region) -> tuple[Box, Box]:
    return region.hidden, region.face


_MAKERS: MappingProxyType[str, Callable[[Picture, ManifestEntry, Obfuscation], ControlImage]] = (
    MappingProxyType({REENCODED: reencode, RANDOM_REGION: hide_random})
)


def count_routes(store: PredictionStore) -> Counter[str]:
    """Count the images of ``reencoded`` by how they were written; empty if it was not run."""
    return Counter(row["route"] for row in store.iter_columns(REENCODED, ["route"]))


def count_placement(store: PredictionStore) -> Placement | None:
    """Summarize the positions of ``random-region``; None if there are no regions."""
    names = ["regions", "overlapping", "hidden_share", "faces_share"]
    images = regions = overlapping = crowded = 0
    share = faces_share = 0.0
    for row in store.iter_columns(RANDOM_REGION, names):
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
