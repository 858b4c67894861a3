"""Pairs of images to explain: the original and the obfuscated one, and where its faces are."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from curate import codec
from curate.codec import CodecOptions, Picture
from curate.core.entries import ManifestEntry, Outcome
from curate.core.errors import DataError, ManifestError, WithheldError
from curate.core.geometry import Box, clip, to_upright
from curate.core.protocols import Pixels, Source
from curate.core.records import escape_unprintable
from curate.impact.recorded_faces import open_manifest
from curate.layouts import open_source
from curate.manifest import store
from curate.manifest.files import DATA
from curate.pipeline.output import open_outputs
from curate.pipeline.tools import codec_options
from curate.recipe import Recipe


@dataclass(frozen=True, slots=True, eq=False)
class Pair:
    """One image, as it was and obfuscated.

    Args:
        entry: what the manifest says of it.
        original: upright RGB, H×W×3 uint8.
        obfuscated: the same of the output.
        inside: which of its pixels lie in a hidden region, H×W.
    """

    entry: ManifestEntry
    original: Pixels
    obfuscated: Pixels
    inside: npt.NDArray[np.bool_]


@dataclass(slots=True)
class Tally:
    """What the manifest holds, counted on the way."""

    withheld: int = 0
    without_faces: int = 0
    with_faces: int = 0


class Pairs:
    """The images of an obfuscated dataset beside their originals; only read.

    Args:
        original: where the originals are.
        out: the OUT of the run that obfuscated them.
        layout: the originals' layout; ``auto`` for the one that the run recorded.

    Raises:
        ManifestError: if the manifest is absent, damaged or not whole.
        DataError: if a dataset is not there.
    """

    def __init__(self, original: str, out: Path, layout: str = "auto") -> None:
        self._manifest, self.run = open_manifest(out)
        self._records, self._out = self._manifest / store.RECORDS_FOLDER, out
        recorded = self.run["source"]["layout"]
        chosen = recorded if layout == "auto" else layout
        self._source: Source = open_source(original, chosen, "ORIGINAL")
        if not (out / DATA).is_dir():
            raise DataError(f"{out / DATA} is missing; OBFUSCATED must be the OUT of curate blur")
        in_containers = self.run["others"]["rebuilt"] > 0
        self._read_output: Callable[[str], bytes] = open_outputs(out, recorded, in_containers)
        self._options: CodecOptions = codec_options(Recipe.from_dict(self.run["recipe"]))
        self.tally = Tally()

    def iter_entries(self) -> Iterator[ManifestEntry]:
        """What was written with a hidden face in its first frame, in the order of ids."""
        self.tally = Tally()
        for entry in store.iter_entries(self._records):
            if entry.outcome is Outcome.WITHHELD:
                self.tally.withheld += 1
            elif not _first_hidden(entry):
                self.tally.without_faces += 1
            else:
                self.tally.with_faces += 1
                yield entry

    def find_ids(self, names: Collection[str]) -> set[str]:
        """Which of some ids the manifest knows, whatever became of their images."""
        if not names:
            return set()
        return {entry.id for entry in store.iter_entries(self._records) if entry.id in names}

    def read(self, entry: ManifestEntry) -> Pair:
        """Both images of an entry, decoded.

        Raises:
            DataError: if one is missing, cannot be decoded, or is another file than the
                manifest recorded.
        """
        original = self._open("original", entry, self._read_original(entry), entry.source_sha256)
        obfuscated = self._open(
            "obfuscated", entry, self._read_obfuscated(entry), entry.output_sha256
        )
        before, after = codec.upright_rgb(original), codec.upright_rgb(obfuscated)
        if before.shape != after.shape:
            raise DataError(f"{_name(entry)} has another size than its original")
        down, across = before.shape[:2]
        inside = np.zeros((down, across), dtype=bool)
        width, height = original.width, original.height
        for box in _first_hidden(entry):
            there = to_upright(box, original.orientation, width, height)
            inside[clip(there, across, down).slices] = True
        return Pair(entry, before, after, inside)

    def _read_original(self, entry: ManifestEntry) -> bytes:
        record = self._source.find(entry.source_path)
        if record is None:
            raise DataError(f"{_name(entry)} is in {self._out} but not in ORIGINAL")
        try:
            return self._source.read(record)
        except WithheldError as error:
            raise DataError(f"the original {_name(entry)} cannot be read: {error}") from None

    def _read_obfuscated(self, entry: ManifestEntry) -> bytes:
        try:
            return self._read_output(str(entry.output_path))
        except OSError as error:
            why = error.strerror or error
            raise DataError(f"the obfuscated {_name(entry)} cannot be read: {why}") from None

    def _open(self, side: str, entry: ManifestEntry, data: bytes, sha256: str | None) -> Picture:
        if store.digest_bytes(data) != sha256:
            raise ManifestError(
                f"{self._out} has the manifest of another dataset: the {side} file of "
                f"{_name(entry)} has another SHA-256"
            )
        try:
            return codec.load(data, self._options)
        except WithheldError as error:
            raise DataError(f"the {side} {_name(entry)} cannot be decoded: {error}") from None


def _first_hidden(entry: ManifestEntry) -> list[Box]:
    return [
        box
        for face, box in zip(entry.faces, entry.hidden, strict=True)
        if 0 in face.frames and not box.is_empty
    ]


def _name(entry: ManifestEntry) -> str:
    return repr(escape_unprintable(entry.id))
