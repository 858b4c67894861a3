"""Decoded pairs of images to explain, with the regions of their faces."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from curate import codec
from curate.codec import CodecOptions, Picture
from curate.core.entries import ManifestEntry, Outcome
from curate.core.errors import DataError, WithheldError
from curate.core.geometry import Box, clip, to_upright
from curate.core.protocols import Pixels
from curate.core.records import escape_unprintable
from curate.impact.pairs import PairedDatasets, PairReader
from curate.pipeline.tools import codec_options, load_recipe


@dataclass(frozen=True, slots=True, eq=False)
class ImagePair:
    """One image, original and obfuscated.

    Args:
        entry: its manifest entry.
        original: upright RGB, shape (H, W, 3), uint8.
        obfuscated: the same of the output.
        inside: whether a pixel lies in a hidden region, shape (H, W).
    """

    entry: ManifestEntry
    original: Pixels
    obfuscated: Pixels
    inside: npt.NDArray[np.bool_]


@dataclass(slots=True)
class Counts:
    """Number of images in the manifest by whether a face is hidden."""

    withheld: int = 0
    without_faces: int = 0
    with_faces: int = 0


@dataclass(slots=True)
class ImagePairs:
    """The images with hidden faces; see `open_images`.

    Args:
        datasets: both datasets, with a manifest.
        reader: reads their files.
        options: limits of the codec.
        counts: filled by `iter_entries`.
    """

    datasets: PairedDatasets
    reader: PairReader
    options: CodecOptions
    counts: Counts = field(default_factory=Counts)

    def iter_entries(self) -> Iterator[ManifestEntry]:
        """Iterate over the entries with a hidden face in the first frame, sorted by id."""
        self.counts = Counts()
        for entry in self.datasets.iter_entries():
            if entry.outcome is Outcome.WITHHELD:
                self.counts.withheld += 1
            elif not _first_hidden(entry):
                self.counts.without_faces += 1
            else:
                self.counts.with_faces += 1
                yield entry

    def load(self, entry: ManifestEntry) -> ImagePair:
        """Read and decode both images of an entry.

        Raises:
            DataError: if one is missing, cannot be decoded, or differs from the manifest.
        """
        pair = self.datasets.find_pair(entry)
        name = repr(escape_unprintable(entry.id))
        try:
            data, _ = self.reader.read_original(pair)
        except WithheldError as error:
            raise DataError(f"cannot read the original {name}: {error}") from None
        original = self._decode(f"original {name}", data)
        data, _ = self.reader.read_obfuscated(pair)
        obfuscated = self._decode(f"obfuscated {name}", data)
        before, after = codec.upright_rgb(original), codec.upright_rgb(obfuscated)
        if before.shape != after.shape:
            raise DataError(f"the obfuscated {name} has another size than its original")
        height, width = before.shape[:2]
        inside = np.zeros((height, width), dtype=bool)
        for box in _first_hidden(entry):
            moved = to_upright(box, original.orientation, original.width, original.height)
            inside[clip(moved, width, height).slices] = True
        return ImagePair(entry, before, after, inside)

    def _decode(self, name: str, data: bytes) -> Picture:
        try:
            return codec.load(data, self.options)
        except WithheldError as error:
            raise DataError(f"cannot decode the {name}: {error}") from None


def open_images(datasets: PairedDatasets) -> ImagePairs:
    """Prepare to load the images of paired datasets.

    Raises:
        DataError: if the obfuscated dataset has no manifest.
    """
    if datasets.run is None:
        raise DataError(
            f"{datasets.out} has no manifest; OBFUSCATED must be the OUT of curate blur"
        )
    options = codec_options(load_recipe(datasets.run))
    return ImagePairs(datasets, datasets.open_reader(), options)


def _first_hidden(entry: ManifestEntry) -> list[Box]:
    return [
        box
        for face, box in zip(entry.faces, entry.hidden, strict=True)
        if 0 in face.frames and not box.is_empty
    ]
